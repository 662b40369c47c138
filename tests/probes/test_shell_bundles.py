"""The shell fetches what is not here yet, and takes answers along in one file."""

import json
import shutil
import zipfile

import pytest

from probes.__main__ import main
from probes.answer import open_store
from tests.models.conftest import hub  # noqa: F401  a fixture
from tests.models.hub import COMMIT
from tests.probes.shell import SMALL, run

pytestmark = pytest.mark.usefixtures("own_data")


def document(capsys, *words):
    code, out, err = run(capsys, *words, *SMALL, "--json", "-")
    assert (code, err) == (0, "")
    return json.loads(out)


def refused(capsys, *words):
    """The one line of what is refused."""
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "") and err.startswith("probes: ") and err.count("\n") == 1, (code, out, err)
    return err


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Go to another machine: an empty data directory."""

    def gone():
        monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "elsewhere"))

    return gone


@pytest.fixture
def packed(capsys, tiny_folder, tmp_path):
    """A model with two answers, one of a plan that learns, packed into a file; and what the shell said of it."""
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    for words in (["similarity"], ["fidelity", "--plan", "w:wanda@0.5"]):
        document(capsys, *words, "--model", folder)
    code, out, err = run(capsys, "pack", "answers.zip", "--model", folder, "--device", "cpu")
    assert (code, err) == (0, "")
    return folder, tmp_path / "answers.zip", out


def test_a_hub_model_that_is_not_here_is_downloaded_and_answered(capsys, hub, tiny_folder):  # noqa: F811
    first = document(capsys, "fidelity", "--model", "owner/tiny", "--plan", "a1")
    assert not first["about"]["from_cache"] and first["result"]["kl"] > 0
    same = document(capsys, "fidelity", "--model", "owner/tiny", "--revision", COMMIT, "--plan", "a1")
    local = document(capsys, "fidelity", "--model", tiny_folder, "--plan", "a1")
    assert same["about"]["from_cache"] and local["about"]["from_cache"], "the same files are the same question"


@pytest.mark.parametrize(
    "words, says",
    [
        (["fidelity", "--plan", "x9"], "'x9' is not part of a plan"),
        (["similarity", "--param", "cuts=3"], "no parameter 'cuts'"),
        (["similarity", "--corpus", "novels"], "no text 'novels'"),
    ],
)
def test_a_mistake_is_told_before_anything_is_downloaded(capsys, hub, tmp_path, words, says):  # noqa: F811
    assert says in refused(capsys, *words, "--model", "owner/tiny")
    assert not (tmp_path / "hub").exists()


def test_answers_travel_and_are_found_where_the_model_is_not(capsys, packed, elsewhere):
    folder, file, out = packed
    rows = len(zipfile.ZipFile(file).namelist()) - 1
    assert out == f"Packed {rows} rows on {folder} into answers.zip.\n"
    here = document(capsys, "fidelity", "--model", folder, "--plan", "w:wanda@0.5")
    shutil.rmtree(folder)
    elsewhere()
    code, out, err = run(capsys, "unpack", file)
    assert (code, out, err) == (0, f"Added {rows} rows on {folder}; 0 already there.\n", "")
    there = document(capsys, "fidelity", "--model", folder, "--plan", "w:wanda@0.5")
    assert there["about"]["from_cache"] and (there["result"], there["question"]) == (here["result"], here["question"])
    assert run(capsys, "unpack", file)[1].startswith(f"Added 0 rows on {folder}; {rows} already")
    assert str(folder) in refused(capsys, "similarity", "--model", folder, "--windows", "1")


def test_pieces_go_along_when_they_are_asked_for(capsys, packed, elsewhere, monkeypatch):
    folder, file, _ = packed
    assert run(capsys, "pack", "all.zip", "--model", folder, "--device", "cpu", "--pieces")[0] == 0
    plain, whole = (set(_abouts(each)) for each in (file, file.with_name("all.zip")))
    assert plain == {"model", "similarity", "fidelity"} and whole == plain | {"learned", "dense"}
    elsewhere()
    assert run(capsys, "unpack", "all.zip")[0] == 0
    monkeypatch.setattr("probes.answer.learn", None)  # it was learned where the bundle comes from
    assert not document(capsys, "transitions", "--model", folder, "--plan", "w:wanda@0.5")["about"]["from_cache"]


def _abouts(file):
    """What the rows of a bundle are about."""
    for row in json.loads(zipfile.ZipFile(file).read("bundle.json"))["rows"]:
        about = row["about"]
        named = [name for name in ("learned", "dense") if name in about]
        yield named[0] if named else about["question"]["probe"] if "question" in about else "model"


def test_answers_on_other_models_stay_at_home(capsys, packed, tiny_folder, tmp_path):
    folder, file, _ = packed
    other = shutil.copytree(tiny_folder, tmp_path / "other")
    (other / "chat_template.jinja").write_text("another model")
    document(capsys, "similarity", "--model", other)
    run(capsys, "pack", "again.zip", "--model", folder, "--device", "cpu")
    assert sorted(_abouts(file)) == sorted(_abouts(file.with_name("again.zip")))


def test_nothing_to_pack_is_told(capsys, tiny_folder, tmp_path):
    assert "There are no answers on" in refused(capsys, "pack", "none.zip", "--model", tiny_folder)
    assert "There is no folder" in refused(capsys, "pack", "none.zip", "--model", tmp_path / "nowhere")
    assert not (tmp_path / "none.zip").exists()


def test_a_place_that_cannot_be_written_is_told(capsys, packed):
    assert "could not be written" in refused(capsys, "pack", "none/at/all.zip", "--model", packed[0])


def damaged(file):
    """Each way to spoil a bundle, and what is said."""
    whole = file.read_bytes()
    middle = len(whole) // 2
    return {
        "no such file": (None, "There is no file"),
        "no zip": (b"not a zip archive", "damaged, or is not a PruneScope bundle"),
        "cut short": (
            whole[:middle],
            "is not a PruneScope bundle",
        ),  # an answer is an archive too, so its end is taken for the end of this one
        "a bit flipped": (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], "damaged"),
    }


@pytest.mark.parametrize("case", ["no such file", "no zip", "cut short", "a bit flipped"])
def test_a_damaged_bundle_is_refused_as_a_whole(capsys, packed, elsewhere, case):
    _, file, _ = packed
    content, says = damaged(file)[case]
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    elsewhere()
    assert says in refused(capsys, "unpack", file)
    assert open_store().entries() == []


def test_a_bundle_of_a_newer_version_is_told(capsys, packed, elsewhere, tmp_path):
    _, file, _ = packed
    newer = tmp_path / "newer.zip"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(newer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "bundle.json":
                content = json.dumps(json.loads(content) | {"version": 2}).encode()
            new.writestr(zipfile.ZipInfo(name), content)
    elsewhere()
    assert "from a newer PruneScope (format 2, here 1): update PruneScope." in refused(capsys, "unpack", newer)
    assert open_store().entries() == []


@pytest.mark.parametrize("words", [["pack"], ["unpack"], ["unpack", "a", "b"], ["pack", "a", "--frob"]])
def test_flags_that_do_not_parse(capsys, words):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2 and capsys.readouterr().err.count("\n") == 1

"""What may be opened: every path on a machine of one's own; beyond it only what the operator named, wherever links lead."""

import os

import pytest

from models.loading.sources import find, here
from refusal import Refusal
from settings import listens, settings
from texts.sources import keep_text, read_text, text_digest

LISTED = r"This server opens (texts|models) only"


@pytest.fixture
def reached():
    """The app listens beyond this machine."""
    listens(True)
    yield
    listens(False)


@pytest.fixture
def place(tmp_path, tiny_folder, monkeypatch):
    """A folder that may be opened, one beside it, and links out of the first."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "data"))
    for name in ("open", "beside", "open-too"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(f"words {name}", encoding="utf-8")
        (tmp_path / name / "a.jsonl").write_text('{"text": "words"}', encoding="utf-8")
        (tmp_path / name / "tiny").symlink_to(tiny_folder)
    (tmp_path / "open" / "passwd.txt").symlink_to("/etc/passwd")
    (tmp_path / "open" / "out").symlink_to(tmp_path / "beside")
    return tmp_path


def outside(place):
    """Ways to name what does not lie in the open folder."""
    beside, inside = place / "beside", place / "open"
    return [
        beside / "a.txt", beside / "a.jsonl", inside / "passwd.txt", inside / "out" / "a.txt",
        inside / ".." / "beside" / "a.txt", place / "open-too" / "a.txt",
        inside / "missing" / ".." / ".." / "beside" / "a.txt", os.path.relpath(beside / "a.txt"),
        "/etc/none-of-that-name.txt", "nul\0.txt", "/" + "long/" * 2000 + "a.txt", "~root/a.txt",
    ]  # fmt: skip


def test_on_a_machine_of_ones_own_any_path_is_opened(place):
    assert read_text(str(place / "beside" / "a.txt")) == "words beside" and "root" in read_text(str(place / "open/passwd.txt"))
    assert find(str(place / "beside" / "tiny")).folder.is_dir()


def test_beyond_it_only_what_lies_below_a_named_folder(place, reached, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_ROOTS", str(place / "open"))
    assert read_text(str(place / "open" / "a.txt")) == "words open" and text_digest(str(place / "open" / "a.jsonl"))
    for name in map(str, outside(place)):
        for read in (read_text, text_digest):
            with pytest.raises(Refusal, match=LISTED):
                read(name)


def test_nothing_is_said_of_whether_a_path_exists(place, reached):
    said = set()
    for name in ("/etc/passwd.txt", place / "beside" / "a.txt", "/none/at/all.txt"):
        with pytest.raises(Refusal) as caught:
            read_text(str(name))
        said.add(str(caught.value))
    assert len(said) == 1


def test_a_digest_that_was_taken_before_tells_nothing_later(place):
    path = str(place / "beside" / "a.txt")
    assert text_digest(path)
    listens(True)
    try:
        with pytest.raises(Refusal, match=LISTED):
            text_digest(path)
    finally:
        listens(False)


def test_what_is_included_or_pasted_is_opened_everywhere(place, reached):
    assert read_text("prose") and read_text("python-docs") and read_text(keep_text("mine")) == "mine"


def test_kept_texts_and_answers_are_no_files_to_open(place, reached, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_ROOTS", str(place))
    name = keep_text("mine").removeprefix("text:")
    with pytest.raises(Refusal, match=LISTED):
        read_text(str(place / "data" / "texts" / f"{name}.txt"))


@pytest.mark.parametrize("by", [find, here])
def test_models_beyond_this_machine(place, tiny_folder, reached, monkeypatch, by):
    named = str(place / "open" / "tiny")
    for name in (
        str(tiny_folder),
        named,
        str(tiny_folder / "config.json"),
        os.path.relpath(tiny_folder),
        "./x",
        "a/b/c",
        "a.gguf",
    ):
        with pytest.raises(Refusal, match=LISTED):
            by(name)
    for variable in ("ROOTS", "MODELS", "TRUST", "EXPORTS"):
        with monkeypatch.context() as patch:
            patch.setenv(f"PRUNESCOPE_{variable}", str(tiny_folder.parent))
            assert by(named).folder.is_dir(), f"{variable}: the link leads below {tiny_folder.parent}"


@pytest.mark.parametrize("by", [find, here])
def test_models_by_name(tiny_folder, monkeypatch, by):
    monkeypatch.setenv("PRUNESCOPE_MODELS", f"bundled,owner/name,{tiny_folder.parent}")
    assert by(str(tiny_folder)).folder == tiny_folder
    for name in ("owner/other", "/etc", str(tiny_folder.parent.parent)):
        with pytest.raises(Refusal, match="loads only these models"):
            by(name)


def test_a_demonstration_has_the_bundled_model_alone(tiny_folder, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_DEMO", "yes")
    for name in (str(tiny_folder), "owner/name", "./bundled"):
        with pytest.raises(Refusal, match="demonstration with the bundled model alone"):
            find(name)
    with pytest.raises(Refusal, match=LISTED):
        read_text("/etc/hosts.txt")


def test_the_rule_can_be_set_everywhere_and_lifted(place, monkeypatch):
    path = str(place / "beside" / "a.txt")
    monkeypatch.setenv("PRUNESCOPE_PATHS", "listed")
    with pytest.raises(Refusal, match=LISTED):
        read_text(path)
    monkeypatch.setenv("PRUNESCOPE_PATHS", "any")
    listens(True)
    try:
        assert read_text(path) and settings().paths == "any"
    finally:
        listens(False)

"""The guides are followed to the letter: what they say to write is written into a copy of the project, and run."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "*_cache", "__pycache__")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
NEAR = 0.05  # other processors round otherwise, and a tie may fall to the other side


def blocks(name):
    """Language and content of each fenced block of a page in docs."""
    return BLOCK.findall((ROOT / "docs" / name).read_text(encoding="utf-8"))


def write(root, text):
    """A new file, named in the comment that it begins with."""
    first, _, rest = text.partition("\n")
    path = root / first.removeprefix("# ")
    assert not path.exists(), f"{path} is there already"
    path.write_text(rest, encoding="utf-8")


def change(root, text):
    """A file with some lines in the place of others; what is to be changed stands in it once."""
    first, *lines = text.splitlines()
    path = root / first.removeprefix("--- ")
    before = "\n".join(line[1:] for line in lines if line[:1] in " -")
    after = "\n".join(line[1:] for line in lines if line[:1] in " +")
    whole = path.read_text(encoding="utf-8")
    assert whole.count(before) == 1, f"{path} does not hold this once: {before}"
    path.write_text(whole.replace(before, after), encoding="utf-8")


def same(said, written):
    """Whether two outputs have the same words, and numbers that are near each other."""
    if NUMBER.sub("#", said).split() != NUMBER.sub("#", written).split():
        return False
    pairs = zip(*([float(each.replace(",", "")) for each in NUMBER.findall(text)] for text in (said, written)), strict=True)
    return all(here == pytest.approx(there, rel=NEAR, abs=1e-6) for here, there in pairs)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project as it is after the guide."""
    root = tmp_path_factory.mktemp("guide") / "prunescope"
    shutil.copytree(ROOT, root, ignore=NOT_COPIED)
    for language, text in blocks("extending.md"):
        if language != "sh":
            (write if language == "python" else change)(root, text)
    return root


@pytest.mark.parametrize("place", range(3), ids=["operation", "probe", "page"])
def test_what_the_guide_adds_passes_the_tests_it_names(copy, place):
    [*words] = shlex.split([text for language, text in blocks("extending.md") if language == "sh"][place])
    done = subprocess.run(
        [sys.executable, *words[1:], "-q", "-p", "no:cacheprovider"], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.real
def test_the_example_prints_what_it_says(capsys, data, monkeypatch, tmp_path):
    """Cell after cell in one namespace, as in a notebook; the output follows its cell."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(data))
    monkeypatch.chdir(tmp_path)
    names, cells = {}, blocks("api.md")
    for place, (language, text) in enumerate(cells):
        if language != "python":
            continue
        exec(compile(text, f"api.md, cell {place}", "exec"), names)
        said = capsys.readouterr().out
        expected = cells[place + 1][1] if place + 1 < len(cells) and cells[place + 1][0] == "text" else ""
        assert same(said, expected), f"{text}\nprints\n{said}\nand not\n{expected}"


@pytest.mark.parametrize(
    ("said", "written", "alike"),
    [("kl 0.1\n", "kl  0.101", True), ("kl 0.1", "kl 0.2", False), ("a 1", "b 1", False), ("1,024 1", "1024 1", True)],
)
def test_outputs_that_differ_are_seen(said, written, alike):
    assert same(said, written) == alike

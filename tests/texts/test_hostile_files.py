"""Texts that are no files, or that never end: each ends in a sentence, soon, and without filling the memory."""

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from refusal import Refusal
from tests.models.limited import limited
from texts import sources
from texts.files import read_bytes
from texts.sources import read_text, text_digest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def soon():
    with limited():
        yield


def refused(path, says):
    for read in (read_text, text_digest):
        with pytest.raises(Refusal, match=says) as caught:
            read(str(path))
        assert "\n" not in str(caught.value) and str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_what_is_no_file(tmp_path, suffix):
    pipe, folder, door = (tmp_path / f"{name}{suffix}" for name in ("pipe", "folder", "door"))
    os.mkfifo(pipe)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(door))
        refused(door, "it is a socket, not a file")
    refused(pipe, "it is a pipe, not a file")
    refused(folder, "it is a folder, not a file")
    for name in ("zero", "random", "null", "tty"):
        (tmp_path / f"{name}{suffix}").symlink_to(f"/dev/{name}")
        refused(tmp_path / f"{name}{suffix}", "it is a device, not a file")


def test_links_to_regular_files_are_followed_and_links_in_a_circle_are_not(tmp_path):
    (tmp_path / "a.txt").write_text("prose")
    (tmp_path / "b.txt").symlink_to(tmp_path / "a.txt")
    assert read_text(str(tmp_path / "b.txt")) == "prose"
    for name, other in (("c", "d"), ("d", "c")):
        (tmp_path / f"{name}.txt").symlink_to(tmp_path / f"{other}.txt")
    refused(tmp_path / "c.txt", "cannot be read")


@pytest.mark.parametrize(
    "name",
    ["nul\0.txt", "\0.txt", "\udc80\ud800.txt", "x" * 3000 + ".txt", "/" + "x/" * 3000 + ".txt", "a\nb.txt", "x" * 10**6],
    ids=range(7),
)
def test_names_that_no_file_has(name):
    refused(name, "There is no text|cannot be read")


def test_only_the_start_of_a_huge_text_is_read(tmp_path):
    path = tmp_path / "huge.txt"
    path.write_bytes(b"prose ")
    with path.open("ab") as file:
        file.truncate(20 * 10**9)  # a hole: it takes no disk
    with resource_limit(3 * 10**9):
        assert len(read_text(str(path))) == sources._LONGEST


def test_a_line_without_end(tmp_path):
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as file:
        file.truncate(20 * 10**9)
    refused(path, "Line 1 of .* is longer than 64 MB")


def test_lines_without_text(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_LARGEST", 10_000)
    path = tmp_path / "many.jsonl"
    path.write_text(f"{json.dumps({'text': 'a', 'picture': 'x' * 90})}\n" * 200)
    refused(path, "is larger than 0.01 MB, and its texts are few")


def test_lines_are_read_until_there_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_LONGEST", 1000)
    path = tmp_path / "many.jsonl"
    path.write_text('{"text": "prose"}\n' * 300 + "no JSON")
    assert read_text(str(path)) == ("prose\n\n" * 300)[:1000]


@pytest.mark.parametrize(
    "line, says",
    [
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"text": ' + b"9" * 5000 + b"}", "Line 2 .* is not JSON"),
        (b'{"text": "caf\xe9"}', r"is not UTF-8 text \(byte 13 in line 2\)"),
        (b'{"text": "\\ud800"}', None),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
    ids=range(5),
)
def test_lines_that_are_none(tmp_path, line, says):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n' + line + b"\n")
    if says:
        refused(path, says)
    else:
        assert text_digest(str(path))  # half a letter is odd, and can be read


def test_a_limit_is_said(tmp_path):
    (tmp_path / "a.json").write_bytes(b"x" * 2_000_000)
    with pytest.raises(Refusal, match=r"a\.json is larger than 1 MB, the most that is read"):
        read_bytes(tmp_path / "a.json", 10**6)
    assert len(read_bytes(tmp_path / "a.json", 2_000_000)) == 2_000_000


def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "a.txt").write_text("prose")
    (tmp_path / "a.txt").chmod(0)
    if os.geteuid():
        refused(tmp_path / "a.txt", "Permission denied")


def test_the_shell_says_so_in_one_line(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    command = [sys.executable, "-m", "probes", "similarity", "--corpus", str(tmp_path / "a.txt")]
    environment = os.environ | {"PRUNESCOPE_DATA": str(tmp_path / "data")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "it is a pipe, not a file" in done.stderr


class resource_limit:
    """A bound on the memory of this process while the block lasts."""

    def __init__(self, more):
        self.more = more

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_AS)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + self.more, self.before[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_AS, self.before)

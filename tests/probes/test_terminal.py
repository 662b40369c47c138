"""The progress bar: on a terminal only, and gone when the work is done."""

import io

import pytest

from probes.terminal import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_how_far_it_is(monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with progress_bar() as progress:
        progress(0, 0, "waiting for its turn")
        progress(3, 4, "window 3 of 4")
        progress(1, 8, "another part of it")
    said = terminal.getvalue()
    assert "waiting for its turn" in said and "window 3 of 4  75 %" in said and "another part of it  12 %" in said
    assert "%" not in said.partition("window")[0]  # nobody knows the end yet
    assert said.endswith("\r") and said.rstrip("\r").rpartition("\r")[2].strip() == ""


@pytest.mark.parametrize("kind", [io.StringIO])
def test_a_file_sees_nothing(monkeypatch, kind):
    monkeypatch.setattr("sys.stderr", file := kind())
    with progress_bar() as progress:
        progress(3, 4, "window 3 of 4")
    assert file.getvalue() == ""

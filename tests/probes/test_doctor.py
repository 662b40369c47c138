"""The doctor: what is set and from where, what can be reached, what is free, and what is wrong; in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def doctor(tmp_path):
    """Ask it, with settings by name; gives the exit code and what it printed."""

    def asked(*options, **settings):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PRUNESCOPE_")}
        given = {"DATA": str(tmp_path / "data"), **settings}
        environment = kept | {"HF_HUB_OFFLINE": "1"} | {f"PRUNESCOPE_{name}": value for name, value in given.items()}
        command = [sys.executable, "-m", "probes", "doctor", *options]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout

    return asked


def lines(text, state):
    return [line for line in text.splitlines() if line.split()[0] == state]


def test_a_machine_that_is_well(doctor, tmp_path):
    code, text = doctor()
    assert code == 0 and lines(text, "wrong") == []
    assert lines(text, "set") == [f"set    data             {tmp_path / 'data'} (PRUNESCOPE_DATA)"]
    for about in ("data directory", "exports", "answers", "memory", "CPUs", "devices", "bundled model", "hub"):
        assert len([line for line in text.splitlines() if line[7:].startswith(about)]) == 1, about


def test_what_is_set_and_from_where(doctor, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('windows = 64\ntrust = ["a/b", "c/d"]\n')
    code, text = doctor("--json", CONFIG=str(file), WINDOWS="8", MEMORY="cpu=1GB", DEMO="yes")
    found = {each["about"]: each["says"] for each in json.loads(text) if each["state"] == "set"}
    assert code == 0 and found.pop("data")
    assert found == {
        "windows": "8 (PRUNESCOPE_WINDOWS)",
        "trust": f"a/b, c/d ({file})",
        "memory": "cpu=1000000000 (PRUNESCOPE_MEMORY)",
        "demo": "yes (PRUNESCOPE_DEMO)",
    }


def test_everything_that_is_wrong_is_told_at_once(doctor, tmp_path):
    (tmp_path / "file").write_text("")
    code, text = doctor(
        DATA=str(tmp_path / "file"),
        ROOTS=f"{tmp_path},/none/at/all",
        TASKS="/none/either",
        MEMORY="900TB",
        USER_HEADER="X-User",
    )
    wrong = "\n".join(lines(text, "wrong"))
    assert code == 1 and len(lines(text, "wrong")) == 8, wrong
    assert "data directory" in wrong and "cannot be made" in wrong and "There is no folder /none/at/all" in wrong
    assert "/none/either" in wrong and "more than this machine has" in wrong and "Set PRUNESCOPE_PROXIES" in wrong


def test_settings_that_cannot_be_read_are_the_one_thing_told(doctor):
    code, text = doctor(WINDOWS="many")
    assert code == 1 and text.startswith("wrong  settings") and "Write a whole number from 1" in text and text.count("\n") == 1


def test_a_database_that_is_none(doctor, tmp_path):
    (tmp_path / "data" / "answers").mkdir(parents=True)
    (tmp_path / "data" / "answers" / "cache.db").write_bytes(b"no database" * 999)
    code, text = doctor()
    [wrong] = lines(text, "wrong")
    assert code == 1 and "answers" in wrong and "could not be" in wrong

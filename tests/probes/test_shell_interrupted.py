"""Ctrl-C in a shell: the process ends soon with one line, and what it computed before stays."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SECONDS = 120


@pytest.fixture
def shell(tmp_path, tiny_folder):
    """Start the shell on a terminal of its own, where it says how far it is; end it afterwards."""
    (tmp_path / "prose.txt").write_text("The capital of France is Paris, and the capital of the arts. " * 20_000)
    asked = ["similarity", "--model", tiny_folder, "--corpus", tmp_path / "prose.txt", "--windows", 5000, "--length", 64]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))  # a bar needs room
    environment = os.environ | {"PRUNESCOPE_DATA": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "probes", *map(str, asked), "--device", "cpu"]
    # A shell makes what it starts in the background deaf to Ctrl-C, and with it whatever that starts.
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=theirs, preexec_fn=hears)
    os.close(theirs)
    yield process, ours
    process.kill()
    process.wait()
    process.stdout.close()
    os.close(ours)


def said(terminal, until=None):
    """What is said on a terminal, up to a word or to its end."""
    heard = b""
    while until is None or until not in heard:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        heard += part
    return heard


def test_ctrl_c_ends_with_one_line(shell):
    process, terminal = shell
    assert b"window" in said(terminal, until=b"window")
    process.send_signal(signal.SIGINT)
    rest = said(terminal).decode().replace("\r\n", "\n")
    assert process.wait(SECONDS) == 130 and process.stdout.read() == b""
    assert "Traceback" not in rest and rest.rpartition("\r")[2] == "probes: cancelled.\n"

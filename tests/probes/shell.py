"""The shell asked in this process, on a text of its own; for tests of its commands."""

from probes.__main__ import main

SMALL = ["--corpus", "prose.txt", "--windows", "2", "--length", "16", "--device", "cpu"]


def run(capsys, *words):
    """Exit code, stdout and stderr."""
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()

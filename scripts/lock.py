"""Lock what pyproject.toml asks for: requirements.lock, with the hashes of every file of each version, and torch.txt.

    make lock              versions that are locked stay where pyproject.toml allows them
    make lock LOCK=--upgrade    the newest of everything

One resolution by uv covers all extras, platforms and Pythons. torch and the CUDA libraries that it alone asks for, each in one
version, are left out: every index has its own builds of torch, so there is no one list of hashes.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
LOCK, TORCH = HERE / "requirements.lock", HERE / "torch.txt"
HEAD = "# Made by `make lock`. Under each ## is who asks for what follows: the app, or extras of pyproject.toml.\n"
WHY = "# Made by `make lock`. Without a hash: each index has its own builds of this version, for CPUs and for GPUs.\n"
_ENTRY = re.compile(r"^([\w.-]+)==.*(?:\n    .*)*", re.M)
_BY_TORCH = re.compile(r"(torch|triton|cuda-.*|nvidia-.*)$")


def compiled(uv: str, extras: list[str], output: Path, *more: str) -> dict[str, str]:
    """Entries by name, each with its marker and hashes, of the app with extras."""
    command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate"]
    chosen = [f"--extra={extra}" for extra in extras]
    subprocess.run([*command, "--python-version=3.11", *chosen, f"--output-file={output}", *more, PROJECT], check=True)
    return {match[1]: match[0] for match in _ENTRY.finditer(output.read_text(encoding="utf-8"))}


def main() -> None:
    """Write both files."""
    uv = shutil.which("uv", path=Path(sys.executable).parent) or "uv"
    extras = sorted(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"])
    with tempfile.TemporaryDirectory() as folder:
        everything, part = Path(folder, "all"), Path(folder, "part")
        if LOCK.exists():
            stands = re.findall(r"^[\w.-]+==[^\s;]+", LOCK.read_text(encoding="utf-8"), re.M)
            everything.write_text("\n".join(stands), encoding="utf-8")  # uv keeps these versions, and asks for their hashes
        entries = compiled(uv, extras, everything, *sys.argv[1:])
        same = f"--constraints={everything}"
        app = compiled(uv, [], part, same)
        asked = {extra: compiled(uv, [extra], part, same).keys() - app.keys() for extra in extras}
    blocks: dict[str, list[str]] = {"app": []}
    for name, entry in entries.items():
        if not _BY_TORCH.match(name):
            who = "app" if name in app else " ".join(extra for extra in extras if name in asked[extra])
            blocks.setdefault(who, []).append(entry)
    lines = (f"## {who}\n" + "\n".join(found) for who, found in blocks.items())
    LOCK.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    TORCH.write_text(WHY + re.match(r"torch==[\w.]+", entries["torch"])[0] + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""The Dockerfile as data, and what its last stage puts into a folder."""

import json
import re
import shlex
import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
Stage = list[tuple[str, str]]


def stages(text: str) -> list[Stage]:
    """Instructions and their arguments, stage by stage, without comments and continuations."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.M))
    found: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest.strip()))
    return found


def of(stage: Stage, word: str) -> list[str]:
    """Arguments of all instructions of a kind."""
    return [rest for each, rest in stage if each == word]


def environment(stage: Stage) -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in of(stage, "ENV") for pair in shlex.split(rest))


def command(text: str) -> list[str]:
    """A command in exec form, with or without what stands before it."""
    return json.loads(text[text.index("[") :])


def copy_sources(stage: Stage, app: Path) -> None:
    """What COPY lines take from the checkout, read-only."""
    for rest in of(stage, "COPY"):
        if not rest.startswith("--from"):
            *sources, target = rest.split()
            for name in sources:
                _copy(ROOT / name, app / target / ("" if target != "./" else name))
    for path in [app, *app.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

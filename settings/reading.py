"""From the environment and the TOML file to the settings; what is wrong there is told in one sentence.

``PRUNESCOPE_WINDOWS=64`` in the environment is ``windows = 64`` in the file, and the environment counts. The file is the one
that ``PRUNESCOPE_CONFIG`` names, else ``prunescope.toml`` in the folder that the app is started in.
"""

import os
import tomllib
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from refusal import Refusal
from settings.fields import Settings

PREFIX = "PRUNESCOPE_"
FILE = "prunescope.toml"
_BESIDE = {"CONFIG", "TEST_DEVICE"}  # variables that are no settings: where the file is, and one of the tests


def settings() -> Settings:
    """The settings as the environment and the file have them now.

    Raises
    ------
    Refusal
        A value cannot be read, a name is unknown, or the file is not TOML.
    """
    path = file_named()
    return _settings(_environment(), path, _stamp(path), str(Path.home()))


def file_named() -> Path | None:
    """The settings' file; None: there is none.

    Raises
    ------
    Refusal
        ``PRUNESCOPE_CONFIG`` names what is no file.
    """
    named = os.environ.get(PREFIX + "CONFIG", "")
    path = Path(os.path.expanduser(named or FILE))
    if path.is_file():
        return path
    if named:
        raise Refusal(f"PRUNESCOPE_CONFIG is '{named}', and there is no such file. Write the path of a TOML file, or nothing.")
    return None


def origin(name: str) -> str:
    """Where a setting comes from: the variable's name, the file's path, or ``default``."""
    if os.environ.get(variable(name)):
        return variable(name)
    path = file_named()
    return str(path) if path is not None and name in _written(path) else "default"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.upper().startswith(PREFIX)))


def _stamp(path: Path | None) -> tuple[int, int] | None:
    """Size and time of change in ns: a page asks for the settings several times per redraw."""
    if path is None:
        return None
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=4)
def _settings(environment: tuple[tuple[str, str], ...], path: Path | None, stamp: Any, home: str) -> Settings:
    """The settings of one state of the environment and the file. Refusals are not kept."""
    for name, _ in environment:
        _refuse_unknown(name.upper().removeprefix(PREFIX), name, PREFIX, str.upper, beside=_BESIDE)
    written = {} if path is None else _written(path)
    for name in written:
        _refuse_unknown(name.upper() if name.islower() else "", f"{name} in {path}", "", str.lower)
    try:
        return Settings(**written)
    except ValidationError as error:
        raise Refusal(_sentence(error, dict(environment), path)) from error


def _written(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # of a file that is not UTF-8, too
        raise Refusal(f"{path} cannot be read as TOML: {error}. Write lines such as windows = 64.") from error


def _refuse_unknown(name: str, said: str, prefix: str, spelled: Any, beside: frozenset[str] | set[str] = frozenset()) -> None:
    there = {field.upper() for field in Settings.model_fields}
    if name in there | beside:
        return
    near = get_close_matches(name, there, 1)
    instead = f"Did you mean {prefix}{spelled(near[0])}?" if near else "docs/operations.md lists the settings."
    raise Refusal(f"There is no setting {said}. {instead}")


def _sentence(error: ValidationError, environment: dict[str, str], path: Path | None) -> str:
    """The first of what is wrong: the variable, its value, and what to write."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    given = next((value for key, value in environment.items() if key.upper() == variable(name) and value), None)
    said = f"{variable(name)} is '{given}'" if given is not None else f"{name} in {path} is {first['input']!r}"
    write = Settings.model_fields[name].json_schema_extra["write"]
    return f"{said}, which cannot be read. Write {write}."

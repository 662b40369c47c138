"""Which models and texts of this machine may be opened: all where nobody else reaches the app, else what the operator named.

Links are followed before it is looked where they lead, and nothing is said of whether a path exists.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from refusal import Refusal
from settings.fields import Settings
from settings.folders import exports_folder
from settings.reading import settings

_listening = {"beyond": False}  # what the app says of this process; a shell listens nowhere
_BUNDLED = "bundled"


def listens(beyond: bool) -> None:
    """The app says whether this process can be reached from other machines."""
    _listening["beyond"] = beyond


def listed(now: Settings) -> bool:
    """Whether a path has to lie below a folder that the operator named."""
    return now.demo or now.paths == "listed" or (now.paths == "auto" and _listening["beyond"])


def refuse_text(name: str) -> None:
    """Refuse the path of a text that may not be opened.

    Raises
    ------
    Refusal
        It does not lie below a folder of PRUNESCOPE_ROOTS, and has to.
    """
    now = settings()
    if listed(now) and not _below(name, now.roots):
        raise Refusal(
            f"This server opens texts only {_where(now.roots)}. Paste or upload the text on the Model page instead, or ask the "
            "operator to name its folder in PRUNESCOPE_ROOTS."
        )


def refuse_model(name: str) -> None:
    """Refuse a model that may not be loaded.

    Raises
    ------
    Refusal
        It is none of PRUNESCOPE_MODELS, or a path that does not lie below a named folder, and has to.
    """
    now = settings()
    if now.demo and name != _BUNDLED:
        raise Refusal("This is a demonstration with the bundled model alone. Write `bundled`, or run PruneScope yourself.")
    if "any" not in now.models and name not in now.models and not _below(name, now.models):
        raise Refusal(f"This server loads only these models, and what lies below these folders: {_said(now.models)}.")
    folders = {*now.roots, *now.models - {"any"}, *now.trust, exports_folder()}
    if listed(now) and _is_path(name) and not _below(name, folders):
        raise Refusal(
            f"This server opens models only {_where((*now.roots, exports_folder()))}. Name a hub id or `bundled` instead, or "
            "ask the operator to name its folder in PRUNESCOPE_ROOTS."
        )


def _is_path(name: str) -> bool:
    """Whether it would be opened as a path, and not be looked up on the hub."""
    return name[:1] in ("/", ".", "~") or name.count("/") > 1 or name.endswith(".gguf") or os.path.exists(name)


def _below(name: str, folders: Iterable[str | Path]) -> bool:
    """Whether a path lies in one of the folders, once all links are followed; kept texts and answers never do."""
    path = _real(name)
    if path is None or (path.is_relative_to(_real(settings().data)) and not path.is_relative_to(_real(exports_folder()))):
        return False
    return any(path.is_relative_to(folder) for each in folders if (folder := _real(each)) is not None)


def _real(name: str | Path) -> Path | None:
    """An absolute path without links; None: the name is none."""
    try:
        return Path(os.path.realpath(os.path.expanduser(name)))
    except (OSError, ValueError):  # a NUL, or longer than any path
        return None


def _where(folders: Iterable[Path]) -> str:
    return f"from {_said(map(str, folders))}" if folders else "that are included, pasted or uploaded"


def _said(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))

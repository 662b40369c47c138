"""The files of a model's folder: regular ones, of a size that a model can need.

Links are followed, since the hub's cache is made of them; what they lead to must be a regular file as well.
"""

from pathlib import Path

from refusal import Refusal
from texts.files import status_of, too_large

# What transformers or we read of a folder, by the end of its name.
_READ = (".json", ".model", ".txt", ".jinja", ".py", ".yml", ".yaml", ".safetensors", ".bin")
_MB = 10**6
# Most bytes, by name or ending; the largest tokenizers there are have some 35 MB, the longest index 10 MB.
_MOST = {"config.json": 4 * _MB, "generation_config.json": 4 * _MB, ".json": 64 * _MB, ".model": 64 * _MB, ".txt": 64 * _MB,
         ".jinja": _MB, ".py": 4 * _MB, ".yml": _MB, ".yaml": _MB}  # fmt: skip
_TEMPLATES = "additional_chat_templates"  # a folder that transformers looks into


def refuse_odd_files(folder: Path) -> None:
    """Refuse a model whose files cannot be read to their end: pipes, devices, bombs.

    Raises
    ------
    Refusal
        Which file, and what it is.
    """
    try:
        listed = sorted(folder.iterdir())
        templates = folder / _TEMPLATES
        listed += sorted(templates.glob("*.jinja")) if templates.is_dir() else []
    except OSError as error:
        raise Refusal(f"The folder {folder} cannot be read: {error.strerror}.") from error
    for path in listed:
        if path.suffix not in _READ:
            continue
        found = status_of(path)
        most = _MOST.get(path.name, _MOST.get(path.suffix))
        if found is not None and most is not None and found.st_size > most:
            raise too_large(path, most)

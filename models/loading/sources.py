"""From what a person wrote (``bundled``, a folder, a GGUF file, a hub id) to files on this machine."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import category

from huggingface_hub import is_offline_mode, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from models.loading import bundled
from models.loading.checks.folder import refuse_odd_files
from models.loading.checks.gguf import gguf_header
from models.loading.progress_bars import bar_class
from models.loading.weight_files import ITEMSIZE, counted, read_json, weight_files
from refusal import Progress, Refusal, silent
from settings import refuse_model, settings
from texts.files import unreadable

_SMALL = ["*.json", "*.model", "*.jinja", "*.txt"]
_WEIGHTS = ["model.safetensors", "model-*.safetensors"]
_PICKLED = ["pytorch_model*.bin"]
_LONGEST = 1000  # letters of a name
_INSTEAD = "Name a local folder, or `bundled` for the model that comes with PruneScope."


@dataclass(frozen=True)
class Source:
    """Where a model's files are.

    Attributes
    ----------
    name : str
        As the person wrote it.
    folder : Path
        The local folder with config and tokenizer; of a hub model, without its weights until `fetched`.
    gguf : str
        Name of the GGUF file in the folder; empty: safetensors.
    revision : str or None
        Of a hub model.
    remote : bool
        A hub model.
    """

    name: str
    folder: Path
    gguf: str = ""
    revision: str | None = None
    remote: bool = False

    @property
    def trusted(self) -> bool:
        """Whether the operator lets this model run code of its own and load pickled weights."""
        return self.name in settings().trust

    @property
    def files(self) -> list[Path]:
        """The local weight files."""
        return [self.folder / self.gguf] if self.gguf else weight_files(self.folder, self.trusted)

    @property
    def complete(self) -> bool:
        """Whether all weight files are on this machine."""
        try:
            return bool(self.files)
        except Refusal:
            return False


def find(name: str, revision: str | None = None, progress: Progress = silent) -> Source:
    """Config and tokenizer of a model, on this machine; weights of a hub model stay where they are.

    Raises
    ------
    Refusal
        There is nothing of that name, or it cannot be reached.
    """
    refuse_model(name)
    if name == bundled.NAME:
        return Source(name, bundled.folder(progress))
    if source := _local(name):
        return source
    source = Source(name, Path(), revision=revision, remote=True)
    code = ["*.py"] if source.trusted else []
    source = replace(source, folder=_snapshot(name, revision, allow_patterns=[*_SMALL, *code]))
    refuse_odd_files(source.folder)
    if not (source.folder / "config.json").is_file():
        raise Refusal(f"The hub repository '{name}' has no config.json, so it is not a transformers model. {_INSTEAD}")
    return source


def here(name: str, revision: str | None = None) -> Source:
    """A model whose files are all on this machine; nothing is downloaded or unpacked, and no network is asked.

    Raises
    ------
    Refusal
        There is nothing of that name, or not all of it is on this machine.
    """
    refuse_model(name)
    if name == bundled.NAME:
        if bundled.converted().is_dir():
            return Source(name, bundled.converted())
        raise Refusal("The bundled model is not unpacked yet; load it first.")
    if source := _local(name):
        return source
    _refuse_odd_revision(revision)
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=_SMALL))
    except HFValidationError as error:
        raise Refusal(f"{_no_id(name)} {_INSTEAD}") from error
    except LocalEntryNotFoundError as error:
        raise Refusal(f"'{name}' is not on this machine yet; load it first.") from error
    refuse_odd_files(folder)
    source = Source(name, folder, revision=revision, remote=True)
    if not source.complete:
        raise Refusal(f"'{name}' is only partly on this machine; load it first.")
    return source


def _local(name: str) -> Source | None:
    """What a folder or a GGUF file holds; None for what looks like a hub id."""
    if not name.strip():
        raise Refusal(f"No model was named. {_INSTEAD}")
    if len(name) > _LONGEST or any(category(letter) in ("Cc", "Cs") for letter in name):
        what = f"is longer than {_LONGEST:,} letters" if len(name) > _LONGEST else "has characters that cannot be printed"
        raise Refusal(f"No model has such a name: it {what}. {_INSTEAD}")
    path = Path(os.path.expanduser(name))  # Path.expanduser would raise where "~somebody" has no home
    try:
        return _inside(name, path)
    except (OSError, ValueError) as error:
        if isinstance(error, Refusal):
            raise
        raise unreadable(path, error) from error


def _inside(name: str, path: Path) -> Source | None:
    if path.is_file() and path.suffix == ".gguf":
        return Source(name, path.parent, gguf=path.name)
    if path.is_dir():
        refuse_odd_files(path)
        if not (path / "config.json").is_file():
            raise Refusal(f"{name} has no config.json, so it is not a model. Save one there with `save_pretrained`.")
        return Source(name, path)
    if path.exists():
        raise Refusal(f"{name} is not a model. Name a folder with safetensors files, or a .gguf file.")
    if name.count("/") > 1 or name[:1] in ("/", ".", "~") or name.endswith(".gguf"):
        raise Refusal(f"There is no folder or GGUF file '{name}'. {_INSTEAD}")
    return None


def fetched(source: Source, progress: Progress = silent) -> Source:
    """The same source with its weights on this machine."""
    if source.remote:
        bar = bar_class(progress, lambda bar: f"downloading {source.name}" if bar.unit == "B" else None)
        _snapshot(source.name, source.revision, allow_patterns=_patterns(source), tqdm_class=bar)
        refuse_odd_files(source.folder)
    return source


def size(source: Source) -> tuple[int, str]:
    """Parameters of a model and the dtype they are stored in, without loading or downloading weights."""
    if source.gguf:
        return gguf_size(source.folder / source.gguf)
    dtype = _dtype(read_json(source.folder / "config.json"))
    if source.remote and not source.complete:
        listed = _snapshot(source.name, source.revision, allow_patterns=_patterns(source), dry_run=True)
        return sum(file.file_size for file in listed) // (4 if dtype == "float32" else 2), dtype or "bfloat16"
    parameters, stored = counted(source.files)
    return parameters, dtype or stored


def gguf_size(path: Path) -> tuple[int, str]:
    """Parameters of a GGUF file; they are unpacked to float32."""
    return gguf_header(path).numbers, "float32"


def _dtype(config: dict) -> str:
    """The dtype a config names, by its new or old key; empty: none."""
    text = config.get("text_config")
    both = (config, text if isinstance(text, dict) else {})
    found = next((str(c[key]) for c in both for key in ("dtype", "torch_dtype") if c.get(key)), "")
    if found and (found := found.removeprefix("torch.")) not in ITEMSIZE:
        raise Refusal(f"config.json names the dtype '{found[:60]}', which is unknown. Write one of {', '.join(ITEMSIZE)}.")
    return found


def _patterns(source: Source) -> list[str]:
    return _WEIGHTS + (["*.py", *_PICKLED] if source.trusted else [])


def _snapshot(name: str, revision: str | None, **options):
    """`snapshot_download`, with each way to fail told in a sentence."""
    _refuse_odd_revision(revision)
    version = f" at revision '{revision}'" if revision else ""
    try:
        found = snapshot_download(name, revision=revision, **{"tqdm_class": bar_class(silent, _unsaid), **options})
        return found if options.get("dry_run") else Path(found)
    except HFValidationError as error:
        why, cause = _no_id(name), error
    except GatedRepoError as error:
        why, cause = f"'{name}' asks for consent: accept its terms on its hub page and set HF_TOKEN.", error
    except RevisionNotFoundError as error:
        why, cause = f"'{name}' has no revision '{revision}'; without one, the newest is taken.", error
    except RepositoryNotFoundError as error:
        why, cause = f"The hub has no '{name}', or it is private and HF_TOKEN is not set.", error
    except (LocalEntryNotFoundError, HfHubHTTPError, ConnectionError) as error:
        reason = "HF_HUB_OFFLINE is set" if is_offline_mode() else "the hub cannot be reached"
        why, cause = f"'{name}'{version} is not on this machine, and {reason}.", error
    raise Refusal(f"{why} {_INSTEAD}") from cause


def _refuse_odd_revision(revision: str | None) -> None:
    """Of a name with dots the hub's library would look elsewhere on this machine."""
    if revision and (len(revision) > 250 or not revision.isprintable() or revision[0] == "/" or ".." in revision.split("/")):
        raise Refusal(f"'{revision[:60]}' cannot be a revision. Write a branch, a tag or a commit, or nothing for the newest.")


def _no_id(name: str) -> str:
    return f"'{name}' is neither a folder here nor a hub id, which looks like owner/name."


def _unsaid(bar: object) -> None:
    """Small files are not worth a word."""

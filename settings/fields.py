"""Every setting: its type, its default, what it means, and what to write."""

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from settings.values import memory_limits, most, names, networks, size_in_bytes

MB = 10**6

Names = Annotated[frozenset[str], NoDecode, BeforeValidator(names)]
Folder = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]
Folders = Annotated[tuple[Folder, ...], NoDecode, BeforeValidator(names)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(networks)]
Most = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(most)]


def _field(default: Any, shown: str, says: str, write: str) -> Any:
    """A setting: its default, as such and in words, what it means, and what to write."""
    return Field(default, description=says, json_schema_extra={"write": write, "shown": shown})


class Settings(BaseSettings):
    """What is set. The description of each field is its line in docs/operations.md."""

    model_config = SettingsConfigDict(env_prefix="PRUNESCOPE_", env_ignore_empty=True, extra="forbid", frozen=True)

    data: Folder = _field(
        Path(platformdirs.user_cache_dir("prunescope")), "the platform's cache folder",
        "folder for the unpacked model, kept texts and answers. Keep it on a local disk: SQLite is unsafe on network file "
        "systems",
        "a folder that you can write to, such as /srv/prunescope",
    )  # fmt: skip
    exports: Folder | None = _field(
        None, "`exports` in the data directory", "folder for exported models, the only one that exports are written to",
        "a folder that you can write to, such as /srv/exports",
    )  # fmt: skip
    tasks: Folder | None = _field(
        None, "none",
        "folder with evaluation tasks of your own (YAML of lm-evaluation-harness, which may hold code that is run)",
        "a folder, such as /srv/tasks",
    )  # fmt: skip
    store: Annotated[int, BeforeValidator(size_in_bytes), Field(ge=MB)] = _field(
        10 * 2**30, "10GiB", "disk space for stored answers; beyond it, the least recently used are forgotten",
        "a size of 1MB or more, such as 10GiB or 500MB",
    )  # fmt: skip
    memory: Annotated[tuple[tuple[str, int], ...], NoDecode, BeforeValidator(memory_limits)] = _field(
        (), "80 % of what is free",
        "total memory for loaded models: `16GB` of each kind, or `cpu=16GB,cuda=40GB`",
        "a size for each memory, as in 16GB or 500MB, or name the memory: cpu=16GB,cuda=40GB",
    )  # fmt: skip
    models: Names = _field(
        frozenset({"any"}), "`any`",
        "models that may be loaded: `any`, or hub ids, `bundled`, and folders whose models are all allowed",
        "any, or comma-separated names, such as bundled,owner/name,/srv/models",
    )  # fmt: skip
    trust: Names = _field(
        frozenset(), "none", "hub ids or folders, comma-separated, that may run their own code and load pickled weights",
        "comma-separated names, such as owner/name,/srv/models/mine",
    )  # fmt: skip
    paths: Literal["auto", "any", "listed"] = _field(
        "auto", "`auto`",
        "which models and texts of this machine may be opened by their path: `any`, or only those below the folders "
        "of `roots` (`listed`); `auto` is `any` where the app listens on this machine alone, else `listed`",
        "auto, any or listed",
    )  # fmt: skip
    roots: Folders = _field(
        (), "none", "folders of models and texts, comma-separated, that every visitor may open",
        "comma-separated folders, such as /srv/models,/srv/texts",
    )  # fmt: skip
    demo: bool = _field(
        False, "`no`", "`yes`: a demo with the bundled model only, where nothing can be forgotten, uploaded or exported",
        "yes or no",
    )  # fmt: skip
    windows: Most = _field(
        None, "`none`", "maximum number of windows of text per question", "a whole number from 1, such as 64, or none",
    )  # fmt: skip
    tokens: Most = _field(
        None, "`none`", "maximum number of tokens of text per question: windows times their length",
        "a whole number from 1, such as 100000, or none",
    )  # fmt: skip
    new_tokens: Annotated[int, Field(ge=1)] = _field(
        4096, "`4096`", "maximum number of tokens generated after one prompt", "a whole number from 1, such as 512",
    )  # fmt: skip
    jobs: Most = _field(
        None, "`none`", "maximum number of jobs that one person may have queued or running",
        "a whole number from 1, such as 4, or none",
    )  # fmt: skip
    upload: Annotated[int, Field(ge=1, le=2048)] = _field(
        2048, "`2048`", "maximum size of one upload, in megabytes", "a whole number of megabytes from 1 to 2048, such as 200",
    )  # fmt: skip
    user_header: str = _field(
        "", "none", "the header in which a proxy names the user; trusted only from the addresses in `proxies`",
        "the name of a header, such as X-Forwarded-User",
    )  # fmt: skip
    proxies: Networks = _field(
        (), "none", "addresses or networks, comma-separated, of the proxies whose header is trusted",
        "comma-separated addresses or networks, such as 127.0.0.1,172.16.0.0/12",
    )  # fmt: skip
    operators: Names = _field(
        frozenset(), "none", "users who may forget everybody's answers and cancel everybody's jobs; `*`: everybody",
        "comma-separated names, such as ada@example.com,grace@example.com",
    )  # fmt: skip
    open: bool = _field(
        False, "`no`",
        "`yes`: listen beyond this machine without a login, so that anyone who reaches the port can use the app",
        "yes or no",
    )  # fmt: skip
    executor: Literal["threads", "worker", "ray"] = _field(
        "threads", "`threads`",
        "what computes the answers: `threads` of the app, a `worker` process that holds the models, or a `ray` cluster",
        "threads, worker or ray",
    )  # fmt: skip
    ray: Annotated[str, Field(pattern=r"^(auto|[^\s/]+:\d+)$")] = _field(
        "auto", "`auto`", "the Ray cluster: the address of its head, or `auto` for the one that runs on this machine",
        "an address such as 10.0.0.1:6379, or auto",
    )  # fmt: skip
    ray_cpus: Annotated[int, Field(ge=1)] = _field(
        1, "`1`", "CPUs of a Ray cluster that each model computes on", "a whole number from 1, such as 8",
    )  # fmt: skip
    log: Literal["text", "json"] = _field("text", "`text`", "log format: lines of `text` or `json`", "text or json")

    def limit(self, memory: str) -> int | None:
        """Most bytes for models in one memory, ``cpu`` or ``cuda``; None: no fixed limit."""
        return dict(self.memory).get(memory)

    @classmethod
    def settings_customise_sources(cls, settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings):
        """The environment first, then what the file says, which the reader hands over."""
        return env_settings, init_settings

"""The image without a builder: its steps in a plain folder, by an ordinary user; and a linter on the file."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from benchmarks.server import answered, free_port
from pages.serving.stopping import ALL
from tests.serving.dockerfile import ROOT, command, copy_sources, environment, of, stages
from tests.serving.server import get

BUILD, IMAGE = stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
USER = of(IMAGE, "USER")[-1]


def as_user() -> list[str]:
    """What to put before a command so that an ordinary user runs it.

    The interpreter may lie in a folder that is root's alone, which the image's does not: it may read, and write nothing.
    """
    if os.getuid():
        return []
    may_read = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs", *may_read]


@pytest.fixture
def folder():
    """A folder that an ordinary user reaches; pytest keeps its own to whoever runs it."""
    with tempfile.TemporaryDirectory(prefix="prunescope-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
        for each in (path / "app").rglob("*"):
            each.chmod(0o755)  # or it could not be removed


def container(folder: Path, port: int) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The environment and the commands of the image, moved into a folder and to another port."""
    moved = {"/opt/venv/bin": str(Path(sys.executable).parent), "/data": str(folder / "data")}
    given = environment(IMAGE) | {"PRUNESCOPE_OPEN": "yes", "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder / "tmp")}
    for name, value in given.items():
        for here, there in moved.items():
            value = value.replace(here, there)
        given[name] = value.replace("$PATH", os.defpath)
    texts = {word: of(IMAGE, word)[-1].replace("8501", str(port)) for word in ("CMD", "HEALTHCHECK")}
    return given, {word: command(text) for word, text in texts.items()}


def test_the_steps_of_the_image_make_a_server_that_writes_its_data_alone(folder):
    app, port = folder / "app", free_port()
    for name in ("data", "tmp"):
        (folder / name).mkdir()
        if not os.getuid():
            os.chown(folder / name, int(USER), int(USER))
    copy_sources(IMAGE, app)
    given, commands = container(folder, port)
    given |= {"HOME": str(folder / "none"), "OMP_NUM_THREADS": "1"}
    before = sorted(app.rglob("*"))
    assert subprocess.run([*as_user(), *commands["HEALTHCHECK"]], env=given, capture_output=True).returncode != 0
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*as_user(), *commands["CMD"]], cwd=app, env=given, stdout=log, stderr=log)
    try:
        answered(f"http://127.0.0.1:{port}/ready", process, folder / "log")
        health = subprocess.run([*as_user(), *commands["HEALTHCHECK"]], env=given, capture_output=True, text=True)
        assert health.returncode == 0, get(f"http://127.0.0.1:{port}/ready")[1]
        assert Path(f"/proc/{process.pid}").stat().st_uid == (int(USER) if not os.getuid() else os.getuid())
        process.send_signal(getattr(signal, of(IMAGE, "STOPSIGNAL")[-1]))
        assert process.wait(ALL + 10) in (0, -signal.SIGTERM), (folder / "log").read_text()
    finally:
        process.kill()
        process.wait()
    assert sorted(app.rglob("*")) == before and not (folder / "none").exists()
    assert (folder / "data" / "answers").is_dir()


def test_the_build_stage_has_what_it_runs(folder):
    """The step that unpacks the bundled model, up to where it begins to."""
    copy_sources(BUILD, folder / "app")
    [unpacks] = [rest for rest in of(BUILD, "RUN") if "bundled.folder()" in rest]
    code = unpacks.partition(" -c ")[2].strip('"').replace("folder()", "NAME")
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=folder / "app", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for rest in of(BUILD, "RUN"):
        for word in rest.split():
            assert not word.startswith("scripts/") or (folder / "app" / word).is_file()


def test_compose_takes_from_the_container_what_the_app_does_not_need():
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["prunescope"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["mem_limit"] and service["pids_limit"]
    writable = {volume.rpartition(":")[2] for volume in service["volumes"]}
    assert writable == set(command(of(IMAGE, "VOLUME")[-1])) == {"/data", "/tmp"}
    assert int(service["stop_grace_period"].removesuffix("s")) > ALL


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "examples").glob("compose.*.yaml")), ids=lambda path: path.name)
def test_examples_add_to_the_service_that_there_is(path):
    class Loader(yaml.SafeLoader):
        """With compose's own tags."""

    Loader.add_constructor("!reset", lambda loader, node: None)
    example = yaml.load(path.read_text(encoding="utf-8"), Loader)
    assert "prunescope" in example["services"] and f"docs/examples/{path.name}" in path.read_text(encoding="utf-8")


def test_the_linter_finds_nothing():
    linter = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("There is no hadolint here: `make test` installs it on Linux for x86_64.")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")

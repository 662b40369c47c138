"""Setting up: `make run`, the image and pyproject.toml stay in step."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# What an import is called that is not called like its distribution.
DISTRIBUTIONS = {
    "sklearn": "scikit-learn", "yaml": "pyyaml", "huggingface_hub": "huggingface-hub", "prometheus_client": "prometheus-client",
    "pydantic_settings": "pydantic-settings",
}  # fmt: skip


def packages():
    """Top-level folders with code that the app runs."""
    return {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests", "scripts", "docs"}


def imported():
    """Top-level names that the app's code imports."""
    files = [path for package in packages() for path in (ROOT / package).rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[0] for name in plain | {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}}


def test_makefile_and_image_install_by_the_same_script():
    assert "scripts/install.sh" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "scripts/install.sh" in DOCKERFILE
    assert "pip install" not in (ROOT / "Makefile").read_text(encoding="utf-8") + DOCKERFILE


def test_image_has_each_package():
    copied = set(re.findall(r"^COPY (\w+) \./\1$", DOCKERFILE, re.M))
    assert packages() <= copied
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    missing = [name for name in re.findall(r"^COPY ([\w.]+) ", DOCKERFILE, re.M) if f"!{name}\n" not in kept]
    assert not missing


def test_image_is_healthy_only_if_it_is_ready():
    check = DOCKERFILE.partition("HEALTHCHECK")[2]
    assert "/ready" in check and "urlopen" in check, "it answers 503 where it is not, and urlopen raises"


def test_image_does_not_run_as_root():
    assert re.search(r"^USER [1-9]\d+$", DOCKERFILE.rpartition("FROM ")[2], re.M)


def test_each_import_is_a_named_dependency():
    named = {re.match(r"[\w-]+", line)[0] for line in PROJECT["dependencies"]}
    extras = (PROJECT["optional-dependencies"][name] for name in PROJECT["optional-dependencies"])
    optional = {re.match(r"[\w-]+", line)[0] for lines in extras for line in lines}
    ours = {path.stem for path in ROOT.glob("*.py")}
    outside = imported() - packages() - ours - set(sys.stdlib_module_names) - {""}
    assert {DISTRIBUTIONS.get(name, name) for name in outside} <= named | optional


def test_torch_stays_satisfiable_by_what_a_machine_has():
    assert "torch>=2.6,<2.14" in PROJECT["dependencies"]


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_an_old_python_is_told_in_a_sentence(tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / "install.sh", tmp_path / "venv"],
        env=os.environ | {"PYTHON": str(old)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()

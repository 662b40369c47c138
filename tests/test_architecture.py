"""The shape of the project: which way imports point, how long things may be, and what a probe has to bring along.

Each rule is a function that lists what breaks it, tried on a small bad tree as well, so that none can pass by not looking.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes import PROBES

ROOT = Path(__file__).parent.parent
PACKAGES = ("pages", "charts", "probes", "models", "cache")
DOWN = ["app", "pages", "charts", "probes", "models"]  # each may import what stands to its right
CACHE_DOORS = {"pages/_shell.py", "pages/_workbench.py", "pages/storage.py", "probes/ask.py", "probes/__main__.py"}
AT_HOME = {"streamlit": ("app", "pages"), "plotly": ("charts",)}
FILE_LINES, FUNCTION_LINES = 250, 40
PICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# Letters in brackets, or this file would be found as well.
WORKPLACE = re.compile(r"\biss[u]es?\b|/wor[k]/|/roo[t]/|pypi[.]org|pythonhoste[d]|\bhelper sessio[n]", re.I)


# The rules


def sources(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """Path from the root and syntax tree of every module that the app runs."""
    for path in [*root.glob("*.py"), *(path for name in PACKAGES for path in sorted(root.glob(f"{name}/**/*.py")))]:
        yield path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(module: ast.Module, package: str) -> set[str]:
    """Top-level names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(package if node.level else node.module.split(".")[0])
    return names


def wrong_imports(root: Path) -> list[str]:
    """Arrows that point up or sideways, and libraries away from home."""
    wrong = []
    for path, module in sources(root):
        home = path.split("/")[0].removesuffix(".py")
        for name in sorted(imported(module, home) - {home}):
            up = name in DOWN and (home not in DOWN or DOWN.index(name) < DOWN.index(home))
            past_the_door = name == "cache" and path not in CACHE_DOORS
            if up or past_the_door or home not in AT_HOME.get(name, (home,)):
                wrong.append(f"{path} imports {name}")
    return wrong


def docstring_lines(node: ast.FunctionDef) -> int:
    """Lines of a function's docstring, which make it easier to hold and not longer."""
    return node.body[0].end_lineno - node.body[0].lineno + 1 if ast.get_docstring(node) else 0


def too_long(root: Path) -> list[str]:
    """Files and functions beyond the hard limits."""
    found = []
    for path, module in sources(root):
        lines = len((root / path).read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES:
            found.append(f"{path} has {lines} lines")
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1 - docstring_lines(node)
                if lines > FUNCTION_LINES:
                    found.append(f"{path}: {node.name} has {lines} lines")
    return found


def pickles(root: Path) -> list[str]:
    """Whatever writes or reads pickles, under its own name or another's."""
    found = []
    for path, module in sources(root):
        found += [f"{path} imports {name}" for name in sorted(imported(module, "") & PICKLING)]
        for node in ast.walk(module):
            if isinstance(node, ast.Attribute | ast.Name | ast.alias):
                name = getattr(node, "attr", None) or getattr(node, "id", None) or node.name
                if name in ("cache_data", "memoize"):
                    found.append(f"{path}: {name}")
            if isinstance(node, ast.Call) and _loads_pickles(node):
                found.append(f"{path}: {ast.unparse(node)}")
    return found


def _loads_pickles(call: ast.Call) -> bool:
    called = ast.unparse(call.func)
    refused = any(
        each.arg == "allow_pickle" and isinstance(each.value, ast.Constant) and each.value.value is False
        for each in call.keywords
    )
    return called in ("torch.load", "torch.save") or (called in ("np.load", "numpy.load") and not refused)


def missing_of(probe: str, root: Path) -> list[str]:
    """What a registered probe has not brought along."""
    files = [f"probes/{probe}.py", f"charts/{probe}.py", f"tests/probes/test_{probe}.py"]
    found = [file for file in files if not (root / file).is_file()]
    docs = root / "docs" / "probes.md"
    if not docs.is_file() or not re.search(rf"^## {probe}$", docs.read_text(encoding="utf-8"), re.M):
        found.append(f"the heading '## {probe}' in docs/probes.md")
    asking = re.compile(rf"\bask(?:_each)?\(\s*\"{probe}\"")
    if not any(asking.search(page.read_text(encoding="utf-8")) for page in root.glob("pages/*.py")):
        found.append(f"a page that asks '{probe}'")
    return found


def unnamed(readme: str, root: Path, entries: set[str]) -> list[str]:
    """Top-level entries and modules that the README's tree does not name."""
    tree = readme.splitlines()
    found = [entry for entry in sorted(entries) if not _named(entry, "\n".join(tree))]
    for package in PACKAGES:
        section = "\n".join(_section(tree, f"{package}/"))
        modules = (path.name for path in sorted(root.glob(f"{package}/*.py")) if path.name != "__init__.py")
        found += [f"{package}/{module}" for module in modules if not _named(module, section)]
    return found


def _named(name: str, text: str) -> bool:
    return bool(re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w.-]*\w)", text))


def _section(lines: list[str], folder: str) -> list[str]:
    """The lines of a tree under a folder, its own one included; drawn with lines or only indented."""
    plain = [re.sub("[│├└─]", " ", line) for line in lines]
    depth = [len(line) - len(line.lstrip()) for line in plain]
    start = next((i for i, line in enumerate(plain) if line.lstrip().startswith(folder)), None)
    if start is None:
        return []
    rest = range(start + 1, len(lines))
    stop = next((i for i in rest if plain[i].strip() and depth[i] <= depth[start]), len(lines))
    return plain[start:stop]


def workplace(root: Path, names: list[str]) -> list[str]:
    """Words of where the project was made, which a reader of it cannot know."""
    found = []
    for name in names:
        text = (root / name).read_bytes().decode("utf-8", "replace")
        found += [f"{name}: {match[0]}" for match in WORKPLACE.finditer(f"{name}\n{text}")]
    return found


@pytest.fixture(scope="module")
def tracked():
    """Files that belong to the project: tracked, or about to be."""
    if not (ROOT / ".git").exists():
        pytest.skip("This is no git checkout, so there is no list of its files.")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(listing, cwd=ROOT, text=True).split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


# The project keeps them


def test_imports_point_down():
    assert wrong_imports(ROOT) == []


def test_nothing_is_too_long():
    assert too_long(ROOT) == []


def test_nothing_is_pickled():
    assert pickles(ROOT) == []


@pytest.mark.parametrize("probe", [probe.name for probe in PROBES])
def test_a_probe_brings_its_chart_page_docs_and_tests(probe):
    assert missing_of(probe, ROOT) == []


def test_the_project_speaks_of_itself_alone(tracked):
    ours = [name for name in tracked if name != "LICENSE" and not name.endswith((".png", ".gif", ".ico"))]
    assert workplace(ROOT, ours) == []


def test_the_readme_names_every_file(tracked):
    ignored = {".gitignore", ".dockerignore", "README.md"}
    entries = {name.split("/")[0] + ("/" if "/" in name else "") for name in tracked} - ignored
    assert unnamed((ROOT / "README.md").read_text(encoding="utf-8"), ROOT, entries) == []


# And none of them passes by not looking


def planted(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.mark.parametrize(
    "path, text, says",
    [
        ("models/a.py", "import probes.base", "models/a.py imports probes"),
        ("models/a.py", "def f():\n    from charts import style", "models/a.py imports charts"),
        ("models/a.py", "from cache.store import Store", "models/a.py imports cache"),
        ("cache/a.py", "from models import Refusal", "cache/a.py imports models"),
        ("cache/a.py", "import streamlit", "cache/a.py imports streamlit"),
        ("probes/similarity.py", "import cache", "probes/similarity.py imports cache"),
        ("probes/a.py", "import plotly.graph_objects as go", "probes/a.py imports plotly"),
        ("charts/a.py", "import streamlit as st", "charts/a.py imports streamlit"),
        ("charts/a.py", "from pages import _shell", "charts/a.py imports pages"),
        ("pages/a.py", "import app", "pages/a.py imports app"),
        ("pages/a.py", "import plotly", "pages/a.py imports plotly"),
        ("pages/a.py", "from cache import store", "pages/a.py imports cache"),
    ],
)
def test_an_arrow_that_points_up_is_seen(tmp_path, path, text, says):
    planted(tmp_path, path, text)
    assert wrong_imports(tmp_path) == [says]


def test_an_arrow_that_points_down_is_fine(tmp_path):
    planted(tmp_path, "app.py", "import streamlit\nfrom pages import _shell")
    planted(tmp_path, "pages/_shell.py", "from . import a\nimport charts, models, cache.store, streamlit")
    assert wrong_imports(tmp_path) == []


def test_what_is_too_long_is_seen(tmp_path):
    planted(tmp_path, "models/a.py", "x = 1\n" * 251)
    planted(tmp_path, "models/b.py", "def f():\n" + "    x = 1\n" * 40)
    planted(tmp_path, "models/c.py", "class C:\n    def f(self):\n" + "        x = 1\n" * 39)
    assert too_long(tmp_path) == ["models/a.py has 251 lines", "models/b.py: f has 41 lines"]


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import dump",
        "def f():\n    import cloudpickle",
        "torch.load('a.bin')",
        "@st.cache_data\ndef f(): ...",
        "from streamlit import cache_data",
        "@cache.memoize()\ndef f(): ...",
        "np.load('a.npz')",
        "np.load('a.npz', allow_pickle=True)",
    ],
)
def test_a_pickle_is_seen(tmp_path, text):
    planted(tmp_path, "models/a.py", text)
    assert pickles(tmp_path)


def test_arrays_without_pickles_are_fine(tmp_path):
    planted(tmp_path, "models/a.py", "np.load('a.npz', allow_pickle=False)\n'pickle, torch.load'")
    assert pickles(tmp_path) == []


def test_what_a_probe_lacks_is_seen(tmp_path):
    assert len(missing_of("novel", tmp_path)) == 5
    for file in ("probes/novel.py", "charts/novel.py", "tests/probes/test_novel.py"):
        planted(tmp_path, file, "")
    planted(tmp_path, "docs/probes.md", "## novels\n### novel\n")
    planted(tmp_path, "pages/novel.py", 'ask("novels")')
    assert len(missing_of("novel", tmp_path)) == 2
    planted(tmp_path, "docs/probes.md", "# Probes\n\n## novel\n")
    planted(tmp_path, "pages/novel.py", '_shell.ask(\n    "novel", "Measure")')
    assert missing_of("novel", tmp_path) == []


def test_words_of_the_workplace_are_seen(tmp_path):
    planted(tmp_path, "a.md", f"See issu{'e'} 7, in /wor{'k'}/main.")
    planted(tmp_path, "b.md", "A tissue of lies, about the roots of network/work.")
    assert len(workplace(tmp_path, ["a.md"])) == 2
    assert workplace(tmp_path, ["b.md"]) == []


@pytest.mark.parametrize("bar, turn", [("", "    "), ("├── ", "│   ├── ")])
def test_a_module_without_a_line_is_seen(tmp_path, bar, turn):
    planted(tmp_path, "probes/similarity.py", "")
    planted(tmp_path, "charts/similarity.py", "")
    tree = [f"{bar}app.py  the menu", f"{bar}charts/  pictures", f"{turn}style.py", f"{bar}probes/", f"{turn}similarity.py x"]
    assert unnamed("\n".join(tree), tmp_path, {"app.py", "Makefile"}) == ["Makefile", "charts/similarity.py"]
    tree[2:2] = [f"{turn}similarity.py fidelity.py"]
    assert unnamed("\n".join([*tree, "Makefile"]), tmp_path, {"app.py", "Makefile", "charts/"}) == []

"""The shape of the project: which way imports point, how long things may be, and what a probe has to bring along.

Each rule is a function that lists what breaks it, tried on a small bad tree as well, so that none can pass by not looking.
"""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes import PROBES

ROOT = Path(__file__).parent.parent
# The one list of layers: each may import what stands below it. The Dockerfile and the README's tree are held against it.
LAYERS = ("asgi", "app", "pages", "charts", "probes", "plans", "models", "texts", "measures")
PACKAGES = (*LAYERS[2:], "cache", "settings")  # folders of modules; `cache` knows nothing of the others
BELOW = ("settings", "refusal")  # what every layer but `cache` may import
# Few doors lead to the cache.
CACHE_DOORS = {
    "pages/shell/progress.py", "pages/shell/question.py", "pages/shell/workbench.py", "pages/storage.py",
    "probes/access/doctor.py", "probes/answer.py", "probes/bundles.py",
    "probes/executors/choice.py", "probes/executors/cluster.py", "probes/executors/remote.py", "probes/executors/served.py",
    "probes/executors/threads.py", "probes/executors/worker.py",
    "probes/generation/writing.py", "probes/decision/book.py", "probes/export.py", "probes/generation/comparison.py",
    "probes/generation/votes.py",
    "probes/kept.py", "probes/known.py", "probes/question.py", "probes/__main__.py",
}  # fmt: skip
AT_HOME = {"streamlit": ("asgi", "app", "pages"), "plotly": ("charts",)}
FILE_LINES, FUNCTION_LINES, FOLDER_FILES = 250, 40, 14
SAME_WORK, SAME_WORDS = 60, 24  # characters of a function and of a table from which two that are the same are no accident
LITERALS = ast.Dict | ast.Set | ast.List | ast.Tuple | ast.Constant
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
            up = name in LAYERS and (home not in LAYERS or LAYERS.index(name) < LAYERS.index(home))
            up = up or (name in BELOW and home in ("cache", "refusal"))  # settings may refuse
            past_the_door = name == "cache" and path not in CACHE_DOORS
            if up or past_the_door or home not in AT_HOME.get(name, (home,)):
                wrong.append(f"{path} imports {name}")
    return wrong


def circles(root: Path) -> list[str]:
    """Files that import each other, directly or through others, wherever in them the import stands."""
    modules = dict(sources(root))
    names = {path.removesuffix("/__init__.py").removesuffix(".py").replace("/", "."): path for path in modules}
    arrows = {path: _imported_files(path, module, names) for path, module in modules.items()}
    while leaves := [path for path, to in arrows.items() if not to & set(arrows)]:
        for leaf in leaves:  # nothing that is left imports it in a circle
            del arrows[leaf]
    while roots := set(arrows) - set().union(*arrows.values()):
        for path in roots:  # it only leads to a circle
            del arrows[path]
    return [f"{path} is in a circle" for path in sorted(arrows)]


def _imported_files(path: str, module: ast.Module, names: dict[str, str]) -> set[str]:
    """Files of the project that a module imports; a package's own __init__ is no arrow to what it gathers."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {names[alias.name] for alias in node.names if alias.name in names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                inside = names.get(f"{node.module}.{alias.name}")
                found |= {inside or names[node.module]} if inside or node.module in names else set()
    return found - {path}


def too_full(root: Path) -> list[str]:
    """Folders with more modules than one can take in."""
    counts = Counter(str(Path(path).parent) for path, _ in sources(root) if not path.endswith("__init__.py"))
    return [f"{folder}/ has {count} modules" for folder, count in sorted(counts.items()) if count > FOLDER_FILES]


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
    wanted = {f"probes/**/{probe}.py", f"charts/**/{probe}.py", f"tests/probes/**/test_{probe}.py"}
    found = [pattern.replace("**/", "") for pattern in sorted(wanted) if not list(root.glob(pattern))]
    docs = root / "docs" / "probes.md"
    if not docs.is_file() or not re.search(rf"^## {probe}$", docs.read_text(encoding="utf-8"), re.M):
        found.append(f"the heading '## {probe}' in docs/probes.md")
    asking = re.compile(rf"\"{probe}\", *\n? *\"[A-Z]")  # the name of the probe, then the label of its button
    if not any(asking.search(page.read_text(encoding="utf-8")) for page in root.glob("pages/**/*.py")):
        found.append(f"a page that asks '{probe}'")
    return found


def copied(dockerfile: str) -> set[str]:
    """Folders and modules of the checkout that the image is given."""
    return {Path(name).stem for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.M) for name in line.split()}


def unnamed(readme: str, entries: set[str]) -> list[str]:
    """Top-level entries that the README's tree does not name."""
    return [entry for entry in sorted(entries) if not _named(entry, readme)]


def unmapped(mapped: str, root: Path) -> list[str]:
    """Modules that the map in docs does not name, folder by folder."""
    lines, found = mapped.splitlines(), []
    for path, _ in sources(root):
        folder, _, module = path.rpartition("/")
        if module != "__init__.py" and folder and not _named(module, "\n".join(_section(lines, f"{folder}/"))):
            found.append(path)
    return found


def _named(name: str, text: str) -> bool:
    return bool(re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w.-]*\w)", text))


def _section(lines: list[str], folder: str) -> list[str]:
    """The lines of a map under a folder, up to the next one."""
    start = next((i for i, line in enumerate(lines) if line.startswith(folder)), None)
    if start is None:
        return []
    stop = next((i for i in range(start + 1, len(lines)) if lines[i].strip() and not lines[i].startswith(" ")), len(lines))
    return lines[start:stop]


def standing_twice(root: Path) -> list[str]:
    """Functions with the same body, and tables and texts that are written down twice; `cache` may not share with the others."""
    homes: dict[str, list[str]] = {}
    for path, module in sources(root):
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef):
                body = "\n".join(map(ast.unparse, node.body[bool(ast.get_docstring(node)) :]))
                if len(body) > SAME_WORK:
                    homes.setdefault(body, []).append(f"{path}: {node.name}")
        for node in module.body:
            text = ast.unparse(node.value) if isinstance(node, ast.Assign) and isinstance(node.value, LITERALS) else ""
            if len(text) > SAME_WORDS:
                homes.setdefault(text, []).append(f"{path}: {ast.unparse(node.targets[0])}")
    found = ([home for home in where if not home.startswith("cache/")] for where in homes.values())
    return sorted(" and ".join(sorted(where)) for where in found if len(where) > 1)


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


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_brings_its_chart_page_docs_and_tests(probe):
    assert missing_of(probe, ROOT) == []


def test_the_project_speaks_of_itself_alone(tracked):
    ours = [name for name in tracked if name != "LICENSE" and not name.endswith((".png", ".gif", ".ico"))]
    assert workplace(ROOT, ours) == []


def test_the_readme_names_every_folder(tracked):
    ignored = {".gitignore", ".dockerignore", "README.md"}
    entries = {name.split("/")[0] + ("/" if "/" in name else "") for name in tracked} - ignored
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert unnamed(readme, entries) == []
    assert {f"{name}/" for name in PACKAGES} <= entries


def test_the_map_names_every_module():
    assert unmapped((ROOT / "docs" / "map.md").read_text(encoding="utf-8"), ROOT) == []


def test_the_image_is_given_every_layer():
    everything = {*LAYERS, "cache", *BELOW}
    assert copied((ROOT / "Dockerfile").read_text(encoding="utf-8")) >= everything
    let_in = {Path(name).stem for name in re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M)}
    assert let_in >= everything


def test_no_files_import_each_other():
    assert circles(ROOT) == []


def test_no_folder_is_too_full():
    assert too_full(ROOT) == []


def test_nothing_stands_twice():
    assert standing_twice(ROOT) == []


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
        ("models/a.py", "from plans.plan import Plan", "models/a.py imports plans"),
        ("texts/a.py", "from models import view", "texts/a.py imports models"),
        ("measures/a.py", "import texts.corpus", "measures/a.py imports texts"),
        ("cache/a.py", "from models import view", "cache/a.py imports models"),
        ("cache/a.py", "from refusal import Refusal", "cache/a.py imports refusal"),
        ("cache/a.py", "import streamlit", "cache/a.py imports streamlit"),
        ("probes/similarity.py", "import cache", "probes/similarity.py imports cache"),
        ("probes/a.py", "import plotly.graph_objects as go", "probes/a.py imports plotly"),
        ("charts/a.py", "import streamlit as st", "charts/a.py imports streamlit"),
        ("charts/a.py", "from pages import shell", "charts/a.py imports pages"),
        ("pages/a.py", "import app", "pages/a.py imports app"),
        ("pages/a.py", "import plotly", "pages/a.py imports plotly"),
        ("pages/a.py", "from cache import store", "pages/a.py imports cache"),
    ],
)
def test_an_arrow_that_points_up_is_seen(tmp_path, path, text, says):
    planted(tmp_path, path, text)
    assert wrong_imports(tmp_path) == [says]


def test_an_arrow_that_points_down_is_fine(tmp_path):
    planted(tmp_path, "app.py", "import streamlit\nfrom pages import shell")
    planted(tmp_path, "pages/storage.py", "from . import a\nimport charts, models, plans, cache.store, streamlit, settings")
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
    planted(tmp_path, "pages/novel.py", 'shell.ask(\n    "novel", "Measure")')
    assert missing_of("novel", tmp_path) == []


def test_a_circle_is_seen(tmp_path):
    planted(tmp_path, "models/a.py", "from models.b import f")
    planted(tmp_path, "models/b.py", "def g():\n    from models import c")
    planted(tmp_path, "models/c.py", "import models.a")
    planted(tmp_path, "models/d.py", "from models import a")
    assert circles(tmp_path) == [f"models/{name}.py is in a circle" for name in "abc"]
    planted(tmp_path, "models/c.py", "import models.e")
    assert circles(tmp_path) == []


def test_a_folder_that_is_too_full_is_seen(tmp_path):
    for place in range(15):
        planted(tmp_path, f"models/m{place}.py", "")
    assert too_full(tmp_path) == ["models/ has 15 modules"]


def test_what_stands_twice_is_seen(tmp_path):
    body = "    total = sum(each for each in values)\n    return total / len(values)\n"
    planted(tmp_path, "models/a.py", f'def mean(values):\n    """Of y."""\n{body}TABLE = {{"attention": "a", "mlp": "m"}}\n')
    planted(tmp_path, "probes/b.py", f"def average(values):\n{body}")
    planted(tmp_path, "charts/c.py", "LETTERS = {'attention': 'a', 'mlp': 'm'}\nSHORT = (1, 2)\nOTHER = (1, 2)\n")
    planted(tmp_path, "cache/d.py", f"def mean(values):\n{body}")
    assert standing_twice(tmp_path) == [
        "charts/c.py: LETTERS and models/a.py: TABLE", "models/a.py: mean and probes/b.py: average",
    ]  # fmt: skip


def test_a_layer_that_the_image_lacks_is_seen():
    assert copied("COPY models ./models\nCOPY app.py refusal.py ./\nCOPY --from=build /a /a\n") == {"models", "app", "refusal"}


def test_words_of_the_workplace_are_seen(tmp_path):
    planted(tmp_path, "a.md", f"See issu{'e'} 7, in /wor{'k'}/main.")
    planted(tmp_path, "b.md", "A tissue of lies, about the roots of network/work.")
    assert len(workplace(tmp_path, ["a.md"])) == 2
    assert workplace(tmp_path, ["b.md"]) == []


def test_a_module_without_a_line_is_seen(tmp_path):
    planted(tmp_path, "probes/keys/key_rank.py", "")
    planted(tmp_path, "charts/keys/key_rank.py", "")
    lines = ["charts/  pictures", "  style.py", "probes/keys/", "  key_rank.py  ranks"]
    assert unmapped("\n".join(lines), tmp_path) == ["charts/keys/key_rank.py"]
    assert unnamed("charts/ style.py", {"charts/", "Makefile"}) == ["Makefile"]

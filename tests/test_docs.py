"""The documents say what is there: commands, files, links, families and variables."""

import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from models.families import KNOWN
from pages.flow.order import PLACES
from probes.__main__ import _parser
from settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAPERS = [ROOT / "README.md", ROOT / "AGENTS.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
MAP = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
FOLDERS = ("benchmarks", "cache", "charts", "measures", "models", "pages", "plans", "probes", "scripts", "settings", "texts")
# Names that code reads from the environment, in Python, in shell and compose files, in the Makefile.
PYTHON_READS = re.compile(r"""(?:environ(?:\.get\(|\.setdefault\(|\[)|getenv\()\s*["'](\w+)["']""")
SHELL_READS = re.compile(r"\$\{([A-Z_]+)[:}-]")
MAKE_READS = re.compile(r"^([A-Z_]+) \?=", re.M)


def links(text):
    """Where links and pictures of a Markdown text lead, but for addresses on the web and places on the same page."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link.partition("#")[0] for link in found if not re.match(r"[a-z]+:|#", link)]


def listed(text):
    """Paths in the last tree of a text: a line each, folders end with a slash, what is in them is indented."""
    tree = re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)[-1]
    paths, folder = [], ""
    for line in filter(str.strip, tree.splitlines()):
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            paths.append(name)
        else:
            paths.append(folder + name)
    return paths


def variables(root):
    """Names that the project reads from the environment, and the files that do."""
    found = {}
    folders = [root, *(root / name for name in FOLDERS), root / "tests"]
    readers = [(path, PYTHON_READS) for folder in folders for path in folder.glob("**/*.py" if folder != root else "*.py")]
    readers += [(root / name, SHELL_READS) for name in ("compose.yaml", "scripts/install.sh", ".ci/run")]
    readers += [(root / "Makefile", MAKE_READS)]
    for path, reads in readers:
        for name in reads.findall(path.read_text(encoding="utf-8")) if path.is_file() else ():
            found.setdefault(name, set()).add(path.name)
    return found


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_links_and_pictures_are_there(paper):
    missing = [link for link in links(paper.read_text(encoding="utf-8")) if not (paper.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_make_knows_each_command(paper):
    targets = set(re.findall(r"^(\w+):", MAKEFILE, re.M))
    named = re.findall(r"(?:`|^|[;&] )make (\w+)", paper.read_text(encoding="utf-8"), re.M)
    assert set(named) <= targets


def test_the_two_commands_come_first():
    assert {"run", "test"} <= set(re.findall(r"^make (\w+)", README, re.M))


@pytest.mark.parametrize("tree", [README, MAP], ids=["README.md", "map.md"])
def test_a_tree_names_what_is_there_and_only_once(tree):
    paths = listed(tree)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert len(set(paths)) == len(paths)


def test_the_trees_name_everything():
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()]
    names = {f"{path.name}/" if path.is_dir() else path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    top = {name for name in names if not any(fnmatch(name.rstrip("/"), each) for each in ignored)} - {"README.md"}
    assert top - set(listed(README)) == set()
    modules = {path for folder in FOLDERS for kind in ("py", "sh") for path in (ROOT / folder).glob(f"**/*.{kind}")}
    # What an __init__ gathers or registers stands in the line of its folder.
    wanted = {path.relative_to(ROOT).as_posix() for path in modules if path.name != "__init__.py"}
    assert wanted - set(listed(MAP)) == set()


def test_the_first_tree_is_short():
    assert len(listed(README)) <= 50


def test_a_page_is_enough_for_agents():
    assert len((ROOT / "AGENTS.md").read_text(encoding="utf-8").splitlines()) <= 60


def test_each_variable_is_explained():
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([A-Z_]+)` \|", README + operations, re.M))
    assert {name: files for name, files in variables(ROOT).items() if name not in explained} == {}


def test_a_variable_without_a_line_is_seen(tmp_path):
    (tmp_path / "models").mkdir()
    reads = "os.environ.get(ONE)\nos.environ[TWO]\nos.getenv(THREE)"  # unquoted, or this file would be found as well
    (tmp_path / "models" / "a.py").write_text(re.sub(r"([A-Z]+)", r'"\1"', reads))
    (tmp_path / "compose.yaml").write_text("a: ${FOUR:-}\nb: ${FIVE-x}")
    (tmp_path / "Makefile").write_text("SIX ?= 6\n")
    assert set(variables(tmp_path)) == {"ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX"}


def test_each_family_is_named():
    section = README.partition("## Supported models")[2].partition("\n## ")[0]
    assert set(re.findall(r"\w+", section)) >= set(KNOWN)


def test_each_option_of_the_shell_is_named():
    section = (ROOT / "docs" / "shell.md").read_text(encoding="utf-8")
    options = {name for action in _parser()._actions for name in action.option_strings if name.startswith("--")}
    assert options - {"--help"} <= set(re.findall(r"--[a-z-]+", section))


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_pictures_of_the_readme_say_what_they_show():
    assert all(re.findall(r"!\[([^\]]*)\]", README))


@pytest.mark.skipif(not shutil.which("git") or not (ROOT / ".git").exists(), reason="needs a git checkout")
def test_pictures_are_kept():
    pictures = {f"docs/{Path(link).name}" for link in links(README) if link.endswith(".png")}
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "docs"]
    assert pictures <= set(subprocess.check_output(listing, cwd=ROOT, text=True).split())


def test_the_examples_with_a_proxy_set_what_the_docs_say():
    example = (ROOT / "docs" / "examples" / "compose.proxy.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"PRUNESCOPE_(\w+):", example)) <= {name.upper() for name in Settings.model_fields}
    caddy = (ROOT / "docs" / "examples" / "Caddyfile").read_text(encoding="utf-8")
    header = re.search(r"USER_HEADER: (\S+)", example)[1]
    assert f"header_up {header} {{http.auth.user.id}}" in caddy and "/_stcore/metrics" in caddy


def test_each_page_with_charts_says_how_to_read_them():
    reading = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    menu = {ROOT / "pages" / f"{name}.py": place.title for name, place in PLACES.items()}
    drawing = [title for path, title in menu.items() if re.search(r"shell\.(chart|clickable)\(", _with_parts(path))]
    assert len(drawing) > 3 and [title for title in drawing if f"\n## {title}\n" not in reading] == []


def _with_parts(page):
    """A page's source, and that of the parts that it draws."""
    text = page.read_text(encoding="utf-8")
    parts = set(re.findall(r"from pages\.(\w+) import", text)) - {"shell", "flow"}
    return "".join(
        [text, *(each.read_text(encoding="utf-8") for name in parts for each in (ROOT / "pages" / name).glob("*.py"))]
    )

"""Print what pyproject.toml depends on, one requirement a line; extras to add are named as arguments.

PruneScope runs from its checkout, so its dependencies are installed and it is not.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
print(
    *project["dependencies"],
    *(line for extra in sys.argv[1:] for line in project["optional-dependencies"][extra]),
    sep="\n",
)

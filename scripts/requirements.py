"""Print what requirements.lock holds for the app, and for the extras that are named as arguments; torch is not among it.

PruneScope runs from its checkout, so its dependencies are installed and it is not.
"""

import sys
from pathlib import Path

wanted, chosen = {"app", *sys.argv[1:]}, False
for line in Path(__file__).with_name("requirements.lock").read_text(encoding="utf-8").splitlines():
    if line.startswith("## "):
        chosen = not wanted.isdisjoint(line.split())
    elif chosen:
        print(line)

"""Print the bill of materials of the image as CycloneDX 1.6: every locked package, torch and the bundled model.

    make sbom        the app;  python scripts/sbom.py test gguf eval  with extras of pyproject.toml

Hashes are those of every file of a version, as the lock has them; which one is installed depends on the platform.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
_ENTRY = re.compile(r"^([\w.-]+)==([\w.!+]+)((?:.*\\\n)*.*)", re.M)


def component(name: str, version: str, rest: str) -> dict:
    """One package; its files are references, as CycloneDX has no component with several hashes of a kind."""
    purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
    files = [
        {"type": "distribution", "url": purl, "hashes": [{"alg": "SHA-256", "content": digest}]}
        for digest in re.findall(r"sha256:([0-9a-f]{64})", rest)
    ]
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return found | ({"externalReferences": files} if files else {})


def bill(*extras: str) -> dict:
    """The whole document; the same lock gives the same document."""
    locked = subprocess.check_output([sys.executable, HERE / "requirements.py", *extras], text=True)
    parts = (HERE / name for name in ("torch.txt", "bundled.txt"))
    text = locked + "".join(part.read_text(encoding="utf-8") for part in parts)
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = {"type": "application", "bom-ref": project["name"], "name": project["name"], "version": project["version"]}
    about["licenses"] = [{"license": {"id": project["license"]}}]
    components = [component(*match.groups()) for match in _ENTRY.finditer(text)]
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": about},
        "components": sorted(components, key=lambda each: each["purl"]),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(bill(*sys.argv[1:]), indent=1))

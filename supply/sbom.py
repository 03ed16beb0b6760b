"""Write what the program is made of, as CycloneDX 1.6: `make sbom`.

Python packages with the hashes of their wheels, from requirements/run.txt, and the browser modules that
stand in service/web/vendor, with the hashes of their files, from the tables in the pages there.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
VENDOR: Final = ROOT / "service" / "web" / "vendor"
#: | `file` | package version, ... | license, ... | ...
_ROW: Final = re.compile(r"^\| `([^`]+)` \| (\S+) ([\d.]+)[ ,|].*?\| ([\w.-]+)[ ,]", re.MULTILINE)


def sbom() -> dict[str, Any]:
    """The whole of it."""
    options = ["--of", "JSON", "--sv", "1.6", "--output-reproducible", "--pyproject", ROOT / "pyproject.toml"]
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", *options]
    said = subprocess.run([*command, ROOT / "requirements" / "run.txt"], check=True, capture_output=True).stdout
    made: dict[str, Any] = json.loads(said)
    for each in made["components"]:
        # The line of the lock once more; its hashes stand below.
        del each["description"]
    made["components"] += vendored()
    return made


def vendored() -> list[dict[str, Any]]:
    """The browser modules, a component for each package."""
    found: dict[str, dict[str, Any]] = {}
    for path, package, version, license in _rows():
        component = found.setdefault(
            package,
            {
                "bom-ref": f"vendored-{package}",
                "type": "library",
                "name": package,
                "version": version,
                "purl": f"pkg:npm/{package}@{version}",
                "licenses": [{"license": {"id": license}}],
                "components": [],
            },
        )
        digest = sha256(path.read_bytes()).hexdigest()
        component["components"].append(
            {
                "bom-ref": f"vendored-{package}-{path.name}",
                "type": "file",
                "name": path.relative_to(ROOT).as_posix(),
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
        )
    return list(found.values())


def _rows() -> Iterator[tuple[Path, str, str, str]]:
    for page in sorted(VENDOR.rglob("README.md")):
        for file, *rest in _ROW.findall(page.read_text()):
            yield (page.parent / file, *rest)


if __name__ == "__main__":
    to = ROOT / "build" / "sbom.json"
    to.parent.mkdir(exist_ok=True)
    to.write_text(json.dumps(sbom(), indent=1) + "\n")
    print(f"{to.relative_to(ROOT)} lists what the program is made of.")

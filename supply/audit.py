"""Ask an advisory database for known vulnerabilities of all that is locked: `make audit`.

Exit statuses: 0 none is known, 1 some are, 2 it could not be asked of every package.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
#: The developers' lock holds what runs, too.
LOCKS: Final = ("dev.txt", "build.txt")


def main() -> int:
    locks = [word for lock in LOCKS for word in ("-r", ROOT / "requirements" / lock)]
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    ran = subprocess.run([*command, "--format", "json", *locks], capture_output=True, text=True)
    try:
        packages: list[dict[str, Any]] = json.loads(ran.stdout)["dependencies"]
    except ValueError:
        print(f"The advisory database cannot be reached, so nothing is known: {_last(ran.stderr)}", file=sys.stderr)
        return 2
    return told(packages)


def told(packages: list[dict[str, Any]]) -> int:
    """Say what pip-audit found of the packages; returns the exit status."""
    unknown = sorted(each["name"] for each in packages if "skip_reason" in each)
    vulnerable = [(each, fault) for each in packages for fault in each.get("vulns", ())]
    for each, fault in vulnerable:
        mended = ", ".join(fault["fix_versions"]) or "no version yet"
        print(f"{each['name']} {each['version']}: {fault['id']}, mended in {mended}")
    if unknown:
        print(
            f"The advisory database cannot be asked from here for {len(unknown)} of {len(packages)} packages, such as "
            f"{', '.join(unknown[:3])}; of these nothing is known.",
            file=sys.stderr,
        )
        return 2
    if not vulnerable:
        print(f"Of {len(packages)} packages no vulnerability is known.")
    return 1 if vulnerable else 0


def _last(said: str) -> str:
    return said.strip().splitlines()[-1] if said.strip() else "pip-audit said nothing"


if __name__ == "__main__":
    sys.exit(main())

"""`make torture`: kill everything again and again while people use it, and see that nothing is lost."""

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.torture import kills


def main() -> int:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="how many times each is killed")
    parser.add_argument("--seed", type=int, help="a seed that was printed before, for the same run again")
    parser.add_argument("--only", nargs="+", choices=kills.KINDS, default=list(kills.KINDS), help="what is killed")
    parser.add_argument("--folder", type=Path, help="where its data go; a temporary folder by default")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="torture-", dir=given.folder))
    folder.chmod(0o711)
    print(f"seed {seed}, data in {folder}", flush=True)
    began = time.monotonic()

    def told(line: str) -> None:
        print(f"{time.monotonic() - began:7.0f} s  {line}", flush=True)

    try:
        kills.run(folder, kills=given.kills, seed=seed, kinds=given.only, told=told)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
        print(f"BROKEN with seed {seed}: {error}\nIts data stay in {folder}.", flush=True)
        return 1
    shutil.rmtree(folder)
    print(f"Nothing lost, nothing twice. Again: make torture ARGS='--kills {given.kills} --seed {seed}'")
    return 0


if __name__ == "__main__":
    sys.exit(main())

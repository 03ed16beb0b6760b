"""`python -m benchmarks`: measure, print the table, write it as JSON."""

import argparse
from dataclasses import fields, replace
from pathlib import Path

from benchmarks import reading, writing
from benchmarks.bench import Bench, Size
from benchmarks.growth import growth
from benchmarks.run import run

SIZES = {
    "small": Size(claims=1_000, rounds=3, seconds=0.25, one_by_one=160, in_bulk=800, growth=(250, 1_000)),
    "full": Size(claims=10_000, rounds=7, seconds=2, one_by_one=960, in_bulk=5_000, growth=(1_000, 10_000)),
}
WORKS = {**writing.WORKS, **reading.WORKS, "growth": growth}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full")
    for field in fields(Size):
        if field.name != "growth":
            kind = float if field.name == "seconds" else int
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, help="in place of the size's own")
    parser.add_argument("--growth", type=int, nargs="+", help="in place of the size's own")
    parser.add_argument("--only", default=",".join(WORKS), help="works, separated by commas (%(default)s)")
    parser.add_argument("--data", type=Path, help="a folder to keep the databases in, for another run")
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    given = parser.parse_args()
    told = {field.name: getattr(given, field.name) for field in fields(Size)}
    size = replace(SIZES[given.size], **{name: value for name, value in told.items() if value is not None})
    wanted = given.only.split(",")
    if unknown := [name for name in wanted if name not in WORKS]:
        parser.error(f"there is no {', '.join(unknown)}; works are {', '.join(WORKS)}")

    def works(bench: Bench) -> None:
        for name in wanted:
            bench.told(f"{name} ...")
            WORKS[name](bench)

    run(works, size, data=given.data, out=given.out or Path(__file__).parent / "results" / f"{given.size}.json")


if __name__ == "__main__":
    main()

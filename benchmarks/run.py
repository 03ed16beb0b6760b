"""A run from its beginning to its end: a server, the works, the table, the JSON."""

import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import report, server
from benchmarks.bench import Bench, Size
from service.cli.running import collect_seldom


def run(works: Callable[[Bench], object], size: Size, *, data: Path | None, out: Path) -> None:
    """Do the works on a server in `data`, which stays, or in a folder that goes; print, and write to `out`."""
    # A kill ends the run as Ctrl-C does, so that its server and its other processes stop too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # As every command of onrecord does, since much of it runs in this process.
    collect_seldom()
    errors, begun = Console(stderr=True, highlight=False, soft_wrap=True), time.perf_counter()
    told = dataclasses.asdict(size)
    with server.started(data) as running:
        told["machine"] = report.machine(running)
        errors.print(report.calibration(told["machine"]))
        with contextlib.closing(Bench(running, size, errors.print)) as bench:
            works(bench)
            told["rows_read"] = {each.name: report.rows_of(each) for each in bench.filled_databases}
    told["took_s"] = round(time.perf_counter() - begun, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report.as_json(told, bench.rows), indent=1) + "\n")
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(report.calibration(told["machine"]))
    for name, counts in told["rows_read"].items():
        console.print(f"{name}: " + ", ".join(f"{count:,} {table}" for table, count in counts.items()))
    report.draw(console, bench.rows)
    console.print(f"{told['took_s']:.0f} s; written to {out}")

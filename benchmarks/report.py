"""The report: one table for people, and the same as JSON for programs."""

import dataclasses
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure, Row
from benchmarks.server import Database, Server


def machine(server: Server) -> dict[str, Any]:
    """What the run was made on, and what its smallest steps cost."""
    with server.database("calibration").connect() as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS calibration (n int)")
        return {
            "cpus": os.cpu_count(),
            "cpu": _cpu(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "postgresql": server.embedded.version,
            "select_hot_us": _median_us(lambda: conn.execute("SELECT 1"), 300),
            "select_rested_us": _median_us(lambda: conn.execute("SELECT 1"), 100, rest_s=0.0005),
            "commit_us": _median_us(lambda: conn.execute("INSERT INTO calibration VALUES (1)"), 100),
            "fsync": _shown(conn.execute("SHOW fsync").fetchone()),
            "synchronous_commit": _shown(conn.execute("SHOW synchronous_commit").fetchone()),
        }


def calibration(told: dict[str, Any]) -> str:
    """The same as a line."""
    return (
        f"{told['cpus']} CPUs ({told['cpu']}), {told['memory_gib']} GiB, {told['system']}, Python {told['python']}, "
        f"PostgreSQL {told['postgresql']}, fsync {told['fsync']}, synchronous_commit {told['synchronous_commit']}; "
        f"select 1: {told['select_hot_us']:.0f} µs hot, {told['select_rested_us']:.0f} µs after half a millisecond of "
        f"rest; a commit: {told['commit_us']:.0f} µs"
    )


def rows_of(database: Database) -> dict[str, int]:
    """How many rows the read tables and the log have."""
    with database.connect() as conn:
        conn.execute("SET search_path = onrecord")
        row = conn.execute("SELECT schema_name FROM generation WHERE live").fetchone()
        assert row is not None
        counts: dict[str, int] = {}
        for table in ("onrecord.event", *(f"{row[0]}.{name}" for name in _COUNTED)):
            counted = conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
            assert counted is not None
            counts[table.partition(".")[2]] = counted[0]
    return counts


_COUNTED = ("claim", "statement", "standing", "tally", "transition", "article", "speaker")


def draw(console: Console, rows: Sequence[Row]) -> None:
    """The table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("work", "ours", "compared with", "theirs", "ratio", "budget", ""):
        table.add_column(name, justify="right" if name in {"ours", "theirs", "ratio"} else "left", overflow="fold")
    for row in rows:
        table.add_row(*cells(row), style="red" if row.verdict in {"not met", "missing"} else None)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.work}: {row.note}", highlight=False)


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a line."""
    return (
        row.work,
        _figure(row.ours) if row.ours is None else f"{_figure(row.ours)} {row.unit}",
        row.peer or "",
        "" if row.peer is None else _figure(row.theirs),
        "" if row.ratio is None else f"{_figure(row.ratio)}x",
        "" if row.budget is None else str(row.budget),
        row.verdict,
    )


def _figure(figure: Figure | None) -> str:
    """The median, and in brackets from where to where the rounds went."""
    if figure is None:
        return "missing"
    return f"{_number(figure.median)} ({_number(figure.low)}-{_number(figure.high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def as_json(told: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """The same for programs, with what is known of the run."""
    return {**told, "rows": [{**dataclasses.asdict(row), "verdict": row.verdict} for row in rows]}


def _median_us(step: Callable[[], object], times: int, *, rest_s: float = 0) -> float:
    samples: list[float] = []
    for _ in range(times):
        if rest_s:
            time.sleep(rest_s)
        begun = time.perf_counter()
        step()
        samples.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(samples)


def _cpu() -> str:
    try:
        found = Path("/proc/cpuinfo").read_text().partition("model name")[2]
    except OSError:
        return platform.processor()
    return " ".join(found.partition("\n")[0].strip("\t: ").split())


def _shown(row: Any) -> str:
    return row[0]

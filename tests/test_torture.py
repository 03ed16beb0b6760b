"""The short forms of `make torture` and `make load`."""

from collections import Counter
from pathlib import Path

import pytest

from tests.torture import kills, load

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="processes are looked at in /proc")


def test_whatever_is_killed_nothing_acknowledged_is_lost_and_nothing_is_there_twice(
    server_folders: Path, postgres_bin: Path | None
):
    report = kills.run(server_folders / "torture", kills=2, seed=1, binaries=postgres_bin)
    assert report.kills == Counter(dict.fromkeys(kills.KINDS, 2))
    assert report.acknowledged > 0


def test_under_load_nothing_fails_and_neither_memory_nor_lag_grows(server_folders: Path, postgres_bin: Path | None):
    figures = load.run(server_folders / "load", seconds=12, seed=1, binaries=postgres_bin)
    assert figures.unanswered == 0
    assert figures.acknowledged > 0
    # Far more than it takes to warm up.
    assert max(figures.grown_mib()) < 200

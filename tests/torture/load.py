"""`make load`: a mixed hour in miniature. Reads, writes, streams, and a rebuild in the middle."""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from tests.torture.kills import crowd, end
from tests.torture.people import Broken
from tests.torture.world import Server, World

_LOOK_S: Final = 0.5


@dataclass(frozen=True)
class Look:
    """How it stands at a moment."""

    service_mib: float
    projector_mib: float
    lag: int  #: recorded and not projected yet, in positions.


@dataclass
class Figures:
    """What a run came to."""

    seconds: float = 0
    acknowledged: int = 0
    answers: int = 0
    followed: int = 0
    unanswered: int = 0  #: what was put off or cut off.
    looks: list[Look] = field(default_factory=list[Look])

    def third(self, number: int) -> list[Look]:
        """The looks of the first, second or last third: 0, 1 or 2."""
        each = len(self.looks) // 3
        return self.looks[number * each : (number + 1) * each]

    def grown_mib(self) -> tuple[float, float]:
        """By how much the service and its projector are larger in the last third than in the second."""
        before, after = self.third(1), self.third(2)
        return (
            median(look.service_mib for look in after) - median(look.service_mib for look in before),
            median(look.projector_mib for look in after) - median(look.projector_mib for look in before),
        )

    def __str__(self) -> str:
        summed_up = (
            f"{self.seconds:,.0f} s: {self.acknowledged:,} writes acknowledged, {self.answers:,} reads answered, "
            f"{self.followed:,} items streamed, one rebuild; {self.unanswered} put off or cut off."
        )
        lines = [
            summed_up,
            "",
            "| third | service, MiB | projector, MiB | lag, median | lag, most |",
            "| --- | --- | --- | --- | --- |",
        ]
        for number in range(3):
            looks = self.third(number)
            service = median(look.service_mib for look in looks)
            projector = median(look.projector_mib for look in looks)
            lags = [look.lag for look in looks]
            lines.append(f"| {number + 1} | {service:.0f} | {projector:.0f} | {median(lags):.0f} | {max(lags)} |")
        return "\n".join(lines)


def run(folder: Path, *, seconds: float, seed: int, binaries: Path | None = None) -> Figures:
    """Use a service for so long. Raises Broken where it errs, loses or repeats anything, or stays behind."""
    figures = Figures(seconds=seconds)
    chance = Random(seed)
    with ExitStack() as stack:
        server = stack.enter_context(Server(folder / "server", binaries=binaries))
        world = stack.enter_context(World(server.database("load"), folder / "data"))
        recorders, followers, readers = crowd(world, chance)
        people = [*recorders, *followers, *readers]
        for each in people:
            each.start()
            stack.callback(each.stop)
        until = time.monotonic() + seconds
        rebuilding = None
        while (left := until - time.monotonic()) > 0:
            if rebuilding is None and left < seconds / 2:
                rebuilding = world.onrecord("rebuild")
                stack.callback(rebuilding.close)
            for each in people:
                each.check()
            figures.looks.append(_look(world))
            time.sleep(_LOOK_S)
        if rebuilding is None or rebuilding.ends() != 0:
            raise Broken("the rebuild failed")
        end(world, recorders, followers, readers)
    figures.acknowledged = sum(len(each.acknowledged) for each in recorders)
    figures.answers = sum(each.answers for each in readers)
    figures.followed = sum(len(each.cursors) for each in followers)
    figures.unanswered = sum(each.unanswered for each in people)
    return figures


def _look(world: World) -> Look:
    projector = world.projector()
    assert projector is not None
    return Look(_mib(world.service.process.pid), _mib(projector), world.head() - world.projected())


def _mib(pid: int) -> float:
    """The memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="load-") as made:
        folder = Path(made)
        folder.chmod(0o711)
        try:
            print(run(folder, seconds=given.minutes * 60, seed=given.seed))
        except Broken as error:
            print(f"BROKEN: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

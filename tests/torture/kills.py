"""Kills by SIGKILL, at moments that a seed decides, while people use the service."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.torture.people import Broken, Follower, Person, Reader, Recorder
from tests.torture.world import Server, World, eventually

#: How many kills one database lives through.
_KILLS_MAX: Final = 20
#: How long after the last everything healed the next kill comes, at most.
_PEACE_S_MAX: Final = 0.6


def _service(world: World, server: Server, chance: Random) -> None:
    """The API, while it records and answers, with what signs in the same process."""
    time.sleep(chance.uniform(0, _PEACE_S_MAX))
    world.kill_service()
    world.started()


def _projector(world: World, server: Server, chance: Random) -> None:
    """The process beside the service; the service starts another."""
    time.sleep(chance.uniform(0, _PEACE_S_MAX))
    eventually(lambda: world.projector() is not None, "a projector")
    killed = world.projector()
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: world.projector() not in (None, killed), "another projector")


def _rebuild(world: World, server: Server, chance: Random) -> None:
    """`onrecord rebuild`, anywhere between its beginning and its end."""
    while True:
        rebuilding = world.onrecord("rebuild")
        try:
            began = world.rebuilds(rebuilding)
            time.sleep(chance.uniform(0, 0.5))
            if began and rebuilding.process.poll() is None:
                rebuilding.ends(signal.SIGKILL)
                return
            if rebuilding.ends() != 0:
                raise Broken(f"the rebuild failed: {list(rebuilding.err.queue)}")
        finally:
            rebuilding.close()


def _tree(world: World, server: Server, chance: Random) -> None:
    """The process in which the tree grows, in a transaction in which it does, or just after."""
    world.integrates()
    time.sleep(chance.uniform(0, 0.01))
    world.kill_service()
    world.started()


def _postgres(world: World, server: Server, chance: Random) -> None:
    """PostgreSQL, stopped in immediate mode; it comes back after a while, and the service has to find it."""
    time.sleep(chance.uniform(0, _PEACE_S_MAX))
    server.stop()
    time.sleep(chance.choice([0, chance.uniform(0, 2)]))
    server.start()
    # Its connections are lost as well as the service's.
    world.engine.dispose()


KINDS: Final[dict[str, Callable[[World, Server, Random], None]]] = {
    "service": _service,
    "projector": _projector,
    "rebuild": _rebuild,
    "tree": _tree,
    "postgres": _postgres,
}


@dataclass
class Report:
    """What a run came to."""

    kills: Counter[str] = field(default_factory=Counter[str])
    databases: int = 0
    acknowledged: int = 0
    repeats: int = 0
    unanswered: int = 0
    answers: int = 0
    followed: int = 0
    checkpoints: int = 0
    verified: int = 0

    def __str__(self) -> str:
        kills = ", ".join(f"{kind} {count}" for kind, count in self.kills.items())
        return (
            f"{self.kills.total():,} kills ({kills}) on {self.databases} databases; {self.acknowledged:,} writes "
            f"acknowledged, {self.repeats:,} of them as known already; {self.unanswered:,} requests and streams cut "
            f"off or put off; {self.answers:,} reads answered; {self.followed:,} items streamed; "
            f"{self.checkpoints:,} checkpoints held against the log; verified {self.verified:,} times"
        )


def run(
    folder: Path,
    *,
    kills: int,
    seed: int,
    kinds: Iterable[str] = KINDS,
    binaries: Path | None = None,
    told: Callable[[str], object] = lambda line: None,
) -> Report:
    """Kill each of `kinds` so many times; raises Broken where a promise is not kept.

    The seed decides what is killed, when, and what is recorded; how the processes fall out among each other
    it cannot decide.
    """
    report = Report()
    chance = Random(seed)
    order = [kind for kind in kinds for _ in range(kills)]
    chance.shuffle(order)
    with Server(folder / "server", binaries=binaries) as server:
        lives = [order[at : at + _KILLS_MAX] for at in range(0, len(order), _KILLS_MAX)]
        for number, batch in enumerate(lives):
            _life(folder / f"data-{number}", f"life_{number}", server, batch, Random(f"{seed} {number}"), report)
            told(str(report))
    return report


def _life(data_dir: Path, name: str, server: Server, kinds: Iterable[str], chance: Random, report: Report) -> None:
    """One database, from its first entry to the last kill."""
    with ExitStack() as stack:
        world = stack.enter_context(World(server.database(name), data_dir))
        recorders, followers, readers = crowd(world, chance)
        people: list[Person] = [*recorders, *followers, *readers]
        for each in people:
            each.start()
            stack.callback(each.stop)
        for kind in kinds:
            KINDS[kind](world, server, chance)
            report.kills[kind] += 1
            _healed(world, people, recorders)
            world.verify()
            report.verified += 1
        end(world, recorders, followers, readers)
        report.verified += 1
        report.databases += 1
        report.acknowledged += sum(len(each.acknowledged) for each in recorders)
        report.repeats += sum(each.repeats for each in recorders)
        report.unanswered += sum(each.unanswered for each in people)
        report.answers += sum(each.answers for each in readers)
        report.followed += sum(len(each.cursors) for each in followers)
        report.checkpoints += sum(len(each.checkpoints) for each in readers)


def crowd(world: World, chance: Random) -> tuple[list[Recorder], list[Follower], list[Reader]]:
    """Those who use a service: some record, some follow each stream in each way, one reads."""
    recorders = [Recorder(f"r{number}", world.port, Random(chance.random())) for number in range(4)]
    followers = [
        Follower(f"f{events:d}{socket:d}", world.port, events=events, socket=socket)
        for events in (False, True)
        for socket in (False, True)
    ]
    return recorders, followers, [Reader("reader", world.port, Random(chance.random()))]


def _healed(world: World, people: list[Person], recorders: list[Recorder]) -> None:
    """Wait until everybody who records was acknowledged something since, and it is projected."""
    before = [len(each.acknowledged) for each in recorders]

    def recorded() -> bool:
        for each in people:
            each.check()
        return all(len(each.acknowledged) > known for each, known in zip(recorders, before, strict=True))

    eventually(recorded, "everybody is acknowledged something again")
    head = world.head()
    eventually(lambda: world.projected() >= head, "it is projected again")


def end(world: World, recorders: list[Recorder], followers: list[Follower], readers: list[Reader]) -> None:
    """Let all that was sent be projected and followed, hold everything against each other, and stop the service."""
    for each in recorders:
        each.stopped()
    head = world.head()
    eventually(lambda: world.projected() == head, "all is projected")
    check(world, recorders, followers, readers)
    for each in (*recorders, *followers, *readers):
        each.stopped()
    world.stop_service()


def check(world: World, recorders: list[Recorder], followers: list[Follower], readers: list[Reader]) -> None:
    """What was acknowledged is there, once, where it was said to be; who followed has everything, once, in order."""
    stored = world.events()
    twice = {key: positions for key, positions in stored.items() if len(positions) > 1}
    if twice:
        raise Broken(f"recorded more than once: {twice}")
    for recorder in recorders:
        for key, position in recorder.acknowledged.items():
            if stored.pop(key, None) != [position]:
                raise Broken(f"{key} was acknowledged at position {position}, and is not there")
    if stored:
        # Everybody went on until acknowledged, so there is nothing else.
        raise Broken(f"nobody recorded {stored}")
    expected = {"f00": world.transitions(), "f10": [str(n) for n in range(1, world.head() + 1)]}
    for follower in followers:
        wanted = expected[f"{follower.name[:2]}0"]
        eventually(lambda f=follower, w=wanted: len(f.cursors) >= len(w), f"{follower.name} gets everything")
        if follower.cursors != wanted:
            missed, more = set(wanted) - set(follower.cursors), Counter(follower.cursors) - Counter(wanted)
            raise Broken(f"{follower.name} missed {missed}, and got too much: {more}")
    world.verify()
    for reader in readers:
        # It is still asking for more.
        for note in list(reader.checkpoints):
            world.holds(note)
    if unforeseen := world.unforeseen():
        raise Broken(f"the service's log tells of what nobody foresaw: {unforeseen}")

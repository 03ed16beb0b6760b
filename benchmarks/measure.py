"""Measuring: rounds that take turns, medians with their spread, and what they are held to."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

#: One round of a measure: how much of it was done in a second.
Round = Callable[[], float]


class Missing(Exception):
    """What cannot be measured here; says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of some rounds, and the least and the most among them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Figure":
        return cls(statistics.median(samples), min(samples), max(samples))


@dataclass(frozen=True, slots=True)
class Budget:
    """What a ratio is held to: ours `at least` so many times as fast, or `within` so many times the cost."""

    kind: Literal["at least", "within"]
    times: float

    def ratio(self, ours: float, theirs: float) -> float:
        """The ratio of two rates that this is about."""
        return ours / theirs if self.kind == "at least" else theirs / ours

    def met(self, ratio: float) -> bool:
        return ratio >= self.times if self.kind == "at least" else ratio <= self.times

    def __str__(self) -> str:
        return f"{self.kind} {self.times:g}x"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    work: str
    unit: str
    ours: Figure | None  #: None: missing, and `note` says why.
    peer: str | None = None  #: what it is compared with; None: with nothing.
    theirs: Figure | None = None  #: None though there is a peer: missing, and `note` says why.
    ratio: Figure | None = None
    budget: Budget | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`met`, `not met`, `missing`, or nothing where there is no budget."""
        if self.ours is None or (self.peer is not None and self.theirs is None):
            return "missing"
        if self.budget is None or self.ratio is None:
            return ""
        return "met" if self.budget.met(self.ratio.median) else "not met"


def interleaved(rounds: int, measures: Mapping[str, Round], *, warm: bool = True) -> dict[str, list[float]]:
    """What each measure gave in each round. They take turns, so that what slows the machine slows all."""
    if warm:
        for measure in measures.values():
            measure()  # The first is for caches and prepared statements, and counts for nobody.
    samples: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds):
        turns = list(measures.items())
        for name, measure in turns if number % 2 == 0 else reversed(turns):
            samples[name].append(measure())
    return samples


def compared(
    work: str,
    unit: str,
    ours: Sequence[float],
    peer: str,
    theirs: Sequence[float],
    budget: Budget | None = None,
) -> Row:
    """A row of two measures that took turns; the ratio is that of each round."""
    of = (budget or Budget("at least", 1)).ratio
    ratios = [of(a, b) for a, b in zip(ours, theirs, strict=True)]
    return Row(work, unit, Figure.of(ours), peer, Figure.of(theirs), Figure.of(ratios), budget)


#: A row to be: the work, the name of our measure, of theirs (ours again: it is compared with nothing), the budget.
Pair = tuple[str, str, str, Budget | None]


def table(rounds: int, unit: str, measures: Mapping[str, Round | Missing], pairs: Sequence[Pair]) -> Iterator[Row]:
    """Measure in turns; a row for each of the pairs, also where a measure is missing."""
    samples = interleaved(rounds, {name: of for name, of in measures.items() if not isinstance(of, Missing)})
    figures = {name: Figure.of(each) for name, each in samples.items()}
    for work, mine, theirs, budget in pairs:
        if mine != theirs and mine in samples and theirs in samples:
            yield compared(work, unit, samples[mine], theirs, samples[theirs], budget)
            continue
        peer = None if mine == theirs else theirs
        note = next((str(of) for name in (mine, theirs) if isinstance(of := measures[name], Missing)), "")
        yield Row(work, unit, figures.get(mine), peer, figures.get(peer or ""), budget=budget, note=note)

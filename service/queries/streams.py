"""Streams: what follows a key in order of the log, a bounded stretch at a time.

A key is of the log and never of a generation, so a stream goes on through a rebuild.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from service.domain.policies import State
from service.queries import log_entries
from service.queries.beliefs import HISTORY, Transition
from service.queries.driver import Row
from service.queries.paging import By, Key, Listing, Page, Slice
from service.queries.snapshot import View

#: How much is read at once, however far behind a reader is.
STRETCH_MAX: Final = 100
#: After every slug, in byte order: all of a position is done.
_PAST_ALL: Final = "~"


class Stretch(NamedTuple):
    """What a stream holds between two keys: after the one that was asked for, up to `to`."""

    rows: Sequence[Any]
    keys: Sequence[Key]  #: of each row.
    to: Key


@dataclass(frozen=True, slots=True)
class Transitions:
    """The transitions under a policy, by slug within a position; of those, the ones that are wanted."""

    policy: str  #: its id.
    claim: str | None = None
    topic: str | None = None  #: which the claim had by then.
    state: State | None = None  #: to which it moves.

    @property
    def unfiltered(self) -> "Transitions":
        """All of them under the policy."""
        return Transitions(self.policy)

    def end(self, position: int) -> Key:
        """The key after which a position is done."""
        return (position, _PAST_ALL)

    def wants(self, row: "Moved") -> bool:
        """Whether a row of those that are not filtered is one of these; the same as `read` asks the database."""
        after = row.transition.after
        return (
            self.claim in (None, row.transition.claim)
            and self.topic in (None, row.topic)
            and (self.state is None or (after is not None and after.state is self.state))
        )

    def read(self, view: View, after: Key) -> Stretch:
        """What follows a key. Raises PolicyNotProjected, since another generation may be live by now."""
        view.expect_projected(self.policy)
        conditions = ["t.policy = %(policy)s", "t.position <= %(position)s"]
        if self.claim is not None:
            conditions.append("t.claim = %(claim)s")
        if self.topic is not None:
            conditions.append(f"{_TOPIC} = %(topic)s")
        if self.state is not None:
            conditions.append("t.to_state = %(state)s")
        wanted = {"policy": self.policy, "claim": self.claim, "topic": self.topic, "state": self.state}
        found = _TRANSITIONS.page(view, Page(STRETCH_MAX, after), conditions, {**view.parameters, **wanted})
        return _stretch(found, after, self.end(view.position))


class Moved(NamedTuple):
    """A transition, and the topic of its claim by then."""

    transition: Transition
    topic: str | None


def _moved(row: Row) -> Moved:
    *transition, topic = row
    return Moved(HISTORY.make(tuple(transition)), topic)


_TOPIC: Final = "(SELECT c.topic FROM claim c WHERE c.claim = t.claim AND c.topic_position <= t.position)"
_TRANSITIONS: Final = Listing(
    HISTORY.columns,
    HISTORY.source,
    (By("t.position"), By("t.claim", "text")),
    _moved,
    shown={**HISTORY.shown, "topic": _TOPIC},
)


@dataclass(frozen=True, slots=True)
class Events:
    """The entries of the log, as far as they are projected."""

    @property
    def unfiltered(self) -> "Events":
        """All of them, which these are."""
        return self

    def end(self, position: int) -> Key:
        """The key after which a position is done."""
        return (position,)

    def wants(self, row: Any) -> bool:
        """Each of them."""
        return True

    def read(self, view: View, after: Key) -> Stretch:
        """What follows a key."""
        return _stretch(log_entries.events(view, Page(STRETCH_MAX, after)), after, self.end(view.position))


Stream = Transitions | Events


def _stretch(found: Slice[Any], after: Key, end: Key) -> Stretch:
    # Never back: another generation may be live by now that is not as far yet.
    return Stretch(found.items, found.keys, found.keys[-1] if found.has_next else max(after, end))


def chosen(stretch: Stretch, of: Stream) -> Stretch:
    """What a stream wants of a stretch that was read without its filter."""
    kept = [(row, key) for row, key in zip(stretch.rows, stretch.keys, strict=True) if of.wants(row)]
    return stretch._replace(rows=[row for row, _ in kept], keys=[key for _, key in kept])

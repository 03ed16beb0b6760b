"""Pages by key: the rows after or before a key in a fixed order, never an offset.

An offset shifts when rows come in; a key does not. One statement answers for all
parents at once, so a page costs the same number of statements for one claim and
for a hundred.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import Any, Generic, NamedTuple, TypeVar

from service.queries.driver import Row, fetched, text_array
from service.queries.snapshot import View

Item = TypeVar("Item")
Key = tuple[Any, ...]


class By(NamedTuple):
    """One step of an order: a column of the rows, its type, and whether the greatest comes first."""

    column: str
    type: str = "bigint"
    descending: bool = False


Order = tuple[By, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows are wanted: at most `limit` after and before a key, from the end if `backward`."""

    limit: int
    after: Key | None = None
    before: Key | None = None
    backward: bool = False


class Slice(NamedTuple, Generic[Item]):
    """The rows of a page, in order, each with its key."""

    items: list[Item]
    keys: list[Key]
    has_next: bool = False
    has_previous: bool = False


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """A list that can be paged: its columns, where they come from, and in which order."""

    columns: str
    source: str  #: FROM and what follows, up to the conditions.
    order: Order
    make: Callable[[Row], Item]
    told: str = ""  #: what else the columns come from, looked up for the rows `t` of the page alone.
    #: The last columns, by the names of the items' fields: null where nobody shows them.
    shown: Mapping[str, str] = field(default_factory=dict[str, str])

    def page(self, view: View, page: Page, conditions: Sequence[str], parameters: Mapping[str, Any]) -> Slice[Item]:
        """The rows of one page."""
        sql, bound = self._sql(view, page, conditions)
        found = fetched(view.conn, sql, {**parameters, **bound})
        (made,) = self._slices(found, page, [len(found)])
        return made

    def pages(
        self,
        view: View,
        page: Page,
        conditions: Sequence[str],
        parameters: Mapping[str, Any],
        *,
        parents: Mapping[str, tuple[str, Sequence[Any]]],
    ) -> list[Slice[Item]]:
        """One page for each parent, in their order, by one statement.

        `parents` names, for each column of a parent, its type and the parents'
        values; conditions refer to them as `p.<column>`.
        """
        count = len(next(iter(parents.values()))[1])
        if count == 0:
            return []
        sql, bound = self._sql(view, page, conditions)
        arrays = ", ".join(f"%(parents_{name})s::{type}[]" for name, (type, _) in parents.items())
        names = ", ".join(parents)
        order = ", ".join(
            f"x.k{i} {'DESC' if by.descending != page.backward else 'ASC'}" for i, by in enumerate(self.order)
        )
        statement = (
            f"SELECT p.i, x.* FROM unnest({arrays}) WITH ORDINALITY AS p({names}, i), "
            f"LATERAL ({sql}) x ORDER BY p.i, {order}"
        )
        values = {
            f"parents_{name}": text_array(of) if type == "text" else list(of) for name, (type, of) in parents.items()
        }
        found = fetched(view.conn, statement, {**parameters, **bound, **values})
        counts = Counter([row[0] for row in found])
        return self._slices(found, page, [counts[i] for i in range(1, count + 1)], begin=1)

    def _sql(self, view: View, page: Page, conditions: Sequence[str]) -> tuple[str, dict[str, Any]]:
        bound: dict[str, Any] = {"limit": page.limit + 1}
        wanted = list(conditions)
        for name, key, past in (("after", page.after, True), ("before", page.before, False)):
            if key is not None:
                wanted.append(_beyond(self.order, name, past=past))
                bound |= {f"{name}_{i}": value for i, value in enumerate(key)}
        where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
        order = ", ".join(f"{by.column} {'DESC' if by.descending != page.backward else 'ASC'}" for by in self.order)
        keys = ", ".join(f"{by.column} AS k{i}" for i, by in enumerate(self.order))
        rest = f"{self.source}{where} ORDER BY {order} LIMIT %(limit)s"
        if self.told:
            rest = f"(SELECT t.* FROM {rest}) t, {self.told} ORDER BY {order}"
        return f"SELECT {keys}, {view.columns(self.columns, self.shown)} FROM {rest}", bound

    def _slices(self, found: list[Row], page: Page, counts: Sequence[int], *, begin: int = 0) -> list[Slice[Item]]:
        """The pages of parents of whom so many rows each were found, one after the other."""
        columns = begin + len(self.order)
        items = [self.make(row[columns:]) for row in found]
        keys = [row[begin:columns] for row in found]
        slices: list[Slice[Item]] = []
        start = 0
        for count in counts:
            more, end = count > page.limit, start + min(count, page.limit)
            if page.backward:
                at, is_before = slice(start, end), page.before is not None
                slices.append(Slice(items[at][::-1], keys[at][::-1], has_next=is_before, has_previous=more))
            else:
                slices.append(Slice(items[start:end], keys[start:end], more, page.after is not None))
            start += count
        return slices


def cut(rows: Iterable[tuple[Key, Item]], order: Order, page: Page) -> Slice[Item]:
    """A page of rows that are in memory, each with its key in `order`."""

    def before(one: Key, other: Key) -> bool:
        for by, mine, theirs in zip(order, one, other, strict=True):
            if mine != theirs:
                return (mine > theirs) if by.descending else (mine < theirs)
        return False

    ordered = sorted(rows, key=cmp_to_key(lambda a, b: -1 if before(a[0], b[0]) else int(before(b[0], a[0]))))
    kept = [
        (key, item)
        for key, item in ordered
        if (page.after is None or before(page.after, key)) and (page.before is None or before(key, page.before))
    ]
    more = len(kept) > page.limit
    kept = (kept[-page.limit :] if page.limit else []) if page.backward else kept[: page.limit]
    return Slice(
        [item for _, item in kept],
        [key for key, _ in kept],
        has_next=page.before is not None if page.backward else more,
        has_previous=more if page.backward else page.after is not None,
    )


def _beyond(order: Order, name: str, *, past: bool) -> str:
    """The condition that a row comes after (or before) the key in parameters `<name>_<i>`."""
    cases: list[str] = []
    for i, by in enumerate(order):
        same = [f"{each.column} = %({name}_{j})s::{each.type}" for j, each in enumerate(order[:i])]
        sign = "<" if by.descending == past else ">"
        cases.append(" AND ".join([*same, f"{by.column} {sign} %({name}_{i})s::{by.type}"]))
    first = order[0]
    sign = "<=" if first.descending == past else ">="
    # The first condition follows from the others, but an index can use it.
    return f"{first.column} {sign} %({name}_0)s::{first.type} AND ({' OR '.join(f'({case})' for case in cases)})"

"""Loaders: how a field's values are fetched for all parents of a level at once.

`one` looks something up by a key of the parent, `many` reads a page of a list for
each parent. They take rows and give rows; what is fetched is the queries' business.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from service.api.cursors import Scope, page
from service.api.fields import PAGING, Arguments, Dated, Failure, Loader, Paged
from service.domain.errors import OnrecordError
from service.queries.paging import Order, Page, Slice
from service.queries.snapshot import AsOf, View


def one(
    of: Callable[[Any], Any],
    fetch: Callable[[View, Collection[Any]], Mapping[Any, Any]],
) -> Loader:
    """A field that is looked up by the key `of` its parent; null where nothing is found."""

    def load(view: View, parents: Sequence[Any], _: Arguments) -> list[Any]:
        keys = [of(parent) for parent in parents]
        found = fetch(view, {key: None for key in keys if key is not None})
        return [found.get(key) for key in keys]

    return load


def many(
    name: str,
    order: Order,
    of: Callable[[Any], Any],
    fetch: Callable[[View, Sequence[Any], Arguments, Page], Sequence[Slice[Any]]],
    *,
    where: Callable[[Any], Any] | None = None,
    name_of: Callable[[Any], str] = str,
) -> Loader:
    """A field that is a page of a list below the key `of` its parent.

    `name` and the arguments tell the cursors of one list from those of another; `where`
    gives what a list is filtered by that can be counted.
    """

    def load(view: View, parents: Sequence[Any], arguments: Arguments) -> list[Any]:
        filters = {key: value for key, value in arguments.items() if key not in PAGING}
        keys = [of(parent) for parent in parents]
        given = {each: arguments.get(each) for each in PAGING}
        wanted: dict[tuple[AsOf, Page], list[int]] = {}
        values: list[Any] = [None] * len(parents)
        if given["after"] is None and given["before"] is None:
            # No cursor, so one page is asked of all.
            scope = Scope(name, "", filters)
            wanted[page(scope=scope, order=order, as_of=view.as_of, **given)] = list(range(len(parents)))
        else:
            for i, key in enumerate(keys):
                scope = Scope(name, name_of(key), filters)
                try:
                    asked = page(scope=scope, order=order, as_of=view.as_of, **given)
                except OnrecordError as error:
                    values[i] = Failure(error)
                else:
                    wanted.setdefault(asked, []).append(i)
        for (read_at, asked), members in wanted.items():
            slices = fetch(view.at(read_at), [keys[i] for i in members], arguments, asked)
            for i, of_parent in zip(members, slices, strict=True):
                paged = Paged(name, name_of(keys[i]), filters, read_at, of_parent, where and where(parents[i]))
                values[i] = paged if read_at == view.as_of else Dated(read_at, None, paged)
        return values

    return load

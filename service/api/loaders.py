"""Loaders: how a field's values are fetched for all parents of a level at once.

`one` looks something up by a key of the parent, `many` reads a page of a list for
each parent. The types say which; what is fetched is the queries' business.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from service.api.cursors import Scope, page
from service.api.fields import PAGING, Connection
from service.api.loading import Arguments, Failure, Loader
from service.domain.errors import OnrecordError
from service.queries.paging import Order, Page, Slice
from service.queries.snapshot import AsOf, View


def _plain(_: Any, **page: Any) -> Connection[Any]:
    return Connection[Any](**page)


def one(
    of: Callable[[Any], Any],
    fetch: Callable[[View, Collection[Any], Arguments], Mapping[Any, Any]],
    make: Callable[[Any], Any],
) -> Loader:
    """A field that is looked up by the key `of` its parent; null where nothing is found."""

    def load(view: View, parents: Sequence[Any], arguments: Arguments) -> list[Any]:
        keys = [of(parent) for parent in parents]
        found = fetch(view, {key: None for key in keys if key is not None}, arguments)
        return [make(found[key]) if key in found else None for key in keys]

    return load


def many(
    name: str,
    order: Order,
    of: Callable[[Any], Any],
    fetch: Callable[[View, Sequence[Any], Arguments, Page], Sequence[Slice[Any]]],
    make: Callable[[Any], Any],
    *,
    connection: Callable[..., Any] = _plain,
    name_of: Callable[[Any], str] = str,
) -> Loader:
    """A field that is a page of a list below the key `of` its parent.

    `name` and the arguments tell the cursors of one list from those of another.
    """

    def load(view: View, parents: Sequence[Any], arguments: Arguments) -> list[Any]:
        filters = {key: value for key, value in arguments.items() if key not in PAGING}
        wanted: dict[tuple[AsOf, Page], list[int]] = {}
        values: list[Any] = [None] * len(parents)
        scopes: list[Scope] = []
        for i, parent in enumerate(parents):
            scope = Scope.of(name, name_of(of(parent)), filters)
            scopes.append(scope)
            try:
                read_at, asked = page(
                    scope=scope,
                    order=order,
                    as_of=view.as_of,
                    first=arguments.get("first"),
                    after=arguments.get("after"),
                    last=arguments.get("last"),
                    before=arguments.get("before"),
                )
            except OnrecordError as error:
                values[i] = Failure(error)
            else:
                wanted.setdefault((read_at, asked), []).append(i)
        for (read_at, asked), members in wanted.items():
            slices = fetch(view.at(read_at), [of(parents[i]) for i in members], arguments, asked)
            for i, of_parent in zip(members, slices, strict=True):
                values[i] = connection(
                    parents[i],
                    nodes=[make(item) for item in of_parent.items],
                    scope=scopes[i],
                    read_at=read_at,
                    of=of_parent,
                )
        return values

    return load

"""How the types of the API declare what they are read from, what is loaded, and lists that are paged."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar, cast

import strawberry

from service.api.cursors import PAGE_DEFAULT, PAGE_MAX, Scope
from service.api.scalars import Instant, Moment, Position
from service.queries.paging import Slice
from service.queries.snapshot import AsOf, View

#: Where a field's metadata names its loader, and how long what it answers holds.
LOAD: Final = "load"
KEPT: Final = "kept"
#: Where a subscription's metadata names how its stream begins.
STREAM: Final = "stream"
#: Where a mutation's metadata names the scope that it needs.
NEEDS: Final = "needs"
#: Where a type keeps how its fields are read off a row.
READS: Final = "__reads__"

Arguments = Mapping[str, Any]
#: Takes a view, the parents and the field's arguments; gives a value (or Failure) for each parent.
Loader = Callable[[View, Sequence[Any], Arguments], Sequence[Any]]
Type = TypeVar("Type", bound=type)


class Failure(NamedTuple):
    """What a field answers instead of a value."""

    error: Exception


class Dated(NamedTuple):
    """A row that was read as of another moment than its field was; what is below it goes on from there."""

    as_of: AsOf
    named: bool | None  #: whether that was asked for; None: if it was above.
    row: Any


class Kept(IntEnum):
    """How long an answer may be kept that holds a field."""

    NOT = 0  #: it depends on more than the record.
    WHILE_PROJECTED = 1  #: until the record or the generation moves on.
    FOR_EVER = 2  #: if it is of a position.


#: The types, by the classes of their rows, of those that an interface stands for.
ROWS: Final[dict[type, Any]] = {}


def reads(row: type | None = None, /, **how: str | Callable[[Any], Any]) -> Callable[[Type], Type]:
    """How the fields of a type are read off its rows: by an attribute's name, or a function of the row.

    A field that is not named is read off the attribute that has its name. This is the
    only place where a type of the API meets what is behind it. `row` is the rows' class,
    where an interface may stand for the type.
    """

    def declare(cls: Type) -> Type:
        setattr(cls, READS, {**getattr(cls, READS, {}), **how})
        if row is not None:
            ROWS[row] = cast(Any, cls).__strawberry_definition__
        return cls

    return declare


Item = TypeVar("Item")


def arg(description: str, *, sent_as: Any = None) -> Any:
    """An argument's description, and its type where that is not what its resolver takes."""
    return strawberry.argument(description=description, graphql_type=sent_as)


_PAGE_ARGUMENTS = (
    ("first", int | None, f"how many to give from the start, at most {PAGE_MAX}; {PAGE_DEFAULT} by default"),
    ("after", str | None, "the cursor to go on after"),
    ("last", int | None, f"how many to give from the end, at most {PAGE_MAX}"),
    ("before", str | None, "the cursor to stop before"),
)

#: The names of a page's arguments.
PAGING = frozenset(name for name, _, _ in _PAGE_ARGUMENTS)


@strawberry.input(
    name="AsOf", description="A moment of the record, on either of its two times. What is left out is now."
)
class Asked:
    position: Position | None = strawberry.field(
        default=strawberry.UNSET, description="what was known at this position of the log"
    )
    recorded_at: Instant | None = strawberry.field(
        default=strawberry.UNSET, description="what was known at this time: at the last position recorded by then"
    )
    said_by: Moment | None = strawberry.field(
        default=strawberry.UNSET, description="of what is known, only what was said by this moment"
    )


_AS_OF = inspect.Parameter(
    "as_of",
    inspect.Parameter.KEYWORD_ONLY,
    default=strawberry.UNSET,
    annotation=Annotated[Asked | None, arg("the moment to answer for, here and in everything below; now by default")],
)


def related(
    load: Loader,
    *,
    description: str,
    paged: bool = False,
    timed: bool = False,
    name: str | None = None,
    kept: Kept = Kept.FOR_EVER,
) -> Any:
    """A field whose value `load` fetches, for all parents of a level at once.

    Decorates a stub whose signature gives the field's arguments and type; a paged
    one gets the four arguments of a page besides, a timed one the moment to answer for.
    """

    def declare(stub: Callable[..., Any]) -> Any:
        signature = inspect.signature(stub)
        # UNSET, so that the schema shows no default where leaving an argument out says the same as null.
        parameters = [
            each.replace(
                kind=inspect.Parameter.KEYWORD_ONLY,
                default=strawberry.UNSET if each.default is None else each.default,
            )
            for each in signature.parameters.values()
        ]
        if timed:
            parameters.append(_AS_OF)
        if paged:
            parameters += [
                inspect.Parameter(
                    each,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=strawberry.UNSET,
                    annotation=Annotated[kind, arg(description)],
                )
                for each, kind, description in _PAGE_ARGUMENTS
            ]
        stub.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportFunctionMemberAccess]
        stub.__annotations__ = {
            **{each.name: each.annotation for each in parameters[1:]},
            "return": signature.return_annotation,
        }
        metadata = {LOAD: load, KEPT: kept}
        # The stub is never called: plans load the field, and tell the interpreter.
        return cast(Any, strawberry.field)(resolver=stub, description=description, metadata=metadata, name=name)

    return declare


@dataclass(eq=False)
class Paged:
    """A page of a list, as it was loaded."""

    name: str  #: of the list.
    parent: str  #: of which it is.
    filters: Arguments
    read_at: AsOf  #: the moment that the page was read as of.
    of: Slice[Any]
    where: Any = None  #: what the whole list is filtered by, where it can be counted.
    counted: Any = None  #: that count, once it was taken.

    @cached_property
    def _scope(self) -> Scope:
        return Scope(self.name, self.parent, self.filters)

    def cursor(self, i: int) -> str | None:
        """The cursor of an item; None on an empty page."""
        return self._scope.cursor(self.read_at, self.of.keys[i]) if self.of.keys else None


@reads(
    has_next_page="of.has_next",
    has_previous_page="of.has_previous",
    start_cursor=lambda page: page.cursor(0),
    end_cursor=lambda page: page.cursor(-1),
)
@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="whether more follows")
    has_previous_page: bool = strawberry.field(description="whether something comes before")
    start_cursor: str | None = strawberry.field(description="the cursor of the first item; null on an empty page")
    end_cursor: str | None = strawberry.field(description="the cursor of the last item; null on an empty page")


@reads(node=lambda edge: edge[0].of.items[edge[1]], cursor=lambda edge: edge[0].cursor(edge[1]))
@strawberry.type(description="An item of a page with its cursor.")
class Edge(Generic[Item]):
    node: Item = strawberry.field(description="the item")
    cursor: str = strawberry.field(description="where the item stands in its list")


@reads(nodes="of.items", edges=lambda page: [(page, i) for i in range(len(page.of.items))], page_info=lambda page: page)
@strawberry.type(description="A page of a list.")
class Connection(Generic[Item]):
    nodes: list[Item] = strawberry.field(description="the items")
    edges: list[Edge[Item]] = strawberry.field(description="the items with their cursors")
    page_info: PageInfo = strawberry.field(description="where this page stands in the list")

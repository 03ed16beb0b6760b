"""How the types of the API declare fields that are loaded, and lists that are paged."""

import inspect
from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any, Generic, TypeVar, cast

import strawberry
from strawberry.types import Info

from service.api.cursors import PAGE_DEFAULT, PAGE_MAX, Scope
from service.api.loading import LOAD, Loaded, Loader, taken
from service.api.scalars import Instant, Moment, Position
from service.queries.paging import Key, Slice
from service.queries.snapshot import AsOf

Item = TypeVar("Item")


def arg(description: str) -> Any:
    """An argument's description."""
    return strawberry.argument(description=description)


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
    load: Loader, *, description: str, paged: bool = False, timed: bool = False, name: str | None = None
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
        own = parameters[0].replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
        info = inspect.Parameter("info", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Info[Any, Any])

        def resolver(self: Any, info: Info[Any, Any], **_: Any) -> Any:
            return taken(self, info)

        resolver.__name__, resolver.__qualname__ = stub.__name__, stub.__qualname__
        resolver.__module__ = stub.__module__
        resolver.__signature__ = signature.replace(parameters=[own, info, *parameters[1:]])  # pyright: ignore[reportFunctionMemberAccess]
        resolver.__annotations__ = {
            "info": Info[Any, Any],
            **{each.name: each.annotation for each in parameters[1:]},
            "return": signature.return_annotation,
        }
        return cast(Any, strawberry.field)(resolver=resolver, description=description, metadata={LOAD: load}, name=name)

    return declare


def fresh() -> Loaded:
    """The place for what is loaded, empty."""
    return {}


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="whether more follows")
    has_previous_page: bool = strawberry.field(description="whether something comes before")
    start_cursor: str | None = strawberry.field(description="the cursor of the first item; null on an empty page")
    end_cursor: str | None = strawberry.field(description="the cursor of the last item; null on an empty page")


@strawberry.type(description="An item of a page with its cursor.")
class Edge(Generic[Item]):
    node: Item = strawberry.field(description="the item")
    scope: strawberry.Private[Scope]
    read_at: strawberry.Private[AsOf]
    key: strawberry.Private[Key]

    @strawberry.field(description="where the item stands in its list")
    def cursor(self) -> str:
        return self.scope.cursor(self.read_at, self.key)


@strawberry.type(description="A page of a list.")
class Connection(Generic[Item]):
    nodes: list[Item] = strawberry.field(description="the items")
    scope: strawberry.Private[Scope]
    read_at: strawberry.Private[AsOf]  #: the moment that the page was read as of.
    of: strawberry.Private[Slice[Any]]
    loaded: strawberry.Private[Loaded] = field(default_factory=fresh)

    @strawberry.field(description="the items with their cursors")
    def edges(self) -> list[Edge[Item]]:
        return [
            Edge(node=node, scope=self.scope, read_at=self.read_at, key=key)
            for node, key in zip(self.nodes, self.of.keys, strict=True)
        ]

    @strawberry.field(description="where this page stands in the list")
    def page_info(self) -> PageInfo:
        keys = self.of.keys
        return PageInfo(
            has_next_page=self.of.has_next,
            has_previous_page=self.of.has_previous,
            start_cursor=self.scope.cursor(self.read_at, keys[0]) if keys else None,
            end_cursor=self.scope.cursor(self.read_at, keys[-1]) if keys else None,
        )

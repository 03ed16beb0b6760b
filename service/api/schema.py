"""The schema, and what happens around an operation: loading it, and telling what went wrong."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final, cast

import orjson
import strawberry
import structlog
from graphql import (
    ExecutionResult,
    Executor,
    GraphQLError,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLUnionType,
    OperationType,
    default_field_resolver,  # pyright: ignore[reportUnknownVariableType]
    default_type_resolver,  # pyright: ignore[reportUnknownVariableType]
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.pyutils import AwaitableOrValue
from strawberry.schema.config import StrawberryConfig

from service.api import watching
from service.api.context import Context
from service.api.fields import LOAD, NEEDS, Failure
from service.api.mutation import Mutation
from service.api.plans import Invalid, Request, Told, reader, type_name
from service.api.query import Query
from service.api.scalars import SCALARS, instant_text
from service.api.subscription import Subscription
from service.api.types import Article, Claim, Event, Outlet, Speaker, Statement
from service.database.engine import passing
from service.domain.errors import Busy, DatabaseExhausted, DatabaseUnreachable, OnrecordError

#: What may pass by itself, and how it is told: where and why is nobody's business outside.
_PASSING: Final = {
    DatabaseUnreachable.code: "the database cannot be reached; ask again in a moment",
    DatabaseExhausted.code: str(DatabaseExhausted()),
    Busy.code: str(Busy()),
}

_log = structlog.get_logger("onrecord.api")


def code_of(error: GraphQLError) -> str:
    """The stable code of an error: of the closed list in `docs/errors.md`."""
    original = error.original_error
    if isinstance(original, OnrecordError):
        return original.code
    if (why := passing(original)) is not None:
        return why.code
    if original is None or isinstance(original, GraphQLError):
        return "BAD_QUERY"
    return "INTERNAL"


def log_unforeseen(errors: Iterable[GraphQLError]) -> None:
    """Log what nobody foresaw, with its trace; what the caller can act on is the caller's business."""
    for error in errors:
        if code_of(error) == "INTERNAL":
            _log.error("unforeseen", path=error.path, exc_info=error.original_error)


def formatted(error: GraphQLError) -> dict[str, Any]:
    """An error as answers show it: with its code, and nothing of what went on inside. It is counted as a refusal."""
    code = code_of(error)
    told = cast("dict[str, Any]", error.formatted)
    if code == "INTERNAL":
        told["message"] = "something went wrong inside; the service's own log says what"
    elif code in _PASSING:
        told["message"] = _PASSING[code]
    watching.refused(code, told["message"])
    return {**told, "extensions": {"code": code}}


def refused(error: Exception) -> dict[str, Any]:
    """What is told where an operation was not begun or is given up: errors, and no data."""
    if isinstance(error, Invalid):
        errors = error.errors
    else:
        errors = [error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)]
        log_unforeseen(errors)
    return {"errors": [formatted(each) for each in errors]}


def answered(data: Any, errors: Sequence[GraphQLError] | None, context: Context) -> dict[str, Any]:
    """An answer as it is sent. It says of itself, unasked, what it may cost, and where in the log it was given."""
    told = {"errors": [formatted(each) for each in errors]} if errors else {}
    if errors and data is None and all(error.path is None for error in errors):
        # Nothing was answered, which is more than null.
        return told
    assert context.request is not None
    log = {"log": context.seen} if context.seen else {}
    return {"data": data, **told, "extensions": {"cost": context.request.cost, **log}}


async def interpreted(context: Context) -> dict[str, Any]:
    """The answer to the context's request by the interpreter, as it is sent."""
    request = context.request
    assert request is not None
    watching.interpreted()
    with watching.timed(request.operation):
        try:
            reads = request.operation.operation is OperationType.QUERY
            # All that a query selects is loaded before it is executed, in one snapshot.
            root = await context.answer(request, compiled=False) if reads else None
            result = executed(request, root, context)
            if not isinstance(result, ExecutionResult):
                result = await result
        except Exception as error:  # noqa: BLE001 - it is told and logged
            return refused(error)
    log_unforeseen(result.errors or ())
    return answered(result.data, result.errors, context)


def executed(request: Request, root: Any, context: Context | None = None) -> AwaitableOrValue[ExecutionResult]:
    """What the interpreter makes of a root that was loaded, or of a mutation, by the variables as they are coerced."""
    fragments = request.document.fragments
    executor = cast(Any, Executor)(
        graphql_schema,
        fragments,
        {name: FragmentDetails(each) for name, each in fragments.items()},
        root,
        context,
        request.operation,
        request.variables,
        default_field_resolver,
        default_type_resolver,
        default_field_resolver,
    )
    return executor.execute_operation()


def encoded(data: object) -> bytes:
    """An answer's JSON, on one line."""
    try:
        return orjson.dumps(data, option=orjson.OPT_UTC_Z)
    except TypeError:
        # Half a surrogate pair that a message quotes from the request has no UTF-8.
        return json.dumps(data, default=instant_text).encode()


schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Claim, Statement, Article, Outlet, Speaker, Event],
    config=StrawberryConfig(scalar_map=SCALARS),
)
#: The same, as graphql-core knows it.
graphql_schema: Final = schema._schema  # pyright: ignore[reportPrivateUsage]


def _resolver(of: GraphQLObjectType, field: GraphQLField) -> Callable[..., Any]:
    stated = field.extensions["strawberry-definition"]
    read: Callable[[Any], Any] = (lambda _: None) if LOAD in stated.metadata else reader(of, stated.python_name)

    def resolve(source: Any, info: GraphQLResolveInfo[Any], **_: Any) -> Any:
        value = source[cast(str, info.path.key)] if isinstance(source, Told) else read(source)
        if isinstance(value, Failure):
            raise value.error
        return value

    return resolve


def _permitted(field: GraphQLField) -> Callable[..., Any]:
    """How a mutation is done, by who may do it. Of several in one operation, none is unless all may be."""
    needs, do = field.extensions["strawberry-definition"].metadata[NEEDS], cast("Callable[..., Any]", field.resolve)

    def resolve(source: Any, info: GraphQLResolveInfo[Context], **arguments: Any) -> Any:
        context = info.context
        assert context.request is not None
        for each in (needs, *(other.needs for other in context.request.plan(compiled=False).fields.values())):
            context.sender.must(each)
        return do(source, info, **arguments)

    return resolve


def _type_of(value: Any, _: Any, of: Any) -> str:
    return value.of if isinstance(value, Told) else type_name(of, value)


def _tell() -> None:
    """Let the interpreter take its values from what plans loaded, and else off rows as plans do; and ask who may.

    And let it make of inputs that nobody needs objects of what they stand for, by the names that this has.
    """
    for of in graphql_schema.type_map.values():
        if isinstance(of, GraphQLInterfaceType | GraphQLUnionType):
            of.resolve_type = _type_of
        elif isinstance(of, GraphQLObjectType) and not of.name.startswith("__"):
            of.is_type_of = None
            for field in of.fields.values():
                field.resolve = _permitted(field) if of is graphql_schema.mutation_type else _resolver(of, field)
        elif isinstance(of, GraphQLInputObjectType) and of.extensions["strawberry-definition"].from_input:
            for field in of.fields.values():
                field.out_name = field.extensions["strawberry-definition"].python_name


_tell()


@cache
def printed() -> str:
    """The schema as `schema.graphql` holds it."""
    return schema.as_str() + "\n"

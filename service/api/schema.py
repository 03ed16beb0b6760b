"""The schema, and what happens around an operation: loading it, and telling what went wrong."""

import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Final, cast

import orjson
import strawberry
import structlog
from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLUnionType,
    OperationType,
    get_operation_ast,
)
from sqlalchemy.exc import DBAPIError
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext, ExecutionResult

from service.api.context import Context
from service.api.documents import Document, document
from service.api.fields import LOAD, Failure
from service.api.mutation import Mutation
from service.api.plans import Request, Told, reader, type_name
from service.api.query import Query
from service.api.scalars import SCALARS, instant_text
from service.api.subscription import Subscription
from service.api.types import Article, Claim, Event, Outlet, Speaker, Statement
from service.domain.errors import BadArgument, DatabaseUnreachable, OnrecordError

_log = structlog.get_logger("onrecord.api")


class Loading(SchemaExtension):
    """Loads everything that a query selects before the interpreter executes it, in one snapshot."""

    _document: Document | None = None

    def on_parse(self) -> Generator[None]:
        execution = self.execution_context
        # What cannot be parsed is parsed once more, by who tells of it.
        with contextlib.suppress(Exception):
            self._document = document(graphql_schema, execution.query or "")
            execution.graphql_document = self._document.node
        yield

    def on_validate(self) -> Generator[None]:
        if self._document is not None:
            self.execution_context.pre_execution_errors = self._document.errors
        yield

    async def on_execute(self) -> AsyncGenerator[None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        await self._load()
        yield

    async def _load(self) -> None:
        execution = self.execution_context
        context = cast(Context, execution.context)
        assert self._document is not None
        named = execution._provided_operation_name  # pyright: ignore[reportPrivateUsage]
        if get_operation_ast(self._document.node, named) is None:
            raise BadArgument("the document holds several operations; say which by operationName")
        context.request = Request.of(graphql_schema, self._document, named, execution.variables)
        # Variables that are refused are so when it is executed.
        if context.request is not None and context.request.operation.operation is OperationType.QUERY:
            execution.root_value = await context.answer(context.request, compiled=False)

    def get_results(self) -> dict[str, Any]:
        """Every answer says where in the log it was given, unasked."""
        seen = cast(Context, self.execution_context.context).seen
        return {"log": seen} if seen else {}


class _Schema(strawberry.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """What nobody foresaw is logged with its trace; what the caller can act on is the caller's business."""
        for error in errors:
            if code_of(error) == "INTERNAL":
                _log.error("unforeseen", path=error.path, exc_info=error.original_error)


def code_of(error: GraphQLError) -> str:
    """The stable code of an error: of the closed list in `docs/errors.md`."""
    original = error.original_error
    if isinstance(original, OnrecordError):
        return original.code
    if isinstance(original, DBAPIError) and original.connection_invalidated:
        return DatabaseUnreachable.code
    if original is None or isinstance(original, GraphQLError):
        return "BAD_QUERY"
    return "INTERNAL"


def formatted(error: GraphQLError) -> dict[str, Any]:
    """An error as answers show it: with its code, and nothing of what went on inside."""
    code = code_of(error)
    told = cast("dict[str, Any]", error.formatted)
    if code == "INTERNAL":
        told["message"] = "something went wrong inside; the service's own log says what"
    elif code == DatabaseUnreachable.code:
        told["message"] = "the database cannot be reached; ask again in a moment"
    return {**told, "extensions": {"code": code}}


def failed(error: Exception, context: Context) -> dict[str, Any]:
    """The answer where nothing could be read, as the interpreter's way gives it."""
    located = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
    schema.process_errors([located])
    return answered(None, [located], context)


def refused(error: Exception, context: Context) -> dict[str, Any]:
    """What is told where an operation was not begun or is given up: errors, and no data."""
    return {"errors": failed(error, context)["errors"]}


def answered(data: Any, errors: list[GraphQLError] | None, context: Context) -> dict[str, Any]:
    """An answer as it is sent."""
    answer: dict[str, Any] = {"data": data}
    if errors:
        answer["errors"] = [formatted(error) for error in errors]
    return {**answer, "extensions": {"log": context.seen}} if context.seen else answer


def told(result: ExecutionResult) -> dict[str, Any]:
    """What the interpreter answers, as it is sent."""
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [formatted(error) for error in result.errors]
    return {**answer, "extensions": result.extensions} if result.extensions else answer


def encoded(data: object) -> bytes:
    """An answer's JSON, on one line."""
    try:
        return orjson.dumps(data, option=orjson.OPT_UTC_Z)
    except TypeError:
        # Half a surrogate pair that a message quotes from the request has no UTF-8.
        return json.dumps(data, default=instant_text).encode()


schema = _Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Claim, Statement, Article, Outlet, Speaker, Event],
    extensions=[Loading],
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


def _type_of(value: Any, _: Any, of: Any) -> str:
    return value.of if isinstance(value, Told) else type_name(of, value)


def _tell() -> None:
    """Let the interpreter take its values from what plans loaded, and else off rows as plans do."""
    for of in graphql_schema.type_map.values():
        if isinstance(of, GraphQLInterfaceType | GraphQLUnionType):
            of.resolve_type = _type_of
        elif isinstance(of, GraphQLObjectType) and not of.name.startswith("__"):
            of.is_type_of = None
            for field in of.fields.values() if of is not graphql_schema.mutation_type else ():
                field.resolve = _resolver(of, field)


_tell()


def printed() -> str:
    """The schema as `schema.graphql` holds it."""
    return schema.as_str() + "\n"

"""The schema, and what happens around an operation: loading it, and telling what went wrong."""

from collections.abc import AsyncGenerator
from typing import Any, cast

import strawberry
import structlog
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLObjectType,
    OperationType,
    get_argument_values,
    get_operation_ast,
    get_variable_values,
)
from sqlalchemy.exc import DBAPIError
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from service.api.context import Context
from service.api.loading import LOAD, Selection
from service.api.mutation import Mutation
from service.api.query import Query
from service.api.scalars import SCALARS
from service.api.types import Article, Claim, Event, Outlet, Speaker, Statement
from service.domain.errors import BadArgument, DatabaseUnreachable, OnrecordError

_log = structlog.get_logger("onrecord.api")


class Loading(SchemaExtension):
    """Loads everything that a query selects before it is executed, in one snapshot."""

    async def on_execute(self) -> AsyncGenerator[None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        await self._load()
        yield

    async def _load(self) -> None:
        execution = self.execution_context
        context = cast(Context, execution.context)
        document = execution.graphql_document
        assert document is not None
        named = execution._provided_operation_name  # pyright: ignore[reportPrivateUsage]
        operation = get_operation_ast(document, named)
        if operation is None:
            raise BadArgument("the document holds several operations; say which by operationName")
        graphql_schema = schema._schema  # pyright: ignore[reportPrivateUsage]
        variables = get_variable_values(graphql_schema, operation.variable_definitions or (), execution.variables or {})
        if isinstance(variables, list):
            return  # They are refused when it is executed.
        fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
        selection = context.selection = Selection(graphql_schema, fragments, variables)
        if operation.operation is not OperationType.QUERY:
            return
        of = cast(GraphQLObjectType, graphql_schema.query_type)
        execution.root_value = root = Query()
        fields = selection.collect(of, [operation.selection_set])
        loaded = [nodes[0] for nodes in fields.values() if _is_loaded(of, nodes[0].name.value)]
        if not loaded:
            return
        await context.read(lambda view: selection.load(view, of, [root], [operation.selection_set]))
        asked = {_position_asked(selection, of, node) for node in loaded}
        if len(asked) == 1 and (position := asked.pop()) is not None and position <= context.seen["position"]:
            # Of a position alone the answer never changes, wherever the head is; once it is there.
            context.seen = {"position": position}

    def get_results(self) -> dict[str, Any]:
        """Every answer says where in the log it was given, unasked."""
        seen = cast(Context, self.execution_context.context).seen
        return {"log": seen} if seen else {}


def _position_asked(selection: Selection, of: GraphQLObjectType, node: FieldNode) -> int | None:
    """The position that a root field is asked as of, if it names one."""
    arguments = get_argument_values(of.fields[node.name.value], node, selection.variables)
    asked: dict[str, Any] = arguments.get("asOf") or {}
    return asked.get("position")


def _is_loaded(of: GraphQLObjectType, name: str) -> bool:
    definition = of.fields.get(name)
    return definition is not None and LOAD in definition.extensions["strawberry-definition"].metadata


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


schema = _Schema(
    query=Query,
    mutation=Mutation,
    types=[Claim, Statement, Article, Outlet, Speaker, Event],
    extensions=[Loading],
    config=StrawberryConfig(scalar_map=SCALARS),
)


def printed() -> str:
    """The schema as `schema.graphql` holds it."""
    return schema.as_str() + "\n"

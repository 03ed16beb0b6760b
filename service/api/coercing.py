"""Variables, coerced as graphql-core does it, and quickly where nothing is wrong with them."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, cast

from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLString,
    VariableDefinitionNode,
    VariableValues,
    get_variable_values,
    is_required_input_field,
    parse_type,
    type_from_ast,  # pyright: ignore[reportUnknownVariableType]
)
from graphql.execution.get_variable_signature import get_variable_signature
from graphql.execution.values import VariableValueSource
from pydantic_core import CoreSchema, SchemaValidator, core_schema

#: Those that take a string as it is, and more than that.
_STRINGS: Final = (GraphQLString, GraphQLID)


def coerced(
    schema: GraphQLSchema,
    definitions: Iterable[VariableDefinitionNode],
    given: dict[str, Any],
    *,
    hide_suggestions: bool,
) -> VariableValues | list[GraphQLError]:
    """The values of an operation's variables, or what is wrong with them: what `graphql.get_variable_values` gives.

    They are coerced by what is compiled of their types. Whatever that does not take is graphql-core's, which tells
    what is wrong with it, or that nothing is.
    """
    quick = VariableValues({}, {})
    others: list[VariableDefinitionNode] = []
    for each in definitions:
        try:
            signature = cast(Any, get_variable_signature(schema, each))
            value = given[signature.name]
            quick.coerced[signature.name] = _validator(schema, str(signature.type)).validate_python(value)
            quick.sources[signature.name] = VariableValueSource(signature, value)
        except Exception:  # noqa: BLE001 - whatever it is, graphql-core tells it in its own words
            others.append(each)
    found = get_variable_values(schema, others, given, hide_suggestions=hide_suggestions)
    if isinstance(found, list):
        return found
    return VariableValues(quick.sources | found.sources, quick.coerced | found.coerced)


@lru_cache(256)
def _validator(schema: GraphQLSchema, of: str) -> SchemaValidator:
    """What takes values of a type, as it is written, and raises for some of those that graphql-core takes."""
    return SchemaValidator(_nullable(type_from_ast(schema, parse_type(of))))


def _nullable(of: Any) -> CoreSchema:
    if isinstance(of, GraphQLNonNull):
        return _compiled(cast(Any, of).of_type)
    return core_schema.nullable_schema(_compiled(of))


def _compiled(of: Any) -> CoreSchema:
    if isinstance(of, GraphQLInputObjectType):
        fields = {each.out_name or name: _field(name, each) for name, each in of.fields.items()}
        return core_schema.typed_dict_schema(fields, strict=True, extra_behavior="forbid")
    if isinstance(of, GraphQLList):
        return core_schema.list_schema(_nullable(cast(Any, of).of_type), strict=True, fail_fast=True)
    if isinstance(of, GraphQLEnumType):
        values = {name: of.coerce_input_value(name) for name in of.values}
        return core_schema.no_info_plain_validator_function(values.__getitem__)
    if of in _STRINGS:
        return core_schema.str_schema(strict=True)

    def scalar(value: Any) -> Any:
        if value is None:
            # Most scalars would refuse it, but some make text of whatever comes.
            raise ValueError
        return of.coerce_input_value(value)

    return core_schema.no_info_plain_validator_function(scalar)


def _field(name: str, of: GraphQLInputField) -> core_schema.TypedDictField:
    required = is_required_input_field(of)
    return core_schema.typed_dict_field(_nullable(cast(Any, of).type), required=required, validation_alias=name)

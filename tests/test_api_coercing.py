"""Variables are coerced as graphql-core coerces them: value for value, word for word, and once."""

from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    OperationDefinitionNode,
    VariableValues,
    get_variable_values,
    is_input_type,
    parse,
    parse_type,
    type_from_ast,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.api.coercing import coerced
from service.api.schema import graphql_schema
from tests.api import SEEDS, Api
from tests.api import served as served
from tests.test_api_mutations import RECORD, sent

INPUTS = [name for name, of in graphql_schema.type_map.items() if is_input_type(of) and not name.startswith("__")]
OBJECTS = [name for name in INPUTS if isinstance(graphql_schema.type_map[name], GraphQLInputObjectType)]
RIGHT: dict[str, list[Any]] = {
    "String": ["", "x", "\ud800", "\x00"],
    "ID": ["x", "7", 7],
    "Int": [0, -7, 2**31 - 1, 7.0],
    "Float": [0, 1.5, 10**20],
    "Boolean": [True, False],
    "Position": [0, 2**63 - 1],
    "Moment": ["2022-02-15", "x", 7],
    "DateTime": ["2022-02-15T18:00:00Z"],
    "JSON": [7, "x"],
}
#: What is right for some type, and wrong for most.
ODD: list[Any] = ["", "x", "7", "asserts", "ASSERTS", "2022-02-15", [], [[]], ["x", None], {}, {"id": "x", "name": "x"}]
ANY = st.none() | st.sampled_from([True, 0, -1, 2**31, 2**63, 10**400, 1.5, float("nan"), *ODD])
WRAPPED = ["{}", "{}!", "[{}]", "[{}!]!", "[[{}]!]"]
DEFAULTS = ["", "", " = null", " = 7", ' = {id: "x"}']


def right(draw: st.DrawFn, of: Any) -> Any:
    """A value of a type."""
    if isinstance(of, GraphQLNonNull):
        of = of.of_type
    elif draw(st.integers(0, 3)) == 3:
        return None
    match of:
        case GraphQLList():
            found = [right(draw, of.of_type) for _ in range(draw(st.integers(0, 3)))]
            # One stands for a list of it.
            return found[0] if len(found) == 1 else found
        case GraphQLInputObjectType():
            given = [
                each for each in of.fields.items() if isinstance(each[1].type, GraphQLNonNull) or draw(st.booleans())
            ]
            return {name: right(draw, each.type) for name, each in given}
        case GraphQLEnumType():
            return draw(st.sampled_from([*of.values]))
        case _:
            return draw(st.sampled_from(RIGHT[of.name]))


def changed(draw: st.DrawFn, value: Any) -> Any:
    """The same but for one place, which is wrong for most types."""
    if isinstance(value, dict | list) and value and draw(st.booleans()):
        of: Any = value
        inside = draw(st.sampled_from([*(range(len(of)) if isinstance(of, list) else of)]))
        of[inside] = changed(draw, of[inside])
        return of
    if isinstance(value, dict) and draw(st.booleans()):
        of = value
        if of and draw(st.booleans()):
            del of[draw(st.sampled_from([*of]))]
            return of
        # Documents have names that their inputs have not.
        return {**of, draw(st.sampled_from(["said_at", "published_at", "other"])): draw(ANY)}
    return draw(ANY)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """The head of an operation, and variables for it."""
    heads, variables = list[str](), dict[str, Any]()
    for i in range(draw(st.integers(1, 2))):
        written = draw(st.sampled_from(WRAPPED)).format(draw(st.sampled_from(INPUTS) | st.sampled_from(OBJECTS)))
        heads.append(f"$v{i}: {written}{draw(st.sampled_from(DEFAULTS))}")
        if draw(st.integers(0, 9)):
            value = right(draw, type_from_ast(graphql_schema, parse_type(written)))
            variables[f"v{i}"] = changed(draw, value) if draw(st.integers(0, 2)) else value
    return f"query ({', '.join(heads)})", variables


def told(found: VariableValues | list[Any]) -> Any:
    """Everything about values or errors; 7, 7.0 and True are equal, and not the same."""
    if isinstance(found, list):
        return [(each.message, each.nodes, repr(each.original_error)) for each in found]
    sources = {
        name: (each.signature.name, str(each.signature.type), each.value) for name, each in found.sources.items()
    }
    return sorted(map(repr, found.coerced.items())), sorted(map(repr, sources.items()))


@settings(max_examples=250)
@given(requests(), st.booleans())
@example(request=("query ($v0: [Moment!]!)", {"v0": [None]}), hide=False)
@example(request=("query ($v0: OutletInput!)", {"v0": {"id": "x"}}), hide=False)
@example(request=("query ($v0: OutletInput!)", {"v0": {"id": "x", "name": "x", "nam": "x"}}), hide=True)
def test_values_and_faults_are_those_that_graphql_core_finds(request: tuple[str, dict[str, Any]], hide: bool):
    head, variables = request
    (operation,) = parse(f"{head} {{ __typename }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    definitions = operation.variable_definitions or ()
    ours = coerced(graphql_schema, definitions, variables, hide_suggestions=hide)
    assert told(ours) == told(get_variable_values(graphql_schema, definitions, variables, hide_suggestions=hide))


def test_what_is_right_is_coerced_once(api: Api, monkeypatch: pytest.MonkeyPatch):
    """And not by graphql-core, which takes several times as long for it as the rest of an article takes together."""
    document = sent(SEEDS[0].model_dump(mode="json"))

    def never(*_: object):
        raise AssertionError

    monkeypatch.setattr("graphql.execution.values.coerce_input_value", never)
    recorded = api.ask(RECORD.replace("20", "0"), input=document)["recordArticle"]
    assert recorded["__typename"] == "ArticleAccepted"

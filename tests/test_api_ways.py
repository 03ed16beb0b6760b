"""However a query is answered, it is answered the same: generated queries over all of the schema, in every way."""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLUnionType,
    get_named_type,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from service.api.schema import graphql_schema
from service.domain.events import ClaimRuled, ClaimsMerged, SpeakersMerged
from service.domain.policies import State
from tests.api import SEEDS, Api
from tests.builders import article, asserts, denies, retraction, withholds
from tests.conftest import Database

#: What arguments are drawn from: what is there, and now and then what is not or cannot be.
GOOD: dict[str, list[str]] = {
    "String": [f'"{each}"' for each in ("troops-withdrawing", "gas-cut", "energy-cut", "joe-biden", "nato", "troops")],
    "ID": ['"Claim:troops-withdrawing"', '"Claim:gas-cut@6"', '"Event:2"', '"Statement:1.0"', '"Article:3"'],
    "policy": ['"unanimous"', '"majority"', '"latest@1"'],
    "first": ["1", "2", "3", "$n"],
    "Int": ["1", "3"],
    "Position": ["1", "4", "9"],
    "Boolean": ["true", "false"],
    "DateTime": ['"2999-01-01T00:00:00Z"'],
    "Moment": ['"2022-02-15"', '"2022-02-16T12:00:00Z"'],
}
BAD: dict[str, list[str]] = {
    "String": ['"nothing"', '""', '"\\u0000"'],
    "ID": ['"x"', '"Claim:nothing"', '"Speaker:nato@3~2022-02-15"', '"Claim:gas-cut@99"'],
    "policy": ['"nobody"', '"unanimous:min_speakers=2"'],
    "first": ["0", "101", "-1"],
    "Int": ["-1"],
    "Position": ["0", "99"],
    "Boolean": ["true"],
    "DateTime": ['"2000-01-01T00:00:00Z"'],
    "Moment": ['"yesterday"', '"1000-01-01"'],
}
#: What takes long, or says what time it is.
LEFT_OUT = {"replay", "stateDigest"}
FLAGS = "($yes: Boolean! = true, $no: Boolean! = false, $n: Int = 2)"


class Queries:
    """Draws a query from the schema."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self._fragments: list[str] = []

    def _one_of(self, choices: list[Any]) -> Any:
        return self._draw(st.sampled_from(choices))

    def _chance(self, one_in: int) -> bool:
        return self._draw(st.integers(0, one_in - 1)) == one_in - 1

    def query(self) -> str:
        """A document with one operation."""
        root = graphql_schema.query_type
        assert root is not None
        selected = self._selection(root, 4)
        # Every variable has to be used.
        used = (
            "{ a: __typename @skip(if: $yes) b: __typename @include(if: $no) c: topics(first: $n) { nodes { slug } } "
        )
        return f"query {FLAGS} {used} {selected[1:]} {' '.join(self._fragments)}"

    def _selection(self, of: Any, depth: int) -> str:
        if isinstance(of, GraphQLUnionType):
            return "{ __typename }"
        fields: dict[str, GraphQLField] = {
            name: field for name, field in of.fields.items() if depth > 0 or self._is_leaf(field)
        }
        names = [name for name in fields if name not in LEFT_OUT] or ["__typename"]
        chosen = [self._one_of(names) for _ in range(self._draw(st.integers(1, 4)))]
        parts = [self._field(f"f{depth}_{i}", name, fields.get(name), depth) for i, name in enumerate(chosen)]
        if isinstance(of, GraphQLInterfaceType) and depth > 0:
            some = [each for each in graphql_schema.get_possible_types(of) if self._chance(2)]
            parts += [f"... on {each.name} {self._selection(each, depth - 1)}" for each in some]
        if self._chance(5):
            parts.append("__typename")
        if self._chance(6):
            # The same once more, by another way: it merges.
            parts.append(f"... on {of.name} {self._directive()} {{ {parts[0]} }}")
        if self._chance(8):
            self._fragments.append(f"fragment F{len(self._fragments)} on {of.name} {{ {' '.join(parts)} }}")
            parts.append(f"...F{len(self._fragments) - 1} {self._directive()}")
        return f"{{ {' '.join(parts)} }}"

    @staticmethod
    def _is_leaf(field: GraphQLField) -> bool:
        return not isinstance(get_named_type(field.type), GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType)

    def _field(self, alias: str, name: str, field: GraphQLField | None, depth: int) -> str:
        if field is None:
            return name
        given = [
            f"{each}: {self._value(argument.type, each)}"
            for each, argument in field.args.items()
            if self._is_wanted(each, argument)
        ]
        arguments = f"({', '.join(given)})" if given else ""
        of = get_named_type(field.type)
        below = "" if self._is_leaf(field) else self._selection(of, depth - 1)
        return f"{alias}_{name}: {name}{arguments} {self._directive()} {below}"

    def _is_wanted(self, name: str, argument: GraphQLArgument) -> bool:
        if isinstance(argument.type, GraphQLNonNull):
            return True
        if name in {"last", "after", "before"}:
            return self._chance(60)  # which go with few others.
        # Pages of twenty-five in one another take long to compare.
        return name == "first" or self._chance(8)

    def _directive(self) -> str:
        if not self._chance(12):
            return ""
        word, value = self._one_of(["skip", "include"]), self._one_of(["$yes", "$no", "true", "false"])
        return f"@{word}(if: {value})"

    def _value(self, of: Any, name: str) -> str:
        if isinstance(of, GraphQLNonNull):
            return self._value(of.of_type, name)
        if isinstance(of, GraphQLList):
            return f"[{', '.join(self._value(of.of_type, name) for _ in range(self._draw(st.integers(0, 3))))}]"
        if isinstance(of, GraphQLEnumType):
            return self._one_of(list(of.values))
        if isinstance(of, GraphQLInputObjectType):
            some = [each for each in of.fields if self._chance(4)]
            return "{" + ", ".join(f"{each}: {self._value(of.fields[each].type, each)}" for each in some) + "}"
        pool = name if name in GOOD else of.name
        return self._one_of((BAD if self._chance(15) else GOOD)[pool])


@st.composite
def queries(draw: Any) -> str:
    """Any query."""
    return Queries(draw).query()


@pytest.fixture
def curated(database: Database) -> Iterator[Api]:
    """The service with a bit of everything on record."""
    with Api(database) as api:
        text = "they said so"
        api.record(
            *SEEDS,
            article("a", text=text, nato=asserts("gas-cut"), joe_biden=denies("gas-cut")),
            article("b", nato=[withholds("energy-cut"), asserts("sanctions")]),
            article("c", kremlin=denies("energy-cut")),
            ClaimsMerged(claim="energy-cut", into="gas-cut", opposite=True, reason="the same"),
            SpeakersMerged(speaker="kremlin", into="nato", reason="a trial"),
            ClaimRuled(claim="sanctions", state=State.DENIED, reason="seen"),
            retraction("c"),
        )
        yield api


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(query=queries())
def test_every_way_gives_the_same_answer(curated: Api, query: str):
    """The harness asks in every way, and compares data, errors and extensions."""
    answer = curated.answer(query)
    assert {each["extensions"]["code"] for each in answer.get("errors", ())} <= {
        "AS_OF_INVALID",
        "BAD_ARGUMENT",
        "BAD_CURSOR",
        "BAD_PAGE",
        "BAD_QUERY",
        "NOT_YET_PROJECTED",
        "POLICY_INVALID",
        "POLICY_NOT_PROJECTED",
        "TOO_COSTLY",
    }, answer


def test_null_where_it_may_not_stand_is_told_the_same(curated: Api):
    """Of damaged tables, an answer never holds a null that the schema rules out."""
    with curated.engine.begin() as conn:
        (schema,) = conn.exec_driver_sql("SELECT schema_name FROM onrecord.generation").one()
        conn.exec_driver_sql(f"DELETE FROM {schema}.wording")
    with capture_logs():
        answer = curated.answer('{ claim(slug: "gas-cut") { slug proposition } log { head } }')
    assert answer["data"] == {"claim": None, "log": {"head": 12}}
    assert [each["path"] for each in answer["errors"]] == [["claim", "proposition"]]


def test_generated_queries_are_worth_asking(curated: Api):
    """Most are answered, and many of them with more than a word."""
    told: list[str] = []

    @settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
    @given(query=queries())
    def ask(query: str) -> None:
        curated.ways = ("compiled",)
        answer = curated.answer(query)
        told.append("" if "errors" in answer else str(answer["data"]))

    ask()
    assert sum(1 for each in told if each) > 20
    assert sum(1 for each in told if len(each) > 200) > 10


#: Where rows of each type are read, each by another statement.
ROWS_READ = {
    "Claim": (
        "{ claims { nodes { FIELDS } } }",
        "{ claims { edges { node { FIELDS } } } }",
        '{ claims(asOf: {saidBy: "2022-02-16"}) { nodes { FIELDS } } }',
        "{ articles { nodes { claims { nodes { FIELDS } } } } }",
        '{ claim(slug: "gas-cut") { FIELDS } }',
    ),
    "Statement": (
        "{ claims { nodes { statements { nodes { FIELDS } } } } }",
        "{ claims { nodes { statements(standing: true) { edges { node { FIELDS } } } } } }",
        "{ claims { nodes { belief { because { nodes { FIELDS } } } speakers { nodes { statement { FIELDS } } } } } }",
        '{ node(id: "Statement:1.0") { ... on Statement { FIELDS } } }',
    ),
    "Transition": (
        "{ claims { nodes { belief { since { FIELDS } } } } }",
        "{ claims { nodes { history { nodes { FIELDS } } } } }",
        "{ events { nodes { transitions { nodes { FIELDS } } } } }",
        "{ changes(from: 1, to: 9) { nodes { after { since { FIELDS } } } } }",
    ),
}


@pytest.mark.parametrize("of", ROWS_READ)
def test_a_field_is_answered_the_same_whatever_is_selected_beside_it(curated: Api, of: str):
    """Of a row, only what is shown is read."""
    type_of: Any = graphql_schema.type_map[of]
    leaves = [name for name, field in type_of.fields.items() if not getattr(get_named_type(field.type), "fields", None)]
    for query in ROWS_READ[of]:
        together = curated.ask(query.replace("FIELDS", " ".join(leaves)))
        for name in leaves:
            assert curated.ask(query.replace("FIELDS", name)) == _only(together, leaves, name), (query, name)


def _only(answer: Any, leaves: list[str], name: str) -> Any:
    """The answer without the other leaves."""
    match answer:
        case dict():
            return {
                key: _only(value, leaves, name) for key, value in answer.items() if key == name or key not in leaves
            }
        case list():
            return [_only(each, leaves, name) for each in answer]
        case _:
            return answer

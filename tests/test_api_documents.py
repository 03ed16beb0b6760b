"""However a query is written, it is answered as GraphQL says: by fragments, aliases, variables and directives."""

from typing import Any

import pytest

from tests.api import SEEDS, Api
from tests.api import seeded as seeded
from tests.api import served as served

CLAIM = 'claim(slug: "preparing-invasion")'


def test_a_field_may_be_asked_several_times_with_other_arguments(seeded: Api):
    found = seeded.ask(f"""{{ a: {CLAIM} {{ slug one: statements(first: 1) {{ nodes {{ id }} }}
        last: statements(last: 1) {{ nodes {{ id }} }} statements(stance: DENIES) {{ nodes {{ id }} }}
        u: belief {{ state }} belief(policy: "any_denial") {{ state }} m: belief(policy: "majority") {{ reason }} }}
        claim(slug: "field-hospitals") {{ slug }} none: claim(slug: "none") {{ slug }}
        all: claims {{ totalCount }} some: claims(where: {{topic: "troops"}}) {{ totalCount }} }}""")
    assert found["a"] == {
        "slug": "preparing-invasion",
        "one": {"nodes": [{"id": "Statement:5.21"}]},
        "last": {"nodes": [{"id": "Statement:1.9"}]},
        "statements": {"nodes": [{"id": f"Statement:{place}"} for place in ("5.21", "4.20", "3.4", "1.9")]},
        "u": {"state": "UNVERIFIED"},
        "belief": {"state": "DENIED"},
        "m": {"reason": "TIED"},
    }
    assert (found["claim"], found["none"]) == ({"slug": "field-hospitals"}, None)
    assert found["all"]["totalCount"] == 24
    assert 0 < found["some"]["totalCount"] < 24


#: Each a document and another that must be answered alike; CLAIM stands for a claim in both.
ALIKE = {
    "a named fragment": (
        "{ CLAIM { ...F } } fragment F on Claim { slug belief { state } }",
        "{ CLAIM { slug belief { state } } }",
    ),
    "an inline fragment, with a type and without": (
        "{ CLAIM { ... on Claim { slug } ... on Node { id } ... { proposition } } }",
        "{ CLAIM { slug id proposition } }",
    ),
    "a fragment in a fragment": (
        """{ CLAIM { ...F } } fragment F on Claim { ...G topic { ...T } }
        fragment T on Topic { slug claims(first: 2) { nodes { ...G } } }
        fragment G on Claim { slug history { nodes { to } } }""",
        """{ CLAIM { slug history { nodes { to } }
        topic { slug claims(first: 2) { nodes { slug history { nodes { to } } } } } } }""",
    ),
    "a fragment used twice": (
        """{ CLAIM { ...F ...F belief { since { claim { ...F } } } } x: CLAIM { ...F } }
        fragment F on Claim { slug statements(first: 1) { nodes { quote } } }""",
        """{ CLAIM { slug statements(first: 1) { nodes { quote } }
        belief { since { claim { slug statements(first: 1) { nodes { quote } } } } } }
        x: CLAIM { slug statements(first: 1) { nodes { quote } } } }""",
    ),
    "a field asked twice is one, with both selections": (
        """{ CLAIM { belief { state } statements(first: 1) { nodes { id } } }
        CLAIM { belief { since { to } }
            statements(first: 1) { nodes { speaker { name } } pageInfo { hasNextPage } } } }""",
        """{ CLAIM { belief { state since { to } }
        statements(first: 1) { nodes { id speaker { name } } pageInfo { hasNextPage } } } }""",
    ),
    "fields left out by directives": (
        """{ CLAIM { slug id @skip(if: true) topic @include(if: false) { slug } ... @skip(if: true) { proposition }
        ...F @include(if: false) belief @include(if: true) { state } history @skip(if: false) { nodes { to } } } }
        fragment F on Claim { firstPosition }""",
        "{ CLAIM { slug belief { state } history { nodes { to } } } }",
    ),
    "one of two alike left out": (
        """{ CLAIM { statements(first: 1) @skip(if: true) { nodes { id } }
        statements(first: 1) { nodes { quote } } } }""",
        "{ CLAIM { statements(first: 1) { nodes { quote } } } }",
    ),
    "a fragment on another type": (
        """{ node(id: "Claim:field-hospitals") { id ... on Claim { slug } ... on Article { url text } ...S } }
        fragment S on Speaker { name statements { nodes { id } } }""",
        '{ node(id: "Claim:field-hospitals") { id ... on Claim { slug } } }',
    ),
    "an argument by a variable or its default": (
        "query ($n: Int = 2, $s: Stance) { CLAIM { statements(first: $n, stance: $s) { nodes { id } } } }",
        "{ CLAIM { statements(first: 2) { nodes { id } } } }",
    ),
    "the root by a fragment": (
        "{ ...Q ... on Query { log { head } } } fragment Q on Query { CLAIM { slug } }",
        "{ CLAIM { slug } log { head } }",
    ),
}


@pytest.mark.parametrize("way", ALIKE)
def test_it_does_not_matter_how_a_query_is_written(seeded: Api, way: str):
    one, other = (document.replace("CLAIM", CLAIM) for document in ALIKE[way])
    assert seeded.ask(one) == seeded.ask(other)


def test_what_variables_include_is_loaded_and_no_more(seeded: Api):
    query = f"""query ($on: Boolean!) {{ {CLAIM} {{ slug topic @include(if: $on) {{ slug }}
        statements(first: 1) @skip(if: $on) {{ nodes {{ id }} }} }} }}"""
    assert seeded.ask(query, on=True)["claim"].keys() == {"slug", "topic"}
    assert seeded.ask(query, on=False)["claim"].keys() == {"slug", "statements"}
    with seeded.statements() as ran:
        seeded.ask(query, on=True)
    assert not any("FROM statement" in each for each in ran)


FIRST = "fragment F on Claim { statements(first: 1) { nodes { quote } } belief { since { ...T } } } "
FIRST += "fragment T on Transition { claim { slug } }"


@pytest.mark.parametrize(
    "selections",
    [
        ("nodes { ...F }", "edges { node { ...F RICH } }"),
        ("edges { node { ...F RICH } }", "nodes { ...F }"),
        ("edges { node { RICH ...F } }", "nodes { ...F }"),
        ("a: nodes { ...F }", "b: nodes { RICH }", "c: nodes { ...F RICH }", "edges { node { slug } }"),
        ("c: nodes { ...F RICH }", "b: nodes { RICH }", "a: nodes { ...F }", "e: edges { node { ...F } cursor }"),
        ("edges { node { slug } cursor }", "edges { node { ...F } }", "f: edges { node { ...F RICH } }"),
    ],
)
def test_one_item_may_be_selected_in_two_ways_at_once(seeded: Api, selections: tuple[str, ...]):
    """A page's items are the same things by `nodes` and by `edges`, but each way gives what it asks for."""
    rich = """statements(first: 1) { nodes { stance speaker { name } } pageInfo { hasNextPage } }
        belief { reason since { claim { proposition topic { slug } } event { position } } }"""
    alone = {
        each: seeded.ask(f"{{ claims(first: 3) {{ {each} }} }} {FIRST if '...F' in each else ''}".replace("RICH", rich))
        for each in selections
    }
    query = f"{{ claims(first: 3) {{ {' '.join(selections)} }} }} {FIRST}".replace("RICH", rich)
    found = seeded.ask(query)["claims"]

    def merge(one: Any, other: Any) -> Any:
        if isinstance(one, dict):
            return {
                name: merge(one[name], other[name]) if name in one and name in other else {**one, **other}[name]
                for name in {**one, **other}
            }
        return [merge(*pair) for pair in zip(one, other, strict=True)] if isinstance(one, list) else one

    expected: Any = {}
    for each in alone.values():
        expected = merge(expected, each["claims"])
    assert found == expected


def test_one_transition_may_be_selected_in_two_ways_at_once(seeded: Api):
    rich = "claim { proposition statements(first: 1) { nodes { id } } }"
    for first, second in (
        (f"a: since {{ ...T {rich} }}", "b: since { ...T }"),
        ("b: since { ...T }", "a: since { ...T RICH }"),
    ):
        query = f"{{ {CLAIM} {{ belief {{ {first} {second} }} }} }} fragment T on Transition {{ claim {{ slug }} }}"
        belief = seeded.ask(query.replace("RICH", rich))["claim"]["belief"]
        assert belief["b"] == {"claim": {"slug": "preparing-invasion"}}
        assert belief["a"]["claim"].keys() == {"slug", "proposition", "statements"}


def test_nodes_of_one_thing_are_each_answered(seeded: Api):
    found = seeded.ask("""{ nodes(ids: ["Claim:field-hospitals", "Event:1", "Claim:field-hospitals"]) { __typename
        ... on Claim { slug topic { slug } } ... on Event { position article { outlet { name } } } } }""")["nodes"]
    claim = {"__typename": "Claim", "slug": "field-hospitals", "topic": {"slug": "troops"}}
    assert found[0] == found[2] == claim
    assert found[1]["article"] == {"outlet": {"name": SEEDS[0].outlet.name}}


def test_of_several_operations_the_named_one_is_answered(seeded: Api):
    query = f"query A {{ log {{ head }} }} query B {{ {CLAIM} {{ slug }} }}"
    response = seeded.send(json={"query": query, "operationName": "B"})
    assert response.json()["data"] == {"claim": {"slug": "preparing-invasion"}}


def test_introspection_is_answered(seeded: Api):
    found = seeded.ask('{ __schema { queryType { name } mutationType { name } } __type(name: "Claim") { name } }')
    assert found == {
        "__schema": {"queryType": {"name": "Query"}, "mutationType": {"name": "Mutation"}},
        "__type": {"name": "Claim"},
    }
    assert seeded.ask(f"{{ __typename {CLAIM} {{ __typename belief {{ __typename }} }} }}") == {
        "__typename": "Query",
        "claim": {"__typename": "Claim", "belief": {"__typename": "Belief"}},
    }


def test_a_query_may_be_sent_by_get_and_a_mutation_may_not(seeded: Api):
    response = seeded.send("GET", params={"query": "{ log { head } }"})
    assert response.json()["data"] == {"log": {"head": 5}}
    retract = f'mutation {{ retractArticle(url: "{SEEDS[0].url}", reason: "x") {{ __typename }} }}'
    assert seeded.send("GET", params={"query": retract}).status_code == 405
    assert seeded.head() == 5

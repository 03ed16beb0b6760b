"""The contract: `schema.graphql` is what the code prints, says what all of it means, and lacks nothing designed."""

from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    build_schema,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_specified_scalar_type,
)

from service.api import schema as served
from service.api.cursors import PAGE_DEFAULT, PAGE_MAX

PRINTED = (Path(__file__).parents[1] / "schema.graphql").read_text(encoding="utf-8")
SCHEMA = build_schema(PRINTED)
TYPES: dict[str, Any] = {
    name: each
    for name, each in SCHEMA.type_map.items()
    if not name.startswith("__") and not is_specified_scalar_type(each)
}
FIELDS = {
    (name, field): of
    for name, each in TYPES.items()
    if isinstance(each, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType)
    for field, of in each.fields.items()
}

PAGE = {"first", "after", "last", "before"}


def test_the_file_at_the_root_is_what_the_code_prints():
    assert served.printed() == PRINTED, "print it anew, by service.api.schema.printed()"


def test_everything_says_what_it_means():
    silent = [name for name, each in TYPES.items() if not each.description]
    silent += [f"{name}.{field}" for (name, field), of in FIELDS.items() if not of.description]
    silent += [
        f"{name}.{field}({argument})"
        for (name, field), of in FIELDS.items()
        for argument, told in getattr(of, "args", {}).items()
        if not told.description
    ]
    silent += [
        f"{name}.{value}"
        for name, each in TYPES.items()
        if isinstance(each, GraphQLEnumType)
        for value, told in each.values.items()
        if not told.description
    ]
    assert silent == []


#: The listing of the design's section 8, but for proofs and subscriptions, which are not there yet.
#: A field's arguments follow it in brackets.
LISTED = {
    "Query": "log claim(slug asOf) claims(where orderBy asOf PAGE) topics(asOf PAGE) outlet(slug asOf) "
    "outlets(asOf PAGE) speaker(slug asOf) speakers(asOf PAGE) article(url asOf) articles(asOf PAGE) "
    "event(position asOf) events(fromPosition types asOf PAGE) changes(from to policy asOf PAGE) policies node(id) "
    "nodes(ids)",
    "AsOf": "position recordedAt saidBy",
    "Log": "head projected stoppedAt because",
    "Claim": "id slug proposition wordings(PAGE) topic alsoKnownAs relations belief(policy) history(axis policy PAGE) "
    "statements(stance speaker standing PAGE) speakers(stance PAGE)",
    "Belief": "state reason policy asserting denying withholding contested singleSpeaker unruled since because(PAGE)",
    "Transition": "cursor position recordedAt effectiveAt retroactive from to reason event",
    "Statement": "id claim speaker role organisation bloc stance certainty form quote start quoteVerified saidAt "
    "effectiveAt article position ordinal live standing",
    "Article": "id url outlet headline publishedAt revision revisions(PAGE) retraction textSha256 text claims(PAGE) "
    "statements(PAGE)",
    "Event": "id position type schemaVersion recordedAt actor payload leaf",
    "ClaimSpeaker": "speaker statement stances(PAGE)",
    "BeliefChange": "slug before after claim transitions(PAGE)",
    "Related": "relation claim to position reason",
    "ClaimConnection": "edges nodes pageInfo totalCount byState",
    "PageInfo": "hasNextPage hasPreviousPage startCursor endCursor",
    "Mutation": "recordArticle(input) recordArticles(inputs) previewArticle(input policy) retractArticle(url reason) "
    "mergeClaims(claim into opposite reason) mergeSpeakers(speaker into reason) undoMerge(position reason) "
    "relateClaims(claim relation to reason) ruleClaim(claim state reason) liftRuling(claim reason) "
    "adoptPolicy(policy reason) eraseText(textSha256 reason)",
    "ArticleRefused": "code problems",
    "Problem": "path message",
    "ClaimFilter": "state policy topic speaker outlet contested singleSpeaker changedAfter text",
    # The article document, section 3, in camelCase.
    "ArticleInput": "url outlet headline publishedAt language revision revisedAt change readBy text textSha256 claims",
    "OutletInput": "id name",
    "ReadByInput": "kind id version",
    "ClaimInput": "claim proposition topic statements",
    "StatementInput": "speaker stance certainty form saidAt quote start",
    "SpeakerInput": "id name role organisation bloc",
}


@pytest.mark.parametrize("type_name", LISTED)
def test_nothing_that_the_design_lists_is_missing(type_name: str):
    fields = TYPES[type_name].fields
    words = LISTED[type_name].replace("(", " ( ").replace(")", " ) ").split()
    field, inside = "", False
    for word in words:
        if word in "()":
            inside = word == "("
        elif inside:
            assert (PAGE if word == "PAGE" else {word}) <= fields[field].args.keys(), f"{type_name}.{field}({word})"
        else:
            field = word
            assert field in fields, f"{type_name}.{field}"


def test_the_enums_have_the_values_of_the_design():
    def values(name: str) -> set[str]:
        return set(TYPES[name].values)

    assert values("Stance") == {"ASSERTS", "DENIES", "WITHHOLDS"}
    assert values("State") == {"ASSERTED", "DENIED", "UNVERIFIED"}
    assert values("Certainty") == {"CERTAIN", "PROBABLE", "POSSIBLE"}
    assert values("Form") == {"DIRECT", "INDIRECT", "HEADLINE"}
    assert values("ChangeOf") == {"OUTLET", "READING"}
    assert values("Reader") == {"PERSON", "MODEL"}
    assert values("EventType") == {
        *("ArticleRecorded", "ArticleRevised", "ArticleRetracted", "TextErased", "ClaimsMerged", "SpeakersMerged"),
        *("MergeUndone", "ClaimsRelated", "ClaimRuled", "RulingLifted", "PolicyAdopted"),
    }
    assert values("Axis") == {"RECORDED", "SAID"}
    assert values("Relation") == {"REFINES", "CONTRADICTS"}


def test_whatever_has_an_id_is_a_node():
    with_id = {name for name, each in TYPES.items() if isinstance(each, GraphQLObjectType) and "id" in each.fields}
    nodes = {each.name for each in SCHEMA.get_possible_types(TYPES["Node"])}
    # A policy is named by its id, and a reader by the document's.
    assert with_id - {"Policy", "ReadBy"} == nodes == {"Article", "Claim", "Event", "Outlet", "Speaker", "Statement"}


def test_every_list_that_may_grow_is_paged():
    short = {
        ("Query", "policies"),
        ("Query", "nodes"),
        ("Mutation", "recordArticles"),
        ("ArticleAccepted", "warnings"),
        ("ArticleRefused", "problems"),
        ("ArticlePreview", "moves"),
        ("ArticlePreview", "warnings"),
        ("CurationRefused", "problems"),
        # As many as people decided, one by one.
        ("Claim", "alsoKnownAs"),
        ("Claim", "relations"),
        ("Speaker", "alsoKnownAs"),
        # The logarithm of what may grow.
        ("InclusionProof", "hashes"),
    }
    for (name, field), of in FIELDS.items():
        if isinstance(TYPES[name], GraphQLInputObjectType):
            continue
        if is_list_type(get_nullable_type(of.type)):
            assert name.endswith("Connection") or (name, field) in short, f"{name}.{field}"
        if get_named_type(of.type).name.endswith("Connection"):
            assert of.args.keys() >= PAGE
            assert of.args["first"].description.endswith(f"at most {PAGE_MAX}; {PAGE_DEFAULT} by default")


def test_every_connection_has_the_same_parts():
    for name, each in TYPES.items():
        if name.endswith("Connection"):
            item = name.removesuffix("Connection")
            assert str(each.fields["nodes"].type) == f"[{item}!]!"
            assert str(each.fields["edges"].type) == f"[{item}Edge!]!"
            assert str(each.fields["pageInfo"].type) == "PageInfo!"
            assert str(TYPES[f"{item}Edge"].fields["node"].type) == f"{item}!"
            assert str(TYPES[f"{item}Edge"].fields["cursor"].type) == "String!"

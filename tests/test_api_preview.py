"""What recording an article would do, said before it is done: the same as is then done, and nothing recorded."""

import random
from typing import Any

import pytest

from service.domain import article as documents
from service.domain.policies import State
from service.tables import register_revision
from tests.api import Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import article, asserts, denies, document, retraction
from tests.curated import merged, ruled, same_speaker, some_article
from tests.test_api_as_of import POLICIES, random_log

QUERY = """mutation ($input: ArticleInput!, $policy: ID) { previewArticle(input: $input, policy: $policy) { __typename
    ... on ArticlePreview { policy moves { slug before { state reason } after { state reason } retroactive }
        warnings { path message } }
    ... on ArticleRepeated { position retractedAt projected article { url } }
    ... on ArticleRefused { code message problems { path } } } }"""


def camel(value: Any) -> Any:
    """A document as GraphQL takes it."""
    if isinstance(value, dict):
        return {
            "".join(part.title() if i else part for i, part in enumerate(name.split("_"))): (
                each.upper() if name in ("stance", "certainty", "form", "change") and each else camel(each)
            )
            for name, each in value.items()
        }
    return [camel(each) for each in value] if isinstance(value, list) else value


def preview(api: Api, sent: Any, policy: str | None = None) -> dict[str, Any]:
    if isinstance(sent, documents.Article):
        sent = sent.model_dump(mode="json", exclude_none=True)
    head = api.head()
    found = api.ask(QUERY, input=camel(sent), policy=policy)["previewArticle"]
    assert api.head() == head
    return found


@pytest.mark.parametrize("seed", [41, 42, 43])
def test_what_a_preview_says_is_what_then_happens(api: Api, seed: int) -> None:
    api.record(*random_log(seed, steps=30, curated=True))
    dice, moved = random.Random(seed), 0
    for n in range(12):
        newest = n % 3
        new = some_article(dice.choice, f"new-{n // 3}", newest + 1)
        under = dice.choice(POLICIES[:5])
        told = preview(api, new, under)
        if told["__typename"] == "ArticleRepeated":
            # The same content as the revision before: nothing would be recorded.
            api.record(retraction(f"new-{n // 3}"))
            told = preview(api, new, under)
        assert told["__typename"] == "ArticlePreview", told
        api.record(new)
        found = api.ask(
            """query ($at: Position!, $policy: ID) { event(position: $at) { transitions(policy: $policy, first: 100) {
            nodes { slug from to reason retroactive } } } }""",
            at=api.head(),
            policy=under,
        )["event"]["transitions"]["nodes"]
        assert [
            {
                "slug": each["slug"],
                "from": each["before"] and each["before"]["state"],
                "to": each["after"] and each["after"]["state"],
                "reason": each["after"] and each["after"]["reason"],
                "retroactive": each["retroactive"],
            }
            for each in told["moves"]
        ] == found
        moved += len(found)
    assert moved >= 5


def test_a_preview_records_nothing_and_leaves_nothing_behind(seeded: Api) -> None:
    sent = document("a", text="Before it, they said so.", nato=asserts("gas-cut"))
    found = preview(seeded, sent)
    assert found == {
        "__typename": "ArticlePreview",
        "policy": "unanimous@1",
        "moves": [
            {
                "slug": "gas-cut",
                "before": None,
                "after": {"state": "ASSERTED", "reason": "UNCONTRADICTED"},
                "retroactive": False,
            }
        ],
        "warnings": [],
    }
    found = seeded.ask('{ claim(slug: "gas-cut") { slug } log { head projected } topics { nodes { slug } } }')
    assert (found["claim"], found["log"]) == (None, {"head": 5, "projected": 5})
    with seeded.engine.begin() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM onrecord.article_text").scalar_one() == 0
        assert conn.exec_driver_sql(f"SELECT count(*) FROM {register_revision.fullname}").scalar_one() == 5
    # Asked again it says the same, since nothing happened.
    assert preview(seeded, sent)["__typename"] == "ArticlePreview"


def test_a_preview_is_of_the_policy_asked_for(seeded: Api) -> None:
    denial = document("a", published="2022-02-17", desk=denies("field-hospitals"))
    states = {
        policy: preview(seeded, denial, policy)["moves"] for policy in (None, "unanimous", "any_denial", "latest")
    }
    assert states[None] == states["unanimous"]
    assert [each["after"] for each in states["unanimous"]] == [{"state": "UNVERIFIED", "reason": "CONFLICT"}]
    assert [each["after"] for each in states["any_denial"]] == [{"state": "DENIED", "reason": "DENIED_BY_ANY"}]
    assert [each["after"] for each in states["latest"]] == [{"state": "DENIED", "reason": "LATEST_WORD"}]
    assert preview(seeded, denial, "majority@1")["policy"] == "majority@1"
    for bad in ("nobody", ""):
        assert seeded.codes(QUERY, input=camel(denial), policy=bad) == ["POLICY_INVALID"]


def test_a_preview_of_what_cannot_be_recorded_says_why(seeded: Api) -> None:
    seeded.record(article("a", nato=asserts("gas-cut")), article("b", nato=asserts("gas-cut")), retraction("b"))

    def refused(sent: dict[str, Any]) -> str:
        found = preview(seeded, sent)
        assert found["__typename"] == "ArticleRefused", found
        return found["code"]

    assert refused(document("a", nato=denies("gas-cut"))) == "ARTICLE_CHANGED"
    assert refused(document("a", revision=3, nato=denies("gas-cut"))) == "REVISION_SKIPPED"
    assert refused(document("c", propositions=False, nato=denies("unheard-of"))) == "PROPOSITION_MISSING"
    assert refused({**document("c", nato=denies("gas-cut")), "published_at": "soon"}) == "DOCUMENT_INVALID"
    assert preview(seeded, document("a", nato=asserts("gas-cut"))) == {
        "__typename": "ArticleRepeated",
        "position": 6,
        "retractedAt": None,
        "projected": True,
        "article": None,
    }
    assert preview(seeded, document("b", nato=asserts("gas-cut")))["retractedAt"] == 8


def test_a_preview_warns_of_what_can_hardly_be_meant(seeded: Api) -> None:
    found = preview(seeded, document("a", nato=asserts("gas-cut", said="2022-03-01")))
    assert [each["path"] for each in found["warnings"]] == ["claims[0].statements[0].saidAt"]


def test_a_late_article_would_be_retroactive(api: Api) -> None:
    api.record(article("a", published="2022-02-20", nato=asserts("gas-cut")))
    (move,) = preview(api, document("b", published="2022-02-10", uk=denies("gas-cut")))["moves"]
    assert move["retroactive"] is True


def test_a_preview_knows_of_merges_and_rulings(api: Api) -> None:
    api.record(
        article("a", nato=asserts("gas-cut")), article("b", uk=denies("gas-flows")), article("c", us=asserts("war"))
    )
    api.record(merged("gas-flows", "gas-cut", opposite=True), same_speaker("us", "uk"), ruled("war", State.DENIED))
    # Through the merge a denial that gas flows is an assertion that it is cut; the other way round it is a conflict.
    assert preview(api, document("d", eu=denies("gas-flows")))["moves"] == []
    (move,) = preview(api, document("d", eu=asserts("gas-flows")))["moves"]
    assert (move["slug"], move["after"]["reason"]) == ("gas-cut", "CONFLICT")
    # The us speak as the uk now, whose earlier word gives way.
    (move,) = preview(api, document("d", published="2022-02-20", us=asserts("gas-flows")))["moves"]
    assert (move["slug"], move["after"]["reason"]) == ("gas-cut", "CONFLICT")
    # What is ruled stays ruled.
    assert preview(api, document("d", eu=denies("war")))["moves"] == []

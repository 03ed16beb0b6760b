"""Which claims a filter lets through, and what a search finds."""

from collections.abc import Mapping
from typing import Any

import pytest

from service.domain import article as documents
from service.domain.article import Article
from service.domain.policies import NAMES
from tests.api import SEEDS, Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import article, asserts, changed, denies, document, folded, retraction, withholds
from tests.test_projector import some_log

COUNTED = "{ totalCount byState { asserted denied unverified } nodes { slug } }"


def found(api: Api, **where: Any) -> list[str]:
    """The claims that a filter lets through, newest change first; the counts are of the same."""
    query = f"query ($where: ClaimFilter) {{ claims(where: $where, first: 100) {COUNTED} }}"
    claims = api.ask(query, where=where)["claims"]
    slugs = [each["slug"] for each in claims["nodes"]]
    assert claims["totalCount"] == len(slugs) == sum(claims["byState"].values())
    assert len(set(slugs)) == len(slugs)
    return slugs


# --- filters ----------------------------------------------------------------------


def world(*happened: Any) -> list[dict[str, Any]]:
    """Under each policy what may be filtered by, claim by claim, as a pure fold knows it."""
    fold, changes = folded(*happened)
    topics: dict[str, str] = {}
    outlets: dict[str, set[str]] = {}
    for each in happened:
        for claim in each.claims if isinstance(each, Article) else ():
            if claim.topic is not None:
                topics.setdefault(claim.claim, claim.topic)
    for life in fold.articles.values():
        if life.position is not None:
            for statement in life.statements:
                outlets.setdefault(statement.claim, set()).add(happened[life.position - 1].outlet.id)
    since = {(t.policy, t.claim): t.position for change in changes for t in change.transitions}
    rows: list[dict[str, Any]] = []
    for policy in fold.policies:
        for claim, verdict in fold.verdicts(policy):
            stands = fold.claims[claim]
            tally = stands.tally()
            rows.append(
                {
                    "claim": claim,
                    "policy": policy.name,
                    "state": verdict.state.name,
                    "topic": topics.get(claim),
                    "speakers": set(stands.by_speaker),
                    "outlets": outlets.get(claim, set()),
                    "contested": tally.asserting > 0 and tally.denying > 0,
                    "singleSpeaker": tally.asserting + tally.denying == 1,
                    "since": since[policy.id, claim],
                }
            )
    return rows


def expected(rows: list[dict[str, Any]], where: Mapping[str, Any]) -> list[str]:
    def passes(row: dict[str, Any]) -> bool:
        return (
            row["policy"] == where.get("policy", "unanimous")
            and all(
                row[name] == where[name] for name in ("state", "topic", "contested", "singleSpeaker") if name in where
            )
            and ("speaker" not in where or where["speaker"] in row["speakers"])
            and ("outlet" not in where or where["outlet"] in row["outlets"])
            and row["since"] > where.get("changedAfter", 0)
        )

    chosen = sorted((row for row in rows if passes(row)), key=lambda row: (-row["since"], row["claim"]))
    return [row["claim"] for row in chosen]


ALONE: dict[str, list[Any]] = {
    "state": ["ASSERTED", "DENIED", "UNVERIFIED"],
    "topic": ["troops", "diplomacy", "nothing"],
    "speaker": ["boris-johnson", "outlet:itv-news", "nobody"],
    "outlet": ["itv-news", "unnamed-outlet", "nobody"],
    "contested": [True, False],
    "singleSpeaker": [True, False],
    "changedAfter": [0, 2, 4, 5, 2**53],
    "policy": list(NAMES),
}


@pytest.mark.parametrize("name", ALONE)
def test_each_filter_alone_lets_through_what_it_names(seeded: Api, name: str):
    rows = world(*SEEDS)
    for value in ALONE[name]:
        assert found(seeded, **{name: value}) == expected(rows, {name: value}), value


def test_filters_together_let_through_what_passes_each(seeded: Api):
    rows = world(*SEEDS)
    asked = 0
    for policy in ("unanimous", "majority", "latest"):
        for state in ("ASSERTED", "UNVERIFIED"):
            for more in (
                {"topic": "troops"},
                {"speaker": "boris-johnson", "contested": True},
                {"outlet": "itv-news", "singleSpeaker": True},
                {"topic": "invasion", "outlet": "itv-news", "speaker": "maria-zakharova", "changedAfter": 1},
                {"contested": False, "singleSpeaker": False, "changedAfter": 3},
                {"text": "troops", "topic": "troops"},
            ):
                where = {"policy": policy, "state": state, **more}
                words = where.pop("text", None)
                chosen = expected(rows, where)
                if words is not None:
                    chosen = [claim for claim in chosen if claim in found(seeded, text=words)]
                asked += len(chosen) > 0
                assert found(seeded, **where, **({} if words is None else {"text": words})) == chosen, where
    assert asked > 15


@pytest.mark.parametrize("seed", [1, 2])
def test_filters_hold_after_retractions_and_revisions(api: Api, seed: int):
    happened = some_log(seed, 40)
    api.record(*happened)
    rows = world(*happened)
    for where in (
        {},
        *({"state": state, "policy": policy} for state in ALONE["state"] for policy in NAMES),
        *({"speaker": speaker} for speaker in ("nato", "kremlin", "outlet:itv-news")),
        *({"outlet": outlet} for outlet in ("daily-planet", "itv-news")),
        *({name: flag} for name in ("contested", "singleSpeaker") for flag in (True, False)),
        *({"changedAfter": position} for position in (10, 20, 30)),
    ):
        assert found(api, **where) == expected(rows, where), where


def test_null_in_a_filter_does_not_matter(seeded: Api):
    everything = found(seeded)
    assert len(everything) == 24
    names = ("state", "policy", "topic", "speaker", "outlet", "contested", "singleSpeaker", "changedAfter", "text")
    assert found(seeded, **dict.fromkeys(names)) == everything
    assert (
        len(seeded.ask("{ claims(where: null, orderBy: null, first: 100) { nodes { slug } } }")["claims"]["nodes"])
        == 24
    )


def test_claims_come_by_their_newest_change_or_by_slug(seeded: Api):
    query = (
        "query ($by: ClaimOrder) { claims(orderBy: $by, first: 100) { nodes { slug belief { since { position } } } } }"
    )
    newest = seeded.ask(query, by="NEWEST")["claims"]["nodes"]
    assert seeded.ask(query)["claims"]["nodes"] == newest
    keys = [(-each["belief"]["since"]["position"], each["slug"]) for each in newest]
    assert keys == sorted(keys)
    by_slug = seeded.ask(query, by="SLUG")["claims"]["nodes"]
    assert by_slug == sorted(newest, key=lambda each: each["slug"])


def test_a_policy_filters_by_its_own_changes(seeded: Api):
    query = """{ claims(where: {policy: "latest"}, first: 100) { nodes { slug
        belief(policy: "latest") { since { position } } } } }"""
    nodes = seeded.ask(query)["claims"]["nodes"]
    keys = [(-each["belief"]["since"]["position"], each["slug"]) for each in nodes]
    assert keys == sorted(keys)
    assert [each["slug"] for each in nodes] != found(seeded)


def test_only_projected_policies_filter(seeded: Api):
    query = "query ($id: ID) { claims(where: {policy: $id}) { totalCount } }"
    ((code, message),) = seeded.errors(query, id="unanimous:min_speakers=2")
    assert code == "POLICY_NOT_PROJECTED"
    assert "majority@1" in message
    assert seeded.codes(query, id="nonsense") == ["POLICY_INVALID"]


@pytest.mark.parametrize(
    "where",
    [
        *({"state": "MAYBE"}, {"nothing": 1}, {"contested": "yes"}, {"topic": 1}, []),
        *({"changedAfter": position} for position in (-1, 1.5, 2**63, "1", True)),
    ],
)
def test_a_filter_that_does_not_fit_the_schema_is_a_bad_query(seeded: Api, where: Any):
    query = "query ($where: ClaimFilter) { claims(where: $where) { totalCount } }"
    assert seeded.codes(query, where=where) == ["BAD_QUERY"]


# --- search -----------------------------------------------------------------------


def worded(name: str, claim: str, proposition: str, quote: str, language: str | None) -> Article:
    sent = document(name, nato=asserts(claim, quote=quote))
    sent = changed(sent, "claims[0].proposition", proposition)
    return documents.parse(changed(sent, "language", language))


@pytest.fixture
def library(api: Api) -> Api:
    """Five claims in five languages, one of them without a dictionary and one not told."""
    api.record(
        worded("en", "withdrawal", "Troops are withdrawing.", "they were returning to their bases", "en-GB"),
        worded("de", "abzug", "Die Häuser wurden geräumt.", "wir haben die Truppen abgezogen", "de"),
        worded("uk", "vidhid", "Війська відходять.", "ми бачили війська", "uk"),
        worded("fr", "retrait", "Les troupes se retirent.", "elles retournaient", "fr"),
        worded("none", "untold", "Bases were emptied.", "returning", None),
    )
    return api


SEARCHES: dict[str, dict[str, list[str]]] = {
    "In English every form of a word is the same word.": {
        "withdrawing": ["withdrawal"],
        "withdraws": ["withdrawal"],
        "WITHDRAW": ["withdrawal"],
        "returned base": ["withdrawal"],
    },
    "So it is in German and in French.": {
        "Haus": ["abzug"],
        "Häusern": ["abzug"],
        "Truppe": ["abzug"],
        "troupe": ["retrait"],
    },
    "Where there is no dictionary, or no language is told, a word is as it is written.": {
        "війська": ["vidhid"],
        "військ": [],
        "returning": ["untold", "withdrawal"],
        "return": ["withdrawal"],
    },
    "A phrase is in one place, in its order.": {
        '"to their bases"': ["withdrawal"],
        '"returning to their bases"': ["withdrawal"],
        '"bases returning"': [],
    },
    "All words must be in one text, unless they are joined by or; and none that are excluded.": {
        "troops withdraw": ["withdrawal"],
        "troops returning": [],
        "withdraw or abgezogen": ["abzug", "withdrawal"],
        "troops -withdraw": [],
        "returning -bases": ["untold"],
    },
    "What is no word finds nothing, and harms nothing.": {
        words: [] for words in ("", "   ", "the", "-", "!&|:*()<->'\"\\", "%s %(words)s", "nothing of this")
    },
}


@pytest.mark.parametrize("rule", SEARCHES)
def test_search_finds_words_in_the_language_of_the_text(library: Api, rule: str):
    for words, claims in SEARCHES[rule].items():
        assert sorted(found(library, text=words)) == claims, words


def test_the_quote_of_a_retracted_article_is_not_found_but_its_wording_is(library: Api):
    assert found(library, text="bases") == ["untold", "withdrawal"]
    library.record(retraction("en"))
    # A wording is a name, not evidence.
    assert found(library, text="withdraw") == ["withdrawal"]
    assert found(library, text="returning") == ["untold"]
    assert found(library, text='"to their bases"') == []


def test_the_quote_of_an_earlier_revision_is_not_found(api: Api):
    api.record(article("a", nato=asserts("gas-cut", quote="valves")), article("b", kremlin=denies("gas-cut")))
    assert found(api, text="valves") == ["gas-cut"]
    api.record(article("a", revision=2, nato=withholds("gas-cut", quote="pipes")))
    assert found(api, text="valves") == []
    assert found(api, text="pipes") == ["gas-cut"]


def test_later_wordings_are_searched_each_in_its_language(api: Api):
    api.record(
        worded("a", "gas-cut", "Gas was cut.", "x", "en"),
        worded("b", "gas-cut", "Das Gas wurde abgedreht.", "y", "de"),
    )
    assert found(api, text="cutting") == ["gas-cut"]
    assert found(api, text="abdrehen or abgedrehtes") == ["gas-cut"]
    assert found(api, text="Gas") == ["gas-cut"]


def test_the_seeds_can_be_searched(seeded: Api):
    assert "troops-withdrawing" in found(seeded, text="withdrawals")
    assert found(seeded, text='"field hospital"') == ["field-hospitals"]
    assert found(seeded, text="minstry") == ["troops-withdrawing"]

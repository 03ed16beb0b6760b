"""Recording over the API: what becomes of an article is data, and what is refused leaves nothing behind."""

import copy
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import pytest
from graphql import GraphQLInputObjectType, print_ast, value_to_literal

from service import log
from service.api.schema import graphql_schema
from service.log import APPEND_LOCK
from tests.api import Api
from tests.api import served as served
from tests.builders import article, asserts, denies, document, url

OUTCOME = """__typename
    ... on ArticleAccepted { position recordedAt projected warnings { path message }
        article { url revision live claims { nodes { slug belief { state reason } } } } }
    ... on ArticleRepeated { position retractedAt projected article { url live } }
    ... on ArticleRefused { code message problems { path message } }"""
RECORD = f"mutation ($input: ArticleInput!) {{ recordArticle(input: $input, waitSeconds: 20) {{ {OUTCOME} }} }}"
RECORD_ALL = (
    f"mutation ($inputs: [ArticleInput!]!) {{ recordArticles(inputs: $inputs, waitSeconds: 20) {{ {OUTCOME} }} }}"
)
ARTICLE = cast(GraphQLInputObjectType, graphql_schema.type_map["ArticleInput"])
RETRACT = f"""mutation ($url: String!, $reason: String!) {{
    retractArticle(url: $url, reason: $reason, waitSeconds: 20) {{ {OUTCOME} }} }}"""


def sent(document: Any) -> Any:
    """A document as GraphQL takes it: camelCase, enum values in capitals."""
    enums = {"stance", "certainty", "form", "change", "kind"}
    if isinstance(document, list):
        return [sent(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {
        _camel(name): value.upper() if name in enums and isinstance(value, str) else sent(value)
        for name, value in document.items()
    }


def _camel(name: str) -> str:
    if name == "text_sha256":
        return "textSha256"
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def given(name: str, **fields: Any) -> dict[str, Any]:
    return sent(document(name, **fields))


@pytest.fixture
def desk(api: Api) -> Iterator[Api]:
    """The service with its projector at work."""
    with api.projecting():
        yield api


def record(api: Api, input: dict[str, Any]) -> dict[str, Any]:
    return api.ask(RECORD, input=input)["recordArticle"]


def retract(api: Api, name: str, reason: str = "It was made up.") -> dict[str, Any]:
    return api.ask(RETRACT, url=url(name), reason=reason)["retractArticle"]


# --- outcomes ---------------------------------------------------------------------


def test_an_article_is_recorded_and_its_beliefs_hold_when_the_answer_comes(desk: Api):
    answer = desk.answer(RECORD, input=given("a", nato=asserts("gas-cut")))
    accepted = answer["data"]["recordArticle"]
    recorded_at = accepted.pop("recordedAt")
    assert accepted == {
        "__typename": "ArticleAccepted",
        "position": 1,
        "projected": True,
        "warnings": [],
        "article": {
            "url": url("a"),
            "revision": 1,
            "live": True,
            "claims": {"nodes": [{"slug": "gas-cut", "belief": {"state": "ASSERTED", "reason": "UNCONTRADICTED"}}]},
        },
    }
    assert answer["extensions"]["log"] == {"position": 1, "head": 1}
    event = desk.ask("{ event(position: 1) { recordedAt actor type } }")["event"]
    assert event == {"recordedAt": recorded_at, "actor": "anonymous", "type": "ArticleRecorded"}


def test_every_field_of_a_document_is_recorded(desk: Api):
    full = {
        **document("a", text="“They said so.”"),
        "headline": "Gas",
        "language": "en-GB",
        "published_at": "2022-02-15T19:00:00+01:00",
        "revision": 1,
        "read_by": {"kind": "model", "id": "reader", "version": "2"},
        "claims": [
            {
                "claim": "gas-cut",
                "proposition": "Gas was cut.",
                "topic": "gas",
                "statements": [
                    {
                        "speaker": {
                            "id": "nato",
                            "name": "Nato",
                            "role": "Alliance",
                            "organisation": "NATO",
                            "bloc": "west",
                        },
                        "stance": "withholds",
                        "certainty": "probable",
                        "form": "indirect",
                        "said_at": "2022-02-14",
                        "quote": "They said so.",
                        "start": 1,
                    },
                    {"speaker": None, "stance": "denies", "quote": "They", "form": "headline"},
                ],
            }
        ],
    }
    assert record(desk, sent(full))["__typename"] == "ArticleAccepted"
    (_, event), *_ = desk.recorded()
    stored = event.model_dump(mode="json", exclude_none=True)
    expected = copy.deepcopy(full)
    text = expected.pop("text")
    expected["published_at"] = "2022-02-15T18:00:00Z"
    expected["text_sha256"] = stored["article"]["text_sha256"]
    own = expected["claims"][0]["statements"][1]
    del own["speaker"]
    own["start"] = 1
    assert stored == {"article": expected, "quotes_verified": True}
    assert desk.ask("{ articles { nodes { text } } }")["articles"]["nodes"] == [{"text": text}]
    again = {**full, "revision": 2, "revised_at": "2022-02-16", "change": "outlet", "headline": "Gas, again"}
    assert record(desk, sent(again))["position"] == 2
    found = desk.ask("{ articles { nodes { revision revisedAt change headline } } }")["articles"]["nodes"]
    assert found == [{"revision": 2, "revisedAt": "2022-02-16", "change": "OUTLET", "headline": "Gas, again"}]


def test_a_repeat_changes_nothing_and_answers_with_the_first_position(desk: Api):
    record(desk, given("a", nato=asserts("gas-cut")))
    record(desk, given("b", nato=asserts("gas-cut")))
    again = record(desk, given("a", nato=asserts("gas-cut")))
    assert again == {
        "__typename": "ArticleRepeated",
        "position": 1,
        "retractedAt": None,
        "projected": True,
        "article": {"url": url("a"), "live": True},
    }
    assert desk.head() == 2


def test_a_retraction_is_recorded_repeated_and_undone_by_the_next_revision(desk: Api):
    first = given("a", nato=asserts("gas-cut"))
    record(desk, first)
    retracted = retract(desk, "a")
    assert (retracted["__typename"], retracted["position"], retracted["article"]["live"]) == (
        "ArticleAccepted",
        2,
        False,
    )
    assert retracted["article"]["claims"]["nodes"][0]["belief"] == {"state": "UNVERIFIED", "reason": "RETRACTED"}
    assert desk.ask("{ articles { nodes { retraction { reason } } } }")["articles"]["nodes"] == [
        {"retraction": {"reason": "It was made up."}}
    ]
    repeated = {"__typename": "ArticleRepeated", "retractedAt": 2, "projected": True}
    gone = {"article": {"url": url("a"), "live": False}}
    assert retract(desk, "a", "Another reason.") == {**repeated, "position": 2, **gone}
    # The known revision does not bring it back, and the answer says so.
    assert record(desk, first) == {**repeated, "position": 1, **gone}
    revived = record(desk, {**first, "revision": 2})
    assert (revived["__typename"], revived["position"], revived["article"]["live"]) == ("ArticleAccepted", 3, True)


def test_a_word_dated_after_its_article_is_kept_with_a_warning(desk: Api):
    accepted = record(desk, given("a", nato=asserts("gas-cut", said="2022-03-01")))
    (warning,) = accepted["warnings"]
    assert warning["path"] == "claims[0].statements[0].saidAt"
    assert "2022-02-15" in warning["message"]
    assert desk.ask('{ node(id: "Statement:1.0") { ... on Statement { saidAt effectiveAt } } }')["node"] == {
        "saidAt": "2022-03-01",
        "effectiveAt": "2022-02-15T23:59:59.999999Z",
    }


def test_of_many_each_has_its_own_outcome_and_the_refused_leave_the_others_standing(desk: Api):
    good, other = given("a", nato=asserts("gas-cut")), given("b", kremlin=denies("gas-cut"))
    changed = {**good, "headline": "Changed"}
    broken = {**other, "url": "no url"}
    skipped = {**other, "revision": 3}
    unworded = given("c", nato=asserts("new-claim"), propositions=False)
    late = given("d", nato=asserts("gas-cut", said="2022-03-01"))
    inputs = [broken, good, changed, good, skipped, other, unworded, {**changed, "revision": 2}, broken, late]
    outcomes = desk.ask(RECORD_ALL, inputs=inputs)["recordArticles"]
    assert [(each["__typename"], each.get("position"), each.get("code")) for each in outcomes] == [
        ("ArticleRefused", None, "DOCUMENT_INVALID"),
        ("ArticleAccepted", 1, None),
        ("ArticleRefused", None, "ARTICLE_CHANGED"),
        ("ArticleRepeated", 1, None),
        ("ArticleRefused", None, "REVISION_SKIPPED"),
        ("ArticleAccepted", 2, None),
        ("ArticleRefused", None, "PROPOSITION_MISSING"),
        ("ArticleAccepted", 3, None),
        ("ArticleRefused", None, "DOCUMENT_INVALID"),
        ("ArticleAccepted", 4, None),
    ]
    assert desk.head() == 4
    # Each with the article as it is now, after all of them.
    assert outcomes[1]["article"]["revision"] == outcomes[7]["article"]["revision"] == 2
    assert outcomes[5]["article"]["url"] == url("b")
    assert [len(each.get("warnings", [])) for each in outcomes] == [0] * 9 + [1]


def test_one_article_in_two_outcomes_is_given_as_each_asks(desk: Api):
    good = given("a", nato=asserts("gas-cut"))
    query = """mutation ($inputs: [ArticleInput!]!) { recordArticles(inputs: $inputs) {
        ... on ArticleAccepted { article { ...A claims { nodes { belief { state } } } } }
        ... on ArticleRepeated { article { ...A } } } }
        fragment A on Article { claims { nodes { slug } } }"""
    outcomes = desk.ask(query, inputs=[good, good])["recordArticles"]
    assert [each["article"]["claims"]["nodes"] for each in outcomes] == [
        [{"slug": "gas-cut", "belief": {"state": "ASSERTED"}}],
        [{"slug": "gas-cut"}],
    ]


def test_it_does_not_matter_how_a_document_is_sent(desk: Api):
    """By a variable, written out, in parts by variables, and with null for what is left out: it is the same article."""
    said = given("a", nato=asserts("gas-cut", said="2022-02-14"))
    optional = dict.fromkeys(
        ["headline", "language", "revision", "revisedAt", "change", "readBy", "text", "textSha256"]
    )
    assert record(desk, said)["position"] == 1

    def written(**parts: str) -> str:
        literals: dict[str, Any] = {name: value_to_literal(said[name], ARTICLE.fields[name].type) for name in said}
        fields = ", ".join(f"{name}: {parts.get(name) or print_ast(each)}" for name, each in literals.items())
        return f"recordArticle(input: {{ {fields} headline: $none, text: null }}) {{ {OUTCOME} }}"

    found = desk.ask(
        f"""mutation ($input: ArticleInput!, $claims: [ClaimInput!]!, $at: Moment!, $none: String) {{
        a: {written()} b: {written(claims="$claims", publishedAt="$at")}
        c: recordArticle(input: $input) {{ {OUTCOME} }} }}""",
        input={**optional, **said},
        claims=said["claims"],
        at=said["publishedAt"],
    )
    assert [(each["__typename"], each["position"]) for each in found.values()] == [("ArticleRepeated", 1)] * 3


def test_nothing_sent_is_nothing_done(desk: Api):
    assert desk.ask(RECORD_ALL, inputs=[]) == {"recordArticles": []}
    assert record(desk, {**given("a"), "claims": []})["article"]["claims"] == {"nodes": []}


def test_a_hundred_are_taken_at_once_and_no_more(desk: Api):
    many = [given(str(number), nato=asserts("gas-cut")) for number in range(101)]
    query = """mutation ($inputs: [ArticleInput!]!) { recordArticles(inputs: $inputs) {
        ... on ArticleAccepted { position } } }"""
    assert desk.codes(query, inputs=many) == ["BAD_ARGUMENT"]
    assert desk.head() == 0
    outcomes = desk.ask(query, inputs=many[:100])["recordArticles"]
    assert [each["position"] for each in outcomes] == list(range(1, 101))


def test_several_mutations_of_one_request_come_one_after_the_other(desk: Api):
    query = f"""mutation ($input: ArticleInput!, $url: String!) {{ a: recordArticle(input: $input) {{ {OUTCOME} }}
        b: retractArticle(url: $url, reason: "x") {{ {OUTCOME} }} c: recordArticle(input: $input) {{ {OUTCOME} }} }}"""
    found = desk.ask(query, input=given("a", nato=asserts("gas-cut")), url=url("a"))
    assert found["a"]["position"] == 1
    assert found["a"]["article"]["live"]
    assert (found["b"]["position"], found["b"]["article"]["live"]) == (2, False)
    assert found["c"]["retractedAt"] == 2


# --- refusals ---------------------------------------------------------------------


def bad(path: str, value: Any, **fields: Any) -> dict[str, Any]:
    """A document with `value` at `path`, which is written as problems name it."""
    made = copy.deepcopy({**given("a", nato=asserts("gas-cut"), un=denies("war-soon")), **fields})
    place: Any = made
    *steps, last = path.replace("[", ".").replace("]", "").split(".")
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    return made


S = "claims[0].statements[0]"
TEXT = "they said so, and they said so again"
GAS = {"claim": "gas-cut", "proposition": "Gas was cut."}
ONE = [given("a", nato=asserts("gas-cut"))["claims"][0]]

#: Each wrong in one place: what is sent, and the path of the problem if it is not the field that was set.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an empty quote": (bad(f"{S}.quote", ""), f"{S}.quote"),
    "a blank quote": (bad(f"{S}.quote", " \n"), f"{S}.quote"),
    "a quote that is too long": (bad(f"{S}.quote", "x" * 1001), f"{S}.quote"),
    "a quote that is not in the text": (
        bad("claims[1].statements[0].quote", "they said No", text="they said so"),
        "claims[1].statements[0].quote",
    ),
    "a quote at another place": (
        bad(f"{S}.start", 1, text=TEXT, claims=ONE),
        f"{S}.start",
    ),
    "a quote that stands there twice": (
        bad(f"{S}.quote", "they said so", text=TEXT, claims=ONE),
        f"{S}.quote",
    ),
    "a start before the text": (bad(f"{S}.start", -1), f"{S}.start"),
    "a hash of another text": (bad("textSha256", "0" * 64, text="they said so"), "textSha256"),
    "a hash that is none": (bad("textSha256", "abc"), "textSha256"),
    "a NUL in a quote": (bad(f"{S}.quote", "they\0said"), f"{S}.quote"),
    "a NUL in the text": (bad("text", "they said so\0"), "text"),
    "a NUL in a headline": (bad("headline", "\0"), "headline"),
    "half of a surrogate pair in a quote": (bad(f"{S}.quote", "they \ud83d said"), f"{S}.quote"),
    "half of a surrogate pair in the text": (bad("text", "they said so \udc00"), "text"),
    "half of a surrogate pair in a name": (bad("outlet.name", "\ud800"), "outlet.name"),
    "half of a surrogate pair in an id": (bad("claims[0].claim", "gas-\ud800"), "claims[0].claim"),
    "half of a surrogate pair in a moment": (bad("publishedAt", "2022-\ud800"), "publishedAt"),
    "half of a surrogate pair in the URL": (bad("url", "https://example.org/\ud800"), "url"),
    "a slug with spaces": (bad("claims[0].claim", "gas cut"), "claims[0].claim"),
    "a topic that is no slug": (bad("claims[0].topic", "Gas"), "claims[0].topic"),
    "an outlet's id that is no slug": (bad("outlet.id", "Daily Planet"), "outlet.id"),
    "a speaker's id that is no slug": (bad(f"{S}.speaker.id", "outlet:daily-planet"), f"{S}.speaker.id"),
    "a bloc that is no slug": (bad(f"{S}.speaker.bloc", "NATO"), f"{S}.speaker.bloc"),
    "a slug twice": (bad("claims[1].claim", "gas-cut"), "claims[1].claim"),
    "a claim without statements": (bad("claims[0].statements", []), "claims[0].statements"),
    "an instant without offset": (bad("publishedAt", "2022-02-15T18:00:00"), "publishedAt"),
    "a day that does not exist": (bad(f"{S}.saidAt", "2022-02-30"), f"{S}.saidAt"),
    "a year beyond all use": (bad(f"{S}.saidAt", "9999-01-01"), f"{S}.saidAt"),
    "a moment in words": (bad("publishedAt", "yesterday"), "publishedAt"),
    "a URL that is none": (bad("url", "example.org/a"), "url"),
    "a URL with a fragment": (bad("url", "https://example.org/a#b"), "url"),
    "a language that is none": (bad("language", "English!"), "language"),
    "a revision before the first": (bad("revision", 0), "revision"),
    "a first revision that is dated": (bad("revisedAt", "2022-02-16"), "revisedAt"),
    "a first revision with a change": (bad("change", "OUTLET"), "change"),
    "a model without version": (bad("readBy", {"kind": "MODEL", "id": "reader"}), "readBy.version"),
    "1,001 statements": (bad("claims", [{**GAS, "statements": [ONE[0]["statements"][0]] * 1001}]), "claims"),
    "a text beyond 1 MiB": (bad("text", "they said so" + "x" * 2**20), "text"),
}  # fmt: skip


def test_what_is_wrong_is_told_with_the_path_as_it_was_sent_and_nothing_is_recorded(desk: Api):
    for name, (input, path) in WRONG.items():
        refused = record(desk, input)
        assert refused["__typename"] == "ArticleRefused", name
        assert refused["code"] == "DOCUMENT_INVALID", name
        assert [each["path"] for each in refused["problems"]] == [path], (name, refused)
        assert all(each["message"] for each in refused["problems"])
        assert path in refused["message"]
    assert desk.head() == 0
    with desk.engine.begin() as conn:
        for table in ("register_revision", "register_claim", "register_speaker", "article_text"):
            assert conn.exec_driver_sql(f"SELECT count(*) FROM onrecord.{table}").scalar_one() == 0, table


def test_all_that_is_wrong_is_told_at_once(desk: Api):
    input = given("a", nato=asserts("gas cut", said="2022-02-30", quote=""))
    input |= {"textSha256": "x", "publishedAt": "now", "readBy": {"kind": "PERSON", "id": " "}}
    refused = record(desk, input)
    assert [each["path"] for each in refused["problems"]] == [
        *("publishedAt", "readBy.id", "textSha256", "claims[0].claim"),
        *(f"{S}.saidAt", f"{S}.quote"),
    ]
    assert "read_by" not in refused["message"]
    assert "said_at" not in refused["message"]
    assert desk.head() == 0


def test_what_contradicts_the_log_is_refused_and_says_what_to_send(desk: Api):
    first = given("a", nato=asserts("gas-cut"))
    record(desk, first)
    changed = record(desk, {**first, "headline": "Changed"})
    assert (changed["__typename"], changed["code"], changed["problems"]) == ("ArticleRefused", "ARTICLE_CHANGED", [])
    assert "revision 2" in changed["message"]
    skipped = record(desk, {**first, "revision": 3})
    assert (skipped["code"], "revision 2" in skipped["message"]) == ("REVISION_SKIPPED", True)
    unworded = record(desk, given("b", nato=[asserts("gas-cut"), denies("new-claim")], propositions=False))
    assert unworded["code"] == "PROPOSITION_MISSING"
    assert [each["path"] for each in unworded["problems"]] == ["claims[1].proposition"]
    assert "new-claim" in unworded["problems"][0]["message"]
    assert desk.head() == 1


def test_what_is_not_there_cannot_be_retracted(desk: Api):
    unknown = retract(desk, "nothing")
    assert (unknown["__typename"], unknown["code"], unknown["problems"]) == ("ArticleRefused", "ARTICLE_UNKNOWN", [])
    record(desk, given("a", nato=asserts("gas-cut")))
    for reason in ("", "  ", "\0", "\ud800", "x" * 10_001):
        refused = retract(desk, "a", reason)
        assert refused["code"] == "DOCUMENT_INVALID"
        assert [each["path"] for each in refused["problems"]] == ["reason"]
    for bad_url in ("nonsense", "\0", "urn:\ud800"):
        refused = desk.ask(RETRACT, url=bad_url, reason="x")["retractArticle"]
        assert [each["path"] for each in refused["problems"]] == ["url"]
    assert desk.head() == 1


@pytest.mark.parametrize(
    "input",
    [
        {},
        {**given("a"), "unknown": 1},
        {**given("a"), "claims": None},
        {**given("a"), "claims": [{"claim": "gas-cut"}]},
        {**given("a"), "revision": "1"},
        {**given("a"), "revision": 2**31},
        {**given("a"), "outlet": {"id": "x"}},
        bad(f"{S}.stance", "asserts"),
        bad(f"{S}.certainty", "SURE"),
        bad(f"{S}.start", 1.5),
    ],
)
def test_what_does_not_fit_the_schema_is_a_bad_query(desk: Api, input: dict[str, Any]):
    assert set(desk.codes(RECORD, input=input)) == {"BAD_QUERY"}
    assert desk.head() == 0


def test_a_surrogate_that_does_not_fit_the_schema_is_a_bad_query(desk: Api):
    """The message quotes what was sent, and must itself be sent."""
    assert desk.codes(RECORD, input=bad(f"{S}.stance", "\ud800")) == ["BAD_QUERY"]
    assert desk.codes('{ claim(slug: 5, x: 1, "\\ud800": 1) { slug } }') == ["BAD_QUERY"]


@pytest.mark.parametrize("seconds", [-1, 30.1, 1e300])
def test_nobody_waits_for_less_than_nothing_or_for_ever(desk: Api, seconds: float):
    query = "mutation ($i: ArticleInput!, $s: Float!) { recordArticle(input: $i, waitSeconds: $s) { __typename } }"
    assert desk.codes(query, i=given("a", nato=asserts("gas-cut")), s=seconds) == ["BAD_ARGUMENT"]
    assert desk.head() == 0


# --- waiting ----------------------------------------------------------------------

SOON = RECORD.replace("20", "0.1")


def test_where_nobody_projects_it_is_recorded_all_the_same_and_says_so(api: Api):
    api.prepare()
    first = given("a", nato=asserts("gas-cut"))
    accepted = api.ask(SOON, input=first)["recordArticle"]
    assert (accepted["position"], accepted["projected"], accepted["article"]) == (1, False, None)
    repeated = api.ask(SOON, input=first)["recordArticle"]
    assert (repeated["position"], repeated["projected"], repeated["article"]) == (1, False, None)
    assert api.answer(SOON, input=first)["extensions"]["log"] == {"position": 0, "head": 1}
    retracted = api.ask(RETRACT.replace("20", "0"), url=url("a"), reason="x")["retractArticle"]
    assert (retracted["position"], retracted["projected"]) == (2, False)
    api.project()
    assert api.ask(SOON.replace("0.1", "5"), input=first)["recordArticle"]["projected"] is True


def test_where_nothing_was_ever_projected_it_is_recorded_all_the_same(api: Api):
    first = given("a", nato=asserts("gas-cut"))
    accepted = api.ask(SOON, input=first)["recordArticle"]
    assert (accepted["__typename"], accepted["position"], accepted["projected"]) == ("ArticleAccepted", 1, False)
    refused = api.ask(SOON, input={**first, "url": "none"})["recordArticle"]
    assert refused["code"] == "DOCUMENT_INVALID"
    assert api.head() == 1


def test_it_waits_until_it_is_projected(api: Api):
    generation = api.prepare()
    assert generation.position == 0
    with api.engine.begin() as held:
        # The projector is kept from the read tables for a while.
        held.exec_driver_sql("SELECT 1 FROM onrecord.generation FOR UPDATE")
        timer = threading.Timer(0.5, held.commit)
        with api.projecting():
            timer.start()
            accepted = record(api, given("a", nato=asserts("gas-cut")))
            timer.join()
    assert accepted["projected"] is True
    assert accepted["article"]["claims"]["nodes"][0]["belief"]["state"] == "ASSERTED"


def test_a_request_may_name_the_position_that_it_must_see(api: Api):
    api.record(article("a", nato=asserts("gas-cut")))
    query = '{ claim(slug: "gas-cut") { belief { state } } }'
    for wanted in ("0", "1", "00001"):
        assert "errors" not in api.answer(query, headers={"Onrecord-Min-Position": wanted})
    api.append(article("b", kremlin=denies("gas-cut")))
    with api.projecting():
        answer = api.answer(query, headers={"Onrecord-Min-Position": "2"})
    assert answer["data"]["claim"]["belief"]["state"] == "UNVERIFIED"
    assert answer["extensions"]["log"]["position"] == 2


def test_a_request_that_cannot_see_it_in_time_says_so(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("service.api.context.WAIT_S", 0.2)
    api.record(article("a", nato=asserts("gas-cut")))
    wanted = {"Onrecord-Min-Position": "9"}
    answer = api.answer("{ log { head } }", headers=wanted)
    assert list(answer) == ["errors"]
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "NOT_YET_PROJECTED"
    assert "position 9" in error["message"]
    # A mutation that cannot be answered is not done.
    answer = api.answer(RECORD, headers=wanted, input=given("b", nato=asserts("gas-cut")))
    assert [each["extensions"]["code"] for each in answer["errors"]] == ["NOT_YET_PROJECTED"]
    assert api.head() == 1


@pytest.mark.parametrize("wanted", ["-1", "x", "1.0", "", " ", "9" * 19, "+1", "²"])
def test_a_position_that_is_none_is_refused(api: Api, wanted: str):
    response = api.send(json={"query": "{ log { head } }"}, headers={"Onrecord-Min-Position": wanted.encode()})
    assert response.status_code == 400
    ((code, message),) = [(each["extensions"]["code"], each["message"]) for each in response.json()["errors"]]
    assert code == "BAD_ARGUMENT"
    assert "Onrecord-Min-Position" in message


def test_who_cannot_get_a_turn_is_told_to_come_again(api: Api, monkeypatch: pytest.MonkeyPatch):
    api.prepare()
    monkeypatch.setattr(log, "append", partial(log.append, wait_s_max=0.1))
    with api.engine.begin() as conn:
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        assert api.codes(SOON, input=given("a", nato=asserts("gas-cut"))) == ["BUSY"]
    assert api.head() == 0
    assert api.ask(SOON, input=given("a", nato=asserts("gas-cut")))["recordArticle"]["position"] == 1

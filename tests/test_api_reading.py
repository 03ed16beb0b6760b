"""What a reader gets: every field of every type, on the five seed articles and on articles that change."""

import hashlib
import json
from typing import Any

import pytest
from graphql import GraphQLObjectType, get_named_type, is_leaf_type

from service.api.schema import schema
from service.domain import article as documents
from service.domain.article import Article
from tests.api import SEEDS, Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import article, asserts, changed, denies, document, folded, retraction, url, withholds

END_OF_15TH = "2022-02-15T23:59:59.999999Z"


def slugs(connection: dict[str, Any]) -> list[str]:
    return [node["slug"] for node in connection["nodes"]]


def ids(connection: dict[str, Any]) -> list[str]:
    return [node["id"].partition(":")[2] for node in connection["nodes"]]


# --- the seeds --------------------------------------------------------------------


def test_a_claim_tells_what_is_claimed_since_when_and_about_what(seeded: Api):
    found = seeded.ask("""{ claim(slug: "preparing-invasion") {
        id slug proposition firstPosition topic { slug }
        wordings { nodes { proposition language position article { url } } } } }""")
    assert found["claim"] == {
        "id": "Claim:preparing-invasion",
        "slug": "preparing-invasion",
        "proposition": "Russia is planning or preparing to invade Ukraine.",
        "firstPosition": 1,
        "topic": {"slug": "invasion"},
        "wordings": {
            "nodes": [
                {
                    "proposition": "Russia is planning or preparing to invade Ukraine.",
                    "language": "en",
                    "position": 1,
                    "article": {"url": SEEDS[0].url},
                }
            ]
        },
    }


def test_a_belief_tells_the_state_the_reason_the_counts_and_what_it_rests_on(seeded: Api):
    found = seeded.ask("""{ claim(slug: "preparing-invasion") { belief {
        state reason policy asserting denying withholding contested singleSpeaker
        since { cursor policy position effectiveAt retroactive from to reason claim { slug } event { position type } }
        because { nodes { id stance speaker { slug } } } } } }""")
    assert found["claim"]["belief"] == {
        "state": "UNVERIFIED",
        "reason": "CONFLICT",
        "policy": "unanimous@1",
        "asserting": 2,
        "denying": 2,
        "withholding": 0,
        "contested": True,
        "singleSpeaker": False,
        "since": {
            "cursor": "2:preparing-invasion",
            "policy": "unanimous@1",
            "position": 2,
            "effectiveAt": END_OF_15TH,
            "retroactive": False,
            "from": "DENIED",
            "to": "UNVERIFIED",
            "reason": "CONFLICT",
            "claim": {"slug": "preparing-invasion"},
            "event": {"position": 2, "type": "ArticleRecorded"},
        },
        "because": {
            "nodes": [
                {"id": "Statement:5.21", "stance": "DENIES", "speaker": {"slug": "maria-zakharova"}},
                {"id": "Statement:4.20", "stance": "DENIES", "speaker": {"slug": "russian-government"}},
                {"id": "Statement:3.5", "stance": "ASSERTS", "speaker": {"slug": "liz-truss"}},
                {"id": "Statement:3.3", "stance": "ASSERTS", "speaker": {"slug": "boris-johnson"}},
            ]
        },
    }


def test_a_history_is_the_chain_of_transitions(seeded: Api):
    found = seeded.ask("""{ claim(slug: "invasion-imminent") { history { nodes {
        cursor from to reason effectiveAt position recordedAt event { recordedAt } } } } }""")
    chain = found["claim"]["history"]["nodes"]
    assert [(each["cursor"], each["from"], each["to"], each["reason"]) for each in chain] == [
        ("1:invasion-imminent", None, "ASSERTED", "UNCONTRADICTED"),
        ("4:invasion-imminent", "ASSERTED", "UNVERIFIED", "CONFLICT"),
    ]
    # The US spoke on the 14th.
    assert chain[0]["effectiveAt"] == "2022-02-14T23:59:59.999999Z"
    assert all(each["recordedAt"] == each["event"]["recordedAt"] for each in chain)


def test_a_statement_tells_who_said_what_where_and_when(seeded: Api):
    found = seeded.ask("""{ node(id: "Statement:1.6") { ... on Statement {
        id stance certainty form role organisation bloc name quote start quoteVerified saidAt effectiveAt position
        ordinal live standing claim { slug } speaker { slug } article { url } } } }""")
    assert found["node"] == {
        "id": "Statement:1.6",
        "stance": "ASSERTS",
        "certainty": "CERTAIN",
        "form": "INDIRECT",
        "role": "President of the United States",
        "organisation": "US government",
        "bloc": "nato",
        "name": "Joe Biden",
        "quote": "stressed there remains “a crucial window for democracy”",
        "start": 2653,
        "quoteVerified": False,
        "saidAt": "2022-02-14",
        "effectiveAt": "2022-02-14T23:59:59.999999Z",
        "position": 1,
        "ordinal": 6,
        "live": True,
        "standing": True,
        "claim": {"slug": "window-for-diplomacy"},
        "speaker": {"slug": "joe-biden"},
        "article": {"url": SEEDS[0].url},
    }


def test_an_outlets_own_voice_is_a_speaker_without_role(seeded: Api):
    found = seeded.ask("""{ claim(slug: "over-100000-troops") { statements(speaker: "outlet:the-independent") { nodes {
        name role organisation bloc form speaker { id slug name role organisation bloc ownVoice firstPosition } } } }
        speaker(slug: "boris-johnson") { ownVoice } }""")
    (said,) = found["claim"]["statements"]["nodes"]
    none = {"role": None, "organisation": None, "bloc": None}
    assert said == {
        "name": "The Independent",
        "form": None,
        **none,
        "speaker": {
            "id": "Speaker:outlet:the-independent",
            "slug": "outlet:the-independent",
            "name": "The Independent",
            **none,
            "ownVoice": True,
            "firstPosition": 1,
        },
    }
    assert found["speaker"]["ownVoice"] is False


def test_those_who_stand_on_a_claim_come_with_the_statement_that_counts(seeded: Api):
    found = seeded.ask("""{ claim(slug: "preparing-invasion") {
        speakers { nodes { sincePosition speaker { slug } statement { id standing } } }
        denying: speakers(stance: DENIES) { nodes { speaker { slug } } } } }""")
    stand = found["claim"]["speakers"]["nodes"]
    assert [(each["sincePosition"], each["speaker"]["slug"], each["statement"]["id"]) for each in stand] == [
        (5, "maria-zakharova", "Statement:5.21"),
        (4, "russian-government", "Statement:4.20"),
        (3, "boris-johnson", "Statement:3.3"),
        (3, "liz-truss", "Statement:3.5"),
    ]
    assert all(each["statement"]["standing"] for each in stand)
    denying = found["claim"]["denying"]["nodes"]
    assert [each["speaker"]["slug"] for each in denying] == ["maria-zakharova", "russian-government"]


def test_statements_can_be_chosen_by_stance_speaker_standing_and_life(seeded: Api):
    found = seeded.ask("""{ claim(slug: "preparing-invasion") {
        all: statements { nodes { id } }
        asserting: statements(stance: ASSERTS) { nodes { id } }
        his: statements(speaker: "boris-johnson") { nodes { id } }
        standing: statements(standing: true) { nodes { id } }
        superseded: statements(standing: false) { nodes { id } }
        standingDenials: statements(standing: true, stance: DENIES) { nodes { id } }
        none: statements(standing: true, stance: WITHHOLDS) { nodes { id } }
        live: statements(live: true) { nodes { id } }
        gone: statements(live: false) { nodes { id } } } }""")
    assert {name: ids(each) for name, each in found["claim"].items()} == {
        "all": ["5.21", "4.20", "3.5", "3.4", "3.3", "2.9", "1.9"],
        "asserting": ["3.5", "3.3", "2.9"],
        "his": ["3.3", "2.9"],
        "standing": ["5.21", "4.20", "3.5", "3.3"],
        "superseded": ["3.4", "2.9", "1.9"],
        "standingDenials": ["5.21", "4.20"],
        "none": [],
        "live": ["5.21", "4.20", "3.5", "3.4", "3.3", "2.9", "1.9"],
        "gone": [],
    }


def test_an_article_tells_all_that_its_document_held(seeded: Api):
    found = seeded.ask(
        """query ($url: String!) { article(url: $url) {
        id url headline publishedAt language revision revisedAt change readBy { kind } textSha256 quotesVerified
        position firstPosition live outlet { id slug name firstPosition } revisions { nodes { id } }
        retraction { reason } text erasure { position } event { position }
        claims { totalCount byState { asserted denied unverified } nodes { slug } }
        statements(first: 2) { nodes { id } } denying: statements(stance: DENIES) { nodes { id } }
        his: statements(speaker: "olaf-scholz") { nodes { id } }
        on: statements(claim: "troops-withdrawing") { nodes { id } } } }""",
        url=SEEDS[1].url,
    )["article"]
    assert slugs(found.pop("claims")) == [claim.claim for claim in SEEDS[1].claims]
    assert found == {
        "id": "Article:2",
        "url": "urn:seed:001_1c4672853630ca21",
        "headline": "Russia ready to continue talks to avoid war in Ukraine, says Vladimir Putin",
        "publishedAt": "2022-02-15",
        "language": "en",
        "revision": 1,
        "revisedAt": None,
        "change": None,
        "readBy": None,
        "textSha256": "ffac78742899ba3e166f15ee682d1d2e2d529e6bba022c62824a15c40f4c688e",
        "quotesVerified": False,
        "position": 2,
        "firstPosition": 2,
        "live": True,
        "outlet": {
            "id": "Outlet:the-independent",
            "slug": "the-independent",
            "name": "The Independent",
            "firstPosition": 1,
        },
        "revisions": {"nodes": [{"id": "Article:2"}]},
        "retraction": None,
        "text": None,
        "erasure": None,
        "event": {"position": 2},
        "statements": {"nodes": [{"id": "Statement:2.0"}, {"id": "Statement:2.1"}]},
        "denying": {"nodes": [{"id": "Statement:2.12"}, {"id": "Statement:2.18"}]},
        "his": {"nodes": [{"id": "Statement:2.17"}, {"id": "Statement:2.18"}]},
        "on": {"nodes": [{"id": f"Statement:2.{ordinal}"} for ordinal in range(2, 7)]},
    }


def test_claims_of_an_article_or_a_topic_are_counted_as_a_whole(seeded: Api):
    found = seeded.ask(
        """query ($url: String!) { article(url: $url) { claims(first: 1) { totalCount
             byState { asserted denied unverified } nodes { slug } } }
           claim(slug: "genocide-in-donbass") { topic { slug claims(first: 1) { totalCount
             byState { asserted denied unverified } nodes { slug topic { slug claims(last: 1) { nodes { slug } } } }
           } } } }""",
        url=SEEDS[1].url,
    )
    fold, _ = folded(*SEEDS)
    verdicts = dict(fold.verdicts(fold.policies[0]))

    def counted(claims: set[str]) -> dict[str, int]:
        states = [verdicts[claim].state.value for claim in claims]
        return {name: states.count(name) for name in ("asserted", "denied", "unverified")}

    of_article = {claim.claim for claim in SEEDS[1].claims}
    assert found["article"]["claims"] == {
        "totalCount": 19,
        "byState": counted(of_article),
        "nodes": [{"slug": "genocide-in-donbass"}],
    }
    of_topic = {claim.claim for each in SEEDS for claim in each.claims if claim.topic == "diplomacy"}
    assert found["claim"]["topic"] == {
        "slug": "diplomacy",
        "claims": {
            "totalCount": len(of_topic),
            "byState": counted(of_topic),
            "nodes": [
                {
                    "slug": min(of_topic),
                    "topic": {"slug": "diplomacy", "claims": {"nodes": [{"slug": max(of_topic)}]}},
                }
            ],
        },
    }


def test_outlets_speakers_topics_and_articles_are_listed_the_last_to_appear_first(seeded: Api):
    found = seeded.ask("""{
        topics { nodes { slug } }
        outlets { nodes { slug name articles { nodes { position } } } }
        articles { nodes { position } } independent: articles(outlet: "the-independent") { nodes { position } }
        live: articles(live: true) { nodes { position } } gone: articles(live: false) { nodes { position } }
        speakers(first: 100) { nodes { slug firstPosition } } }""")
    assert slugs(found["topics"]) == ["information", "diplomacy", "invasion", "nato", "troops"]
    assert found["outlets"]["nodes"] == [
        {
            "slug": "unnamed-outlet",
            "name": "Unnamed outlet",
            "articles": {"nodes": [{"position": 4}]},
        },
        {"slug": "itv-news", "name": "ITV News", "articles": {"nodes": [{"position": 5}, {"position": 3}]}},
        {
            "slug": "the-independent",
            "name": "The Independent",
            "articles": {"nodes": [{"position": 2}, {"position": 1}]},
        },
    ]
    assert [each["position"] for each in found["articles"]["nodes"]] == [5, 4, 3, 2, 1]
    assert [each["position"] for each in found["independent"]["nodes"]] == [2, 1]
    assert found["live"] == found["articles"]
    assert found["gone"] == {"nodes": []}
    speakers = found["speakers"]["nodes"]
    first: dict[str, int] = {}
    for position, each in enumerate(SEEDS, 1):
        for _, _, statement in each.statements():
            first.setdefault(each.speaker_of(statement), position)
    assert len(first) == 28
    assert speakers == [
        {"slug": slug, "firstPosition": position}
        for slug, position in sorted(first.items(), key=lambda item: (-item[1], item[0]))
    ]


def test_one_outlet_one_speaker_and_one_article_are_found_by_their_names(seeded: Api):
    found = seeded.ask(
        """query ($url: String!) { outlet(slug: "itv-news") { name } speaker(slug: "olaf-scholz") { id name role
             organisation bloc statements { nodes { id } }
             denials: statements(stance: DENIES) { nodes { id } }
             on: statements(claim: "window-for-diplomacy") { nodes { id } }
             standing: statements(standing: true) { nodes { id } } gone: statements(live: false) { nodes { id } } }
           article(url: $url) { position }
           a: outlet(slug: "nobody") { name } b: speaker(slug: "nobody") { name } c: article(url: "urn:no") { url }
           d: claim(slug: "nothing") { slug } e: event(position: 6) { id } f: event(position: 0) { id } }""",
        url=SEEDS[4].url,
    )
    assert found["outlet"] == {"name": "ITV News"}
    scholz = found["speaker"]
    assert [scholz[name] for name in ("id", "name", "role", "organisation", "bloc")] == [
        "Speaker:olaf-scholz",
        "Olaf Scholz",
        "Chancellor of Germany",
        "Government of Germany",
        "nato",
    ]
    his = [
        (f"{position}.{ordinal}", claim.claim, statement.stance)
        for position, each in reversed(list(enumerate(SEEDS, 1)))
        for ordinal, claim, statement in reversed(list(each.statements()))
        if each.speaker_of(statement) == "olaf-scholz"
    ]
    assert ids(scholz["statements"]) == [place for place, _, _ in his]
    assert ids(scholz["denials"]) == [place for place, _, stance in his if stance == "denies"]
    assert ids(scholz["on"]) == [place for place, claim, _ in his if claim == "window-for-diplomacy"]
    fold, _ = folded(*SEEDS)
    stand = [each.by_speaker.get("olaf-scholz") for each in fold.claims.values()]
    assert set(ids(scholz["standing"])) == {f"{each.position}.{each.ordinal}" for each in stand if each is not None}
    assert ids(scholz["gone"]) == []
    assert found["article"] == {"position": 5}
    assert [found[name] for name in "abcdef"] == [None] * 6


def test_an_event_gives_what_is_stored_and_its_leaf(seeded: Api):
    found = seeded.ask("""{ event(position: 1) { id position type schemaVersion recordedAt actor eventId payload
        payloadSha256 leaf article { url } } }""")["event"]
    position, event = seeded.recorded()[0]
    assert {name: found[name] for name in ("id", "position", "type", "schemaVersion", "actor")} == {
        "id": "Event:1",
        "position": position,
        "type": "ArticleRecorded",
        "schemaVersion": 1,
        "actor": "cli:test",
    }
    assert found["payload"] == event.model_dump(mode="json", exclude_none=True)
    assert found["article"] == {"url": SEEDS[0].url}
    with seeded.engine.begin() as conn:
        row = conn.exec_driver_sql("SELECT * FROM onrecord.event WHERE position = 1").one()
    assert found["payloadSha256"] == hashlib.sha256(row.payload).hexdigest() == row.payload_sha256.hex()
    assert found["leaf"].encode() == row.leaf
    assert found["eventId"] == str(row.event_id)
    assert json.loads(found["leaf"])["event_id"] == found["eventId"]
    assert found["recordedAt"] == row.recorded_at.isoformat().replace("+00:00", "Z")


def test_events_are_listed_from_a_position_and_by_type(api: Api):
    api.record(article("a", nato=asserts("gas-cut")), article("b", nato=asserts("gas-cut")), retraction("a"))
    api.record(article("a", revision=2, nato=asserts("gas-cut")), retraction("b"))
    found = api.ask("""{ all: events { nodes { position type article { url revision } } }
        from: events(fromPosition: 3) { nodes { position } }
        retracted: events(types: [ArticleRetracted]) { nodes { position } }
        other: events(types: [ArticleRevised, ArticleRecorded], fromPosition: 2) { nodes { position } }
        none: events(types: []) { nodes { position } } beyond: events(fromPosition: 9007199254740993) { nodes { id } }
        }""")
    assert [(each["position"], each["type"], each["article"]) for each in found["all"]["nodes"]] == [
        (1, "ArticleRecorded", {"url": url("a"), "revision": 1}),
        (2, "ArticleRecorded", {"url": url("b"), "revision": 1}),
        (3, "ArticleRetracted", {"url": url("a"), "revision": 1}),
        (4, "ArticleRevised", {"url": url("a"), "revision": 2}),
        (5, "ArticleRetracted", {"url": url("b"), "revision": 1}),
    ]
    positions = {name: [each["position"] for each in found[name]["nodes"]] for name in ("from", "retracted", "other")}
    assert positions == {"from": [3, 4, 5], "retracted": [3, 5], "other": [2, 4]}
    assert found["none"] == found["beyond"] == {"nodes": []}


def test_the_log_tells_how_far_it_is_and_how_far_projected(seeded: Api):
    seeded.append(article("a", nato=asserts("gas-cut")))
    answer = seeded.answer(
        '{ log { head headRecordedAt projected stoppedAt because } claim(slug: "gas-cut") { slug } }'
    )
    recorded_at = answer["data"]["log"].pop("headRecordedAt")
    assert recorded_at.startswith("20")
    assert recorded_at.endswith("Z")
    assert answer == {
        "data": {"log": {"head": 6, "projected": 5, "stoppedAt": None, "because": None}, "claim": None},
        "extensions": {"cost": 2, "log": {"position": 5, "head": 6}},
    }


def test_every_answer_says_where_in_the_log_it_was_given(seeded: Api):
    at = {"position": 5, "head": 5}
    assert seeded.answer("{ topics(first: 0) { nodes { slug } } }")["extensions"]["log"] == at
    assert seeded.answer('{ node(id: "nonsense") { id } }')["extensions"]["log"] == at
    # Nothing of the log is in this one.
    assert "log" not in seeded.answer("{ __typename }")["extensions"]


def test_the_log_says_where_the_projector_stopped(seeded: Api):
    with seeded.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE onrecord.generation SET stopped_at = 6, because = 'event 6 is damaged'")
    found = seeded.ask('{ log { stoppedAt because } claim(slug: "troops-withdrawing") { belief { state } } }')
    assert found["log"] == {"stoppedAt": 6, "because": "event 6 is damaged"}
    # Readers go on at the last good position.
    assert found["claim"]["belief"]["state"] == "UNVERIFIED"


def test_policies_say_what_they_are_and_which_is_in_force(seeded: Api):
    listed = seeded.ask("{ policies { id name version description inForce projected } }")["policies"]
    assert [(each["id"], each["name"], each["version"]) for each in listed] == [
        (f"{name}@1", name, 1) for name in ("unanimous", "corroborated", "majority", "latest", "any_denial")
    ]
    assert [each["inForce"] for each in listed] == [True, False, False, False, False]
    assert [each["projected"] for each in listed] == [True] * 5
    assert all(each["description"] for each in listed)


def test_policies_say_which_are_projected(api: Api):
    api.prepare(["majority", "unanimous:min_speakers=2"])
    listed = api.ask("{ policies { id projected } }")["policies"]
    # The one in force always is.
    projected = {each["id"] for each in listed if each["projected"]}
    assert projected == {"unanimous@1", "majority@1", "unanimous@1:min_speakers=2"}
    assert len(listed) == 6


def test_an_empty_record_is_read_as_empty(api: Api):
    api.prepare()
    found = api.ask("""{ log { head headRecordedAt projected } claims { totalCount
        byState { asserted denied unverified }
        nodes { slug } edges { cursor }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }
        topics { nodes { slug } } outlets { nodes { slug } } speakers { nodes { slug } } articles { nodes { url } }
        events { nodes { id } } }""")
    nothing = {"nodes": []}
    assert found == {
        "log": {"head": 0, "headRecordedAt": None, "projected": 0},
        "claims": {
            "totalCount": 0,
            "byState": {"asserted": 0, "denied": 0, "unverified": 0},
            "nodes": [],
            "edges": [],
            "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None},
        },
        **dict.fromkeys(["topics", "outlets", "speakers", "articles", "events"], nothing),
    }


# --- all of it at once ------------------------------------------------------------

_ARGUMENTS = {
    ("Query", "claim"): '(slug: "troops-withdrawing")',
    ("Query", "outlet"): '(slug: "itv-news")',
    ("Query", "speaker"): '(slug: "boris-johnson")',
    ("Query", "article"): f'(url: "{SEEDS[2].url}")',
    ("Query", "event"): "(position: 3)",
    ("Query", "changes"): "(from: 2, first: 2)",
    ("Query", "node"): '(id: "Article:1")',
    ("Query", "nodes"): '(ids: ["Claim:troops-withdrawing", "Statement:3.1", "Outlet:itv-news", "Event:2"])',
}


def everything(of: Any, depth: int, seen: set[str]) -> str:
    """A selection of every field of a type, and of what they lead to, so many levels below; notes them in `seen`."""
    parts = ["__typename"]
    for name, field in of.fields.items():
        named = get_named_type(field.type)
        arguments = _ARGUMENTS.get((of.name, name), "(first: 2)" if "first" in field.args else "")
        if is_leaf_type(named):
            parts.append(name)
        elif named.name == "Node":
            parts.append(f"{name}{arguments} {{ __typename id }}")
        elif depth > 0 or all(is_leaf_type(get_named_type(each.type)) for each in named.fields.values()):
            deeper = depth if named.name.endswith(("Connection", "Edge")) else depth - 1
            parts.append(f"{name}{arguments} {{ {everything(named, deeper, seen)} }}")
        else:
            continue
        seen.add(f"{of.name}.{name}")
    return " ".join(parts)


def test_every_field_can_be_had_by_every_way_to_it(seeded: Api):
    """Three levels of everything in one document, and nothing of it fails."""
    types = schema._schema.type_map  # pyright: ignore[reportPrivateUsage]
    seen: set[str] = set()
    seeded.ask(f"{{ {everything(types['Query'], 3, seen)} }}")
    # The one type that is deeper down.
    moves = f"moves(first: 2) {{ nodes {{ {everything(types['Move'], 1, seen)} }} }}"
    seeded.ask(f'{{ claim(slug: "troops-withdrawing") {{ history {{ nodes {{ {moves} }} }} }} }}')
    elsewhere = {"Mutation", "ArticleAccepted", "ArticleRepeated", "ArticleRefused", "Problem", "Subscription"}
    elsewhere |= {"CurationAccepted", "CurationRepeated", "CurationRefused", "ArticlePreview", "BeliefPreview"}
    assert seen == {
        f"{name}.{field}"
        for name, each in types.items()
        if isinstance(each, GraphQLObjectType) and not name.startswith("__") and name not in elsewhere
        for field in each.fields
    }


# --- whatever an id names ---------------------------------------------------------


def test_every_id_that_an_answer_gives_leads_back_to_its_thing(seeded: Api):
    found = seeded.ask("""{ claims(first: 2) { nodes { id statements(first: 2) { nodes { id
        article { id outlet { id } } speaker { id } } } } }
        speakers(first: 100) { nodes { id } } events { nodes { id } } articles { nodes { id } } }""")
    given: list[str] = []

    def gather(value: Any) -> None:
        if isinstance(value, dict):
            given.extend(each for name, each in value.items() if name == "id")
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            gather(each)

    gather(found)
    wanted = list(dict.fromkeys(given))
    kinds = {each.partition(":")[0] for each in wanted}
    assert kinds == {"Claim", "Statement", "Article", "Outlet", "Speaker", "Event"}
    nodes = seeded.ask("query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=wanted)["nodes"]
    assert nodes == [{"__typename": each.partition(":")[0], "id": each} for each in wanted]
    for each in wanted[:6]:
        assert seeded.ask("query ($id: ID!) { node(id: $id) { id } }", id=each)["node"] == {"id": each}


def test_nodes_come_in_the_order_asked_for_and_unknown_ones_are_null(seeded: Api):
    asked = [
        *("Event:6", "Claim:nothing", "Statement:1.99", "Statement:9.0", "Speaker:nobody", "Outlet:nobody"),
        *("Event:2", "Claim:troops-withdrawing", "Event:2", "Article:6"),
        # Not as any answer writes it, so it is not the thing's id.
        *("Event:02", "Statement:01.1", "Statement:1.01", "Statement:1", "Statement:1.1.1", "Statement:1.-1"),
        *("Event:+2", "Event:２", "Event:99999999999999999999", "Event:x", "Article:1.0", "Event:0"),
        # Of many digits, but no position.
        "Statement:999999999999999999.999",
    ]
    found = seeded.ask("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=asked)["nodes"]
    known = {"Event:2", "Claim:troops-withdrawing"}
    assert found == [{"id": each} if each in known else None for each in asked]


@pytest.mark.parametrize("id", ["", "x", ":", "Claim", "Claim:", ":x", "claim:troops-withdrawing", "Topic:troops", "5"])
def test_what_no_answer_gives_as_an_id_is_refused(seeded: Api, id: str):
    answer = seeded.answer("query ($id: ID!) { node(id: $id) { id } log { head } }", id=id)
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "BAD_ARGUMENT"}
    assert error["path"] == ["node"]
    # What else was asked is answered.
    assert answer["data"] == {"node": None, "log": {"head": 5}}


def test_nodes_are_at_most_a_hundred(seeded: Api):
    query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    assert len(seeded.ask(query, ids=["Event:1"] * 100)["nodes"]) == 100
    assert seeded.ask(query, ids=[])["nodes"] == []
    assert seeded.codes(query, ids=["Event:1"] * 101) == ["BAD_ARGUMENT"]


# --- articles that change ---------------------------------------------------------


def told(api: Api, claim: str = "gas-cut") -> tuple[str, str, int, int]:
    """The belief in a claim: state, reason, and how many assert and deny."""
    belief = api.ask(f'{{ claim(slug: "{claim}") {{ belief {{ state reason asserting denying }} }} }}')["claim"][
        "belief"
    ]
    return (belief["state"], belief["reason"], belief["asserting"], belief["denying"])


def test_a_retracted_article_counts_no_more_and_says_why(api: Api):
    api.record(article("a", nato=asserts("gas-cut")), retraction("a", "It was made up."))
    assert told(api) == ("UNVERIFIED", "RETRACTED", 0, 0)
    found = api.ask(
        """query ($url: String!) { article(url: $url) { live event { position }
        retraction { position recordedAt reason } }
        articles(live: false) { nodes { url } } live: articles(live: true) { nodes { url } }
        event(position: 2) { type recordedAt article { id retraction { reason } } payload }
        claim(slug: "gas-cut") { belief { because { nodes { id } } since { position from to } }
            speakers { nodes { sincePosition } } statements { nodes { id live standing } }
            live: statements(live: true) { nodes { id } } gone: statements(live: false) { nodes { id } } }
        speaker(slug: "nato") { name } }""",
        url=url("a"),
    )
    event = found["event"]
    assert found["article"] == {
        "live": False,
        "event": {"position": 1},
        "retraction": {"position": 2, "recordedAt": event["recordedAt"], "reason": "It was made up."},
    }
    assert event["type"] == "ArticleRetracted"
    assert event["article"] == {"id": "Article:1", "retraction": {"reason": "It was made up."}}
    assert event["payload"] == {"url": url("a"), "reason": "It was made up."}
    assert found["articles"] == {"nodes": [{"url": url("a")}]}
    assert found["live"] == {"nodes": []}
    claim = found["claim"]
    assert claim["belief"] == {
        "because": {"nodes": []},
        "since": {"position": 2, "from": "ASSERTED", "to": "UNVERIFIED"},
    }
    assert claim["speakers"] == {"nodes": []}
    assert claim["statements"] == {"nodes": [{"id": "Statement:1.0", "live": False, "standing": False}]}
    assert (ids(claim["live"]), ids(claim["gone"])) == ([], ["1.0"])
    # Who once spoke keeps the name that was last printed.
    assert found["speaker"] == {"name": "Nato"}


def test_a_revision_replaces_what_the_article_said_before(api: Api):
    api.record(article("a", nato=asserts("gas-cut"), kremlin=denies("gas-cut")))
    assert told(api) == ("UNVERIFIED", "CONFLICT", 1, 1)
    api.record(article("a", revision=2, revised="2022-02-16T10:00:00+02:00", change="outlet", nato=asserts("gas-cut")))
    assert told(api) == ("ASSERTED", "UNCONTRADICTED", 1, 0)
    found = api.ask(
        """query ($url: String!) { article(url: $url) { id revision revisedAt change position firstPosition
        live revisions { nodes { id revision live change claims { nodes { slug } }
            statements { nodes { id live } } } } }
        articles { nodes { id } } event(position: 1) { article { id } }
        claim(slug: "gas-cut") { statements { nodes { id live standing article { revision } } } } }""",
        url=url("a"),
    )
    assert found["article"] == {
        "id": "Article:2",
        "revision": 2,
        "revisedAt": "2022-02-16T08:00:00Z",
        "change": "OUTLET",
        "position": 2,
        "firstPosition": 1,
        "live": True,
        "revisions": {
            "nodes": [
                {
                    "id": "Article:1",
                    "revision": 1,
                    "live": False,
                    "change": None,
                    "claims": {"nodes": [{"slug": "gas-cut"}]},
                    "statements": {
                        "nodes": [{"id": "Statement:1.0", "live": False}, {"id": "Statement:1.1", "live": False}]
                    },
                },
                {
                    "id": "Article:2",
                    "revision": 2,
                    "live": True,
                    "change": "OUTLET",
                    "claims": {"nodes": [{"slug": "gas-cut"}]},
                    "statements": {"nodes": [{"id": "Statement:2.0", "live": True}]},
                },
            ]
        },
    }
    assert found["articles"] == {"nodes": [{"id": "Article:2"}]}
    assert found["event"] == {"article": {"id": "Article:1"}}
    assert found["claim"]["statements"]["nodes"] == [
        {"id": "Statement:2.0", "live": True, "standing": True, "article": {"revision": 2}},
        {"id": "Statement:1.1", "live": False, "standing": False, "article": {"revision": 1}},
        {"id": "Statement:1.0", "live": False, "standing": False, "article": {"revision": 1}},
    ]


def test_the_next_revision_brings_a_retracted_article_back(api: Api):
    api.record(article("a", nato=asserts("gas-cut")), retraction("a"))
    api.record(article("a", revision=2, change="reading", nato=denies("gas-cut")))
    assert told(api) == ("DENIED", "UNCONTRADICTED", 0, 1)
    found = api.ask(
        """query ($url: String!) { article(url: $url) { live retraction { reason }
        revisions { nodes { live retraction { position reason } } } }
        claim(slug: "gas-cut") { history { nodes { position from to reason } } } }""",
        url=url("a"),
    )
    assert found["article"] == {
        "live": True,
        "retraction": None,
        "revisions": {
            "nodes": [
                {"live": False, "retraction": {"position": 2, "reason": "It was made up."}},
                {"live": True, "retraction": None},
            ]
        },
    }
    assert [tuple(each.values()) for each in found["claim"]["history"]["nodes"]] == [
        (1, None, "ASSERTED", "UNCONTRADICTED"),
        (2, "ASSERTED", "UNVERIFIED", "RETRACTED"),
        (3, "UNVERIFIED", "DENIED", "UNCONTRADICTED"),
    ]


def test_a_late_article_with_an_older_word_is_retroactive_and_does_not_count(api: Api):
    api.record(
        article("new", published="2022-02-20", nato=denies("gas-cut")),
        article("old", published="2022-02-10", nato=asserts("gas-cut"), kremlin=asserts("gas-cut")),
    )
    found = api.ask("""{ claim(slug: "gas-cut") { history { nodes { position effectiveAt retroactive to } }
        statements(speaker: "nato") { nodes { id standing } } } }""")
    assert found["claim"]["history"]["nodes"] == [
        {"position": 1, "effectiveAt": "2022-02-20T23:59:59.999999Z", "retroactive": False, "to": "DENIED"},
        {"position": 2, "effectiveAt": "2022-02-10T23:59:59.999999Z", "retroactive": True, "to": "UNVERIFIED"},
    ]
    assert found["claim"]["statements"]["nodes"] == [
        {"id": "Statement:2.0", "standing": False},
        {"id": "Statement:1.0", "standing": True},
    ]


def described(name: str, *, published: str, role: str | None, said: str | None = None, **other: Any) -> Article:
    """An article in which the speaker nato is described so."""
    sent = document(name, published=published, nato=asserts(other.pop("claim", "gas-cut"), said=said), **other)
    sent = changed(sent, "claims[0].statements[0].speaker.name", f"Nato, by {name}")
    return documents.parse(changed(sent, "claims[0].statements[0].speaker.role", role))


def test_a_speaker_is_described_by_the_live_statement_with_the_greatest_key_not_the_last_to_arrive(api: Api):
    def shown() -> tuple[str, str | None]:
        (speaker,) = api.ask("{ speakers { nodes { slug name role organisation bloc } } }")["speakers"]["nodes"]
        assert api.ask('{ speaker(slug: "nato") { slug name role organisation bloc } }')["speaker"] == speaker
        return (speaker["name"], speaker["role"])

    api.record(described("a", published="2022-02-15", role="Alliance"))
    assert shown() == ("Nato, by a", "Alliance")
    # It comes late, on another claim, and tells of an older day.
    api.record(described("b", published="2022-02-10", role="Old alliance", claim="sanctions"))
    assert shown() == ("Nato, by a", "Alliance")
    # Printed later, but of a remark made earlier.
    api.record(described("c", published="2022-02-20", said="2022-02-01", role="Older", claim="war-soon"))
    assert shown() == ("Nato, by a", "Alliance")
    api.record(described("d", published="2022-02-16", role=None, claim="sanctions"))
    assert shown() == ("Nato, by d", None)
    api.record(retraction("d"))
    assert shown() == ("Nato, by a", "Alliance")
    # A revision keeps the place of its article.
    api.record(described("b", published="2022-02-10", role="Mended", claim="sanctions", revision=2))
    assert shown() == ("Nato, by a", "Alliance")


def test_an_outlet_is_named_as_its_last_published_article_names_it(api: Api):
    def named(name: str, published: str, called: str) -> Article:
        return documents.parse(
            changed(document(name, published=published, nato=asserts("gas-cut")), "outlet.name", called)
        )

    api.record(named("a", "2022-02-15", "The Planet"), named("b", "2022-02-10", "Planet"))
    assert api.ask('{ outlet(slug: "daily-planet") { name } }') == {"outlet": {"name": "The Planet"}}
    api.record(retraction("a"))
    assert api.ask("{ outlets { nodes { name } } }")["outlets"]["nodes"] == [{"name": "Planet"}]


def test_a_claim_keeps_its_first_words_and_lists_those_that_differ(api: Api):
    def worded(name: str, proposition: str, language: str | None, topic: str | None = None) -> Article:
        sent = changed(document(name, nato=asserts("gas-cut")), "claims[0].proposition", proposition)
        sent = changed(sent, "claims[0].topic", topic)
        return documents.parse(changed(sent, "language", language))

    api.record(
        worded("a", "Gas was cut.", None),
        worded("b", "Gas was cut.", "en"),
        worded("c", "Gas gekappt.", "de", "gas"),
        worded("d", "No more gas.", "en", "energy"),
    )
    found = api.ask("""{ claim(slug: "gas-cut") { proposition topic { slug }
        wordings { nodes { proposition language position article { id } } } } topics { nodes { slug } } }""")
    assert found["claim"] == {
        "proposition": "Gas was cut.",
        # The first that was given.
        "topic": {"slug": "gas"},
        "wordings": {
            "nodes": [
                {"proposition": "Gas was cut.", "language": None, "position": 1, "article": {"id": "Article:1"}},
                {"proposition": "Gas gekappt.", "language": "de", "position": 3, "article": {"id": "Article:3"}},
                {"proposition": "No more gas.", "language": "en", "position": 4, "article": {"id": "Article:4"}},
            ]
        },
    }


def test_a_text_is_served_while_it_is_held(api: Api):
    text = "Before it, they said so. “Ĝis”, 👩‍🚀 and after it."
    api.record(
        article("a", text=text, nato=asserts("gas-cut")),
        article("b", nato=asserts("gas-cut")),
        documents.parse({**document("c", nato=asserts("gas-cut")), "text_sha256": "0" * 64}),
    )
    query = "{ articles { nodes { text textSha256 quotesVerified statements { nodes { start quoteVerified } } } } }"
    c, b, a = api.ask(query)["articles"]["nodes"]
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert a == {
        "text": text,
        "textSha256": digest,
        "quotesVerified": True,
        "statements": {"nodes": [{"start": 11, "quoteVerified": True}]},
    }
    unverified = {
        "text": None,
        "quotesVerified": False,
        "statements": {"nodes": [{"start": None, "quoteVerified": False}]},
    }
    assert b == {**unverified, "textSha256": None}
    assert c == {**unverified, "textSha256": "0" * 64}
    with api.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM onrecord.article_text")
    assert api.ask(query)["articles"]["nodes"][2] == {**a, "text": None}


def test_who_read_an_article_is_told(api: Api):
    person = {"kind": "person", "id": "desk-7"}
    model = {"kind": "model", "id": "reader", "version": "2"}
    api.record(
        documents.parse({**document("a", itself=withholds("gas-cut")), "read_by": person}),
        documents.parse({**document("b", itself=withholds("gas-cut")), "read_by": model}),
    )
    found = api.ask("{ articles { nodes { readBy { kind id version } } } }")["articles"]["nodes"]
    assert [each["readBy"] for each in found] == [
        {"kind": "MODEL", "id": "reader", "version": "2"},
        {"kind": "PERSON", "id": "desk-7", "version": None},
    ]


def test_moments_are_given_at_the_precision_they_were_sent(api: Api):
    api.record(article("a", published="2022-02-15T19:30:00.500+01:00", nato=asserts("gas-cut", said="2022-02-14")))
    found = api.ask("{ articles { nodes { publishedAt statements { nodes { saidAt effectiveAt } } } } }")
    assert found["articles"]["nodes"] == [
        {
            "publishedAt": "2022-02-15T18:30:00.5Z",
            "statements": {"nodes": [{"saidAt": "2022-02-14", "effectiveAt": "2022-02-14T23:59:59.999999Z"}]},
        }
    ]

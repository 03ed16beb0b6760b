"""Events: what the log stores reads back as it was written, for ever."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import article as documents
from service.domain import events
from service.domain.article import DOCUMENT_BYTES_MAX
from service.domain.canonical import canonical_json
from service.domain.errors import EventUndecodable
from service.domain.events import (
    TYPES,
    ArticleRecorded,
    ArticleRetracted,
    ArticleRevised,
    ClaimRuled,
    ClaimsMerged,
    ClaimsRelated,
    Envelope,
    Event,
    MergeUndone,
    PolicyAdopted,
    Relation,
    RulingLifted,
    SpeakersMerged,
    TextErased,
)
from service.domain.policies import State
from tests.builders import article, asserts, changed, denies, document, retraction, short, withholds, without

GOLDEN = Path(__file__).parent / "golden" / "events"

#: What was stored in each golden file, in today's words.
STORED: dict[str, Event] = {
    "ArticleRecorded-1": events.of_article(
        documents.parse(
            {
                "url": "https://example.org/a",
                "outlet": {"id": "itv-news", "name": "ITV News"},
                "headline": "Forces “return” – 🇺🇦",
                "published_at": "2022-02-15T18:00:00Z",
                "language": "en-GB",
                "read_by": {"kind": "model", "id": "reader", "version": "7"},
                "text": "Forces “return”.\n“We have not seen any signs”, said Stoltenberg.",
                "claims": [
                    {
                        "claim": "troops-withdrawing",
                        "proposition": "Russia has begun withdrawing troops.",
                        "topic": "troops",
                        "statements": [
                            {
                                "speaker": {
                                    "id": "jens-stoltenberg",
                                    "name": "Jens Stoltenberg",
                                    "role": "Secretary General",
                                    "organisation": "NATO",
                                    "bloc": "nato",
                                },
                                "stance": "withholds",
                                "certainty": "certain",
                                "form": "direct",
                                "said_at": "2022-02-15",
                                "quote": "not seen any signs",
                            },
                            {"stance": "asserts", "form": "headline", "quote": "Forces “return”"},
                        ],
                    },
                    {
                        "claim": "invasion-imminent",
                        "statements": [
                            {
                                "speaker": {"id": "jens-stoltenberg", "name": "Jens Stoltenberg"},
                                "stance": "denies",
                                "certainty": "possible",
                                "form": "indirect",
                                "said_at": "2022-02-14T09:30:00.25Z",
                                "quote": "We",
                            }
                        ],
                    },
                ],
            }
        )
    ),
    "ArticleRevised-1": ArticleRevised(
        article=documents.parse(
            {
                "url": "urn:seed:002",
                "outlet": {"id": "unnamed", "name": "not named"},
                "published_at": "2022-02-16",
                "revision": 2,
                "revised_at": "2022-02-16T21:05:00Z",
                "change": "outlet",
                "read_by": {"kind": "person", "id": "desk-7"},
                "text_sha256": "ab" * 32,
                "claims": [],
            }
        )
    ),
    "ArticleRetracted-1": ArticleRetracted(url="https://example.org/a", reason="The outlet withdrew it: “an error”."),
    "TextErased-1": TextErased(text_sha256="ab" * 32, reason="The speaker asked for it: “a mistake”."),
    "ClaimsMerged-1": ClaimsMerged(
        claim="troops-staying",
        into="troops-withdrawing",
        opposite=True,
        reason="One negates the other – see the quotes.",
    ),
    "SpeakersMerged-1": SpeakersMerged(speaker="outlet:itv-news", into="itv", reason="It is the same body."),
    "MergeUndone-1": MergeUndone(position=7, reason="They are two: “begun” and “completed”."),
    "ClaimsRelated-1": ClaimsRelated(
        claim="troops-left-crimea", relation=Relation.REFINES, to="troops-withdrawing", reason="It names the place."
    ),
    "ClaimRuled-1": ClaimRuled(
        claim="troops-withdrawing", state=State.DENIED, reason="Pictures of 16 February show 7,000 more."
    ),
    "RulingLifted-1": RulingLifted(claim="troops-withdrawing", reason="The pictures were of another place."),
    "PolicyAdopted-1": PolicyAdopted(policy="corroborated:min_speakers=2", reason="Decided by the desk on 3 March 🇺🇦."),
}


def test_the_schema_version_written_today_of_each_type_has_a_golden_file():
    """Without one nothing shows that what is stored today can still be read tomorrow."""
    files = {path.stem for path in GOLDEN.iterdir()}
    assert {f"{type}-{version}" for type, (_, version) in TYPES.items()} <= files
    assert files == STORED.keys()


def test_every_version_up_to_todays_has_a_golden_file():
    for type, (_, version) in TYPES.items():
        assert {f"{type}-{older}" for older in range(1, version + 1)} <= STORED.keys()


@pytest.mark.parametrize("name", STORED)
def test_what_was_stored_means_what_it_meant(name: str):
    type, version = name.rsplit("-", 1)
    payload = (GOLDEN / f"{name}.json").read_bytes()
    assert events.decode(type, int(version), payload) == STORED[name]


@pytest.mark.parametrize("name", [f"{type}-{version}" for type, (_, version) in TYPES.items()])
def test_what_was_stored_is_written_today_in_the_same_bytes(name: str):
    assert events.encode(STORED[name]).decode() == (GOLDEN / f"{name}.json").read_bytes().decode()


def test_the_name_of_an_event_in_the_log_is_that_of_its_class():
    assert {type: model.__name__ for type, (model, _) in TYPES.items()} == {type: type for type in TYPES}
    assert [events.type_of(event) for event in STORED.values()] == [name.rsplit("-", 1)[0] for name in STORED]


# --- from an article to an event ------------------------------------------------------------------


def test_an_article_is_recorded_once_and_revised_after():
    assert isinstance(events.of_article(article(nato=asserts("a"))), ArticleRecorded)
    assert isinstance(events.of_article(article("a", revision=2, nato=asserts("a"))), ArticleRevised)


def test_an_event_says_whether_its_quotes_were_found_in_the_text_and_holds_no_text():
    with_text = events.of_article(article("a", text="Yes, they said so.", nato=asserts("a")))
    assert (with_text.quotes_verified, with_text.article.text) == (True, None)
    assert with_text.article.text_sha256 is not None
    assert with_text.article.claims[0].statements[0].start == 5
    assert b"Yes," not in events.encode(with_text)
    without_text = events.of_article(article("a", nato=asserts("a", start=5)))
    assert without_text.quotes_verified is None
    assert b"quotes_verified" not in events.encode(without_text)


def test_an_event_cannot_hold_a_text():
    with pytest.raises(ValueError, match="does not belong into the log"):
        ArticleRecorded(article=article("a", text="They say."))


def test_revision_1_is_recorded_and_no_other():
    with pytest.raises(ValueError, match="a recorded article is revision 1"):
        ArticleRecorded(article=article("a", revision=2))
    with pytest.raises(ValueError, match="a revised article is revision 2 or later"):
        ArticleRevised(article=article("a"))


def test_a_retraction_has_a_reason():
    for reason in ("", " ", "a\x00b"):
        with pytest.raises(ValueError, match="reason"):
            retraction("a", reason)


# --- bytes ----------------------------------------------------------------------------------------


def test_an_event_is_stored_without_nulls_and_with_its_defaults():
    payload = json.loads(events.encode(events.of_article(article("a", itself=withholds("troops")))))
    assert payload == {
        "article": {
            "url": "https://example.org/a",
            "outlet": {"id": "daily-planet", "name": "Daily Planet"},
            "published_at": "2022-02-15",
            "revision": 1,
            "claims": [
                {
                    "claim": "troops",
                    "proposition": "Troops.",
                    "statements": [{"stance": "withholds", "quote": "they said so"}],
                }
            ],
        }
    }


_words = st.text(min_size=1, max_size=20).filter(lambda word: not word.isspace() and "\x00" not in word)
_slugs = st.from_regex(r"[a-z0-9]{1,5}(-[a-z0-9]{1,3}){0,2}", fullmatch=True)
_moments = st.sampled_from(
    ["2022-02-15", "1000-01-01", "2022-02-15T18:00:00+05:30", "2022-02-15T18:00:00.000001Z", "2999-12-31"]
)


def _perhaps(given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | given


_documents = st.fixed_dictionaries(
    {
        "url": st.sampled_from(["https://example.org/a", "urn:x:1"]),
        "outlet": st.fixed_dictionaries({"id": _slugs, "name": _words}),
        "published_at": _moments,
        "claims": st.lists(
            st.fixed_dictionaries(
                {
                    "claim": _slugs,
                    "statements": st.lists(
                        st.fixed_dictionaries(
                            {
                                "stance": st.sampled_from(["asserts", "denies", "withholds"]),
                                "quote": _words,
                            },
                            optional={
                                "speaker": _perhaps(
                                    st.fixed_dictionaries(
                                        {"id": _slugs, "name": _words},
                                        optional={"role": _perhaps(_words), "bloc": _perhaps(_slugs)},
                                    )
                                ),
                                "certainty": _perhaps(st.sampled_from(["certain", "probable", "possible"])),
                                "form": _perhaps(st.sampled_from(["direct", "indirect", "headline"])),
                                "said_at": _perhaps(_moments),
                                "start": _perhaps(st.integers(0, 1_048_576)),
                            },
                        ),
                        min_size=1,
                        max_size=2,
                    ),
                },
                optional={"proposition": _perhaps(_words), "topic": _perhaps(_slugs)},
            ),
            max_size=3,
            unique_by=lambda claim: str(claim["claim"]),
        ),
    },
    optional={
        "headline": _perhaps(_words),
        "language": _perhaps(st.sampled_from(["en", "pt-BR"])),
        "revision": st.integers(1, 3),
        "read_by": _perhaps(st.just({"kind": "person", "id": "desk-7"})),
        "text_sha256": _perhaps(st.just("0" * 64)),
    },
)


@given(_documents)
def test_every_event_reads_back_as_it_was_written_byte_for_byte(sent: dict[str, Any]):
    event = events.of_article(documents.parse(sent))
    payload = events.encode(event)
    again = events.decode(events.type_of(event), 1, payload)
    assert again == event
    assert events.encode(again) == payload == canonical_json(json.loads(payload))
    assert b"null" not in payload or "null" in json.dumps(sent)


@given(_documents)
def test_an_article_from_the_log_is_the_document_that_was_sent(sent: dict[str, Any]):
    event = events.of_article(documents.parse(sent))
    stored = json.loads(events.encode(event))["article"]
    assert documents.parse(stored) == event.article
    assert documents.same_revision(documents.parse(stored), documents.parse(sent))


def test_what_makes_documents_differ_makes_their_bytes_differ():
    plain = document("a", nato=asserts("a"))
    others = [
        changed(plain, "published_at", "2022-02-15T23:59:59.999999Z"),
        changed(plain, "claims[0].statements[0].stance", "denies"),
        changed(plain, "headline", "H"),
        without(plain, "claims[0].proposition"),
    ]
    stored = {events.encode(events.of_article(documents.parse(each))) for each in [plain, *others]}
    assert len(stored) == 5


# --- what is refused ------------------------------------------------------------------------------

_PAYLOAD = events.encode(events.of_article(article("a", nato=asserts("a"), russia=denies("b"))))


def _refused(type: str, version: int, payload: bytes) -> str:
    with pytest.raises(EventUndecodable) as caught:
        events.decode(type, version, payload)
    error = caught.value
    assert (error.code, error.type, error.version) == ("EVENT_UNDECODABLE", type, version)
    assert str(error).startswith(f"the event {type} of schema version {version} cannot be read: ")
    return str(error)


@pytest.mark.parametrize("type", ["ArticleRenamed", "", "articlerecorded", "Event", "_Event"])
def test_an_unknown_type_is_refused(type: str):
    assert _refused(type, 1, _PAYLOAD).endswith("its type is not known here; upgrade onrecord")


@pytest.mark.parametrize("type", TYPES)
def test_a_version_of_a_newer_program_is_refused(type: str):
    told = _refused(type, TYPES[type][1] + 1, (GOLDEN / f"{type}-1.json").read_bytes())
    assert told.endswith("its schema version is newer than this program; upgrade onrecord")


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_never_was_is_refused(version: int):
    _refused("ArticleRecorded", version, _PAYLOAD)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"a"',
        b"{}",
        _PAYLOAD[:-1],
        _PAYLOAD + b"}",
        _PAYLOAD.replace(b"asserts", b"assertz"),
        _PAYLOAD.replace(b"asserts", b"\xff\xfe\xfd"),
        _PAYLOAD.replace(b'"quote"', b'"qoute"'),
        _PAYLOAD.replace(b'"revision":1', b'"revision":2'),
        _PAYLOAD.replace(b'"revision":1', b'"revision":true'),
        _PAYLOAD.replace(b'"revision":1', b'"revision":"1"'),
        _PAYLOAD.replace(b'"revision":1', b'"revision":1,"text":"They."'),
        _PAYLOAD.replace(b"2022-02-15", b"2022-02-30"),
        _PAYLOAD.replace(b'{"article"', b'{"more":1,"article"'),
        b"[" * 100_000,
        b"{" + b'"article":{' * 100_000,
    ],
    ids=short,
)
def test_a_damaged_payload_is_refused_never_guessed_at(payload: bytes):
    assert "its payload is damaged: " in _refused("ArticleRecorded", 1, payload)


def test_a_payload_of_another_type_is_refused():
    _refused("ArticleRevised", 1, _PAYLOAD)
    _refused("ArticleRetracted", 1, _PAYLOAD)


# --- the envelope ---------------------------------------------------------------------------------

_ID = UUID("0190a3c4-5d6e-7f80-9102-030405060708")
_AT = datetime(2022, 2, 15, 18, 0, 0, 42, tzinfo=UTC)


def _leaf(**other: Any) -> bytes:
    fields: dict[str, Any] = {
        "event_id": _ID,
        "type": "ArticleRecorded",
        "schema_version": 1,
        "recorded_at": _AT,
        "actor": "cli:ana",
        "payload_sha256": events.sha256(_PAYLOAD),
    }
    return events.leaf(**fields | other)


def test_an_envelope_gives_its_event():
    envelope = Envelope(7, _ID, "ArticleRecorded", 1, _AT, "cli:ana", _PAYLOAD)
    assert envelope.event() == events.decode("ArticleRecorded", 1, _PAYLOAD)


def test_a_leaf_is_the_envelope_in_canonical_json_with_its_payload_by_hash():
    assert _leaf(payload_sha256=bytes(range(32))) == (
        b'{"actor":"cli:ana","event_id":"0190a3c4-5d6e-7f80-9102-030405060708",'
        b'"payload_sha256":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",'
        b'"recorded_at":"2022-02-15T18:00:00.000042Z","schema_version":1,"type":"ArticleRecorded"}'
    )


def test_everything_in_a_leaf_counts():
    others = {
        "event_id": UUID(int=1),
        "type": "ArticleRevised",
        "schema_version": 2,
        "recorded_at": _AT + timedelta(microseconds=1),
        "actor": "cli:bob",
        "payload_sha256": bytes(32),
    }
    assert len({_leaf(), *(_leaf(**{name: value}) for name, value in others.items())}) == 1 + len(others)


def test_a_leaf_stays_under_1_kb_whatever_the_article():
    statements = [asserts(f"claim-{i}", quote="q" * 1_000) for i in range(1_000)]
    payload = events.encode(events.of_article(article("a", nato=statements)))
    assert 1_000_000 < len(payload) < DOCUMENT_BYTES_MAX
    assert (
        len(_leaf(type=max(TYPES, key=len), actor="token:" + "x" * 128, payload_sha256=events.sha256(payload))) < 1_024
    )


@pytest.mark.parametrize("hours", [0, 1, -8, 14])
def test_a_recording_time_is_written_in_utc_whatever_zone_the_database_answers_in(hours: int):
    assert events.recorded_text(_AT.astimezone(timezone(timedelta(hours=hours)))) == "2022-02-15T18:00:00.000042Z"


def test_a_recording_time_has_all_six_decimals():
    assert events.recorded_text(datetime(2022, 2, 15, tzinfo=UTC)) == "2022-02-15T00:00:00.000000Z"

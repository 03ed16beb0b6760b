"""The article document: what is refused and how, what is filled in, when two are the same."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import article as documents
from service.domain.article import (
    DOCUMENT_BYTES_MAX,
    STATEMENTS_MAX,
    TEXT_BYTES_MAX,
    Article,
    Stance,
    same_content,
    same_revision,
    warnings,
)
from service.domain.errors import DocumentInvalid, Problem
from tests.builders import article, asserts, changed, denies, document, raw, short, withholds, without

#: One statement; the path of most faults below.
PLAIN = document("a", nato=asserts("troops-withdrawing"))
STATEMENT = "claims[0].statements[0]"
FULL: dict[str, Any] = {
    "url": "https://example.org/a?page=1&x=%C3%A9",
    "outlet": {"id": "itv-news", "name": "ITV News"},
    "headline": "Forces “return”",
    "published_at": "2022-02-15T18:00:00Z",
    "language": "en-GB",
    "revision": 2,
    "revised_at": "2022-02-16",
    "change": "reading",
    "read_by": {"kind": "model", "id": "reader", "version": "7"},
    "text": "“We have not seen any signs”, said Stoltenberg.",
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
                    "start": 9,
                }
            ],
        }
    ],
}


def problems(sent: object) -> dict[str, str]:
    """What is wrong with a document, by path; nothing if it is good. No path comes twice."""
    refused: DocumentInvalid
    try:
        if isinstance(sent, bytes):
            documents.read(sent)
        else:
            documents.parse(sent)
    except DocumentInvalid as error:
        refused = error
    else:
        return {}
    told = {problem.path: problem.message for problem in refused.problems}
    assert told
    assert len(told) == len(refused.problems)
    str(refused).encode()  # can be printed, whatever was sent
    return told


# --- what is not a document at all ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"", "is not JSON at line 1, column 1"),
        (b"{", "is not JSON at line 1, column 2"),
        (b'{"url": }', "is not JSON at line 1, column 9"),
        (b"{} {}", "is not JSON at line 1, column 4"),
        (b"{'url': 1}", "is not JSON at line 1, column 2"),
        ('{"headline": "Zoë"}'.encode("latin-1"), "is not UTF-8 at byte 16; save it as UTF-8"),
        (raw(PLAIN).decode().encode("utf-16"), "is not UTF-8 at byte 0; save it as UTF-8"),
        (b"[]", "must be an object, not a list"),
        (b"null", "must be an object, not null"),
        (b'"article"', "must be an object, not a string"),
        (b"17", "must be an object, not a number"),
        (b"true", "must be an object, not true or false"),
        (b'{"revision": NaN}', "is not usable JSON: NaN is not a JSON number"),
        (b'{"revision": -Infinity}', "is not usable JSON: -Infinity is not a JSON number"),
        (b'{"revision": ' + b"9" * 5000 + b"}", "is not usable JSON"),
    ],
    ids=short,
)
def test_what_is_no_json_object_is_refused_whole(sent: bytes, told: str):
    found = problems(sent)
    assert list(found) == [""]
    assert found[""].startswith(told)


def test_a_key_that_stands_twice_is_refused_since_one_of_the_two_would_be_lost():
    sent = b'{"outlet": {"id": "itv", "name": "ITV", "id": "bbc"}}'
    assert problems(sent) == {"": 'is not usable JSON: the key "id" stands twice in one object; keep one'}


@pytest.mark.parametrize("depth", [2, 100, 985, 1_000, 1_024, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
def test_nesting_however_deep_is_refused_and_harms_nothing(depth: int, opening: str, closing: str):
    nested = opening * depth + "1" + closing * depth
    sent = raw(changed(PLAIN, f"{STATEMENT}.stance", "HERE")).replace(b'"HERE"', nested.encode())
    assert list(problems(sent)) in ([f"{STATEMENT}.stance"], [""])


def test_a_document_over_4_mib_is_refused_unread():
    sent = raw(changed(PLAIN, "headline", "x" * 5_000_000))
    assert problems(sent) == {"": f"is {len(sent):,} bytes; a document may have at most 4,194,304 (4 MiB)"}


def test_a_document_of_4_mib_is_read():
    sent = raw(PLAIN)
    assert problems(sent + b" " * (DOCUMENT_BYTES_MAX - len(sent))) == {}
    assert problems(sent + b" " * (DOCUMENT_BYTES_MAX - len(sent) + 1)) != {}


def test_a_byte_order_mark_is_no_fault():
    assert documents.read(b"\xef\xbb\xbf" + raw(PLAIN)) == documents.parse(PLAIN)


# --- what is wrong with a field ------------------------------------------------------------------

_STRING = ("url", "outlet.id", "outlet.name", "published_at", "claims[0].claim", f"{STATEMENT}.quote")
_STRING_OR_NOTHING = (
    "headline",
    "language",
    "revised_at",
    "text",
    "text_sha256",
    "read_by.id",
    "claims[0].proposition",
    "claims[0].topic",
    f"{STATEMENT}.said_at",
    f"{STATEMENT}.speaker.id",
    f"{STATEMENT}.speaker.name",
    f"{STATEMENT}.speaker.role",
    f"{STATEMENT}.speaker.organisation",
    f"{STATEMENT}.speaker.bloc",
)
_OBJECT = ("outlet", "read_by", f"{STATEMENT}.speaker", "claims[0]", STATEMENT)
_LIST = ("claims", "claims[0].statements")
_ENUM = {
    "change": "'outlet' or 'reading'",
    "read_by.kind": "'person' or 'model'",
    f"{STATEMENT}.stance": "'asserts', 'denies' or 'withholds'",
    f"{STATEMENT}.certainty": "'certain', 'probable' or 'possible'",
    f"{STATEMENT}.form": "'direct', 'indirect' or 'headline'",
}
_REQUIRED = ("outlet", "claims", "claims[0].statements", f"{STATEMENT}.stance", *_STRING, "read_by.kind", "read_by.id")
_OF_SPEAKER = tuple(f"{STATEMENT}.speaker.{name}" for name in ("id", "name"))
_KINDS = [
    (17, "a number"),
    (True, "true or false"),
    ([], "a list"),
    ({}, "an object"),
    ("x", "a string"),
    (None, "null"),
]
_OPTIONAL = (
    "headline",
    "language",
    "read_by",
    "text",
    "text_sha256",
    "claims[0].proposition",
    "claims[0].topic",
    *(f"{STATEMENT}.{name}" for name in ("speaker", "certainty", "form", "said_at", "start")),
    *(f"{STATEMENT}.speaker.{name}" for name in ("role", "organisation", "bloc")),
)


@pytest.mark.parametrize("path", [*_STRING, *_STRING_OR_NOTHING])
@pytest.mark.parametrize(("value", "kind"), _KINDS[:4])
def test_what_must_be_a_string_must_be_a_string(path: str, value: object, kind: str):
    assert problems(changed(FULL, path, value)) == {path: f"must be a string, not {kind}"}


@pytest.mark.parametrize("path", _OBJECT)
@pytest.mark.parametrize(("value", "kind"), [_KINDS[0], _KINDS[1], _KINDS[2], _KINDS[4]])
def test_what_must_be_an_object_must_be_an_object(path: str, value: object, kind: str):
    assert problems(changed(FULL, path, value)) == {path: f"must be an object, not {kind}"}


@pytest.mark.parametrize("path", _LIST)
@pytest.mark.parametrize(("value", "kind"), [_KINDS[0], _KINDS[1], _KINDS[3], _KINDS[4], _KINDS[5]])
def test_what_must_be_a_list_must_be_a_list(path: str, value: object, kind: str):
    assert problems(changed(FULL, path, value)) == {path: f"must be a list, not {kind}"}


@pytest.mark.parametrize(("path", "choice"), _ENUM.items())
@pytest.mark.parametrize(
    "value", ["ASSERTS", "", 17, 1.5, True, [], {}, "ASSERTS\x00", "x" * 10_000, "\ud800"], ids=short
)
def test_a_word_of_a_closed_list_is_one_of_them(path: str, choice: str, value: object):
    told = problems(changed(FULL, path, value))
    assert list(told) == [path]
    if value != "\ud800":
        assert told[path].endswith(f"; it must be one of {choice}")
    assert len(told[path]) < 200


@pytest.mark.parametrize("path", _REQUIRED)
def test_a_required_field_is_asked_for(path: str):
    assert problems(without(FULL, path)) == {path: "is required; add it"}


@pytest.mark.parametrize("path", _OF_SPEAKER)
def test_a_speaker_has_an_id_and_a_name(path: str):
    assert problems(without(FULL, path)) == {path: "is required; add it"}


@pytest.mark.parametrize("path", _OPTIONAL)
def test_null_and_absent_are_alike(path: str):
    said_null = changed(FULL, path, None)
    said_nothing = without(said_null, path)
    assert documents.parse(said_null) == documents.parse(said_nothing)
    assert same_revision(documents.parse(said_null), documents.parse(said_nothing))


def test_a_revision_that_is_null_is_the_first_one():
    assert documents.parse(changed(PLAIN, "revision", None)) == documents.parse(without(PLAIN, "revision"))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("headlin", "did you mean headline?"),
        ("publishedAt", "did you mean published_at?"),
        ("outlet.nmae", "did you mean name?"),
        ("read_by.versoin", "did you mean version?"),
        ("claims[0].propositon", "did you mean proposition?"),
        (f"{STATEMENT}.stanc", "did you mean stance?"),
        (f"{STATEMENT}.speaker.organization", "did you mean organisation?"),
        ("claims[0].zzz", "the fields here are claim, proposition, topic, statements"),
        ("outlet.zzz", "the fields here are id, name"),
    ],
)
def test_an_unknown_field_is_refused_and_the_likely_one_named(path: str, told: str):
    assert problems(changed(FULL, path, 1)) == {path: f"is not a field of the article document; {told}"}


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("", '""'),
        ("a b", '"a b"'),
        ("a.b", '"a.b"'),
        ("n\x00l", '"n\\u0000l"'),
        ("x\n\x1b[31m", '"x\\n\\u001b[31m"'),
        ("\u202egpj", '"\\u202egpj"'),
        ("ключ", '"ключ"'),
    ],
)
def test_an_unknown_field_is_named_so_that_it_can_be_printed(key: str, path: str):
    assert list(problems({**PLAIN, key: 1})) == [path]


def test_an_unknown_field_with_a_name_of_a_megabyte_is_named_shortly():
    assert [len(path) for path in problems({**PLAIN, "k" * 1_000_000: 1})] == [60]


@pytest.mark.parametrize(
    "path",
    [*_STRING, *(path for path in _STRING_OR_NOTHING if path != "text"), "read_by.version"],
)
@pytest.mark.parametrize("char", ["\x00", "\ud800"])
def test_nul_and_half_a_surrogate_pair_are_refused_in_every_string(path: str, char: str):
    assert list(problems(raw(changed(without(FULL, "text"), path, f"a{char}b")))) == [path]


@pytest.mark.parametrize(
    ("char", "told"),
    [
        ("\x00", "holds a NUL character; remove it"),
        ("\ud800", "holds half of a surrogate pair, which is no character; remove it"),
    ],
)
def test_nul_and_half_a_surrogate_pair_are_refused_in_the_text(char: str, told: str):
    assert problems(raw(changed(FULL, "text", FULL["text"] + char))) == {"text": told}


def test_half_a_surrogate_pair_is_refused_in_a_key():
    told = problems(raw({**PLAIN, "x\ud800": 1}))
    assert len(told) == 1
    assert "half of a surrogate pair" in next(iter(told.values()))


@pytest.mark.parametrize(
    "path",
    [
        "outlet.name",
        "headline",
        "read_by.id",
        "read_by.version",
        "claims[0].proposition",
        f"{STATEMENT}.quote",
        f"{STATEMENT}.speaker.name",
        f"{STATEMENT}.speaker.role",
        f"{STATEMENT}.speaker.organisation",
    ],
)
@pytest.mark.parametrize("value", ["", " ", "\n\t\u2003"])
def test_words_may_be_left_out_but_not_blank(path: str, value: str):
    assert problems(changed(FULL, path, value)) == {path: "must not be empty"}


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("outlet.name", 1_000),
        ("headline", 10_000),
        ("read_by.id", 1_000),
        ("read_by.version", 1_000),
        ("claims[0].proposition", 10_000),
        (f"{STATEMENT}.quote", 1_000),
        (f"{STATEMENT}.speaker.name", 1_000),
        (f"{STATEMENT}.speaker.role", 1_000),
        (f"{STATEMENT}.speaker.organisation", 1_000),
    ],
)
def test_words_have_a_greatest_length_counted_in_characters(path: str, most: int):
    plain = without(FULL, "text")
    assert problems(changed(plain, path, "𝛑" * most)) == {}
    assert problems(changed(plain, path, "𝛑" * (most + 1))) == {
        path: f"is {most + 1:,} characters long; at most {most:,} are kept"
    }


_SLUGS = ("outlet.id", "claims[0].claim", "claims[0].topic", f"{STATEMENT}.speaker.id", f"{STATEMENT}.speaker.bloc")


@pytest.mark.parametrize("path", _SLUGS)
@pytest.mark.parametrize(
    ("value", "suggested"),
    [
        ("troops withdrawing", "troops-withdrawing"),
        ("Troops-Withdrawing", "troops-withdrawing"),
        ("troops--withdrawing", "troops-withdrawing"),
        ("-troops", "troops"),
        ("troops-", "troops"),
        ("troops\n", "troops"),
        ("troops_withdrawing", "troops-withdrawing"),
        ("outlet:itv", "outlet-itv"),
        ("", "troops-withdrawing"),
        ("ß", "troops-withdrawing"),
        ("٣", "troops-withdrawing"),
    ],
)
def test_an_id_is_a_slug_and_one_that_is_not_comes_back_with_one_that_is(path: str, value: str, suggested: str):
    told = problems(changed(FULL, path, value))
    assert list(told) == [path]
    assert told[path].endswith(f", which is no slug; write lower-case words joined by hyphens: {suggested}")
    assert problems(changed(FULL, path, suggested)) == {}


@pytest.mark.parametrize("path", _SLUGS)
def test_a_slug_has_at_most_128_characters(path: str):
    assert problems(changed(FULL, path, "a" * 128)) == {}
    assert problems(changed(FULL, path, "a" * 129)) == {path: "is 129 characters long; at most 128 are kept"}


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a",
        "http://example.org",
        "https://[2001:db8::1]:8443/a",
        "urn:seed:003_78960176f7a9f587",
        "https://example.org/%D0%B0?q=a+b",
        "https://example.org/" + "a" * 2028,
    ],
    ids=short,
)
def test_a_url_is_an_absolute_uri(url: str):
    assert documents.parse(changed(PLAIN, "url", url)).url == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.org/a#part", "has a fragment; send it without the part from # on"),
        ("example.org/a", "is not an absolute URL"),
        ("/a", "is not an absolute URL"),
        ("", "is not an absolute URL"),
        ("https:", "is not an absolute URL"),
        ("https://", "is not an absolute URL"),
        ("https:/example.org", "is not an absolute URL"),
        ("HTTPS:///a", "is not an absolute URL"),
        ("https://example.org/a b", "is not an absolute URL"),
        ("https://example.org/a\n", "is not an absolute URL"),
        ("https://example.org/ä", "is not an absolute URL"),
        ("https://example.org/%zz", "is not an absolute URL"),
        ("https://example.org/" + "a" * 2029, "is 2,049 characters long; at most 2,048 are kept"),
    ],
    ids=short,
)
def test_what_is_no_url_is_refused(url: str, told: str):
    found = problems(changed(PLAIN, "url", url))
    assert list(found) == ["url"]
    assert found["url"].startswith(told)


@pytest.mark.parametrize("language", ["e", "en_GB", "english, mostly", "en-", "", "e1"])
def test_a_language_is_a_bcp_47_tag(language: str):
    assert problems(changed(PLAIN, "language", language))["language"].endswith(
        "which is no BCP 47 language tag; write en, de or pt-BR"
    )


@pytest.mark.parametrize("digest", ["", "abc", "A" * 64, "0" * 63, "0" * 65, "g" * 64], ids=short)
def test_a_hash_is_64_lower_case_hexadecimal_digits(digest: str):
    assert problems(changed(PLAIN, "text_sha256", digest)) == {
        "text_sha256": "is not a SHA-256; send 64 lower-case hexadecimal digits"
    }


@pytest.mark.parametrize("path", ["published_at", "revised_at", f"{STATEMENT}.said_at"])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("2022-02-15T18:00:00", "is an instant without offset"),
        ("2022-02-30", "does not exist in the calendar"),
        ("0999-12-31", "has a year outside 1000 to 2999"),
        ("yesterday", "is not a moment; write a date"),
    ],
)
def test_a_moment_is_refused_with_what_to_send_instead(path: str, value: str, told: str):
    found = problems(changed(FULL, path, value))
    assert list(found) == [path]
    assert found[path].startswith(told)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("revision", True, "must be a whole number, not true or false"),
        ("revision", "2", "must be a whole number, not a string"),
        ("revision", 0, "is 0; it must be at least 1"),
        ("revision", -1, "is -1; it must be at least 1"),
        ("revision", 1_000_001, "is 1000001; it must be at most 1,000,000"),
        (f"{STATEMENT}.start", False, "must be a whole number, not true or false"),
        (f"{STATEMENT}.start", -1, "is -1; it must be at least 0"),
        (f"{STATEMENT}.start", 1_048_577, "is 1048577; it must be at most 1,048,576"),
    ],
)
def test_a_number_is_whole_and_within_bounds(path: str, value: object, told: str):
    assert problems(changed(FULL, path, value)) == {path: told}


@pytest.mark.parametrize("path", ["revision", f"{STATEMENT}.start"])
@pytest.mark.parametrize("digits", [b"1.0", b"1e2", b"-0.0", b"1e999", b"9" * 4_000, b"-" + b"9" * 400], ids=short)
def test_no_number_is_too_large_or_too_odd_to_be_refused_in_one_short_line(path: str, digits: bytes):
    told = problems(raw(changed(FULL, path, "HERE")).replace(b'"HERE"', digits))
    assert list(told) == [path]
    assert len(told[path]) < 200


def test_an_article_may_hold_no_claim():
    assert documents.parse(changed(PLAIN, "claims", [])).claims == ()


def test_a_claim_holds_at_least_one_statement():
    assert problems(changed(FULL, "claims[0].statements", [])) == {
        "claims[0].statements": "must hold at least one statement; leave the claim out if there is none"
    }


def test_a_claim_whose_only_statement_is_at_fault_is_not_also_said_to_have_none():
    assert list(problems(changed(PLAIN, f"{STATEMENT}.stance", "perhaps"))) == [f"{STATEMENT}.stance"]


def test_a_claim_occurs_once_in_a_document():
    sent = document(nato=[asserts("a"), asserts("b")])
    sent["claims"].append(sent["claims"][0])
    assert problems(sent) == {"claims[2].claim": "names a again; put its statements under claims[0]"}


def test_an_article_has_at_most_1000_statements():
    many = document(nato=[asserts(f"claim-{i % 7}") for i in range(STATEMENTS_MAX)])
    assert len(list(documents.parse(many).statements())) == 1_000
    many["claims"][3]["statements"].append(many["claims"][3]["statements"][0])
    assert problems(many) == {"claims": "hold 1,001 statements; an article may have at most 1,000"}


@pytest.mark.parametrize(("field", "value"), [("revised_at", "2022-02-16"), ("change", "outlet")])
def test_the_first_revision_revises_nothing(field: str, value: str):
    told = {field: "is for revision 2 and later; leave it out of revision 1"}
    assert problems({**PLAIN, field: value}) == told
    assert problems({**without(PLAIN, "revision"), field: value}) == told
    assert problems({**PLAIN, field: value, "revision": 2}) == {}


def test_a_model_says_its_version_and_a_person_has_none():
    assert problems({**PLAIN, "read_by": {"kind": "model", "id": "m"}}) == {
        "read_by.version": "is required of a model; say which version read the article"
    }
    assert problems({**PLAIN, "read_by": {"kind": "person", "id": "desk-7", "version": "7"}}) == {
        "read_by.version": "is for models; leave it out for a person"
    }
    assert problems({**PLAIN, "read_by": {"kind": "person", "id": "desk-7"}}) == {}


# --- every problem at once -----------------------------------------------------------------------


def test_all_faults_of_fields_are_told_at_once():
    sent = changed(FULL, "url", "nowhere")
    sent = changed(sent, "published_at", "2022-02-30")
    sent = changed(sent, "outlet", {"id": "ITV News"})
    sent = changed(sent, f"{STATEMENT}.quote", "")
    sent = changed(sent, f"{STATEMENT}.tone", "ironic")
    assert list(problems(sent)) == [
        "url",
        "outlet.id",
        "outlet.name",
        "published_at",
        f"{STATEMENT}.quote",
        f"{STATEMENT}.tone",
    ]


def test_all_faults_between_fields_are_told_at_once():
    sent = document(
        text="They said so, and they said so again.",
        nato=[asserts("a", quote="they said so"), asserts("b", quote="said so"), asserts("c", quote="never")],
    )
    sent["claims"].append(sent["claims"][0])
    sent |= {"change": "outlet", "text_sha256": "0" * 64, "read_by": {"kind": "model", "id": "m"}}
    assert list(problems(sent)) == [
        "change",
        "read_by.version",
        "claims[3].claim",
        "text_sha256",
        "claims[1].statements[0].quote",
        "claims[2].statements[0].quote",
    ]


def test_an_error_shows_five_problems_and_counts_the_rest():
    error = DocumentInvalid([Problem(f"claims[{i}]", "is wrong") for i in range(7)])
    assert str(error) == "; ".join(f"claims[{i}]: is wrong" for i in range(5)) + "; and 2 more"
    assert len(error.problems) == 7
    assert error.code == "DOCUMENT_INVALID"
    assert str(DocumentInvalid([Problem("", "is empty")])) == "is empty"


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.sampled_from(["asserts", "2022-02-15", "troops", "\ud800", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_places = st.sampled_from([*_REQUIRED, *_OPTIONAL, *_OBJECT, *_LIST, "revision", "change", "revised_at"])


@given(st.lists(st.tuples(_places, _json), min_size=1, max_size=4))
def test_whatever_stands_in_a_field_the_document_is_taken_or_refused(faults: list[tuple[str, Any]]):
    sent: dict[str, Any] = FULL
    for path, value in faults:
        try:
            sent = changed(sent, path, value)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier fault took the place away
    assert isinstance(problems(raw(sent)), dict)


# --- quotes --------------------------------------------------------------------------------------


def _quoting(text: str, quote: str, start: int | None = None) -> dict[str, Any]:
    return document(text=text, nato=asserts("a", quote=quote, start=start))


def _start(sent: dict[str, Any]) -> int | None:
    return documents.parse(sent).claims[0].statements[0].start


def test_a_quote_that_stands_in_the_text_once_is_placed():
    assert _start(_quoting("NATO has not seen it.", "not seen")) == 9


def test_the_offset_of_a_quote_counts_code_points():
    assert _start(_quoting("🇺🇦 “𝛑” e\u0301: not seen", "not seen")) == 11


def test_a_quote_must_stand_in_the_text_to_the_last_character():
    missing = {
        f"{STATEMENT}.quote": "does not stand in the text; quote it verbatim, to the last character",
    }
    assert problems(_quoting("We have not seen it.", "not seen It")) == missing
    assert problems(_quoting("We haven’t seen it.", "haven't seen")) == missing
    assert problems(_quoting("caf\u00e9", "cafe\u0301")) == missing
    assert problems(_quoting("not\u00a0seen", "not seen")) == missing
    assert problems(_quoting("not\r\nseen", "not\nseen")) == missing
    assert problems(_quoting("", "not seen")) == missing
    assert problems(_quoting("a b", "not seen", 0)) == missing


def test_a_quote_elsewhere_than_its_offset_says_is_refused_never_moved():
    text = "not seen, and not seen"
    assert _start(_quoting(text, "not seen", 0)) == 0
    assert _start(_quoting(text, "not seen", 14)) == 14
    for start in (1, 13, 15, len(text), 1_000):
        assert problems(_quoting(text, "not seen", start)) == {
            f"{STATEMENT}.start": "is not where the quote stands in the text; it first stands at 0"
        }


@pytest.mark.parametrize(
    ("text", "quote", "places"), [("so they said so", "so", (0, 13)), ("aaa", "aa", (0, 1)), ("abababa", "aba", (0, 2))]
)
def test_a_quote_that_stands_in_the_text_twice_needs_its_offset_even_where_the_two_overlap(
    text: str, quote: str, places: tuple[int, int]
):
    told = f"stands in the text more than once (at {places[0]} and {places[1]}); say which with start"
    assert problems(_quoting(text, quote)) == {f"{STATEMENT}.quote": told}
    assert _start(_quoting(text, quote, places[1])) == places[1]


def test_without_the_text_offsets_are_taken_as_they_are_sent():
    assert article(nato=asserts("a", start=7)).claims[0].statements[0].start == 7
    assert article(nato=asserts("a")).claims[0].statements[0].start is None


def test_the_hash_is_of_the_text_in_utf_8():
    sent = _quoting("“Nothing.”", "Nothing")
    digest = hashlib.sha256("“Nothing.”".encode()).hexdigest()
    assert documents.parse(sent).text_sha256 == digest
    assert documents.parse({**sent, "text_sha256": digest}).text_sha256 == digest
    assert problems({**sent, "text_sha256": "0" * 64}) == {
        "text_sha256": f"is not the hash of the text, which is {digest}"
    }


def test_a_text_has_at_most_1_mib_in_utf_8():
    most = "é" * (TEXT_BYTES_MAX // 2 - 1) + "!?"
    assert _start(_quoting(most, "!?")) == TEXT_BYTES_MAX // 2 - 1
    assert problems(_quoting(most + ".", "!?")) == {
        "text": "is 1,048,577 bytes; a text may have at most 1,048,576 (1 MiB)"
    }


# --- what is filled in and what is not -------------------------------------------------------------


def test_a_document_reads_as_it_was_written():
    read = documents.read(raw(FULL))
    digest = hashlib.sha256(FULL["text"].encode()).hexdigest()
    assert read.model_dump(mode="json") == {**FULL, "text_sha256": digest}


def test_a_short_document_is_filled_with_nothing_but_its_revision():
    short = {
        "url": "urn:x:1",
        "outlet": {"id": "itv", "name": "ITV"},
        "published_at": "2022-02-15",
        "claims": [{"claim": "a", "statements": [{"stance": "denies", "quote": "no"}]}],
    }
    assert documents.parse(short).model_dump(exclude_none=True) == {
        **short,
        "revision": 1,
        "claims": ({"claim": "a", "statements": ({"stance": Stance.DENIES, "quote": "no"},)},),
    }


def test_instants_are_kept_in_utc_and_dates_as_they_are():
    read = article(published="2022-02-15T20:00:00.50+02:00", nato=asserts("a", said="2022-02-15"))
    assert read.published_at == "2022-02-15T18:00:00.5Z"
    assert read.claims[0].statements[0].said_at == "2022-02-15"


def test_nothing_else_is_normalised():
    words = "  cafe\u0301 \u00a0\r\n"
    sent = changed(changed(PLAIN, "headline", words), "url", "HTTPS://Example.ORG:443/%7e/../a/")
    read = documents.read(raw(sent))
    assert (read.headline, read.url) == (words, "HTTPS://Example.ORG:443/%7e/../a/")


def test_ordinals_count_through_the_whole_document():
    read = article(nato=[asserts("a"), asserts("b")], russia=denies("a"), itself=withholds("b"))
    assert [(ordinal, claim.claim, read.speaker_of(said)) for ordinal, claim, said in read.statements()] == [
        (0, "a", "nato"),
        (1, "a", "russia"),
        (2, "b", "nato"),
        (3, "b", "outlet:daily-planet"),
    ]


def test_a_text_is_not_shown_where_its_article_is():
    assert "secret words" not in repr(article(text="secret words"))


def test_a_document_cannot_be_changed_once_read():
    read = article(nato=asserts("a"))
    with pytest.raises(ValueError, match="frozen"):
        setattr(read, "headline", "Other")  # noqa: B010 - a type checker would refuse the plain way


# --- the same or changed? --------------------------------------------------------------------------


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether two documents are the same revision, and the same content, whichever comes first."""
    a, b = documents.parse(one), documents.parse(other)
    answer = same_revision(a, b), same_content(a, b)
    assert answer == (same_revision(b, a), same_content(b, a))
    return answer


SAME, SAME_CONTENT, OTHER = (True, True), (False, True), (False, False)


def test_a_document_sent_twice_is_the_same():
    assert _same(FULL, FULL) == SAME


def test_the_order_of_keys_and_the_spelling_of_an_instant_do_not_count():
    other = changed(dict(reversed(FULL.items())), "published_at", "2022-02-15T19:00:00.000+01:00")
    assert _same(FULL, other) == SAME


def test_a_date_is_not_the_instant_at_which_it_ends():
    assert _same(PLAIN, changed(PLAIN, "published_at", "2022-02-15T23:59:59.999999Z")) == OTHER


def test_a_retry_may_come_without_the_text_and_all_that_was_found_with_it():
    assert _same(FULL, without(FULL, "text")) == SAME
    assert _same(FULL, without(without(FULL, "text"), f"{STATEMENT}.start")) == SAME
    assert _same(FULL, changed(without(FULL, "text"), "text_sha256", "0" * 64)) == OTHER


def test_another_text_is_another_content():
    assert _same(FULL, changed(FULL, "text", FULL["text"] + " The end.")) == OTHER


def test_offsets_count_where_both_have_one():
    one = document("a", nato=[asserts("a", start=3), asserts("b")])
    assert _same(one, document("a", nato=[asserts("a"), asserts("b", start=4)])) == SAME
    assert _same(one, document("a", nato=[asserts("a", start=5), asserts("b")])) == OTHER


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("url", "https://example.org/b"),
        ("outlet.name", "ITV"),
        ("headline", "Forces return"),
        ("headline", None),
        ("published_at", "2022-02-15T18:00:01Z"),
        ("language", "en"),
        ("read_by", None),
        ("read_by.version", "8"),
        ("claims", []),
        ("claims[0].proposition", "Russia withdraws."),
        ("claims[0].topic", None),
        (f"{STATEMENT}.stance", "denies"),
        (f"{STATEMENT}.speaker", None),
        (f"{STATEMENT}.speaker.role", None),
        (f"{STATEMENT}.certainty", "possible"),
        (f"{STATEMENT}.form", "indirect"),
        (f"{STATEMENT}.said_at", None),
        (f"{STATEMENT}.quote", "not seen any sign"),
    ],
)
def test_everything_else_counts(path: str, value: object):
    bare = without(FULL, "text")
    assert _same(bare, changed(bare, path, value)) == OTHER


def test_one_statement_more_or_in_another_order_is_another_content():
    one = document("a", nato=asserts("a"), russia=denies("a"))
    assert _same(one, document("a", russia=denies("a"), nato=asserts("a"))) == OTHER
    assert _same(one, document("a", nato=[asserts("a"), asserts("a")], russia=denies("a"))) == OTHER


@pytest.mark.parametrize(("path", "value"), [("revision", 3), ("revised_at", "2022-02-17"), ("change", None)])
def test_what_a_revision_calls_itself_is_no_content(path: str, value: object):
    assert _same(FULL, changed(FULL, path, value)) == SAME_CONTENT


def test_the_text_is_left_out_where_the_log_keeps_the_document():
    read = documents.parse(FULL)
    assert read.without_text().text is None
    assert read.without_text() == documents.parse(FULL).model_copy(update={"text": None})
    assert same_revision(read, read.without_text())
    assert read.text is not None


# --- when was it said? -----------------------------------------------------------------------------


def _effective_at(sent: Article) -> datetime:
    (_, _, statement), *_ = sent.statements()
    return sent.effective_at(statement)


def _end_of(day: int) -> datetime:
    return datetime(2022, 2, day, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("published", "said", "expected"),
    [
        ("2022-02-15", None, _end_of(15)),
        ("2022-02-15", "2022-02-14", _end_of(14)),
        ("2022-02-15", "2022-02-15", _end_of(15)),
        ("2022-02-15", "2022-02-15T09:00:00Z", datetime(2022, 2, 15, 9, tzinfo=UTC)),
        ("2022-02-15", "2022-02-15T23:30:00-02:00", _end_of(15)),
        ("2022-02-15", "2022-02-16", _end_of(15)),
        ("2022-02-15T18:00:00Z", None, datetime(2022, 2, 15, 18, tzinfo=UTC)),
        ("2022-02-15T18:00:00Z", "2022-02-15", datetime(2022, 2, 15, 18, tzinfo=UTC)),
        ("2022-02-15T18:00:00Z", "2022-02-15T18:00:00.000001Z", datetime(2022, 2, 15, 18, tzinfo=UTC)),
        ("2022-02-15T18:00:00Z", "2022-02-15T17:59:59.999999Z", datetime(2022, 2, 15, 17, 59, 59, 999_999, UTC)),
    ],
)
def test_a_statement_was_said_by_the_end_of_its_day_and_never_after_its_article(
    published: str, said: str | None, expected: datetime
):
    assert _effective_at(article(published=published, nato=asserts("a", said=said))) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, _end_of(15)),  # what was already in the first revision is no news of the second
        ("2022-02-15", _end_of(15)),
        ("2022-02-16", _end_of(16)),
        ("2022-02-18", _end_of(17)),
    ],
)
def test_a_revision_can_report_what_was_said_until_it_was_revised(said: str | None, expected: datetime):
    sent = article("a", revision=2, revised="2022-02-17", change="outlet", nato=asserts("a", said=said))
    assert _effective_at(sent) == expected


def test_a_revision_of_unknown_date_reports_until_the_article_was_published():
    sent = article("a", revision=2, change="outlet", nato=asserts("a", said="2022-02-16"))
    assert _effective_at(sent) == _end_of(15)


def test_a_remark_after_its_article_is_kept_as_sent_and_warned_of():
    sent = article(
        nato=[asserts("a", said="2022-02-16"), asserts("b", said="2022-02-15")],
        russia=[denies("b", said="2022-02-15T23:59:59.999999Z"), denies("c", said="2022-02-16T00:00:00Z")],
    )
    assert sent.claims[0].statements[0].said_at == "2022-02-16"
    assert [str(problem) for problem in warnings(sent)] == [
        "claims[0].statements[0].said_at: is after the article's own date; 2022-02-15 counts",
        "claims[2].statements[0].said_at: is after the article's own date; 2022-02-15 counts",
    ]


def test_a_document_whose_dates_fit_is_warned_of_nothing():
    assert warnings(documents.parse(FULL)) == []
    assert warnings(article(nato=[asserts("a", said="1999-12-31"), asserts("b")])) == []


# --- what a refusal may cost -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        {**PLAIN, "claims": [1] * 20_000},
        {**PLAIN, "claims": [{}] * 20_000},
        changed(PLAIN, "claims[0].statements", [{}] * 20_000),
        {**PLAIN, "claims": [{"claim": "a", "statements": [{}] * 100}] * 200},
        {**PLAIN, **{f"field{i}": 1 for i in range(20_000)}},
    ],
    ids=["numbers", "empty claims", "empty statements", "statements of many claims", "unknown fields"],
)
def test_a_document_with_ever_so_many_faults_is_refused_with_a_few(sent: dict[str, Any]):
    """Each fault that is told costs time and memory, and anyone may send 4 MiB of them."""
    assert 1 <= len(problems(sent)) <= 2_000

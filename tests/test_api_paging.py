"""Lists: whole, in order, and as they were when the reading began, whatever is recorded meanwhile."""

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest

from service.domain import article as documents
from service.domain.article import Article
from service.domain.events import ArticleRetracted
from tests.api import Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import Said, document, retraction, url


class Newsroom:
    """Goes on recording: few claims and speakers, so that there is much to page through in every list."""

    CLAIMS = ("gas-cut", "sanctions", "troops-withdrawing", "war-soon", "talks", "dam-broken", "grain-shipped")

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._revisions = {"0": 0}
        self._live: set[str] = set()

    def goes_on(self, length: int) -> list[Article | ArticleRetracted]:
        return [self._retracts() if self._live and self._dice.random() < 0.1 else self._prints() for _ in range(length)]

    def _retracts(self) -> ArticleRetracted:
        name = self._dice.choice(sorted(self._live))
        self._live.remove(name)
        return retraction(name)

    def _prints(self) -> Article:
        dice = self._dice
        # The first article is the one revised most.
        name = dice.choice(["0", *self._revisions]) if dice.random() < 0.3 else str(len(self._revisions))
        self._revisions[name] = self._revisions.get(name, 0) + 1
        self._live.add(name)
        speakers: dict[str, Any] = {}
        for claim in dict.fromkeys(["gas-cut"] * (name == "0") + dice.sample(self.CLAIMS, 3)):
            speaker = dice.choice(["nato", "nato", *(f"speaker_{i}" for i in range(30))])
            speakers.setdefault(speaker, []).append(Said(dice.choice(["asserts", "denies", "withholds"]), claim))
        sent = document(
            name,
            by=dice.choice(["daily-planet", "daily-planet", *(f"outlet-{i}" for i in range(9))]),
            published=str(date(2022, 2, 1) + timedelta(days=dice.randrange(20))),
            revision=self._revisions[name],
            **speakers,
        )
        sent["outlet"]["name"] += f" {len(self._revisions)}"
        for claim in sent["claims"]:
            claim["statements"][0]["speaker"]["name"] += f" {len(self._revisions)}"
            claim["topic"] = dice.choice(["gas", "war", *(f"topic-{i}" for i in range(9))])
            claim["proposition"] += "!" * dice.randrange(9)
        return documents.parse(sent)


@pytest.fixture
def busy(api: Api) -> Api:
    """The service with sixty events, and something in every list."""
    api.record(*Newsroom(1).goes_on(60))
    return api


@dataclass(frozen=True)
class Place:
    """A list of the API: the document around it, in which `PAGE` stands for the arguments of a page."""

    document: str
    item: str = "id"  #: what is asked of each item.

    def query(self, arguments: str, item: str = "__typename") -> str:
        connection = f"{{ edges {{ cursor node {{ {item} }} }} nodes {{ {item} }} pageInfo {{ {INFO} }} }}"
        return self.document.replace("PAGE", arguments).replace("LIST", connection)

    def page(self, api: Api, arguments: str, *, full: bool = False) -> dict[str, Any]:
        """One page of it: its cursors, where it stands, and, if `full`, all that is asked of its items."""
        found = api.ask(self.query(arguments, self.item) if full else self.query(arguments))
        while "pageInfo" not in found:
            (found,) = found.values()
        assert [edge["node"] for edge in found["edges"]] == found["nodes"]
        cursors = [edge["cursor"] for edge in found["edges"]]
        info = found["pageInfo"]
        ends = (cursors[0], cursors[-1]) if cursors else (None, None)
        assert (info["startCursor"], info["endCursor"]) == ends
        return {"items": found["nodes"], "cursors": cursors, **info}

    def codes(self, api: Api, arguments: str) -> list[str]:
        return api.codes(self.query(arguments))


INFO = "hasNextPage hasPreviousPage startCursor endCursor"
CLAIM = """slug proposition topic { slug } belief { state reason asserting denying withholding since { cursor } }
    majority: belief(policy: "majority") { state } strict: belief(policy: "unanimous:min_speakers=3") { state reason }
    statements(first: 2) { nodes { id live standing } } speakers(first: 3) { nodes { sincePosition speaker { name } } }
    wordings(last: 1) { nodes { proposition } } history(last: 1) { nodes { cursor } }"""
ARTICLE = "id live revision retraction { reason } revisions { nodes { id live } } outlet { name }"

#: Every list that there is, some with arguments of their own, each with what its items should keep saying.
LISTS = {
    "claims": Place("{ claims(PAGE) LIST }", CLAIM),
    "claims by slug": Place("{ claims(orderBy: SLUG, PAGE) LIST }", CLAIM),
    "claims of a state": Place('{ claims(where: {state: ASSERTED, policy: "majority"}, PAGE) LIST }', CLAIM),
    "claims that hold a word": Place('{ claims(where: {text: "said"}, PAGE) LIST }', CLAIM),
    "topics": Place("{ topics(PAGE) LIST }", "slug claims { totalCount nodes { slug } }"),
    "outlets": Place("{ outlets(PAGE) LIST }", "slug name articles(first: 2) { nodes { id } }"),
    "speakers": Place("{ speakers(PAGE) LIST }", "slug name statements(first: 2) { nodes { id standing } }"),
    "articles": Place("{ articles(PAGE) LIST }", ARTICLE),
    "articles of an outlet": Place('{ articles(outlet: "daily-planet", live: true, PAGE) LIST }', ARTICLE),
    "events": Place("{ events(PAGE) LIST }", "id article { id live }"),
    "events of a type": Place("{ events(types: [ArticleRevised], fromPosition: 2, PAGE) LIST }"),
    "wordings": Place('{ claim(slug: "gas-cut") { wordings(PAGE) LIST } }', "position proposition"),
    "history": Place('{ claim(slug: "gas-cut") { history(PAGE) LIST } }', "cursor from to reason"),
    "history under a policy not projected": Place(
        '{ claim(slug: "gas-cut") { history(policy: "unanimous:min_speakers=2", PAGE) LIST } }', "cursor from to reason"
    ),
    "statements": Place('{ claim(slug: "gas-cut") { statements(PAGE) LIST } }', "id live standing"),
    "standing statements": Place('{ claim(slug: "gas-cut") { statements(standing: true, PAGE) LIST } }'),
    "superseded statements": Place('{ claim(slug: "gas-cut") { statements(standing: false, PAGE) LIST } }'),
    "speakers of a claim": Place(
        '{ claim(slug: "gas-cut") { speakers(PAGE) LIST } }', "statement { id } speaker { id }"
    ),
    "because": Place('{ claim(slug: "gas-cut") { belief { because(PAGE) LIST } } }', "id live standing"),
    "claims of an article": Place(f'{{ article(url: "{url("0")}") {{ claims(PAGE) LIST }} }}', CLAIM),
    "statements of an article": Place(f'{{ article(url: "{url("0")}") {{ statements(PAGE) LIST }} }}', "id live"),
    "revisions": Place(f'{{ article(url: "{url("0")}") {{ revisions(PAGE) LIST }} }}', "id live"),
    "articles of one outlet": Place('{ outlet(slug: "daily-planet") { articles(PAGE) LIST } }', ARTICLE),
    "statements of a speaker": Place('{ speaker(slug: "nato") { statements(PAGE) LIST } }', "id live standing"),
    "claims of a topic": Place('{ claim(slug: "gas-cut") { topic { claims(PAGE) LIST } } }', CLAIM),
}
GAS = 'claim(slug: "gas-cut")'
#: What hangs on an article's newest revision, and moves to the next when there is one.
_OF_A_REVISION = {"claims of an article", "statements of an article"}


def test_pages_together_are_the_list_forwards_and_backwards(busy: Api):
    for name, place in LISTS.items():
        whole = place.page(busy, "first: 100")
        cursors = whole["cursors"]
        assert 2 <= len(cursors) < 100, name
        assert not whole["hasNextPage"]
        assert not whole["hasPreviousPage"]
        assert len(set(cursors)) == len(cursors)
        size = 2 if len(cursors) < 9 else 7
        forwards: list[str] = []
        for page in _pages(place, busy, f"first: {size}, after: "):
            assert page["hasPreviousPage"] == bool(forwards)
            assert len(page["cursors"]) == size or not page["hasNextPage"]
            forwards += page["cursors"]
        assert forwards == cursors, name
        backwards: list[str] = []
        for page in _pages(place, busy, f"last: {size}, before: ", backwards=True):
            assert page["hasNextPage"] == bool(backwards)
            assert len(page["cursors"]) == size or not page["hasPreviousPage"]
            backwards = page["cursors"] + backwards
        assert backwards == cursors, name


def _pages(place: Place, api: Api, arguments: str, *, backwards: bool = False) -> Iterator[dict[str, Any]]:
    cursor = "null"
    for _ in range(100):
        page = place.page(api, arguments + cursor)
        yield page
        if not page["hasPreviousPage" if backwards else "hasNextPage"]:
            return
        cursor = f'"{page["startCursor" if backwards else "endCursor"]}"'
    raise AssertionError("it never ends")


def test_pages_keep_to_the_moment_of_the_first_whatever_is_recorded_meanwhile(busy: Api):
    """Nothing comes twice and nothing is missing, and what is said of each item is as of then."""
    newsroom = Newsroom(1)
    assert len(newsroom.goes_on(60)) == busy.head()
    whole = {name: place.page(busy, "first: 100", full=True)["items"] for name, place in LISTS.items()}
    forwards = {name: place.page(busy, "first: 1", full=True) for name, place in LISTS.items()}
    backwards = {name: place.page(busy, "last: 1", full=True) for name, place in LISTS.items()}
    from_start = {name: page["items"] for name, page in forwards.items()}
    from_end = {name: page["items"] for name, page in backwards.items()}
    for _ in range(4):
        busy.record(*newsroom.goes_on(6))
        for name in LISTS.keys() - _OF_A_REVISION:
            place, size = LISTS[name], len(whole[name]) // 4 + 1
            if forwards[name]["hasNextPage"]:
                after = f'first: {size}, after: "{forwards[name]["endCursor"]}"'
                forwards[name] = place.page(busy, after, full=True)
                from_start[name] = from_start[name] + forwards[name]["items"]
            if backwards[name]["hasPreviousPage"]:
                before = f'last: {size}, before: "{backwards[name]["startCursor"]}"'
                backwards[name] = place.page(busy, before, full=True)
                from_end[name] = backwards[name]["items"] + from_end[name]
    for name in LISTS.keys() - _OF_A_REVISION:
        assert from_start[name] == whole[name], name
        assert from_end[name] == whole[name], name
        assert not forwards[name]["hasNextPage"]
        assert not backwards[name]["hasPreviousPage"]
    # By now nearly all of it reads otherwise.
    same = [name for name, place in LISTS.items() if place.page(busy, "first: 100", full=True)["items"] == whole[name]]
    assert len(same) < 5


def test_a_page_may_begin_after_one_cursor_and_end_before_another(busy: Api):
    for name, place in LISTS.items():
        cursors = place.page(busy, "first: 100")["cursors"]
        after, before = f'after: "{cursors[0]}"', f'before: "{cursors[-1]}"'
        for arguments, expected in {
            f"{after}, {before}": cursors[1:-1][:25],
            f"first: 1, {after}, {before}": cursors[1:-1][:1],
            f"last: 1, {after}, {before}": cursors[1:-1][-1:],
            f"last: 100, {after}": cursors[1:],
            f"first: 100, {before}": cursors[:-1],
            # Alone, it means the page just before it.
            before: cursors[:-1][-25:],
            after: cursors[1:][:25],
            f'{after}, before: "{cursors[0]}"': [],
            f'after: "{cursors[-1]}"': [],
            f'before: "{cursors[0]}"': [],
        }.items():
            assert place.page(busy, arguments)["cursors"] == expected, (name, arguments)


def test_a_page_of_nothing_is_empty_and_says_whether_there_is_more(busy: Api):
    for name, place in LISTS.items():
        assert place.page(busy, "first: 0") == {
            "items": [],
            "cursors": [],
            "hasNextPage": True,
            "hasPreviousPage": False,
            "startCursor": None,
            "endCursor": None,
        }, name
        from_end = place.page(busy, "last: 0")
        assert (from_end["items"], from_end["hasPreviousPage"]) == ([], True), name


def test_a_page_holds_25_by_default(busy: Api):
    speakers = LISTS["speakers"]
    whole = speakers.page(busy, "first: 100")["cursors"]
    assert len(whole) > 25
    assert speakers.page(busy, "first: null")["cursors"] == whole[:25]
    assert len(busy.ask("{ speakers { nodes { id } } }")["speakers"]["nodes"]) == 25


@pytest.mark.parametrize(
    "arguments",
    ["first: 1000", "first: 101", "last: 101", "first: -1", "last: -1", "first: 1, last: 1", "first: 0, last: 0"],
)
def test_no_client_can_have_more_than_a_hundred_or_pages_that_cannot_be(busy: Api, arguments: str):
    for name, place in LISTS.items():
        assert place.codes(busy, arguments) == ["BAD_PAGE"], name


# --- cursors ----------------------------------------------------------------------


def _tried(api: Api, cursors: list[str]) -> list[str | None]:
    """For each cursor of the first history the code it is refused with; None: it is taken."""
    fields = [
        f'c{i}: claim(slug: "gas-cut") {{ history(first: 1, after: $c{i}) {{ nodes {{ cursor }} }} }}'
        for i in range(len(cursors))
    ]
    declared = ", ".join(f"$c{i}: String" for i in range(len(cursors)))
    variables: dict[str, Any] = {f"c{i}": cursor for i, cursor in enumerate(cursors)}
    answer = api.answer(f"query ({declared}) {{ {' '.join(fields)} }}", **variables)
    refused = {error["path"][0]: error["extensions"]["code"] for error in answer.get("errors", [])}
    return [refused.get(f"c{i}") for i in range(len(cursors))]


def test_a_cursor_with_a_single_bit_flipped_is_refused(busy: Api):
    cursor = LISTS["history"].page(busy, "first: 1")["endCursor"]
    flipped = [
        cursor[:i] + chr(ord(char) ^ 1 << bit) + cursor[i + 1 :] for i, char in enumerate(cursor) for bit in range(7)
    ]
    assert len(flipped) > 300
    assert set(_tried(busy, flipped)) == {"BAD_CURSOR"}


def test_a_cursor_is_taken_only_as_it_was_given(busy: Api):
    cursor = LISTS["history"].page(busy, "first: 1")["endCursor"]
    # The last letter has bits to spare, so another may stand for the same bytes.
    others = [cursor[:-1] + char for char in string.ascii_letters + string.digits + "-_" if char != cursor[-1]]
    others += ["", "=", "A", cursor[:-1], cursor[1:], cursor + "A", cursor + "=", cursor + "==", f" {cursor}"]
    others += [cursor * 2, cursor.upper(), cursor + "\n", "🜚", "a" * 10_000, "1", "null", "é" + cursor]
    assert _tried(busy, [cursor]) == [None]
    assert set(_tried(busy, others)) == {"BAD_CURSOR"}


def test_a_cursor_of_one_list_is_refused_by_the_others(busy: Api):
    names = list(LISTS)
    cursors = {name: place.page(busy, "first: 1")["endCursor"] for name, place in LISTS.items()}
    for i, (name, place) in enumerate(LISTS.items()):
        assert place.codes(busy, f'after: "{cursors[name]}"') == []
        for argument, other in zip(("after", "before", "after"), (names * 2)[i + 1 : i + 4], strict=True):
            assert place.codes(busy, f'{argument}: "{cursors[other]}"') == ["BAD_CURSOR"], (name, other)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        # Another filter, another order, another policy, another parent.
        ("claims(PAGE) C", "claims(orderBy: SLUG, PAGE) C"),
        ("claims(PAGE) C", "claims(where: {contested: true}, PAGE) C"),
        ("claims(where: {contested: true}, PAGE) C", "claims(where: {contested: false}, PAGE) C"),
        ("claims(where: {changedAfter: 1}, PAGE) C", "claims(where: {changedAfter: 2}, PAGE) C"),
        ('claims(where: {outlet: "daily-planet"}, PAGE) C', 'claims(where: {topic: "daily-planet"}, PAGE) C'),
        ("events(PAGE) C", "events(fromPosition: 2, PAGE) C"),
        ("articles(PAGE) C", "articles(live: true, PAGE) C"),
        (f"{GAS} {{ statements(PAGE) C }}", f"{GAS} {{ statements(stance: DENIES, PAGE) C }}"),
        (f"{GAS} {{ history(PAGE) C }}", f'{GAS} {{ history(policy: "majority", PAGE) C }}'),
        (f"{GAS} {{ statements(PAGE) C }}", 'claim(slug: "war-soon") { statements(PAGE) C }'),
        ('speaker(slug: "nato") { statements(PAGE) C }', f"{GAS} {{ statements(PAGE) C }}"),
    ],
)
def test_a_cursor_goes_with_the_arguments_it_was_given_for(busy: Api, given: str, used: str):
    def asked(field: str, arguments: str) -> str:
        return "{ " + field.replace(" C", " { pageInfo { endCursor } }").replace("PAGE", arguments) + " }"

    found = busy.ask(asked(given, "first: 1"))
    while "pageInfo" not in found:
        (found,) = found.values()
    after = f'after: "{found["pageInfo"]["endCursor"]}"'
    assert busy.codes(asked(given, after)) == []
    assert busy.codes(asked(used, after)) == ["BAD_CURSOR"]


def test_arguments_left_out_and_null_are_the_same_list(busy: Api):
    query = """query ($s: Stance, $a: String) { claim(slug: "gas-cut") { statements(stance: $s, first: 1, after: $a) {
        nodes { id } } } }"""
    cursor = LISTS["statements"].page(busy, "first: 1")["endCursor"]
    assert busy.ask(query, a=cursor) == busy.ask(query, a=cursor, s=None)


def test_a_cursor_of_a_position_that_is_not_reached_is_refused(busy: Api):
    """It comes from another service, which has projected more."""
    cursor = LISTS["events"].page(busy, "first: 1")["endCursor"]
    with busy.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE onrecord.generation SET position = position - 1")
    ((code, message),) = busy.errors(LISTS["events"].query(f'first: 1, after: "{cursor}"'))
    assert code == "BAD_CURSOR"
    assert "position 60" in message


def test_two_cursors_of_different_moments_make_no_page(busy: Api):
    events = LISTS["events"]
    before = events.page(busy, "first: 9")["endCursor"]
    busy.record(retraction(_live(busy)))
    after = events.page(busy, "first: 1")["endCursor"]
    ((code, message),) = busy.errors(events.query(f'after: "{after}", before: "{before}"'))
    assert code == "BAD_CURSOR"
    assert "another moment" in message


def _live(api: Api) -> str:
    (found,) = api.ask("{ articles(live: true, first: 1) { nodes { url } } }")["articles"]["nodes"]
    return found["url"].removeprefix(url(""))


def test_a_list_within_a_pinned_page_is_pinned_with_it(busy: Api):
    """Its cursors carry the moment of the outer page, and go on in it from anywhere."""
    inner = "slug statements(first: 1) { nodes { id } pageInfo { endCursor } }"
    query = f"""query ($a: String) {{ claims(first: 1, after: $a, orderBy: SLUG) {{
        nodes {{ {inner} }} pageInfo {{ endCursor }} }} }}"""
    then = '{ claim(slug: "gas-cut") { statements(first: 100) { nodes { id } } } }'
    expected = busy.ask(then)["claim"]["statements"]["nodes"]
    first = busy.ask(query)["claims"]
    assert first["nodes"][0]["slug"] < "gas-cut"
    newsroom = Newsroom(1)
    newsroom.goes_on(60)
    busy.record(*newsroom.goes_on(20))
    (claim,) = busy.ask(query, a=first["pageInfo"]["endCursor"])["claims"]["nodes"]
    assert claim["slug"] == "gas-cut"
    rest = busy.ask(
        'query ($a: String) { claim(slug: "gas-cut") { statements(first: 100, after: $a) { nodes { id } } } }',
        a=claim["statements"]["pageInfo"]["endCursor"],
    )["claim"]["statements"]["nodes"]
    assert claim["statements"]["nodes"] + rest == expected
    assert busy.ask(then)["claim"]["statements"]["nodes"] != expected


def test_the_count_of_a_pinned_list_is_of_that_moment(api: Api):
    newsroom = Newsroom(3)
    api.record(*newsroom.goes_on(3))
    query = """query ($a: String) { claims(first: 1, after: $a) { totalCount byState { asserted denied unverified }
        nodes { slug } pageInfo { endCursor } } }"""
    first = api.ask(query)["claims"]
    api.record(*newsroom.goes_on(40))
    later = api.ask(query, a=first["pageInfo"]["endCursor"])["claims"]
    assert (later["totalCount"], later["byState"]) == (first["totalCount"], first["byState"])
    assert api.ask(query)["claims"]["totalCount"] > first["totalCount"]

"""The explorer's screens as far as it takes no browser: what each asks of the API, and what it works out itself."""

from typing import Any

import pytest

from tests.api import SEEDS, Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.web import WEB, run

#: A screen's module, and the path and query that it is shown at.
PLACES = [
    ("claims.js", "/?text=troops&state=denied"),
    ("claim.js", "/claim/troops-withdrawing?policy=majority"),
    ("speaker.js", "/speaker/vladimir-putin?at=3"),
    ("article.js", f"/article?url={SEEDS[0].url}&said=2022-02-15"),
    ("compare.js", "/compare"),
    ("compare.js", "/compare?from=2&to=4&policy=latest"),
    ("compare.js", "/compare?by=policies&one=any_denial&other=unanimous%3Amin_speakers%3D2"),
    ("log.js", "/log?type=ArticleRecorded&at=4"),
    ("event.js", "/log/2"),
    ("event.js", "/log/nothing"),
]


@pytest.mark.parametrize(("module", "path"), PLACES)
def test_a_screen_asks_what_the_api_answers(seeded: Api, module: str, path: str) -> None:
    script = """
        globalThis.location = new URL(given.path, "http://onrecord");
        const { here } = await import(given.place);
        return { query: module.query, variables: module.variables(here()) };
    """
    asked = run(module, script, {"path": path, "place": (WEB / "place.js").as_uri()})
    assert seeded.ask(asked["query"], **asked["variables"])["policies"]


# --- the article's text -----------------------------------------------------------------


def pieces(text: str, *quotes: str | tuple[int, str]) -> list[tuple[str, list[int], list[int]]]:
    """The text in pieces: each with the numbers of the quotes that cover it, and of those that end with it."""
    placed = [(text.index(each), each) if isinstance(each, str) else each for each in quotes]
    statements = [{"number": at, "start": start, "quote": quote} for at, (start, quote) in enumerate(placed)]
    found = run(
        "article.js", "return module.pieces(given.text, given.statements);", {"text": text, "statements": statements}
    )
    return [
        (each["text"], [one["number"] for one in each["of"]], [one["number"] for one in each["ending"]])
        for each in found
    ]


def test_quotes_are_marked_where_they_stand() -> None:
    assert pieces("He said no.", "no") == [("He said ", [], []), ("no", [0], [0]), (".", [], [])]
    assert pieces("no", "no") == [("no", [0], [0])]
    assert pieces("Nothing.") == [("Nothing.", [], [])]
    assert pieces("") == []


def test_offsets_count_code_points() -> None:
    assert pieces("👩‍🚀🙂 so “𝒳”, he said", "𝒳") == [("👩‍🚀🙂 so “", [], []), ("𝒳", [0], [0]), ("”, he said", [], [])]


def test_quotes_may_overlap_touch_and_repeat() -> None:
    assert pieces("abcdef", "abcd", "cdef", "cd", "cd") == [
        ("ab", [0], []),
        ("cd", [0, 1, 2, 3], [0, 2, 3]),
        ("ef", [1], [1]),
    ]
    assert pieces("abcd", "ab", "cd") == [("ab", [0], [0]), ("cd", [1], [1])]


def test_a_quote_that_stands_elsewhere_is_not_marked() -> None:
    assert pieces("He said no.", (0, "no"), (9, "no"), (99, "no")) == [("He said no.", [], [])]


# --- its revisions ----------------------------------------------------------------------


def statement(speaker: str, stance: str = "ASSERTS", quote: str = "so", **other: Any) -> dict[str, Any]:
    given = {"certainty": None, "form": None, "name": speaker, "role": None, "saidAt": None}
    return {
        "claim": {"slug": "gas-cut"},
        "speaker": {"slug": speaker},
        "stance": stance,
        "quote": quote,
        **given,
        **other,
    }


def compared(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    return run("article.js", "return module.compared(given.before, given.after);", {"before": before, "after": after})


def test_a_revision_adds_drops_changes_and_keeps_statements() -> None:
    ann, bob, eve = statement("ann"), statement("bob"), statement("eve")
    denying = statement("bob", "DENIES")
    found = compared([ann, bob], [ann, denying, eve])
    assert found == {"changed": [[bob, denying]], "added": [eve], "dropped": [], "kept": 1}
    assert compared([ann, bob], [bob]) == {"changed": [], "added": [], "dropped": [ann], "kept": 1}


def test_of_two_statements_by_one_speaker_the_same_one_is_kept() -> None:
    first, second, third = (statement("ann", quote=quote) for quote in ("one", "two", "three"))
    assert compared([first, second], [second, third]) == {
        "changed": [[first, third]],
        "added": [],
        "dropped": [],
        "kept": 1,
    }


def test_where_a_quote_stands_in_its_text_is_no_change() -> None:
    assert compared([statement("ann", start=1)], [statement("ann", start=9)])["kept"] == 1

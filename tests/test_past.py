"""The past never changes: what was answered is answered again as of its position, whatever came between."""

import random
import re
from typing import Any

import pytest
from graphql import get_named_type

from service.api.schema import schema
from service.audit.rebuild import rebuild
from service.domain.policies import NAMES
from tests.api import SEEDS, Api
from tests.conftest import Database
from tests.test_api_as_of import POLICIES, ROOTS, random_log
from tests.test_api_reading import everything

#: Texts can be erased, and the tree grows beside the log: neither is of the past.
NOT_OF_THE_PAST = re.compile(r"\btext\b|\binclusionProof(\([^)]*\))? \{[^{}]*\}")
#: What is of the log alone, and cannot be asked for by what was said.
OF_THE_LOG = ("event", "events", "changes")
SAID_BY = "2022-02-15"


def document(claim: str, speaker: str, outlet: str, url: str, *, said: bool) -> str:
    """Everything below every root field that takes a moment, all as of $asOf."""
    types: Any = schema._schema.type_map  # pyright: ignore[reportPrivateUsage]
    arguments = {
        "claim": f'slug: "{claim}", ',
        "speaker": f'slug: "{speaker}", ',
        "outlet": f'slug: "{outlet}", ',
        "article": f'url: "{url}", ',
        "event": "position: 2, ",
        "changes": "from: 1, to: 3, first: 40, ",
        **dict.fromkeys(("claims", "topics", "outlets", "speakers", "articles", "events"), "first: 40, "),
    }
    parts: list[str] = []
    for name in ROOTS:
        if not (said and name in OF_THE_LOG):
            named = get_named_type(types["Query"].fields[name].type)
            below = NOT_OF_THE_PAST.sub("", everything(named, 1, set()))
            parts.append(f"{name}({arguments.get(name, '')}asOf: $asOf) {{ {below} }}")
    under = " ".join(
        f'b{i}: belief(policy: "{name}") {{ state reason asserting denying withholding since {{ cursor }} }} '
        f'h{i}: history(policy: "{name}") {{ nodes {{ cursor from to reason effectiveAt retroactive }} }} '
        f's{i}: history(policy: "{name}", axis: SAID) {{ nodes {{ cursor from to reason effectiveAt }} }}'
        for i, name in enumerate(POLICIES)
    )
    parts.append(f"under: claims(first: 40, asOf: $asOf) {{ nodes {{ slug {under} }} }}")
    parts += [
        f'u{i}: claims(where: {{policy: "{name}", state: UNVERIFIED}}, asOf: $asOf) {{ totalCount nodes {{ slug }} }}'
        for i, name in enumerate(NAMES)
    ]
    parts.append('found: claims(where: {text: "troops or they or a"}, asOf: $asOf) { totalCount nodes { slug } }')
    return f"query ($asOf: AsOf) {{ {' '.join(parts)} }}"


def timeless(value: Any) -> Any:
    """An answer but for what tells when it was asked: the moment in ids, and cursors of pages."""
    if isinstance(value, dict):
        return {
            name: each.partition("@")[0] if name == "id" and isinstance(each, str) else timeless(each)
            for name, each in value.items()
            if name not in ("startCursor", "endCursor") and not (name == "cursor" and not _is_place(each))
        }
    return [timeless(each) for each in value] if isinstance(value, list) else value


def _is_place(cursor: str) -> bool:
    """Whether it is a transition's place in the stream."""
    return ":" in cursor


def differing(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two answers differ, for people."""
    if type(one) is type(other) and isinstance(one, dict):
        return [each for name in one for each in differing(one[name], other.get(name), f"{path}.{name}")]
    if type(one) is type(other) and isinstance(one, list) and len(one) == len(other):
        return [
            each for i, pair in enumerate(zip(one, other, strict=True)) for each in differing(*pair, f"{path}[{i}]")
        ]
    return [] if one == other else [f"{path}: {one!r} != {other!r}"]


Saved = dict[int, dict[str | None, Any]]


def save(api: Api, names: tuple[str, str, str, str]) -> dict[str | None, Any]:
    """What is answered now, without a word of the position."""
    return {
        said_by: timeless(
            api.ask(document(*names, said=said_by is not None), asOf=None if said_by is None else {"saidBy": said_by})
        )
        for said_by in (None, SAID_BY)
    }


def check(api: Api, names: tuple[str, str, str, str], saved: Saved) -> None:
    """The same is answered as of each position."""
    for position, answers in saved.items():
        for said_by, answer in answers.items():
            as_of = {"position": position, "saidBy": said_by}
            found = api.answer(document(*names, said=said_by is not None), asOf=as_of)
            assert "errors" not in found, found["errors"]
            assert found["extensions"]["log"] == {"position": position}
            assert differing(timeless(found["data"]), answer)[:3] == [], as_of


LOGS: dict[str, tuple[Any, tuple[str, str, str, str]]] = {
    "the seeds": (lambda: SEEDS, ("troops-withdrawing", "vladimir-putin", "itv-news", SEEDS[2].url)),
    **{
        f"curated {seed}": (
            lambda seed=seed: random_log(seed, steps=30, curated=True),
            ("a", "nato", "bbc", "https://example.org/v"),
        )
        for seed in (59,)
    },
    "articles only": (
        lambda: random_log(53, steps=12, curated=False),
        ("troops-withdrawing", "nato", "itv-news", "https://example.org/a"),
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_what_was_answered_while_recording_went_on_is_answered_again(database: Database, name: str) -> None:
    make, names = LOGS[name]
    happened, dice, saved = list(make()), random.Random(name), Saved()
    with Api(database) as api:
        api.prepare()
        while happened:
            # Recorded in pieces, and projected in others.
            part = dice.randint(1, 1 if name == "the seeds" else 4)
            api.append(*happened[:part])
            happened = happened[part:]
            api.project(limit=dice.randint(1, 3))
            if api.head() >= 3 and (dice.random() < 0.5 or not happened):
                saved[api.head()] = save(api, names)
                check(api, names, {min(saved): saved[min(saved)]})
        assert len(saved) >= 2
        check(api, names, saved)
    # Another process begins, and then all read tables are made anew.
    with Api(database) as api:
        check(api, names, saved)
        assert rebuild(api.engine).same
        check(api, names, saved)


def test_a_page_begun_in_the_past_goes_on_after_a_rebuild(database: Database) -> None:
    query = """query ($after: String) { claims(first: 5, after: $after) { nodes { slug belief { state reason } }
        pageInfo { hasNextPage endCursor } } }"""
    with Api(database) as api:
        api.record(*SEEDS[:3])
        whole = api.ask(query.replace("first: 5", "first: 100"))["claims"]["nodes"]
        page = api.ask(query)["claims"]
        found = page["nodes"]
        api.record(*SEEDS[3:])
        assert rebuild(api.engine).same
    with Api(database) as api:
        while page["pageInfo"]["hasNextPage"]:
            page = api.ask(query, after=page["pageInfo"]["endCursor"])["claims"]
            found += page["nodes"]
    assert found == whole

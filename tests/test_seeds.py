"""The five seed articles: the beliefs that follow, and what their README says of them."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.domain import article as documents
from service.domain import moment
from service.domain.article import Article, Form, Stance, Statement, warnings
from service.domain.policies import NAMES, policy
from tests import second_fold
from tests.builders import folded, states, transitions

ROOT = Path(__file__).parents[1]
EXPECTED: dict[str, Any] = json.loads((ROOT / "tests/expected/unanimous.json").read_text(encoding="utf-8"))
RAW = [(ROOT / "seeds" / name).read_bytes() for name in EXPECTED["articles"]]
ARTICLES = [documents.read(raw) for raw in RAW]
FIRST_TO = range(1, len(ARTICLES) + 1)


def _statements() -> Iterator[tuple[int, Article, str, Statement]]:
    """Every statement with the number of its article, the article and its claim."""
    for number, article in enumerate(ARTICLES, 1):
        for _, claim, statement in article.statements():
            yield number, article, claim.claim, statement


def _of(number: int, claim: str, speaker: str) -> list[Statement]:
    """What `speaker` says of `claim` in one article."""
    return [
        statement
        for at, article, on, statement in _statements()
        if (at, on, article.speaker_of(statement)) == (number, claim, speaker)
    ]


# --- the beliefs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", FIRST_TO)
def test_the_states_after_each_article_are_those_worked_out_by_hand(number: int):
    by_hand = {claim: after[number - 1] for claim, after in EXPECTED["claims"].items() if after[number - 1] != "absent"}
    got = states(*ARTICLES[:number], policy=EXPECTED["policy"])
    assert {claim: state for claim, (state, _) in got.items()} == by_hand


@pytest.mark.parametrize("number", FIRST_TO)
@pytest.mark.parametrize("name", NAMES)
def test_a_second_fold_that_shares_no_code_comes_to_the_same_beliefs(name: str, number: int):
    assert (
        states(*ARTICLES[:number], policy=name) == second_fold.beliefs([json.loads(raw) for raw in RAW[:number]])[name]
    )


def test_the_second_fold_shares_no_code_and_is_short():
    code = (ROOT / "tests/second_fold.py").read_text(encoding="utf-8")
    assert re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE) == ["json", "sys", "pathlib"]
    assert len(code.splitlines()) <= 60


@pytest.mark.parametrize(
    ("claim", "name", "belief"),
    [
        # Stoltenberg and Hockenhull deny, the Russian side and two outlets' own voices do not.
        ("troops-withdrawing", "unanimous", ("unverified", "CONFLICT")),
        ("troops-withdrawing", "any_denial", ("denied", "DENIED_BY_ANY")),
        # Putin alone: asserted, but from one bloc.
        ("genocide-in-donbass", "unanimous", ("asserted", "UNCONTRADICTED")),
        ("genocide-in-donbass", "corroborated", ("unverified", "UNCORROBORATED")),
        ("ukraine-nato-membership-on-agenda", "unanimous", ("denied", "UNCONTRADICTED")),
        ("preparing-invasion", "unanimous", ("unverified", "CONFLICT")),
    ],
)
def test_beliefs_checked_by_hand(claim: str, name: str, belief: tuple[str, str]):
    assert states(*ARTICLES, policy=name)[claim] == belief


def test_seven_claims_change_state_after_their_first_appearance():
    changed = {
        each.claim
        for each in transitions(*ARTICLES)
        if each.before is not None and each.after is not None and each.before.state is not each.after.state
    }
    assert changed == {
        "troops-withdrawing",
        "preparing-invasion",
        "invasion-imminent",
        "invasion-on-16-feb",
        "enough-forces-for-full-scale-invasion",
        "images-show-withdrawal",
        "nato-gave-constructive-response",
    }


def test_nothing_orders_articles_2_and_3_and_no_state_from_then_on_depends_on_it():
    one, two, three, four, five = ARTICLES
    for rest in ([], [four], [four, five]):
        assert states(one, two, three, *rest) == states(one, three, two, *rest)


# --- the counts of the README ---------------------------------------------------------------------


def test_five_articles_hold_115_statements_on_24_claims():
    assert [len(list(article.statements())) for article in ARTICLES] == [11, 27, 27, 25, 25]
    assert [len(article.claims) for article in ARTICLES] == [7, 19, 13, 15, 13]
    assert len({claim for _, _, claim, _ in _statements()}) == 24
    assert Counter(statement.stance for *_, statement in _statements()) == {
        Stance.ASSERTS: 79,
        Stance.DENIES: 16,
        Stance.WITHHOLDS: 20,
    }


def test_the_expectations_name_every_claim():
    assert {claim for _, _, claim, _ in _statements()} == EXPECTED["claims"].keys()


def test_28_speakers_are_25_people_and_bodies_and_3_outlets():
    speakers = {article.speaker_of(statement) for _, article, _, statement in _statements()}
    assert len(speakers) == 28
    assert len([speaker for speaker in speakers if speaker.startswith("outlet:")]) == 3


def test_14_statements_are_in_an_outlets_own_voice_one_of_them_a_headline():
    own = [statement for *_, statement in _statements() if statement.speaker is None]
    assert len(own) == 14
    assert [statement.form for statement in own].count(Form.HEADLINE) == 1
    assert [statement.form for *_, statement in _statements()].count(Form.HEADLINE) == 1


def test_14_statements_are_undated_and_12_were_said_on_an_earlier_day_than_their_articles():
    assert [statement.said_at for *_, statement in _statements()].count(None) == 14
    earlier = [
        statement
        for _, article, _, statement in _statements()
        if statement.said_at and moment.end(statement.said_at) < moment.end(article.published_at)
    ]
    assert len(earlier) == 12


def test_every_date_is_a_day_and_none_lies_after_its_article():
    days = {article.published_at for article in ARTICLES} | {each.said_at for *_, each in _statements() if each.said_at}
    assert all(len(day) == len("2022-02-15") for day in days)
    assert [article.published_at for article in ARTICLES] == ["2022-02-15"] * 3 + ["2022-02-16"] * 2
    assert [warnings(article) for article in ARTICLES] == [[]] * 5


def test_quotes_are_at_most_89_characters_and_say_where_they_stand():
    assert max(len(statement.quote) for *_, statement in _statements()) == 89
    assert all(statement.start is not None for *_, statement in _statements())


def test_every_claim_comes_with_its_wording_and_every_article_with_the_hash_of_its_text():
    assert all(claim.proposition for article in ARTICLES for claim in article.claims)
    assert all(article.text_sha256 for article in ARTICLES)


def test_the_texts_of_the_articles_are_not_ours_to_publish():
    assert [article.text for article in ARTICLES] == [None] * 5
    assert {path.name for path in (ROOT / "seeds").iterdir() if path.suffix != ".md"} == set(EXPECTED["articles"])


def test_the_articles_come_in_the_order_and_from_the_outlets_that_the_readme_gives():
    assert [(article.url, article.outlet.name) for article in ARTICLES[:3]] == [
        ("urn:seed:003_78960176f7a9f587", "The Independent"),
        ("urn:seed:001_1c4672853630ca21", "The Independent"),
        ("urn:seed:000_d95300b10f7adae7", "ITV News"),
    ]
    assert [article.url for article in ARTICLES[3:]] == [
        "urn:seed:002_91f6146eaec76115",
        "urn:seed:004_c3a154107b7ece12",
    ]
    assert ARTICLES[0].outlet == ARTICLES[1].outlet
    assert ARTICLES[2].outlet == ARTICLES[4].outlet


# --- the traps of the README ----------------------------------------------------------------------


def test_slips_of_the_print_stay():
    quotes = [" ".join(each.quote for at, _, _, each in _statements() if at == number) for number in FIRST_TO]
    assert "minstry" in quotes[1]
    assert "window for democracy" in quotes[0]
    assert "and indeed Ukraine" in quotes[3]


def test_not_seen_is_not_denied():
    stances = {
        number: [each.stance for each in _of(number, "troops-withdrawing", "jens-stoltenberg")] for number in FIRST_TO
    }
    assert stances[2][-1] == stances[4][-1] == Stance.WITHHOLDS
    assert stances[5][-1] == Stance.DENIES
    assert [each.stance for each in _of(4, "troops-withdrawing", "joe-biden")] == [Stance.WITHHOLDS]


def test_an_outlet_corrects_itself_on_the_same_day_and_the_order_of_articles_decides():
    own = "outlet:the-independent"
    assert _of(1, "troops-withdrawing", own)[-1].stance is Stance.ASSERTS
    assert _of(2, "troops-withdrawing", own)[-1].stance is Stance.WITHHOLDS
    fold, _ = folded(*ARTICLES[:2])
    assert fold.claims["troops-withdrawing"].by_speaker[own].position == 2


def test_of_two_reports_of_johnson_the_one_printed_later_does_not_stand():
    """Said on the 14th in article 3; undated, so of the 15th, in article 1."""
    fold, _ = folded(*ARTICLES[:3])
    assert fold.claims["window-for-diplomacy"].by_speaker["boris-johnson"].position == 1
    assert [each.said_at for each in _of(3, "window-for-diplomacy", "boris-johnson")] == ["2022-02-14"]


def test_genocide_in_donbass_is_putins_word_alone():
    fold, _ = folded(*ARTICLES)
    stands = fold.claims["genocide-in-donbass"]
    assert [speaker for speaker, each in stands.by_speaker.items() if each.decisive] == ["vladimir-putin"]
    assert stands.tally()[:2] == (1, 0)


def test_article_4_has_neither_headline_nor_a_named_outlet():
    assert ARTICLES[3].headline is None
    assert [article.headline is None for article in ARTICLES].count(True) == 1


# --- the judgement calls of the README ------------------------------------------------------------


def _read_otherwise(number: int, claim: str, speaker: str, stance: Stance) -> list[Article]:
    """The five articles with one statement taken the other way."""
    (meant,) = _of(number, claim, speaker)[-1:]

    def changed(article: Article) -> Article:
        claims = tuple(
            each.model_copy(
                update={
                    "statements": tuple(
                        statement.model_copy(update={"stance": stance}) if statement is meant else statement
                        for statement in each.statements
                    )
                }
            )
            for each in article.claims
        )
        return article.model_copy(update={"claims": claims})

    return [changed(article) for article in ARTICLES]


def _differences(otherwise: list[Article]) -> dict[tuple[str, int], str]:
    """Which states differ from the expected, by claim and number of articles."""
    found: dict[tuple[str, int], str] = {}
    for number in FIRST_TO:
        for claim, (state, _) in states(*otherwise[:number]).items():
            if EXPECTED["claims"][claim][number - 1] != state:
                found[claim, number] = state
    return found


@pytest.mark.parametrize(
    ("number", "claim", "speaker", "alternative", "effect"),
    [
        (4, "troops-withdrawing", "volodymyr-zelensky", Stance.DENIES, {4: "unverified"}),
        (5, "troops-withdrawing", "jens-stoltenberg", Stance.WITHHOLDS, {}),
        (3, "preparing-invasion", "liz-truss", Stance.WITHHOLDS, {}),
        (4, "images-show-withdrawal", "jens-stoltenberg", Stance.WITHHOLDS, {4: "asserted", 5: "asserted"}),
        (4, "nato-gave-constructive-response", None, Stance.WITHHOLDS, {4: "denied", 5: "denied"}),
    ],
)
def test_another_reading_of_one_statement_changes_what_the_readme_says_it_would(
    number: int, claim: str, speaker: str | None, alternative: Stance, effect: dict[int, str]
):
    speaker = speaker or f"outlet:{ARTICLES[number - 1].outlet.id}"
    otherwise = _read_otherwise(number, claim, speaker, alternative)
    assert _differences(otherwise) == {(claim, after): state for after, state in effect.items()}


def test_every_policy_of_the_second_fold_is_one_of_ours():
    assert set(second_fold.POLICIES) == set(NAMES) == {policy(name).name for name in NAMES}

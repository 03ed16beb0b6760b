"""What people decide by the command line: what it records, says and moves; and what a dry run foresees."""

import json
import re
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import pytest
from sqlalchemy import Engine

from service import log, texts
from service.cli.previewing import foresee
from service.domain.belief import Fold
from service.domain.events import PolicyAdopted, sha256
from service.domain.policies import policy
from service.log import NewEvent
from service.projector import Projector
from tests.builders import article, asserts, changed, denies, document, url, withholds, without
from tests.test_cli import Run, lines, run, run_anywhere
from tests.test_projector import catch_up, prepared
from tests.test_rebuild import some_log

__all__ = ["run", "run_anywhere"]

WHY = ["--reason", "The desk looked into it."]
A, B = document("a", nato=asserts("x")), document("b", russia=denies("y"))


@pytest.fixture
def decide(run: Run) -> Run:
    """Runs a command with a reason, where nato asserts x and russia denies y."""
    run("import", "-", stdin=lines(A, B))
    return lambda *args: run(*args, *WHY)


def entries(run: Run, after: int = 2) -> list[tuple[str, dict[str, Any]]]:
    """What was recorded, by type and payload without the reason."""
    told = [json.loads(line) for line in run("log", "--json", "--after", after).out.splitlines()]
    assert all(each["payload"].pop("reason") == WHY[1] for each in told)
    assert all(each["actor"].startswith("cli:") for each in told)
    return [(each["type"], each["payload"]) for each in told]


# --- each is recorded, and tells what it moved ------------------------------------


def test_a_claim_is_merged_into_another(decide: Run, run: Run):
    ran = decide("merge-claims", "y", "--into", "x")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[:2] == [
        "From position 3 on, y counts for x.",
        "2 beliefs moved under unanimous@1:",
    ]
    assert [line.split() for line in ran.out.splitlines()[2:]] == [
        ["x", "asserted", "UNCONTRADICTED", "->", "unverified", "CONFLICT"],
        ["y", "denied", "UNCONTRADICTED", "->", "merged", "away"],
    ]
    assert entries(run) == [("ClaimsMerged", {"claim": "y", "into": "x"})]


def test_a_claim_is_merged_as_the_opposite_of_another(decide: Run, run: Run):
    ran = decide("merge-claims", "y", "--into", "x", "--opposite")
    assert "From position 3 on, y counts for the opposite of x." in ran.out
    assert "1 belief moved" in ran.out
    assert entries(run) == [("ClaimsMerged", {"claim": "y", "into": "x", "opposite": True})]


def test_a_speaker_is_merged_into_another(run: Run):
    run("import", "-", stdin=lines(document("a", nato=asserts("x"), otan=denies("x", said="2022-02-14"))))
    ran = run("merge-speakers", "otan", "--into", "nato", *WHY)
    assert "From position 2 on, what otan says counts as said by nato." in ran.out
    assert "x  unverified CONFLICT  ->  asserted UNCONTRADICTED" in ran.out


def test_a_merge_is_undone(decide: Run, run: Run):
    decide("merge-claims", "y", "--into", "x")
    ran = decide("undo-merge", 3)
    assert "From position 4 on, the merge of position 3 is undone." in ran.out
    assert "2 beliefs moved" in ran.out
    assert re.search(r"^y +not on record +-> +denied UNCONTRADICTED$", ran.out, re.MULTILINE)
    assert entries(run, 3) == [("MergeUndone", {"position": 3})]


def test_claims_are_related(decide: Run, run: Run):
    ran = decide("relate", "x", "contradicts", "y")
    assert ran.out == "From position 3 on, x contradicts y.\n"
    assert entries(run) == [("ClaimsRelated", {"claim": "x", "relation": "contradicts", "to": "y"})]


def test_a_claim_is_ruled_on_and_the_ruling_lifted(decide: Run, run: Run):
    ran = decide("rule", "x", "denied")
    assert ran.out.splitlines() == [
        "From position 3 on, x is denied under every policy.",
        "1 belief moved under unanimous@1:",
        "x  asserted UNCONTRADICTED  ->  denied RULED",
    ]
    ran = decide("lift", "x")
    assert ran.out.splitlines()[0] == "From position 4 on, the policies decide on x again."
    assert ran.out.splitlines()[2] == "x  denied RULED  ->  asserted UNCONTRADICTED"
    assert [type for type, _ in entries(run)] == ["ClaimRuled", "RulingLifted"]


def test_what_moves_is_told_under_the_policy_in_force(decide: Run, run: Run):
    run("import", "-", stdin=lines(document("c", un=asserts("x"))))
    ran = decide("adopt", "majority")
    assert ran.out == (
        "From position 4 on, majority@1 is meant where no policy is named.\n"
        "No belief moved: each policy goes on as it was.\n"
    )
    assert (ran.status, ran.err) == (0, "")
    assert "2 beliefs moved under majority@1:" in decide("merge-claims", "y", "--into", "x").out
    assert "under majority@1" in run("claim", "x").out


def test_a_merge_that_moves_nothing_says_so(run: Run):
    run("import", "-", stdin=lines(document("a", nato=asserts("x"), un=asserts("x"))))
    assert run("merge-speakers", "un", "--into", "nato", *WHY).out.endswith("No belief moved under unanimous@1.\n")


def test_an_adopted_policy_that_is_not_projected_is_told(decide: Run):
    ran = decide("adopt", "unanimous:min_speakers=2")
    assert ran.status == 0
    assert "From position 3 on, unanimous@1:min_speakers=2 is meant" in ran.out
    assert "unanimous@1:min_speakers=2 is not projected" in ran.err


def test_a_text_is_erased(run: Run, engine: Engine):
    text = "Then they said so."
    digest = sha256(text.encode())
    run("import", "-", stdin=lines(document("a", nato=asserts("x", quote="they said so"), text=text)))
    with engine.begin() as conn:
        assert texts.texts_by_hash(conn, [digest])
    ran = run("erase-text", digest.hex(), *WHY)
    assert ran.out == f"From position 2 on, the text {digest.hex()} is erased, whatever brings it again.\n"
    with engine.begin() as conn:
        assert not texts.texts_by_hash(conn, [digest])
    assert "they said so" in run("claim", "x").out


def test_erasing_a_text_that_was_never_kept_is_told(decide: Run):
    assert "No text of that hash was kept here." in decide("erase-text", "0" * 64).out


# --- repeats and refusals ---------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["rule", "x", "denied"], "x is denied under every policy"),
        (["relate", "x", "refines", "y"], "x refines y"),
        (["adopt", "majority@1"], "majority@1 is meant where no policy is named"),
        (["erase-text", "a" * 64], f"the text {'a' * 64} is erased, whatever brings it again"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_what_is_so_already_is_not_recorded_again(decide: Run, run: Run, args: list[str], said: str):
    decide(*args)
    ran = decide(*args)
    assert (ran.status, ran.out, ran.err) == (0, f"So it is since position 3: {said}. Nothing changed.\n", "")
    assert len(entries(run)) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["merge-claims", "nowhere", "--into", "x"], "names the claim nowhere"),
        (["merge-claims", "x", "--into", "x"], "cannot be merged into itself"),
        (["merge-claims", "y", "--into", "x"], "y is merged into x since position 3"),
        (["merge-speakers", "nobody", "--into", "nato"], "names the speaker nobody"),
        (["undo-merge", "1"], "no merge was recorded there"),
        (["relate", "x", "refines", "x"], "related to itself"),
        (["rule", "y", "denied"], "name x instead"),
        (["lift", "x"], "nothing to lift"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_what_the_log_speaks_against_is_refused_in_a_sentence(decide: Run, run: Run, args: Sequence[str], said: str):
    decide("merge-claims", "y", "--into", "x")
    ran = decide(*args)
    assert (ran.status, ran.out) == (1, "")
    assert said in ran.err
    assert ran.err.endswith(".\n")
    assert len(entries(run)) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["merge-claims", "No Slug", "--into", "x", *WHY], "CLAIM"),
        (["merge-claims", "x", "--into", "No Slug", *WHY], "--into"),
        (["merge-claims", "x", *WHY], "--into"),
        (["rule", "x", "true", *WHY], "STATE"),
        (["relate", "x", "resembles", "y", *WHY], "RELATION"),
        (["relate", "x", "refines", "No Slug", *WHY], "OTHER"),
        (["undo-merge", "0", *WHY], "position"),
        (["adopt", "guess", *WHY], "is no policy"),
        (["erase-text", "abc", *WHY], "SHA256"),
        (["lift", "x"], "--reason"),
        (["lift", "x", "--reason", " "], "--reason"),
    ],
)
def test_a_wrong_call_is_told(run: Run, args: Sequence[str], said: str):
    ran = run(*args)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert "--help` says what it takes" in ran.err


# --- shown ------------------------------------------------------------------------


def test_a_ruled_claim_shows_who_ruled_why_and_what_the_policy_says_alone(decide: Run, run: Run):
    decide("rule", "x", "denied")
    shown = run("claim", "x").out
    assert "DENIED  RULED" in shown
    assert re.search(r"^ruled at position 3 by cli:\S+: The desk looked into it\.$", shown, re.MULTILINE)
    assert "unanimous@1 alone says asserted UNCONTRADICTED" in shown
    assert re.search(r"denied      RULED  ruled by cli:\S+: The desk looked into it\.$", shown, re.MULTILINE)
    decide("lift", "x")
    shown = run("claim", "x").out
    assert "alone" not in shown
    assert re.search(r"UNCONTRADICTED  ruling lifted by cli:\S+: The desk looked into it\.$", shown, re.MULTILINE)


def test_the_reason_of_the_last_ruling_is_shown_though_the_state_stays(decide: Run, run: Run):
    decide("rule", "x", "denied")
    run("rule", "x", "denied", "--reason", "A better one.")
    shown = run("claim", "x").out
    assert "ruled at position 4" in shown
    assert "A better one." in shown


def test_a_merged_claim_shows_the_survivor_and_its_other_names(decide: Run, run: Run):
    decide("merge-claims", "y", "--into", "x", "--opposite")
    for slug in ("x", "y"):
        shown = run("claim", slug).out
        assert shown.startswith("x\n")
        assert "also known as y (its opposite)" in shown
        # Who denies the opposite asserts it.
        assert "2 assert" in shown
        assert "Asserts  2" in shown
    assert "y is merged into x since position 3" in run("claim", "y").out
    assert "is merged into" not in run("claim", "x").out


def test_the_history_names_merges_and_their_undoing(decide: Run, run: Run):
    decide("merge-claims", "y", "--into", "x")
    decide("undo-merge", 3)
    history = run("claim", "x").out.partition("History")[2]
    assert re.search(r"CONFLICT  y merged into x by cli:\S+: The desk", history)
    assert re.search(r"UNCONTRADICTED  the merge of position 3 undone by cli:\S+: The desk", history)
    assert "decided" not in history


def test_relations_are_shown_on_both_sides(decide: Run, run: Run):
    decide("relate", "x", "refines", "y")
    for slug in ("x", "y"):
        assert "  x refines y  The desk looked into it. (position 3)" in run("claim", slug).out


def test_a_claim_is_shown_as_it_was_believed_and_by_what_was_said_by_then(run: Run):
    run("import", "-", stdin=lines(A, document("c", un=denies("x", said="2022-02-10"))))
    assert "CONFLICT" in run("claim", "x").out
    then = run("claim", "x", "--as-of", 1)
    assert "ASSERTED  UNCONTRADICTED" in then.out
    assert "As of position 1." in then.err
    by = run("claim", "x", "--said-by", "2022-02-12")
    assert "DENIED  UNCONTRADICTED" in by.out
    assert "what was said by 2022-02-12" in by.err
    assert "1 denied" in run("claims", "--said-by", "2022-02-12").err
    assert "1 asserted" in run("claims", "--as-of", 1).err
    recorded = json.loads(run("log", "--json").out.splitlines()[0])["recorded_at"]
    assert run("claim", "x", "--as-of", recorded).out == then.out


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["--as-of", "99"], 1, "99 is not recorded yet"),
        (["--as-of", "0"], 1, "Nothing that was known then names x"),
        (["--said-by", "2022-01-01"], 1, "Nothing that was known then names x"),
        (["--as-of", "yesterday"], 2, "neither a position, nor a day"),
        (["--as-of", "2022-02-16T12:00:00"], 2, "neither a position, nor a day"),
        (["--said-by", "soon"], 1, "saidBy"),
    ],
)
def test_a_moment_that_is_none_is_told(run: Run, args: Sequence[str], status: int, said: str):
    run("import", "-", stdin=lines(A))
    ran = run("claim", "x", *args)
    assert (ran.status, ran.out) == (status, "")
    assert said in ran.err


# --- import --dry-run --beliefs ---------------------------------------------------


def foreseen(out: str) -> list[list[str]]:
    return [re.split(r" {2,}", line) for line in out.splitlines()[:-1]]


def test_a_dry_run_tells_which_beliefs_each_document_would_move_and_why(run: Run, engine: Engine):
    run("import", "-", stdin=lines(A))
    second = document("c", russia=denies("x"))
    same = document("e", nato=asserts("x"))
    ran = run("import", "--dry-run", "--beliefs", "-", stdin=lines(A, second, B, same))
    assert ran.status == 0
    assert foreseen(ran.out) == [
        ["standard input:2", "x", "asserted UNCONTRADICTED", "->", "unverified CONFLICT", "because russia denies"],
        ["standard input:3", "y", "not on record", "->", "denied UNCONTRADICTED", "because russia denies"],
        ["standard input:4", "moves no belief"],
    ]
    assert ran.out.splitlines()[-1] == "3 would be recorded, 1 known already."
    with engine.begin() as conn:
        assert log.head(conn) == 1
    assert "ASSERTED  UNCONTRADICTED" in run("claim", "x").out


def test_a_dry_run_tells_what_is_old_and_who_steps_back(run: Run):
    run("import", "-", stdin=lines(A))
    late = document("c", russia=denies("x", said="2022-01-01"))
    back = document("d", nato=withholds("x"), published="2022-02-16")
    ran = run("import", "--dry-run", "--beliefs", "-", stdin=lines(late, back))
    assert [each[-1] for each in foreseen(ran.out)] == [
        "because russia denies; it tells of an earlier time",
        "because nato withholds, and asserted before",
    ]


def test_a_dry_run_of_a_revision_tells_who_is_no_longer_heard(run: Run):
    run("import", "-", stdin=lines(document("a", nato=asserts("x"), russia=denies("x"))))
    now = without(document("a", nato=asserts("x")), "revision")
    ran = run("import", "--dry-run", "--beliefs", "--revise", "-", stdin=lines(now))
    (row,) = foreseen(ran.out)
    assert row[1:4] == ["x", "unverified CONFLICT", "->"]
    assert "russia no longer denies" in row[-1]


def test_what_is_refused_moves_nothing_and_what_builds_on_it_is_seen(run: Run):
    nowhere = document("c", propositions=False, nato=asserts("unheard-of"))
    then = changed(document("d", nato=asserts("unheard-of")), "url", url("d"))
    ran = run("import", "--dry-run", "--beliefs", "-", stdin=lines(nowhere, then, nowhere))
    assert ran.status == 1
    assert [each[:2] for each in foreseen(ran.out)] == [
        ["standard input:2", "unheard-of"],
        ["standard input:3", "moves no belief"],
    ]


def test_beliefs_belong_to_a_dry_run(run: Run):
    ran = run("import", "--beliefs", "-", stdin=lines(A))
    assert ran.status == 2
    assert "--dry-run" in ran.err


def test_what_is_not_projected_yet_counts_too(run: Run, engine: Engine):
    run("import", "-", stdin=lines(A))
    with engine.begin() as conn:
        log.append(conn, [NewEvent.of_article(article("c", russia=denies("x")), actor="cli:other")])
    ran = run("import", "--dry-run", "--beliefs", "-", stdin=lines(document("d", un=asserts("x"))))
    assert foreseen(ran.out) == [["standard input:1", "moves no belief"]]


@pytest.mark.parametrize("seed", range(600, 606))
def test_what_is_foreseen_is_what_happens(engine: Engine, seed: int):
    """Of random batches with curation between them, under a policy that is projected and one that is not."""
    happened = some_log(seed, 60)
    generation = prepared(engine)
    fold = Fold([policy("unanimous")])
    under, position = "unanimous", 0
    size = 1 + seed % 7
    while position < len(happened):
        batch = [NewEvent.of(each, actor="cli:t") for each in happened[position : position + size]]
        with engine.connect() as conn, conn.begin() as transaction:
            changes = foresee(conn, generation, batch)
            transaction.rollback()
        with engine.begin() as conn:
            log.append_all(conn, batch)
        if seed % 2:
            # Otherwise what comes before it has yet to be projected.
            catch_up(engine, cycle([Projector(generation)]))
        fold.policies = (policy(under),)
        for each, change in zip(batch, changes, strict=True):
            position += 1
            expected = fold.apply(each.event, position)
            assert change is not None
            assert change.moves == expected.moves
            assert sorted(change.transitions) == sorted(expected.transitions)
            under = each.event.policy if isinstance(each.event, PolicyAdopted) else under

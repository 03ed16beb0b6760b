"""Evidence: a belief with what it rests on, in files that are verified without the service."""

import base64
import html
import json
import re
from typing import Any

import pytest
from sqlalchemy import Engine

from service import tree
from service.audit.evidence import Evidence, evidence
from service.cli import projecting
from service.domain.article import Article
from service.domain.errors import ClaimUnknown, NotInTree
from service.domain.events import ClaimRuled, ClaimsMerged, Event
from service.domain.policies import NAMES, State, policy
from service.log import NewEvent, append_all
from service.proof import check_evidence
from service.queries.snapshot import as_of, view
from service.tree import Signer
from tests.builders import article, asserts, denies, retraction

SIGNER = Signer.of(base64.b64encode(bytes(range(32))).decode(), where="the test")


def record(engine: Engine, *happened: Article | Event) -> None:
    new = [
        NewEvent.of_article(each, actor="token:desk")
        if isinstance(each, Article)
        else NewEvent.of(each, actor="cli:ada")
        for each in happened
    ]
    with engine.begin() as conn:
        append_all(conn, new)
    generation = projecting.prepared(engine, NAMES)
    list(projecting.Projecting(engine, generation).catch_up())


def sign(engine: Engine) -> None:
    with engine.begin() as conn:
        tree.integrate(conn, SIGNER)


def made(engine: Engine, slug: str, *, position: int | None = None, said_by: str | None = None) -> Evidence:
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
        now = view(conn)
        assert now is not None
        then = now.at(as_of(now, position=position, recorded_at=None, said_by=said_by))
        return evidence(then, slug, policy("unanimous"))


def key(engine: Engine) -> str:
    with engine.connect() as conn:
        known = tree.identity(conn)
    assert known is not None
    return str(known.key)


def data(of: Evidence) -> dict[str, Any]:
    return json.loads(of.files()["belief.json"])


def test_it_tells_what_is_believed_and_who_says_so(engine: Engine) -> None:
    record(engine, article("a", nato=asserts("gas-cut")), article("b", kremlin=denies("gas-cut")))
    sign(engine)
    told = data(made(engine, "gas-cut"))
    assert told["belief"]["state"] == "unverified"
    assert told["belief"]["reason"] == "CONFLICT"
    assert {(each["speaker"], each["counts_as"], each["stands"]) for each in told["statements"]} == {
        ("nato", "asserts", True),
        ("kremlin", "denies", True),
    }
    assert [(each["from"], each["to"]) for each in told["history"]] == [(None, "asserted"), ("asserted", "unverified")]


def test_as_of_a_position_it_tells_what_was_believed_then(engine: Engine) -> None:
    record(engine, article("a", nato=asserts("gas-cut")), article("b", kremlin=denies("gas-cut")))
    sign(engine)
    then = made(engine, "gas-cut", position=1)
    assert data(then)["belief"]["state"] == "asserted"
    assert sorted(then.entries) == [1]


def test_every_event_that_tells_of_it_is_proven_offline(engine: Engine) -> None:
    record(engine, article("a", nato=asserts("gas-cut")), article("b", kremlin=asserts("pipeline-closed")))
    record(engine, ClaimsMerged(claim="pipeline-closed", into="gas-cut", reason="the same"))
    record(engine, ClaimRuled(claim="gas-cut", state=State.DENIED, reason="we saw it flow"), retraction("a"))
    record(engine, article("c", nato=asserts("another")))
    sign(engine)
    bundle = made(engine, "gas-cut")
    assert sorted(bundle.entries) == [1, 2, 3, 4, 5]
    assert check_evidence(bundle.files()["proof.json"], key(engine)) == []


def test_a_changed_word_is_noticed_offline(engine: Engine) -> None:
    record(engine, article("a", nato=asserts("gas-cut")))
    sign(engine)
    proof = made(engine, "gas-cut").files()["proof.json"]
    changed = proof.replace(b"nato", b"nat0")
    assert changed != proof
    assert check_evidence(changed, key(engine)) != []


def test_what_is_not_signed_for_yet_is_no_evidence(engine: Engine) -> None:
    record(engine, article("a", nato=asserts("gas-cut")))
    with pytest.raises(NotInTree):
        made(engine, "gas-cut")


def test_there_is_none_of_a_claim_that_nobody_named(engine: Engine) -> None:
    record(engine, article("a", nato=asserts("gas-cut")))
    sign(engine)
    with pytest.raises(ClaimUnknown):
        made(engine, "gas-shut")


def test_the_page_shows_words_as_text_whatever_they_are(engine: Engine) -> None:
    words = "<script>alert('x')</script> & \N{RIGHT-TO-LEFT OVERRIDE}"
    record(engine, article("a", nato=asserts("gas-cut", quote=words)))
    sign(engine)
    page = made(engine, "gas-cut").files()["index.html"].decode()
    assert "<script" not in page
    assert html.escape(words) in page
    assert not re.search(r"(src|href)=", page)


def test_the_files_name_the_log_but_no_key_to_trust(engine: Engine) -> None:
    record(engine, article("a", nato=asserts("gas-cut")))
    sign(engine)
    files = made(engine, "gas-cut").files()
    assert set(files) == {"belief.json", "proof.json", "index.html", "README.txt"}
    readme = files["README.txt"].decode()
    assert "python -m service.proof verify" in readme
    assert key(engine) not in readme

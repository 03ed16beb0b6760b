"""Tokens: how they are made, kept, listed and revoked, and who may."""

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from sqlalchemy import Engine, text

from service import tokens
from service.domain.errors import TokenExists, TokenUnknown
from service.domain.scopes import Scope
from tests.conftest import Database
from tests.test_cli import Run, address
from tests.test_cli import run as run
from tests.test_cli import run_anywhere as run_anywhere

LATER = datetime(2200, 1, 1, tzinfo=UTC)


def make(owner: Engine, name: str = "desk", *scopes: Scope, expires_at: datetime = LATER) -> str:
    """A token of these scopes, `record` by default."""
    with owner.begin() as conn:
        return tokens.create(conn, name, scopes=scopes or [Scope.RECORD], expires_at=expires_at)


def expire(owner: Engine, name: str) -> None:
    """As if its time had come."""
    with owner.begin() as conn:
        conn.execute(
            text(
                "UPDATE onrecord.token SET created_at = now() - interval '2 d', expires_at = now() - interval '1 d' "
                "WHERE name = :name"
            ),
            {"name": name},
        )


def known(engine: Engine, sent: str) -> tokens.Token | None:
    with engine.connect() as conn:
        return tokens.known(sent, tokens.in_force(conn))


def test_a_token_is_known_by_its_hash_alone(engine: Engine, owner_engine: Engine) -> None:
    made = make(owner_engine)
    prefix, name, secret = made.split("_", 2)
    assert (prefix, name) == ("onrecord", "desk")
    assert len(secret) * 6 >= 256
    found = known(engine, made)
    assert found is not None
    assert (found.name, found.scopes, found.sha256) == ("desk", {Scope.RECORD}, sha256(made.encode()).digest())
    with owner_engine.connect() as conn:
        assert secret not in repr(conn.execute(text("SELECT t, t.sha256 FROM onrecord.token t")).all())


def test_no_two_secrets_are_one(owner_engine: Engine) -> None:
    assert len({make(owner_engine, f"n{number}").split("_", 2)[2] for number in range(20)}) == 20


@pytest.mark.parametrize(
    "bent",
    [
        lambda made: made[:-1],
        lambda made: made + "A",
        lambda made: made[:-1] + ("A" if made[-1] != "A" else "B"),
        lambda made: made.upper(),
        lambda made: made.replace("desk", "other"),
        lambda made: made.replace("desk", "nobody"),
        lambda made: made.removeprefix("onrecord_"),
        lambda made: "onrecord_desk_",
        lambda made: "onrecord_desk_" + sha256(made.encode()).hexdigest(),
        lambda made: "",
        lambda made: "\udcff",
        lambda made: made + "\x00",
    ],
)
def test_whatever_is_not_the_whole_token_is_no_token(
    engine: Engine, owner_engine: Engine, bent: Callable[[str], str]
) -> None:
    made, _ = make(owner_engine), make(owner_engine, "other")
    assert known(engine, made) is not None
    assert known(engine, bent(made)) is None


def test_a_token_is_in_force_until_it_expires_or_is_revoked(engine: Engine, owner_engine: Engine) -> None:
    first, second = make(owner_engine, "first"), make(owner_engine, "second")
    expire(owner_engine, "first")
    assert known(engine, first) is None
    with owner_engine.begin() as conn:
        tokens.revoke(conn, "second")
    assert known(engine, second) is None
    for name in ("first", "second", "third"):
        with owner_engine.begin() as conn, pytest.raises(TokenUnknown):
            tokens.revoke(conn, name)


def test_a_name_is_one_tokens_among_those_in_force(engine: Engine, owner_engine: Engine) -> None:
    first = make(owner_engine)
    with pytest.raises(TokenExists):
        make(owner_engine)
    with owner_engine.begin() as conn:
        tokens.revoke(conn, "desk")
    second = make(owner_engine)
    expire(owner_engine, "desk")
    third = make(owner_engine)
    assert [known(engine, each) is not None for each in (first, second, third)] == [False, False, True]


def test_of_two_who_choose_one_name_at_once_one_gets_it(owner_engine: Engine, engine: Engine) -> None:
    told: list[object] = []

    def attempt() -> None:
        try:
            told.append(make(owner_engine))
        except TokenExists as error:
            told.append(error)

    with owner_engine.begin() as conn:
        made = tokens.create(conn, "desk", scopes=[Scope.READ], expires_at=LATER)
        other = threading.Thread(target=attempt)
        other.start()
        other.join(0.3)
        assert told == [], "it waits for the one before it"
    other.join()
    assert isinstance(told[0], TokenExists)
    assert known(engine, made) is not None


# --- the command ------------------------------------------------------------------


@pytest.fixture
def onrecord(run: Run, database: Database, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `onrecord` on the test's database, as who looks after it does."""
    monkeypatch.setenv("ONRECORD_OWNER_URL", address(database.owner_url))
    return run


def test_a_token_is_printed_once_and_alone(onrecord: Run, engine: Engine) -> None:
    ran = onrecord("token", "create", "desk", "--scope", "record", "--scope", "curate", "--expires", "2199-12-31")
    assert ran.status == 0
    assert re.fullmatch(r"onrecord_desk_[\w-]{43}\n", ran.out)
    found = known(engine, ran.out.strip())
    assert found is not None
    assert found.scopes == {Scope.RECORD, Scope.CURATE}
    assert found.expires_at == datetime(2199, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    secret = ran.out.strip().split("_", 2)[2]
    assert "curate, record" in ran.err
    assert secret not in ran.err
    listed = onrecord("token", "list")
    assert secret not in listed.out + listed.err
    assert re.search(r"^desk\s+record curate\s+\S+\s+2199-12-31T23:59:59Z\s+in force$", listed.out, re.MULTILINE)


def test_every_token_stays_listed(onrecord: Run, owner_engine: Engine) -> None:
    assert "There are no tokens" in onrecord("token", "list").err
    make(owner_engine, "old")
    expire(owner_engine, "old")
    assert onrecord("token", "create", "desk", "--scope", "read").status == 0
    revoked = onrecord("token", "revoke", "desk")
    assert (revoked.status, "desk is revoked" in revoked.out) == (0, True)
    assert onrecord("token", "create", "desk", "--scope", "admin").status == 0
    rows = [line.split()[0::4] for line in onrecord("token", "list").out.splitlines()[1:]]
    assert [(row[0], *row[1:]) for row in rows] == [("desk", "in"), ("desk", "revoked"), ("old", "expired")]


def test_a_token_is_for_ninety_days_unless_told_otherwise(onrecord: Run, engine: Engine) -> None:
    for args, length in (((), timedelta(days=90)), (("--expires", "8w"), timedelta(weeks=8))):
        before = datetime.now(UTC)
        made = onrecord("token", "create", f"n{len(args)}", "--scope", "read", *args).out.strip()
        found = known(engine, made)
        assert found is not None
        assert before + length <= found.expires_at <= datetime.now(UTC) + length


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("create",), "Missing argument"),
        (("create", "desk"), "Missing option '--scope'"),
        (("create", "desk", "--scope", "write"), "'write' is none of read, record, curate, admin"),
        (("create", "Desk_7", "--scope", "read"), "lower-case words and digits"),
        (("create", "x" * 65, "--scope", "read"), "at most 64"),
        (("create", "desk", "--scope", "read", "--expires", "soon"), "neither a length such as 12h"),
        (("create", "desk", "--scope", "read", "--expires", "2020-01-01"), "is over already"),
        (("create", "desk", "--scope", "read", "--expires", "0d"), "neither a length"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(onrecord: Run, args: tuple[str, ...], said: str) -> None:
    ran = onrecord("token", *args)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err


def test_a_name_that_is_taken_or_unknown_is_told(onrecord: Run, owner_engine: Engine) -> None:
    make(owner_engine)
    taken = onrecord("token", "create", "desk", "--scope", "read")
    assert (taken.status, taken.out) == (1, "")
    assert "`onrecord token revoke desk`" in taken.err
    unknown = onrecord("token", "revoke", "nobody")
    assert unknown.status == 1
    assert "`onrecord token list`" in unknown.err


def test_the_services_role_cannot_make_tokens(run: Run, engine: Engine) -> None:
    for args in (("create", "desk", "--scope", "admin"), ("revoke", "desk")):
        ran = run("token", *args)
        assert ran.status == 1
        assert "The role onrecord may not change tokens; name the role" in ran.err
        assert "ONRECORD_OWNER_URL" in ran.err
    with engine.connect() as conn:
        assert tokens.all_tokens(conn) == []

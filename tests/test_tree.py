"""The tree over the log in a database: it grows, signs, proves, and refuses to go on from what was not signed."""

import base64
import json
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from service import log, proof, tables, tree
from service.cli import integrating, main, serving
from service.cli.integrating import Integrating
from service.cli.listening import Listener
from service.config import Settings
from service.database import engine as engines
from service.database import schema
from service.domain import merkle
from service.domain.errors import (
    BadArgument,
    CheckpointInvalid,
    LogForked,
    LogShorter,
    NothingLost,
    NotInTree,
    OriginDiffers,
    OriginUsed,
    SigningKeyDiffers,
    SigningKeyInvalid,
    TreeDamaged,
)
from service.proof import Checkpoint, VerifierKey, check_evidence
from service.tree import SignedCheckpoint, Signer
from tests.builders import article, asserts
from tests.conftest import Database
from tests.test_proof import small_parser

SEED = base64.b64encode(bytes(range(32))).decode()
OTHER_SEED = base64.b64encode(bytes(32)).decode()
ORIGIN = "news.example/log"


def signer(seed: str = SEED, origin: str | None = ORIGIN) -> Signer:
    return Signer.of(seed, origin=origin, where="of the test")


def append(engine: Engine, count: int, name: str = "a") -> None:
    """Put so many entries at the end of the log."""
    with engine.begin() as conn:
        before = log.head(conn)
        new = [article(f"{name}{before + n}", nato=asserts("x")) for n in range(count)]
        log.append_all(conn, [log.NewEvent.of_article(each, actor="cli:test") for each in new])


def integrate(engine: Engine, who: Signer | None = None, **options: Any) -> SignedCheckpoint:
    with engine.begin() as conn:
        return tree.integrate(conn, who or signer(), **options)


def leaves(conn: Connection) -> list[bytes]:
    return [leaf for (leaf,) in conn.exec_driver_sql("SELECT leaf FROM onrecord.event ORDER BY position")]


def stored(engine: Engine) -> tuple[int, list[Any]]:
    """The tree as it is stored: its size, and all of its tiles."""
    with engine.connect() as conn:
        size = conn.exec_driver_sql("SELECT size FROM onrecord.tree").scalar_one()
        tiles = conn.exec_driver_sql("SELECT level, index, hashes FROM onrecord.tile ORDER BY level, index")
        return size, [tuple(row) for row in tiles]


def expected(engine: Engine) -> tuple[int, list[Any]]:
    """The tree as it must be, from the log alone."""
    with engine.connect() as conn:
        made = merkle.TiledTree()
        for leaf in leaves(conn):
            made.append(merkle.leaf_hash(leaf))
        return made.size, sorted((*tile, hashes) for tile, hashes in made.taken().items())


def mismatches(engine: Engine) -> list[str]:
    with engine.connect() as conn:
        return list(tree.mismatches(conn))


# --- growing and signing --------------------------------------------------------------


def test_a_checkpoint_is_signed_for_the_root_of_the_whole_log(engine: Engine) -> None:
    append(engine, 7)
    signed = integrate(engine)
    with engine.connect() as conn:
        root = merkle.root(leaves(conn))
        known = tree.identity(conn)
        assert tree.newest(conn) == signed
    assert known is not None
    assert (signed.origin, signed.size, signed.root) == (ORIGIN, 7, root)
    assert small_parser(signed.note, str(known.key)) == (ORIGIN, 7, root)
    assert (known.number, known.since_size, known.reason, known.given_up) == (1, 0, None, None)


def test_an_empty_log_is_signed_too(engine: Engine) -> None:
    signed = integrate(engine)
    assert (signed.size, signed.root) == (0, merkle.EMPTY_ROOT)
    assert stored(engine) == expected(engine) == (0, [])
    assert mismatches(engine) == []


def test_with_nothing_new_nothing_is_signed(engine: Engine) -> None:
    append(engine, 3)
    first = integrate(engine)
    assert integrate(engine) == first
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM onrecord.checkpoint").scalar_one() == 1


def test_an_entry_that_is_not_committed_is_not_in_the_tree(engine: Engine) -> None:
    append(engine, 1)
    with engine.connect() as writing, writing.begin():
        log.append_all(writing, [log.NewEvent.of_article(article("b"), actor="cli:test")])
        assert integrate(engine).size == 1
    assert integrate(engine).size == 2


def test_without_a_name_the_log_gets_one_for_good(engine: Engine) -> None:
    anonymous = signer(origin=None)
    first = integrate(engine, anonymous)
    append(engine, 1)
    second = integrate(engine, anonymous)
    assert first.origin == second.origin
    assert proof.is_key_name(first.origin)
    assert len(first.origin) > 32


@pytest.mark.parametrize("limits", [[255, 1, 1, 255, 1000], [256, 256, 1000], [1000], [100] * 6 + [1000]])
def test_in_whatever_steps_the_log_is_taken_in_the_tree_is_the_same(engine: Engine, limits: Sequence[int]) -> None:
    append(engine, 600)
    for limit in limits:
        integrate(engine, limit=limit)
    assert stored(engine) == expected(engine)
    assert mismatches(engine) == []


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 140), st.integers(1, 300)), min_size=1, max_size=6))
def test_in_random_batches_the_tree_is_the_same(
    engine: Engine, owner_engine: Engine, steps: list[tuple[int, int]]
) -> None:
    with unguarded(owner_engine) as conn:
        names = ("tile", *(table.name for table in (*tables.GUARDED, *tables.GUARDED_TREE)))
        conn.exec_driver_sql("TRUNCATE " + ", ".join(f"onrecord.{name}" for name in names))
        conn.exec_driver_sql("UPDATE onrecord.tree SET size = 0")
    for count, limit in steps:
        if count:
            append(engine, count)
        integrate(engine, limit=limit)
    integrate(engine)
    assert stored(engine) == expected(engine)
    assert mismatches(engine) == []


@contextmanager
def unguarded(owner_engine: Engine) -> Iterator[Connection]:
    """What an owner can do who switches the guards off: exchange or lose entries."""
    with owner_engine.begin() as conn:
        guards = conn.exec_driver_sql(
            "SELECT t.tgrelid::regclass::text, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE c.relnamespace = 'onrecord'::regnamespace AND NOT t.tgisinternal"
        ).all()
        for name, trigger in guards:
            conn.exec_driver_sql(f"ALTER TABLE {name} DISABLE TRIGGER {trigger}")
        yield conn
        for name, trigger in guards:
            conn.exec_driver_sql(f"ALTER TABLE {name} ENABLE ALWAYS TRIGGER {trigger}")


def test_killed_between_any_two_statements_it_goes_on_as_if_it_had_not_been(engine: Engine) -> None:
    class Killed(Exception):
        pass

    append(engine, 300)
    integrate(engine, limit=250)
    before = stored(engine)
    statements = 0
    for die_at in range(100):
        count = 0

        def die(*_: Any, at: int = die_at) -> None:
            nonlocal count
            if count == at:
                raise Killed
            count += 1

        event.listen(engine, "before_cursor_execute", die)
        try:
            integrate(engine)
        except Killed:
            event.remove(engine, "before_cursor_execute", die)
            assert stored(engine) == before
            statements += 1
            continue
        event.remove(engine, "before_cursor_execute", die)
        break
    assert statements >= 8
    assert stored(engine) == expected(engine)
    assert mismatches(engine) == []


def test_two_that_integrate_at_once_take_turns(engine: Engine) -> None:
    append(engine, 3)
    signed: list[SignedCheckpoint] = []
    with engine.connect() as first, first.begin():
        assert tree.integrate(first, signer()).size == 3
        waiting = threading.Thread(target=lambda: signed.append(integrate(engine)))
        waiting.start()
        append(engine, 1)
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(10)
    assert [each.size for each in signed] == [4]
    assert mismatches(engine) == []


def test_many_that_integrate_while_others_record_make_one_tree(engine: Engine) -> None:
    stop = threading.Event()
    failures: list[Exception] = []

    def work() -> None:
        try:
            while not stop.is_set():
                integrate(engine)
        except Exception as error:  # noqa: BLE001 - the test tells of it
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    for _ in range(15):
        append(engine, 20)
    stop.set()
    for each in threads:
        each.join(20)
    assert failures == []
    assert integrate(engine).size == 300
    assert stored(engine) == expected(engine)
    assert mismatches(engine) == []


def test_it_needs_to_see_the_log_as_it_is_when_its_turn_comes(engine: Engine) -> None:
    repeatable = engine.connect().execution_options(isolation_level="REPEATABLE READ")
    with repeatable as conn, pytest.raises(AssertionError, match="READ COMMITTED"):
        tree.integrate(conn, signer())


# --- who signs ------------------------------------------------------------------------


def test_another_key_does_not_sign_for_the_log(engine: Engine) -> None:
    integrate(engine)
    append(engine, 1)
    with pytest.raises(SigningKeyDiffers, match="ONRECORD_SIGNING_KEY"):
        integrate(engine, signer(OTHER_SEED))
    assert integrate(engine).size == 1


def test_the_log_does_not_change_its_origin_by_the_way(engine: Engine) -> None:
    integrate(engine)
    append(engine, 1)
    with pytest.raises(OriginDiffers) as caught:
        integrate(engine, signer(origin="another.example"))
    assert (caught.value.origin, caught.value.wanted) == (ORIGIN, "another.example")
    assert integrate(engine, signer(origin=None)).origin == ORIGIN


@pytest.mark.parametrize("seed", ["", "secret!", SEED[:-4], base64.b64encode(bytes(33)).decode()])
def test_a_key_that_is_none_is_refused_and_not_repeated(seed: str) -> None:
    with pytest.raises(SigningKeyInvalid) as caught:
        Signer.of(seed, where="ONRECORD_SIGNING_KEY")
    assert not seed or seed not in str(caught.value)
    assert SEED not in repr(signer())


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "a\nb", "a\u00a0b"])
def test_an_origin_that_no_note_can_have_is_refused(origin: str) -> None:
    with pytest.raises(BadArgument):
        signer(origin=origin)


@pytest.mark.parametrize("table", ["checkpoint", "log_identity"])
@pytest.mark.parametrize("change", ["UPDATE {} SET origin = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_what_was_signed_cannot_be_changed(engine: Engine, owner_engine: Engine, table: str, change: str) -> None:
    integrate(engine)
    for role, refusal in (
        (engine, psycopg.errors.InsufficientPrivilege),
        (owner_engine, psycopg.errors.RestrictViolation),
    ):
        with pytest.raises(DBAPIError) as caught, role.begin() as conn:
            conn.exec_driver_sql(change.format(f"onrecord.{table}"))
        assert isinstance(caught.value.orig, refusal)


def test_rows_and_their_objects_have_the_same_fields() -> None:
    for cls, table in ((tree.Identity, tables.log_identity), (SignedCheckpoint, tables.checkpoint)):
        assert [each.name for each in fields(cls)] == [column.name for column in table.columns]


# --- proofs ---------------------------------------------------------------------------


def test_every_entry_can_be_proven_in_every_tree_that_holds_it(engine: Engine) -> None:
    append(engine, 260)
    integrate(engine)
    with engine.connect() as conn:
        every = leaves(conn)
        for size in (1, 2, 100, 255, 256, 257, 260):
            root = tree.root_at(conn, size)
            assert root == merkle.root(every[:size])
            positions = [p for p in (1, 2, 100, 128, 255, 256, 257, 260) if p <= size]
            for position, found in tree.inclusion_proofs(conn, positions, size).items():
                assert found.index == position - 1
                merkle.verify_inclusion(
                    leaf=merkle.leaf_hash(every[found.index]),
                    index=found.index,
                    size=found.tree_size,
                    proof=found.hashes,
                    root=root,
                )
            merkle.verify_consistency(
                first=size,
                first_root=root,
                second=260,
                second_root=tree.root_at(conn, 260),
                proof=tree.consistency_proof(conn, size, 260),
            )
        assert tree.inclusion_proof(conn, 7) == tree.inclusion_proof(conn, 7, 260)


def test_a_page_of_proofs_costs_no_more_queries_than_one(engine: Engine) -> None:
    append(engine, 300)
    integrate(engine)
    counts: list[int] = []
    with engine.connect() as conn:
        for positions in ([1], list(range(1, 101))):
            asked: list[str] = []
            listener = lambda *args, asked=asked: asked.append(args[2])  # noqa: E731
            event.listen(engine, "before_cursor_execute", listener)
            tree.inclusion_proofs(conn, positions)
            event.remove(engine, "before_cursor_execute", listener)
            counts.append(len(asked))
    assert counts == [2, 2]


def test_what_is_not_in_the_tree_yet_is_said_to_be_so(engine: Engine) -> None:
    append(engine, 2)
    integrate(engine)
    append(engine, 2)
    with engine.connect() as conn:
        with pytest.raises(NotInTree) as caught:
            tree.inclusion_proof(conn, 3)
        assert (caught.value.position, caught.value.size) == (3, 2)
        with pytest.raises(NotInTree):
            tree.inclusion_proof(conn, 1, 3)
        with pytest.raises(NotInTree):
            tree.consistency_proof(conn, 1, 3)
        with pytest.raises(NotInTree):
            tree.evidence(conn, [1, 3])
        for position, size in ((2, 1), (0, 2), (-1, 2)):
            with pytest.raises(BadArgument):
                tree.inclusion_proof(conn, position, size)
        with pytest.raises(BadArgument):
            tree.consistency_proof(conn, 2, 1)


def test_before_anything_is_signed_nothing_is_proven(engine: Engine) -> None:
    append(engine, 1)
    with engine.connect() as conn, pytest.raises(NotInTree):
        tree.evidence(conn, [1])


def test_evidence_is_what_the_offline_verifier_reads(engine: Engine) -> None:
    append(engine, 5)
    first = integrate(engine)
    append(engine, 5)
    integrate(engine)
    with engine.connect() as conn:
        known = tree.identity(conn)
        made = tree.evidence(conn, [1, 10], since=[first.note])
        assert str(tree.tlog_proof(conn, 3)).startswith("c2sp.org/tlog-proof@v1\nextra ")
    assert known is not None
    assert check_evidence(json.dumps(made), known.key) == []
    assert [each["position"] for each in made["entries"]] == [1, 10]


def test_evidence_of_another_log_or_of_a_fork_is_not_made(engine: Engine) -> None:
    append(engine, 3)
    integrate(engine)
    forked = signer().sign(Checkpoint(ORIGIN, 2, bytes(32)))
    longer = signer().sign(Checkpoint(ORIGIN, 9, bytes(32)))
    foreign = signer(OTHER_SEED).sign(Checkpoint(ORIGIN, 2, bytes(32)))
    with engine.connect() as conn:
        for note, error in ((forked, LogForked), (longer, LogShorter), (foreign, CheckpointInvalid)):
            with pytest.raises(error):
                tree.evidence(conn, [1], since=[note])


# --- damage ---------------------------------------------------------------------------


def spoil_tile(engine: Engine, level: int, index: int, at: int = 0) -> None:
    with engine.begin() as conn:
        changed = conn.exec_driver_sql(
            "UPDATE onrecord.tile SET hashes = set_byte(hashes, %(at)s, 255 - get_byte(hashes, %(at)s)) "
            "WHERE level = %(level)s AND index = %(index)s",
            {"at": at, "level": level, "index": index},
        )
        assert changed.rowcount == 1


def test_a_tile_that_was_tampered_with_is_noticed(engine: Engine) -> None:
    append(engine, 300)
    integrate(engine)
    spoil_tile(engine, 0, 0, at=32 * 7)
    assert mismatches(engine) == ["Tile 0/0 is not what the log's entries hash to."]
    with engine.connect() as conn:
        for position in (1, 7, 256):
            with pytest.raises(TreeDamaged, match=f"entry {position} cannot be proven"):
                tree.evidence(conn, [position])
        # Whose proof does not need that hash can be proven all the same.
        assert [each["position"] for each in tree.evidence(conn, [8, 300])["entries"]] == [8, 300]


@pytest.mark.parametrize("spoil", ["flip", "cut", "gone", "size"])
def test_from_a_damaged_tree_nothing_is_signed_until_it_is_made_anew(
    engine: Engine, owner_engine: Engine, spoil: str
) -> None:
    append(engine, 300)
    integrate(engine)
    append(engine, 1)
    if spoil == "flip":
        spoil_tile(engine, 0, 1)
    with owner_engine.begin() as conn:
        if spoil == "cut":
            conn.exec_driver_sql("UPDATE onrecord.tile SET hashes = substring(hashes, 1, 64) WHERE index = 1")
        if spoil == "gone":
            conn.exec_driver_sql("DELETE FROM onrecord.tile WHERE index = 1")
        if spoil == "size":
            conn.exec_driver_sql("UPDATE onrecord.tree SET size = 299")
    assert mismatches(engine) != []
    with pytest.raises(TreeDamaged, match="onrecord checkpoint --rebuild"):
        integrate(engine)
    with engine.begin() as conn, pytest.raises(NothingLost):
        tree.accept_loss(conn, signer(), reason="no", kept=None)
    with engine.begin() as conn:
        assert tree.rebuild(conn) == 300
    assert integrate(engine).size == 301
    assert stored(engine) == expected(engine)
    assert mismatches(engine) == []


def test_tiles_that_no_tree_has_are_noticed(engine: Engine) -> None:
    append(engine, 3)
    integrate(engine)
    with engine.begin() as conn:
        conn.exec_driver_sql("INSERT INTO onrecord.tile VALUES (1, 0, %s), (0, 7, %s)", (bytes(32), bytes(64)))
        conn.exec_driver_sql("UPDATE onrecord.tile SET hashes = hashes || %s WHERE index = 0", (bytes(32),))
    assert mismatches(engine) == [
        f"Tile {tile} holds more than a tree of 3 entries has." for tile in ("0/0", "0/7", "1/0")
    ]


def exchange(owner_engine: Engine, position: int) -> None:
    """What an owner can do who switches the guards off: write another entry over one."""
    with unguarded(owner_engine) as conn:
        conn.exec_driver_sql("UPDATE onrecord.event SET leaf = 'another' WHERE position = %s", (position,))


def lose(owner_engine: Engine, after: int, *, tree_too: bool) -> None:
    """As if a backup were restored, of the log alone or of everything."""
    with unguarded(owner_engine) as conn:
        conn.exec_driver_sql("DELETE FROM onrecord.event WHERE position > %s", (after,))
        for name in ("register_revision", "register_claim", "register_speaker"):
            conn.exec_driver_sql(f"DELETE FROM onrecord.{name} WHERE position > %s", (after,))
        if tree_too:
            conn.exec_driver_sql("DELETE FROM onrecord.checkpoint WHERE size > %s", (after,))
            conn.exec_driver_sql("DELETE FROM onrecord.tile")
            size = conn.exec_driver_sql("SELECT coalesce(max(size), 0) FROM onrecord.checkpoint").scalar_one()
            conn.exec_driver_sql("UPDATE onrecord.tree SET size = %s", (size,))
            made = merkle.TiledTree()
            for leaf in leaves(conn)[:size]:
                made.append(merkle.leaf_hash(leaf))
            for (level, index), hashes in made.taken().items():
                conn.exec_driver_sql("INSERT INTO onrecord.tile VALUES (%s, %s, %s)", (level, index, hashes))


def test_an_entry_that_was_exchanged_is_noticed(engine: Engine, owner_engine: Engine) -> None:
    append(engine, 20)
    signed = integrate(engine)
    assert extends(engine, signed)
    exchange(owner_engine, 7)
    found = mismatches(engine)
    assert "Tile 0/0 is not what the log's entries hash to." in found
    assert "The checkpoint of 20 entries has another root than the log's entries." in found
    assert not extends(engine, signed)
    with engine.connect() as conn, pytest.raises(TreeDamaged, match="entry 7 cannot be proven"):
        tree.evidence(conn, [7])
    with engine.begin() as conn, pytest.raises(LogForked):
        tree.rebuild(conn)


def extends(engine: Engine, signed: SignedCheckpoint) -> bool:
    with engine.connect() as conn:
        return tree.extends(conn, tree.opened(conn, signed.note))


def test_a_log_extends_every_checkpoint_that_was_signed_for_it_and_no_other(engine: Engine) -> None:
    signed = [integrate(engine)]
    for _ in range(3):
        append(engine, 3)
        signed.append(integrate(engine))
    assert all(extends(engine, each) for each in signed)
    with engine.connect() as conn:
        assert not tree.extends(conn, Checkpoint(ORIGIN, 10, signed[-1].root))
        assert not tree.extends(conn, Checkpoint(ORIGIN, 8, signed[-1].root))
        for note in (signer(OTHER_SEED).sign(Checkpoint(ORIGIN, 3, signed[1].root)), "no note", signed[0].note[:-1]):
            with pytest.raises(CheckpointInvalid):
                tree.opened(conn, note)


def test_entries_that_are_gone_are_noticed_at_once(engine: Engine, owner_engine: Engine) -> None:
    append(engine, 20)
    integrate(engine)
    lose(owner_engine, 15, tree_too=False)
    with pytest.raises(LogShorter) as caught:
        integrate(engine)
    assert (caught.value.size, caught.value.signed_size) == (15, 20)
    assert "The tree has 20 entries, and the log only 15." in mismatches(engine)


# --- the checkpoint that is kept outside ----------------------------------------------


@pytest.fixture
def place(tmp_path: Path, database: Database) -> Settings:
    """The settings of a service on the test's database, with a data folder of its own."""
    return Settings.model_validate(
        {"data_dir": tmp_path / "data", "database_url": database.service_url.render_as_string(hide_password=False)}
    )


def kept(place: Settings) -> str:
    return (place.data_dir / "checkpoint").read_text(encoding="utf-8")


def caught_up(engine: Engine, place: Settings) -> SignedCheckpoint:
    """As a service does from its start on."""
    made = Integrating.of(engine, place)
    made.check()
    return made.catch_up()


def test_the_newest_checkpoint_is_kept_in_a_file(engine: Engine, place: Settings) -> None:
    append(engine, 2)
    assert kept_size(engine, place) == 2
    append(engine, 1)
    assert kept_size(engine, place) == 3
    assert sorted(each.name for each in place.data_dir.iterdir()) == ["checkpoint", "signing-key"]


def kept_size(engine: Engine, place: Settings) -> int:
    signed = caught_up(engine, place)
    assert kept(place) == signed.note
    return signed.size


def test_the_key_is_made_once_for_its_owner_alone(engine: Engine, place: Settings) -> None:
    before = os.umask(0)
    try:
        first = integrating.signer(place)
    finally:
        os.umask(before)
    path = place.data_dir / "signing-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert integrating.signer(place).public == first.public
    assert [each.name for each in place.data_dir.iterdir()] == ["signing-key"]


def test_of_many_that_make_a_key_together_all_have_one(place: Settings) -> None:
    made: list[bytes] = []
    threads = [threading.Thread(target=lambda: made.append(integrating.signer(place).public)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(made), len(set(made))) == (8, 1)


def test_a_key_that_others_can_read_is_told_of(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    integrating.signer(place)
    (place.data_dir / "signing-key").chmod(0o644)
    integrating.signer(place)
    assert "chmod 600" in " ".join(capsys.readouterr().err.split())


def test_a_key_from_the_environment_leaves_no_file(place: Settings) -> None:
    given_key = Settings.model_validate({**place.model_dump(), "signing_key": SEED, "origin": ORIGIN})
    assert integrating.signer(given_key).public == signer().public
    assert not (place.data_dir / "signing-key").exists()


@pytest.mark.parametrize("loss", ["log", "everything", "all of it"])
def test_a_log_shorter_than_the_kept_checkpoint_is_refused_until_the_loss_is_accepted(
    engine: Engine, owner_engine: Engine, place: Settings, loss: str
) -> None:
    append(engine, 4)
    integrate(engine, integrating.signer(place))
    append(engine, 6)
    before = caught_up(engine, place)
    lose(owner_engine, 0 if loss == "all of it" else 4, tree_too=loss != "log")
    left = 0 if loss == "all of it" else 4
    made = Integrating.of(engine, place)
    with pytest.raises(LogShorter) as caught:
        made.check()
    assert (caught.value.size, caught.value.signed_size) == (left, 10)
    with pytest.raises(LogShorter):
        made.catch_up()
    assert kept(place) == before.note
    after = made.accept_loss("The disk is gone.")
    assert (after.size, after.origin != before.origin) == (left, True)
    with engine.connect() as conn:
        old, new = tree.identities(conn)
    assert (new.reason, new.since_size, new.given_up) == ("The disk is gone.", left, before.note)
    assert new.origin == after.origin != old.origin
    append(engine, 3, name="b")
    assert kept_size(engine, place) == left + 3
    assert stored(engine) == expected(engine)
    assert mismatches(engine) == []


def test_a_log_that_forks_from_the_kept_checkpoint_is_refused_until_the_loss_is_accepted(
    engine: Engine, owner_engine: Engine, place: Settings
) -> None:
    append(engine, 4)
    integrate(engine, integrating.signer(place))
    append(engine, 6)
    before = caught_up(engine, place)
    lose(owner_engine, 4, tree_too=True)
    append(engine, 8, name="others")
    made = Integrating.of(engine, place)
    for act in (made.check, made.catch_up):
        with pytest.raises(LogForked, match="onrecord checkpoint --accept-loss"):
            act()
    with engine.connect() as conn:
        newest = tree.newest(conn)
    # What does not fit the kept one was not signed to begin with.
    assert newest is not None
    assert (newest.size, kept(place)) == (4, before.note)
    made.accept_loss("Restored from a backup of Tuesday.")
    assert kept_size(engine, place) == 12
    assert mismatches(engine) == []


def test_another_database_is_not_taken_for_the_log(engine: Engine, place: Settings, empty_database: Database) -> None:
    append(engine, 2)
    caught_up(engine, place)
    owner = engines.create(empty_database.owner_url)
    schema.migrate(owner, metadata=tables.log_metadata, service_role="onrecord")
    owner.dispose()
    other = engines.create(empty_database.service_url)
    with pytest.raises(LogShorter, match="another database"):
        caught_up(other, place)
    append(other, 5, name="b")
    with pytest.raises(LogForked, match="another database"):
        caught_up(other, place)
    Integrating.of(other, place).accept_loss("The old one burnt.")
    with other.connect() as conn:
        (only,) = tree.identities(conn)
    assert (only.number, only.reason) == (1, "The old one burnt.")
    other.dispose()


def test_a_kept_checkpoint_ahead_of_the_tree_is_compared_with_the_log_itself(engine: Engine, place: Settings) -> None:
    """A commit that a crash took back, of a file that was written."""
    append(engine, 300)
    who = integrating.signer(place)
    integrate(engine, who, limit=100)
    with engine.connect() as conn:
        known = tree.identity(conn)
        assert known is not None
        ahead = who.sign(Checkpoint(known.origin, 290, merkle.root(leaves(conn)[:290])))
        forked = who.sign(Checkpoint(known.origin, 290, bytes(32)))
        tree.check(conn, who, kept=ahead, where="of the test")
        with pytest.raises(LogForked):
            tree.check(conn, who, kept=forked, where="of the test")


def test_a_kept_checkpoint_that_cannot_be_read_is_refused(engine: Engine, place: Settings) -> None:
    signed = caught_up(engine, place)
    path = place.data_dir / "checkpoint"
    for spoilt in (b"", b"\xff\xfe", signed.note.encode()[:-2], signed.note.replace("onrecord/", "0nrecord/").encode()):
        path.write_bytes(spoilt)
        with pytest.raises(CheckpointInvalid, match="kept in"):
            Integrating.of(engine, place).check()


def test_where_nothing_is_lost_there_is_nothing_to_accept(engine: Engine, place: Settings) -> None:
    append(engine, 3)
    signed = caught_up(engine, place)
    with pytest.raises(NothingLost):
        Integrating.of(engine, place).accept_loss("Why not.")
    with engine.connect() as conn:
        assert len(tree.identities(conn)) == 1
    assert kept(place) == signed.note


def test_a_lost_key_is_a_loss_too(engine: Engine, place: Settings) -> None:
    append(engine, 3)
    caught_up(engine, place)
    (place.data_dir / "signing-key").unlink()
    with pytest.raises(SigningKeyDiffers):
        caught_up(engine, place)
    after = Integrating.of(engine, place).accept_loss("The key is gone.")
    assert after.size == 3
    append(engine, 1)
    assert kept_size(engine, place) == 4


def test_after_a_loss_a_configured_origin_must_be_a_new_one(engine: Engine, owner_engine: Engine) -> None:
    append(engine, 3)
    signed = integrate(engine)
    exchange(owner_engine, 2)
    with engine.begin() as conn, pytest.raises(OriginUsed):
        tree.accept_loss(conn, signer(), reason="x", kept=signed.note)
    with engine.begin() as conn:
        after = tree.accept_loss(conn, signer(origin="news.example/2"), reason="x", kept=signed.note)
    assert after.origin == "news.example/2"
    with pytest.raises(OriginDiffers):
        integrate(engine)


def test_what_is_kept_never_goes_back(engine: Engine, place: Settings) -> None:
    append(engine, 3)
    caught_up(engine, place)
    newer = kept(place)
    made = Integrating.of(engine, place)
    append(engine, 1)
    with engine.begin() as conn:
        tree.integrate(conn, integrating.signer(place))
    ahead = caught_up(engine, place)
    assert (ahead.size, kept(place) != newer) == (4, True)
    assert made.catch_up() == ahead
    assert kept(place) == ahead.note


def test_a_service_signs_what_is_recorded_while_it_runs(engine: Engine, place: Settings) -> None:
    made = Integrating.of(engine, place)
    with integrating.in_background(made, engine):
        append(engine, 5)
        until(lambda: kept_is(place, 5))
        append(engine, 1)
        with engine.begin() as conn:
            log.announce(conn)
        until(lambda: kept_is(place, 6))
        append(engine, 2)
    assert kept_is(place, 8)


def kept_is(place: Settings, size: int) -> bool:
    path = place.data_dir / "checkpoint"
    return path.exists() and Checkpoint.unverified(kept(place)).size == size


def until(true: Callable[[], bool], within_s: float = 15) -> None:
    ticking = threading.Event()
    for _ in range(int(within_s / 0.05)):
        if true():
            return
        ticking.wait(0.05)
    raise AssertionError("it did not come about")


def test_a_service_says_once_that_nothing_is_signed_and_why(
    engine: Engine, owner_engine: Engine, place: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    append(engine, 5)
    made = Integrating.of(engine, place)
    made.catch_up()
    lose(owner_engine, 3, tree_too=False)
    stopping = threading.Event()
    with Listener(engine, log.CHANNEL) as listener:
        thread = threading.Thread(target=made.run, args=(listener, stopping))
        thread.start()
        until(lambda: bool(caplog.records))
        stopping.wait(0.8)
        stopping.set()
        thread.join(10)
    assert [record.getMessage()[:36] for record in caplog.records] == ["no checkpoint was signed: the log ha"]


# --- the commands ---------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(place: Settings, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs `onrecord` on the test's database; gives status, output and errors."""
    for name in [name for name in os.environ if name.startswith("ONRECORD_")]:
        monkeypatch.delenv(name)
    assert place.database_url is not None
    monkeypatch.setenv("ONRECORD_DATABASE_URL", place.database_url.get_secret_value())
    monkeypatch.setenv("ONRECORD_DATA_DIR", str(place.data_dir))

    def run(*args: object, **given: str) -> tuple[int, str, str]:
        for name, value in given.items():
            monkeypatch.setenv(f"ONRECORD_{name.upper()}", value)
        status = main([str(arg) for arg in args])
        sys.stdout.flush()
        said = capfdbinary.readouterr()
        return status, said.out.decode(), said.err.decode()

    return run


def test_prove_prints_what_the_verifier_reads(engine: Engine, run: Run, tmp_path: Path) -> None:
    append(engine, 3)
    status, note, said = run("checkpoint")
    assert status == 0
    key = run("checkpoint", "--key")[1].strip()
    assert key in said
    assert Checkpoint.opened(note, VerifierKey.parse(key)).size == 3
    older = tmp_path / "older"
    older.write_text(note, encoding="utf-8")
    append(engine, 2)
    status, evidence, _ = run("prove", 2, 5, "--since", older)
    assert status == 0
    assert check_evidence(evidence, key) == []
    assert [each["position"] for each in json.loads(evidence)["entries"]] == [2, 5]
    file = tmp_path / "proof"
    file.write_text(run("prove", 4, "--tlog-proof")[1], encoding="utf-8")
    assert proof.main(["verify", "--key", key, "--proof", str(file)]) == 0


def test_prove_says_what_it_cannot_prove(engine: Engine, run: Run) -> None:
    append(engine, 2)
    status, out, said = run("prove", 3)
    assert (status, out, "There is no entry at position 3; the log has 2." in said) == (1, "", True)
    assert run("prove", 0)[0] == run("prove")[0] == run("prove", 1, 2, "--tlog-proof")[0] == 2


def test_checkpoint_accepts_a_loss_that_is_one_and_for_a_reason(engine: Engine, owner_engine: Engine, run: Run) -> None:
    append(engine, 5)
    before = run("checkpoint")[1]
    status, _, said = run("checkpoint", "--accept-loss", "--reason", "Why not.")
    assert (status, "no loss to accept" in said) == (1, True)
    lose(owner_engine, 2, tree_too=True)
    status, out, said = run("checkpoint")
    assert (status, out, "the log has 2 entries" in said) == (1, "", True)
    assert run("checkpoint", "--accept-loss")[0] == run("checkpoint", "--reason", "x")[0] == 2
    assert run("checkpoint", "--accept-loss", "--reason", " ")[0] == 2
    status, after, said = run("checkpoint", "--accept-loss", "--reason", "The disk is gone.")
    assert (status, "Tell those who verify it" in said) == (0, True)
    assert Checkpoint.unverified(after).origin != Checkpoint.unverified(before).origin
    assert run("checkpoint")[1] == after


def test_checkpoint_makes_a_damaged_tree_anew(engine: Engine, run: Run) -> None:
    append(engine, 5)
    before = run("checkpoint")[1]
    spoil_tile(engine, 0, 0)
    assert "--rebuild" in run("checkpoint")[2]
    assert run("checkpoint", "--rebuild")[:2] == (0, before)
    assert mismatches(engine) == []


def test_the_origin_is_the_one_that_is_set(engine: Engine, run: Run) -> None:
    assert run("checkpoint", origin=ORIGIN, signing_key=SEED)[1].startswith(f"{ORIGIN}\n0\n")
    status, _, said = run("checkpoint", origin="two words")
    assert (status, "ONRECORD_ORIGIN cannot be used" in said) == (1, True)
    status, _, said = run("checkpoint", origin="another.example")
    assert (status, "put it back" in said) == (1, True)


def test_a_service_is_not_begun_on_a_log_that_is_not_what_was_signed(
    engine: Engine, owner_engine: Engine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(engine, 5)
    run("checkpoint")
    lose(owner_engine, 2, tree_too=True)
    monkeypatch.setattr(serving, "_answer", lambda *_, **__: pytest.fail("it answers"))
    status, out, said = run("serve", "--port", 0)
    assert (status, out, "the log has 2 entries" in said) == (1, "", True)

"""Keeping the tree up with the log: the loop around it, the signing key, and the checkpoint that is kept outside."""

import base64
import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from service import log, tree
from service.cli import opening, terminal
from service.cli.listening import Listener
from service.config import Settings
from service.database import schema
from service.database.engine import passing
from service.domain.errors import OnrecordError
from service.proof import Checkpoint, ProofInvalid
from service.tree import SignedCheckpoint, Signer

#: Under load, how long entries are gathered for one checkpoint.
_PAUSE_S: Final = 1.0
_BACK_OFF_S_MAX: Final = 10.0
_KEY: Final = "signing-key"
_KEPT: Final = "checkpoint"

_logger = logging.getLogger("onrecord.tree")


class Integrating:
    """Takes the log into its tree, signs, and keeps the newest checkpoint in a file. One thread at a time."""

    def __init__(self, engine: Engine, signer: Signer, kept: Path) -> None:
        self._engine = engine
        self._signer = signer
        self._path = kept
        self._where = f"kept in {kept}"

    @classmethod
    def of(cls, engine: Engine, settings: Settings) -> "Integrating":
        """With the key and the folder that the settings name; a key is made where there is none."""
        return cls(engine, signer(settings), opening.made(settings.data_dir) / _KEPT)

    def check(self) -> None:
        """Raise unless the log can be gone on with: nothing of what was signed is lost, and the key is its own."""
        with self._engine.connect() as conn:
            tree.check(conn, self._signer, kept=self._kept(), where=self._where)

    def catch_up(self) -> SignedCheckpoint:
        """Integrate and sign until the log has nothing new; returns the newest checkpoint, which is kept by then.

        A checkpoint is kept only once it is committed, and never one that the kept one
        is not a part of. Raises what `schema.check`, `tree.integrate` and `tree.check_kept` raise.
        """
        while True:
            kept = self._kept()
            with self._engine.connect() as conn:
                schema.check(conn)
                known = tree.newest(conn)
                if known is not None and known.note == kept and known.size == log.head(conn):
                    return known
            with self._engine.begin() as conn:
                signed = tree.integrate(conn, self._signer)
                if kept is not None and kept != signed.note:
                    tree.check_kept(conn, kept, self._signer, where=self._where)
                whole = log.head(conn) <= signed.size
            if kept is None or _size(kept) <= signed.size:
                self.keep(signed)
            if whole:
                return signed

    def accept_loss(self, reason: str) -> SignedCheckpoint:
        """Go on with what is left, under a new origin. Raises NothingLost."""
        with self._engine.begin() as conn:
            signed = tree.accept_loss(conn, self._signer, reason=reason, kept=self._kept())
        self.keep(signed)
        return signed

    def keep(self, signed: SignedCheckpoint) -> None:
        """Put the checkpoint into the file: whole, and there after a crash, or not at all."""
        made = self._path.with_name(f"{_KEPT}.{os.getpid()}-{threading.get_ident()}")
        try:
            _write(made, signed.note.encode(), mode=0o644)
            made.replace(self._path)
        finally:
            made.unlink(missing_ok=True)
        _sync(self._path.parent)

    def run(self, listener: Listener, stopping: threading.Event) -> None:
        """Catch up whenever there is something new, until `stopping` is set and the listener woken.

        Outlives a database that goes away and comes back. Where the log is not what was
        signed it signs nothing, says so, and looks again.
        """
        back_off_s, told, last = 0.0, "", ""
        while not stopping.is_set():
            try:
                signed = self.catch_up()
                back_off_s, told = 0.0, ""
                if signed.note == last:
                    listener.wait()
                else:
                    last = signed.note
                    stopping.wait(_PAUSE_S)
            except Exception as error:
                # Whatever it is: entries are still recorded, and somebody must hear that nothing is signed.
                back_off_s = min(max(0.5, back_off_s * 2), _BACK_OFF_S_MAX)
                if str(error) != told:
                    told = str(error)
                    trace = None if isinstance(error, OnrecordError) or passing(error) else error
                    _logger.error("no checkpoint was signed: %s", error, exc_info=trace)
                stopping.wait(back_off_s)

    def _kept(self) -> str | None:
        try:
            # Byte for byte: a damaged file is to be told of, not to be mended by reading.
            return self._path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def in_background(integrating: Integrating, engine: Engine) -> Generator[None]:
    """The tree grows in a thread of its own meanwhile; at the end it takes in what the log has by then."""
    stopping = threading.Event()
    with Listener(engine, log.CHANNEL) as listener:
        thread = threading.Thread(target=integrating.run, args=(listener, stopping), name="tree", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            listener.wake()
            thread.join(_BACK_OFF_S_MAX)
    if not thread.is_alive():
        # What was recorded in the last second would else be unsigned until the next start.
        try:
            integrating.catch_up()
        except Exception as error:  # noqa: BLE001 - it was told before, or the next start tells it
            _logger.warning("the newest entries are not signed: %s", error)


def kept(settings: Settings) -> Path | None:
    """Where the newest checkpoint is kept outside the database, if there is one."""
    path = settings.data_dir / _KEPT
    return path if path.exists() else None


def signer(settings: Settings) -> Signer:
    """The key that the settings name, else the one in the data folder, made there if there is none."""
    if settings.signing_key is not None:
        return Signer.of(settings.signing_key.get_secret_value(), origin=settings.origin, where="ONRECORD_SIGNING_KEY")
    path = opening.made(settings.data_dir) / _KEY
    if not path.exists():
        _make_key(path)
    if path.stat().st_mode & 0o077:
        terminal.warn(f"{path} can be read by others, who could sign for the log; `chmod 600` it.")
    return Signer.of(path.read_text(encoding="utf-8", errors="replace"), origin=settings.origin, where=f"in {path}")


def _make_key(path: Path) -> None:
    made = path.with_name(f"{_KEY}.{os.getpid()}-{threading.get_ident()}")
    try:
        _write(made, base64.b64encode(secrets.token_bytes(32)) + b"\n", mode=0o600)
        # Of two that start together, one makes it; a key that was used once is never written over.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(made)
    finally:
        made.unlink(missing_ok=True)
    _sync(path.parent)


def _write(path: Path, content: bytes, *, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        # Whatever the umask, others may see a checkpoint, and never a key.
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    """Make sure that a new name in the folder is still there after a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(note: str) -> int:
    try:
        return Checkpoint.unverified(note).size
    except ProofInvalid:
        return 0

"""Who signs: the key, the origin under which the log signs, and the checkpoints it signed."""

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, func, insert, select

from service import tables
from service.domain.errors import BadArgument, OriginDiffers, SigningKeyDiffers, SigningKeyInvalid
from service.proof import Checkpoint, VerifierKey, is_key_name, signature_line

_SEED_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Signer:
    """What this program signs with, and as whom it was told to."""

    private: Ed25519PrivateKey = field(repr=False)
    origin: str | None = None  #: None: whichever the log has, a random one for a log without.

    @classmethod
    def of(cls, seed: str, *, origin: str | None = None, where: str) -> Self:
        """The signer whose Ed25519 seed is written in base64; `where`, for messages. Raises SigningKeyInvalid."""
        try:
            data = base64.b64decode(seed.strip(), validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if len(data) != _SEED_SIZE:
            raise SigningKeyInvalid(where)
        if origin is not None and not is_key_name(origin):
            raise BadArgument(
                f"{origin!r} cannot be an origin: it needs to be without spaces, + and control characters"
            )
        return cls(Ed25519PrivateKey.from_private_bytes(data), origin)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def sign(self, checkpoint: Checkpoint) -> str:
        """The checkpoint as a note that is signed under its origin."""
        body = checkpoint.text()
        key = VerifierKey(checkpoint.origin, self.public)
        return f"{body}\n{signature_line(key, self.private.sign(body.encode()))}"


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom the log signs, from a size on."""

    number: int
    origin: str
    public_key: bytes
    since_size: int
    begun_at: datetime
    reason: str | None  #: why another was given up for it.
    given_up: str | None  #: the checkpoint that the log could no longer answer for.

    @property
    def key(self) -> VerifierKey:
        """What others verify with."""
        return VerifierKey(self.origin, self.public_key)


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as it was signed."""

    origin: str
    size: int
    root: bytes
    note: str
    signed_at: datetime


def identities(conn: Connection) -> list[Identity]:
    """All of them, oldest first; the last holds. More than one: losses were accepted."""
    found = conn.execute(select(tables.log_identity).order_by(tables.log_identity.c.number))
    return [Identity(*row) for row in found]


def identity(conn: Connection) -> Identity | None:
    """As whom the log signs; None before it has signed anything."""
    found = conn.execute(select(tables.log_identity).order_by(tables.log_identity.c.number.desc()).limit(1)).first()
    return None if found is None else Identity(*found)


def newest(conn: Connection) -> SignedCheckpoint | None:
    """The newest checkpoint; None before anything was signed."""
    row = tables.checkpoint
    origin = select(tables.log_identity.c.origin).order_by(tables.log_identity.c.number.desc()).limit(1)
    found = conn.execute(
        select(row).where(row.c.origin == origin.scalar_subquery()).order_by(row.c.size.desc()).limit(1)
    ).first()
    return None if found is None else SignedCheckpoint(*found)


def agreed(known: Identity | None, signer: Signer) -> Identity | None:
    """`known`, if the signer may sign for it."""
    if known is not None:
        if known.public_key != signer.public:
            raise SigningKeyDiffers(known.origin)
        if signer.origin not in (None, known.origin):
            raise OriginDiffers(known.origin, wanted=signer.origin)
    return known


def begin(
    conn: Connection, signer: Signer, *, since_size: int = 0, reason: str | None = None, given_up: str | None = None
) -> Identity:
    row = tables.log_identity
    number = conn.execute(select(func.coalesce(func.max(row.c.number), 0) + 1)).scalar_one()
    values = {
        "number": number,
        "origin": signer.origin or random_origin(),
        "public_key": signer.public,
        "since_size": since_size,
        "begun_at": func.clock_timestamp(),
        "reason": reason,
        "given_up": given_up,
    }
    return Identity(*conn.execute(insert(row).values(values).returning(*row.c)).one())


def random_origin() -> str:
    return f"onrecord/{uuid4().hex}"

"""The offline verifier: sees, without a database or a network, whether an entry is in a log.

    python -m service.proof verify --key VKEY evidence.json
    python -m service.proof verify --key VKEY --leaf FILE --proof FILE [--checkpoint FILE]

It trusts nothing but the verifier key, which must come from elsewhere than the
proof. It is the standard library, one signature library and `domain/merkle`, so that
it can be read in one sitting. `docs/proof.md` describes what it reads: notes and keys
(C2SP signed-note), checkpoints (tlog-checkpoint), proofs (tlog-proof), and evidence.
"""

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, Self, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from service.domain import merkle

#: The name of the evidence format, in its field `format`.
FORMAT: Final = "onrecord-proof@1"
_TLOG_PROOF: Final = "c2sp.org/tlog-proof@v1"
#: The kind of key and signature: Ed25519 over the text of the note.
_ED25519: Final = b"\x01"
#: More than any note of ours has; whoever sends more wants to keep us busy.
_NOTE_BYTES_MAX: Final = 1_000_000
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_TELLING: Final = ("type", "recorded_at")


class ProofInvalid(ValueError):
    """What was handed in proves nothing; the message says where."""


# --- keys and notes -------------------------------------------------------------------


def is_key_name(name: str) -> bool:
    """Whether a key, and so a log, can have this name: not empty, no space, no plus, no control character.

    >>> is_key_name("example.org/log"), is_key_name("a log"), is_key_name("a+b")
    (True, False, False)
    """
    return bool(name) and not any(
        char.isspace() or char == "+" or unicodedata.category(char) in {"Cc", "Cs"} for char in name
    )


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """An Ed25519 public key with the name of the log that signs with it."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key written as `name+hash+base64`, as `onrecord checkpoint` prints it. Raises ProofInvalid."""
        name, _, rest = text.strip().partition("+")
        key_hash, _, encoded = rest.partition("+")
        data = _base64(encoded, "the verifier key")
        if not is_key_name(name) or data[:1] != _ED25519 or len(data) != 1 + merkle.HASH_SIZE:
            raise ProofInvalid("the verifier key is not an Ed25519 key written as name+hash+base64")
        key = cls(name, data[1:])
        if key_hash != key.id.hex():
            raise ProofInvalid("the verifier key is damaged: its hash is not that of its name and key")
        return key

    @property
    def id(self) -> bytes:
        """The four bytes by which signatures name the key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def verify(self, signature: bytes, text: bytes) -> bool:
        """Whether this key signed `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


def signature_line(key: VerifierKey, signature: bytes) -> str:
    """The line that carries a signature in a note."""
    return f"\N{EM DASH} {key.name} {base64.b64encode(key.id + signature).decode()}\n"


def open_note(note: str | bytes, key: VerifierKey) -> str:
    """The text of a note that `key` signed. Signatures of keys unknown here are ignored. Raises ProofInvalid."""
    text, signatures = _split_note(note)
    signed = False
    for name, data in signatures:
        if (name, data[:4]) != (key.name, key.id):
            continue
        if not key.verify(data[4:], text.encode()):
            raise ProofInvalid(f"the signature of {name} does not fit the checkpoint")
        signed = True
    if not signed:
        raise ProofInvalid(f"the checkpoint is not signed by {key.name}, with the key {key.id.hex()}")
    return text


def _split_note(note: str | bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """The text of a note and its signatures, each as the key's name, and its id with the signature."""
    if len(note) > _NOTE_BYTES_MAX:
        raise ProofInvalid("the checkpoint is too long")
    try:
        whole = note.decode() if isinstance(note, bytes) else note.encode().decode()
    except UnicodeError:
        raise ProofInvalid("the checkpoint is not UTF-8") from None
    if any(char < " " and char != "\n" for char in whole):
        raise ProofInvalid("the checkpoint holds a control character")
    text, separated, signed = whole.rpartition("\n\n")
    if not separated or not text or not signed.endswith("\n"):
        raise ProofInvalid("the checkpoint is not a signed note: text, an empty line, signatures")
    signatures: list[tuple[str, bytes]] = []
    for line in signed[:-1].split("\n"):
        dash, *words = line.split(" ")
        if dash != "\N{EM DASH}" or len(words) != 2 or not is_key_name(words[0]):
            raise ProofInvalid("the checkpoint has a signature line that cannot be read")
        data = _base64(words[1], "a signature of the checkpoint")
        if len(data) < 5:
            raise ProofInvalid("the checkpoint has a signature line that cannot be read")
        signatures.append((words[0], data))
    return f"{text}\n", signatures


# --- checkpoints ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: so many entries, under this root."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint in the text of a note. Extension lines are ignored. Raises ProofInvalid."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise ProofInvalid("the checkpoint is not three lines: origin, size and root")
        origin, size, root = lines[:3]
        if not _NUMBER.fullmatch(size):
            raise ProofInvalid("the size in the checkpoint is no number")
        return cls(origin, int(size), _hash(root, "the root in the checkpoint"))

    @classmethod
    def opened(cls, note: str | bytes, key: VerifierKey) -> Self:
        """The checkpoint in a note, which `key` must have signed for the log of its own name. Raises ProofInvalid."""
        checkpoint = cls.parse(open_note(note, key))
        if checkpoint.origin != key.name:
            raise ProofInvalid(f"the checkpoint is of the log {checkpoint.origin}, and the key of {key.name}")
        return checkpoint

    @classmethod
    def unverified(cls, note: str | bytes) -> Self:
        """The checkpoint in a note, whoever signed it: for looking at, not to rely on. Raises ProofInvalid."""
        return cls.parse(_split_note(note)[0])

    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{encoded(self.root)}\n"


# --- evidence -------------------------------------------------------------------------


def check_evidence(data: Mapping[str, Any] | str | bytes, key: VerifierKey | str) -> list[str]:
    """What is wrong with the evidence, as sentences; nothing if it proves all that it says.

    `key` is the verifier key, from somewhere that is trusted: the one that the
    evidence names, if it does, is only compared with it.
    """
    try:
        known = VerifierKey.parse(key) if isinstance(key, str) else key
        return _problems(_read(data), known)
    except ProofInvalid as error:
        return [_sentence(str(error))]


def _problems(evidence: Mapping[str, Any], key: VerifierKey) -> list[str]:
    single = "entries" not in evidence
    _known_fields(
        evidence,
        "the evidence",
        required={"checkpoint"} | ({"leaf", "index", "proof"} if single else {"entries"}),
        optional={"format", "key", "consistency"} | ({"payload", "position"} if single else set()),
    )
    if evidence.get("format", FORMAT) != FORMAT:
        raise ProofInvalid(f"the evidence is not in the format {FORMAT}; a newer verifier may read it")
    if evidence.get("key", str(key)) != str(key):
        raise ProofInvalid("the evidence names another key than the one that is trusted")
    checkpoint = Checkpoint.opened(_string(evidence["checkpoint"], "checkpoint"), key)
    shared = {"format", "key", "checkpoint", "consistency"}
    entries = (
        [{name: value for name, value in evidence.items() if name not in shared}]
        if single
        else _list(evidence["entries"], "entries")
    )
    consistency = _list(evidence.get("consistency", []), "consistency")
    if not entries and not consistency:
        raise ProofInvalid("the evidence holds no entry and no older checkpoint, and so proves nothing")
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            _check_entry(_object(entry, "an entry"), checkpoint)
        except (ProofInvalid, merkle.ProofInvalid) as error:
            where = "The entry" if single else f"Entry {number} of {len(entries)}"
            problems.append(_sentence(f"{where} is not proven: {error}"))
    for number, older in enumerate(consistency, 1):
        try:
            _check_older(_object(older, "an older checkpoint"), checkpoint, key)
        except (ProofInvalid, merkle.ProofInvalid) as error:
            problems.append(_sentence(f"Older checkpoint {number} of {len(consistency)} is not proven: {error}"))
    return problems


def _check_entry(entry: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    _known_fields(entry, "it", required={"leaf", "index", "proof"}, optional={"payload", "position"})
    leaf, index = _bytes(entry["leaf"], "leaf"), _number(entry["index"], "index")
    if "position" in entry and _number(entry["position"], "position") != index + 1:
        raise ProofInvalid("its position is not its index plus one")
    merkle.verify_inclusion(
        leaf=merkle.leaf_hash(leaf),
        index=index,
        size=checkpoint.size,
        proof=_hashes(entry["proof"]),
        root=checkpoint.root,
    )
    if "payload" in entry:
        check_payload(leaf, _bytes(entry["payload"], "payload"))


def _check_older(older: Mapping[str, Any], checkpoint: Checkpoint, key: VerifierKey) -> None:
    _known_fields(older, "it", required={"checkpoint", "proof"}, optional=set())
    before = Checkpoint.opened(_string(older["checkpoint"], "checkpoint"), key)
    merkle.verify_consistency(
        first=before.size,
        first_root=before.root,
        second=checkpoint.size,
        second_root=checkpoint.root,
        proof=_hashes(older["proof"]),
    )


def check_payload(leaf: bytes, payload: bytes) -> None:
    """See that `payload` is the one whose hash is in `leaf`. Raises ProofInvalid."""
    named = _said(leaf).get("payload_sha256")
    if not isinstance(named, str):
        raise ProofInvalid("its leaf names no payload")
    if named != hashlib.sha256(payload).hexdigest():
        raise ProofInvalid("its payload is not the one whose hash is in the leaf")


# --- proofs as C2SP tlog-proof has them -----------------------------------------------


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof in the form of C2SP tlog-proof. Ours carry the leaf as their extra data."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str  #: the note.
    extra: bytes | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ProofInvalid."""
        head, _, note = text.partition("\n\n")
        first, *lines = head.split("\n")
        if first != _TLOG_PROOF:
            raise ProofInvalid(f"the proof does not begin with {_TLOG_PROOF}")
        extra = _base64(lines.pop(0)[6:], "the extra data") if lines and lines[0].startswith("extra ") else None
        number = lines.pop(0)[6:] if lines and lines[0].startswith("index ") else ""
        if not _NUMBER.fullmatch(number):
            raise ProofInvalid("the proof names no index")
        return cls(int(number), tuple(_hash(line, "a hash of the proof") for line in lines), note, extra)

    def __str__(self) -> str:
        extra = [] if self.extra is None else [f"extra {base64.b64encode(self.extra).decode()}"]
        lines = [_TLOG_PROOF, *extra, f"index {self.index}", *map(encoded, self.hashes)]
        return "\n".join([*lines, "", self.checkpoint])


# --- reading what nobody vouches for --------------------------------------------------


def encoded(hash: bytes) -> str:
    """A hash as notes and evidence write it."""
    return base64.b64encode(hash).decode()


def _read(data: Mapping[str, Any] | str | bytes) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    try:
        return _object(json.loads(data, object_pairs_hook=_without_repeats, parse_constant=_refuse), "the evidence")
    except (ValueError, RecursionError) as error:
        if isinstance(error, ProofInvalid):
            raise
        raise ProofInvalid("the evidence is not JSON") from None


def _said(leaf: bytes) -> Mapping[str, Any]:
    """What a leaf says, if it is one of ours."""
    try:
        return _read(leaf.decode())
    except (ProofInvalid, UnicodeError):
        return {}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two fields of one name, another reader might show the one that we did not check.
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ProofInvalid("the evidence names a field twice")
    return made


def _refuse(constant: str) -> NoReturn:
    raise ProofInvalid(f"the evidence is not JSON: {constant}")


def _known_fields(found: Mapping[str, Any], where: str, *, required: set[str], optional: set[str]) -> None:
    if missing := sorted(required - found.keys()):
        raise ProofInvalid(f"{where} lacks {', '.join(missing)}")
    # Whatever else it says would look proven, and is not.
    if unknown := sorted(found.keys() - required - optional):
        raise ProofInvalid(f"{where} says more than is proven: {', '.join(unknown)}")


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ProofInvalid(f"{what} is not a JSON object")
    return cast("Mapping[str, Any]", value)


def _list(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ProofInvalid(f"{name} is not a list")
    return cast("list[Any]", value)


def _string(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ProofInvalid(f"{name} is not a string")
    return value


def _bytes(value: Any, name: str) -> bytes:
    """The UTF-8 of a text: leaves and payloads are JSON, and stand in the evidence as they are."""
    try:
        return _string(value, name).encode()
    except UnicodeError:
        raise ProofInvalid(f"{name} cannot be written as UTF-8") from None


def _number(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProofInvalid(f"{name} is not a whole number from 0")
    return value


def _hashes(value: Any) -> list[bytes]:
    return [_hash(_string(each, "a hash of the proof"), "a hash of the proof") for each in _list(value, "proof")]


def _hash(text: str, what: str) -> bytes:
    data = _base64(text, what)
    if len(data) != merkle.HASH_SIZE:
        raise ProofInvalid(f"{what} is not {merkle.HASH_SIZE} bytes long")
    return data


def _base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = None
    # One value has one spelling: unused bits are zero.
    if data is None or base64.b64encode(data).decode() != text:
        raise ProofInvalid(f"{what} is not base64")
    return data


# --- the command ----------------------------------------------------------------------


def main(args: Sequence[str] | None = None) -> int:
    """Verify what the arguments name, and say so in a sentence; 0 if it is proven, 1 if not, 2 if called wrongly."""
    parser = _parser()
    given = parser.parse_args(args)
    if given.proof is None and (given.leaf or given.checkpoint or given.payload):
        parser.error("evidence has leaf, checkpoint and payload in it; to give them as files, give --proof too")
    try:
        problems, proven = _verified(given)
    except (ProofInvalid, merkle.ProofInvalid) as error:
        problems, proven = [_sentence(str(error))], ""
    except OSError as error:
        problems, proven = [f"{error.filename} cannot be read: {error.strerror}."], ""
    except UnicodeError:
        problems, proven = ["A file that should be text is not UTF-8."], ""
    if problems:
        sys.stdout.write(f"Not proven: {_plain(' '.join(problems))}\n")
        return 1
    sys.stdout.write(f"Proven: {_plain(proven)}\n")
    return 0


def _verified(given: argparse.Namespace) -> tuple[list[str], str]:
    """What is wrong, and what is proven if nothing is."""
    key = VerifierKey.parse(given.key)
    if given.evidence is not None:
        evidence = _read(Path(given.evidence).read_bytes())
        problems = check_evidence(evidence, key)
        return problems, "" if problems else _told(evidence, key)
    proof = TlogProof.parse(Path(given.proof).read_text(encoding="utf-8"))
    leaf = proof.extra if given.leaf is None else Path(given.leaf).read_bytes()
    if leaf is None:
        raise ProofInvalid("the proof brings no leaf along; name its file with --leaf")
    note = proof.checkpoint if given.checkpoint is None else Path(given.checkpoint).read_bytes()
    checkpoint = Checkpoint.opened(note, key)
    merkle.verify_inclusion(
        leaf=merkle.leaf_hash(leaf),
        index=proof.index,
        size=checkpoint.size,
        proof=proof.hashes,
        root=checkpoint.root,
    )
    if given.payload is not None:
        check_payload(leaf, Path(given.payload).read_bytes())
    return [], f"{_entry(leaf, proof.index)} is in {_log(checkpoint)}."


def _told(evidence: Mapping[str, Any], key: VerifierKey) -> str:
    """What the evidence proves, once it is known that it does."""
    checkpoint = Checkpoint.opened(evidence["checkpoint"], key)
    entries = evidence.get("entries", [evidence])
    told = [_entry(entry["leaf"].encode(), entry["index"]) for entry in entries]
    shown = ", ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")
    older = [Checkpoint.opened(each["checkpoint"], key).size for each in evidence.get("consistency", [])]
    extends = f"it still begins with the {_sizes(older)} entries that it was signed for before" if older else ""
    if not told:
        return f"of {_log(checkpoint)}, {extends}."
    verb = "is" if len(told) == 1 else "are"
    return f"{shown} {verb} in {_log(checkpoint)}{f', and {extends}' if extends else ''}."


def _entry(leaf: bytes, index: int) -> str:
    """An entry by its position, and by what its leaf says of it."""
    says = _said(leaf)
    words = [value for name in _TELLING if isinstance(value := says.get(name), str)]
    return f"entry {index + 1}" + (f" ({', '.join(words)})" if words else "")


def _log(checkpoint: Checkpoint) -> str:
    return f"the log {checkpoint.origin}, of {checkpoint.size} entries"


def _sizes(sizes: Sequence[int]) -> str:
    return " and ".join(str(size) for size in sorted(sizes))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _plain(text: str) -> str:
    """On one line, with nothing in it that moves a cursor: the evidence may come from anyone."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.proof", description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(required=True, metavar="verify")
    verify = commands.add_parser("verify", help="see whether an entry is in a log")
    verify.add_argument(
        "--key", required=True, metavar="VKEY", help="the log's verifier key, name+hash+base64, as you know it to be"
    )
    what = verify.add_mutually_exclusive_group(required=True)
    what.add_argument("evidence", nargs="?", metavar="EVIDENCE", help="what `onrecord prove` printed")
    what.add_argument("--proof", metavar="FILE", help="a proof in the form of C2SP tlog-proof")
    verify.add_argument("--leaf", metavar="FILE", help="the leaf; by default the extra data of the proof")
    verify.add_argument("--checkpoint", metavar="FILE", help="a signed checkpoint; by default the one in the proof")
    verify.add_argument("--payload", metavar="FILE", help="the payload, to be compared with its hash in the leaf")
    return parser


if __name__ == "__main__":
    sys.exit(main())

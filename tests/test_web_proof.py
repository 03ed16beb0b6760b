"""The proof that a browser checks: `service/web/proof.js`, run by node on what the service's own code proves."""

import base64
import copy
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from service import proof
from service.domain import merkle
from service.domain.canonical import canonical_json
from service.proof import Checkpoint, VerifierKey
from tests.api import SEEDS, Api
from tests.conftest import Database
from tests.test_merkle import hashes_of
from tests.test_tree import integrate
from tests.web import run

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey("news.example/log", PRIVATE.public_key().public_bytes_raw())
STEPS = ["payload", "leaf", "path", "signature"]

#: What the Log screen asks for.
QUERY = """query ($position: Position!) {
  log { verifierKey checkpoint { note } }
  event(position: $position) {
    position type schemaVersion recordedAt actor eventId payload leaf inclusionProof { hashes }
  }
}"""

Case = dict[str, Any]


def checked(*cases: Case) -> list[dict[str, bool | None]]:
    """Which steps passed, for each case."""
    found = run("proof.js", "return Promise.all(given.map(({ event, log }) => module.check(event, log)));", cases)
    assert all([step["name"] for step in steps] == STEPS and all(step["told"] for step in steps) for steps in found)
    return [{step["name"]: step["passed"] for step in steps} for steps in found]


PASSED = dict.fromkeys(STEPS, True)


def payload_of(index: int) -> dict[str, Any]:
    return {
        "url": f"https://example.org/{index}",
        "quote": '„so“ \u2028 "\t" 🙂',
        "start": index,
        "1": {"b": [], "a": True},
    }


def envelope(index: int) -> dict[str, Any]:
    return {
        "actor": "cli:anna",
        "event_id": f"5e5b6a9e-0000-4000-8000-{index:012}",
        "payload_sha256": sha256(canonical_json(payload_of(index))).hexdigest(),
        "recorded_at": f"2022-02-15T18:00:{index % 60:02}.000{index % 7}00Z",
        "schema_version": 1,
        "type": "ArticleRecorded",
    }


LEAVES = [canonical_json(envelope(index)) for index in range(70)]


def signed(text: str) -> str:
    return f"{text}\n{proof.signature_line(KEY, PRIVATE.sign(text.encode()))}"


def case(index: int = 4, size: int = 21) -> Case:
    """What the API gives of one entry of a log with so many."""
    given = envelope(index)
    hashes = merkle.inclusion_proof(index, size, hashes_of(LEAVES[:size]))
    return {
        "log": {
            "verifierKey": str(KEY),
            "checkpoint": {"note": signed(Checkpoint(KEY.name, size, merkle.root(LEAVES[:size])).text())},
        },
        "event": {
            "position": index + 1,
            "type": given["type"],
            "schemaVersion": given["schema_version"],
            # The API leaves out a fraction that is zero, and a leaf does not.
            "recordedAt": given["recorded_at"].replace(".000000Z", "Z"),
            "actor": given["actor"],
            "eventId": given["event_id"],
            "payload": payload_of(index),
            "leaf": LEAVES[index].decode(),
            "inclusionProof": {"hashes": [proof.encoded(each) for each in hashes]},
        },
    }


def test_what_is_in_the_log_is_proven_at_every_place_of_trees_of_every_size() -> None:
    cases = [case(index, size) for size in [*range(1, 18), 31, 32, 33, 70] for index in range(size)]
    assert checked(*cases) == [PASSED] * len(cases)


def test_what_the_api_answers_is_proven(database: Database, engine: Engine) -> None:
    with Api(database) as api:
        api.record(*SEEDS)
        integrate(engine)
        answers = [api.ask(QUERY, position=position) for position in range(1, len(SEEDS) + 1)]
    assert checked(*answers) == [PASSED] * len(SEEDS)


def test_canonical_json_is_that_of_the_service() -> None:
    values = [
        payload_of(1),
        [],
        {},
        [[1, {"é": None, "Z": "\u0001\\/é"}]],
        {"__proto__": 1, "10": 2, "9": 3},
        "x",
        2**53 - 1,
    ]
    made = run("proof.js", "return given.map((each) => module.canonical(each));", values)
    # orjson sorts by UTF-8; the names of ours are ASCII, where the two orders are one.
    assert made == [canonical_json(value).decode() for value in values]


def flipped(text: str) -> Iterator[str]:
    """The base64 of the same bytes with one bit of one of them changed, for each."""
    data = base64.b64decode(text)
    for at in range(len(data)):
        yield base64.b64encode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]).decode()


def tampered(change: Callable[[Case], None]) -> Case:
    made = copy.deepcopy(case())
    change(made)
    return made


def with_note(note: str) -> Case:
    return tampered(lambda made: made["log"]["checkpoint"].update(note=note))


def test_each_byte_of_the_leaf_counts() -> None:
    leaf = LEAVES[4].decode()
    changed = [leaf[:at] + chr(ord(leaf[at]) ^ 1) + leaf[at + 1 :] for at in range(len(leaf))]
    found = checked(*[tampered(lambda made, leaf=each: made["event"].update(leaf=leaf)) for each in changed])
    assert all(not steps["path"] and steps["signature"] for steps in found)
    # Where its bytes are those of the payload's hash, it is the payload that does not fit.
    assert all(not steps["leaf"] or not steps["payload"] for steps in found)


def test_each_byte_of_the_path_counts() -> None:
    hashes = case()["event"]["inclusionProof"]["hashes"]
    changed = [[*hashes[:at], each, *hashes[at + 1 :]] for at, whole in enumerate(hashes) for each in flipped(whole)]
    changed += [hashes[1:], hashes[:-1], [*hashes, hashes[0]], hashes[::-1], [], [hashes[0][:-4], *hashes[1:]]]
    found = checked(
        *[tampered(lambda made, hashes=each: made["event"]["inclusionProof"].update(hashes=hashes)) for each in changed]
    )
    assert found == [{**PASSED, "path": False}] * len(changed)


def test_each_byte_of_the_signed_root_counts() -> None:
    origin, size, root, *rest = case()["log"]["checkpoint"]["note"].split("\n")
    found = checked(*[with_note("\n".join([origin, size, each, *rest])) for each in flipped(root)])
    assert found == [{**PASSED, "path": False, "signature": False}] * 32


def test_another_size_or_origin_is_not_what_was_signed() -> None:
    origin, size, *rest = case()["log"]["checkpoint"]["note"].split("\n")
    sizes = [str(each) for each in (0, 4, 5, 20, 22, 69)] + ["021", "x", "", "-1", "2e1"]
    found = checked(*[with_note("\n".join([origin, each, *rest])) for each in sizes])
    assert all(steps["signature"] is False for steps in found)
    assert checked(with_note("\n".join([f"{origin}x", size, *rest]))) == [{**PASSED, "signature": False}]


def test_each_byte_of_the_signature_counts() -> None:
    text, _, line = case()["log"]["checkpoint"]["note"].rpartition("\n\n")
    dash, name, encoded = line.rstrip("\n").split(" ")
    found = checked(*[with_note(f"{text}\n\n{dash} {name} {each}\n") for each in flipped(encoded)])
    # Four bytes that name the key, and 64 of the signature.
    assert found == [{**PASSED, "signature": False}] * 68


def test_a_checkpoint_without_a_signature_shows_nothing() -> None:
    text = case()["log"]["checkpoint"]["note"].partition("\n\n")[0]
    found = checked(*[with_note(note) for note in ("", "\n\n", "a", "a\n\n", text, f"{text}\n", f"{text}\n\n")])
    assert found == [{**PASSED, "path": False, "signature": False}] * 7


def test_another_key_is_not_the_one_that_signed() -> None:
    other = VerifierKey(KEY.name, Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw())
    renamed = VerifierKey("other.example/log", KEY.public)
    damaged = str(KEY).replace(KEY.id.hex(), "00000000")
    for key in (str(other), str(renamed), damaged, "", "news.example/log"):
        changed = tampered(lambda made, key=key: made["log"].update(verifierKey=key))
        assert checked(changed) == [{**PASSED, "signature": False}]


def test_signatures_of_others_are_passed_over() -> None:
    witness = VerifierKey(
        "witness.example", Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    )
    assert checked(with_note(case()["log"]["checkpoint"]["note"] + proof.signature_line(witness, bytes(64)))) == [
        PASSED
    ]


def test_the_content_shown_is_that_of_the_leaf() -> None:
    changed = tampered(lambda made: made["event"]["payload"].update(start=5))
    assert checked(changed) == [{**PASSED, "payload": False}]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "ArticleRevised"},
        {"actor": "cli:ann"},
        {"recordedAt": "2022-02-15T18:00:04.000401Z"},
        {"eventId": "5e5b6a9e-0000-4000-8000-000000000005"},
        {"schemaVersion": 2},
    ],
)
def test_what_is_shown_of_an_entry_is_what_its_leaf_says(change: Case) -> None:
    assert checked(tampered(lambda made: made["event"].update(change))) == [{**PASSED, "leaf": False}]


def test_another_position_is_not_proven() -> None:
    found = checked(*[tampered(lambda made, at=at: made["event"].update(position=at)) for at in (0, 1, 4, 6, 22)])
    assert found == [{**PASSED, "path": False}] * 5


def test_a_browser_without_ed25519_says_so() -> None:
    found = run(
        "proof.js",
        """
        crypto.subtle.importKey = () => Promise.reject(new DOMException("Unrecognized name.", "NotSupportedError"));
        return module.check(given.event, given.log);
        """,
        case(),
    )
    assert {step["name"]: step["passed"] for step in found} == {**PASSED, "signature": None}

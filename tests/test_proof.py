"""The offline verifier: it accepts what is true, and nothing that was tampered with."""

import base64
import copy
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from service import proof
from service.domain import merkle
from service.proof import Checkpoint, ProofInvalid, TlogProof, VerifierKey, check_evidence
from tests import builders as builders
from tests.test_merkle import hashes_of

ROOT = Path(__file__).resolve().parents[1]
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORIGIN = "news.example/log"
PAYLOADS = [json.dumps({"url": f"https://example.org/{i}", "quote": "„so“"}).encode() for i in range(21)]
LEAVES = [
    json.dumps(
        {
            "payload_sha256": hashlib.sha256(payload).hexdigest(),
            "recorded_at": f"2022-02-15T18:00:{i:02}.000000Z",
            "type": "ArticleRecorded",
        }
    ).encode()
    for i, payload in enumerate(PAYLOADS)
]


def key_of(private: Ed25519PrivateKey = PRIVATE, name: str = ORIGIN) -> VerifierKey:
    return VerifierKey(name, private.public_key().public_bytes_raw())


def signed(text: str, *, by: Ed25519PrivateKey = PRIVATE, name: str = ORIGIN) -> str:
    return f"{text}\n{proof.signature_line(key_of(by, name), by.sign(text.encode()))}"


def note(size: int = len(LEAVES), *, origin: str = ORIGIN, **signing: Any) -> str:
    return signed(Checkpoint(origin, size, merkle.root(LEAVES[:size])).text(), **signing)


def entry(index: int, size: int = len(LEAVES)) -> dict[str, Any]:
    return {
        "position": index + 1,
        "index": index,
        "leaf": LEAVES[index].decode(),
        "proof": [proof.encoded(each) for each in merkle.inclusion_proof(index, size, hashes_of(LEAVES))],
        "payload": PAYLOADS[index].decode(),
    }


def older(first: int, second: int = len(LEAVES)) -> dict[str, Any]:
    hashes = merkle.consistency_proof(first, second, hashes_of(LEAVES))
    return {"checkpoint": note(first), "proof": [proof.encoded(each) for each in hashes]}


def whole() -> dict[str, Any]:
    """Evidence with everything that evidence can have."""
    return {
        "format": proof.FORMAT,
        "key": str(key_of()),
        "checkpoint": note(),
        "entries": [entry(4), entry(20)],
        "consistency": [older(8), older(13)],
    }


def single(index: int = 4) -> dict[str, Any]:
    return {"checkpoint": note(), **entry(index)}


# --- keys and notes -------------------------------------------------------------------

#: The example in the documentation of Go's golang.org/x/mod/sumdb/note.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NEUMANN_NOTE = (
    f"{NEUMANN_TEXT}\n\N{EM DASH} PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_notes_and_keys_of_others_are_read() -> None:
    key = VerifierKey.parse(NEUMANN)
    assert str(key) == NEUMANN
    assert proof.open_note(NEUMANN_NOTE, key) == NEUMANN_TEXT
    go = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(VerifierKey.parse(go)) == go


def small_parser(note: str, vkey: str) -> tuple[str, int, bytes]:
    """A note opened by the words of the specification alone, with nothing of the code above."""
    name, hash, encoded = vkey.split("+", 2)
    key = base64.b64decode(encoded)
    assert key[0] == 1
    assert hashlib.sha256(name.encode() + b"\x0a" + key).hexdigest()[:8] == hash
    found = re.fullmatch(r"((.+)\n(\d+)\n(.{44})\n)\n\u2014 (\S+) (\S+)\n", note)
    assert found is not None
    text, origin, size, root, signer, signature = found.groups()
    assert signer == origin == name
    raw = base64.b64decode(signature)
    assert raw[:4].hex() == hash
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], text.encode())
    return origin, int(size), base64.b64decode(root)


def test_our_checkpoints_are_notes_that_others_can_open() -> None:
    assert small_parser(note(), str(key_of())) == (ORIGIN, len(LEAVES), merkle.root(LEAVES))
    assert Checkpoint.opened(note().encode(), key_of()) == Checkpoint(ORIGIN, len(LEAVES), merkle.root(LEAVES))


def test_signatures_of_witnesses_are_passed_over() -> None:
    witnessed = note() + proof.signature_line(key_of(OTHER, "witness.example"), bytes(64)) * 16
    assert Checkpoint.opened(witnessed, key_of()).size == len(LEAVES)
    # Of one name, but another key: not known either.
    assert Checkpoint.opened(note() + proof.signature_line(key_of(OTHER), bytes(64)), key_of()).size == len(LEAVES)


def test_extension_lines_are_passed_over() -> None:
    extended = signed(f"{Checkpoint(ORIGIN, 1, merkle.root(LEAVES[:1])).text()}and more\n")
    assert Checkpoint.opened(extended, key_of()).size == 1


ROOT_LINE = proof.encoded(merkle.root(LEAVES))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{ORIGIN}\n021\n{ROOT_LINE}\n", "the size in the checkpoint is no number"),
        (f"{ORIGIN}\n-1\n{ROOT_LINE}\n", "the size in the checkpoint is no number"),
        (f"{ORIGIN}\n+1\n{ROOT_LINE}\n", "the size in the checkpoint is no number"),
        (f"{ORIGIN}\n１\n{ROOT_LINE}\n", "the size in the checkpoint is no number"),
        (f"{ORIGIN}\n{10**18}\n{ROOT_LINE}\n", "the size in the checkpoint is no number"),
        (f"{ORIGIN}\n21\n", "not three lines"),
        (f"{ORIGIN}\n21\n{ROOT_LINE}\n\nmore\n", "not three lines"),
        (f"{ORIGIN}\n21\n{ROOT_LINE[:-4]}\n", "not base64|not 32 bytes"),
        (f"{ORIGIN}\n21\n{ROOT_LINE[:-2]}9=\n", "not base64"),
        (f"{ORIGIN}\n21\n {ROOT_LINE}\n", "not base64"),
        (f"another.example\n21\n{ROOT_LINE}\n", "is of the log another.example, and the key of news.example/log"),
    ],
)
def test_what_is_signed_and_is_no_checkpoint_of_the_log_is_refused(text: str, said: str) -> None:
    with pytest.raises(ProofInvalid, match=said):
        Checkpoint.opened(signed(text), key_of())


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (note().replace("\n21\n", "\n22\n"), "does not fit"),
        (note() + proof.signature_line(key_of(), bytes(64)), "does not fit"),
        (note(by=OTHER), "is not signed by news.example/log"),
        (note(name="another.example"), "is not signed by news.example/log"),
        (note()[:-1], "not a signed note"),
        (note().replace("\n\n", "\n"), "not a signed note"),
        (note().replace("\n", "\r\n"), "control character"),
        (note() + "\N{EM DASH} name\n", "signature line"),
        (note() + "\N{EM DASH} a+b AAAAAAAA\n", "signature line"),
        (note() + "\N{EM DASH} name AAAA\n", "signature line"),
        (note() + "\N{EM DASH} name !!!!\n", "not base64"),
        (note().replace("\N{EM DASH}", "-"), "signature line"),
        (note().encode() + b"\xff", "not UTF-8"),
        (note() + "\ud800", "not UTF-8"),
        (note() + " " * 1_000_000, "too long"),
        ("", "not a signed note"),
    ],
    ids=range(16),
)
def test_a_note_that_the_log_did_not_sign_is_refused(spoilt: str | bytes, said: str) -> None:
    with pytest.raises(ProofInvalid, match=said):
        Checkpoint.opened(spoilt, key_of())


@pytest.mark.parametrize(
    "spoilt",
    [
        "",
        "name",
        NEUMANN[:-4],
        NEUMANN.replace("c74f", "c74e"),
        NEUMANN.replace("Peter", "Pater"),
        NEUMANN.replace("+AR", "+BR"),
        " + ".join(NEUMANN.split("+")),
        NEUMANN.replace("PeterNeumann", ""),
    ],
)
def test_a_key_that_is_damaged_is_refused(spoilt: str) -> None:
    with pytest.raises(ProofInvalid, match="the verifier key"):
        VerifierKey.parse(spoilt)


# --- evidence -------------------------------------------------------------------------


def test_evidence_proves_entries_payloads_and_older_checkpoints() -> None:
    assert check_evidence(whole(), key_of()) == []
    assert check_evidence(json.dumps(whole()), str(key_of())) == []
    for index in range(len(LEAVES)):
        assert check_evidence(single(index), key_of()) == []


def test_evidence_needs_no_payload() -> None:
    evidence = single()
    del evidence["payload"]
    assert check_evidence(evidence, key_of()) == []


def changed(**fields: Any) -> dict[str, Any]:
    return {**single(), **fields}


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (changed(leaf=LEAVES[5].decode()), "do not lead to the root"),
        (changed(leaf=f"{LEAVES[4].decode()} "), "do not lead to the root"),
        (changed(index=5, position=6), "do not lead to the root"),
        (changed(index=21, position=22), "no leaf 21 in a tree of 21"),
        (changed(position=4), "position is not its index plus one"),
        (changed(index=True), "index is not a whole number"),
        (changed(index=4.0), "index is not a whole number"),
        (changed(index="4"), "index is not a whole number"),
        (changed(proof=[]), "too short"),
        (changed(proof="x"), "proof is not a list"),
        (changed(proof=[1]), "not a string"),
        (changed(proof=["AAAA"]), "not 32 bytes"),
        (changed(payload=PAYLOADS[5].decode()), "payload is not the one"),
        (changed(payload=f"{PAYLOADS[4].decode()}\n"), "payload is not the one"),
        (changed(payload="\ud800"), "cannot be written as UTF-8"),
        (changed(leaf=None), "leaf is not a string"),
        (changed(key=str(key_of(OTHER))), "names another key"),
        (changed(format="onrecord-proof@2"), "a newer verifier may read it"),
        (changed(checkpoint=note(20)), "do not lead to the root|too long|too short"),
        (changed(checkpoint=note(by=OTHER)), "not signed by"),
        (changed(checkpoint=7), "checkpoint is not a string"),
        (changed(recorded_at="2022"), "says more than is proven: recorded_at"),
        ({"checkpoint": note()}, "lacks index, leaf, proof"),
        ({"checkpoint": note(), "entries": []}, "proves nothing"),
        ({"checkpoint": note(), "entries": [7]}, "not a JSON object"),
        ({**whole(), "consistency": [older(8) | {"proof": older(13)["proof"]}]}, "Older checkpoint 1 of 1"),
        ({**whole(), "consistency": [older(8) | {"checkpoint": note(8, by=OTHER)}]}, "not signed by"),
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"a": NaN}', "not JSON"),
        ('{"checkpoint": "a", "checkpoint": "b"}', "names a field twice"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
    ],
    ids=range(33),
)
def test_evidence_that_was_tampered_with_is_refused(evidence: Any, said: str) -> None:
    problems = check_evidence(evidence, key_of())
    assert len(problems) == 1
    assert re.search(said, problems[0], re.IGNORECASE)
    assert problems[0][0].isupper()
    assert problems[0].endswith(".")


def test_each_entry_that_is_not_proven_is_named() -> None:
    evidence = whole()
    evidence["entries"][1]["leaf"] = "x"
    evidence["consistency"][0]["proof"] = []
    assert check_evidence(evidence, key_of()) == [
        "Entry 2 of 2 is not proven: leaf and proof do not lead to the root.",
        "Older checkpoint 1 of 2 is not proven: the proof is too short.",
    ]


def test_a_log_that_signed_two_histories_cannot_prove_one_from_the_other() -> None:
    forked = Checkpoint(ORIGIN, 8, merkle.root([*LEAVES[:7], b"another"])).text()
    evidence = {**whole(), "consistency": [{**older(8), "checkpoint": signed(forked)}]}
    assert "does not lead to the" in check_evidence(evidence, key_of())[0]


# --- whatever is done to it -----------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    if path:
        yield path
    for step, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(each, (*path, step))


def tampered(data: st.DataObject, evidence: dict[str, Any]) -> dict[str, Any]:
    """The evidence with one thing in it changed, added, taken away or put elsewhere."""
    made = copy.deepcopy(evidence)
    *steps, last = data.draw(st.sampled_from(list(places(made))))
    holder: Any = made
    for step in steps:
        holder = holder[step]
    value = holder[last]
    others: list[Any] = [None, 0, "", [], {}, True]
    if isinstance(value, str):
        at = data.draw(st.integers(0, len(value)))
        char = data.draw(st.sampled_from(["A", "B", "0", "1", "\n", " ", "+", "="]))
        others += [value[:at] + char + value[at:], value[:at] + char + value[at + 1 :], value[:at] + value[at + 1 :]]
        others += [value * 2, entry(7)["leaf"], note(13), note(8)]
    elif isinstance(value, int):
        others += [value - 1, value + 1, value * 2, value + 2**64, str(value), float(value)]
    elif isinstance(value, list):
        others += [value[::-1], value[1:], value[:-1], value + value[:1], [*value, value], [value]]
    elif isinstance(value, dict):
        others += [{**value, "more": 1}, {name: value[name] for name in list(value)[1:]}]
    if data.draw(st.booleans()) and isinstance(holder, dict):
        del holder[last]
    else:
        holder[last] = data.draw(st.sampled_from(others))
    return made


@settings(max_examples=600)
@given(st.data())
def test_what_is_accepted_is_true_whatever_was_done_to_the_evidence(data: st.DataObject) -> None:
    evidence = whole() if data.draw(st.booleans()) else single()
    for _ in range(data.draw(st.integers(1, 3))):
        evidence = tampered(data, evidence)
        if not evidence:
            return
    if check_evidence(evidence, key_of()):
        return
    checkpoint = Checkpoint.unverified(evidence["checkpoint"])
    assert checkpoint.root == merkle.root(LEAVES[: checkpoint.size])
    for each in evidence.get("entries", [evidence]):
        assert each["index"] < checkpoint.size
        assert each["leaf"].encode() == LEAVES[each["index"]]
        assert each.get("payload", PAYLOADS[each["index"]].decode()).encode() == PAYLOADS[each["index"]]
        assert each.get("position", each["index"] + 1) == each["index"] + 1
    for each in evidence.get("consistency", []):
        before = Checkpoint.unverified(each["checkpoint"])
        assert before.root == merkle.root(LEAVES[: before.size])
        assert before.size <= checkpoint.size


@given(st.integers(0, len(note().encode()) - 1), st.integers(1, 255))
def test_no_byte_of_a_checkpoint_can_be_changed(at: int, mask: int) -> None:
    raw = bytearray(note().encode())
    raw[at] ^= mask
    with pytest.raises(ProofInvalid):
        Checkpoint.opened(bytes(raw), key_of())


# --- C2SP tlog-proof ------------------------------------------------------------------


def tlog_proof(index: int = 4) -> TlogProof:
    hashes = merkle.inclusion_proof(index, len(LEAVES), hashes_of(LEAVES))
    return TlogProof(index, tuple(hashes), note(), LEAVES[index])


def test_a_tlog_proof_is_written_as_specified_and_read_again() -> None:
    made = tlog_proof()
    lines = str(made).split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", f"extra {base64.b64encode(LEAVES[4]).decode()}", "index 4"]
    assert [base64.b64decode(line) for line in lines[3 : 3 + len(made.hashes)]] == list(made.hashes)
    assert "\n".join(lines[4 + len(made.hashes) :]) == note()
    assert TlogProof.parse(str(made)) == made
    bare = TlogProof(0, (), note(1))
    assert str(bare) == f"c2sp.org/tlog-proof@v1\nindex 0\n\n{note(1)}"
    assert TlogProof.parse(str(bare)) == bare


@pytest.mark.parametrize(
    "spoilt",
    [
        "",
        "c2sp.org/tlog-proof@v2\nindex 0\n\n",
        "c2sp.org/tlog-proof@v1\n\n",
        "c2sp.org/tlog-proof@v1\nindex 01\n\n",
        "c2sp.org/tlog-proof@v1\nindex -1\n\n",
        "c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\n",
        "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\n",
        "c2sp.org/tlog-proof@v1\nindex 1\nextra AAAA\n\n",
    ],
)
def test_what_is_no_tlog_proof_is_refused(spoilt: str) -> None:
    with pytest.raises(ProofInvalid):
        TlogProof.parse(spoilt)


# --- the command ----------------------------------------------------------------------


def verify(*args: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = proof.main(["verify", "--key", str(key_of()), *map(str, args)])
    return status, capsys.readouterr().out


def test_the_command_says_in_a_sentence_what_is_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evidence.json"
    file.write_text(json.dumps(single()), encoding="utf-8")
    entry_4 = "entry 5 (ArticleRecorded, 2022-02-15T18:00:04.000000Z)"
    in_log = f"in the log {ORIGIN}, of 21 entries"
    assert verify(file, capsys=capsys) == (0, f"Proven: {entry_4} is {in_log}.\n")
    file.write_text(json.dumps(whole()), encoding="utf-8")
    entry_20 = "entry 21 (ArticleRecorded, 2022-02-15T18:00:20.000000Z)"
    before = "and it still begins with the 8 and 13 entries that it was signed for before"
    assert verify(file, capsys=capsys) == (0, f"Proven: {entry_4}, {entry_20} are {in_log}, {before}.\n")
    file.write_text(json.dumps({**whole(), "entries": []}), encoding="utf-8")
    status, said = verify(file, capsys=capsys)
    assert (status, "it still begins with the 8 and 13 entries" in said) == (0, True)


def test_the_command_says_in_a_sentence_what_is_not_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evidence.json"
    file.write_text(json.dumps(changed(leaf="{}")), encoding="utf-8")
    assert verify(file, capsys=capsys) == (
        1,
        "Not proven: The entry is not proven: leaf and proof do not lead to the root.\n",
    )
    assert verify(tmp_path / "none", capsys=capsys)[0] == 1
    file.write_text(json.dumps(changed(**{"\x1b[2J\n": 1})), encoding="utf-8")
    status, said = verify(file, capsys=capsys)
    assert (status, said.count("\n"), "\x1b" in said) == (1, 1, False)


def test_the_command_takes_leaf_proof_checkpoint_and_payload_as_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("proof", "leaf", "checkpoint", "payload")
    files = {name: tmp_path / name for name in names}
    files["proof"].write_text(str(tlog_proof()), encoding="utf-8")
    files["leaf"].write_bytes(LEAVES[4])
    files["checkpoint"].write_text(note(), encoding="utf-8")
    files["payload"].write_bytes(PAYLOADS[4])

    def with_files(*given: str) -> int:
        return verify(*(word for name in given for word in (f"--{name}", files[name])), capsys=capsys)[0]

    assert with_files("proof") == with_files("proof", "leaf") == with_files(*names) == 0
    files["leaf"].write_bytes(LEAVES[5])
    assert with_files(*names) == 1
    files["leaf"].write_bytes(LEAVES[4])
    files["payload"].write_bytes(PAYLOADS[5])
    assert with_files(*names) == 1
    files["checkpoint"].write_text(note(by=OTHER), encoding="utf-8")
    assert with_files("proof", "checkpoint") == 1
    files["proof"].write_text(str(TlogProof(4, tlog_proof().hashes, note())), encoding="utf-8")
    assert (with_files("proof"), with_files("proof", "leaf")) == (1, 0)
    for wrong in (("leaf",), ()):
        with pytest.raises(SystemExit) as ended:
            with_files(*wrong)
        assert ended.value.code == 2


def test_it_runs_without_database_network_or_anything_else_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    file.write_text(json.dumps(single()), encoding="utf-8")
    code = (
        "import sys; from service import proof; status = proof.main(sys.argv[1:]);"
        "print(sorted(name for name in sys.modules if name.split('.')[0] == 'service'));"
        "print([name for name in ('socket', 'ssl', 'asyncio', 'sqlalchemy', 'psycopg', 'pydantic', 'orjson', 'typer')"
        " if name in sys.modules]); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "verify", "--key", str(key_of()), str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, ours, others = done.stdout.splitlines()
    assert first.startswith("Proven: ")
    assert ours == "['service', 'service.domain', 'service.domain.merkle', 'service.proof']"
    assert others == "[]"


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service.proof", "verify", "--key", str(key_of()), str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "cannot be read" in done.stdout

"""Texts are kept beside the log by their hash, once, and can be erased."""

import hashlib
import threading

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from service import texts


def hashed(*contents: str) -> dict[bytes, str]:
    return {hashlib.sha256(each.encode()).digest(): each for each in contents}


def test_a_text_is_found_by_its_hash_as_it_was_sent(engine: Engine) -> None:
    sent = hashed("Löwe 😀\r\n\u2028\ttail ", "e\u0301", "é", "a" * 1024 * 1024)
    with engine.begin() as conn:
        texts.keep(conn, sent)
    with engine.begin() as conn:
        assert texts.texts_by_hash(conn, list(sent)) == sent


def test_only_those_asked_for_and_held_are_given(engine: Engine) -> None:
    one, two, unknown = hashed("one"), hashed("two"), hashed("three")
    with engine.begin() as conn:
        texts.keep(conn, one | two)
        assert texts.texts_by_hash(conn, [*one, *unknown]) == one
        assert texts.texts_by_hash(conn, []) == {}


def test_keeping_a_text_again_changes_nothing(engine: Engine) -> None:
    one, two = hashed("one"), hashed("two")
    for each in (one, one, one | two, {}):
        with engine.begin() as conn:
            texts.keep(conn, each)
    with engine.begin() as conn:
        assert texts.texts_by_hash(conn, [*one, *two]) == one | two


def test_two_may_bring_the_same_text_at_once(engine: Engine) -> None:
    """The second waits for the first, and finds that there is nothing left to do."""
    one = hashed("one")

    def bring() -> None:
        with engine.begin() as conn:
            texts.keep(conn, one)

    with engine.connect() as first:
        texts.keep(first, one)
        second = threading.Thread(target=bring)
        second.start()
        first.commit()
        second.join(30)
        assert not second.is_alive()
        assert texts.texts_by_hash(first, list(one)) == one


def test_a_hash_of_another_length_is_refused(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match="article_text_sha256_check"), engine.begin() as conn:
        texts.keep(conn, {b"short": "one"})

"""Canonical JSON: the bytes that hashes are over."""

import sys
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain.canonical import canonical_json
from tests import builders  # noqa: F401 - the profile of Hypothesis

WHOLE_MAX = 2**53 - 1

_keys = st.text(st.characters(max_codepoint=127))
_values = st.recursive(
    st.booleans() | st.integers(-WHOLE_MAX, WHOLE_MAX) | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner) | st.dictionaries(_keys, inner),
)


@given(_values)
@example({"": 0, "a": WHOLE_MAX, "b": -WHOLE_MAX, "A": [True, False, []], "\x7f": {}, "\x00": "\x00"})
def test_the_bytes_are_those_of_rfc_8785(value: Any):
    assert canonical_json(value) == rfc8785.dumps(value)


def test_every_character_is_written_as_rfc_8785_writes_it():
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    text = "".join(characters)
    assert canonical_json(text) == rfc8785.dumps(text)
    # One by one too where an escape may stand, so that no neighbour decides.
    for character in characters[:0x3000]:
        assert canonical_json(character) == rfc8785.dumps(character)


def test_every_ascii_key_has_its_place():
    value = {chr(code) + tail: code for code in range(128) for tail in ("", "a", "-", "~")}
    assert canonical_json(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [WHOLE_MAX + 1, -WHOLE_MAX - 1, 2**64, "\ud800", {1: 2}, b"a", {"a"}, object()])
def test_what_has_no_canonical_form_here_is_refused(value: object):
    with pytest.raises(TypeError):
        canonical_json(value)

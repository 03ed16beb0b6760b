"""Canonical JSON (RFC 8785), since hashes are over bytes.

orjson with sorted keys writes the same bytes as RFC 8785 asks for, many times
faster than a library written in Python, as long as keys are ASCII and numbers
are whole and exact in a double: `tests/test_canonical.py` holds the two together.
"""

from typing import Any

import orjson

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def canonical_json(value: Any) -> bytes:
    """`value` in its one canonical form.

    Takes what our events and leaves are made of: dicts with ASCII keys, lists,
    strings without lone surrogates, whole numbers up to 2^53 - 1, true, false. Of anything else no form is promised.
    """
    return orjson.dumps(value, option=_OPTIONS)

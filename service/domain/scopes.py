"""Scopes: what a token may be used for."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """One kind of thing that may be done."""

    READ = "read"  #: ask for whatever is on record.
    RECORD = "record"  #: record and retract articles, and try what one would do.
    CURATE = "curate"  #: decide on what articles brought.
    ADMIN = "admin"  #: adopt a policy, erase a text, and everything else.


#: Those by which something is written.
WRITING: Final = frozenset({Scope.RECORD, Scope.CURATE, Scope.ADMIN})


def covered(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """All that may be done with these scopes: who writes is shown what came of it, so every one lets read.

    >>> sorted(covered([Scope.RECORD]))
    [<Scope.READ: 'read'>, <Scope.RECORD: 'record'>]
    >>> covered([Scope.ADMIN]) == frozenset(Scope)
    True
    """
    named = frozenset(scopes)
    return frozenset(Scope) if Scope.ADMIN in named else named | {Scope.READ}

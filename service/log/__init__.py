"""The log: append and read. The only writer of the log and its register."""

from service.domain.register import Refused, Repeated
from service.log.appending import (
    APPEND_LOCK,
    CHANNEL,
    Appended,
    NewEvent,
    Outcome,
    adopt,
    announce,
    append,
    append_all,
    check,
    take_turn,
)
from service.log.reading import Stored, head, read, stream

__all__ = [
    "APPEND_LOCK",
    "CHANNEL",
    "Appended",
    "NewEvent",
    "Outcome",
    "Refused",
    "Repeated",
    "Stored",
    "adopt",
    "announce",
    "append",
    "append_all",
    "check",
    "head",
    "read",
    "stream",
    "take_turn",
]

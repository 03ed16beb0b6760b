"""The projector: folds the log into the read tables, and is their only writer.

A batch is one transaction: it takes the generation's row (the cursor, and the
right to write), loads what the next events touch, folds them in memory, writes
set-based, and moves the cursor. Killed anywhere, it goes on as if it had not been.
"""

from service.projector.filling import fill
from service.projector.generations import (
    Generation,
    begin_rebuild,
    drop_superseded,
    drop_unfinished,
    generations,
    prepare,
    promote,
    shape,
    wanted_here,
)
from service.projector.projecting import CHANNEL, Progress, Projector, preview
from service.projector.rows import dictionary

__all__ = [
    "CHANNEL",
    "Generation",
    "Progress",
    "Projector",
    "begin_rebuild",
    "dictionary",
    "drop_superseded",
    "drop_unfinished",
    "fill",
    "generations",
    "prepare",
    "preview",
    "promote",
    "shape",
    "wanted_here",
]

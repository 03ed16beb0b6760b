"""Audit: what follows from the log alone, compared with another outcome or with what is stored."""

from service.audit.digests import Digest, digest_of_log, digest_stored
from service.audit.replaying import (
    Comparison,
    Difference,
    LeftOut,
    Outcome,
    Replay,
    compare,
    diff,
    outcomes_stored,
    replay,
)

__all__ = [
    "Comparison",
    "Difference",
    "Digest",
    "LeftOut",
    "Outcome",
    "Replay",
    "compare",
    "diff",
    "digest_of_log",
    "digest_stored",
    "outcomes_stored",
    "replay",
]

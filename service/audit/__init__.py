"""Audit: what follows from the log alone, compared with another outcome or with what is stored."""

from service.audit.digests import Digest, digest_of_log, digest_stored
from service.audit.recounting import LeftOut
from service.audit.replaying import Comparison, Difference, Outcome, Replay, compare, replay

__all__ = [
    "Comparison",
    "Difference",
    "Digest",
    "LeftOut",
    "Outcome",
    "Replay",
    "compare",
    "digest_of_log",
    "digest_stored",
    "replay",
]

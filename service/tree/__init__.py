"""The Merkle tree over the log: integrate, sign, compare, prove.

It grows after the append, with a cursor of its own, so that nobody who records
waits for it. One transaction hashes the leaves that are new, stores the tiles they
change and signs a checkpoint; killed anywhere, it goes on as if it had not been. What
was signed is never contradicted: before it goes on, the stored tree must have
the root of the newest checkpoint, and the log must reach that far.
"""

from service.tree.comparing import check, check_kept, extends, mismatches, opened, root_at
from service.tree.growing import LIMIT, accept_loss, integrate, rebuild
from service.tree.proving import (
    InclusionProof,
    consistency_proof,
    evidence,
    inclusion_proof,
    inclusion_proofs,
    tlog_proof,
)
from service.tree.signing import Identity, SignedCheckpoint, Signer, identities, identity, newest
from service.tree.storing import entries, tile

__all__ = [
    "LIMIT",
    "Identity",
    "InclusionProof",
    "SignedCheckpoint",
    "Signer",
    "accept_loss",
    "check",
    "check_kept",
    "consistency_proof",
    "entries",
    "evidence",
    "extends",
    "identities",
    "identity",
    "inclusion_proof",
    "inclusion_proofs",
    "integrate",
    "mismatches",
    "newest",
    "opened",
    "rebuild",
    "root_at",
    "tile",
    "tlog_proof",
]

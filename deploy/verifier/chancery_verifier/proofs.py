"""The proofs of one file, and its checkpoints held against each other: docs/LOG.md, "Verify", step 4."""

from .operations import LOG_RING
from .policy import WitnessPolicy
from .refusal import Malformed
from .tlog import Checkpoint, Proof, check_inclusion, log_signers, read_proof


def log_key_of(ceremony):
    """The key that a ceremony gave the log. Raises Malformed where it did not."""
    if ceremony.operation != "generate":
        raise Malformed(f"a transcript of the operation {ceremony.operation}")
    if ceremony.ring != LOG_RING:
        raise Malformed(f"a key of the ring {ceremony.ring}")
    if ceremony.key.spec not in ("Ed25519", "P-256"):
        raise Malformed(f"no checkpoint is signed with {ceremony.key.spec}")
    return ceremony.key


def check_distinct(keys: list) -> None:
    if len({key.kid for key in keys}) != len(keys):
        raise Malformed("two transcripts of one log key")


class Prover:
    """Verifies proofs under the log's keys, and remembers what was seen."""

    def __init__(self, keys: list, policy: WitnessPolicy | None = None) -> None:
        self._keys, self._policy = keys, policy
        self._checkpoints, self._signers = [], set()

    @property
    def origins(self) -> set:
        return {checkpoint.origin for checkpoint in self._checkpoints}

    def prove(self, leaf: str, text: str) -> Proof:
        proof = read_proof(text)
        self._signers |= log_signers(proof.checkpoint, self._keys)
        if self._policy is not None:
            self._policy.check_lines(proof.checkpoint)
        check_inclusion(leaf.encode(), proof)
        self._checkpoints.append(proof.checkpoint)
        return proof

    def check_signed(self, checkpoint: Checkpoint) -> None:
        """One that stands by itself, without a proof under it. Lines of witnesses say nothing in it."""
        self._signers |= log_signers(checkpoint, self._keys)

    def check_end(self, end: Checkpoint) -> None:
        """Of an origin that ended in this checkpoint."""
        for checkpoint in self._checkpoints:
            if checkpoint.origin == end.origin and checkpoint.size > end.size:
                raise Malformed(f"the origin {end.origin!r} ended with {end.size} leaves, and has {checkpoint.size}")
            if (checkpoint.origin, checkpoint.size) == (end.origin, end.size) and checkpoint.root != end.root:
                raise Malformed(f"the origin {end.origin!r} ended with a different root")

    def finish(self) -> None:
        """Of the file as a whole: one root for a size of an origin, and no log key for nothing."""
        roots = {}
        for checkpoint in self._checkpoints:
            if roots.setdefault((checkpoint.origin, checkpoint.size), checkpoint.root) != checkpoint.root:
                raise Malformed(f"two roots of the size {checkpoint.size}: the log forked")
        if self._signers != {key.kid for key in self._keys}:
            raise Malformed("a log key has signed none of the checkpoints")

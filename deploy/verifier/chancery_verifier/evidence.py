"""The verification of an evidence file: docs/LOG.md, "Evidence". Steps and words are those of "Verify" there."""

from dataclasses import dataclass, field

from . import ceremony_forms as forms
from . import shape
from .policy import WitnessPolicy
from .refusal import Malformed, Refused
from .roster import Pin
from .shape import array, bytes_of_b64u, instant, one_of, record, sha256_hex, text
from .strict_json import read_canonical
from .tlog import Proof, check_inclusion, log_signers, read_proof
from .transcript import Ceremony, verify_transcript

LOG_RING = "log"
MAX_LEAF = 1024
MAX_ACTS = 1000

_act_and_proof = record({"leaf": text, "proof": text})
_subject = record(
    {"covers": one_of("message", "digest"), "input": bytes_of_b64u, "signature": bytes_of_b64u},
    optional={"salt": bytes_of_b64u},
)
_evidence = record(
    {
        "environment": shape.name,
        "leaf": text,
        "life": array(_act_and_proof),
        "log_keys": array(text),
        "proof": text,
        "service": shape.name,
        "transcript": text,
        "type": one_of("chancery-evidence"),
        "v": shape.version_one,
    },
    optional={"revocation": text, "subject": _subject},
)
_signature_leaf = record(
    {
        "actor": text,
        "alg": shape.algorithm,
        "input_commit": shape.digest,
        "kid": shape.kid,
        "kind": one_of("sign"),
        "ring": shape.name,
        "sig_hash": shape.digest,
        "time": instant,
        "v": shape.version_one,
    }
)
_act_leaf = record(
    {
        "action": text,
        "actor": text,
        "kind": one_of("key", "ring", "ceremony", "roster", "access", "refusal", "admin"),
        "time": instant,
        "v": shape.version_one,
    },
    optional={
        "compromised_since": instant,
        "digest": shape.digest,
        "kid": shape.kid,
        "previous_kid": shape.kid,
        "reason": text,
        "ref": text,
        "ring": shape.name,
    },
)


@dataclass(frozen=True)
class Result:
    """What a file that holds says."""

    verdict: str
    reasons: list
    kid: str
    ring: str
    log_index: int
    existed_at: str | None
    witnessed: bool
    subject: bool


def verify_evidence(data: bytes, genesis: str, policy: WitnessPolicy | None = None) -> Result:
    file = _read_file(data)
    pin = Pin(genesis, file["service"], file["environment"])
    log_keys = [_verify_log_key(transcript, pin) for transcript in file["log_keys"]]
    if len({key.kid for key in log_keys}) != len(log_keys):
        raise Refused("log_key", "two transcripts of one log key")
    birth = _verify_birth(file["transcript"], pin)
    proof, life_proofs = _verify_proofs(file, log_keys, policy)
    leaf = _check_leaf(file["leaf"], birth)
    life = _read_life(file["life"], life_proofs, birth, sha256_hex(file["transcript"].encode()))
    if file["revocation"] is not None:
        _check_revocation(file["revocation"], pin, life, birth)
    signature_checks = file["subject"] is None or _check_subject(file["subject"], leaf, birth)
    existed_at, witnessed = _existed_at(leaf, proof, policy)
    if existed_at is not None:
        existed_at = max([existed_at] + [time for index, time in life.times if index < proof.index])
    was_primary = life.primary_index is not None and life.primary_index < proof.index
    after_end = life.retired_index is not None and life.retired_index < proof.index
    verdict, *reasons = _verdict(life, was_primary, existed_at, after_end) if signature_checks else ("INVALID", "bad_signature")
    subject = file["subject"] is not None
    return Result(verdict, reasons, birth.kid, birth.ring, proof.index, existed_at, witnessed, subject)


# Step 1.


def _read_file(data: bytes) -> dict:
    try:
        file = _evidence(read_canonical(data))
        if len(file["life"]) > MAX_ACTS or len(file["log_keys"]) > MAX_ACTS:
            raise Malformed(f"more than {MAX_ACTS} acts or keys")
    except Malformed as error:
        raise Refused("malformed", str(error)) from None
    return file


# Steps 2 and 3: the transcripts.


def _verify_generation(transcript: str, pin: Pin, word: str) -> Ceremony:
    try:
        ceremony = verify_transcript(transcript.encode(), pin)
    except Refused as error:
        raise Refused(word, str(error)) from None
    if ceremony.operation != "generate":
        raise Refused(word, f"a transcript of the operation {ceremony.operation}")
    return ceremony


def _verify_log_key(transcript: str, pin: Pin):
    ceremony = _verify_generation(transcript, pin, "log_key")
    if ceremony.ring != LOG_RING:
        raise Refused("log_key", f"a key of the ring {ceremony.ring}")
    if ceremony.key.spec not in ("Ed25519", "P-256"):
        raise Refused("log_key", f"no checkpoint is signed with {ceremony.key.spec}")
    return ceremony.key


def _verify_birth(transcript: str, pin: Pin) -> Ceremony:
    ceremony = _verify_generation(transcript, pin, "transcript")
    if ceremony.ring == LOG_RING:
        raise Refused("transcript", "a key of the log signs nothing but checkpoints")
    return ceremony


# Step 4: the proofs.


def _verify_proofs(file: dict, log_keys: list, policy: WitnessPolicy | None) -> tuple:
    """The proof of the leaf, and those of `life` in their order."""
    pairs = [(file["leaf"], file["proof"])] + [(act["leaf"], act["proof"]) for act in file["life"]]
    try:
        proofs = [read_proof(proof) for _, proof in pairs]
        signers = set()
        for (leaf, _), proof in zip(pairs, proofs):
            signers |= log_signers(proof.checkpoint, log_keys)
            if policy is not None:
                policy.check_lines(proof.checkpoint)
            check_inclusion(leaf.encode(), proof)
    except Malformed as error:
        raise Refused("proof", str(error)) from None
    if len({proof.checkpoint.origin for proof in proofs}) != 1:
        raise Refused("proof", "checkpoints of more than one origin")
    roots = {}
    for checkpoint in (proof.checkpoint for proof in proofs):
        if roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
            raise Refused("proof", f"two roots of the size {checkpoint.size}: the log forked")
    if signers != {key.kid for key in log_keys}:
        raise Refused("proof", "a log key has signed none of the checkpoints")
    return proofs[0], proofs[1:]


# Step 5: the leaf.


def _read_leaf(form, leaf: str) -> dict:
    data = leaf.encode()
    if len(data) > MAX_LEAF:
        raise Malformed(f"a leaf longer than {MAX_LEAF} bytes")
    return form(read_canonical(data))


def _check_leaf(leaf: str, birth: Ceremony) -> dict:
    try:
        members = _read_leaf(_signature_leaf, leaf)
    except Malformed as error:
        raise Refused("leaf", str(error)) from None
    for member, expected in (("kid", birth.kid), ("ring", birth.ring), ("alg", birth.order["algorithm"])):
        if members[member] != expected:
            raise Refused("leaf", f"`{member}` is not that of the transcript")
    return members


# Step 6: the life of the key.


@dataclass
class Life:
    """What became of the key. `state` is published, primary, demoted, retired, archived or revoked."""

    state: str | None = None
    primary_index: int | None = None  # of the first act that made it primary
    retired_index: int | None = None  # of the act that retired it
    revocation: dict | None = None
    times: list = field(default_factory=list)  # of every act its index and its time
    # When it was published, primary first, demoted last and not primary since, retired and archived.
    reached: dict = field(default_factory=dict)


def _refuse_life(why: str) -> Refused:
    return Refused("life", why)


def _read_life(acts: list, proofs: list, birth: Ceremony, transcript_digest: str) -> Life:
    life, last_index = Life(), -1
    for act, proof in zip(acts, proofs):
        try:
            leaf = _read_leaf(_act_leaf, act["leaf"])
        except Malformed as error:
            raise _refuse_life(str(error)) from None
        if proof.index <= last_index:
            raise _refuse_life("the acts are not in the order of the log")
        last_index = proof.index
        if leaf["ring"] != birth.ring:
            raise _refuse_life(f"an act of the ring {leaf['ring']}")
        _apply(leaf, life, birth.kid, transcript_digest)
        if life.state == "primary" and life.primary_index is None:
            life.primary_index = proof.index
        if life.state == "retired" and life.retired_index is None:
            life.retired_index = proof.index
        life.times.append((proof.index, leaf["time"]))
    if life.state is None:
        raise _refuse_life("there is no first act")
    _check_instants(life, birth)
    return life


def _check_instants(life: Life, birth: Ceremony) -> None:
    steps = ["published", "primary", "demoted", "retired"]
    # A revoked key may be archived without having been retired; the order then says nothing of it.
    steps += ["archived"] if "retired" in life.reached else []
    instants = [birth.executed_at] + [life.reached[step] for step in steps if step in life.reached]
    if instants != sorted(instants):
        raise _refuse_life("the instants run backwards")


def _apply(leaf: dict, life: Life, kid: str, transcript_digest: str) -> None:
    """The table of step 6. Exactly one of its rows is for this act and this key."""
    kind, action, at = leaf["kind"], leaf["action"], leaf["time"]
    is_kid, is_previous = leaf["kid"] == kid, leaf["previous_kid"] == kid
    if is_kid == is_previous:
        raise _refuse_life(f"an act {kind} {action} that is not about this key, or is twice")
    if kind == "key" and action == "revoke":
        _check_reason(leaf)
    elif leaf["compromised_since"] is not None:
        raise _refuse_life("`compromised_since` of an act that is no revocation")
    if (life.state is None) != ((kind, action) == ("ceremony", "accepted")):
        raise _refuse_life("the acceptance is the first act, and once only")
    if (kind, action) == ("ceremony", "accepted") and is_kid:
        if leaf["digest"] != transcript_digest:
            raise _refuse_life("another transcript was accepted")
        _reach(life, "published", (None,), at)
    elif kind == "key" and action in ("rotate", "roll-back", "revoke") and is_kid:
        if action == "revoke" and leaf["previous_kid"] is None:
            raise _refuse_life("a revocation that does not say of which key")
        _reach(life, "primary", ("published", "demoted"), at)
    elif kind == "key" and action in ("rotate", "roll-back"):
        _reach(life, "demoted", ("primary",), at)
    elif kind == "key" and action == "retire" and is_kid:
        _reach(life, "retired", ("demoted",), at)
    elif kind == "key" and action == "archive" and is_kid:
        _reach(life, "archived", ("retired", "revoked"), at)
    elif kind == "key" and action == "revoke":
        _revoke(leaf, life)
    else:
        raise _refuse_life(f"an act {kind} {action} has no place in the life of a key")


def _reach(life: Life, state: str, allowed_from: tuple, at: str) -> None:
    if life.state not in allowed_from:
        raise _refuse_life(f"a key that is {life.state} does not become {state}")
    if state == "archived" and state in life.reached:
        raise _refuse_life("archived twice")
    if state == "primary":
        life.reached.pop("demoted", None)
        life.reached.setdefault(state, at)
    else:
        life.reached[state] = at
    life.state = state


def _check_reason(leaf: dict) -> None:
    if leaf["reason"] not in forms.REASONS:
        raise _refuse_life(f"{leaf['reason']!r} is no reason of a revocation")
    if leaf["compromised_since"] is not None and leaf["reason"] != "compromised":
        raise _refuse_life("`compromised_since` of a key that is not compromised")


def _revoke(leaf: dict, life: Life) -> None:
    if life.revocation is not None:
        raise _refuse_life("revoked twice")
    if life.state == "primary":
        _reach(life, "demoted", ("primary",), leaf["time"])
    life.revocation, life.state = leaf, "revoked"


# Step 7: the ceremony of the revocation.


def _check_revocation(transcript: str, pin: Pin, life: Life, birth: Ceremony) -> None:
    act = life.revocation
    if act is None:
        raise Refused("revocation", "there is no revocation in `life`")
    try:
        ceremony = verify_transcript(transcript.encode(), pin)
    except Refused as error:
        raise Refused("revocation", str(error)) from None
    if ceremony.operation != "revoke" or (ceremony.kid, ceremony.ring) != (birth.kid, birth.ring):
        raise Refused("revocation", "a transcript of something else")
    for member in ("reason", "compromised_since"):
        if ceremony.order[member] != act[member]:
            raise Refused("revocation", f"`{member}` is not that of the act")
    if ceremony.request_digest != act["ref"]:
        raise Refused("revocation", "the act rests on another request")


# Step 8: the signature itself.


def _check_subject(subject: dict, leaf: dict, birth: Ceremony) -> bool:
    """Whether the signature checks; that it is another than the leaf's is a refusal."""
    signed, signature, salt = subject["input"], subject["signature"], subject["salt"]
    if sha256_hex(signature) != leaf["sig_hash"]:
        raise Refused("subject", "the leaf is of another signature")
    if salt is not None and sha256_hex(salt + signed) != leaf["input_commit"]:
        raise Refused("subject", "the leaf is of another input")
    if subject["covers"] == "message":
        return birth.key.verifies(leaf["alg"], signed, signature)
    return birth.key.verifies_digest(leaf["alg"], signed, signature)


# Step 9: T.


def _existed_at(leaf: dict, proof: Proof, policy: WitnessPolicy | None) -> tuple:
    """T, and whether witnesses say so. A policy whose quorum is `none` asks for no witness: as without one."""
    if policy is None or policy.needs_nobody:
        return leaf["time"], False
    complete_at = policy.complete_at(proof.checkpoint)
    return complete_at, complete_at is not None


# Step 10: the verdict.


def _verdict(life: Life, was_primary: bool, existed_at: str | None, after_end: bool) -> tuple:
    """The verdict and its reasons. `was_primary`, `after_end` (of its retirement): by the order of the log."""
    if not was_primary:
        return ("INDETERMINATE", "never_active")
    retired_at = life.reached.get("retired")
    if life.revocation is not None:
        return _verdict_of_revoked(life.revocation, retired_at, existed_at, after_end)
    if retired_at is None:
        return ("VALID",)
    if existed_at is None:
        return ("INDETERMINATE", "no_proof_of_existence")
    if existed_at <= retired_at and not after_end:
        return ("VALID_RETIRED_KEY",)
    return ("INDETERMINATE", "no_proof_of_existence", "after_end")


def _verdict_of_revoked(
    revocation: dict, retired_at: str | None, existed_at: str | None, after_end: bool
) -> tuple:
    compromised = revocation["reason"] == "compromised"
    reason = "key_compromised" if compromised else "key_revoked"
    # None: of a compromise whose beginning is not known nothing is before it.
    doubtful_from = revocation["compromised_since"] if compromised else revocation["time"]
    if existed_at is None:
        return ("INDETERMINATE", reason, "no_proof_of_existence")
    if doubtful_from is None or existed_at >= doubtful_from:
        return ("REVOKED", reason)
    if retired_at is not None and (existed_at > retired_at or after_end):
        return ("INDETERMINATE", reason, "no_proof_of_existence", "after_end")
    return ("VALID_RETIRED_KEY", reason)

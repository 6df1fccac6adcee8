"""The verification of an evidence file: docs/LOG.md, "Evidence". Steps and words are those of "Verify" there."""

from contextlib import contextmanager
from dataclasses import dataclass

from . import shape, subject
from .leaves import read_act, read_signature
from .life import Life, read_life
from .operations import LOG_RING
from .order_log import OfOrder, said_of_use
from .origins import Clock, Line, Ruled, read_line
from .policy import WitnessPolicy
from .proofs import Prover, check_distinct, log_key_of
from .refusal import Malformed, Refused
from .roster import Pin
from .shape import array, one_of, record, text
from .strict_json import read_canonical
from .tlog import Checkpoint
from .transcript import Ceremony, verify_core

MAX_OF_EACH = 1000
_LISTS = ("corrections", "life", "log_keys", "order", "origins")

_logged = record({"leaf": text, "proof": text})
_ruled = record({"leaf": text, "proof": text, "transcript": text})
_evidence = record(
    {
        "corrections": array(_ruled),
        "environment": shape.name,
        "leaf": text,
        "life": array(_logged),
        "log_keys": array(text),
        "origins": array(_ruled),
        "proof": text,
        "service": shape.name,
        "transcript": text,
        "type": one_of("chancery-evidence"),
        "v": shape.version_one,
    },
    optional={"order": array(_logged), "revocation": text, "subject": subject.form},
)


@dataclass(frozen=True)
class Result:
    """What a file that holds says."""

    verdict: str
    reasons: list
    kid: str
    ring: str
    usage: str
    log_index: int
    existed_at: str | None
    witnessed: bool
    subject: bool
    order_use: str | None  # of a key under a standing order, whether the file shows what the log says of its use


def verify_evidence(data: bytes, genesis: str, policy: WitnessPolicy | None = None) -> Result:
    file = _read_file(data)
    pin = Pin(genesis, file["service"], file["environment"])
    log_keys = _verify_log_keys(file["log_keys"], pin)
    birth = _verify_birth(file["transcript"], pin)
    proven = _verify_proofs(file, pin, Prover(log_keys, policy))
    leaf = _check_leaf(file["leaf"], birth)
    life = read_life([act["leaf"] for act in file["life"]], proven.life, birth, proven.clock)
    if file["order"]:
        _check_order(file, proven, birth)
    if file["revocation"] is not None:
        _check_revocation(file["revocation"], pin, life, birth)
    wrong = None
    if file["subject"] is not None:
        wrong = subject.wrong_with(file["subject"], leaf, birth.key, birth.order["usage"])
    existed_at, witnessed = _existed_at(proven.clock.time(proven.place, leaf["time"]), proven.checkpoint, policy)
    if existed_at is not None:
        existed_at = max([existed_at] + [time for place, time in life.times if place < proven.place])
    verdict, *reasons = ("INVALID", wrong) if wrong else _verdict(life, proven.place, existed_at)
    return Result(
        verdict=verdict,
        reasons=reasons,
        kid=birth.kid,
        ring=birth.ring,
        usage=birth.order["usage"],
        log_index=proven.place[1],
        existed_at=existed_at,
        witnessed=witnessed,
        subject=file["subject"] is not None,
        order_use=None if birth.under is None else said_of_use(bool(file["order"])),
    )


@contextmanager
def _refusing(word: str):
    try:
        yield
    except Malformed as error:
        raise Refused(word, str(error)) from None


# Step 1.


def _read_file(data: bytes) -> dict:
    with _refusing("malformed"):
        file = _evidence(read_canonical(data))
        if file["order"] is None:
            file["order"] = []
        elif not file["order"]:
            raise Malformed("`order` is there, and empty")
        for name in _LISTS:
            if len(file[name]) > MAX_OF_EACH:
                raise Malformed(f"more than {MAX_OF_EACH} in `{name}`")
    return file


# Steps 2 and 3: the transcripts.


def _verify(transcript: str, pin: Pin) -> Ceremony:
    try:
        return verify_core(transcript.encode(), pin)
    except Refused as error:
        raise Malformed(str(error)) from None


def _verify_log_keys(transcripts: list, pin: Pin) -> list:
    with _refusing("log_key"):
        keys = [log_key_of(_verify(transcript, pin)) for transcript in transcripts]
        check_distinct(keys)
    return keys


def _verify_birth(transcript: str, pin: Pin) -> Ceremony:
    with _refusing("transcript"):
        ceremony = _verify(transcript, pin)
    if ceremony.operation != "generate" or ceremony.key is None:
        raise Refused("transcript", "not the generation of a signing key")
    if ceremony.ring == LOG_RING:
        raise Refused("transcript", "a key of the log signs only checkpoints")
    return ceremony


# Step 4: the proofs.


@dataclass(frozen=True)
class Proven:
    """Where the leaves stand, and when they were written."""

    place: tuple
    checkpoint: Checkpoint
    life: list
    order: list
    clock: Clock


def _verify_proofs(file: dict, pin: Pin, prover: Prover) -> Proven:
    with _refusing("proof"):
        logged = [(one["leaf"], prover.prove(one["leaf"], one["proof"])) for one in (file, *file["life"], *file["order"])]
    proof = logged[0][1]
    with _refusing("origin"):
        origins = [_verify_ruled(origin, pin, prover) for origin in file["origins"]]
        line = read_line(origins, proof.checkpoint.origin)
        for end in line.ends:
            prover.check_signed(end)
    with _refusing("correction"):
        corrections = [_verify_ruled(correction, pin, prover) for correction in file["corrections"]]
        clock = Clock(corrections, line)
    # Step 4d: the file as a whole.
    logged += [(ruled.leaf, ruled.proof) for ruled in origins + corrections]
    with _refusing("proof"):
        places = _check_places(logged, line)
        prover.finish()
    with _refusing("origin"):
        for end in line.ends:
            prover.check_end(end)
    behind = 1 + len(file["life"])
    order = places[behind : behind + len(file["order"])]
    return Proven(places[0], proof.checkpoint, places[1:behind], order, clock)


def _check_places(logged: list, line: Line) -> list:
    """The places of these leaves, each of which has one leaf."""
    places, standing = [line.place(proof) for _, proof in logged], {}
    for place, (leaf, _) in zip(places, logged):
        if standing.setdefault(place, leaf) != leaf:
            raise Malformed(f"two leaves with the index {place}: the log forked")
    return places


def _verify_ruled(ruled: dict, pin: Pin, prover: Prover) -> Ruled:
    proof = prover.prove(ruled["leaf"], ruled["proof"])
    return Ruled(ruled["leaf"], read_act(ruled["leaf"]), proof, _verify(ruled["transcript"], pin))


# Step 5: the leaf.


def _check_leaf(leaf: str, birth: Ceremony) -> dict:
    with _refusing("leaf"):
        members = read_signature(leaf)
    for member, expected in (("kid", birth.kid), ("ring", birth.ring), ("alg", birth.algorithm)):
        if members[member] != expected:
            raise Refused("leaf", f"`{member}` is not that of the transcript")
    return members


# Step 6a: the standing order.


def _check_order(file: dict, proven: Proven, birth: Ceremony) -> None:
    with _refusing("order"):
        order = OfOrder.of(birth, read_canonical(file["transcript"].encode())["record"]["chains"]["changes"])
        if order is None:
            raise Malformed("the key was made under no standing order")
        acts = []
        for place, logged in zip(proven.order, file["order"]):
            if acts and place <= acts[-1][0]:
                raise Malformed("not in log order")
            act = read_act(logged["leaf"])
            if not order.tells(act) and not order.makes(act):
                raise Malformed("a leaf that is not of the order or of the key")
            acts.append((place, act))
        end = proven.life[0]
        acts.append((end, read_act(file["life"][0]["leaf"])))
        order.check(sorted(acts, key=lambda pair: pair[0]), end)


# Step 7: the ceremony of the revocation.


def _check_revocation(transcript: str, pin: Pin, life: Life, birth: Ceremony) -> None:
    act = life.revocation
    if act is None:
        raise Refused("revocation", "`life` contains no revocation")
    with _refusing("revocation"):
        ceremony = _verify(transcript, pin)
    order = ceremony.order
    of_key = (birth.kid, birth.ring, birth.order["number"])
    if ceremony.operation != "revoke" or (order["kid"], order["ring"], order["number"]) != of_key:
        raise Refused("revocation", "not the transcript of this revocation")
    for member in ("reason", "compromised_since"):
        if order[member] != act[member]:
            raise Refused("revocation", f"`{member}` is not that of the act")
    if ceremony.request_digest != act["ref"]:
        raise Refused("revocation", "the act names a different request")


# Step 9: T.


def _existed_at(time: str, checkpoint: Checkpoint, policy: WitnessPolicy | None) -> tuple:
    """T, and whether witnesses say so. A policy whose quorum is `none` asks for no witness: as without one."""
    if policy is None or policy.needs_nobody:
        return time, False
    complete_at = policy.complete_at(checkpoint)
    return complete_at, complete_at is not None


# Step 10: the verdict.


def _verdict(life: Life, place: tuple, existed_at: str | None) -> tuple:
    """The verdict and its reasons."""
    if life.primary_at is None or life.primary_at > place:
        return ("INDETERMINATE", "never_active")
    retired = life.reached.get("retired")
    behind_its_end = life.retired_at is not None and life.retired_at < place
    if life.revocation is not None:
        return _verdict_of_revoked(life, retired, existed_at, behind_its_end)
    if retired is None:
        return ("VALID",)
    if existed_at is None:
        return ("INDETERMINATE", "no_proof_of_existence")
    if existed_at <= retired and not behind_its_end:
        return ("VALID_RETIRED_KEY",)
    return ("INDETERMINATE", "no_proof_of_existence", "after_end")


def _verdict_of_revoked(life: Life, retired: str | None, existed_at: str | None, behind_its_end: bool) -> tuple:
    compromised = life.revocation["reason"] == "compromised"
    reason = "key_compromised" if compromised else "key_revoked"
    # None: of a compromise whose beginning is not known nothing is before it.
    # What an earlier revocation took back stays so, whenever the compromise is said to have begun.
    since = life.revocation["compromised_since"]
    doubtful_from = life.revoked_at if not compromised else None if since is None else min(since, life.revoked_at)
    if existed_at is None:
        return ("INDETERMINATE", reason, "no_proof_of_existence")
    if doubtful_from is None or existed_at >= doubtful_from:
        return ("REVOKED", reason)
    if retired is not None and (existed_at > retired or behind_its_end):
        return ("INDETERMINATE", reason, "no_proof_of_existence", "after_end")
    return ("VALID_RETIRED_KEY", reason)

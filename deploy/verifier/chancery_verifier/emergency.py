"""Emergencies: who has to approve, and stops (docs/TRANSCRIPT.md section 7b)."""

from dataclasses import dataclass
from itertools import permutations

from . import ceremony_forms as forms
from . import signatures
from .counting import Rules, count, without_deadline
from .leaves import read_act
from .operations import LOG_RING
from .proofs import Prover, check_distinct, log_key_of
from .refusal import Malformed, Refused
from .roster import Chain, Pin
from .shape import is_plain, sha256_hex
from .strict_json import read_canonical

ROLES = ("security-lead", "on-call-manager", "custodian")
STOPPERS = ("custodian", "on-call")
NOT_BY_PASSKEY = 2
MAX_REASON = 1000


def missing(operation: str, approvals: list, counted, needed: int, roster: dict) -> int:
    """How many approvals are missing at least. The positions of `counted` are those in `approvals`."""
    keys = [approvals[position]["signature"]["kind"] != "webauthn" for position in counted.positions]
    if operation == "emergency-rotation":
        roles = {member["id"]: set(member["roles"]) for member in roster["members"]}
        approvers = [(roles[who], key) for who, key in zip(counted.members, keys)]
        return max(needed - len(approvers), _lacking(approvers), 0)
    if operation in ("resume", "ratification"):
        return max(needed - sum(keys), 0)
    return counted.missing(needed)


def _lacking(approvers: list) -> int:
    """Of the three roles, each filled by another member; or of the keys that are no passkeys, if all are filled."""
    best = (0, 0)
    nobody = (frozenset(), False)
    for three in permutations(_few(approvers) + [nobody] * 3, 3):
        filled = [key for (roles, key), role in zip(three, ROLES) if role in roles]
        best = max(best, (len(filled), sum(filled)))
    return max(NOT_BY_PASSKEY - best[1], 0) if best[0] == 3 else 3 - best[0]


def _few(approvers: list) -> list:
    """More than three of the same roles and kind of key cannot fill more places."""
    kept = []
    for roles, key in approvers:
        mine = (frozenset(roles & set(ROLES)), key)
        if kept.count(mine) < 3:
            kept.append(mine)
    return kept


@dataclass(frozen=True)
class Stop:
    """A stop that holds. `logged` is the time of its leaf, if the file has a proof of that."""

    pin: Pin
    body: dict
    by: str
    digest: str
    logged: str | None


def verify_stop(data: bytes, pin: Pin, verify_core) -> Stop:
    try:
        file = forms.stop_file(read_canonical(data))
    except Malformed as error:
        raise Refused("Unreadable", str(error)) from None
    chain = Chain(file["chains"], pin, verify_core)
    signed = without_deadline([file["signature"]])
    counted = count(signed, chain.pin.namespace("stop"), file["body"], chain.roster, Rules(roles=STOPPERS))
    if not counted.members:
        word = "Stop/Role" if counted.others[0].startswith("Role:") else "Stop/Signature"
        raise Refused(word, counted.others[0])
    try:
        body = forms.read_text(forms.stop, file["body"])
    except Malformed as error:
        raise Refused("Stop/Unreadable", str(error)) from None
    _check_body(body, chain)
    return Stop(
        pin=chain.pin,
        body=body,
        by=counted.members[0],
        digest=sha256_hex(file["body"].encode()),
        logged=_logged(file, body, chain.pin, verify_core),
    )


def _check_body(body: dict, chain: Chain) -> None:
    line = body["line"]
    if body["roster"] != chain.references["roster"]:
        raise Refused("Stop/Roster", "it does not name the last roster of the chain")
    kind, _, whose = line["subject"].partition("/")
    if kind != "stop" or whose == LOG_RING:
        raise Refused("Stop/Subject", line["subject"])
    if line["sequence"] < 1 or (line["sequence"] == 1) != (line["previous"] is None):
        raise Refused("Stop/Sequence", str(line["sequence"]))
    if not is_plain(body["reason"], MAX_REASON):
        raise Refused("Stop/Reason", "`reason` is not plain")


def _logged(file: dict, body: dict, pin: Pin, verify_core) -> str | None:
    if not file["log_proofs"] and not file["log_keys"]:
        return None
    try:
        if len(file["log_proofs"]) != 1:
            raise Malformed(f"{len(file['log_proofs'])} leaves in place of one")
        keys = [log_key_of(_core(text, pin, verify_core)) for text in file["log_keys"]]
        check_distinct(keys)
        prover, (logged,) = Prover(keys), file["log_proofs"]
        prover.prove(logged["leaf"], logged["proof"])
        act = read_act(logged["leaf"])
        prover.finish()
        _check_leaf(act, file, body)
    except Malformed as error:
        raise Refused("LogProofs", str(error)) from None
    return act["time"]


def _core(text: str, pin: Pin, verify_core):
    try:
        return verify_core(text.encode(), pin)
    except Refused as error:
        raise Malformed(f"a transcript of a log key: {error}") from None


def _check_leaf(act: dict, file: dict, body: dict) -> None:
    whose = body["line"]["subject"].partition("/")[2]
    expected = {
        "kind": "emergency",
        "action": "stop",
        "ref": sha256_hex(file["body"].encode()),
        "digest": signatures.digest(file["signature"]),
        "ring": None if whose == "*" else whose,
        "version": body["line"]["sequence"],
    }
    for name, value in expected.items():
        if act[name] != value:
            raise Malformed(f"the leaf tells of another stop: {name}")
    if act["time"] > body["expires_at"]:
        raise Malformed("the stop is in the log after `expires_at`")

"""What leaves of the log say: docs/LOG.md, "Leaves"."""

from . import shape
from .refusal import Malformed
from .shape import instant, one_of, record, text
from .strict_json import read_canonical

MAX_LEAF = 1024
SIGNATURE = "sign"
KINDS_OF_ACTS = (
    "key", "ring", "ceremony", "roster", "access", "refusal", "refusals", "admin", "log", "sealed-tree", "certificate",
    "data-key", "secret-read", "order", "rotation", "emergency", "policy", "alert", "suspension",
)  # fmt: skip

_signature = record(
    {
        "actor": text,
        "alg": shape.short_text,
        "input_commit": shape.digest,
        "kid": shape.kid,
        "kind": one_of(SIGNATURE),
        "ring": shape.name,
        "sig_hash": shape.digest,
        "time": instant,
        "v": shape.version_one,
    }
)
_act = record(
    {
        "action": text,
        "actor": text,
        "kind": one_of(*KINDS_OF_ACTS),
        "time": instant,
        "v": shape.version_one,
    },
    optional={
        "alg": text,
        "asset": text,
        "bound": instant,
        "compromised_since": instant,
        "count": shape.uint,
        "digest": shape.digest,
        "first": shape.uint,
        "from": instant,
        "input_commit": shape.digest,
        "kid": shape.kid,
        "last": shape.uint,
        "origin": text,
        "previous_kid": shape.kid,
        "previous_version": shape.uint,
        "reason": text,
        "ref": text,
        "ring": text,
        "sig_hash": shape.digest,
        "until": instant,
        "usage": text,
        "use": shape.uint,
        "version": shape.uint,
    },
)


def read_leaf(leaf: str) -> dict | None:
    """The members of a leaf of a known kind, or None: a leaf of a kind that this version does not know."""
    data = leaf.encode()
    if len(data) > MAX_LEAF:
        raise Malformed(f"a leaf longer than {MAX_LEAF} bytes")
    value = read_canonical(data)
    if _is_unknown(value):
        return None
    if isinstance(value, dict) and value.get("kind") == SIGNATURE:
        return _signature(value)
    return _act(value)


def _is_unknown(value) -> bool:
    if not isinstance(value, dict):
        return False
    try:
        instant(value.get("time"))
        shape.version_one(value.get("v"))
        return shape.word(value.get("kind")) not in (SIGNATURE, *KINDS_OF_ACTS)
    except Malformed:
        return False


def read_signature(leaf: str) -> dict:
    members = read_leaf(leaf)
    if members is None or members["kind"] != SIGNATURE:
        raise Malformed("not a leaf of a signature")
    return members


def read_act(leaf: str) -> dict:
    members = read_leaf(leaf)
    if members is None or members["kind"] == SIGNATURE:
        raise Malformed("not a leaf of an act of a known kind")
    return members

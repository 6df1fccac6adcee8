"""What a request can order: the operations of docs/TRANSCRIPT.md section 3, their subjects, and their content (section 7)."""

from . import orders, shape
from .keys import SPECS_OF_ALGORITHM
from .place import check_plain, check_template, location, place, template
from .refusal import Malformed
from .shape import array, instant, is_plain, one_of, or_null, record, tagged, text
from .sshsig import read_key_text
from .strict_json import read_canonical
from .tlog import EMPTY_ROOT, Checkpoint, is_key_name, read_checkpoint

MAX_KEYS = 100
MAX_LOCATIONS = 16
MAX_ORIGIN = 200
MAX_POLICY = 16384
LOG_RING = "log"
RATIFY_WITHIN = 24 * 60 * 60
REASONS = ("unspecified", "compromised", "superseded")

purpose = tagged(
    {
        "sign": record({"algorithm": shape.algorithm, "key_spec": shape.key_spec}),
        "wrap": record({"algorithm": one_of("A256KW"), "key_spec": one_of("AES-256")}),
    }
)
generate = record(
    {
        "ring": shape.name,
        "number": shape.u32,
        "purpose": purpose,
        "usage": shape.usage,
        "place": place,
        "publish_at": instant,
        "activate_at": instant,
        "retire_at": instant,
        "predecessor": or_null(shape.kid),
    }
)
destroy = record(
    {"keys": array(record({"kid": shape.kid, "locations": array(location), "number": shape.u32, "ring": shape.name}))},
)
revoke = record(
    {
        "ring": shape.name,
        "kid": shape.kid,
        "number": shape.u32,
        "reason": one_of(*REASONS),
        "compromised_since": or_null(instant),
    }
)
clock_correction = record({"bound": instant, "first": shape.uint, "last": shape.uint, "origin": text})
new_origin = record(
    {
        "lost": or_null(record({"first": shape.uint, "last": shape.uint})),
        "origin": text,
        "previous_checkpoint": text,
        "previous_origin": text,
        "root": shape.digest,
        "size": shape.uint,
    }
)


def ssh_key(value):
    return read_key_text(text(value))


_u16 = shape.integer(0, 2**16 - 1)
standing_order = record(
    {
        "activate_after_seconds": shape.uint,
        "executor": record({"key": ssh_key, "member": shape.name}),
        "id": shape.hex16,
        "interval_seconds": shape.uint,
        "lifetime_seconds": shape.uint,
        "not_after": instant,
        "not_before": instant,
        "place": tagged({"pkcs11": record({"template": template, "token_label": text, "token_serial": text})}),
        "purpose": purpose,
        "ring": shape.name,
        "usage": shape.usage,
        "uses": shape.u32,
        "window": record({"days": array(one_of(*orders.DAYS)), "from_minute": _u16, "until_minute": _u16}),
    }
)
resume = record(
    {
        "ends": tagged(
            {
                "stop": record({"digest": shape.digest, "sequence": shape.uint}),
                "unratified": record({"rotation": shape.digest}),
            }
        ),
        "ring": or_null(shape.name),
    }
)
emergency_rotation = record(
    {
        "compromised_since": instant,
        "kid": shape.kid,
        "number": shape.u32,
        "ratify_within_seconds": shape.uint,
        "ring": shape.name,
        "standby": shape.kid,
        "standby_number": shape.u32,
    }
)
rotation_policy = record({"document": text, "key_type": shape.key_type, "replaces": text, "version": shape.u32})
decided_policy = record({"digest": shape.digest, "key_type": shape.key_type, "version": shape.u32})
ratification = record({"kid": shape.kid, "ring": shape.name, "rotation": shape.digest})
operation = tagged(
    {
        "generate": generate,
        "destroy": destroy,
        "revoke": revoke,
        "clock-correction": clock_correction,
        "new-origin": new_origin,
        "order": standing_order,
        "resume": resume,
        "emergency-rotation": emergency_rotation,
        "ratification": ratification,
        "rotation-policy": rotation_policy,
    }
)


def subjects_of(kind: str, order: dict) -> list:
    """The subjects on whose lines the ceremony stands, in their order."""
    if kind == "generate":
        return [f"ring/{order['ring']}"]
    if kind == "destroy":
        return [f"key/{key['kid']}" for key in order["keys"]]
    if kind == "order":
        return [f"order/{order['id']}"]
    if kind == "resume":
        return [f"stop/{order['ring'] or '*'}"]
    if kind == "rotation-policy":
        return [f"rotation-policy/{order['key_type']}"]
    return [f"key/{order['kid']}"] if kind in ("revoke", "emergency-rotation", "ratification") else ["log"]


def threshold_word(kind: str, order: dict) -> str:
    """Whose threshold of the policy approves it."""
    return "rotate" if kind == "generate" and order["predecessor"] is not None else kind


def takes_passkeys(kind: str, order: dict) -> bool:
    """Whether passkeys count beside others: section 5."""
    if kind == "generate":
        return order["predecessor"] is not None and order["usage"] in ("structured", "raw", "sealed")
    return kind in ("revoke", "order", "emergency-rotation")


def check_content(kind: str, order: dict, created_at: str, lines: list) -> None:
    """Raises Malformed that begins with the name of the reason."""
    if kind == "resume":
        _check_resume(order, lines)
    else:
        _CHECKS[kind](order, created_at)
    if kind == "generate":
        # By its line and not by its number, which a birth that failed uses up.
        first = any(line["previous"] is None for line in lines)
        _need(not (first and order["predecessor"] is not None), "Predecessor: of a key in the first act on its ring")


def _need(condition: bool, reason: str) -> None:
    if not condition:
        raise Malformed(reason)


def _need_plain_place(where: tuple) -> None:
    try:
        check_plain(where)
    except Malformed as error:
        raise Malformed(f"Text: {error}") from None


def _need_origins(order: dict, *names: str) -> None:
    """The first lines of checkpoints, and so the names of their signatures."""
    for name in names:
        _need(is_plain(order[name], MAX_ORIGIN), f"Text: `{name}`")
    for name in names:
        _need(is_key_name(order[name]), f"Origin: `{name}` is not a name of a key")


def _check_generate(order: dict, _created_at: str) -> None:
    kind, wanted = order["purpose"]
    _need_plain_place(order["place"])
    _need(order["publish_at"] <= order["activate_at"] <= order["retire_at"], "Order")
    _need((order["usage"] == "wrap") == (kind == "wrap"), "Usage: `wrap` is for the purpose wrap, and nothing else is")
    _need((order["usage"] == "log") == (order["ring"] == LOG_RING), "Usage: `log` is for the ring log, and nothing else is")
    _need(kind == "wrap" or wanted["key_spec"] in SPECS_OF_ALGORITHM[wanted["algorithm"]], "KeySpec")
    _need(order["number"] != 0 and not (order["number"] == 1 and order["predecessor"] is not None), "Number")
    try:
        check_template(kind, order["place"])
    except Malformed as error:
        raise Malformed(f"Template: {error}") from None


def _check_destroy(order: dict, _created_at: str) -> None:
    kids = [key["kid"] for key in order["keys"]]
    _need(1 <= len(kids) <= MAX_KEYS, f"Keys: there are {len(kids)}")
    _need(all(first < then for first, then in zip(kids, kids[1:])), "Keys: not strictly ascending")
    for key in order["keys"]:
        _need(key["number"] != 0, "NumberZero")
        locations = key["locations"]
        _need(1 <= len(locations) <= MAX_LOCATIONS, f"Keys: of one there are {len(locations)} locations")
        _need(all(one not in locations[:number] for number, one in enumerate(locations)), "Keys: a location twice")
        for each in locations:
            _need_plain_place(each)


def _check_revoke(order: dict, created_at: str) -> None:
    since = order["compromised_since"]
    _need(order["number"] != 0, "NumberZero")
    _need((order["reason"] == "compromised") == (since is not None), "CompromisedSince")
    _need(since is None or since <= created_at, "Order: `compromised_since` after `created_at`")


def _check_correction(order: dict, created_at: str) -> None:
    _need_origins(order, "origin")
    _need(order["first"] <= order["last"], "Range: `first` after `last`")
    _need(order["bound"] <= created_at, "Order: `bound` after `created_at`")


def _check_new_origin(order: dict, _created_at: str) -> None:
    _need_origins(order, "origin", "previous_origin")
    end = end_of_old_origin(order)
    _need(order["origin"] != order["previous_origin"], "Origin: it is the old one")
    lost, size = order["lost"], order["size"]
    if lost is None:
        _need(size == end.size, "Range: leaves are lost and `lost` is null")
        _need(order["root"] == end.root.hex(), "Range: all leaves are left, and `root` is not that of the checkpoint")
    else:
        _need(size < end.size, "Range: no leaves are lost")
        _need((lost["first"], lost["last"]) == (size, end.size - 1), "Range: `lost` is not what follows `size`")
    _need(size != 0 or order["root"] == EMPTY_ROOT.hex(), "Range: no leaf is left, and `root` is that of some")


def end_of_old_origin(order: dict) -> Checkpoint:
    """Its last checkpoint, whose signatures say nothing here: no log key is at hand."""
    try:
        checkpoint = read_checkpoint(order["previous_checkpoint"])
    except Malformed as error:
        raise Malformed(f"Origin: `previous_checkpoint`: {error}") from None
    _need(checkpoint.origin == order["previous_origin"], "Origin: the checkpoint is of another one")
    return checkpoint


def _check_order(order: dict, created_at: str) -> None:
    orders.check_order(order, created_at, SPECS_OF_ALGORITHM)


def _need_another_ring(order: dict) -> None:
    _need(order["ring"] != LOG_RING, "LogRing")


def _check_resume(order: dict, lines: list) -> None:
    _need_another_ring(order)
    kind, ended = order["ends"]
    if kind == "unratified":
        _need(order["ring"] is not None, "Emergency: an emergency rotation is of one ring")
        return
    for line in lines:
        _need(ended["sequence"] < line["sequence"], "Emergency: the stop is not before the resume")


def _check_emergency_rotation(order: dict, created_at: str) -> None:
    _need_another_ring(order)
    _need(order["number"] != 0 and order["standby_number"] != 0, "NumberZero")
    _need(order["compromised_since"] <= created_at, "Order: `compromised_since` after `created_at`")
    same = order["kid"] == order["standby"] or order["number"] == order["standby_number"]
    _need(not same, "Emergency: the standby key is the one that is revoked")
    _need(1 <= order["ratify_within_seconds"] <= RATIFY_WITHIN, "Emergency: `ratify_within_seconds`")


def _check_ratification(order: dict, _created_at: str) -> None:
    _need_another_ring(order)


def decided(order: dict) -> dict:
    """The policy that takes effect, by name."""
    digest = shape.sha256_hex(order["document"].encode())
    return {"digest": digest, "key_type": order["key_type"], "version": order["version"]}


def _check_rotation_policy(order: dict, _created_at: str) -> None:
    version = order["version"]
    _need(_version_of(order["document"], order["key_type"]) == version, "RotationPolicy: `document`")
    replaced = _version_of(order["replaces"], order["key_type"])
    _need(replaced is not None and 1 <= replaced < version, "RotationPolicy: `replaces`")


def _version_of(body: str, key_type: str) -> int | None:
    """The version of a policy of this key type."""
    try:
        data = body.encode("utf-8")
        policy = read_canonical(data)
    except (Malformed, UnicodeEncodeError):
        return None
    if len(data) > MAX_POLICY or not isinstance(policy, dict):
        return None
    # True is 1 in Python, and is no number in JSON.
    found = policy.get("version")
    is_number = isinstance(found, int) and not isinstance(found, bool)
    return found if is_number and policy.get("key_type") == key_type else None


_CHECKS = {
    "generate": _check_generate,
    "destroy": _check_destroy,
    "revoke": _check_revoke,
    "clock-correction": _check_correction,
    "new-origin": _check_new_origin,
    "order": _check_order,
    "emergency-rotation": _check_emergency_rotation,
    "ratification": _check_ratification,
    "rotation-policy": _check_rotation_policy,
}

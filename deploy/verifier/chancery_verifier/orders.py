"""Standing orders: docs/TRANSCRIPT.md section 7a. Refusals are the names in brackets there."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from . import signatures
from .counting import holder, threshold
from .place import check_template
from .refusal import Malformed, Refused
from .shape import LAST_INSTANT, is_plain

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MAX_USES = 366
LONGEST_SECONDS = 366 * 86_400
LONGEST_LIFE = 20 * LONGEST_SECONDS
DAY_MINUTES = 24 * 60
LOG_RING = "log"
CRITICAL_USAGES = ("certificates", "log", "wrap")
_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class LoggedOrder:
    """What leaves of the log say of the order's own ceremony."""

    request_digest: str
    execution_digest: str
    core_digest: str
    execute_by: str
    documents: int


@dataclass(frozen=True)
class UnderOrder:
    """The order under which a ceremony is, which use of it, and who of those who approved it would count."""

    order: dict
    use: int
    approved: list
    logged: LoggedOrder


def after(instant: str, seconds: int) -> str:
    """No later than the last instant."""
    try:
        moment = datetime.strptime(instant, _FORMAT) + timedelta(seconds=seconds)
    except OverflowError:
        return LAST_INSTANT
    return min(f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z", LAST_INSTANT)


def earliest(order: dict, use: int) -> str:
    return after(order["not_before"], order["interval_seconds"] * (use - 1))


# What can be ordered.


def check_order(order: dict, created_at: str, specs_of_algorithm: dict) -> None:
    """Raises Malformed that begins with the name of the reason; that its id is the nonce is checked elsewhere."""
    kind, wanted = order["purpose"]
    if order["usage"] in CRITICAL_USAGES or order["ring"] == LOG_RING or kind != "sign":
        raise Malformed("StandingOrder: Critical")
    if wanted["key_spec"] not in specs_of_algorithm[wanted["algorithm"]]:
        raise Malformed("StandingOrder: KeySpec")
    where, token = order["place"]
    try:
        check_template("sign", (where, token))
    except Malformed as error:
        raise Malformed(f"StandingOrder: Template: {error}") from None
    if not is_plain(token["token_serial"], 64) or not is_plain(token["token_label"], 64):
        raise Malformed("StandingOrder: Text")
    begin, end = order["not_before"], order["not_after"]
    if not begin < end or not created_at < end or _difference(begin, end) > timedelta(seconds=LONGEST_SECONDS):
        raise Malformed("StandingOrder: Duration")
    if not 1 <= order["uses"] <= MAX_USES:
        raise Malformed("StandingOrder: Uses")
    _check_window(order["window"])
    for name, least, most in (
        ("interval_seconds", 0, LONGEST_SECONDS),
        ("activate_after_seconds", 0, LONGEST_LIFE),
        ("lifetime_seconds", 1, LONGEST_LIFE),
    ):
        if not least <= order[name] <= most:
            raise Malformed(f"StandingOrder: Seconds: `{name}`")


def _difference(begin: str, end: str) -> timedelta:
    return datetime.strptime(end, _FORMAT) - datetime.strptime(begin, _FORMAT)


def _check_window(window: dict) -> None:
    places = [DAYS.index(day) for day in window["days"]]
    if not places or any(first >= then for first, then in zip(places, places[1:])):
        raise Malformed("StandingOrder: Window: days")
    if not window["from_minute"] < window["until_minute"] <= DAY_MINUTES:
        raise Malformed("StandingOrder: Window: minutes")


def executor_holds(order: dict, roster: dict, suspended: frozenset) -> bool:
    named = order["executor"]
    member = holder(named["key"].wire, roster)
    return (
        member is not None
        and member["id"] == named["member"]
        and member["active"]
        and "executor" in member["roles"]
        and member["id"] not in suspended
    )


# What is made under one.


def judge_use(record: dict, request: dict, chain, suspended: frozenset, executed_at: str, verify_core) -> UnderOrder:
    """Raises Refused with the name of the reason."""
    if record["order"] is None:
        raise Refused("Missing", "the standing order's transcript is missing")
    if record["proposal"] is not None or record["approvals"]:
        raise Refused("Signed", "a request under a standing order has no proposal and no approvals")
    ceremony = verify_core(record["order"].encode("utf-8", "surrogatepass"), chain.pin)
    if ceremony.operation != "order" or ceremony.order["id"] != request["order"]["id"]:
        raise Refused("OtherOrder", "the transcript is not of the order that the request names")
    if chain.digests[: len(ceremony.chain_digests)] != ceremony.chain_digests:
        raise Refused("OtherChain", "the order was approved under a different chain")
    if request["created_at"] < ceremony.executed_at:
        raise Refused("TooEarly", "the request is older than the order")
    active = {m["id"] for m in chain.roster["members"] if m["active"] and "custodian" in m["roles"]}
    approved = [who for who in ceremony.approved if who in active and who not in suspended]
    needed = threshold(chain.policy, "order")
    if len(approved) < needed:
        raise Refused("Paused", f"{len(approved)} of the {needed} approvers needed are active")
    # As when it was approved: one of them by another key, whoever else has left.
    if all(who in ceremony.by_passkey for who in approved):
        raise Refused("Paused", "all approvers who are active signed by passkey")
    if not executor_holds(ceremony.order, chain.roster, suspended):
        raise Refused("Executor", ceremony.order["executor"]["member"])
    use = request["order"]["use"]
    _check_fits(ceremony.order, use, request, executed_at)
    logged = LoggedOrder(
        ceremony.request_digest,
        ceremony.execution_digest,
        ceremony.core_digest,
        ceremony.request["execute_by"],
        len(ceremony.chain_digests),
    )
    return UnderOrder(ceremony.order, use, approved, logged)


def _check_fits(order: dict, use: int, request: dict, now: str) -> None:
    kind, asked = request["operation"]
    if kind != "generate":
        raise Refused("Misfit", "Operation: an order only makes keys")
    if not 1 <= use <= order["uses"]:
        raise Refused("Misfit", f"Use: {use} of {order['uses']}")
    where, token = order["place"]
    if asked["place"][0] != where:
        raise Refused("Misfit", "Differs: the kind of place")
    activate_at = after(asked["publish_at"], order["activate_after_seconds"])
    label = f"{request['service']}/{request['environment']}/{order['ring']}/{asked['number']}"
    expected = {
        "ring": order["ring"],
        "purpose": order["purpose"],
        "usage": order["usage"],
        "publish_at": request["created_at"],
        "activate_at": activate_at,
        "retire_at": after(activate_at, order["lifetime_seconds"]),
    }
    found = {name: asked[name] for name in expected} | {name: asked["place"][1][name] for name in (*token, "label")}
    for name, value in (expected | token | {"label": label}).items():
        if found[name] != value:
            raise Refused("Misfit", f"Differs: `{name}`")
    if asked["predecessor"] is None or any(line["previous"] is None for line in request["lines"]):
        raise Refused("Misfit", "First: the first key of a ring")
    begin = earliest(order, use)
    if request["created_at"] < begin or now < begin:
        raise Refused("Misfit", f"Early: not before {begin}")
    if request["execute_by"] > order["not_after"] or now > order["not_after"]:
        raise Refused("Misfit", f"Late: until {order['not_after']}")
    if not is_in_window(order["window"], now):
        raise Refused("Misfit", "Window")


def is_in_window(window: dict, instant: str) -> bool:
    moment = datetime.strptime(instant, _FORMAT)
    minute = moment.hour * 60 + moment.minute
    return DAYS[moment.weekday()] in window["days"] and window["from_minute"] <= minute < window["until_minute"]


def check_result(acceptance: dict, under: UnderOrder | None, chain) -> str | None:
    """Section 9, step 9a: the executor, if its signature accepts what was made."""
    result = acceptance["result"]
    if under is None:
        if result is not None:
            raise Refused("Ceremony/Order", "a result that is not under a standing order")
        return None
    if result is None:
        raise Refused("Ceremony/NoResult", "the executor's signature is missing")
    try:
        key = signatures.verify(result, chain.pin.namespace("result"), acceptance["statement"])
    except Refused as reason:
        raise Refused("Ceremony/Result", str(reason)) from None
    if key.wire != under.order["executor"]["key"].wire:
        raise Refused("Ceremony/OtherExecutor", "not the executor that the order names")
    ring, usage = under.order["ring"], under.order["usage"]
    routine = ring in chain.policy["routine_rings"] and usage not in CRITICAL_USAGES
    return under.order["executor"]["member"] if routine else None

"""Counting signatures: docs/TRANSCRIPT.md section 5."""

from dataclasses import dataclass, field

from . import signatures
from .refusal import Refused
from .shape import is_plain

# Under these no threshold is, whatever a policy says (section 3, "Thresholds").
_FLOORS = {"emergency-rotation": 3}
_LOWEST_FLOOR = 2


def threshold(policy: dict, word: str) -> int:
    written = policy["thresholds"].get(word, policy["thresholds"]["default"])
    return max(written, floor(word))


def floor(word: str) -> int:
    return _FLOORS.get(word, _LOWEST_FLOOR)


@dataclass(frozen=True)
class Rules:
    """Who may count in one list of signatures."""

    custodians: bool = True
    roles: tuple = ("custodian",)  # one of them is enough; of no importance without `custodians`
    proposer: str | None = None
    suspended: frozenset = frozenset()


@dataclass
class Count:
    """Who counts, in order, and where in the list; why the others do not, and the wire forms of all keys that signed."""

    members: list = field(default_factory=list)
    positions: list = field(default_factory=list)
    others: list = field(default_factory=list)
    keys: set = field(default_factory=set)


def count(signed: list, namespace: str, body: str, roster: dict, rules: Rules = Rules()) -> Count:
    """Section 5. `signed` are pairs of a MemberSignature and whether it came in time."""
    counted = Count()
    for position, (signature, in_time) in enumerate(signed):
        try:
            key = signatures.verify(signature, namespace, body)
            counted.keys.add(key.wire)
            counted.members.append(_member_that_counts(key.wire, in_time, roster, rules, counted))
            counted.positions.append(position)
        except Refused as reason:
            counted.others.append(str(reason))
    return counted


def _member_that_counts(wire: bytes, in_time: bool, roster: dict, rules: Rules, so_far: Count) -> str:
    member = holder(wire, roster)
    if member is None:
        raise Refused("UnknownKey", "the key belongs to no roster member")
    who = member["id"]
    if not member["active"]:
        raise Refused("Inactive", who)
    if who in rules.suspended:
        raise Refused("Suspended", who)
    if rules.custodians and not set(rules.roles) & set(member["roles"]):
        raise Refused("Role", f"{who} is not a {' or '.join(rules.roles)}")
    if who == rules.proposer:
        raise Refused("Proposer", f"{who} is the proposer")
    if not in_time:
        raise Refused("Late", who)
    if who in so_far.members:
        raise Refused("Again", who)
    return who


def holder(wire: bytes, roster: dict) -> dict | None:
    """The member, active or not, who has this key."""
    for member in roster["members"]:
        if any(key["kind"] == "ssh" and key["public"].wire == wire for key in member["keys"]):
            return member
    return None


def without_deadline(made: list) -> list:
    return [(signature, True) for signature in made]


def check_every_key_signed(member: dict, known: set, counted: Count) -> None:
    for key in member["keys"]:
        if key["public"].wire not in known and key["public"].wire not in counted.keys:
            raise Refused("Chain/Signatures", f"a key of {member['id']} made none of the signatures")


def refuse_twice(values: list, word: str, reason: str) -> None:
    if len(set(values)) != len(values):
        raise Refused(word, reason)


def check_people(members: list, word: str) -> None:
    """What holds for the members of a roster and of a recovery roster alike; `active` and `roles` are a roster's."""
    refuse_twice([member["id"] for member in members], word, "DuplicateId")
    for member in members:
        if not is_plain(member["name"], 100):
            raise Refused(word, f"Name: of {member['id']}")
        if member.get("active", True) and not member["keys"]:
            raise Refused(word, f"NoKey: {member['id']}")
    keys = [key for member in members for key in member["keys"]]
    if any(key["kind"] != "ssh" for key in keys):
        raise Refused(word, "Kind: passkeys are not supported")
    refuse_twice([key["public"].material for key in keys], word, "SharedKey")

"""Counting signatures: docs/TRANSCRIPT.md section 5."""

from dataclasses import dataclass, field

from . import passkeys, signatures
from .refusal import Malformed, Refused
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
    passkeys: bool = False


@dataclass
class Count:
    """Who counts, in order, where in the list, and whether by passkey; why the others do not, and the names of all keys
    that signed: an SSH key's wire form, or the identity of a passkey."""

    members: list = field(default_factory=list)
    positions: list = field(default_factory=list)
    passkeys: list = field(default_factory=list)
    others: list = field(default_factory=list)
    keys: set = field(default_factory=set)

    def missing(self, needed: int) -> int:
        """How many more have to sign. One of them signs by no passkey."""
        return max(needed - len(self.members), int(all(self.passkeys)))

    def add(self, who: str, position: int, passkey: bool) -> None:
        """A member counts once. The signature by another key takes the place of the passkey's."""
        if who in self.members:
            place = self.members.index(who)
            if passkey or not self.passkeys[place]:
                raise Refused("Again", who)
            for column in (self.members, self.positions, self.passkeys):
                column.pop(place)
            self.others.append(f"Again: {who}")
        self.members.append(who)
        self.positions.append(position)
        self.passkeys.append(passkey)


def count(signed: list, namespace: str, body: str, roster: dict, rules: Rules = Rules()) -> Count:
    """Section 5. `signed` are pairs of a MemberSignature and whether it came in time."""
    counted = Count()
    for position, (signature, in_time) in enumerate(signed):
        passkey = signature["kind"] == "webauthn"
        try:
            key = _key(signature, namespace, body, roster, rules)
            counted.keys.add(key)
            if passkey and not rules.passkeys:
                raise Refused("Kind", "a passkey does not count here")
            counted.add(_member_that_counts(key, in_time, roster, rules), position, passkey)
        except Refused as reason:
            counted.others.append(str(reason))
    return counted


def _key(signature: dict, namespace: str, body: str, roster: dict, rules: Rules):
    try:
        return signatures.verify_by(signature, namespace, body, roster)
    except Refused:
        if signature["kind"] == "webauthn" and not rules.passkeys:
            raise Refused("Kind", "a passkey does not count here") from None
        raise


def _member_that_counts(key, in_time: bool, roster: dict, rules: Rules) -> str:
    member = holder(key, roster)
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
    return who


def name_of(key: dict):
    """What `Count.keys` has of a key that signed."""
    return key["public"].wire if key["kind"] == "ssh" else passkeys.identity(key)


def holder(key, roster: dict) -> dict | None:
    """The member, active or not, who has this key."""
    for member in roster["members"]:
        if any(name_of(each) == key for each in member["keys"]):
            return member
    return None


def without_deadline(made: list) -> list:
    return [(signature, True) for signature in made]


def check_every_key_signed(member: dict, known: set, counted: Count) -> None:
    for key in member["keys"]:
        if name_of(key) not in known and name_of(key) not in counted.keys:
            raise Refused("Chain/Signatures", f"a key of {member['id']} made none of the signatures")


def refuse_twice(values: list, word: str, reason: str) -> None:
    if len(set(values)) != len(values):
        raise Refused(word, reason)


def materials(key: dict) -> list:
    """What two keys must not share."""
    return [key["public"].material] if key["kind"] == "ssh" else passkeys.materials(key)


def check_people(members: list, word: str, relying_party: dict | None = None) -> None:
    """What holds for the members of a roster and of a recovery roster alike; `active` and `roles` are a roster's."""
    refuse_twice([member["id"] for member in members], word, "DuplicateId")
    for member in members:
        if not is_plain(member["name"], 100):
            raise Refused(word, f"Name: of {member['id']}")
        if member.get("active", True) and not any(key["kind"] == "ssh" for key in member["keys"]):
            raise Refused(word, f"NoKey: {member['id']}")
        _check_passkeys(member, word, relying_party)
    refuse_twice([each for member in members for key in member["keys"] for each in materials(key)], word, "SharedKey")


def _check_passkeys(member: dict, word: str, relying_party: dict | None) -> None:
    for key in member["keys"]:
        if key["kind"] == "ssh":
            continue
        if relying_party is None:
            raise Refused(word, f"Kind: {member['id']} has a passkey, and there is no relying party")
        try:
            passkeys.read_key(key)
        except Malformed as error:
            raise Refused(word, f"PasskeyKey: of {member['id']}: {error}") from None

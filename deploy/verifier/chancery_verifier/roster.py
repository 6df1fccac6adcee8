"""Counting signatures, and the chain of rosters and policies: docs/TRANSCRIPT.md sections 5 and 6."""

from dataclasses import dataclass, field

from . import ceremony_forms as forms
from . import signatures
from .refusal import Malformed, Refused
from .operations import LOG_RING
from .shape import is_plain, sha256_hex
from .strict_json import canonical, read_canonical


@dataclass(frozen=True)
class Pin:
    """What a verifier trusts: the SHA-256 of the genesis; service and environment come from it where they are None."""

    genesis: str
    service: str | None = None
    environment: str | None = None

    def namespace(self, purpose: str) -> str:
        return f"chancery/{purpose}.v1@{self.service}/{self.environment}"


# Under these no threshold is, whatever a policy says (section 3, "Thresholds").
_FLOORS = {"emergency-rotation": 3}
_LOWEST_FLOOR = 2


def threshold(policy: dict, word: str) -> int:
    written = policy["thresholds"].get(word, policy["thresholds"]["default"])
    return max(written, _floor(word))


def _floor(word: str) -> int:
    return _FLOORS.get(word, _LOWEST_FLOOR)


@dataclass(frozen=True)
class Rules:
    """Who may count in one list of signatures."""

    custodians: bool = True
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
    if rules.custodians and "custodian" not in member["roles"]:
        raise Refused("Role", f"{who} is not a custodian")
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


def check_possible(roster: dict, policy: dict) -> None:
    """Section 6, "Possible"."""
    rings = policy["routine_rings"]
    if LOG_RING in rings or not all(first < then for first, then in zip(rings, rings[1:])):
        raise Refused("Chain/Policy", "RoutineRing: ascending, each once, and not log")
    for word, number in policy["thresholds"].items():
        if number < _floor(word):
            raise Refused("Chain/Policy", f"Floor: {number} for {word}, which needs {_floor(word)}")
    _check_members(roster)
    _check_reachable(roster, max(policy["thresholds"].values()))


def _check_members(roster: dict) -> None:
    _refuse_twice([member["id"] for member in roster["members"]], "DuplicateId")
    for member in roster["members"]:
        if not is_plain(member["name"], 100):
            raise Refused("Chain/Roster", f"Name: of {member['id']}")
        if member["active"] and not member["keys"]:
            raise Refused("Chain/Roster", f"NoKey: {member['id']}")
        _refuse_twice(member["roles"], "DuplicateRole")
        if "executor" in member["roles"] and len(member["roles"]) > 1:
            raise Refused("Chain/Roster", f"ExecutorRole: {member['id']} has another role, too")
    keys = [key for member in roster["members"] for key in member["keys"]]
    if roster["passkeys"] is not None or any(key["kind"] != "ssh" for key in keys):
        raise Refused("Chain/Roster", "Kind: passkeys are not supported")
    _refuse_twice([key["public"].material for key in keys], "SharedKey")


def _check_reachable(roster: dict, largest: int) -> None:
    """The proposer does not count, so there has to be one custodian more, or somebody else who proposes."""
    active = _active(roster)
    custodians = sum("custodian" in member["roles"] for member in active)
    others = any("operator" in member["roles"] and "custodian" not in member["roles"] for member in active)
    if largest > (custodians if others else custodians - 1):
        raise Refused("Chain/Unreachable", f"a threshold of {largest} with {custodians} active custodians")


def _refuse_twice(values: list, reason: str) -> None:
    if len(set(values)) != len(values):
        raise Refused("Chain/Roster", reason)


def _active(roster: dict) -> list:
    return [member for member in roster["members"] if member["active"]]


class Chain:
    """The rosters and policies from the genesis on; after the walk, the last of each is current."""

    def __init__(self, chains: dict, pin: Pin) -> None:
        self._start(chains["genesis"], pin)
        for kind, document in chains["changes"]:
            self._change(kind, document)

    def _start(self, genesis: dict, pin: Pin) -> None:
        body = genesis["body"]
        self.digests = [sha256_hex(body.encode())]
        if self.head != pin.genesis:
            raise Refused("Chain/Genesis", f"the genesis has SHA-256 {self.head}")
        value, document = _read_document(forms.genesis, body)
        self.roster, self.policy = document["roster"], document["policy"]
        self._holders = {}  # key material: the id under which it stood first in the chain
        if pin.service is None:
            pin = Pin(pin.genesis, self.roster["service"], self.roster["environment"])
        self.pin = pin
        for kind, part in (("roster", self.roster), ("policy", self.policy)):
            self._check_place(kind, part, version=1, previous=None)
        check_possible(self.roster, self.policy)
        self._check_genesis_signatures(genesis)
        self._remember_keys(self.roster)
        self.references = {
            kind: {"version": 1, "digest": sha256_hex(canonical(value[kind]))} for kind in ("roster", "policy")
        }

    @property
    def head(self) -> str:
        return self.digests[-1]

    def _check_place(self, kind: str, document: dict, version: int, previous: str | None) -> None:
        if (document["service"], document["environment"]) != (self.pin.service, self.pin.environment):
            raise Refused("Chain/Elsewhere", f"a {kind} for {document['service']}/{document['environment']}")
        if document["version"] != version:
            raise Refused("Chain/Version", f"a {kind} of version {document['version']} in place of {version}")
        if document["previous"] != previous:
            raise Refused("Chain/Previous", f"a {kind} does not reference the previous document")

    def _check_genesis_signatures(self, genesis: dict) -> None:
        signed, namespace = without_deadline(genesis["signatures"]), self.pin.namespace("genesis")
        counted = count(signed, namespace, genesis["body"], self.roster, Rules(custodians=False))
        for member in _active(self.roster):
            if member["id"] not in counted.members:
                raise Refused("Chain/Signatures", f"{member['id']} has not signed the genesis {counted.others}")
            self._check_every_key_signed(member, set(), counted)

    def _check_every_key_signed(self, member: dict, known: set, counted: Count) -> None:
        for key in member["keys"]:
            if key["public"].wire not in known and key["public"].wire not in counted.keys:
                raise Refused("Chain/Signatures", f"a key of {member['id']} made none of the signatures")

    def _change(self, kind: str, document: dict) -> None:
        body = document["body"]
        _, change = _read_document(forms.roster if kind == "roster" else forms.policy, body)
        self._check_place(kind, change, self.references[kind]["version"] + 1, self.head)
        if kind == "roster":
            check_possible(change, self.policy)
            self._check_continuity(change)
            self._check_roster_signatures(change, document)
            self.roster = change
            self._remember_keys(change)
        else:
            check_possible(self.roster, change)
            needed = max(threshold(self.policy, "policy"), threshold(change, "policy"))
            self._need_custodians(kind, document, self.roster, needed)
            self.policy = change
        self.digests.append(sha256_hex(body.encode()))
        self.references[kind] = {"version": change["version"], "digest": self.head}

    def _remember_keys(self, roster: dict) -> None:
        for member in roster["members"]:
            for key in member["keys"]:
                self._holders.setdefault(key["public"].material, member["id"])

    def _check_continuity(self, new: dict) -> None:
        """Nobody is dropped from the list, and no key passes from one member to another."""
        dropped = {member["id"] for member in self.roster["members"]} - {member["id"] for member in new["members"]}
        if dropped:
            raise Refused("Chain/Roster", f"Dropped: {', '.join(sorted(dropped))}")
        for member in new["members"]:
            for key in member["keys"]:
                holder = self._holders.get(key["public"].material, member["id"])
                if holder != member["id"]:
                    raise Refused("Chain/Roster", f"FormerKey: of {holder}, now with {member['id']}")

    def _need_custodians(self, kind: str, document: dict, roster: dict, needed: int) -> Count:
        signed = without_deadline(document["signatures"])
        counted = count(signed, self.pin.namespace(kind), document["body"], roster)
        if len(counted.members) < needed:
            raise Refused("Chain/Signatures", f"{len(counted.members)} of {needed} for a {kind} {counted.others}")
        return counted

    def _check_roster_signatures(self, new: dict, document: dict) -> None:
        needed = threshold(self.policy, "roster")
        self._need_custodians("roster", document, self.roster, needed)
        counted = self._need_custodians("roster", document, new, needed)
        known = {member["id"]: {key["public"].wire for key in member["keys"]} for member in self.roster["members"]}
        for member in _active(new):
            self._check_every_key_signed(member, known.get(member["id"], set()), counted)


def _read_document(form, body: str) -> tuple:
    """The value as JSON has it, and as the form reads it."""
    try:
        value = read_canonical(body.encode())
        return value, form(value)
    except Malformed as error:
        raise Refused("Chain/Json", str(error)) from None

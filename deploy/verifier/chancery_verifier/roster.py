"""The chain of rosters and policies: docs/TRANSCRIPT.md section 6."""

from dataclasses import dataclass

from . import ceremony_forms as forms
from . import passkeys, recovery
from .counting import (
    Count, Rules, check_every_key_signed, check_people, count, floor, materials, name_of, refuse_twice, threshold, without_deadline,
)  # fmt: skip
from .refusal import Malformed, Refused
from .operations import LOG_RING
from .shape import sha256_hex
from .strict_json import canonical, read_canonical

_FORMS = {"roster": forms.roster, "policy": forms.policy, "recovery-roster": forms.recovery_roster}


@dataclass(frozen=True)
class Pin:
    """What a verifier trusts: the SHA-256 of the genesis; service and environment come from it where they are None."""

    genesis: str
    service: str | None = None
    environment: str | None = None

    def namespace(self, purpose: str) -> str:
        return f"chancery/{purpose}.v1@{self.service}/{self.environment}"


def check_possible(roster: dict, policy: dict) -> None:
    """Section 6, "Possible"."""
    rings = policy["routine_rings"]
    if LOG_RING in rings or not all(first < then for first, then in zip(rings, rings[1:])):
        raise Refused("Chain/Policy", "RoutineRing: ascending, each once, and not log")
    for word, number in policy["thresholds"].items():
        if number < floor(word):
            raise Refused("Chain/Policy", f"Floor: {number} for {word}, which needs {floor(word)}")
    _check_members(roster)
    _check_reachable(roster, max(policy["thresholds"].values()))


def _check_members(roster: dict) -> None:
    for member in roster["members"]:
        refuse_twice(member["roles"], "Chain/Roster", "DuplicateRole")
        if "executor" in member["roles"] and len(member["roles"]) > 1:
            raise Refused("Chain/Roster", f"ExecutorRole: {member['id']} has another role, too")
    if roster["passkeys"] is not None:
        try:
            passkeys.check_relying_party(roster["passkeys"])
        except Malformed as error:
            raise Refused("Chain/Roster", f"Passkeys: {error}") from None
    check_people(roster["members"], "Chain/Roster", roster["passkeys"])


def _check_reachable(roster: dict, largest: int) -> None:
    """The proposer does not count, so there has to be one custodian more, or somebody else who proposes."""
    active = _active(roster)
    custodians = sum("custodian" in member["roles"] for member in active)
    others = any("operator" in member["roles"] and "custodian" not in member["roles"] for member in active)
    if largest > (custodians if others else custodians - 1):
        raise Refused("Chain/Unreachable", f"a threshold of {largest} with {custodians} active custodians")


def _active(roster: dict) -> list:
    return [member for member in roster["members"] if member["active"]]


class Chain:
    """The documents from the genesis on; after the walk, the last of each kind is current. `verify_core` verifies the
    transcripts of the log's keys in a recovery."""

    def __init__(self, chains: dict, pin: Pin, verify_core) -> None:
        self._verify_core = verify_core
        self._start(chains["genesis"], pin)
        for kind, change in chains["changes"]:
            if kind == "recovery":
                self._recover(change)
            else:
                self._change(kind, change)

    def _start(self, genesis: dict, pin: Pin) -> None:
        body = genesis["body"]
        self.digests = [sha256_hex(body.encode())]
        if self.head != pin.genesis:
            raise Refused("Chain/Genesis", f"the genesis has SHA-256 {self.head}")
        value, document = _read_document(forms.genesis, body)
        self.roster, self.policy = document["roster"], document["policy"]
        self._holders = {}  # key material: the id under which it stood first in the chain
        self._recovery_ids = set()  # of all recovery rosters so far
        self.recovery = None
        if pin.service is None:
            pin = Pin(pin.genesis, self.roster["service"], self.roster["environment"])
        self.pin = pin
        for kind, part in (("roster", self.roster), ("policy", self.policy)):
            self._check_place(kind, part, version=1, previous=None)
        check_possible(self.roster, self.policy)
        self._check_genesis_signatures(genesis)
        self._remember_keys(self.roster["members"])
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
            check_every_key_signed(member, set(), counted)

    def _change(self, kind: str, document: dict) -> None:
        body = document["body"]
        _, change = _read_document(_FORMS[kind], body)
        version = self.references.get(kind, {"version": 0})["version"] + 1
        self._check_place(kind, change, version, self.head)
        if kind == "roster":
            self._check_next_roster(change)
            self._need_custodians("roster", document, self.roster, threshold(self.policy, "roster"))
            self._check_those_who_follow("roster", change, document)
            self._accept_roster(change)
        elif kind == "recovery-roster":
            recovery.check_recovery_roster(change, self)
            recovery.check_enrolment(change, document, self)
            self.recovery = change
            self._remember_keys(change["members"])
            self._recovery_ids |= {member["id"] for member in change["members"]}
        else:
            check_possible(self.roster, change)
            needed = max(threshold(self.policy, "policy"), threshold(change, "policy"))
            self._need_custodians(kind, document, self.roster, needed)
            self.policy = change
        self._accept(kind, change, body)

    def _recover(self, change: dict) -> None:
        """The recovery roster signs in place of the old roster; and the log shows that nobody objected."""
        if self.recovery is None:
            raise Refused("Chain/Recovery", "NotEnrolled: no recovery roster")
        document = change["document"]
        _, roster = _read_document(forms.roster, document["body"])
        self._check_place("roster", roster, self.references["roster"]["version"] + 1, self.head)
        self._check_next_roster(roster)
        recovery.count_recovery(document, self)
        self._check_those_who_follow("recover", roster, document)
        recovery.check_log(change, self, self._verify_core)
        self._accept_roster(roster)
        self._accept("roster", roster, document["body"])

    def _accept_roster(self, roster: dict) -> None:
        self.roster = roster
        self._remember_keys(roster["members"])

    def _accept(self, kind: str, document: dict, body: str) -> None:
        self.digests.append(sha256_hex(body.encode()))
        self.references[kind] = {"version": document["version"], "digest": self.head}

    def _remember_keys(self, members: list) -> None:
        for member in members:
            for key in member["keys"]:
                for material in materials(key):
                    self._holders.setdefault(material, member["id"])

    def _check_next_roster(self, new: dict) -> None:
        """It is possible, nobody is dropped from the list, and no key passes from one member to another."""
        check_possible(new, self.policy)
        ids = {member["id"] for member in new["members"]}
        dropped = {member["id"] for member in self.roster["members"]} - ids
        if dropped:
            raise Refused("Chain/Roster", f"Dropped: {', '.join(sorted(dropped))}")
        if ids & self._recovery_ids:
            raise Refused("Chain/Roster", f"Recovers: {', '.join(sorted(ids & self._recovery_ids))}")
        self.refuse_former_keys(new["members"], "Chain/Roster")

    def refuse_former_keys(self, members: list, word: str) -> None:
        for member in members:
            for key in member["keys"]:
                for material in materials(key):
                    holder = self._holders.get(material, member["id"])
                    if holder != member["id"]:
                        raise Refused(word, f"FormerKey: of {holder}, now with {member['id']}")

    def _need_custodians(self, kind: str, document: dict, roster: dict, needed: int) -> Count:
        signed = without_deadline(document["signatures"])
        counted = count(signed, self.pin.namespace(kind), document["body"], roster)
        if len(counted.members) < needed:
            raise Refused("Chain/Signatures", f"{len(counted.members)} of {needed} for a {kind} {counted.others}")
        return counted

    def _check_those_who_follow(self, purpose: str, new: dict, document: dict) -> None:
        """The new roster's own threshold, and every key that its member did not have before, as an active one."""
        counted = self._need_custodians(purpose, document, new, threshold(self.policy, "roster"))
        known = {member["id"]: {name_of(key) for key in member["keys"]} for member in _active(self.roster)}
        for member in _active(new):
            check_every_key_signed(member, known.get(member["id"], set()), counted)


def _read_document(form, body: str) -> tuple:
    """The value as JSON has it, and as the form reads it."""
    try:
        value = read_canonical(body.encode())
        return value, form(value)
    except Malformed as error:
        raise Refused("Chain/Json", str(error)) from None

"""Chains in which a recovery roster is enrolled, and recovers: for tests, and for a comparison of verifiers."""

import copy
import json

from sample_files import ENVIRONMENT, ORIGIN, SERVICE, Log, Person, ServiceKey, by_passkey, canonical, minute, sha256

ANNOUNCED, READY = "2026-01-01T02:00:00.000Z", "2026-01-04T02:00:00.000Z"
EARLY = "2026-01-04T01:59:59.999Z"
DELAY = 72 * 3600
ENTITLED, FOLLOW = ("ruth", "sam", "tess"), ("nina", "olga")
DAY = 24 * 3600


class Lost:
    """An installation that lost grace and mary. Two of ruth, sam and tess may recover; nina and olga follow."""

    def __init__(self, installation) -> None:
        self.house = copy.copy(installation)
        self.genesis_roster = installation.roster
        self.house.people = dict(installation.people)
        for who in (*ENTITLED, *FOLLOW, "uma", "vera"):
            self.house.people[who] = Person()
        self.enrolment = self.enrol()
        self.house.changes = [self.enrolment]
        self.log_key = ServiceKey("Ed25519")
        self.birth = self.house.generate("log", self.log_key)
        self.announcement, self.effect = ("announce-recovery", ANNOUNCED), ("recover", READY)

    @property
    def head(self) -> str:
        changes = self.house.changes
        if not changes:
            return self.house.genesis_digest
        ((_, last),) = changes[-1].items()
        return sha256((last if "body" in last else last["document"])["body"])

    def people(self, *who: str) -> list:
        keys = {name: [{"kind": "ssh", "public": self.house.people[name].public}] for name in who}
        return [{"id": name, "name": name.title(), "keys": keys[name]} for name in who]

    def enrol(self, *who: str, signers=None, purpose: str = "recovery-roster", **changed) -> dict:
        who = who or ENTITLED
        document = {
            "v": 1, "service": SERVICE, "environment": ENVIRONMENT, "version": 1, "previous": self.head,
            "members": self.people(*who), "threshold": 2, "delay_seconds": DELAY,
        } | changed  # fmt: skip
        signers = ("ada", "grace", *who) if signers is None else signers
        return {"recovery-roster": self.house.signed(purpose, canonical(document), *signers)}

    def roster(self, version: int = 2, members=None, **changed) -> str:
        """The body of the roster that is put in place. `members` changes them in place."""
        listed = [member | {"active": member["id"] not in ("grace", "mary")} for member in self.genesis_roster["members"]]
        listed += [self.house.member(who) for who in FOLLOW]
        if members is not None:
            members(listed)
        return canonical(self.genesis_roster | {"version": version, "previous": self.head, "members": listed} | changed)

    def recover(self, body=None, signers=("ruth", "sam", *FOLLOW), purpose: str = "recover", vetoes=(), log=None, **changed) -> dict:
        """The change. `vetoes` are bodies and signatures; `log` changes the leaves in place, before they are proven."""
        body = self.roster() if body is None else body
        digest = sha256(body)
        of_it = {"kind": "roster", "actor": "x", "digest": digest, "ref": digest}
        leaves = [{"kind": "admin", "action": "start", "actor": "x", "time": minute(0)}]
        leaves.append(of_it | {"action": self.announcement[0], "time": self.announcement[1]})
        leaves += [of_it | {"action": "veto-recovery", "time": ANNOUNCED, "digest": sha256(veto["body"])} for veto in vetoes]
        leaves.append(of_it | {"action": self.effect[0], "time": self.effect[1]})
        places = {"announcement": 1, "effect": len(leaves) - 1, "vetoes": list(range(2, len(leaves) - 1))}
        leaves.append({"kind": "admin", "action": "heartbeat", "actor": "x", "time": READY})
        if log is not None:
            log(leaves, places)
        tree = Log(self.log_key)
        for leaf in leaves:
            tree.append(leaf)
        self.tree = tree

        def logged(index: int) -> dict:
            return {"leaf": tree.leaves[index], "proof": tree.proof(index)}

        change = {
            "announcement": logged(places["announcement"]), "document": self.house.signed(purpose, body, *signers),
            "effect": logged(places["effect"]), "log_keys": [self.birth],
            "vetoes": [veto | logged(index) for veto, index in zip(vetoes, places["vetoes"])],
        } | changed  # fmt: skip
        return {"recovery": change}

    def veto(self, who: str, purpose: str = "veto", document=None, **changed) -> dict:
        said = {"v": 1, "reason": "we are here", "document_digest": sha256(document or self.roster()), "roster": self.reference()}
        body = canonical(said | changed)
        return {"body": body, "signature": self.house.sign(who, purpose, body)}

    def reference(self, body=None) -> dict:
        return {"version": 1, "digest": sha256(canonical(self.genesis_roster))} if body is None else {
            "version": json.loads(body)["version"], "digest": sha256(body)}  # fmt: skip

    def held(self, *changes: dict, key=None, ring: str = "ring") -> str:
        """A ceremony under the chain with these changes, by those who can hold one then."""
        house = copy.copy(self.house)
        house.changes = [*self.house.changes, *changes]
        bodies = [change["recovery"]["document"]["body"] for change in house.changes if "recovery" in change]
        who = {"approve": FOLLOW, "accept": FOLLOW} if bodies else {}
        request = {"roster": self.reference(bodies[-1])} if bodies else {}
        return house.generate(ring, key or ServiceKey(), request=request, **who)


def recoveries(installation):
    """Transcripts, each with the name of what is right or wrong with its chain."""
    yield from enrolments(installation)
    for name, transcript in used(installation):
        yield f"used-{name}", transcript
    for name, transcript in proven(installation):
        yield f"proven-{name}", transcript
    for name, transcript in vetoed(installation):
        yield f"veto-{name}", transcript
    yield from again(installation)


def enrolments(installation):
    lost = Lost(installation)
    bare = copy.copy(lost)
    bare.house = copy.copy(lost.house)
    bare.house.changes = []
    yield "enrolled", bare.held(bare.enrol())
    everybody = ("ada", "grace", *ENTITLED)
    for missing in everybody:
        yield f"enrolled-without-{missing}", bare.held(bare.enrol(signers=[who for who in everybody if who != missing]))
    for name, changed in (
        ("delay-floor", {"delay_seconds": DAY}), ("delay-early", {"delay_seconds": DAY - 1}), ("delay-ceiling", {"delay_seconds": 30 * DAY}),
        ("delay-late", {"delay_seconds": 30 * DAY + 1}), ("delay-text", {"delay_seconds": "1"}), ("threshold-3", {"threshold": 3}),
        ("threshold-4", {"threshold": 4}), ("threshold-1", {"threshold": 1}), ("version-0", {"version": 0}), ("version-2", {"version": 2}),
        ("previous-null", {"previous": None}), ("previous-other", {"previous": "0" * 64}), ("service", {"service": "other"}),
        ("environment", {"environment": "other"}), ("v", {"v": 2}), ("more", {"more": 1}), ("purpose", {"purpose": "roster"}),
    ):  # fmt: skip
        yield f"enrolled-{name}", bare.held(bare.enrol(**changed))
    people = bare.people(*ENTITLED)
    keys = [{"kind": "ssh", "public": Person().public}]
    passkey = {"kind": "webauthn", "algorithm": "ES256", "credential_id": "A" * 22, "public_key": "AAAA"}
    for name, change in (
        ("id-twice", {"id": "sam"}), ("id-of-a-member", {"id": "ada"}), ("id-of-an-executor", {"id": "max"}), ("name", {"name": "R\u202e"}),
        ("no-key", {"keys": []}), ("shared-key", {"keys": people[1]["keys"]}), ("key-of-a-member", {"keys": bare.people("mary")[0]["keys"]}),
        ("key-not-shown", {"keys": people[0]["keys"] + keys}), ("passkey", {"keys": people[0]["keys"] + [passkey]}),
        ("role", {"roles": []}), ("good-name", {"name": "Ruth R."}),
    ):  # fmt: skip
        yield f"enrolled-member-{name}", bare.held(bare.enrol(members=[people[0] | change, *people[1:]]))
    # Nobody comes over from the other side later.
    for name, person in (("id", bare.house.member("nina") | {"id": "ruth"}), ("key", bare.house.member("ruth") | {"id": "masked"})):
        members = [*lost.genesis_roster["members"], person]
        body = canonical(lost.genesis_roster | {"version": 2, "previous": lost.head, "members": members})
        change = {"roster": lost.house.signed("roster", body, "ada", "grace", "nina", "ruth")}
        house = copy.copy(lost.house)
        house.changes = [lost.enrolment, change]
        yield f"over-by-{name}", house.generate("ring", ServiceKey(), request={"roster": lost.reference(body)})


def used(installation):
    lost = Lost(installation)
    yield "good", lost.held(lost.recover())
    for name, signers in (
        ("one", ("ruth", *FOLLOW)), ("one-twice", ("ruth", "ruth", *FOLLOW)), ("three", (*ENTITLED, *FOLLOW)), ("no-follower", ENTITLED),
        ("one-follower", ("ruth", "sam", "nina")), ("old-roster", ("ada", "grace", "mary", "ruth", *FOLLOW)), ("nobody", ()),
    ):  # fmt: skip
        yield f"by-{name}", lost.held(lost.recover(signers=signers))
    for purpose in ("roster", "recovery-roster", "approve"):
        yield f"purpose-{purpose}", lost.held(lost.recover(purpose=purpose))
    for name, changed in (
        ("version-1", {"version": 1}), ("version-3", {"version": 3}), ("previous", {"previous": "0" * 64}), ("null", {"previous": None}),
        ("environment", {"environment": "other"}), ("passkeys", {"passkeys": {"origins": [], "rp_id": "a"}}),
    ):  # fmt: skip
        yield name, lost.held(lost.recover(lost.roster(**changed)))
    for name, members in (
        ("dropped", lambda listed: listed.pop(1)), ("unreachable", lambda listed: [follower.update(active=False) for follower in listed[-2:]]),
        ("former-key", lambda listed: listed[-1].update(keys=listed[1]["keys"])), ("recovery-id", lambda listed: listed[-1].update(id="sam")),
        ("not-shown", lambda listed: listed.append(lost.house.member("uma"))),
    ):  # fmt: skip
        yield name, lost.held(lost.recover(lost.roster(members=members)))
    for name, at in (("early", EARLY), ("before", "2026-01-01T01:00:00.000Z"), ("a-day", "2026-01-02T02:00:00.000Z"), ("later", "2027-01-01T00:00:00.000Z")):
        late = copy.copy(lost)
        late.effect = ("recover", at)
        yield name, late.held(late.recover())
    bare = copy.copy(lost)
    bare.house = copy.copy(lost.house)
    bare.house.changes = []
    yield "not-enrolled", bare.held(bare.recover())
    # Another document came in between.
    policy = lost.house.policy | {"version": 2, "previous": lost.head}
    between = {"policy": lost.house.signed("policy", canonical(policy), "ada", "grace", "mary")}
    yield "overtaken", lost.held(between, lost.recover())


def proven(installation):
    lost = Lost(installation)
    good = lost.recover()["recovery"]
    tree = lost.tree

    def leaf(index: int) -> dict:
        return {"leaf": tree.leaves[index], "proof": tree.proof(index)}

    for member, own in (("announcement", 1), ("effect", 2)):
        for index in range(4):
            if index != own:
                yield f"{member}-is-{index}", lost.held({"recovery": good | {member: leaf(index)}})
        for name, changed in (("no-proof", {"proof": ""}), ("no-leaf", {"leaf": ""}), ("other-proof", {"proof": tree.proof(0)})):
            yield f"{member}-{name}", lost.held({"recovery": good | {member: leaf(own) | changed}})
        for name, changed in (
            ("kind", {"kind": "ceremony"}), ("unknown-kind", {"kind": "brand-new"}), ("action", {"action": "x"}), ("digest", {"digest": "0" * 64}),
            ("other-ref", {"ref": "0"}), ("long", {"reason": "x" * 1024}), ("more", {"more": 1}),
        ):  # fmt: skip
            def change(leaves, _, own=own, changed=changed):
                leaves[own] |= changed

            yield f"{member}-{name}", lost.held(lost.recover(log=change))
        yield f"no-{member}", lost.held({"recovery": {name: value for name, value in good.items() if name != member}})
        elsewhere = Log(lost.log_key, f"other.{ORIGIN}")
        elsewhere.leaves = tree.leaves
        yield f"{member}-elsewhere", lost.held({"recovery": good | {member: leaf(own) | {"proof": elsewhere.proof(own)}}})
        forked = Log(lost.log_key)
        forked.leaves = ['{"other":1}', *tree.leaves[1:]]
        yield f"{member}-forked", lost.held({"recovery": good | {member: leaf(own) | {"proof": forked.proof(own)}}})

    def exchange(leaves, places):
        leaves[1], leaves[2] = leaves[2], leaves[1]
        places["announcement"], places["effect"] = 2, 1

    yield "exchanged", lost.held(lost.recover(log=exchange))
    thief = ServiceKey("Ed25519")
    fork = Lost(installation)
    fork.house.people = lost.house.people
    fork.house.changes = []
    forked = fork.held(fork.enrol("uma", "vera"), key=lost.log_key, ring="log")
    before = fork.held(key=lost.log_key, ring="log")
    for name, keys in (
        ("none", []), ("twice", [lost.birth] * 2), ("unused", [lost.birth, lost.house.generate("log", thief)]), ("unreadable", ["{}"]),
        ("thiefs", [lost.house.generate("log", thief)]), ("of-a-ring", [lost.house.generate("ring", lost.log_key)]), ("of-a-fork", [forked]),
        ("of-before", [before]), ("revoked", [lost.house.revoke("log", lost.log_key.kid, "superseded", None)]),
    ):  # fmt: skip
        yield f"keys-{name}", lost.held({"recovery": good | {"log_keys": keys}})


def vetoed(installation):
    lost = Lost(installation)
    for who in ("ada", "grace", "eve", "max", "ruth", "nina"):
        if who in lost.house.people:
            yield f"by-{who}", lost.held(lost.recover(vetoes=[lost.veto(who)]))
    for name, veto in (
        ("purpose", lost.veto("ada", "reject")), ("document", lost.veto("ada", document_digest="0" * 64)), ("reason", lost.veto("ada", reason="")),
        ("roster", lost.veto("ada", roster={"version": 2, "digest": "0" * 64})), ("unreadable", {"body": "{}", "signature": by_passkey()}),
    ):  # fmt: skip
        yield name, lost.held(lost.recover(vetoes=[veto]))
    yield "of-another-body", lost.held(lost.recover(vetoes=[lost.veto("ada")], log=lambda leaves, _: leaves[2].update(digest="0" * 64)))

    def late(leaves, places):
        leaves[2], leaves[3] = leaves[3], leaves[2]
        places["effect"], places["vetoes"] = 2, [3]

    yield "late", lost.held(lost.recover(vetoes=[lost.veto("ada")], log=late))
    hidden = lost.recover(vetoes=[lost.veto("ada")])["recovery"]
    yield "hidden", lost.held({"recovery": hidden | {"vetoes": []}})  # nobody can tell from this file


def again(installation):
    """What goes on after a recovery, or replaces those who may recover."""
    lost = Lost(installation)
    first = lost.recover()
    yield "same-twice", lost.held(first, first)
    later = copy.copy(lost)
    later.house = copy.copy(lost.house)
    later.house.changes = [lost.enrolment, first]
    body = later.roster(version=3, members=lambda listed: listed[-1].update(name="Olga O."))
    yield "second", later.held(later.recover(body))
    later.birth = later.held(key=lost.log_key, ring="log")
    yield "second-with-a-later-key", later.held(later.recover(body))
    for name, who in (("former", ("ruth", "sam")), ("one-former", ("ruth", "uma")), ("new", ("uma", "vera"))):
        other = copy.copy(lost)
        other.house = copy.copy(lost.house)
        other.house.changes = [lost.enrolment, lost.enrol("uma", "vera", version=2)]
        yield f"replaced-{name}", other.held(other.recover(signers=(*who, *FOLLOW)))
    replacement = lost.enrol("uma", "vera", version=2)
    yield "rolled-back", lost.held(replacement, lost.enrolment)
    yield "not-by-themselves", lost.held(lost.enrol("uma", "vera", version=2, signers=("ruth", "sam", "tess", "uma", "vera")))
    data = lost.held(first).encode()
    for place in range(0, len(data), 499):
        tampered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        yield f"byte-{place}", tampered.decode("utf-8", "replace")

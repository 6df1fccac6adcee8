"""Tests of rosters and policies: the genesis, and what changes them."""

import unittest

from chancery_verifier.roster import Pin, threshold
from chancery_verifier.transcript import verify_transcript
from refusals import Refusals
from sample_files import ORIGIN, Installation, Person, ServiceKey, b64u, by_passkey, canonical, minute, sha256

PASSKEY = {"kind": "webauthn", "algorithm": "ES256", "credential_id": b64u(b"c" * 16), "public_key": b64u(b"p")}


class Foundings(Refusals):
    @classmethod
    def setUpClass(cls):
        cls.key = ServiceKey()

    def founded(self, roster=None, policy=None, members=None, signers=None, **ceremony):
        """A ceremony under a genesis in which this is changed. `members` changes them in place."""
        installation = Installation()
        installation.roster |= roster or {}
        installation.policy |= policy or {}
        if members is not None:
            members(installation.roster["members"])
        body = canonical({"v": 1, "roster": installation.roster, "policy": installation.policy})
        installation.genesis = installation.signed("genesis", body, *(signers or installation.people))
        transcript = installation.generate("ring", self.key, **ceremony)
        return verify_transcript(transcript.encode(), Pin(sha256(body)))

    def refused_for(self, word: str, why: str, **changed) -> None:
        with self.subTest(why=why, changed=str(changed)):
            self.assertIn(why, self.refused(word, self.founded, **changed))


class Genesis(Foundings):
    def test_it_holds(self):
        self.founded()
        self.founded(roster={"expires_at": minute(2)})
        self.founded(policy={"routine_rings": []}, members=lambda members: members[0]["roles"].append("archivist"))

    def test_an_expired_roster(self):
        why = self.refused("Ceremony/NotApproved", self.founded, roster={"expires_at": minute(1)})
        self.assertIn("RosterExpired", why)

    def test_members_that_are_impossible(self):
        def share(members):
            members[1]["keys"] = members[0]["keys"]

        def change(**members):
            return lambda all_members: all_members[0].update(members)

        for why, members in (
            ("SharedKey", share), ("DuplicateId", change(id="grace")), ("NoKey", change(keys=[])), ("Name", change(name="")),
            ("DuplicateRole", change(roles=["custodian"] * 2)), ("ExecutorRole", change(roles=["custodian", "executor"])),
            ("ExecutorRole", change(roles=["executor", "archivist"], active=False)),
            ("Kind", lambda members: members[0]["keys"].append(PASSKEY)),
        ):  # fmt: skip
            self.refused_for("Chain/Roster", why, members=members)
        self.refused_for("Chain/Roster", "Passkeys: Origins", roster={"passkeys": {"origins": [], "rp_id": "a"}})
        self.founded(roster={"passkeys": {"origins": ["https://a"], "rp_id": "a"}})
        self.refused_for("Chain/Signatures", "none of the signatures", members=lambda members: members[0]["keys"].append(
            {"kind": "ssh", "public": Person().public}))  # fmt: skip
        self.refused_for("Chain/Signatures", "mary has not signed", signers=("ada", "grace"))

    def test_bodies_that_are_not_read(self):
        def member(**members):
            return {"members": lambda all_members: all_members[0].update(members)}

        for changed in (
            member(extra=1), member(roles=["Custodian"]), member(roles=["1"]), member(keys=[{"kind": "pgp", "public": "x"}]),
            member(keys=[PASSKEY | {"credential_id": b64u(b"c" * 15)}]), member(keys=[PASSKEY | {"credential_id": b64u(b"c" * 1024)}]),
            member(keys=[PASSKEY | {"algorithm": "ES384"}]), member(keys=[{"public": "x"}]),
            {"roster": {"passkeys": {}}}, {"roster": {"passkeys": []}}, {"policy": {"routine_rings": ["A"]}},
            {"policy": {"thresholds": {}}}, {"policy": {"thresholds": {"accept": 2}}}, {"policy": {"thresholds": {"default": 1}}},
            {"policy": {"thresholds": {"default": 2, "Other": 2}}}, {"policy": {"thresholds": {"default": 256}}},
            {"policy": {"thresholds": {"default": 2, "accept": True}}},
            {"policy": {"thresholds": {"default": 2} | {f"w{number}": 2 for number in range(100)}}},
        ):  # fmt: skip
            self.refused_for("Chain/Json", "", **changed)
        self.founded(policy={"thresholds": {"default": 2} | {f"w{number}": 2 for number in range(99)}})

    def test_executors_sign_the_genesis(self):
        installation = Installation()
        installation.join("zoe", "executor")
        verify_transcript(installation.generate("ring", self.key).encode(), Pin(installation.genesis_digest))
        body = installation.genesis["body"]
        installation.genesis = installation.signed("genesis", body, "ada", "grace", "mary")
        transcript = installation.generate("ring", self.key).encode()
        self.refused("Chain/Signatures", verify_transcript, transcript, Pin(installation.genesis_digest))

    def test_a_passkey_founds_nothing(self):
        installation = Installation()
        installation.genesis["signatures"].append(by_passkey())
        verify_transcript(installation.generate("ring", self.key).encode(), Pin(installation.genesis_digest))
        del installation.genesis["signatures"][0]
        transcript = installation.generate("ring", self.key).encode()
        self.refused("Chain/Signatures", verify_transcript, transcript, Pin(installation.genesis_digest))


class Thresholds(Foundings):
    def test_of_every_word(self):
        policy = {"thresholds": {"default": 4, "accept": 2, "rotate": 3}}
        for word, number in (("accept", 2), ("rotate", 3), ("generate", 4), ("anything", 4), ("emergency-rotation", 4)):
            self.assertEqual(threshold(policy, word), number)
        policy = {"thresholds": {"default": 2}}
        self.assertEqual((threshold(policy, "emergency-rotation"), threshold(policy, "order")), (3, 2))

    def test_floors(self):
        self.refused_for("Chain/Policy", "Floor", policy={"thresholds": {"default": 2, "emergency-rotation": 2}})
        for rings in (["log"], ["b", "a"], ["a", "a"]):
            self.refused_for("Chain/Policy", "RoutineRing", policy={"routine_rings": rings})

    def test_the_largest_has_to_be_within_reach(self):
        three = {"thresholds": {"default": 2, "anything": 3}}
        self.refused_for("Chain/Unreachable", "a threshold of 3", policy=three)
        self.refused_for("Chain/Unreachable", "1 active", members=lambda members: [m.update(roles=["on-call"]) for m in members[:2]])
        self.refused_for("Chain/Unreachable", "2 active", members=lambda members: members[0].update(roles=["on-call"]))
        self.founded(members=lambda members: members[0].update(roles=["operator"]))
        self.refused_for("Chain/Unreachable", "2 active", members=lambda members: members[0].update(roles=["operator"], active=False))
        for roles, reachable in ((["operator"], True), (["operator", "on-call"], True), (["on-call"], False), (["custodian"], True)):
            installation = Installation()
            installation.policy |= three
            installation.join("zoe", *roles)
            transcript = installation.generate("ring", self.key).encode()
            if reachable:
                verify_transcript(transcript, Pin(installation.genesis_digest))
            else:
                self.refused("Chain/Unreachable", verify_transcript, transcript, Pin(installation.genesis_digest))

    def test_each_operation_has_its_own(self):
        def of(word: str, make, enough: bool) -> None:
            installation = Installation()
            for who in ("zoe", "max"):
                installation.join(who)
            installation.policy |= {"thresholds": {"default": 2, word: 3}}
            installation.found()
            transcript = make(installation, ["grace", "mary", "zoe"] if enough else ["grace", "mary"]).encode()
            pin = Pin(installation.genesis_digest)
            if enough:
                verify_transcript(transcript, pin)
            elif word == "accept":
                self.refused("NotAccepted", verify_transcript, transcript, pin)
            else:
                self.refused("Ceremony/NotApproved", verify_transcript, transcript, pin)

        def generate(installation, approve):
            return installation.generate("ring", self.key, approve=approve)

        def rotate(installation, approve):
            order = {"number": 2, "predecessor": b64u(b"p" * 32)}
            later = {"lines": [{"subject": "ring/ring", "sequence": 2, "previous": sha256("the first key")}]}
            return installation.generate("ring", self.key, order=order, request=later, approve=approve)

        def correct(installation, approve):
            bound = {"first": 1, "last": 1, "bound": minute(0), "origin": ORIGIN}
            request = installation.request({"clock-correction": bound})
            return installation.transcript(request, lambda _: {"corrected": bound}, approve=approve)

        def accept(installation, accept):
            return installation.generate("ring", self.key, accept=accept)

        for word, make in (("generate", generate), ("rotate", rotate), ("clock-correction", correct), ("accept", accept)):
            for enough in (True, False):
                with self.subTest(word=word, enough=enough):
                    of(word, make, enough)

    def test_a_revocation_is_accepted_by_as_many_as_approve_it(self):
        installation = Installation()
        installation.join("zoe")
        installation.policy |= {"thresholds": {"default": 2, "accept": 3, "revoke": 2}}
        installation.found()
        transcript = installation.revoke("ring", self.key.kid, "superseded", None).encode()
        verify_transcript(transcript, Pin(installation.genesis_digest))


class Changes(Refusals):
    @classmethod
    def setUpClass(cls):
        cls.key = ServiceKey()

    def test_a_rosters_change_needs_the_old_and_the_new(self):
        installation = Installation()
        pin, newcomer = Pin(installation.genesis_digest), Person()
        installation.people["zoe"] = newcomer
        members = [installation.member(who) for who in installation.people]
        roster = installation.roster | {"version": 2, "previous": installation.genesis_digest, "members": members}
        for who, version, word in (
            (("ada", "grace", "zoe"), 2, None),
            (("ada", "grace"), 2, "Chain/Signatures"),
            (("ada", "zoe"), 2, "Chain/Signatures"),
            (("ada", "grace", "zoe"), 3, "Chain/Version"),
            (("ada", "grace", "zoe"), None, "Chain/Previous"),
        ):
            body = canonical(roster | ({"version": version} if version else {"previous": "0" * 64}))
            installation.changes = [{"roster": installation.signed("roster", body, *who)}]
            reference = {"roster": {"version": version or 2, "digest": sha256(body)}}
            transcript = installation.generate("ring", self.key, request=reference, accept=["zoe", "mary"])
            with self.subTest(who=who, version=version):
                if word is None:
                    self.assertEqual(verify_transcript(transcript.encode(), pin).accepted, ["zoe", "mary"])
                else:
                    self.refused(word, verify_transcript, transcript.encode(), pin)

    def test_the_new_custodians_have_to_agree_too(self):
        for signers, word in ((("ada", "grace", "zoe"), "Chain/Signatures"), (("ada", "grace", "zoe", "mary"), None)):
            installation = Installation()
            pin = Pin(installation.genesis_digest)
            installation.people["zoe"] = Person()
            members = [installation.member(who) for who in installation.people]
            for member in members[:2]:
                member["roles"] = ["operator"]
            roster = installation.roster | {"version": 2, "previous": installation.genesis_digest, "members": members}
            body = canonical(roster)
            installation.changes = [{"roster": installation.signed("roster", body, *signers)}]
            who = {"approve": ["mary", "zoe"], "accept": ["mary", "zoe"]}
            reference = {"roster": {"version": 2, "digest": sha256(body)}}
            transcript = installation.generate("ring", self.key, request=reference, **who).encode()
            if word is None:
                verify_transcript(transcript, pin)
            else:
                self.refused(word, verify_transcript, transcript, pin)

    def test_no_member_is_dropped_and_no_key_passes_on(self):
        def drop(installation):
            return [installation.member(who) for who in ("ada", "grace", "zoe")]

        def pass_on(installation):
            installation.people["zoe"] = installation.people["mary"]
            installation.people["mary"] = Person()
            return [installation.member(who) for who in installation.people]

        for change, why in ((drop, "Dropped"), (pass_on, "FormerKey")):
            installation = Installation()
            pin = Pin(installation.genesis_digest)
            installation.people["zoe"] = Person()
            members = change(installation)
            roster = installation.roster | {"version": 2, "previous": installation.genesis_digest, "members": members}
            body = canonical(roster)
            installation.changes = [{"roster": installation.signed("roster", body, "ada", "grace", "mary", "zoe")}]
            transcript = installation.generate("ring", self.key, request={"roster": {"version": 2, "digest": sha256(body)}})
            self.assertIn(why, self.refused("Chain/Roster", verify_transcript, transcript.encode(), pin))

    def test_a_change_has_to_be_possible(self):
        for kind, change, word in (
            ("roster", {"passkeys": {"origins": [], "rp_id": "a"}}, "Chain/Roster"), ("policy", {"routine_rings": ["log"]}, "Chain/Policy"),
            ("policy", {"thresholds": {"default": 3}}, "Chain/Unreachable"), ("policy", {"routine_rings": ["a", "b"]}, None),
        ):  # fmt: skip
            installation = Installation()
            document = getattr(installation, kind) | {"version": 2, "previous": installation.genesis_digest} | change
            body = canonical(document)
            installation.changes = [{kind: installation.signed(kind, body, *installation.people)}]
            reference = {kind: {"version": 2, "digest": sha256(body)}}
            transcript = installation.generate("ring", self.key, request=reference).encode()
            with self.subTest(change):
                if word is None:
                    verify_transcript(transcript, Pin(installation.genesis_digest))
                else:
                    self.refused(word, verify_transcript, transcript, Pin(installation.genesis_digest))

    def test_a_policys_change_needs_the_larger_threshold(self):
        for old, new, signers, word in (
            (2, 3, ("ada", "grace"), "Chain/Signatures"), (2, 3, ("ada", "grace", "mary"), None),
            (3, 2, ("ada", "grace"), "Chain/Signatures"), (3, 2, ("ada", "grace", "mary"), None), (2, 2, ("ada", "grace"), None),
        ):  # fmt: skip
            installation = Installation()
            installation.join("zoe")
            installation.policy["thresholds"] = {"default": 2, "policy": old}
            pin = Pin(installation.found())
            changed = {"version": 2, "previous": installation.genesis_digest, "thresholds": {"default": 2, "policy": new}}
            body = canonical(installation.policy | changed)
            installation.changes = [{"policy": installation.signed("policy", body, *signers)}]
            reference = {"policy": {"version": 2, "digest": sha256(body)}}
            transcript = installation.generate("ring", self.key, request=reference).encode()
            with self.subTest(old=old, new=new, signers=signers):
                if word is None:
                    verify_transcript(transcript, pin)
                else:
                    self.refused(word, verify_transcript, transcript, pin)


if __name__ == "__main__":
    unittest.main()

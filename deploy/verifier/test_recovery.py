"""Tests of the recovery roster: enrolment, use, and who can stop it."""

import json
import unittest

from chancery_verifier.roster import Pin
from chancery_verifier.transcript import verify_transcript
from refusals import Refusals
from sample_files import Installation, canonical
from sample_recovery import FOLLOW, Lost, recoveries


class Recovery(Refusals):
    @classmethod
    def setUpClass(cls):
        cls.installation = Installation()
        cls.installation.join("eve", "operator")
        cls.installation.join("max", "executor")
        cls.pin = Pin(cls.installation.genesis_digest)
        cls.lost = Lost(cls.installation)
        cls.samples = dict(recoveries(cls.installation))

    def verify(self, transcript: str):
        return verify_transcript(transcript.encode(), self.pin)

    def holds(self, *names: str) -> None:
        for name in names:
            with self.subTest(name):
                self.verify(self.samples[name])

    def refuse(self, word: str, *names: str, why: str = "") -> None:
        for name in names:
            with self.subTest(name):
                self.assertIn(why, self.refused(word, self.verify, self.samples[name]))

    def test_those_who_follow_hold_ceremonies(self):
        ceremony = self.verify(self.samples["used-good"])
        self.assertEqual((ceremony.approved, ceremony.accepted), (list(FOLLOW), list(FOLLOW)))
        self.assertEqual(len(ceremony.chain_digests), 3)

    def test_enrolment(self):
        self.holds("enrolled", "enrolled-delay-floor", "enrolled-delay-ceiling", "enrolled-threshold-3", "enrolled-member-good-name")
        self.refuse("Chain/Signatures", *(f"enrolled-without-{who}" for who in ("ada", "grace", "ruth", "sam", "tess")))
        self.refuse("Chain/Signatures", "enrolled-purpose", "enrolled-member-key-not-shown", "not-by-themselves")
        self.refuse("Chain/RecoveryRoster", "enrolled-delay-early", "enrolled-delay-late", why="Delay")
        self.refuse("Chain/RecoveryRoster", "enrolled-threshold-4", why="TooFew")
        self.refuse("Chain/Json", "enrolled-threshold-1", "enrolled-delay-text", "enrolled-v", "enrolled-more", "enrolled-member-role")
        self.refuse("Chain/Version", "enrolled-version-0", "enrolled-version-2", "rolled-back")
        self.refuse("Chain/Previous", "enrolled-previous-null", "enrolled-previous-other")
        self.refuse("Chain/Elsewhere", "enrolled-service", "enrolled-environment")

    def test_nobody_stands_on_both_sides(self):
        self.refuse("Chain/RecoveryRoster", "enrolled-member-id-of-a-member", "enrolled-member-id-of-an-executor", why="OnTheRoster")
        self.refuse("Chain/RecoveryRoster", "enrolled-member-key-of-a-member", why="FormerKey")
        self.refuse("Chain/Roster", "over-by-id", "used-recovery-id", why="Recovers")
        self.refuse("Chain/Roster", "over-by-key", why="FormerKey")
        for name, why in (("id-twice", "DuplicateId"), ("name", "Name"), ("no-key", "NoKey"), ("shared-key", "SharedKey"), ("passkey", "Kind")):
            self.refuse("Chain/RecoveryRoster", f"enrolled-member-{name}", why=why)

    def test_recovery_used_early(self):
        self.refuse("Chain/Recovery", "used-early", "used-before", "used-a-day", why="Early")
        self.holds("used-later")

    def test_recovery_vetoed(self):
        self.refuse("Chain/Recovery", "veto-by-ada", "veto-by-grace", "veto-by-eve", why="Vetoed")
        names = ("by-max", "by-ruth", "by-nina", "purpose", "document", "reason", "roster", "unreadable", "of-another-body", "late")
        self.refuse("Chain/Recovery", *(f"veto-{name}" for name in names), why="Veto:")
        # One that was left out is in the log alone.
        self.holds("veto-hidden")

    def test_recovery_with_its_announcement_cut_out(self):
        for member in ("announcement", "effect"):
            others = [name for name in self.samples if name.startswith(f"proven-{member}-is-")]
            self.assertEqual(len(others), 3)
            self.refuse("Chain/Recovery", *others)
            names = ("no-proof", "no-leaf", "other-proof", "kind", "unknown-kind", "action", "digest", "long", "more", "elsewhere", "forked")
            self.refuse("Chain/Recovery", *(f"proven-{member}-{name}" for name in names))
            self.refuse("Unreadable", f"proven-no-{member}")
            self.holds(f"proven-{member}-other-ref")
        self.refuse("Chain/Recovery", "proven-exchanged", why="Order")

    def test_keys_of_the_log(self):
        names = ("none", "twice", "unused", "unreadable", "thiefs", "of-a-ring", "of-a-fork", "revoked")
        self.refuse("Chain/Recovery", *(f"proven-keys-{name}" for name in names))
        self.holds("proven-keys-of-before")

    def test_who_recovers(self):
        self.holds("used-good", "used-by-three")
        names = ("one", "one-twice", "no-follower", "one-follower", "old-roster", "nobody")
        self.refuse("Chain/Signatures", *(f"used-by-{name}" for name in names))
        self.refuse("Chain/Signatures", "used-purpose-roster", "used-purpose-recovery-roster", "used-purpose-approve", "used-not-shown")
        self.refuse("Chain/Recovery", "used-not-enrolled", why="NotEnrolled")
        self.refuse("Chain/Signatures", "replaced-former", "replaced-one-former")
        self.holds("replaced-new")

    def test_what_a_recovery_cannot_do(self):
        self.refuse("Chain/Version", "used-version-1", "used-version-3", "same-twice")
        self.refuse("Chain/Previous", "used-previous", "used-null")
        self.refuse("Chain/Elsewhere", "used-environment")
        self.refuse("Chain/Roster", "used-passkeys", "used-dropped", "used-former-key")
        self.refuse("Chain/Unreachable", "used-unreachable")

    def test_a_chain_goes_on(self):
        self.holds("second", "second-with-a-later-key")

    def test_another_document_makes_it_void(self):
        lost = self.lost
        overtaken = lost.recover()
        policy = canonical(lost.house.policy | {"version": 2, "previous": lost.head})
        between = {"policy": lost.house.signed("policy", policy, "ada", "grace")}
        self.refused("Chain/Previous", self.verify, lost.held(between, overtaken))

    def test_no_byte_can_be_changed(self):
        self.assert_every_byte_counts(self.samples["used-good"].encode(), lambda data: verify_transcript(data, self.pin))

    def test_files_without_one_are_as_before(self):
        transcript = json.loads(self.installation.generate("ring", self.lost.log_key))
        self.assertEqual(transcript["record"]["chains"]["changes"], [])
        self.verify(canonical(transcript))


if __name__ == "__main__":
    unittest.main()

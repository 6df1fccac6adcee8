"""Tests of emergencies: stops, resumes, rotations onto a standby key, ratifications. All files are made here, with new keys."""

import unittest

from chancery_verifier.emergency import verify_stop
from chancery_verifier.lines import verify_succession
from chancery_verifier.refusal import Refused
from chancery_verifier.roster import Pin
from chancery_verifier.transcript import verify_core, verify_transcript
from sample_emergency import emergencies, stops
from sample_files import Installation
from sample_transcripts import MEMBERS

# By their whole names; each of them is made.
HOLD = (
    "resume", "resume-all", "resume-later", "resume-other-stop", "resume-no-place", "resume-unratified", "rotation",
    "rotation-ida-as-manager", "rotation-five", "rotation-at-once", "rotation-now", "ratification", "ratification-logged",
)  # fmt: skip
WAITING = (
    "rotation-one-person", "rotation-two-people", "rotation-ida-and-two", "rotation-custodians", "rotation-without-manager",
    "rotation-with-otto", "rotation-with-proposer", "rotation-nobody", "rotation-suspended", "resume-by-one", "resume-by-lena",
    "ratification-by-one", "ratification-by-the-three",
)  # fmt: skip
CONTENT = {
    "resume-log": "LogRing", "resume-itself": "Emergency",
    "resume-unratified-all": "Emergency", "resume-other-line": "Lines", "rotation-log": "LogRing", "rotation-zero": "NumberZero",
    "rotation-same-key": "Emergency", "rotation-never": "Emergency", "rotation-long": "Emergency", "rotation-tomorrow": "Order",
    "rotation-of-standby": "Lines", "ratification-other-line": "Lines",
}  # fmt: skip
WORDS = {
    "resume-other-outcome": "Ceremony/OtherOutcome", "rotation-revoked": "Ceremony/OtherOutcome", "rotation-accepted-by-lena": "Superfluous",
    "rotation-accepted-by-one": "NotAccepted", "ratification-accepted": "LogProofs", "ratification-resumed": "LogProofs",
}  # fmt: skip
STOPS = ("one", "all", "later", "by-otto", "by-ida", "logged")
REFUSED_STOPS = {
    "by-lena": "Stop/Role", "by-eve": "Stop/Role", "by-max": "Stop/Role", "other-purpose": "Stop/Signature",
    "body-log": "Stop/Subject", "body-ring": "Stop/Subject", "body-zero": "Stop/Sequence", "body-second": "Stop/Sequence",
    "body-first-after": "Stop/Sequence", "body-nobody": "Stop/Reason", "body-other-roster": "Stop/Roster", "body-other-member": "Stop/Unreadable",
    "logged-late": "LogProofs", "logged-all-as-one": "LogProofs", "one-array": "LogProofs",
}  # fmt: skip


class Emergencies(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.installation = Installation()
        for who, *roles in MEMBERS:
            cls.installation.join(who, *roles)
        cls.files, cls.stops = dict(emergencies(cls.installation)), dict(stops(cls.installation))

    def verify(self, name: str):
        return verify_transcript(self.files[name].encode(), Pin(self.installation.genesis_digest))

    def stop(self, name: str):
        return verify_stop(self.stops[name].encode(), Pin(self.installation.genesis_digest), verify_core)

    def test_what_the_right_people_approved_holds(self):
        for name in HOLD:
            with self.subTest(name):
                self.verify(name)

    def test_what_others_approved_does_not(self):
        for name in WAITING:
            with self.subTest(name), self.assertRaisesRegex(Refused, "^Ceremony/NotApproved: Waiting"):
                self.verify(name)

    def test_what_no_quorum_approves_is_refused_for_its_reason(self):
        for name, reason in CONTENT.items():
            with self.subTest(name), self.assertRaisesRegex(Refused, f"^Ceremony/NotApproved: Refused: Content: {reason}"):
                self.verify(name)
        for name, word in WORDS.items():
            with self.subTest(name), self.assertRaisesRegex(Refused, f"^{word}:"):
                self.verify(name)

    def test_a_stop_by_a_custodian_or_by_who_is_on_call_holds(self):
        for name in STOPS:
            with self.subTest(name):
                self.stop(name)
        self.assertEqual((self.stop("by-otto").by, self.stop("one").logged), ("otto", None))
        self.assertIsNotNone(self.stop("logged").logged)
        for name, word in REFUSED_STOPS.items():
            with self.subTest(name), self.assertRaisesRegex(Refused, f"^{word}:"):
                self.stop(name)

    def test_no_byte_can_be_changed(self):
        for files, verify in ((self.files, self.verify), (self.stops, self.stop)):
            changed = [name for name in files if name.startswith("byte-")]
            self.assertGreater(len(changed), 20)
            for name in changed:
                with self.subTest(name), self.assertRaises(Refused):
                    verify(name)

    def test_stops_take_places_in_the_line_of_the_resumes(self):
        first, later = self.verify("resume"), self.verify("resume-later")
        verify_succession([first, later])
        with self.assertRaisesRegex(Refused, "^Sequence:"):
            verify_succession([later, first])


if __name__ == "__main__":
    unittest.main()

"""Tests of standing orders and of what is made under them. All files are made here, with new keys."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from chancery_verifier.evidence import verify_evidence
from chancery_verifier.lines import verify_succession
from chancery_verifier.orders import after
from chancery_verifier.refusal import Refused
from chancery_verifier.roster import Pin
from chancery_verifier.shape import LAST_INSTANT
from chancery_verifier.transcript import verify_transcript
from sample_files import Installation, ServiceKey, canonical
from sample_order_log import order_evidence, order_proofs
from sample_orders import Use, ask, orders, standing_order

# By the beginning of their names; each of them is made.
HOLD = (
    "order", "use", "use-last", "use-accepted-too", "critical-two", "from-5", "until-900", "window-thursday", "place-cka_id",
    "executor-suspended-by-one", "approver-suspended-zoe", "order-usage-raw", "order-uses-366", "order-until-year",
)  # fmt: skip
REFUSED = {
    "use-too-many": "Misfit: Use", "from-4": "Misfit: Early", "until-901": "Misfit: Late", "interval-14-2": "Misfit: Early",
    "window-friday": "Misfit: Window", "place-template": "Misfit: Differs", "generate-other-ring": "Misfit: Differs",
    "generate-predecessor": "Misfit: First", "first-of-its-line": "Predecessor", "revocation": "Misfit: Operation", "without-order": "Missing", "with-approvals": "Signed",
    "not-under": "NotUnder", "of-a-key": "OtherOrder", "of-another-order": "OtherOrder", "of-more-uses": "Transcript",
    "of-another-genesis": "Transcript", "of-an-order-with-proofs": "Transcript", "before-the-order": "TooEarly",
    "approver-suspended-grace": "Paused", "executor-suspended": "Executor", "order-executor-eve-eve": "Executor",
    "order-usage-wrap": "StandingOrder: Critical", "order-other-nonce": "StandingOrder: Id", "order-uses-367": "StandingOrder: Uses",
    "order-until-longer": "StandingOrder: Duration", "order-window-no-day": "StandingOrder: Window",
    "order-place-extractable": "StandingOrder: Template", "order-lifetime_seconds-0": "StandingOrder: Seconds",
}  # fmt: skip
PROVEN = (
    "leaves-good", "leaves-without-ordered", "leaves-end-alone", "leaves-own-alone", "leaves-adopted", "leaves-accepted-at-600",
    "leaves-window-11", "leaves-critical-12", "leaves-critical-700", "policy-good", "policy-between",
)  # fmt: skip
NOT_PROVEN = {
    "leaves-without-order": "OrderUnlogged", "leaves-last-order": "Unaccepted|OrderUnlogged", "leaves-without-use": "Unlogged",
    "leaves-without-before": "Predecessor", "leaves-of-another-ring": "Predecessor", "leaves-without-intent": "Unmade",
    "leaves-without-born": "Unmade", "leaves-born-other-kid": "Unmade", "leaves-use-at-4": "Time", "leaves-intent-at-601": "Time",
    "leaves-born-at-601": "Time", "leaves-accepted-at-601": "Time", "leaves-window-10": "Time", "leaves-window-12": "Time",
    "leaves-use-other-digest": "not of this ceremony", "leaves-withdrawn": "not of this ceremony", "leaves-of-another-use": "not of this ceremony",
    "policy-without-installed": "end of the chain", "policy-first": "FormerRoster", "policy-between-late": "FormerRoster",
    "policy-between-other": "not of this ceremony",
}  # fmt: skip
WORDS = {
    "result-none": "Ceremony/NoResult", "result-none-accepted": "Ceremony/NoResult", "result-by-ada": "Ceremony/OtherExecutor",
    "result-of-another": "Ceremony/Result", "order-with-result": "Ceremony/Order", "critical-one": "NotAccepted",
    "critical-nobody": "NotAccepted", "use-accepted-by-the-executor": "Superfluous", "order-other-outcome": "Ceremony/OtherOutcome",
}  # fmt: skip


def house() -> Installation:
    installation = Installation()
    for who, *roles in (("zoe",), ("eve", "operator"), ("max", "executor")):
        installation.join(who, *roles)
    return installation


class Orders(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.installation = house()
        cls.files = dict(orders(cls.installation))

    def verify(self, transcript: str):
        return verify_transcript(transcript.encode(), Pin(self.installation.genesis_digest))

    def test_what_an_order_permits_holds(self):
        for name in HOLD:
            with self.subTest(name):
                self.verify(self.files[name])

    def test_what_it_does_not_permit_is_refused_for_its_reason(self):
        for name, reason in REFUSED.items():
            with self.subTest(name), self.assertRaisesRegex(Refused, f"^Ceremony/NotApproved: Refused: .*{reason}"):
                self.verify(self.files[name])
        for name, word in WORDS.items():
            with self.subTest(name), self.assertRaisesRegex(Refused, f"^{word}:"):
                self.verify(self.files[name])

    def test_no_byte_can_be_changed(self):
        changed = [text for name, text in self.files.items() if name.startswith("byte-")]
        self.assertGreater(len(changed), 50)
        for text in changed:
            with self.assertRaises(Refused):
                self.verify(text)
        order = self.files["order"].encode()
        for place in range(len(order)):
            tampered = order[:place] + bytes([order[place] ^ 1]) + order[place + 1 :]
            with self.assertRaises(Refused):
                verify_transcript(tampered, Pin(self.installation.genesis_digest))

    def test_the_executor_accepts_and_the_approvers_of_the_order_approved(self):
        ceremony = self.verify(self.files["use"])
        self.assertEqual((ceremony.by_executor, ceremony.accepted), ("max", []))
        self.assertEqual(ceremony.approved, ["grace", "mary"])
        self.assertIsNone(self.verify(self.files["critical-two"]).by_executor)

    def test_a_use_is_taken_once(self):
        installation, key = house(), ServiceKey()
        pin = Pin(installation.genesis_digest)
        order = standing_order(installation, "oauth", key)
        asked, first = ask(installation, order), installation.generate("oauth", ServiceKey())
        use = Use(installation, order, asked, key)
        made = [verify_transcript(text.encode(), pin) for text in (asked, first, use.make(use=1), use.make(use=2))]
        verify_succession(made)
        again = verify_transcript(use.make(use=1).encode(), pin)
        with self.assertRaisesRegex(Refused, "^Use:"):
            verify_succession([*made, again])

    def test_what_the_log_says_of_an_order_is_held_against_it(self):
        """An order that is dated back, made late, or follows no key: the leaves that the file brings do not bear it out."""
        installation = house()
        files, pin = dict(order_proofs(installation)), Pin(installation.genesis_digest)
        for name in PROVEN:
            with self.subTest(name):
                verify_transcript(files[name].encode(), pin)
        for name, reason in NOT_PROVEN.items():
            with self.subTest(name), self.assertRaisesRegex(Refused, f"^LogProofs: .*{reason}"):
                verify_transcript(files[name].encode(), pin)
        changed = [text for name, text in files.items() if name.startswith("leaves-byte-")]
        self.assertGreater(len(changed), 20)
        for text in changed:
            with self.assertRaises(Refused):
                verify_transcript(text.encode(), pin)

    def test_a_file_says_whether_it_shows_the_use_of_its_order(self):
        installation = house()
        files, pin = dict(order_proofs(installation)), Pin(installation.genesis_digest)
        for name, said in (("good", "shown"), ("adopted", "shown"), ("end-alone", "not-shown")):
            with self.subTest(name):
                self.assertEqual(verify_transcript(files[f"leaves-{name}"].encode(), pin).order_use, said)
        self.assertEqual(self.verify(self.files["use"]).order_use, "not-shown")
        self.assertIsNone(self.verify(self.files["order"]).order_use)
        proven = {name: story.evidence(**changed) for name, story, changed in order_evidence(installation)}
        for name, said in (("order-good", "shown"), ("order-none", "not-shown")):
            with self.subTest(name):
                self.assertEqual(verify_evidence(proven[name], installation.genesis_digest).order_use, said)

    def test_a_use_that_is_not_shown_is_refused_where_it_is_required(self):
        installation = house()
        files = {"order-good.evidence": 0, "order-none.evidence": 5, "leaves-good.transcript": 0, "leaves-end-alone.transcript": 5}
        made = {f"{name}.transcript": text.encode() for name, text in order_proofs(installation)}
        # In this order: the transcripts are of a house that has another policy afterwards.
        genesis = {name: installation.genesis_digest for name in made}
        other = house()
        made |= {f"{name}.evidence": story.evidence(**changed) for name, story, changed in order_evidence(other)}
        program = pathlib.Path(__file__).with_name("chancery_verify.py")
        with tempfile.TemporaryDirectory() as directory:
            for name, code in files.items():
                path = pathlib.Path(directory, name)
                path.write_bytes(made[name])
                command = [sys.executable, program, path, "--output", "json", "--genesis", genesis.get(name, other.genesis_digest)]
                with self.subTest(name):
                    said = subprocess.run(command, capture_output=True, text=True, check=False)
                    self.assertEqual(said.returncode, 0, said.stderr)
                    required = subprocess.run([*command, "--require-order-use"], capture_output=True, text=True, check=False)
                    self.assertEqual(required.returncode, code, required.stderr)
                    answer = json.loads(required.stdout)
                    word = "order" if name.endswith("evidence") else "LogProofs"
                    self.assertEqual(answer.get("refused"), word if code else None)

    def test_an_evidence_file_shows_what_the_log_says_of_an_order(self):
        installation = house()
        files = {name: story.evidence(**changed) for name, story, changed in order_evidence(installation)}
        for name in ("order-good", "order-none", "order-without-ordered"):
            with self.subTest(name):
                self.assertEqual(verify_evidence(files[name], installation.genesis_digest).verdict, "VALID")
        for name, reason in (
            ("order-empty", "malformed"), ("order-backwards", "order"), ("order-twice", "order"), ("order-with-another", "order"),
            ("order-of-no-order", "order|proof|log_key"), ("order-without-use", "order: .*Unlogged"), ("order-last-use", "order"),
            ("order-without-order", "order: .*OrderUnlogged"), ("order-last-order", "order"), ("order-late-born", "order: .*Time"),
            ("order-without-born", "order: .*Unmade"), ("order-without-intent", "order: .*Unmade"), ("order-late-intent", "order: .*Time"),
            ("order-without-before", "order: .*Predecessor"), ("order-late-accepted", "life"), ("order-unnamed-accepted", "order: .*Unaccepted"),
        ):  # fmt: skip
            with self.subTest(name), self.assertRaisesRegex(Refused, f"^({reason})"):
                verify_evidence(files[name], installation.genesis_digest)

    def test_instants_end(self):
        self.assertEqual(after("2026-12-31T23:59:59.999Z", 1), "2027-01-01T00:00:00.999Z")
        self.assertEqual(after("9999-12-30T21:59:59.999Z", 1), LAST_INSTANT)
        self.assertEqual(after("9999-12-30T21:59:59.999Z", 10**12), LAST_INSTANT)

    def test_an_order_stands_under_no_other(self):
        file = json.loads(self.files["order"])
        file["record"]["order"] = self.files["order"]
        with self.assertRaises(Refused):
            self.verify(canonical(file))


if __name__ == "__main__":
    unittest.main()

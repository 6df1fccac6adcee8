"""Tests of what witnesses attest, and of what witnesses and administrators may do. All files are made here."""

import unittest

from chancery_verifier.refusal import Malformed, Refused
from chancery_verifier.roster import Pin
from chancery_verifier.transcript import verify_transcript
from chancery_verifier.witnesses import Attested, judge_attestations, read_attestations
from refusals import Refusals
from sample_files import Installation, Person, ServiceKey, by_passkey, canonical, minute


def house() -> Installation:
    installation = Installation()
    for who, *roles in (("wim", "witness"), ("wes", "witness"), ("wea", "witness", "custodian"), ("adam", "administrator")):
        installation.join(who, *roles)
    installation.join("old", "witness", active=False)
    return installation


class Witnesses(Refusals):
    @classmethod
    def setUpClass(cls) -> None:
        cls.installation = house()
        cls.installation.people["nobody"] = Person()

    def verified(self, **changed):
        transcript = self.installation.generate("ring", ServiceKey(), **changed)
        return verify_transcript(transcript.encode(), Pin(self.installation.genesis_digest))

    def attested(self, ceremony, who: str, purpose: str = "witness", **changed) -> dict:
        said = {"v": 1, "core_digest": ceremony.core_digest, "request_digest": ceremony.request_digest, "note": None}
        body = canonical(said | changed)
        return {"body": body, "log": None, "received_at": minute(9), "signature": self.installation.sign(who, purpose, body)}

    def test_a_witness_attests_the_transcript(self):
        ceremony = self.verified()
        file = {
            "v": 1, "request_digest": ceremony.request_digest,
            "attestations": [self.attested(ceremony, "wim"), self.attested(ceremony, "wea", note="seen")],
        }  # fmt: skip
        read = read_attestations(canonical(file).encode())
        self.assertEqual(judge_attestations(read, ceremony), [Attested("wim", None), Attested("wea", "seen")])
        for log in ({}, False, {"leaf": "", "proof": []}):
            with self.assertRaises(Malformed):
                read_attestations(canonical(file | {"attestations": [file["attestations"][0] | {"log": log}]}).encode())
        del file["attestations"][0]["log"]
        with self.assertRaises(Malformed):
            read_attestations(canonical(file).encode())

    def test_what_does_not_hold_says_why_and_the_transcript_holds(self):
        ceremony = self.verified(approve=["grace", "wea"])
        other = self.verified()
        cases = (
            ("Signature", self.attested(ceremony, "nobody")),
            ("Signature", self.attested(ceremony, "old")),
            ("Signature", self.attested(ceremony, "wim", purpose="note")),
            ("Passkey", self.attested(ceremony, "wim") | {"signature": by_passkey()}),
            ("Role", self.attested(ceremony, "adam")),
            ("Role", self.attested(ceremony, "mary")),
            ("OtherTranscript", self.attested(other, "wim")),
            ("OtherTranscript", self.attested(ceremony, "wim", core_digest=other.core_digest)),
            ("Text", self.attested(ceremony, "wim", note="a\u202eb")),
            ("Text", self.attested(ceremony, "wim", note="")),
            ("Unreadable", self.attested(ceremony, "wim", more=1)),
            ("TookPart", self.attested(ceremony, "wea")),
        )
        for word, attestation in cases:
            with self.subTest(word):
                (judged,) = judge_attestations([attestation], ceremony)
                self.assertIsInstance(judged, Refused)
                self.assertEqual(judged.word, word)
        twice = [self.attested(ceremony, "wim")] * 2
        self.assertEqual(judge_attestations(twice, ceremony)[1].word, "Again")

    def test_a_suspended_witness_attests_nothing(self):
        suspension = self.installation.suspension("wim", "wim")
        ceremony = self.verified(record={"suspensions": [suspension]})
        (judged,) = judge_attestations([self.attested(ceremony, "wim")], ceremony)
        self.assertEqual(judged.word, "Suspended")

    def test_a_witness_proposes_nothing_and_an_administrator_does(self):
        why = self.refused("Ceremony/NotApproved", self.verified, request={"proposer": "wim"})
        self.assertIn("Proposer: wim", why)
        self.verified(request={"proposer": "adam"})

    def test_neither_counts(self):
        for who in ("wim", "adam"):
            self.refused("Ceremony/NotApproved", self.verified, approve=["grace", who])
            self.refused("Superfluous", self.verified, accept=["grace", "mary", who])


if __name__ == "__main__":
    unittest.main()

"""Tests of what the log says of a ceremony: `log_keys` and `log_proofs` of a transcript."""

import json
import unittest

from chancery_verifier.roster import Pin
from chancery_verifier.transcript import verify_transcript
from refusals import Refusals
from sample_files import Installation, Log, ServiceKey, acts_of_ceremony, canonical, core, minute, sha256, with_log


class LogProofs(Refusals):
    @classmethod
    def setUpClass(cls):
        cls.installation, cls.log_key = Installation(), ServiceKey("Ed25519")
        cls.pin = Pin(cls.installation.genesis_digest)
        cls.log_birth = cls.installation.generate("log", cls.log_key)
        cls.transcript = cls.installation.generate("ring", ServiceKey())

    def setUp(self):
        self.log = Log(self.log_key)
        self.log.append({"kind": "admin", "action": "heartbeat", "actor": "chancery", "time": minute(0)})

    def verify(self, transcript: str):
        return verify_transcript(transcript.encode(), self.pin)

    def logged(self, transcript=None, acts=None, **changed) -> str:
        return with_log(transcript or self.transcript, self.log, self.log_birth, acts, **changed)

    def refuse(self, transcript: str, why: str = "") -> None:
        self.assertIn(why, self.refused("LogProofs", self.verify, transcript))

    def test_approvals_have_the_time_of_their_leaves(self):
        ceremony, plain = self.verify(self.logged()), self.verify(self.transcript)
        self.assertEqual(ceremony.logged, {"grace": minute(2), "mary": minute(2)})
        self.assertEqual((plain.logged, plain.digest), ({}, ceremony.digest))
        self.assertEqual(ceremony.core_digest, sha256(self.transcript))
        self.assertEqual(core(self.logged()), self.transcript)

    def test_both_or_neither(self):
        self.refuse(self.logged(log_keys=[]), "empty")
        self.refuse(self.logged(log_proofs=[]), "empty")

    def test_keys_of_the_log(self):
        ecdsa = ServiceKey("ES256")
        birth = self.installation.generate("log", ecdsa)
        proofs = self.log
        self.log_birth, self.log = birth, Log(ecdsa)
        self.verify(self.logged())
        self.refuse(self.logged(log_keys=[birth, birth]), "one log key")
        self.refuse(self.logged(log_keys=[birth, type(self).log_birth]), "none of the checkpoints")
        self.refuse(self.logged(log_keys=[type(self).log_birth]), "not signed")
        self.refuse(self.logged(log_keys=[self.transcript]), "ring")
        self.refuse(self.logged(log_keys=["{}"]), "Unreadable")
        self.refuse(self.logged(log_keys=[self.installation.revoke("log", ecdsa.kid, "superseded", None)]), "revoke")
        self.refuse(self.logged(log_keys=[self.installation.generate("log", ServiceKey("ES384"))]), "P-384")
        self.refuse(self.logged(log_keys=[Installation().generate("log", ecdsa)]), "Genesis")
        self.log_birth, self.log = type(self).log_birth, proofs
        with_proofs = with_log(self.log_birth, Log(self.log_key), self.log_birth)
        self.refuse(self.logged(log_keys=[with_proofs]), "core")
        self.verify(with_proofs)

    def test_proofs(self):
        good = json.loads(self.logged())
        for change in (
            lambda proofs: proofs.reverse(),
            lambda proofs: proofs.append(proofs[-1]),
            lambda proofs: proofs[0].update(leaf=proofs[1]["leaf"]),
            lambda proofs: proofs[0].update(proof=proofs[1]["proof"]),
            lambda proofs: proofs[0].update(proof=""),
            lambda proofs: proofs[0].update(leaf=proofs[0]["leaf"].replace(":", ": ")),
        ):
            file = json.loads(canonical(good))
            change(file["log_proofs"])
            self.refuse(canonical(file))
        renamed = Log(self.log_key, "other.example.org/log")
        renamed.leaves = list(self.log.leaves)
        file = json.loads(canonical(good))
        file["log_proofs"][0]["proof"] = renamed.proof(1)
        self.refuse(canonical(file), "more than one origin")
        forked = Log(self.log_key)
        forked.leaves = self.log.leaves[:-1] + [canonical({"other": 1})]
        file["log_proofs"][0]["proof"] = forked.proof(1)
        self.refuse(canonical(file), "two roots")

    def test_acts_that_have_to_be_there(self):
        acts = acts_of_ceremony(self.transcript)
        self.assertEqual([act["action"] for act in acts], ["propose", "approve", "approve", "execute", "accept", "accept", "accepted"])
        for number, needed in enumerate((False, True, True, False, False, False, True)):
            fewer = self.logged(acts=acts[:number] + acts[number + 1 :])
            if needed:
                self.refuse(fewer)
            else:
                self.verify(fewer)
        self.refuse(self.logged(acts=acts + acts[-1:]), "2 acts `accepted`")
        self.refuse(self.logged(acts=[*acts[:1], *acts[2:], acts[1]]), "before `accepted`")
        self.verify(self.logged(acts=[*acts[1:], acts[0]]))
        earlier = self.logged(acts=[acts[1] | {"time": minute(1)}, *acts])
        self.assertEqual(self.verify(earlier).logged["grace"], minute(1))

    def test_an_approval_is_in_time_by_the_log(self):
        acts = acts_of_ceremony(self.transcript)
        by, after = "2026-01-01T10:00:00.000Z", "2026-01-01T10:00:00.001Z"
        self.assertEqual(self.verify(self.logged(acts=[acts[1] | {"time": by}, *acts[2:]])).logged["grace"], by)
        self.refuse(self.logged(acts=[acts[1] | {"time": after}, *acts[2:]]), "after `approve_by`")
        self.verify(self.logged(acts=[*acts[:2], acts[1] | {"time": after}, *acts[2:]]))

    def test_approvals_of_a_new_origin_may_be_in_a_log_that_was_halted(self):
        transcript = self.installation.move(Log(self.log_key, "old").succeeded_by("new"))
        acts = acts_of_ceremony(transcript)
        self.assertEqual(acts[-1]["kind"], "log")
        self.assertEqual(self.verify(self.logged(transcript)).logged, {"grace": minute(2), "mary": minute(2)})
        self.assertEqual(self.verify(self.logged(transcript, acts[-1:])).logged, {})
        self.assertEqual(self.verify(self.logged(transcript, [acts[2], acts[-1], acts[1]])).logged, {"mary": minute(2)})
        self.refuse(self.logged(transcript, acts[:-1]), "0 acts")
        self.refuse(self.logged(transcript, acts[-1:] * 2), "2 acts")
        self.refuse(self.logged(transcript, [acts[1] | {"time": minute(601)}, acts[-1]]), "after `approve_by`")
        correction = self.installation.correct(1, 2, minute(1))
        self.verify(self.logged(correction))
        self.refuse(self.logged(correction, acts_of_ceremony(correction)[-1:]), "not in the log")

    def test_the_core_is_that_of_the_act_that_ends_it_alone(self):
        for transcript in (self.installation.correct(1, 2, minute(1)), self.installation.move(Log(self.log_key, "old").succeeded_by("new"))):
            acts = acts_of_ceremony(transcript)
            for action in (acts[-1]["action"], "accepted"):
                extra = {"kind": "ceremony", "action": action, "actor": "x", "ref": acts[0]["ref"], "time": minute(3)}
                self.verify(self.logged(transcript, [extra, *acts]))
                self.verify(self.logged(transcript, [extra | {"digest": "0" * 64}, *acts]))
                self.refuse(self.logged(transcript, [*acts[:-1], extra | {"digest": acts[-1]["digest"]}]), "0 acts")
            self.refuse(self.logged(transcript, [*acts[:-1], acts[-1] | {"digest": "0" * 64}]), "not in this transcript")

    def test_an_approval_that_does_not_count_needs_no_leaf(self):
        transcript = self.installation.generate("ring", ServiceKey(), approve=["grace", "grace", "mary"])
        acts = acts_of_ceremony(transcript)
        self.verify(self.logged(transcript, acts))

    def test_leaves_of_something_else(self):
        acts = acts_of_ceremony(self.transcript)
        other = acts_of_ceremony(self.installation.generate("ring", ServiceKey()))
        for number, act in enumerate(acts):
            if act["action"] != "execute":
                with self.subTest(act["action"]):
                    self.refuse(self.logged(acts=acts[:number] + [act | {"digest": other[number]["digest"]}] + acts[number + 1 :]))
            self.refuse(self.logged(acts=acts[:number] + [act | {"ref": other[number]["ref"]}] + acts[number + 1 :]), "not of this ceremony")
        self.refuse(self.logged(acts=other), "not of this ceremony")
        nothing = {name: value for name, value in acts[0].items() if name != "digest"}
        self.refuse(self.logged(acts=[nothing, *acts[1:]]), "propose")
        # A signature in another place is another one.
        self.refuse(self.logged(acts=[acts[0] | {"digest": acts[1]["digest"]}, *acts[1:]]), "propose")
        for action in ("reject", "cancel"):
            self.refuse(self.logged(acts=[acts[0] | {"action": action}, *acts[1:]]), action)
        for leaf in ({"kind": "key"}, {"kind": "brand-new"}, {"more": 1}, {"actor": 1}, {"reason": "x" * 1024}):
            self.refuse(self.logged(acts=[acts[3] | leaf, *acts]))
        signature = {
            "actor": "a", "alg": "ES256", "input_commit": "0" * 64, "kid": "A" * 43, "kind": "sign", "ring": "r", "sig_hash": "0" * 64,
            "time": minute(1),
        }  # fmt: skip
        self.refuse(self.logged(acts=[signature, *acts]))

    def test_no_byte_can_be_changed(self):
        self.assert_every_byte_counts(self.logged().encode(), lambda data: verify_transcript(data, self.pin))


if __name__ == "__main__":
    unittest.main()

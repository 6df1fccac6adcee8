"""Tests of evidence files and of the command. All files are made here, with new keys."""

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from chancery_verifier import evidence, leaves, tlog
from chancery_verifier.evidence import verify_evidence
from chancery_verifier.policy import WitnessPolicy
from chancery_verifier.refusal import Malformed, Refused
from chancery_verifier.roster import Pin
from chancery_verifier.shape import LAST_INSTANT
from chancery_verifier.transcript import verify_core
from refusals import STRIDE, Refusals
from sample_files import (
    ALGORITHMS, INPUTS, Installation, Log, ServiceKey, Story, Witness, WrappingKey, b64u, canonical, minute, sha256, tree_path,
    tree_root, with_log,
)  # fmt: skip


def end_of(count: int) -> str:
    """The end of the second that a witness states: what T is rounded up to."""
    return minute(count).replace(".000Z", ".999Z")


def verdict(story: Story, policy: WitnessPolicy | None = None, **changed) -> tuple:
    result = verify_evidence(story.evidence(**changed), story.genesis_digest, policy)
    return (result.verdict, *result.reasons)


def short(*names: str) -> Story:
    """A key that was primary and signed, and then what is named."""
    story = Story().activate().sign()
    for name in names:
        getattr(story, name)()
    return story


class Tree(unittest.TestCase):
    def test_every_path_up_to_twenty_leaves(self):
        for size in range(1, 21):
            leaves = [str(index) for index in range(size)]
            root = tree_root(leaves)
            for index in range(size):
                path, leaf = tree_path(index, leaves), tlog.leaf_hash(leaves[index].encode())
                self.assertEqual(tlog.root_of_path(index, size, leaf, path), root)
                self.assertEqual(tlog.root_before(index, size, path), tree_root(leaves[:index]))
                self.assert_never_root(root, index, size, leaf, path + [root])
                self.assert_never_root(root, index, size, leaf, path[:-1] if path else [root])
                self.assert_never_root(root, index + 1, size, leaf, path)
                if path:
                    with self.assertRaises(Malformed):
                        tlog.root_of_path(index, size, leaf, path[:-1])

    def assert_never_root(self, root, *arguments):
        try:
            self.assertNotEqual(tlog.root_of_path(*arguments), root)
        except Malformed:
            pass

    def test_the_example_of_signed_note(self):
        # c2sp.org/signed-note, "Example": the key and the signature over its text.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        data = tlog.bytes_of_base64("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
        line = (
            "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
        )
        signature = tlog._read_signature(line)
        self.assertEqual(tlog.ed25519_key_id("example.com/foo", data[0], data[1:]), signature.key_id)
        Ed25519PublicKey.from_public_bytes(data[1:]).verify(signature.value, b"This is an example message.\n")


    def test_numbers_of_leaves_have_one_spelling(self):
        for digits, number in (("0", 0), ("7", 7), ("10", 10), ("9223372036854775807", 2**63 - 1)):
            self.assertEqual(tlog.read_decimal(digits), number)
        for digits in ("", "00", "07", "+1", "-1", " 1", "1 ", "1\n", "1_0", "\u0661", "9223372036854775808", "9" * 19, "1" * 5000):
            with self.subTest(digits[:30]), self.assertRaises(Malformed):
                tlog.read_decimal(digits)

    def test_numbers_of_leaves_in_checkpoints_and_proofs(self):
        log = Log(ServiceKey("Ed25519"))
        log.append({})
        proof = log.proof(0)
        for number, sound in (("1", True), ("9223372036854775807", True), ("9223372036854775808", False), ("01", False), ("", False)):
            for text in (proof.replace("index 0\n", f"index {number}\n"), proof.replace("\n1\n", f"\n{number}\n")):
                with self.subTest(text):
                    if sound:
                        tlog.read_proof(text)
                    else:
                        self.assertRaises(Malformed, tlog.read_proof, text)


class Leaves(unittest.TestCase):
    def test_a_leaf_of_an_unknown_kind_is_none_of_ours(self):
        def read(**members):
            return leaves.read_leaf(canonical({"kind": "brand-new", "time": minute(1), "v": 1} | members))

        self.assertIsNone(read())
        self.assertIsNone(read(anything=[1, {"a": None}], actor=7))
        act = {"kind": "key", "action": "rotate", "actor": "a"}
        self.assertEqual(read(**act)["action"], "rotate")
        for members in (
            {"v": 2}, {"v": "1"}, {"time": "x"}, {"time": None}, {"kind": "Brand"}, {"kind": 1}, {"kind": ""}, {"more": "x" * 1024},
            act | {"more": 1}, {"kind": "key"}, {"kind": "sign"}, {"kind": "alert"}, act | {"sig_hash": "x"},
        ):  # fmt: skip
            with self.subTest(members), self.assertRaises(Malformed):
                read(**members)
        for leaf in ("[]", "1", '{"kind":"brand-new","time":"2026-01-01T00:00:00.000Z", "v":1}', ""):
            with self.subTest(leaf), self.assertRaises(Malformed):
                leaves.read_leaf(leaf)


class Verdicts(unittest.TestCase):
    """Every row of docs/LOG.md, "Verify" 10. The signature is of minute 100."""

    def test_never_primary(self):
        self.assertEqual(verdict(Story().sign()), ("INDETERMINATE", "never_active"))
        self.assertEqual(verdict(Story().sign().revoke()), ("INDETERMINATE", "never_active"))
        self.assertEqual(verdict(Story().sign().revoke("compromised")), ("INDETERMINATE", "never_active"))

    def test_primary_or_demoted(self):
        self.assertEqual(verdict(short()), ("VALID",))
        self.assertEqual(verdict(short("demote")), ("VALID",))
        rolled_back = short("demote").act(210, "roll-back", "kid", previous_kid=b64u(b"n" * 32))
        self.assertEqual(verdict(rolled_back), ("VALID",))

    def test_retired_or_archived(self):
        story = short("demote", "retire")
        self.assertEqual(verdict(story), ("VALID_RETIRED_KEY",))
        self.assertEqual(verdict(story, unfinished_policy()), ("INDETERMINATE", "no_proof_of_existence"))
        self.assertEqual(verdict(short("demote", "retire").act(350, "archive", "kid")), ("VALID_RETIRED_KEY",))
        witness = Witness("w.example.org")
        after_end = ("INDETERMINATE", "no_proof_of_existence", "after_end")
        for at, expected in ((299, ("VALID_RETIRED_KEY",)), (300, after_end)):
            self.assertEqual(verdict(story, policy_of(witness), cosignatures=[(witness, minute(at))]), expected)

    def test_revoked_after_retirement(self):
        story, witness = short("demote", "retire").revoke(), Witness("w.example.org")
        after_end = ("INDETERMINATE", "key_revoked", "no_proof_of_existence", "after_end")
        for at, expected in ((299, ("VALID_RETIRED_KEY", "key_revoked")), (300, after_end), (402, ("REVOKED", "key_revoked"))):
            self.assertEqual(verdict(story, policy_of(witness), cosignatures=[(witness, minute(at))]), expected)

    def test_behind_the_retirement_within_one_millisecond_and_revoked_in_the_next(self):
        story, witness, at = Story().activate().demote().retire().sign(at=300), Witness("w.example.org"), minute(300)
        just_after = at.replace(".000Z", ".001Z")
        self.assertEqual(verdict(story), ("INDETERMINATE", "no_proof_of_existence", "after_end"))
        story.act(300, "revoke", "previous_kid", reason="superseded", time=just_after)
        self.assertEqual(verify_evidence(story.evidence(), story.genesis_digest).existed_at, at)
        # T is before the revocation, and no later for standing behind the retirement.
        self.assertEqual(verdict(story), ("INDETERMINATE", "key_revoked", "no_proof_of_existence", "after_end"))
        self.assertEqual(verdict(story, unfinished_policy()), ("INDETERMINATE", "key_revoked", "no_proof_of_existence"))
        cosigned = {"cosignatures": [(witness, at)]}
        self.assertEqual(verdict(story, policy_of(witness), **cosigned), ("REVOKED", "key_revoked"))
        before = Story().activate().sign(at=300).demote().retire()
        self.assertEqual(verdict(before), ("VALID_RETIRED_KEY",))
        before.act(300, "revoke", "previous_kid", reason="superseded", time=just_after)
        self.assertEqual(verdict(before), ("VALID_RETIRED_KEY", "key_revoked"))
        at_once = Story().activate().demote().retire().sign(at=300).act(300, "revoke", "previous_kid", reason="superseded")
        self.assertEqual(verdict(at_once), ("REVOKED", "key_revoked"))
        compromised = Story().activate().demote().retire().sign(at=300)
        compromised.act(310, "revoke", "previous_kid", reason="compromised", compromised_since=just_after)
        self.assertEqual(verdict(compromised), ("INDETERMINATE", "key_compromised", "no_proof_of_existence", "after_end"))

    def test_the_order_of_the_log_cannot_be_dated_back(self):
        late = Story().activate().revoke().sign()
        self.assertEqual(verdict(late), ("REVOKED", "key_revoked"))
        result = verify_evidence(late.evidence(), late.genesis_digest)
        self.assertEqual((result.existed_at, result.witnessed), (minute(402), False))
        self.assertEqual(verdict(late, unfinished_policy()), ("INDETERMINATE", "key_revoked", "no_proof_of_existence"))
        witness = Witness("w.example.org")
        cosigned = {"cosignatures": [(witness, minute(110))]}
        self.assertEqual(verdict(late, policy_of(witness), **cosigned), ("REVOKED", "key_revoked"))
        retired = Story().activate().demote().retire().sign()
        self.assertEqual(verify_evidence(retired.evidence(), retired.genesis_digest).existed_at, minute(300))
        after_end = ("INDETERMINATE", "no_proof_of_existence", "after_end")
        self.assertEqual(verdict(retired), after_end)  # within the same millisecond, but behind it in the log

    def test_a_leaf_before_the_key_was_primary(self):
        story = Story().sign().act(120, "rotate", "kid")
        self.assertEqual(verdict(story), ("INDETERMINATE", "never_active"))
        self.assertEqual(verdict(story.revoke("compromised", 50)), ("INDETERMINATE", "never_active"))

    def test_revoked(self):
        story = short().revoke()
        self.assertEqual(verdict(story), ("VALID_RETIRED_KEY", "key_revoked"))
        self.assertEqual(verdict(story, unfinished_policy()), ("INDETERMINATE", "key_revoked", "no_proof_of_existence"))
        witness = Witness("w.example.org")
        for at, expected in ((401, "VALID_RETIRED_KEY"), (402, "REVOKED"), (403, "REVOKED")):
            cosigned = {"cosignatures": [(witness, minute(at))]}
            self.assertEqual(verdict(story, policy_of(witness), **cosigned), (expected, "key_revoked"))

    def test_compromised(self):
        for since, expected in ((99, "REVOKED"), (100, "REVOKED"), (101, "VALID_RETIRED_KEY"), (None, "REVOKED")):
            story = short().revoke("compromised", since)
            self.assertEqual(verdict(story), (expected, "key_compromised"))
        expected = ("INDETERMINATE", "key_compromised", "no_proof_of_existence")
        self.assertEqual(verdict(story, unfinished_policy()), expected)

    def test_what_was_revoked_before_a_later_compromise_stays_so(self):
        story = Story().activate().act(50, "revoke", "previous_kid", reason="unspecified").sign()
        self.assertEqual(verdict(story), ("REVOKED", "key_revoked"))
        self.assertEqual(verdict(story.revoke("compromised", 200)), ("REVOKED", "key_compromised"))

    def test_the_successor_in_a_revocation_is_primary(self):
        story = Story().act(20, "revoke", "kid", previous_kid=b64u(b"o" * 32), reason="unspecified").sign()
        self.assertEqual(verdict(story), ("VALID",))

    def test_every_algorithm_and_kind_of_log_key(self):
        for algorithm in ALGORITHMS:
            self.assertEqual(verdict(Story(algorithm, log_algorithm="ES256").activate().sign()), ("VALID",))
            for covers in INPUTS:
                if (algorithm, covers) != ("Ed25519", "digest"):
                    self.assertEqual(verdict(Story(algorithm, covers=covers).activate().sign()), ("VALID",))

    def test_a_wrong_usage(self):
        for covers, right in (("jws", "structured"), ("dsse", "structured"), ("message", "raw"), ("digest", "raw")):
            for usage in ("structured", "raw", "sealed", "certificates"):
                story = Story(covers=covers, usage=usage).activate().sign()
                expected = ("VALID",) if usage == right else ("INVALID", "wrong_usage")
                self.assertEqual(verdict(story), expected)
                self.assertEqual(verdict(story, subject=None), ("VALID",))
                self.assertEqual(verify_evidence(story.evidence(), story.genesis_digest).usage, usage)
        story = Story(usage="raw").activate()
        story.key.sign = lambda *_: b"\1" * 64
        self.assertEqual(verdict(story.sign()), ("INVALID", "bad_signature"))

    def test_the_twin_of_a_signature_is_the_same_one(self):
        for algorithm in ("ES256", "ES384"):
            story = Story(algorithm).activate().sign()
            twin = story.key.twin(story.signature)
            self.assertNotEqual(sha256(twin), sha256(story.signature))
            self.assertEqual(verdict(story, subject=story.subject(signature=b64u(twin))), ("VALID",))

    def test_a_revocation_made_more_severe(self):
        story = short().revoke("superseded")
        for reason, since, expected in (
            ("compromised", 350, ("VALID_RETIRED_KEY", "key_compromised")),
            ("compromised", 101, ("VALID_RETIRED_KEY", "key_compromised")),
            ("compromised", 100, ("REVOKED", "key_compromised")),
            ("compromised", None, ("REVOKED", "key_compromised")),
        ):
            self.assertEqual(verdict(story.revoke(reason, since)), expected)
        archived = short().revoke("superseded").act(403, "archive", "kid").revoke("compromised", 50)
        self.assertEqual(verdict(archived), ("REVOKED", "key_compromised"))

    def test_the_instant_of_a_revocation_stays_the_first_ones(self):
        story, witness = short("demote", "retire").revoke("compromised", 299).revoke("compromised", 298), Witness("w.example.org")
        for at, expected in ((297, "VALID_RETIRED_KEY"), (298, "REVOKED")):
            self.assertEqual(verdict(story, policy_of(witness), cosignatures=[(witness, minute(at))]), (expected, "key_compromised"))

    def test_a_signature_that_does_not_check(self):
        story = Story().activate()
        real, story.key.sign = story.key.sign, lambda *_: b"\1" * 64
        story.sign()
        self.assertEqual(verdict(story), ("INVALID", "bad_signature"))
        story.key.sign = real
        self.assertEqual(verdict(short(), subject=None), ("VALID",))
        ed25519 = Story("Ed25519", covers="digest").activate().sign()
        self.assertEqual(verdict(ed25519), ("INVALID", "bad_signature"))


def policy_of(*witnesses: Witness, quorum: str = "all") -> WitnessPolicy:
    return WitnessPolicy(policy_text(*witnesses, quorum=quorum).encode())


def policy_text(*witnesses: Witness, quorum: str = "all") -> str:
    lines = [f"witness w{number} {witness.vkey}" for number, witness in enumerate(witnesses)]
    names = " ".join(f"w{number}" for number in range(len(witnesses)))
    return "\n".join(lines + [f"group g {quorum} {names}", "quorum g", ""])


def unfinished_policy() -> WitnessPolicy:
    return policy_of(Witness("absent.example.org"))


class Witnesses(unittest.TestCase):
    def setUp(self):
        self.witnesses = [Witness(f"w{number}.example.org") for number in range(3)]
        self.story = short("demote", "retire")
        self.cosigned = [(witness, minute(110 + 10 * number)) for number, witness in enumerate(self.witnesses)]

    def existed_at(self, policy: WitnessPolicy, cosignatures=None):
        data = self.story.evidence(cosignatures if cosignatures is not None else self.cosigned)
        result = verify_evidence(data, self.story.genesis_digest, policy)
        return result.existed_at, result.witnessed

    def test_the_kth_earliest_completes_a_quorum(self):
        for quorum, at in (("any", 110), ("1", 110), ("2", 120), ("3", 130), ("all", 130)):
            self.assertEqual(self.existed_at(policy_of(*self.witnesses, quorum=quorum)), (end_of(at), True))
        self.assertEqual(self.existed_at(policy_of(*self.witnesses), self.cosigned[:2]), (None, False))
        self.assertEqual(self.existed_at(policy_of(*self.witnesses, quorum="2"), self.cosigned[1:]), (end_of(130), True))

    def test_groups_of_groups(self):
        text = policy_text(*self.witnesses[:2], quorum="any").replace("quorum g", f"witness x {self.witnesses[2].vkey}")
        policy = WitnessPolicy((text + "group h all g x\nquorum h\n").encode())
        self.assertEqual(self.existed_at(policy), (end_of(130), True))

    def test_a_policy_of_nobody_is_the_logs_own_clock(self):
        self.assertEqual(self.existed_at(WitnessPolicy(b"# nobody\nquorum none\n")), (minute(100), False))

    def test_a_cosignature_of_something_else_refuses(self):
        witness, other = Witness("w.example.org"), Witness("w.example.org")
        stranger = [(other, minute(110))]
        self.assertEqual(self.existed_at(policy_of(witness), stranger), (None, False))
        other.key_id = witness.key_id  # by the name of the witness, and by another key
        lines = f"witness w {witness.vkey}\nwitness v {Witness('v').vkey}\nquorum "
        good = (witness, minute(105))
        for cosignatures, policy in ((stranger, "w"), ([good] + stranger, "w"), (stranger, "v"), (stranger, "none")):
            with self.assertRaises(Refused) as refused:
                self.existed_at(WitnessPolicy((lines + policy + "\n").encode()), cosignatures)
            self.assertEqual(refused.exception.word, "proof")
        self.assertEqual(self.existed_at(policy_of(*self.witnesses), self.cosigned + stranger), (end_of(130), True))

    def test_every_checkpoint_of_the_file_is_held_against_the_policy(self):
        witness, other = Witness("w.example.org"), Witness("w.example.org")
        other.key_id = witness.key_id
        life = self.story.members()["life"]
        life[1]["proof"] = self.story.log.proof(self.story.life[1], [(other, minute(110))])
        with self.assertRaises(Refused):
            verify_evidence(self.story.evidence(life=life), self.story.genesis_digest, policy_of(witness))
        verify_evidence(self.story.evidence(life=life), self.story.genesis_digest, policy_of(*self.witnesses))

    def test_times_of_cosignatures(self):
        witness = Witness("w.example.org")
        for seconds, at in ((0, None), (1, "1970-01-01T00:00:01.000Z"), (2**62, LAST_INSTANT), (2**63, None)):
            cosigned = [(witness, seconds)]
            if at is None:
                with self.assertRaises(Refused):
                    self.existed_at(policy_of(witness), cosigned)
            else:
                expected = max(at, minute(20))
                self.assertEqual(self.existed_at(policy_of(witness), cosigned), (expected, True))

    def test_of_one_witness_the_earliest_counts(self):
        witness = Witness("w.example.org")
        cosigned = [(witness, minute(130)), (witness, minute(120)), (witness, minute(125))]
        self.assertEqual(self.existed_at(policy_of(witness), cosigned), (end_of(120), True))

    def test_policies_that_are_refused(self):
        vkey, other = Witness("w.example.org").vkey, Witness("v.example.org").vkey
        wrong_id = "w.example.org+00000000+" + vkey.split("+", 2)[2]
        for text in (
            "", "quorum x\n", "quorum none\nquorum none\n", f"witness w {vkey}\n", f"witness none {vkey}\nquorum none\n",
            f"witness w {vkey}\nwitness v {vkey}\nquorum w\n", f"witness w {vkey}\nwitness w {other}\nquorum w\n",
            f"witness w {vkey}\ngroup g 2 w\nquorum g\n", f"witness w {vkey}\ngroup g 0 w\nquorum g\n",
            f"witness w {vkey}\ngroup g any w w\nquorum g\n", f"witness w {vkey}\ngroup g any none\nquorum g\n",
            f"group g any w\nwitness w {vkey}\nquorum g\n", f"witness w {wrong_id}\nquorum w\n", "witness w x\nquorum w\n",
            f"witness w {vkey}\r\nquorum w\n", "policy\nquorum none\n",
        ):  # fmt: skip
            with self.subTest(text), self.assertRaises(Malformed):
                WitnessPolicy(text.encode())


class EvidenceRefusals(Refusals):
    def refuse(self, word: str, story: Story, **changed) -> str:
        return self.refused(word, verify_evidence, story.evidence(**changed), story.genesis_digest)

    def test_malformed(self):
        story = short()
        for changed in (
            {"v": 2}, {"more": 1}, {"service": "Other"}, {"environment": ""}, {"leaf": None}, {"type": "evidence"}, {"life": {}}, {"log_keys": [1]},
            {"corrections": None}, {"origins": None}, {"corrections": [{"leaf": "", "proof": ""}]}, {"origins": {}},
            {"corrections": [{"leaf": "", "proof": "", "transcript": ""}] * 1001}, {"subject": story.subject(covers="both")}, {"subject": story.subject(input="x")},
            {"subject": story.subject(more="")}, {"life": [{"leaf": "x"}]},
        ):  # fmt: skip
            with self.subTest(changed):
                self.refuse("malformed", story, **changed)
        with_null = canonical(story.members() | {"revocation": None}).encode()
        for data in (b"", b"{}", story.evidence() + b"\n", b"[" * 10**6, with_null):
            self.refused("malformed", verify_evidence, data, story.genesis_digest)

    def test_log_key(self):
        story = short()
        self.refuse("log_key", story, log_keys=[story.birth])
        self.refuse("log_key", story, log_keys=[story.log_birth] * 2)
        self.refuse("log_key", story, log_keys=["{}"])
        self.refuse("log_key", story, service="other")
        self.refuse("log_key", story, log_keys=[story.installation.revoke("log", story.log_key.kid, "superseded", None)])
        self.refuse("log_key", story, log_keys=[story.installation.generate("log", ServiceKey("ES384"))])
        self.refused("log_key", verify_evidence, story.evidence(), "0" * 64)

    def test_transcript(self):
        story = short()
        self.refuse("transcript", story, transcript="{}")
        self.refuse("transcript", story, transcript=story.log_birth)
        self.refuse("transcript", story, transcript=Installation().generate("ring", story.key))
        revocation = story.installation.revoke(Story.RING, story.key.kid, "superseded", None)
        self.refuse("transcript", story, transcript=revocation)
        self.refuse("transcript", story, transcript=story.installation.generate("kek", WrappingKey()))

    def test_transcripts_are_cores(self):
        story = short("revoke")

        def logged(transcript: str) -> str:
            return with_log(transcript, Log(story.log_key), story.log_birth)

        verify_core(story.birth.encode(), Pin(story.genesis_digest))
        self.refuse("log_key", story, log_keys=[logged(story.log_birth)])
        self.refuse("transcript", story, transcript=logged(story.birth))
        self.refuse("revocation", story, revocation=logged(story.revocation))

    def test_proof(self):
        story = short()
        good = story.log.proof(story.index)
        text = good.split("\n\n")[1] + "\n"
        witness_line = Witness("w.example.org").line(text, minute(1))
        bad_line = story.log.signature_line(text + "x")
        proofs = [
            "", good.replace("index", "extra eA==\nindex"), good.replace(f"index {story.index}", f"index 0{story.index}"),
            good.replace(f"index {story.index}", f"index {story.index - 1}"), good[:-1], good + "\n", good + "x",
            good.replace("\n\n", "\nAAAA\n\n", 1), good.rpartition("\u2014")[0] + witness_line, good + bad_line,
            good.replace(text, text + "extension\n"), good.replace("\n", "\r\n"), good + witness_line * 64,
            story.log.proof(story.index - 1), Log(ServiceKey()).signature_line(text),
        ]  # fmt: skip
        for proof in proofs:
            with self.subTest(proof):
                self.refuse("proof", story, proof=proof)
        self.refuse("proof", story, proof=story.log.proof(story.index, extension="extension\n"))
        self.refuse("proof", story, log_keys=[])
        unused = story.installation.generate("log", ServiceKey("Ed25519"))
        self.refuse("proof", story, log_keys=[story.log_birth, unused])
        self.assertEqual(verdict(story, proof=good + witness_line), ("VALID",))

    def test_a_tree_has_at_most_so_many_leaves(self):
        story = short()
        for size, sound in ((2**63 - 1, True), (2**63, False), ("0004", False), ("4", True)):
            proof = story.log.proof_of_size(story.index, size)
            if sound:
                self.assertEqual(verdict(story, proof=proof), ("VALID",))
            else:
                self.refuse("proof", story, proof=proof)

    def test_one_place_of_the_log_has_one_leaf(self):
        """A log that forked: what is compared is not the roots, which are of other sizes."""
        story = short()
        forked = {"leaf": story.log.leaves[3], "proof": story.log.proof(3), "subject": None}
        story.log.leaves.pop()
        story.demote().sign(at=250)
        self.assertEqual(story.life[-1], 3)
        self.assertEqual(verdict(story), ("VALID",))
        self.refuse("proof", story, **forked)
        del story.life[-1]
        self.assertEqual(verdict(story, **forked), ("VALID",))

    def test_a_log_key_signs_under_the_name_of_the_origin(self):
        story = Story(log_algorithm="ES256").activate().sign()
        good = story.log.proof(story.index)
        head, _, lines = good.rpartition("\n\n")
        renamed = lines.replace(story.log.origin, "other.example.org")
        self.refuse("proof", story, proof=f"{head}\n\n{renamed}")
        nonsense = story.log.signature_line("another text", "other.example.org")
        self.assertEqual(verdict(story, proof=good + nonsense), ("VALID",))

    def test_two_roots_of_one_size(self):
        story = short()
        life = story.members()["life"]
        story.log.leaves[0] = story.log.leaves[0].replace("root", "toor")
        self.refuse("proof", story, life=life)
        story.act(500, "sign", "kid", kind="admin")
        del story.life[-1]
        self.assertEqual(verdict(story, life=life), ("VALID",))

    def test_proofs_of_two_origins(self):
        story = short()
        life = story.members()["life"]
        story.log.origin = "other.example.org/log"
        self.refuse("proof", story, life=life)

    def test_proofs_of_two_log_keys(self):
        story = short()
        proof = story.log.proof(story.index)
        story.log.key = ServiceKey("ES256")
        both = [story.log_birth, story.installation.generate("log", story.log.key)]
        self.assertEqual(verdict(story, proof=proof, log_keys=both), ("VALID",))
        self.refuse("proof", story, proof=proof)

    def with_leaf(self, **changed) -> Story:
        story = short()
        leaf = json.loads(story.log.leaves[story.index]) | changed
        story.log.leaves[story.index] = canonical({name: value for name, value in leaf.items() if value is not None})
        return story

    def test_leaf(self):
        for changed in (
            {"kid": b64u(b"o" * 32)}, {"ring": "other"}, {"alg": "ES384"}, {"v": 2}, {"kind": "key"}, {"actor": None},
            {"more": 1}, {"time": "2026-01-01T00:00:00Z"}, {"sig_hash": "A" * 64}, {"actor": "x" * 1024}, {"alg": "ML-DSA-65"},
            {"alg": ""}, {"alg": "x" * 41}, {"kind": "brand-new"}, {"reason": "x"},
        ):  # fmt: skip
            with self.subTest(changed):
                self.refuse("leaf", self.with_leaf(**changed))
        spaced = short()
        spaced.log.leaves[spaced.index] = spaced.log.leaves[spaced.index].replace(",", ", ")
        self.refuse("leaf", spaced)

    def test_life(self):
        kid = b64u(b"n" * 32)
        self.refuse("life", short(), life=[])
        cases = [
            short("retire"), short().act(30, "archive", "kid"), short("demote", "retire", "retire"), short("demote", "demote"),
            short("demote", "retire").act(310, "rotate", "kid"), short("revoke", "retire"), short("revoke", "revoke"),
            short("revoke").act(410, "rotate", "kid"), short().act(30, "accepted", "kid", kind="ceremony"),
            short().act(30, "revoke", "kid", reason="superseded"), short().act(30, "rotate", "kid", kid=kid),
            short().act(30, "revoke", "previous_kid", reason="because"), short().act(30, "revoke", "previous_kid"),
            short().act(30, "revoke", "previous_kid", reason="superseded", compromised_since=minute(1)),
            short().act(30, "rotate", "kid", compromised_since=minute(1)), short().act(30, "sign", "kid"),
            short().act(30, "rotate", "kid", kind="admin"), short().act(30, "rotate", "kid", more=1),
            short().act(30, "rotate", "kid"), short().act(30, "roll-back", "kid"), short("demote").act(210, "retire", "kid", ring="x"),
            short("demote").act(15, "retire", "kid"), Story().act(1, "rotate", "kid").sign(),
            short("revoke").act(410, "archive", "kid").act(420, "archive", "kid"),
            short("demote", "retire").act(310, "archive", "kid").act(320, "archive", "kid"),
            short("demote", "retire").act(310, "archive", "kid").revoke().act(410, "archive", "kid"),
            Story().act(20, "revoke", "kid", previous_kid=kid).sign(),
            Story().act(20, "revoke", "kid", previous_kid=kid, reason="superseded", compromised_since=minute(1)).sign(),
            Story().act(30, "retire", "kid").sign(), short().act(30, "retire", "previous_kid"),
            short("revoke").act(410, "archive", "kid").act(420, "revoke", "previous_kid", reason="superseded"),
            short().revoke("compromised", 50).revoke("compromised", 50), short().revoke("compromised", 50).revoke("compromised", 51),
            short().revoke("compromised", 50).revoke("superseded"), short().revoke("compromised").revoke("compromised", 50),
            short().revoke("compromised").revoke("compromised"), short().revoke("superseded").revoke("unspecified"),
            short().act(30, "brand-new", "kid", kind="brand-new"), short().act(30, "retire", "kid", kind="log"),
            short("demote").act(300, "retire", "kid", count=-1),
            Story().act(20, "rotate", "kid", compromised_since=minute(1)).sign(), Story().act(20, "revoke", "kid", reason="superseded").sign(),
            short().act(15, "revoke", "previous_kid", reason="superseded"),
        ]  # fmt: skip
        for number, story in enumerate(cases):
            with self.subTest(number):
                story.revocation = None
                self.refuse("life", story)
        other_transcript = short()
        other_transcript.birth = other_transcript.installation.generate(Story.RING, other_transcript.key)
        self.refuse("life", other_transcript)
        disordered = short("demote")
        disordered.life[1:] = disordered.life[:0:-1]
        self.refuse("life", disordered)
        twice = short()
        twice.life.append(twice.life[-1])
        self.refuse("life", twice)
        both = short()
        self.refuse("life", both.act(30, "rotate", "kid", previous_kid=both.key.kid))
        beheaded = short()
        del beheaded.life[0]
        self.refuse("life", beheaded)
        revoked = short("revoke")
        revoked.life, revoked.revocation = revoked.life[-1:], None
        self.refuse("life", revoked)
        either = short("demote", "retire").act(401, "archive", "kid").revoke()
        self.assertEqual(verdict(either), ("VALID_RETIRED_KEY", "key_revoked"))
        either.life[-2:] = either.life[:-3:-1]
        self.refuse("life", either)

    def test_a_key_is_archived_after_its_revocation(self):
        story = short("revoke").act(410, "archive", "kid")
        self.assertEqual(verdict(story), ("VALID_RETIRED_KEY", "key_revoked"))

    def test_acts_may_say_more_and_nothing_else(self):
        more = {
            "alg": "x", "asset": "x", "bound": minute(1), "count": 1, "digest": "0" * 64, "first": 1, "from": minute(1), "last": 1,
            "input_commit": "0" * 64, "use": 2**53 - 1,
            "origin": "x", "previous_version": 1, "reason": "x", "ref": "x", "sig_hash": "0" * 64, "until": minute(1), "usage": "x",
            "version": 1,
        }  # fmt: skip
        self.assertEqual(verdict(Story().act(20, "rotate", "kid", **more).sign()), ("VALID",))
        for name, value in more.items():
            wrong = 1 if isinstance(value, str) else "1"
            self.refuse("life", Story().act(20, "rotate", "kid", **more | {name: wrong}).sign())
        for name, wrong in (("input_commit", "0" * 63), ("input_commit", "A" * 64), ("use", -1), ("use", 2**53), ("use", None), ("uses", 1)):
            self.refuse("life", Story().act(20, "rotate", "kid", **{name: wrong}).sign())

    def test_revocation(self):
        story = short("revoke")
        self.assertEqual(verdict(story, revocation=None), ("VALID_RETIRED_KEY", "key_revoked"))
        revoke = story.installation.revoke
        for transcript in (
            "{}", story.birth, revoke(Story.RING, story.key.kid, "unspecified", None),
            revoke(Story.RING, story.log_key.kid, "superseded", None), revoke(Story.RING, story.key.kid, "superseded", None),
        ):  # fmt: skip
            with self.subTest(transcript):
                self.refuse("revocation", story, revocation=transcript)
        self.refuse("revocation", short(), revocation=story.revocation)
        compromised = short().revoke("compromised", 50)
        alive = short()
        self.refuse("revocation", alive, revocation=alive.installation.revoke(Story.RING, alive.key.kid, "superseded", None))
        for said, members in (("superseded", {"reason": "unspecified"}), ("compromised", {"reason": "compromised", "compromised_since": minute(51)})):
            other = short().revoke(said, 50 if said == "compromised" else None)
            leaf = json.loads(other.log.leaves.pop())
            del other.life[-1]
            self.refuse("revocation", other.act(402, "revoke", "previous_kid", ref=leaf["ref"], **members))
        twice = short().revoke("superseded")
        first = twice.revocation
        self.assertEqual(verdict(twice.revoke("compromised", 50)), ("REVOKED", "key_compromised"))
        self.refuse("revocation", twice, revocation=first)
        other_since = compromised.installation.revoke(Story.RING, compromised.key.kid, "compromised", minute(51))
        self.refuse("revocation", compromised, revocation=other_since)
        self.refuse("revocation", short().revoke(number=2))

    def test_times_that_run_backwards_are_told_before_what_comes_after(self):
        story = Story().act(9, "rotate", "kid").sign()
        self.refuse("life", story, subject=story.subject(signature=b64u(story.key.sign(b"another"))))
        self.refuse("life", story, revocation=story.birth)
        self.refuse("life", story.revoke(), revocation=story.birth)

    def test_subject(self):
        story = short()
        other = INPUTS["jws"] + b"x"
        self.refuse("subject", story, subject=story.subject(signature=b64u(story.key.sign(story.input))))
        self.refuse("subject", story, subject=story.subject(salt=b64u(b"other")))
        self.refuse("subject", story, subject=story.subject(input=b64u(other)))
        unsalted = {name: value for name, value in story.subject(input=b64u(other)).items() if name != "salt"}
        self.assertEqual(verdict(story, subject=unsalted), ("INVALID", "bad_signature"))

    def test_an_input_is_of_the_form_that_it_says(self):
        def header(text: str) -> bytes:
            return b64u(text.encode()).encode() + b"."

        for covers, good, bad in (
            ("jws", (b"e30.", b"e30.a.b", b"e30.\xff\0", b"eyAiYSIgOiAxIH0."),
             (b"", b"e30", b".e30", b"W10.a", b"e30=.a", b"e31.a", b"\xff.a", b"bnVsbA.a", b"eyJhIjoxLCJhIjoxfQ.a", b"eyJhIjoxLjV9.a")),
            ("jws", (header('{"a":"\\ud83d\\ude00"}'),),
             (header('{"a":"\\ud800"}'), header('{"a":["\\udfff"]}'), header('{"\\ud800":1}'), header('{"a":"\\ude00\\ud83d"}'))),
            ("dsse", (b"DSSEv1 ",), (b"", b"DSSEv1", b"dssev1 1", b" DSSEv1 ")),
            ("message", (b"",), ()),
        ):  # fmt: skip
            for message in good:
                self.assertEqual(verdict(Story(covers=covers).activate().sign(message)), ("VALID",))
            for message in bad:
                with self.subTest(message):
                    self.refuse("subject", Story(covers=covers).activate().sign(message))


class Tampering(Refusals):
    def test_no_byte_can_be_changed(self):
        """Every byte counts in a file without signatures of witnesses, one with `origins` and `corrections` of each origin. By
        hand: EVERY_BYTE=1."""
        story = short("demote", "retire").correct(2, 3, 350).move("new.example.org/log").correct(2, 3, 349)
        self.assertEqual((len(story.origins), len(story.corrections)), (1, 2))
        data = story.evidence()
        transcripts = functools.lru_cache(maxsize=8)(verify_core)
        with mock.patch.object(evidence, "verify_core", transcripts):
            self.assert_every_byte_counts(data, lambda tampered: verify_evidence(tampered, story.genesis_digest))

    def test_no_byte_can_be_missing(self):
        story = short()
        data = story.evidence()
        for end in range(0, len(data), 97 * STRIDE):
            with self.assertRaises(Refused):
                verify_evidence(data[:end], story.genesis_digest)

    def test_cosignatures_that_are_changed_never_help(self):
        witness = Witness("w.example.org")
        story, policy = short("demote", "retire"), policy_of(witness)
        proof = story.log.proof(story.index, [(witness, minute(200))])
        self.assertEqual(verdict(story, policy, proof=proof), ("VALID_RETIRED_KEY",))
        start = proof.rindex("\u2014")
        for place in range(start, len(proof), 1 if STRIDE == 1 else 7):
            tampered = proof[:place] + chr(ord(proof[place]) ^ 1) + proof[place + 1 :]
            try:
                found = verdict(story, policy, proof=tampered)
            except Refused as refused:
                found = (refused.word,)
            self.assertIn(found[0], ("proof", "INDETERMINATE"), place)


class Command(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def run_command(self, name: str, data: bytes, *arguments: str):
        path = self.directory / name
        path.write_bytes(data)
        script = pathlib.Path(__file__).with_name("chancery_verify.py")
        return subprocess.run([sys.executable, script, path, *arguments], capture_output=True, text=True, check=False)

    def test_exit_codes_and_output(self):
        witness = Witness("w.example.org")
        story = short("demote", "retire")
        genesis, data = ["--genesis", story.genesis_digest], story.evidence([(witness, minute(200))])
        (self.directory / "policy").write_text(policy_text(witness))
        (self.directory / "bad").write_text("quorum x\n")
        done = self.run_command(
            "a.evidence", data, *genesis, "--witness-policy", str(self.directory / "policy"), "--output", "json"
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout), {
            "verdict": "VALID_RETIRED_KEY", "reasons": [], "kid": story.key.kid, "ring": Story.RING, "usage": "structured", "log_index": story.index,
            "existed_at": end_of(200), "witnessed": True, "subject": True, "order_use": None})  # fmt: skip
        done = self.run_command("b.evidence", data[:-1], *genesis, "--output", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["refused"]), (5, "malformed"))
        done = self.run_command("c.evidence", short().revoke("compromised", 50).evidence(), *genesis)
        self.assertEqual((done.returncode, done.stdout.split()[1]), (5, "log_key"))
        revoked = short().revoke("compromised", 50)
        done = self.run_command("c.evidence", revoked.evidence(), "--genesis", revoked.genesis_digest)
        self.assertEqual((done.returncode, done.stdout.split()[1]), (5, "REVOKED"))
        done = self.run_command("d", story.birth.encode(), *genesis, "--output", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["kid"]), (0, story.key.kid))
        kek = story.installation.generate("kek", WrappingKey())
        done = self.run_command("d", kek.encode(), *genesis, "--output", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["possession"]), (0, "stated"))
        done = self.run_command("d", with_log(kek, Log(story.log_key), story.log_birth).encode(), *genesis)
        self.assertIn(f"grace {minute(2)}, mary {minute(2)}", done.stdout)
        done = self.run_command("e.transcript", b"[" * 10**6, *genesis, "--output", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["refused"]), (5, "Unreadable"))
        done = self.run_command("f", b"\x00" * (17 * 2**20), *genesis, "--output", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["refused"]), (5, "malformed"))
        both = [str(self.directory / name) for name in ("a.evidence", "b.evidence")]
        done = self.run_command("a.evidence", data, both[1], *genesis, "--output", "json")
        said = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual((done.returncode, [answer["file"] for answer in said]), (5, both))
        self.assertEqual((said[0]["verdict"], said[1]["refused"]), ("VALID_RETIRED_KEY", "malformed"))
        self.assertEqual(self.run_command("a.evidence", data, str(self.directory / "none"), *genesis).returncode, 2)
        for arguments in ([], ["--genesis", "x"], [*genesis, "--witness-policy", str(self.directory / "bad")]):
            self.assertEqual(self.run_command("a.evidence", data, *arguments).returncode, 2)

    def test_a_succession(self):
        installation, key = Installation(), ServiceKey()
        genesis = ["--genesis", installation.genesis_digest, "--succession", "--output", "json"]
        first, second = (installation.generate("ring", key).encode() for _ in range(2))
        (self.directory / "second").write_bytes(second)
        done = self.run_command("first", first, str(self.directory / "second"), *genesis)
        self.assertEqual((done.returncode, json.loads(done.stdout)["holds"]), (0, True))
        done = self.run_command("third", second, str(self.directory / "first"), *genesis)
        self.assertEqual((done.returncode, json.loads(done.stdout)["refused"]), (5, "Sequence"))

    def test_a_refusal_does_not_steer_the_terminal(self):
        story = short()
        data = canonical(story.members() | {"\x1b[2J": 1}).encode()
        done = self.run_command("a.evidence", data, "--genesis", story.genesis_digest)
        self.assertEqual(done.returncode, 5)
        self.assertNotIn("\x1b", done.stdout)


if __name__ == "__main__":
    unittest.main()

"""Tests of transcripts and what they are made of: JSON, keys, signatures of people. All files are made here, with new keys."""

import json
import unittest

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from chancery_verifier import keys, shape, sshsig, tlog
from chancery_verifier.refusal import Malformed, Refused
from chancery_verifier.roster import Pin
from chancery_verifier.strict_json import read_canonical
from chancery_verifier.transcript import verify_transcript
from sample_files import (
    ALGORITHMS, ENVIRONMENT, SERVICE, Installation, Person, ServiceKey, armor, b64u, canonical, minute, sha256, ssh_string,
)  # fmt: skip

KINDS = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ssh-rsa", "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip


class Refusals(unittest.TestCase):
    def refused(self, word: str, call, *arguments, **named) -> str:
        with self.assertRaises(Refused) as caught:
            call(*arguments, **named)
        self.assertEqual(caught.exception.word, word, caught.exception.why)
        return caught.exception.why


class Json(unittest.TestCase):
    def test_one_spelling_is_read(self):
        for text in ('{"a":[1,-2,null,true,"é\\u0001\\n/"],"b":{}}', "9007199254740991", '{"€":1,"\U0001d11e":2,"\ufb33":3}'):
            self.assertEqual(read_canonical(text.encode()), json.loads(text))

    def test_every_other_spelling_is_refused(self):
        deep = "[" * 33 + "]" * 33
        cases = {
            "Duplicate": ['{"a":1,"a":1}', '{"a":1,"\\u0061":1}', '[{"b":{"a":1,"a":2}}]'],
            "Float": ["1.0", "1e2", "-0", "NaN", "-Infinity"],
            "Integer": ["9007199254740992", "-9007199254740992", "1" * 5000],
            "Depth": [deep, "[" * 100000],
            "Syntax": ["", "{", "[1,]", "01", "1 2", "'a'", "\ufeff1", '"\x01"', '"\\x"'],
            "Content": ['"\\ud800"', '{"\\udfff":1}'],
            "NotCanonical": ["[1, 2]", "1\n", '{"b":1,"a":2}', '"\\/"', '"\\u00e9"', '"\\u000A"', '{"\ufb33":3,"\U0001d11e":2}'],
        }
        for reason, texts in cases.items():
            for text in texts:
                with self.subTest(text[:30]), self.assertRaisesRegex(Malformed, f"^{reason}"):
                    read_canonical(text.encode())
        with self.assertRaisesRegex(Malformed, "^Syntax"):
            read_canonical(b'"\xff"')

    def test_brackets_in_strings_are_not_depth(self):
        text = json.dumps("[" * 100 + '"\\' + "{" * 100)
        self.assertEqual(read_canonical(text.encode()), json.loads(text))


    def test_base64url_has_one_spelling(self):
        self.assertEqual(shape.bytes_of_b64u("QQ"), b"A")
        for text in ("QR", "QQ==", "Q", "Q+Q", "é", 1):
            with self.assertRaises(Malformed):
                shape.bytes_of_b64u(text)


class ServiceKeys(unittest.TestCase):
    def test_keys_that_are_refused(self):
        encode = {"encoding": serialization.Encoding.DER, "format": serialization.PublicFormat.SubjectPublicKeyInfo}
        small = [rsa.generate_private_key(e, size).public_key().public_bytes(**encode) for e, size in ((3, 2048), (65537, 2056))]
        # The same RSA key under id-RSASSA-PSS (RFC 4055 section 3.1) in place of rsaEncryption with NULL.
        rsa_key = ServiceKey("RS256").spki
        tail = bytes.fromhex("300b06092a864886f70d01010a") + rsa_key[19:]
        pss = b"\x30\x82" + len(tail).to_bytes(2, "big") + tail
        neutral = bytes.fromhex("302a300506032b6570032100") + b"\1" + bytes(31)
        for der in (*small, pss, neutral, b"", ServiceKey().spki[:-1], rsa_key + b"\0"):
            with self.subTest(der.hex()), self.assertRaises(Malformed):
                keys.read_spki(der)


class PeoplesSignatures(Refusals):
    def test_every_kind_of_key_signs(self):
        for kind in KINDS:
            with self.subTest(kind):
                person = Person(kind)
                namespace = f"chancery/approve.v1@{SERVICE}/{ENVIRONMENT}"
                signature = person.sign("approve", "a body")
                self.assertEqual(sshsig.verify(signature, namespace, "a body").wire, person.wire)
                self.assertEqual(sshsig.read_key_text(person.public).wire, person.wire)
                self.refused("BadSignature", sshsig.verify, signature, namespace, "another body")
                self.refused("Namespace", sshsig.verify, signature, namespace + "x", "a body")

    def test_a_security_key_must_be_touched(self):
        person = Person("sk-ssh-ed25519@openssh.com")
        signature = person.sign("approve", "b", flags=4)
        self.refused("UserPresence", sshsig.verify, signature, f"chancery/approve.v1@{SERVICE}/{ENVIRONMENT}", "b")

    def test_armour_has_one_form(self):
        namespace, good = f"chancery/approve.v1@{SERVICE}/{ENVIRONMENT}", Person().sign("approve", "b")
        for bad in (good + "\n", good[:-1], " " + good, good.replace("\n", "\r\n"), good.replace("\n", "", 2), "", "x" * 9000):
            self.refused("Armor", sshsig.verify, bad, namespace, "b")
        self.refused("Malformed", sshsig.verify, armor(b"SSHSIG"), namespace, "b")
        blob = tlog.bytes_of_base64("".join(good.split("\n")[1:-2]))
        self.assertEqual(armor(blob), good)
        self.refused("Armor", sshsig.verify, armor(blob, 76), namespace, "b")
        self.refused("Malformed", sshsig.verify, armor(blob + b"\0"), namespace, "b")
        self.refused("Malformed", sshsig.verify, Person().sign("approve", "b", reserved="x"), namespace, "b")
        self.refused("Algorithm", sshsig.verify, Person().sign("approve", "b", sha="sha384"), namespace, "b")

    def test_keys_have_one_form(self):
        small_order = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        ]
        second_spelling = (2**255 - 19 + 3).to_bytes(32, "little").hex()
        bad = [ssh_string("ssh-ed25519") + ssh_string(bytes.fromhex(y)) for y in small_order + [second_spelling]]
        point = Person("ecdsa-sha2-nistp256").wire
        compressed = ssh_string("ecdsa-sha2-nistp256") + ssh_string("nistp256") + ssh_string(b"\2" + point[-64:-32])
        bad += [compressed, point + b"\0", Person().wire + b"\0", ssh_string("ssh-dss"), b"", point[:9]]
        for wire in bad:
            with self.subTest(wire.hex()), self.assertRaises(Malformed):
                sshsig.read_key(wire)


class Transcripts(Refusals):
    @classmethod
    def setUpClass(cls):
        cls.installation, cls.key = Installation(), ServiceKey()
        cls.pin = Pin(cls.installation.genesis_digest)

    def verify(self, transcript: str):
        return verify_transcript(transcript.encode(), self.pin)

    def generate(self, **changed) -> str:
        return self.installation.generate("ring", changed.pop("key", self.key), **changed)

    def test_every_algorithm_is_born(self):
        for algorithm in ALGORITHMS:
            key = ServiceKey(algorithm)
            ceremony = self.verify(self.generate(key=key))
            self.assertEqual((ceremony.kid, ceremony.key.spec, ceremony.ring), (key.kid, key.spec, "ring"))
            self.assertEqual((ceremony.approved, ceremony.accepted), (["grace", "mary"], ["grace", "mary"]))

    def test_every_kind_of_person_can_accept(self):
        installation = Installation(("ssh-ed25519", "ssh-rsa", "sk-ecdsa-sha2-nistp256@openssh.com"))
        transcript = installation.generate("ring", self.key)
        verify_transcript(transcript.encode(), Pin(installation.genesis_digest))

    def test_refusals_of_a_generation(self):
        flags = {flag: flag in ("token", "private", "sensitive", "sign") for flag in (
            "token", "private", "sensitive", "sign", "extractable", "modifiable", "decrypt", "unwrap", "derive")}  # fmt: skip
        self.verify(self.generate(order={"template": flags | {"modifiable": True}}))
        other = ServiceKey()
        cases = [
            ("Ceremony/NotApproved", "Waiting or Expired", {"approve": ["grace"]}),
            ("Ceremony/NotApproved", "Proposer", {"approve": ["ada", "grace"]}),
            ("Ceremony/NotApproved", "Again", {"approve": ["grace", "grace"]}),
            ("Ceremony/NotApproved", "Late", {"request": {"approve_by": minute(0)}}),
            ("Ceremony/NotApproved", "Expired", {"statement": {"executed_at": minute(601)}}),
            ("Ceremony/NotApproved", "Late", {"statement": {"executed_at": minute(0)}}),
            ("Ceremony/NotApproved", "Elsewhere", {"request": {"environment": "staging"}}),
            ("Ceremony/NotApproved", "Proposer", {"request": {"proposer": "eve"}}),
            ("Ceremony/NotApproved", "Sequence", {"request": {"sequence": 0}}),
            ("Ceremony/NotApproved", "Text", {"request": {"reason": "a\u200bb"}}),
            ("Ceremony/NotApproved", "Text", {"request": {"ticket": "\U000e0041"}}),
            ("Ceremony/NotApproved", "Order", {"request": {"created_at": minute(601)}}),
            ("Ceremony/NotApproved", "Unreadable", {"request": {"nonce": "0" * 31}}),
            ("Ceremony/NotApproved", "Roster", {"request": {"roster": {"version": 2, "digest": "0" * 64}}}),
            ("Ceremony/NotApproved", "KeySpec", {"order": {"key_spec": "P-384"}}),
            ("Ceremony/NotApproved", "Template", {"order": {"template": flags | {"extractable": True}}}),
            ("Ceremony/NotApproved", "Number", {"order": {"number": 0}}),
            ("Ceremony/OtherRecord", "record", {"statement": {"record_digest": "0" * 64}}),
            ("Ceremony/OtherRequest", "request", {"statement": {"request_digest": "0" * 64}}),
            ("Ceremony/Unreadable", "v", {"statement": {"v": 2}}),
            ("Ceremony/TooEarly", "before", {
                "request": {"created_at": minute(3)}, "statement": {"executed_at": minute(2)}}),
            ("Ceremony/OtherOutcome", "revoked", {"outcome": lambda _: {"revoked": {"kid": self.key.kid}}}),
            ("Ceremony/PublicKey", "SubjectPublicKeyInfo", {"generated": {"public_key": b64u(self.key.spki + b"\0")}}),
            ("Ceremony/KeyMismatch", "kid", {"generated": {"kid": other.kid}}),
            ("Ceremony/KeyMismatch", "spki_digest", {"generated": {"spki_digest": "0" * 64}}),
            ("Ceremony/Possession", "possession", {"generated": {"possession": b64u(b"\1" * 64)}}),
            ("Superfluous", "Proposer", {"accept": ["grace", "mary", "ada"]}),
            ("Superfluous", "Again", {"accept": ["grace", "mary", "mary"]}),
            ("NotAccepted", "1 acceptances of 2", {"accept": ["grace"]}),
            ("LogProofs", "empty", {"log_proofs": ["x"]}),
            ("Unreadable", "unknown", {"more": 1}),
        ]  # fmt: skip
        for word, why, changed in cases:
            with self.subTest(word=word, why=why):
                self.assertIn(why, self.refused(word, self.verify, self.generate(**changed)))

    def test_refusals_of_a_revocation(self):
        order = {"ring": "ring", "kid": self.key.kid, "number": 1, "reason": "compromised", "compromised_since": minute(0)}
        for change, why in (
            ({}, None), ({"number": 0}, "NumberZero"), ({"reason": "superseded"}, "CompromisedSince"),
            ({"compromised_since": None}, "CompromisedSince"), ({"compromised_since": minute(1)}, "Order"),
        ):  # fmt: skip
            request = self.installation.request({"revoke": order | change})
            transcript = self.installation.transcript(request, lambda _: {"revoked": {"kid": self.key.kid}})
            with self.subTest(change):
                if why is None:
                    self.assertEqual(self.verify(transcript).operation, "revoke")
                else:
                    self.assertIn(why, self.refused("Ceremony/NotApproved", self.verify, transcript))

    def test_who_does_not_count(self):
        for change, why in (({"active": False}, "Inactive"), ({"roles": ["on-call"]}, "Role"), ({}, None)):
            installation = Installation()
            installation.people["zoe"] = Person()
            installation.roster["members"].append(installation.member("zoe") | change)
            pin = Pin(installation.found())
            transcript = installation.generate("ring", self.key, approve=["grace", "zoe"]).encode()
            if why is None:
                self.assertEqual(verify_transcript(transcript, pin).approved, ["grace", "zoe"])
            else:
                self.assertIn(why, self.refused("Ceremony/NotApproved", verify_transcript, transcript, pin))

    def test_an_expired_roster(self):
        for expires_at, holds in ((minute(2), True), (minute(1), False)):
            installation = Installation()
            installation.roster["expires_at"] = expires_at
            pin, transcript = Pin(installation.found()), installation.generate("ring", self.key).encode()
            if holds:
                verify_transcript(transcript, pin)
            else:
                why = self.refused("Ceremony/NotApproved", verify_transcript, transcript, pin)
                self.assertIn("RosterExpired", why)

    def test_what_was_read_back_is_what_was_ordered(self):
        read_back = json.loads(json.loads(self.generate())["acceptance"]["statement"])["outcome"]["generated"]["read_back"]
        for change in ({"label": "x"}, {"local": False}, {"key_spec": "P-384"}, {"token_serial": "2"}):
            transcript = self.generate(generated={"read_back": read_back | change})
            self.refused("Ceremony/ReadBack", self.verify, transcript)

    def test_one_rejection_blocks(self):
        request = self.installation.request({"revoke": {
            "ring": "ring", "kid": self.key.kid, "number": 1, "reason": "superseded", "compromised_since": None}})  # fmt: skip
        for of, word in ((request, "Ceremony/NotApproved"), (request | {"nonce": "1" * 32}, None)):
            body = canonical({"v": 1, "reason": "no", "request_digest": sha256(canonical(of))})
            signature = self.installation.people["ada"].sign("reject", body)
            rejections = [{"body": body, "received_at": minute(1), "signature": signature}]
            transcript = self.installation.transcript(
                request, lambda _: {"revoked": {"kid": self.key.kid}}, record={"rejections": rejections}
            )
            if word:
                self.assertIn("Rejected", self.refused(word, self.verify, transcript))
            else:
                self.assertEqual(self.verify(transcript).operation, "revoke")

    def test_the_pin(self):
        transcript = self.generate().encode()
        self.refused("Chain/Genesis", verify_transcript, transcript, Pin("0" * 64))
        elsewhere = Pin(self.installation.genesis_digest, SERVICE, "production")
        self.refused("Chain/Elsewhere", verify_transcript, transcript, elsewhere)

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

    def test_a_point_off_its_curve_signs_nothing(self):
        person = Person("ecdsa-sha2-nistp256")
        person.wire = person.wire[:-1] + bytes([person.wire[-1] ^ 1])
        namespace = f"chancery/approve.v1@{SERVICE}/{ENVIRONMENT}"
        self.refused("BadSignature", sshsig.verify, person.sign("approve", "b"), namespace, "b")

    def test_a_genesis_that_is_impossible(self):
        def with_members(change) -> None:
            installation = Installation()
            members = [installation.member(who) for who in installation.people]
            change(members)
            roster = installation.roster | {"members": members}
            body = canonical({"v": 1, "roster": roster, "policy": installation.policy})
            installation.genesis = installation.signed("genesis", body, *installation.people)
            transcript = installation.generate("ring", self.key)
            verify_transcript(transcript.encode(), Pin(sha256(body)))

        def share(members):
            members[1]["keys"] = members[0]["keys"]

        self.refused("Chain/Roster", with_members, share)
        self.refused("Chain/Roster", with_members, lambda members: members[0].update(id="grace"))
        self.refused("Chain/Roster", with_members, lambda members: members[0].update(keys=[]))
        self.refused("Chain/Roster", with_members, lambda members: members[0].update(name=""))
        self.refused("Chain/Roster", with_members, lambda members: members[0].update(roles=["custodian"] * 2))
        self.refused("Chain/Signatures", with_members, lambda members: members[0]["keys"].append(
            {"kind": "ssh", "public": Person().public}))  # fmt: skip
        self.refused("Chain/Unreachable", with_members, lambda members: [m.update(roles=["on-call"]) for m in members[:2]])
        self.refused("Chain/Json", with_members, lambda members: members[0].update(extra=1))


if __name__ == "__main__":
    unittest.main()

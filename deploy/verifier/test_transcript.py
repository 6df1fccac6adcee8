"""Tests of transcripts and what they are made of: JSON, keys, signatures of people. All files are made here, with new keys."""

import json
import unittest

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from chancery_verifier import keys, shape, signatures, sshsig, tlog
from chancery_verifier.refusal import Malformed, Refused
from chancery_verifier.roster import Pin
from chancery_verifier.strict_json import read_canonical
from chancery_verifier.lines import verify_succession
from chancery_verifier.transcript import verify_transcript
from refusals import Refusals
from sample_files import (
    ALGORITHMS, ENVIRONMENT, SERVICE, TEMPLATES, Installation, Log, Person, ServiceKey, WrappingKey, armor, b64, b64u, by_passkey, canonical,
    location_of, minute, policy_text, sha256, ssh_string, token_place, tree_root, vault_place,
)  # fmt: skip

KINDS = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ssh-rsa", "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip




NO_NAMES = ("a b", " ", "a\u00a0b", "a\u1680b", "a\u2007b", "a\u202fb", "a\u205fb", "a\u3000b", "a+b")


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

    def test_a_point_off_its_curve_signs_nothing(self):
        person = Person("ecdsa-sha2-nistp256")
        person.wire = person.wire[:-1] + bytes([person.wire[-1] ^ 1])
        namespace = f"chancery/approve.v1@{SERVICE}/{ENVIRONMENT}"
        self.refused("BadSignature", sshsig.verify, person.sign("approve", "b"), namespace, "b")


class Values(unittest.TestCase):
    def test_open_words_and_subjects(self):
        kid = b64u(b"k" * 32)
        for reader, good, bad in (
            (shape.word, ("a", "a-1", "x" * 40), ("", "1a", "-a", "x" * 41, "A", "a_b", 1)),
            (shape.subject, (f"key/{kid}", "ring/a", "trust", "log", "order/" + "0" * 32, "tenant/a", "ca/a", "rotation-policy/jwt_signing"),
             ("", "ring", "ring/", "ring/A", "rotation-policy", "rotation-policy/A", "key/a", f"ring/{kid}!", "log/", "log/a", "trust/a", "other/a", "order/0", "ring/a/b", 1)),
        ):  # fmt: skip
            for value in good:
                self.assertEqual(reader(value), value)
            for value in bad:
                with self.subTest(value), self.assertRaises(Malformed):
                    reader(value)

    def test_the_lower_s_is_the_canonical_one(self):
        for algorithm in ALGORITHMS:
            key = ServiceKey(algorithm)
            public, signature = keys.read_spki(key.spki), key.sign(b"m")
            canonical_form = public.canonical_signature(signature)
            self.assertEqual(canonical_form, key.lower(signature))
            self.assertTrue(public.verifies(algorithm, b"m", canonical_form))
            if algorithm in ("ES256", "ES384"):
                self.assertEqual(public.canonical_signature(key.twin(signature)), canonical_form)
                self.assertTrue(public.verifies(algorithm, b"m", key.twin(signature)))
                for odd in (signature + b"1", b"", b"\xff" * len(signature)):
                    self.assertEqual(public.canonical_signature(odd), odd)


class Transcripts(Refusals):
    @classmethod
    def setUpClass(cls):
        cls.installation, cls.key = Installation(), ServiceKey()
        cls.pin = Pin(cls.installation.genesis_digest)

    def verify(self, transcript: str):
        return verify_transcript(transcript.encode(), self.pin)

    def generate(self, **changed) -> str:
        return self.installation.generate(changed.pop("ring", "ring"), changed.pop("key", self.key), **changed)

    def not_approved(self, why: str, transcript: str) -> None:
        self.assertIn(why, self.refused("Ceremony/NotApproved", self.verify, transcript))

    def each(self, cases: list, make) -> None:
        """Cases of a word, a part of why, and what is changed."""
        for word, why, changed in cases:
            with self.subTest(word=word, why=why, changed=str(changed)[:80]):
                self.assertIn(why, self.refused(word, self.verify, make(**changed)))


class Generations(Transcripts):
    def test_every_algorithm_is_born(self):
        for algorithm in ALGORITHMS:
            key = ServiceKey(algorithm)
            ceremony = self.verify(self.generate(key=key))
            self.assertEqual((ceremony.kid, ceremony.key.spec, ceremony.ring), (key.kid, key.spec, "ring"))
            self.assertEqual((ceremony.approved, ceremony.accepted), (["grace", "mary"], ["grace", "mary"]))
            self.assertEqual((ceremony.subjects, ceremony.possession), (["ring/ring"], "proven"))

    def test_every_kind_of_person_can_accept(self):
        installation = Installation(("ssh-ed25519", "ssh-rsa", "sk-ecdsa-sha2-nistp256@openssh.com"))
        transcript = installation.generate("ring", self.key)
        verify_transcript(transcript.encode(), Pin(installation.genesis_digest))

    def test_refusals(self):
        other = ServiceKey()
        self.each([
            ("Ceremony/NotApproved", "Waiting or Expired", {"approve": ["grace"]}),
            ("Ceremony/NotApproved", "Proposer", {"approve": ["ada", "grace"]}),
            ("Ceremony/NotApproved", "Again", {"approve": ["grace", "grace"]}),
            ("Ceremony/NotApproved", "Late", {"request": {"approve_by": minute(0)}}),
            ("Ceremony/NotApproved", "Expired", {"statement": {"executed_at": minute(601)}}),
            ("Ceremony/NotApproved", "Late", {"statement": {"executed_at": minute(0)}}),
            ("Ceremony/NotApproved", "Elsewhere", {"request": {"environment": "staging"}}),
            ("Ceremony/NotApproved", "Proposer", {"request": {"proposer": "eve"}}),
            ("Ceremony/NotApproved", "Proposer", {"request": {"proposer": None}}),
            ("Ceremony/NotApproved", "Text", {"request": {"reason": "a\u200bb"}}),
            ("Ceremony/NotApproved", "Text", {"request": {"ticket": "\U000e0041"}}),
            ("Ceremony/NotApproved", "Order", {"request": {"created_at": minute(601)}}),
            ("Ceremony/NotApproved", "Order", {"order": {"publish_at": minute(1)}}),
            ("Ceremony/NotApproved", "Order", {"order": {"activate_at": minute(601)}}),
            ("Ceremony/ReadBack", "RSA-2048 in place of RSA-3072", {
                "key": ServiceKey("PS256"), "order": {"purpose": {"sign": {"algorithm": "PS256", "key_spec": "RSA-3072"}}}}),
            ("Ceremony/NotApproved", "Unreadable", {"request": {"nonce": "0" * 31}}),
            ("Ceremony/NotApproved", "Roster", {"request": {"roster": {"version": 2, "digest": "0" * 64}}}),
            ("Ceremony/NotApproved", "Number", {"order": {"number": 0}}),
            ("Ceremony/NotApproved", "Number", {"order": {"predecessor": other.kid}}),
            ("Ceremony/NotApproved", "Predecessor", {
                "order": {"number": 2, "predecessor": other.kid},
                "request": {"lines": [{"subject": "ring/ring", "sequence": 1, "previous": None}]}}),
            ("Ceremony/OtherRecord", "record", {"statement": {"record_digest": "0" * 64}}),
            ("Ceremony/OtherRequest", "request", {"statement": {"request_digest": "0" * 64}}),
            ("Ceremony/Unreadable", "v", {"statement": {"v": 2}}),
            ("Ceremony/TooEarly", "before", {
                "request": {"created_at": minute(3)}, "statement": {"executed_at": minute(2)}}),
            ("Ceremony/OtherOutcome", "revoked", {"outcome": lambda _: {"revoked": {"kid": self.key.kid}}}),
            ("Ceremony/OtherOutcome", "destroyed", {"outcome": lambda _: {"destroyed": {"kids": [self.key.kid]}}}),
            ("Ceremony/Unreadable", "one member", {"outcome": lambda _: {"forgotten": {}}}),
            ("Ceremony/PublicKey", "SubjectPublicKeyInfo", {"public": {"public_key": b64u(self.key.spki + b"\0")}}),
            ("Ceremony/KeyMismatch", "kid", {"public": {"kid": other.kid}}),
            ("Ceremony/KeyMismatch", "spki_digest", {"public": {"spki_digest": "0" * 64}}),
            ("Ceremony/Possession", "possession", {"public": {"possession": b64u(b"\1" * 64)}}),
            ("Superfluous", "Proposer", {"accept": ["grace", "mary", "ada"]}),
            ("Superfluous", "Again", {"accept": ["grace", "mary", "mary"]}),
            ("NotAccepted", "1 acceptances of 2", {"accept": ["grace"]}),
            ("LogProofs", "empty", {"log_proofs": [{"leaf": "", "proof": ""}]}),
            ("LogProofs", "empty", {"log_keys": [""]}),
            ("Unreadable", "string", {"log_keys": [1]}),
            ("Unreadable", "unknown", {"more": 1}),
        ], self.generate)  # fmt: skip

    def test_usage_and_purpose_go_together(self):
        wrapping, log_key = WrappingKey(), ServiceKey("Ed25519")
        for good in ({"order": {"usage": "raw"}}, {"order": {"usage": "certificates"}}, {"key": wrapping}, {"ring": "log", "key": log_key}):
            self.verify(self.generate(**good))
        bad = [
            {"order": {"usage": "wrap"}}, {"order": {"usage": "log"}}, {"ring": "log", "order": {"usage": "raw"}},
            {"key": wrapping, "order": {"usage": "raw"}}, {"key": wrapping, "ring": "log"},
        ]  # fmt: skip
        self.each([("Ceremony/NotApproved", "Usage", changed) for changed in bad], self.generate)
        self.not_approved("Unreadable", self.generate(order={"usage": "other"}))
        sign, wrap = {"algorithm": "ES256", "key_spec": "P-384"}, {"algorithm": "A128KW", "key_spec": "AES-256"}
        self.not_approved("KeySpec", self.generate(order={"purpose": {"sign": sign}}))
        self.not_approved("Unreadable", self.generate(key=wrapping, order={"purpose": {"wrap": wrap}}))
        ordered = json.loads(json.loads(self.generate())["record"]["request"])["operation"]["generate"]
        request = self.installation.request({"generate": ordered | {"purpose": {"decrypt": sign}}})
        self.not_approved("Unreadable", self.installation.transcript(request, lambda _: {"revoked": {"kid": self.key.kid}}))

    def test_a_template_is_that_of_the_purpose(self):
        def place(purpose: str, **flags) -> dict:
            made = token_place("ring", purpose)
            return {"place": {"pkcs11": made["pkcs11"] | {"template": TEMPLATES[purpose] | flags}}}

        wrapping = WrappingKey()
        self.verify(self.generate(order=place("sign", modifiable=True)))
        self.verify(self.generate(key=wrapping, order=place("wrap", modifiable=True)))
        for purpose, key in (("sign", self.key), ("wrap", wrapping)):
            for flag, value in TEMPLATES[purpose].items():
                if flag != "modifiable":
                    with self.subTest(purpose=purpose, flag=flag):
                        changed = place(purpose, **{flag: not value})
                        self.not_approved("Template", self.generate(key=key, order=changed))
        for flag in ("encrypt", "wrap"):
            self.not_approved("Template", self.generate(order=place("sign", **{flag: False})))
        self.not_approved("Template", self.generate(key=wrapping, order=place("wrap", encrypt=None)))
        self.refused("Ceremony/Unreadable", self.verify, self.generate(order=place("sign", sign=None)))

    def test_a_key_in_a_vault(self):
        for key in (self.key, ServiceKey("RS256"), WrappingKey()):
            self.verify(self.generate(key=key, order={"place": vault_place()}))
        for name, value in (("vault", "v" * 254), ("name", ""), ("tag", "a\u200b")):
            place = {"key-vault": vault_place()["key-vault"] | {name: value}}
            self.not_approved("Text", self.generate(order={"place": place}))

    def test_an_unknown_kind_of_place_is_not_read(self):
        known = json.loads(self.generate())
        order = json.loads(known["record"]["request"])["operation"]["generate"]
        for place in ({"floppy": {}}, {}, order["place"] | vault_place()):
            request = self.installation.request({"generate": order | {"place": place}})
            transcript = self.installation.transcript(request, lambda _: {"revoked": {"kid": self.key.kid}})
            self.not_approved("Unreadable", transcript)
        for name in ("location", "read_back"):
            self.refused("Ceremony/Unreadable", self.verify, self.generate(generated={name: {"floppy": {}}}))

    def test_what_was_read_back_is_what_was_ordered(self):
        def stated(place: dict, key) -> dict:
            transcript = self.generate(key=key, order={"place": place})
            return json.loads(json.loads(transcript)["acceptance"]["statement"])["outcome"]["generated"]

        other = {"pkcs11": "key-vault", "key-vault": "pkcs11"}
        places = {"pkcs11": token_place("ring"), "key-vault": vault_place()}
        changes = {
            "location": {
                "pkcs11": ({"label": "x"}, {"token_serial": "2"}, {"token_label": "x"}, {"cka_id": "2" * 32}),
                "key-vault": ({"vault": "x"}, {"name": "x"}, {"version": ""}, {"version": "v" * 65}),
            },
            "read_back": {
                "pkcs11": (
                    {"local": False}, {"always_sensitive": False}, {"never_extractable": False}, {"key_spec": "P-384"},
                    {"template": TEMPLATES["sign"] | {"modifiable": True}}, {"template": TEMPLATES["wrap"]},
                ),
                "key-vault": (
                    {"enabled": False}, {"exportable": True}, {"hardware": False}, {"key_spec": "EC"}, {"tag": "x"},
                    {"key_ops": ["sign"]}, {"key_ops": ["verify", "sign"]}, {"key_ops": ["unwrapKey", "wrapKey"]}, {"key_ops": []},
                ),
            },
        }  # fmt: skip
        for kind, place in places.items():
            good, elsewhere = stated(place, self.key), stated(places[other[kind]], self.key)
            for part, of_kind in changes.items():
                for change in of_kind[kind]:
                    made = {part: {kind: good[part][kind] | change}}
                    with self.subTest(kind=kind, change=change):
                        self.refused("Ceremony/ReadBack", self.verify, self.generate(order={"place": place}, generated=made))
                made = {part: elsewhere[part]}
                self.refused("Ceremony/ReadBack", self.verify, self.generate(order={"place": place}, generated=made))
            swapped = {"location": elsewhere["location"], "read_back": elsewhere["read_back"]}
            self.refused("Ceremony/ReadBack", self.verify, self.generate(order={"place": place}, generated=swapped))

    def test_the_locations_of_two_keys_swapped(self):
        places = [token_place("ring"), token_place("ring")]
        places[1]["pkcs11"] |= {"cka_id": "2" * 32}
        for place, other in (places, places[::-1]):
            self.verify(self.generate(order={"place": place}))
            swapped = self.generate(order={"place": place}, generated={"location": location_of(other)})
            self.refused("Ceremony/ReadBack", self.verify, swapped)

    def test_a_wrapping_key_states_its_check_value(self):
        key = WrappingKey()
        ceremony = self.verify(self.generate(ring="kek", key=key))
        self.assertEqual((ceremony.possession, ceremony.key), ("stated", None))
        other = WrappingKey()
        other.secret = b"o" * 32
        order = {"number": 1, "ring": "kek"}
        cases = [
            ("Ceremony/KeyMismatch", "challenge", {"public": {"challenge": "0" * 64}}),
            ("Ceremony/KeyMismatch", "kid", {"public": {"check_value": other.stated(order)["check_value"]}}),
            ("Ceremony/KeyMismatch", "kid", {"public": {"kid": other.stated(order)["kid"]}}),
            ("Ceremony/KeyMismatch", "challenge", {"public": key.stated(order | {"ring": "other"})}),
            ("Ceremony/KeyMismatch", "challenge", {"public": key.stated(order | {"number": 2})}),
            ("Ceremony/OtherOutcome", "purpose", {"generated": {"key": {"public": {
                "kid": self.key.kid, "spki_digest": sha256(self.key.spki), "public_key": b64u(self.key.spki), "possession": ""}}}}),
            ("Ceremony/Unreadable", "one member", {"generated": {"key": {"secret": {}}}}),
        ]  # fmt: skip
        self.each(cases, lambda **changed: self.generate(ring="kek", key=key, **changed))
        check = {"key": {"check": key.stated({"number": 1, "ring": "ring"})}}
        self.refused("Ceremony/OtherOutcome", self.verify, self.generate(generated=check))


class Operations(Transcripts):
    def ordered_key(self, **changed) -> dict:
        locations = [location_of(token_place("ring"))]
        return {"kid": self.key.kid, "locations": locations, "number": 1, "ring": "ring"} | changed

    def test_a_revocation(self):
        order = {"ring": "ring", "kid": self.key.kid, "number": 1, "reason": "compromised", "compromised_since": minute(0)}
        for change, why in (
            ({}, None), ({"number": 0}, "NumberZero"), ({"reason": "superseded"}, "CompromisedSince"),
            ({"compromised_since": None}, "CompromisedSince"), ({"compromised_since": minute(1)}, "Order"),
            ({"reason": "other"}, "Unreadable"),
        ):  # fmt: skip
            request = self.installation.request({"revoke": order | change})
            transcript = self.installation.transcript(request, lambda _: {"revoked": {"kid": self.key.kid}})
            with self.subTest(change):
                if why is None:
                    ceremony = self.verify(transcript)
                    self.assertEqual((ceremony.subjects, ceremony.possession), ([f"key/{self.key.kid}"], None))
                else:
                    self.not_approved(why, transcript)
        other = self.installation.transcript(
            self.installation.request({"revoke": order}), lambda _: {"revoked": {"kid": b64u(b"o" * 32)}}
        )
        self.refused("Ceremony/OtherOutcome", self.verify, other)

    def test_a_destruction_of_many(self):
        keys = [self.ordered_key(kid=b64u(bytes([number]) * 32), ring=f"r{number}") for number in range(101)]
        keys.sort(key=lambda key: key["kid"])
        in_vault = location_of(vault_place())
        vault = self.ordered_key(locations=[in_vault])
        destroy = self.installation.destroy
        for good in (keys[:1], keys[:100], [vault]):
            ceremony = self.verify(destroy(*good))
            self.assertEqual(ceremony.subjects, [f"key/{key['kid']}" for key in good])
        kids = [key["kid"] for key in keys[:2]]
        for bad, why in (
            ([], "Keys"), (keys, "Keys"), ([keys[1], keys[0]], "Keys"), ([keys[0]] * 2, "Keys"),
            ([self.ordered_key(number=0)], "NumberZero"), ([self.ordered_key(locations=[{"floppy": {}}])], "Unreadable"),
            ([self.ordered_key(locations=[{"pkcs11": in_vault["key-vault"]}])], "Unreadable"),
            ([self.ordered_key(locations=[{"key-vault": in_vault["key-vault"] | {"version": ""}}])], "Text"),
        ):  # fmt: skip
            with self.subTest(why=why):
                self.not_approved(why, destroy(*bad))
        for said in (kids[:1], kids[::-1], kids + kids[:1], []):
            changed = self.installation.later({"destroy": {"keys": keys[:2]}}, {"destroyed": {"kids": said}})
            self.refused("Ceremony/OtherOutcome", self.verify, changed)

    def test_a_destruction_of_every_copy(self):
        token = location_of(token_place("ring"))["pkcs11"]
        copies = [{"pkcs11": token | {"cka_id": f"{number:032x}"}} for number in range(17)]
        destroy, in_vault = self.installation.destroy, location_of(vault_place())
        for good in (copies[:16], copies[1::-1], [copies[0], in_vault]):
            self.verify(destroy(self.ordered_key(locations=good)))
        for bad, why in (
            ([], "Keys"), (copies, "Keys"), ([copies[0]] * 2, "Keys"), ([*copies[:2], copies[0]], "Keys"), ([in_vault] * 2, "Keys"),
            ([copies[0], {"pkcs11": token | {"label": "a\u200b"}}], "Text"), ([copies[0], {"floppy": {}}], "Unreadable"),
            (copies[0], "Unreadable"), (None, "Unreadable"),
        ):  # fmt: skip
            with self.subTest(bad):
                self.not_approved(why, destroy(self.ordered_key(locations=bad)))
        self.not_approved("Keys", destroy(self.ordered_key(kid=b64u(b"a" * 32)), self.ordered_key(kid=b64u(b"b" * 32), locations=[])))
        before = self.ordered_key(location=copies[0])
        del before["locations"]
        self.not_approved("Unreadable", destroy(before))

    def test_a_correction_of_the_clock(self):
        correct = self.installation.correct
        self.assertEqual(self.verify(correct(3, 3, minute(400))).subjects, ["log"])
        self.not_approved("Range", correct(4, 3, minute(300)))
        self.not_approved("Order", correct(3, 4, minute(401)))
        for outcome in ({"first": 2}, {"last": 5}, {"bound": minute(299)}, {"origin": "other"}):
            self.refused("Ceremony/OtherOutcome", self.verify, correct(3, 4, minute(300), outcome))
        self.verify(correct(3, 3, minute(400), origin="x" * 200))
        for origin in ("", "x" * 201, "a\u200b"):
            self.not_approved("Text", correct(3, 3, minute(400), origin=origin))
        for origin in NO_NAMES:
            self.not_approved("Origin", correct(3, 3, minute(400), origin=origin))
        self.not_approved("Text", correct(3, 3, minute(400), origin="a +\u200b"))
        self.not_approved("Unreadable", correct(3, 3, minute(400), {"origin": "o"}, origin=None))
        nowhere = {"first": 3, "last": 3, "bound": minute(400)}
        self.not_approved("Unreadable", self.installation.later({"clock-correction": nowhere}, {"destroyed": {"kids": []}}))
        somewhere = nowhere | {"origin": "o"}
        self.refused("Ceremony/Unreadable", self.verify, self.installation.later({"clock-correction": somewhere}, {"corrected": nowhere}))

    def test_a_rotation_policy(self):
        policy = self.installation.set_policy
        self.assertEqual(self.verify(policy()).subjects, ["rotation-policy/signing"])
        self.verify(policy({"document": policy_text(2, deviations=[{"until": minute(1)}])}))
        self.verify(policy({"version": 9, "document": policy_text(9)}))
        for order in (
            {"version": 1}, {"version": 1, "document": policy_text(1)}, {"replaces": policy_text(0)}, {"replaces": policy_text(3)},
            {"version": 3}, {"document": policy_text(3)}, {"replaces": policy_text(2)}, {"key_type": "api_key"}, {"document": "[]"},
            {"document": policy_text(2) + " "}, {"document": policy_text(2, "9" * 16384)}, {"replaces": ""}, {"replaces": policy_text(True)},
        ):  # fmt: skip
            with self.subTest(order):
                self.not_approved("RotationPolicy", policy(order))
        self.not_approved("Unreadable", policy({"key_type": "Signing"}, {"key_type": "signing"}))
        for outcome in ({"digest": "0" * 64}, {"key_type": "api_key"}, {"version": 3}):
            self.refused("Ceremony/OtherOutcome", self.verify, policy(outcome=outcome))

    def test_a_new_origin(self):
        key = ServiceKey("Ed25519")
        log = Log(key, "old.example.org/log")
        for number in range(5):
            log.append({"number": number})
        move, order = self.installation.move, log.succeeded_by("new.example.org/log", 3)
        self.assertEqual(self.verify(move(order)).subjects, ["log"])
        self.verify(move(log.succeeded_by("new.example.org/log")))
        none, all_lost = log.succeeded_by("n", 5), log.succeeded_by("n", 0)

        def of_size(size) -> str:
            return log.checkpoint().replace("\n5\n", f"\n{size}\n")

        self.verify(move(all_lost))
        for change, why in (
            ({"size": 4}, "Range"), ({"size": 5}, "Range"), ({"lost": None}, "Range"), ({"lost": {"first": 3, "last": 5}}, "Range"),
            ({"lost": {"first": 2, "last": 4}}, "Range"), (none | {"size": 6}, "Range"), (none | {"lost": {"first": 5, "last": 4}}, "Range"),
            ({"origin": "old.example.org/log"}, "Origin"), ({"previous_origin": "other"}, "Origin"),
            ({"previous_checkpoint": ""}, "Origin"), ({"previous_checkpoint": log.checkpoint(extension="x\n")}, "Origin"),
            ({"previous_checkpoint": order["previous_checkpoint"] + "x"}, "Origin"), ({"origin": ""}, "Text"), ({"origin": "x" * 201}, "Text"),
            ({"previous_checkpoint": of_size(2**63)}, "Origin"), ({"previous_checkpoint": of_size(2**63 - 1)}, "Range"),
            ({"previous_checkpoint": of_size("05")}, "Origin"),
        ):  # fmt: skip
            with self.subTest(change):
                self.not_approved(why, move(order | change))
        for name in NO_NAMES:
            self.not_approved("Origin", move(order | {"origin": name}))
            old = Log(key, name)
            old.leaves = log.leaves
            self.not_approved("Origin", move(old.succeeded_by("n", 3)))
        self.not_approved("Text", move(order | {"origin": "a b", "previous_origin": "\u200b"}))
        other = {"root": "0" * 64}
        self.verify(move(order | other))  # of some leaves only the log can tell
        self.not_approved("Range", move(none | other))
        self.not_approved("Range", move(all_lost | other))
        empty = Log(key, log.origin).succeeded_by("n")
        self.verify(move(empty))
        zeros = {"previous_checkpoint": empty["previous_checkpoint"].replace(b64(tree_root([])), b64(bytes(32)))}
        for root in (empty["root"], "0" * 64):
            self.not_approved("Range", move(empty | zeros | {"root": root}))
        for root in (None, "", "A" * 64):
            self.not_approved("Unreadable", move(order | {"root": root}, {"root": order["root"]}))
        for outcome in ({"origin": "other"}, {"size": 4}, other):
            self.refused("Ceremony/OtherOutcome", self.verify, move(order, outcome))

    def test_an_unknown_operation_is_not_read(self):
        generate = json.loads(json.loads(self.generate())["record"]["request"])["operation"]
        for operation in ({"relocate": {}}, {}, generate | {"relocate": {}}, {"generate": None}, "generate", None):
            request = self.installation.request(generate) | {"operation": operation}
            transcript = self.installation.transcript(request, lambda _: {"revoked": {"kid": self.key.kid}})
            with self.subTest(operation):
                self.not_approved("Unreadable", transcript)


class Lines(Transcripts):
    def test_a_request_stands_on_the_lines_of_its_subjects(self):
        good = {"subject": "ring/ring", "sequence": 2, "previous": "0" * 64}
        self.verify(self.generate(request={"lines": [good]}))
        for lines, why in (
            ([], "Lines"), ([good, good], "Lines"), ([good | {"subject": "ring/other"}], "Lines"), ([good | {"subject": "log"}], "Lines"),
            ([good | {"subject": "other"}], "Unreadable"), ([good | {"sequence": 0}], "Sequence"), ([good | {"sequence": 1}], "Sequence"),
            ([good | {"previous": None}], "Sequence"), ([good | {"more": 1}], "Unreadable"),
            ([good | {"sequence": 0, "previous": None}], "Sequence"),
        ):  # fmt: skip
            with self.subTest(lines):
                self.not_approved(why, self.generate(request={"lines": lines}))

    def test_the_lines_of_a_destruction_are_in_the_order_of_its_keys(self):
        place = location_of(token_place("ring"))
        keys = [{"kid": b64u(byte * 32), "locations": [place], "number": 1, "ring": "ring"} for byte in (b"a", b"b")]
        lines = [{"subject": f"key/{key['kid']}", "sequence": 1, "previous": None} for key in keys]
        kids = {"destroyed": {"kids": [key["kid"] for key in keys]}}
        for order, why in ((lines, None), (lines[::-1], "Lines"), (lines[:1], "Lines"), (lines + lines[:1], "Lines")):
            transcript = self.installation.later({"destroy": {"keys": keys}}, kids, request={"lines": order})
            if why is None:
                self.verify(transcript)
            else:
                self.not_approved(why, transcript)

    def test_a_request_of_one_subject_is_worth_nothing_on_another(self):
        """The signatures are of these bytes: with another ring, or another line, they are of something else."""
        file = json.loads(self.generate(ring="one"))
        self.verify(canonical(file))
        for name, other in (("ring/one", "ring/two"), ('"ring":"one"', '"ring":"two"')):
            replayed = json.loads(canonical(file))
            replayed["record"]["request"] = replayed["record"]["request"].replace(name, other)
            self.refused("Ceremony/OtherRecord", self.verify, canonical(replayed))
            statement = json.loads(replayed["acceptance"]["statement"])
            statement |= {"record_digest": sha256(canonical(replayed["record"]))}
            statement |= {"request_digest": sha256(replayed["record"]["request"])}
            replayed["acceptance"] |= self.installation.signed("accept", canonical(statement), "grace", "mary")
            replayed["acceptance"]["statement"] = replayed["acceptance"].pop("body")
            self.refused("Ceremony/NotApproved", self.verify, canonical(replayed))
        both = json.loads(file["record"]["request"].replace("ring/one", "ring/two").replace('"ring":"one"', '"ring":"two"'))
        self.not_approved("Proposal", self.installation.transcript(
            both, lambda _: {"revoked": {"kid": self.key.kid}}, record={"proposal": file["record"]["proposal"]}))  # fmt: skip
        self.not_approved("BadSignature", self.installation.transcript(
            both, lambda _: {"revoked": {"kid": self.key.kid}}, record={"approvals": file["record"]["approvals"]}))  # fmt: skip

    def test_transcripts_follow_each_other(self):
        installation = Installation()
        pin = Pin(installation.genesis_digest)

        def born(ring: str, **request):
            return verify_transcript(installation.generate(ring, self.key, request=request).encode(), pin)

        one, other, two = born("one"), born("two"), born("one")
        verify_succession([one, other, two])
        verify_succession([other, one, two])
        self.refused("Sequence", verify_succession, [two])
        self.refused("Sequence", verify_succession, [one, one])
        self.refused("Sequence", verify_succession, [two, one])
        again = born("one", nonce=one.request["nonce"])
        self.refused("Nonce", verify_succession, [one, other, two, again])
        line = {"subject": "ring/one", "sequence": 3, "previous": one.digest}
        self.refused("Previous", verify_succession, [one, two, born("one", lines=[line])])
        elsewhere = born("one", lines=[line | {"previous": two.digest}])
        elsewhere.chain_digests[0] = "0" * 64
        self.refused("Chain", verify_succession, [one, two, elsewhere])


class Votes(Transcripts):
    def revocation(self, request=None, **changed) -> str:
        order = {"ring": "ring", "kid": self.key.kid, "number": 1, "reason": "superseded", "compromised_since": None}
        request = request or self.installation.request({"revoke": order})
        return self.installation.transcript(request, lambda _: {"revoked": {"kid": self.key.kid}}, **changed)

    def request_of(self, transcript: str) -> dict:
        return json.loads(json.loads(transcript)["record"]["request"])

    def test_the_proposer_signs(self):
        installation, request = self.installation, self.request_of(self.revocation())
        body = canonical(request)
        for proposal, why in (
            (installation.received("ada", "propose", body), None),
            (installation.received("ada", "propose", body, 500), None),
            (None, "Proposal"),
            (installation.received("grace", "propose", body), "Proposal"),
            (installation.received("ada", "approve", body), "Proposal"),
            (installation.received("ada", "propose", body + " "), "Proposal"),
            ({"received_at": minute(1), "signature": by_passkey()}, "Proposal"),
        ):
            transcript = self.revocation(request, record={"proposal": proposal})
            with self.subTest(why=why):
                if why is None:
                    self.verify(transcript)
                else:
                    self.not_approved(why, transcript)

    def test_who_may_propose(self):
        for role, why in (("operator", None), ("on-call", None), ("archivist", None), ("executor", "Proposer")):
            installation = Installation()
            installation.join("zoe", role)
            transcript = installation.generate("ring", self.key, request={"proposer": "zoe"}).encode()
            pin = Pin(installation.genesis_digest)
            if why is None:
                verify_transcript(transcript, pin)
            else:
                self.assertIn(why, self.refused("Ceremony/NotApproved", verify_transcript, transcript, pin))

    def test_a_use_or_a_result_without_its_standing_order_is_refused(self):
        order = {"id": "0" * 32, "use": 1}
        self.not_approved("Order", self.generate(request={"proposer": None, "order": order}, record={"proposal": None}))
        self.not_approved("Proposer", self.generate(request={"order": order}))
        for use, why in ((1, "Order"), (2**32 - 1, "Order"), (0, "Unreadable"), (2**32, "Unreadable"), ("1", "Unreadable"), (None, "Unreadable")):
            asked = {"proposer": None, "order": order | {"use": use}}
            self.not_approved(why, self.generate(request=asked, record={"proposal": None}))
        self.not_approved("Order", self.generate(record={"order": "{}"}))
        result = self.installation.sign("grace", "result", "{}")
        self.refused("Ceremony/Order", self.verify, self.generate(acceptance={"result": result}))

    def test_a_passkey_is_read_and_not_counted_without_a_relying_party(self):
        request = self.request_of(self.revocation())
        body, passkey = canonical(request), {"received_at": minute(1), "signature": by_passkey()}
        approvals = [self.installation.received(who, "approve", body) for who in ("grace", "mary")]
        self.verify(self.revocation(request, record={"approvals": [passkey, *approvals]}))
        self.not_approved("NotUsed", self.revocation(request, record={"approvals": [passkey, approvals[0]]}))
        rejection = self.installation.refusal("grace", "reject", request)
        self.verify(self.revocation(request, record={"rejections": [rejection | passkey]}))
        file = json.loads(self.revocation())
        file["acceptance"]["signatures"].append(by_passkey())
        self.assertIn("NotUsed", self.refused("Superfluous", self.verify, canonical(file)))

    def test_other_kinds_of_signatures_are_not_read(self):
        good = by_passkey()
        cases = [
            good | {"kind": "pgp"}, good | {"more": ""}, good | {"signature": "="}, {"kind": "ssh"}, {"signature": "x"}, "x", None,
            {"kind": "ssh", "signature": 1}, {"kind": "ssh"} | good | {"kind": "ssh"}, {"kind": ["ssh"], "signature": "x"},
        ]  # fmt: skip
        for signature in cases:
            file = json.loads(self.revocation())
            file["acceptance"]["signatures"].append(signature)
            with self.subTest(signature):
                self.refused("Unreadable", self.verify, canonical(file))
        with self.assertRaises(Refused) as refused:
            signatures.verify(good, "chancery/approve.v1@a/b", "x")
        self.assertEqual(refused.exception.word, "Kind")

    def test_one_rejection_blocks(self):
        request = self.request_of(self.revocation())
        for who, purpose, of, blocks in (
            ("ada", "reject", request, True), ("grace", "reject", request, True), ("ada", "cancel", request, False),
            ("ada", "reject", request | {"nonce": "f" * 32}, False),
        ):  # fmt: skip
            rejections = [self.installation.refusal(who, purpose, of)]
            transcript = self.revocation(request, record={"rejections": rejections})
            if blocks:
                self.not_approved("Rejected", transcript)
            else:
                self.assertEqual(self.verify(transcript).operation, "revoke")

    def test_only_the_proposer_cancels(self):
        request = self.request_of(self.revocation())
        broken = self.installation.refusal("ada", "cancel", request) | {"body": "{}"}
        for cancellation, blocks in (
            (self.installation.refusal("ada", "cancel", request), True),
            (self.installation.refusal("grace", "cancel", request), False),
            (self.installation.refusal("ada", "reject", request), False),
            (self.installation.refusal("ada", "cancel", request | {"nonce": "f" * 32}), False),
            (broken, False),
        ):
            transcript = self.revocation(request, record={"cancellations": [cancellation]})
            if blocks:
                self.not_approved("Cancelled", transcript)
            else:
                self.verify(transcript)

    def test_a_proposer_who_is_no_custodian_cancels_and_does_not_reject(self):
        installation = Installation()
        installation.join("zoe", "operator")
        pin = Pin(installation.genesis_digest)
        for name, purpose, standing in (("cancellations", "cancel", "Cancelled"), ("rejections", "reject", None)):
            request = installation.request({"revoke": {
                "ring": "r", "kid": self.key.kid, "number": 1, "reason": "superseded", "compromised_since": None}}, proposer="zoe")  # fmt: skip
            record = {name: [installation.refusal("zoe", purpose, request)]}
            transcript = installation.transcript(request, lambda _: {"revoked": {"kid": self.key.kid}}, record=record).encode()
            if standing is None:
                verify_transcript(transcript, pin)
            else:
                self.assertIn(standing, self.refused("Ceremony/NotApproved", verify_transcript, transcript, pin))

    def test_suspensions(self):
        installation = Installation()
        installation.join("zoe")
        installation.join("eve", "operator")
        installation.join("max", active=False)
        pin, who = Pin(installation.genesis_digest), {"approve": ["mary", "zoe"], "accept": ["mary", "zoe"]}
        other_roster = {"version": 1, "digest": "0" * 64}
        cases = [
            (("grace", "grace"), {}, True), (("grace", "mary", "zoe"), {}, True), (("grace", "mary"), {}, False),
            (("grace", "eve", "mary"), {}, False), (("grace", "mary", "mary"), {}, False), (("grace", "max", "mary"), {}, False),
            (("grace",), {}, False), (("grace", "grace"), {"roster": other_roster}, False), (("grace", "grace"), {"v": 2}, False),
            (("grace", "ada", "mary"), {}, True),
        ]  # fmt: skip
        for (member, *signers), changed, holds in cases:
            with self.subTest(member=member, signers=signers, changed=changed):
                record = {"suspensions": [installation.suspension(member, *signers, **changed)]}
                # Without a suspension that holds, who is suspended approves; with one, does not count.
                makes = dict(approve=["grace", "mary"], accept=["mary", "zoe"], record=record)
                transcript = installation.generate("ring", self.key, **makes).encode()
                if holds:
                    why = self.refused("Ceremony/NotApproved", verify_transcript, transcript, pin)
                    self.assertIn("Suspended", why)
                    verify_transcript(installation.generate("ring", self.key, record=record, **who).encode(), pin)
                else:
                    verify_transcript(transcript, pin)
        suspended = {"record": {"suspensions": [installation.suspension("grace", "grace")]}}
        accepts = installation.generate("ring", self.key, approve=who["approve"], accept=["grace", "mary"], **suspended)
        self.assertIn("Suspended", self.refused("Superfluous", verify_transcript, accepts.encode(), pin))
        proposes = installation.generate("ring", self.key, request={"proposer": "grace"}, **who, **suspended)
        self.assertIn("Proposer", self.refused("Ceremony/NotApproved", verify_transcript, proposes.encode(), pin))

    def test_a_suspended_member_may_reject(self):
        request = self.request_of(self.revocation())
        record = {
            "suspensions": [self.installation.suspension("mary", "mary")],
            "rejections": [self.installation.refusal("mary", "reject", request)],
        }
        self.not_approved("Rejected", self.revocation(request, record=record))

    def test_who_does_not_count(self):
        for roles, change, why in (
            ((), {"active": False}, "Inactive"), (("on-call",), {}, "Role"), (("executor",), {}, "Role"), (("archivist",), {}, "Role"),
            ((), {}, None), (("custodian", "archivist"), {}, None),
        ):  # fmt: skip
            installation = Installation()
            installation.join("zoe", *roles, **change)
            pin = Pin(installation.genesis_digest)
            transcript = installation.generate("ring", self.key, approve=["grace", "zoe"]).encode()
            if why is None:
                self.assertEqual(verify_transcript(transcript, pin).approved, ["grace", "zoe"])
            else:
                self.assertIn(why, self.refused("Ceremony/NotApproved", verify_transcript, transcript, pin))

    def test_the_pin(self):
        transcript = self.generate().encode()
        self.refused("Chain/Genesis", verify_transcript, transcript, Pin("0" * 64))
        elsewhere = Pin(self.installation.genesis_digest, SERVICE, "production")
        self.refused("Chain/Elsewhere", verify_transcript, transcript, elsewhere)


class Tampering(Transcripts):
    def test_no_byte_can_be_changed(self):
        """Of each operation, and each kind of place and key. By hand: EVERY_BYTE=1."""
        log = Log(ServiceKey("Ed25519"))
        log.append({"number": 0})
        place = location_of(vault_place())
        order = {"kid": self.key.kid, "locations": [place, location_of(token_place("ring"))], "number": 1, "ring": "ring"}
        files = [
            self.generate(key=WrappingKey()), self.generate(order={"place": vault_place()}), self.installation.destroy(order),
            self.installation.correct(1, 2, minute(1)), self.installation.move(log.succeeded_by("new", 0)),
            self.generate(record={"suspensions": [self.installation.suspension("ada", "grace")]}),
        ]  # fmt: skip
        for file in files:
            self.assert_every_byte_counts(file.encode(), lambda data: verify_transcript(data, self.pin))


if __name__ == "__main__":
    unittest.main()

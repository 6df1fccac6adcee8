"""Passkeys as a second kind of signer: docs/TRANSCRIPT.md section 4a."""

import unittest

from chancery_verifier.roster import Pin
from chancery_verifier.transcript import verify_transcript
from refusals import Refusals
from sample_files import Installation
from sample_passkeys import passkeys


def _base() -> Installation:
    installation = Installation()
    for who, *roles in (("zoe",), ("eve", "operator"), ("max", "executor")):
        installation.join(who, *roles)
    return installation


class Passkeys(Refusals):
    @classmethod
    def setUpClass(cls) -> None:
        base = _base()
        cls.pin = Pin(base.genesis_digest)
        cls.files = {name: text.encode() for name, text in passkeys(base)}

    def hold(self, *names: str) -> None:
        for name in names:
            with self.subTest(name):
                verify_transcript(self.files[name], self.pin)

    def refuse(self, word: str, why: str, *names: str) -> None:
        for name in names:
            with self.subTest(name):
                self.assertIn(why, self.refused(word, verify_transcript, self.files[name], self.pin))

    def not_approved(self, why: str, *names: str) -> None:
        self.refuse("Ceremony/NotApproved", why, *names)

    def test_a_passkey_counts_beside_a_key_that_is_none(self):
        self.hold("none", "approve-one", "approve-twice", "accept-one", "approve-all-and-a-key", "roster-rs256")

    def test_all_signatures_by_passkey(self):
        self.not_approved("1 of 2 approvals are missing []", "approve-all")
        self.refuse("NotAccepted", "2 acceptances of 2", "accept-all")

    def test_a_member_with_both_kinds_counts_once(self):
        self.not_approved("Again: grace", "approve-both-of-one", "approve-both-of-one-first")
        self.refuse("Superfluous", "Again", "accept-both-of-one", "accept-both-of-one-first", "accept-all-and-a-key", "accept-twice")

    def test_what_takes_no_passkey(self):
        self.hold("destroy-ssh", "generate-raw-False", "generate-sealed-False", "generate-structured-False")
        self.not_approved("Kind", "destroy-passkey", "proposal")
        firsts = (f"generate-{usage}-True" for usage in ("structured", "raw", "sealed"))
        self.refuse("Superfluous", "Kind", *firsts, "generate-certificates-False")
        self.hold("suspension", "refuse-cancel")

    def test_a_passkey_is_enough_to_reject(self):
        self.not_approved("Rejected: by grace", "refuse-reject")
        self.hold("refuse-reject-approves")

    def test_wrong_origin(self):
        self.not_approved("Passkey: Origin", "said-origin")

    def test_wrong_rp_id(self):
        self.not_approved("Passkey: RpId", "said-rp-id")

    def test_no_user_verification(self):
        self.not_approved("Passkey: NotVerified", "said-not-verified")

    def test_no_user_presence(self):
        self.not_approved("Passkey: NotPresent", "said-not-present")

    def test_cross_origin(self):
        self.not_approved("Passkey: CrossOrigin", "said-cross-origin", "said-top-origin")
        self.hold("said-cross-origin-absent")

    def test_create_instead_of_get(self):
        self.not_approved("Passkey: Type", "said-create")

    def test_assertion_for_another_request_or_purpose(self):
        self.not_approved("Passkey: Challenge", "for-another-request", "for-another-purpose")

    def test_credential_of_a_removed_member(self):
        self.not_approved("Inactive: mary", "removed-member")

    def test_client_data_has_one_meaning(self):
        wrong = "array bom cross-origin-text deeper duplicate duplicate-other infinite large longer nan surrogate trailing-text utf-8"
        self.not_approved("Passkey: ClientData", *(f"said-{name}" for name in wrong.split()))
        good = "as-it-should-be deep duplicate-inside escaped long more space surrogates"
        self.hold(*(f"said-{name}" for name in good.split()))

    def test_every_byte_of_authenticator_data_has_a_meaning(self):
        wrong = "attested extended trailing too-much " + " ".join(
            f"extensions-{name}" for name in "array number long tag twice text deeper simple map-as-key-twice".split()
        )
        self.not_approved("Passkey: AuthenticatorData", *(f"said-{name}" for name in wrong.split()))
        self.not_approved("Passkey: Attested", "said-credential-and-extensions")
        self.not_approved("Passkey: BackupState", "said-backup-state")
        self.hold(*(f"said-{name}" for name in "backed-up reserved extensions extensions-deep extensions-float extensions-map-as-key".split()))

    def test_a_signature_has_one_encoding(self):
        wrong = "signature no-signature der-trailing der-long"
        self.not_approved("Passkey: Signature", *(f"said-{name}" for name in wrong.split()))

    def test_a_passkey_is_enrolled_by_the_threshold_and_its_own_assertion(self):
        self.refuse("Chain/Signatures", "none of the signatures", "roster-not-proven", "roster-proven-by-another")
        self.refuse("Chain/Signatures", "1 of 2 for a roster", "roster-one-key")
        self.refuse("Chain/Signatures", "0 of 2 for a roster", "roster-all-passkeys")

    def test_a_passkey_of_an_inactive_member_is_proven_when_the_member_comes_back(self):
        self.hold("roster-inactive", "roster-inactive-proven", "roster-comes-back")
        missing = ("by-ssh-key", "by-passkey", "by-nobody")
        self.refuse("Chain/Signatures", "none of the signatures", *(f"roster-comes-back-{name}" for name in missing))

    def test_an_order_that_only_passkeys_keep_is_paused(self):
        self.hold("order", "order-used", "order-used-without-mary")
        self.not_approved("Paused: all approvers who are active signed by passkey", "order-used-without-zoe", "order-used-after-zoe-left")

    def test_a_roster_refuses_passkeys_that_nobody_could_use(self):
        for why, names in (
            ("Passkeys: Origin:", ("origin-2", "origin-3")), ("Passkeys: Origins", ("origins-0", "origins-1", "origins-3")),
            ("Passkeys: RpId", ("rp-id-2", "rp-id-3", "rp-id-4", "rp-id-5")), ("Kind", ("no-relying-party",)),
            ("PasskeyKey", ("no-key", "off-the-curve", "wrong-algorithm")), ("NoKey", ("only-passkeys",)),
            ("SharedKey", ("id-of-another", "key-of-another")),
        ):  # fmt: skip
            self.refuse("Chain/Roster", why, *(f"roster-{name}" for name in names))
        self.hold("roster-origin-0", "roster-origin-1", "roster-origins-2", "roster-rp-id-0", "roster-rp-id-1")

    def test_every_byte_counts(self):
        self.assert_every_byte_counts(self.files["approve-one"], lambda data: verify_transcript(data, self.pin))


if __name__ == "__main__":
    unittest.main()

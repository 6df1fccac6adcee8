"""Makes transcripts with passkeys: for the tests, and for a comparison of verifiers. See sample_transcripts.py."""

import json

from sample_files import (
    PAGE, RP_ID, Installation, Passkey, ServiceKey, b64u, canonical, location_of, minute, sha256, token_place,
)  # fmt: skip
from sample_orders import Use, standing_order

AS_THEY_SHOULD_BE = {"origins": [PAGE], "rp_id": RP_ID}
OTHERS = ("https://seal.example.org:8443", "https://a.seal.example.org", "http://localhost:80", "https://seal.example.org/")

# A map, in which a map is the value.
MAP_OF_A_MAP = b"\xa1\x01\xa1\x01\x01"


class WithPasskeys(Installation):
    """Ada proposes; Grace has an ES256 passkey and Mary an Ed25519 one, enrolled by a roster change."""

    def __init__(self, base: Installation, relying_party=None, keys=(), enrol=None, signers=("ada", "grace"), change=None) -> None:
        self.__dict__.update(base.__dict__)
        self.base, self.lines = base, dict(base.lines)
        self.grace, self.mary = Passkey(), Passkey("Ed25519")
        before = base.roster
        members = [dict(member) for member in before["members"]]
        for member in members:
            own = {"grace": self.grace, "mary": self.mary}.get(member["id"])
            if own is not None:
                member["keys"] = member["keys"] + [own.member_key()]
            member["keys"] = member["keys"] + [key for who, key in keys if who == member["id"]]
        head = base.genesis_digest
        roster = before | {"members": members, "version": 2, "previous": head, "passkeys": relying_party or AS_THEY_SHOULD_BE}
        if change is not None:
            change(roster)
        body = canonical(roster)
        document = self.signed("roster", body, *signers)
        for passkey in (self.grace, self.mary) if enrol is None else enrol(self, body):
            document["signatures"].append(passkey if isinstance(passkey, dict) else passkey.sign("roster", body))
        self.roster, self.changes = roster, [{"roster": document}]
        self.reference = {"version": 2, "digest": sha256(body)}

    def followed(self, change, *signers) -> "WithPasskeys":
        """With another roster after it, by Ada, Grace and these, of whom passkeys sign as they do."""
        later = WithPasskeys.__new__(WithPasskeys)
        later.__dict__.update(self.__dict__)
        roster = json.loads(canonical(self.roster)) | {"version": 3, "previous": self.reference["digest"]}
        change({member["id"]: member for member in roster["members"]})
        body = canonical(roster)
        document = self.signed("roster", body, "ada", "grace", *(each for each in signers if isinstance(each, str)))
        document["signatures"] += [each.sign("roster", body) for each in signers if isinstance(each, Passkey)]
        later.roster, later.changes = roster, self.changes + [{"roster": document}]
        later.reference = {"version": 3, "digest": sha256(body)}
        return later

    def references(self) -> dict:
        policy = {"version": 1, "digest": sha256(canonical(self.policy))}
        return {"roster": self.reference, "policy": policy}


def passkeys(base: Installation):
    """Names and transcripts. `base` is not changed."""
    installation = WithPasskeys(base)
    key = ServiceKey()
    kid = key.kid
    revoke = {"revoke": {"ring": "ring", "kid": kid, "number": 1, "reason": "superseded", "compromised_since": None}}

    def make(of=installation, approvals=None, accepts=None, order=None, outcome=None, **record) -> str:
        """`approvals` and `accepts` make signatures of a body; without them Grace and Mary sign by their SSH keys."""
        request = of.request(order or revoke)
        body = canonical(request)
        if approvals is not None:
            record["approvals"] = [{"received_at": minute(1), "signature": each} for each in approvals(of, body)]
        made = outcome or (lambda _: {"revoked": {"kid": kid}})
        text = of.transcript(request, made, record=record)
        if accepts is None:
            return text
        return with_acceptances(text, lambda statement: accepts(of, statement))

    def by(*who):
        """By SSH key (`mary`), or by passkey (`mary!`)."""
        def sign(purpose):
            def signed(of, body):
                return [
                    getattr(of, each[:-1]).sign(purpose, body) if each.endswith("!") else of.sign(each, purpose, body)
                    for each in who
                ]  # fmt: skip

            return signed

        return sign

    def said(**members):
        """Grace approves by SSH key, Mary by an assertion about which this was said."""
        return make(approvals=lambda of, body: [of.sign("grace", "approve", body), of.mary.sign("approve", body, **members)])

    yield "none", make()
    for name, approve in (
        ("one", ("grace", "mary!")), ("all", ("grace!", "mary!")), ("both-of-one", ("grace", "grace!")),
        ("both-of-one-first", ("grace!", "grace")), ("all-and-a-key", ("grace!", "mary!", "mary")), ("twice", ("grace", "mary!", "mary!")),
    ):  # fmt: skip
        yield f"approve-{name}", make(approvals=by(*approve)("approve"))
        yield f"accept-{name}", make(accepts=by(*approve)("accept"))
    yield "for-another-purpose", make(approvals=lambda of, body: [of.sign("grace", "approve", body), of.mary.sign("accept", body)])
    yield "for-another-request", make(approvals=lambda of, body: [of.sign("grace", "approve", body), of.mary.sign("approve", "{}")])
    for name, members in (
        ("as-it-should-be", {}), ("create", {"type": "webauthn.create"}), ("origin", {"origin": "https://example.org"}),
        ("cross-origin", {"crossOrigin": True}), ("cross-origin-absent", {"crossOrigin": None}), ("cross-origin-text", {"crossOrigin": "x"}),
        ("top-origin", {"topOrigin": PAGE}), ("more", {"other": [1.5, {"a": {}}], "tokenBinding": {"status": "supported"}}),
        ("rp-id", {"rp_id": "example.org"}), ("not-present", {"flags": 4}), ("not-verified", {"flags": 1}), ("backed-up", {"flags": 29}),
        ("backup-state", {"flags": 21}), ("reserved", {"flags": 39}), ("attested", {"flags": 69}), ("extended", {"flags": 133}),
        ("trailing", {"extra": b"\0"}), ("extensions", {"flags": 133, "extra": b"\xa1\x61x\x01"}),
        ("extensions-array", {"flags": 133, "extra": b"\x80"}), ("extensions-number", {"flags": 133, "extra": b"\xa1\x01\x01"}),
        ("extensions-long", {"flags": 133, "extra": b"\xa1\x61x\x18\x01"}), ("extensions-tag", {"flags": 133, "extra": b"\xa1\x61x\xc0\x01"}),
        ("extensions-twice", {"flags": 133, "extra": b"\xa2\x61x\x01\x61x\x02"}), ("extensions-text", {"flags": 133, "extra": b"\xa1\x61\xff\x01"}),
        ("extensions-deep", {"flags": 133, "extra": b"\xa1\x61x" + 4 * b"\x81" + b"\x01"}),
        ("extensions-deeper", {"flags": 133, "extra": b"\xa1\x61x" + 5 * b"\x81" + b"\x01"}),
        ("extensions-float", {"flags": 133, "extra": b"\xa1\x61x\xf9\x00\x00"}), ("extensions-simple", {"flags": 133, "extra": b"\xa1\x61x\xf8\x1f"}),
        ("extensions-map-as-key", {"flags": 133, "extra": b"\xa1\x61x\xa1" + MAP_OF_A_MAP + b"\x01"}),
        ("extensions-map-as-key-twice", {"flags": 133, "extra": b"\xa1\x61x\xa2" + MAP_OF_A_MAP + b"\x01" + MAP_OF_A_MAP + b"\x02"}),
        ("credential-and-extensions", {"flags": 197, "extra": bytes(16) + b"\x00\x01a\xa0\xa0"}),
        ("too-much", {"flags": 133, "extra": b"\xa1\x61x\x59\x10\x00" + bytes(4096)}),
        ("space", {"raw": lambda data: b" " + data + b"\n"}), ("bom", {"raw": lambda data: b"\xef\xbb\xbf" + data}),
        ("duplicate", {"raw": lambda data: data[:-1] + b',"origin":"x"}'}), ("duplicate-other", {"raw": lambda data: data[:-1] + b',"a":1,"a":1}'}),
        ("duplicate-inside", {"raw": lambda data: data[:-1] + b',"a":{"b":1,"b":2}}'}), ("infinite", {"raw": lambda data: data[:-1] + b',"a":1e999}'}),
        ("large", {"raw": lambda data: data[:-1] + b',"a":' + 400 * b"1" + b"}"}), ("nan", {"raw": lambda data: data[:-1] + b',"a":NaN}'}),
        ("surrogate", {"raw": lambda data: data[:-1] + b',"a":"\\ud800"}'}), ("surrogates", {"raw": lambda data: data[:-1] + b',"a":"\\ud83d\\ude00"}'}),
        ("escaped", {"raw": lambda data: data.replace(b"origin", b"\\u006frigin", 1)}), ("utf-8", {"raw": lambda data: data[:-1] + b',"a":"\xff"}'}),
        ("trailing-text", {"raw": lambda data: data + b"x"}), ("array", {"raw": lambda data: b"[" + data + b"]"}),
        ("deep", {"raw": lambda data: data[:-1] + b',"a":' + 126 * b"[" + 126 * b"]" + b"}"}),
        ("deeper", {"raw": lambda data: data[:-1] + b',"a":' + 127 * b"[" + 127 * b"]" + b"}"}),
        ("long", {"raw": lambda data: data + (4096 - len(data)) * b" "}), ("longer", {"raw": lambda data: data + (4097 - len(data)) * b" "}),
        ("signature", {"edit": lambda signature: signature[:-1] + bytes([signature[-1] ^ 1])}), ("no-signature", {"edit": lambda _: b""}),
    ):  # fmt: skip
        yield f"said-{name}", said(**members)
    ecdsa = (("der-trailing", lambda signature: signature + b"\0"), ("der-long", lambda signature: b"\x30\x81" + signature[1:]))
    for name, edit in ecdsa:
        yield f"said-{name}", make(approvals=lambda of, body: [of.sign("mary", "approve", body), of.grace.sign("approve", body, edit=edit)])

    # What takes no passkey.
    destroy = {"destroy": {"keys": [{"kid": kid, "locations": [location_of(token_place("ring"))], "number": 1, "ring": "ring"}]}}
    for name, approve in (("ssh", ("grace", "mary")), ("passkey", ("grace", "mary!"))):
        yield f"destroy-{name}", make(approvals=by(*approve)("approve"), order=destroy, outcome=lambda _: {"destroyed": {"kids": [kid]}})
    for usage in ("structured", "raw", "sealed", "certificates", "log"):
        for first in (True, False):
            order = {"usage": usage} | ({} if first else {"number": 2, "predecessor": ServiceKey().kid})
            of = WithPasskeys(base)
            later = {"subject": f"ring/ring-{usage}", "sequence": 2, "previous": sha256("the first key")}
            lines = {} if first else {"lines": [later]}
            text = of.generate(f"ring-{usage}", ServiceKey(), order=order, request=lines)
            yield f"generate-{usage}-{first}", with_acceptances(text, lambda body: by("grace", "mary!")("accept")(of, body))

    # A passkey is enough to reject, and for nothing else.
    request = installation.request(revoke)
    body = canonical(request)
    objection = canonical({"v": 1, "reason": "no", "request_digest": sha256(body)})
    received = {"received_at": minute(1)}
    for name, member, purpose in (("reject", "rejections", "reject"), ("cancel", "cancellations", "cancel"), ("reject-approves", "rejections", "approve")):
        refusal = {"body": objection, "signature": installation.grace.sign(purpose, objection)} | received
        yield f"refuse-{name}", installation.transcript(request, lambda _: {"revoked": {"kid": kid}}, record={member: [refusal]})
    proposal = received | {"signature": installation.grace.sign("propose", body)}
    changed = request | {"proposer": "grace"}
    proposal["signature"] = installation.grace.sign("propose", canonical(changed))
    yield "proposal", installation.transcript(changed, lambda _: {"revoked": {"kid": kid}}, approve=("ada", "mary"), record={"proposal": proposal})
    suspension = installation.suspension("mary", "ada")
    suspension["signatures"].append(installation.grace.sign("suspend", suspension["body"]))
    yield "suspension", installation.transcript(request, lambda _: {"revoked": {"kid": kid}}, record={"suspensions": [suspension]})

    # Rosters.
    def roster(**changed) -> str:
        return make(WithPasskeys(base, **changed))

    yield from inactive(base, make)
    yield from kept_by_passkeys(base, by)
    yield "roster-not-proven", roster(enrol=lambda of, _: [of.grace])
    yield "roster-proven-by-another", roster(enrol=lambda of, _: [of.grace, of.mary.sign("roster", "{}")])
    yield "roster-one-key", roster(signers=("ada",))
    yield "roster-all-passkeys", roster(signers=())
    for index, origin in enumerate(OTHERS):
        yield f"roster-origin-{index}", roster(relying_party={"origins": [PAGE, origin], "rp_id": RP_ID})
    for index, origins in enumerate(([], [PAGE, PAGE], [PAGE] + [f"{PAGE}:{port}" for port in range(1, 10)], [PAGE] + [f"{PAGE}:{port}" for port in range(1, 11)])):
        yield f"roster-origins-{index}", roster(relying_party={"origins": origins, "rp_id": RP_ID})
    for index, rp_id in enumerate(("example.org", "org", "Seal.example.org", "", "192.0.2.1", "seal.example.org.")):
        yield f"roster-rp-id-{index}", roster(relying_party={"origins": [PAGE], "rp_id": rp_id}, enrol=lambda of, body: [
            each.sign("roster", body, rp_id=rp_id) for each in (of.grace, of.mary)
        ])  # fmt: skip
    yield "roster-no-relying-party", roster(change=lambda document: document.update(passkeys=None))
    other = Passkey("RS256")
    yield "roster-rs256", roster(keys=[("ada", other.member_key())], enrol=lambda of, _: [of.grace, of.mary, other])
    yield "roster-wrong-algorithm", roster(keys=[("ada", other.member_key(algorithm="ES256"))], enrol=lambda of, _: [of.grace, of.mary, other])
    yield "roster-no-key", roster(keys=[("ada", other.member_key(public_key="AAAA"))])
    point = Passkey()
    off = point.key.spki[:-1] + bytes([point.key.spki[-1] ^ 1])
    yield "roster-off-the-curve", roster(keys=[("ada", point.member_key(public_key=b64u(off)))])
    yield "roster-id-of-another", roster(change=lambda document: document["members"][0]["keys"].append(point.member_key(credential_id=grace_id(document))))
    yield "roster-key-of-another", roster(change=lambda document: document["members"][0]["keys"].append(grace_key(document) | {"credential_id": b64u(b"x" * 16)}))
    yield "roster-only-passkeys", roster(change=lambda document: document["members"][1].update(keys=document["members"][1]["keys"][1:]))
    gone = WithPasskeys(base, change=lambda document: document["members"][2].update(active=False) or document["members"][3].update(roles=["custodian"]))
    yield "removed-member", make(gone, approvals=by("grace", "mary!")("approve"), accepts=by("grace", "mary")("accept"))


def inactive(base: Installation, make):
    """A passkey of a member who is not active proves nothing; whoever comes back proves it, as every key."""
    passkey = Passkey()

    def leave(document: dict) -> None:
        zoe = next(member for member in document["members"] if member["id"] == "zoe")
        zoe.update(active=False, keys=zoe["keys"] + [passkey.member_key()])

    def come_back(members: dict) -> None:
        members["zoe"]["active"] = True

    left = WithPasskeys(base, change=leave)
    yield "roster-inactive", make(left)
    yield "roster-inactive-proven", make(WithPasskeys(base, change=leave, enrol=lambda of, _: [of.grace, of.mary, passkey]))
    for name, signers in (("", ("zoe", passkey)), ("-by-ssh-key", ("zoe",)), ("-by-passkey", (passkey,)), ("-by-nobody", ())):
        yield f"roster-comes-back{name}", make(left.followed(come_back, *signers))


def kept_by_passkeys(base: Installation, by):
    """A standing order that Grace and Mary approved by passkey, and Zoe by SSH key."""
    of, key = WithPasskeys(base), ServiceKey()
    of.generate("oauth", ServiceKey())
    order = standing_order(of, "oauth", key)
    request = of.request({"order": order}, nonce=order["id"])
    signed = by("grace!", "mary!", "zoe")("approve")(of, canonical(request))
    approvals = [{"received_at": minute(1), "signature": each} for each in signed]
    asked = of.transcript(request, lambda _: {"ordered": {"id": order["id"]}}, record={"approvals": approvals})
    use = Use(of, order, asked, key)
    yield "order", asked
    yield "order-used", use.make()
    for who in ("mary", "zoe"):
        yield f"order-used-without-{who}", use.make(record={"suspensions": [of.suspension(who, who)]})
    left = of.followed(lambda members: members["zoe"].update(active=False))
    yield "order-used-after-zoe-left", Use(left, order, asked, key).make()


def grace_key(roster: dict) -> dict:
    return next(key for member in roster["members"] for key in member["keys"] if member["id"] == "grace" and key["kind"] == "webauthn")


def grace_id(roster: dict) -> str:
    return grace_key(roster)["credential_id"]


def with_acceptances(transcript: str, signatures) -> str:
    file = json.loads(transcript)
    file["acceptance"]["signatures"] = signatures(file["acceptance"]["statement"])
    return canonical(file)

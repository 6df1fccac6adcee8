"""Makes transcripts and evidence files for the tests, with keys of its own: the writer's side of the two documents."""

import base64
import hashlib
import json
from datetime import datetime

from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

SERVICE, ENVIRONMENT, ORIGIN = "chancery", "test", "keys.example.org/log"
RP_ID, PAGE = "seal.example.org", "https://seal.example.org"
ALGORITHMS = ("ES256", "ES384", "PS256", "RS256", "Ed25519")


def canonical(value) -> str:
    # docs/TRANSCRIPT.md section 1 gives this line; the verifier writes it another way.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(data) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def raw(public) -> bytes:
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def minute(count: int) -> str:
    """Instants of the tests, by minutes."""
    return f"2026-01-01T{count // 60:02}:{count % 60:02}:00.000Z"


# People's keys.


def ssh_string(data) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return len(data).to_bytes(4, "big") + data


def mpint(number: int) -> bytes:
    return ssh_string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


class Person:
    """A key of one of the kinds of section 4."""

    def __init__(self, kind: str = "ssh-ed25519") -> None:
        self.kind = kind
        if "ed25519" in kind:
            self.private = ed25519.Ed25519PrivateKey.generate()
            self.wire = ssh_string(kind) + ssh_string(raw(self.private.public_key()))
        elif kind == "ssh-rsa":
            self.private = rsa.generate_private_key(65537, 2048)
            numbers = self.private.public_key().public_numbers()
            self.wire = ssh_string(kind) + mpint(numbers.e) + mpint(numbers.n)
        else:
            curve = ec.SECP384R1() if "384" in kind else ec.SECP256R1()
            self.private = ec.generate_private_key(curve)
            point = self.private.public_key().public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
            self.wire = ssh_string(kind) + ssh_string("nistp384" if "384" in kind else "nistp256") + ssh_string(point)
        if kind.startswith("sk-"):
            self.wire += ssh_string("ssh:")

    @property
    def public(self) -> str:
        return f"{self.kind} {b64(self.wire)}"

    def member_signature(self, purpose: str, body: str) -> dict:
        return {"kind": "ssh", "signature": self.sign(purpose, body)}

    def sign(self, purpose: str, body: str, flags: int = 1, sha: str = "sha512", reserved: str = "") -> str:
        namespace = f"chancery/{purpose}.v1@{SERVICE}/{ENVIRONMENT}"
        hashed = hashlib.new(sha, pae(namespace, body)).digest()
        message = b"SSHSIG" + ssh_string(namespace) + ssh_string(reserved) + ssh_string(sha) + ssh_string(hashed)
        blob = b"SSHSIG" + (1).to_bytes(4, "big") + ssh_string(self.wire) + ssh_string(namespace)
        return armor(blob + ssh_string(reserved) + ssh_string(sha) + ssh_string(self._signature(message, flags)))

    def _signature(self, message: bytes, flags: int) -> bytes:
        touched = bytes([flags, 0, 0, 0, 7]) if self.kind.startswith("sk-") else b""
        if touched:
            message = hashlib.sha256(b"ssh:").digest() + touched + hashlib.sha256(message).digest()
        if "ed25519" in self.kind:
            return ssh_string(self.kind) + ssh_string(self.private.sign(message)) + touched
        if self.kind == "ssh-rsa":
            value = self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())
            return ssh_string("rsa-sha2-256") + ssh_string(value)
        sha = hashes.SHA384() if "384" in self.kind else hashes.SHA256()
        r, s = utils.decode_dss_signature(self.private.sign(message, ec.ECDSA(sha)))
        return ssh_string(self.kind) + ssh_string(mpint(r) + mpint(s)) + touched


def armor(blob: bytes, width: int = 70) -> str:
    text = b64(blob)
    lines = "".join(text[start : start + width] + "\n" for start in range(0, len(text), width))
    return f"-----BEGIN SSH SIGNATURE-----\n{lines}-----END SSH SIGNATURE-----\n"


def pae(namespace: str, body: str) -> bytes:
    return f"DSSEv1 {len(namespace)} {namespace} {len(body.encode())} {body}".encode()


# The service's keys.


ORDERS = {
    "P-256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "P-384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}


class ServiceKey:
    """A key of the service with one algorithm."""

    def __init__(self, algorithm: str = "ES256") -> None:
        self.algorithm = algorithm
        if algorithm == "Ed25519":
            self.private, self.spec = ed25519.Ed25519PrivateKey.generate(), "Ed25519"
        elif algorithm in ("ES256", "ES384"):
            curve = ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1()
            self.private, self.spec = ec.generate_private_key(curve), "P-256" if algorithm == "ES256" else "P-384"
        else:
            self.private, self.spec = rsa.generate_private_key(65537, 2048), "RSA-2048"
        public = self.private.public_key()
        self.spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.kid = b64u(hashlib.sha256(canonical(self._jwk(public)).encode()).digest())

    def _jwk(self, public) -> dict:
        if self.spec == "Ed25519":
            return {"crv": "Ed25519", "kty": "OKP", "x": b64u(raw(public))}
        numbers = public.public_numbers()
        if self.spec == "RSA-2048":
            return {"e": "AQAB", "kty": "RSA", "n": b64u(numbers.n.to_bytes(256, "big"))}
        size = self.size
        x, y = b64u(numbers.x.to_bytes(size, "big")), b64u(numbers.y.to_bytes(size, "big"))
        return {"crv": self.spec, "kty": "EC", "x": x, "y": y}

    @property
    def size(self) -> int:
        return 32 if self.spec == "P-256" else 48

    def sign(self, message: bytes, digested: bool = False) -> bytes:
        if self.algorithm == "Ed25519":
            return self.private.sign(message)
        sha = hashes.SHA384() if self.algorithm == "ES384" else hashes.SHA256()
        chosen = utils.Prehashed(sha) if digested else sha
        if self.algorithm == "RS256":
            return self.private.sign(message, padding.PKCS1v15(), chosen)
        if self.algorithm == "PS256":
            return self.private.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), chosen)
        r, s = utils.decode_dss_signature(self.private.sign(message, ec.ECDSA(chosen)))
        return r.to_bytes(self.size, "big") + s.to_bytes(self.size, "big")


    def twin(self, signature: bytes) -> bytes:
        """The other signature that checks as well: (r, n - s)."""
        r, s = signature[: self.size], int.from_bytes(signature[self.size :], "big")
        return r + (ORDERS[self.spec] - s).to_bytes(self.size, "big")

    def lower(self, signature: bytes) -> bytes:
        if self.spec not in ORDERS or len(signature) != 2 * self.size:
            return signature
        if int.from_bytes(signature[self.size :], "big") >= ORDERS[self.spec]:
            return signature
        return min(signature, self.twin(signature))


# Ceremonies.


def by_passkey() -> dict:
    """A signature of a kind that is read and not counted."""
    names = ("authenticator_data", "client_data", "credential_id", "signature")
    return {"kind": "webauthn"} | {name: b64u(name.encode()) for name in names}


class Passkey:
    """A credential of a software authenticator."""

    def __init__(self, algorithm: str = "ES256") -> None:
        self.key = ServiceKey(algorithm)
        self.id = hashlib.sha256(self.key.spki).digest()

    def member_key(self, **changed) -> dict:
        key = {"kind": "webauthn", "algorithm": self.key.algorithm, "credential_id": b64u(self.id)}
        return key | {"public_key": b64u(self.key.spki)} | changed

    def sign(self, purpose: str, body: str, **said) -> dict:
        """`said`: members of the client data (None: absent), `flags`, `rp_id`, `extra` bytes, `raw` client data."""
        challenge = hashlib.sha256(pae(f"chancery/{purpose}.v1@{SERVICE}/{ENVIRONMENT}", body)).digest()
        flags, rp_id, extra = said.pop("flags", 5), said.pop("rp_id", RP_ID), said.pop("extra", b"")
        raw_data, edit = said.pop("raw", None), said.pop("edit", lambda signature: signature)
        client = {"type": "webauthn.get", "challenge": b64u(challenge), "origin": PAGE, "crossOrigin": False} | said
        client_data = json.dumps({name: value for name, value in client.items() if value is not None}).encode()
        if raw_data is not None:
            client_data = raw_data(client_data)
        data = hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + bytes(4) + extra
        signature = self.key.sign(data + hashlib.sha256(client_data).digest())
        if self.key.algorithm == "ES256":
            signature = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        return {
            "kind": "webauthn", "authenticator_data": b64u(data), "client_data": b64u(client_data),
            "credential_id": b64u(self.id), "signature": b64u(edit(signature)),
        }  # fmt: skip


class Installation:
    """Three custodians, thresholds of two, and ceremonies that follow each other on their lines."""

    def __init__(self, kinds=("ssh-ed25519", "ssh-ed25519", "ecdsa-sha2-nistp256")) -> None:
        self.people = dict(zip(("ada", "grace", "mary"), (Person(kind) for kind in kinds)))
        self.lines = {}  # subject: sequence and digest of the last ceremony
        self.nonces = 0
        self.policy = self._document({"routine_rings": ["atp-integrity", "oauth"], "thresholds": {"default": 2}})
        members = [self.member(who) for who in self.people]
        self.roster = self._document({"members": members, "expires_at": None, "passkeys": None})
        self.changes = []
        self.found()

    def found(self) -> str:
        """Everybody signs the roster and the policy as they are now. Returns the digest of the genesis."""
        body = canonical({"v": 1, "roster": self.roster, "policy": self.policy})
        self.genesis_digest = sha256(body)
        self.genesis = self.signed("genesis", body, *self.people)
        return self.genesis_digest

    def _document(self, members: dict) -> dict:
        return {"v": 1, "service": SERVICE, "environment": ENVIRONMENT, "version": 1, "previous": None} | members

    def member(self, who: str, *roles: str) -> dict:
        keys = [{"kind": "ssh", "public": self.people[who].public}]
        return {"id": who, "name": who.title(), "roles": list(roles or ["custodian"]), "keys": keys, "active": True}

    def join(self, who: str, *roles: str, **changed) -> None:
        """A member more; the genesis is signed anew."""
        self.people[who] = Person()
        self.roster["members"].append(self.member(who, *roles) | changed)
        self.found()

    def sign(self, who: str, purpose: str, body: str) -> dict:
        return self.people[who].member_signature(purpose, body)

    def signed(self, purpose: str, body: str, *who: str) -> dict:
        return {"body": body, "signatures": [self.sign(name, purpose, body) for name in who]}

    def references(self) -> dict:
        return {
            kind: {"version": document["version"], "digest": sha256(canonical(document))}
            for kind, document in (("roster", self.roster), ("policy", self.policy))
        }

    def line(self, subject: str) -> dict:
        sequence, previous = self.lines.get(subject, (0, None))
        return {"subject": subject, "sequence": sequence + 1, "previous": previous}

    def request(self, operation: dict, **changed) -> dict:
        self.nonces += 1
        request = {
            "v": 1, "service": SERVICE, "environment": ENVIRONMENT, "lines": [self.line(s) for s in subjects_of(operation)],
            "operation": operation, "order": None, "proposer": "ada", "reason": "a test", "ticket": None,
            "created_at": minute(0), "approve_by": minute(600), "execute_by": minute(600), "nonce": f"{self.nonces:032x}",
        }  # fmt: skip
        return request | self.references() | changed

    def received(self, who: str, purpose: str, body: str, at: int = 1) -> dict:
        return {"received_at": minute(at), "signature": self.sign(who, purpose, body)}

    def refusal(self, who: str, purpose: str, request: dict) -> dict:
        """A rejection or a cancellation."""
        body = canonical({"v": 1, "reason": "no", "request_digest": sha256(canonical(request))})
        return {"body": body} | self.received(who, purpose, body)

    def suspension(self, member: str, *signers: str, **changed) -> dict:
        said = {"v": 1, "member": member, "nonce": "5" * 32, "reason": "lost", "roster": self.references()["roster"]}
        return self.signed("suspend", canonical(said | changed), *signers) | {"received_at": minute(1)}

    def transcript(self, request: dict, outcome, approve=("grace", "mary"), accept=("grace", "mary"), **changed) -> str:
        """`outcome` is made out of the digest of the request. `changed`: members of the transcript, and of its parts."""
        body = canonical(request)
        proposal = self.received(request["proposer"], "propose", body) if request["proposer"] in self.people else None
        record = {
            "v": 1, "chains": {"genesis": self.genesis, "changes": self.changes}, "request": body, "proposal": proposal,
            "order": None, "approvals": [self.received(who, "approve", body) for who in approve], "rejections": [],
            "cancellations": [], "suspensions": [], "steps": [],
        } | changed.pop("record", {})  # fmt: skip
        statement = {
            "v": 1, "request_digest": sha256(body), "record_digest": sha256(canonical(record)),
            "executed_at": minute(2), "outcome": outcome(sha256(body)),
        } | changed.pop("statement", {})  # fmt: skip
        accepted = self.signed("accept", canonical(statement), *accept)
        acceptance = {"statement": accepted["body"], "signatures": accepted["signatures"], "result": None}
        acceptance |= changed.pop("acceptance", {})
        for line in request["lines"]:
            self.lines[line["subject"]] = (line["sequence"], sha256(accepted["body"]))
        file = {"v": 1, "record": record, "acceptance": acceptance, "log_keys": [], "log_proofs": []}
        return canonical(file | changed)

    def generate(self, ring: str, key, order=None, generated=None, public=None, request=None, **changed) -> str:
        """`key` is a ServiceKey or a WrappingKey. `order`, `generated` and `public` are members that are changed."""
        wanted = generate_order(ring, key) | (order or {})
        asked = self.request({"generate": wanted}, **(request or {}))

        def outcome(request_digest: str) -> dict:
            made = generated_outcome(wanted, key, request_digest)
            ((kind, stated),) = made["key"].items()
            return {"generated": made | {"key": {kind: stated | (public or {})}} | (generated or {})}

        return self.transcript(asked, changed.pop("outcome", outcome), **changed)

    def later(self, operation: dict, outcome: dict, at: int = 400, request=None, **changed) -> str:
        """A ceremony of that minute."""
        asked = self.request(operation, created_at=minute(at), **(request or {}))
        body = canonical(asked)
        approvals = [self.received(who, "approve", body, at + 1) for who in ("grace", "mary")]
        changes = {"record": {"approvals": approvals}, "statement": {"executed_at": minute(at + 2)}}
        return self.transcript(asked, lambda _: outcome, **changes | changed)

    def revoke(self, ring: str, kid: str, reason: str, since: str | None, number: int = 1) -> str:
        order = {"ring": ring, "kid": kid, "number": number, "reason": reason, "compromised_since": since}
        return self.later({"revoke": order}, {"revoked": {"kid": kid}})

    def destroy(self, *keys: dict, **changed) -> str:
        kids = [key["kid"] for key in keys]
        return self.later({"destroy": {"keys": list(keys)}}, {"destroyed": {"kids": kids}}, **changed)

    def correct(self, first: int, last: int, bound: str, outcome=None, origin: str = ORIGIN, **changed) -> str:
        order = {"first": first, "last": last, "bound": bound, "origin": origin}
        return self.later({"clock-correction": order}, {"corrected": order | (outcome or {})}, **changed)

    def set_policy(self, order=None, outcome=None, **changed) -> str:
        """The next version of the rotation policy of a critical key type."""
        asked = policy_order() | (order or {})
        named = {"key_type": asked["key_type"], "version": asked["version"], "digest": sha256(asked["document"])}
        return self.later({"rotation-policy": asked}, {"policy-set": named | (outcome or {})}, **changed)

    def move(self, order: dict, outcome=None, **changed) -> str:
        """A new origin."""
        said = {name: order[name] for name in ("origin", "root", "size") if name in order}
        return self.later({"new-origin": order}, {"new-origin": said | (outcome or {})}, **changed)


def policy_text(version: int, interval: str = "90d", **changed) -> str:
    return canonical({"v": 1, "interval": interval, "key_type": "signing", "version": version} | changed)


def policy_order() -> dict:
    return {"document": policy_text(2, "60d"), "key_type": "signing", "replaces": policy_text(1), "version": 2}


def subjects_of(operation: dict) -> list:
    ((kind, order),) = operation.items()
    if kind == "generate":
        return [f"ring/{order['ring']}"]
    if kind == "order":
        return [f"order/{order['id']}"]
    if kind == "destroy":
        return [f"key/{key['kid']}" for key in order["keys"]]
    if kind == "resume":
        return [f"stop/{order['ring'] or '*'}"]
    if kind == "rotation-policy":
        return [f"rotation-policy/{order['key_type']}"]
    return [f"key/{order['kid']}"] if kind in ("revoke", "emergency-rotation", "ratification") else ["log"]


class WrappingKey:
    """A key that no signature shows: 32 bytes, and AES Key Wrap of a challenge."""

    def __init__(self) -> None:
        self.secret, self.algorithm, self.spec = b"k" * 32, "A256KW", "AES-256"

    def stated(self, order: dict) -> dict:
        named = {"number": order["number"], "ring": order["ring"]}
        challenge = sha256(canonical(named | {"environment": ENVIRONMENT, "service": SERVICE, "v": 1}))
        check_value = sha256(keywrap.aes_key_wrap(self.secret, bytes.fromhex(challenge)))
        identity = canonical(named | {"check_value": check_value})
        return {"kid": b64u(hashlib.sha256(identity.encode()).digest()), "challenge": challenge, "check_value": check_value}


FALSE = ("extractable", "modifiable", "decrypt", "derive")
TEMPLATES = {
    "sign": dict.fromkeys(("token", "private", "sensitive", "sign"), True)
    | dict.fromkeys((*FALSE, "unwrap"), False)
    | dict.fromkeys(("encrypt", "wrap")),
    "wrap": dict.fromkeys(("token", "private", "sensitive", "wrap", "unwrap"), True)
    | dict.fromkeys((*FALSE, "encrypt", "sign"), False),
}
ON_TOKEN = {"token_serial": "1", "token_label": "t", "cka_id": "1" * 32}
IN_VAULT = {"vault": "v.example.org", "name": "ring-1", "tag": "chancery"}


def token_place(ring: str, purpose: str = "sign") -> dict:
    return {"pkcs11": ON_TOKEN | {"label": f"{ring}/1", "template": TEMPLATES[purpose]}}


def vault_place() -> dict:
    return {"key-vault": dict(IN_VAULT)}


def purpose_of(key) -> str:
    return "wrap" if isinstance(key, WrappingKey) else "sign"


def generate_order(ring: str, key) -> dict:
    purpose = purpose_of(key)
    usage = "wrap" if purpose == "wrap" else "log" if ring == "log" else "structured"
    return {
        "ring": ring, "number": 1, "purpose": {purpose: {"algorithm": key.algorithm, "key_spec": key.spec}}, "usage": usage,
        "place": token_place(ring, purpose), "publish_at": minute(0), "activate_at": minute(0), "retire_at": minute(600),
        "predecessor": None,
    }  # fmt: skip


def location_of(place: dict) -> dict:
    ((kind, where),) = place.items()
    if kind == "pkcs11":
        return {kind: {name: where[name] for name in (*ON_TOKEN, "label")}}
    return {kind: {"vault": where["vault"], "name": where["name"], "version": "0123"}}


def read_back_of(order: dict) -> dict:
    ((kind, where),) = order["place"].items()
    ((purpose, wanted),) = order["purpose"].items()
    if kind == "pkcs11":
        said = {"always_sensitive": True, "never_extractable": None, "local": True}
        return {kind: {"key_spec": wanted["key_spec"], "template": where["template"]} | said}
    may = {"sign": ["sign", "verify"], "wrap": ["unwrapKey", "wrapKey"]}[purpose]
    said = {"enabled": True, "exportable": False, "hardware": True, "key_ops": may}
    return {kind: {"key_spec": wanted["key_spec"], "tag": where["tag"]} | said}


def generated_outcome(order: dict, key, request_digest: str) -> dict:
    made = {"attestation": None, "location": location_of(order["place"]), "read_back": read_back_of(order)}
    if isinstance(key, WrappingKey):
        return made | {"key": {"check": key.stated(order)}}
    challenge = canonical({"kid": key.kid, "request_digest": request_digest, "v": 1})
    public = {
        "kid": key.kid, "spki_digest": sha256(key.spki), "public_key": b64u(key.spki),
        "possession": b64u(key.sign(pae(f"chancery/possession.v1@{SERVICE}/{ENVIRONMENT}", challenge))),
    }  # fmt: skip
    return made | {"key": {"public": public}}


def core(transcript: str) -> str:
    return canonical(json.loads(transcript) | {"log_keys": [], "log_proofs": []})


def acts_of_ceremony(transcript: str) -> list:
    """The leaves that a service writes of a ceremony, oldest first."""
    file = json.loads(transcript)
    record, ref = file["record"], sha256(file["record"]["request"])

    def act(action: str, digest: str, at: int) -> dict:
        return {"kind": "ceremony", "action": action, "actor": "x", "digest": digest, "ref": ref, "time": minute(at)}

    def of(action: str, signatures: list, at: int) -> list:
        return [act(action, sha256(canonical(signature)), at) for signature in signatures]

    return [
        *of("propose", [record["proposal"]["signature"]], 1),
        *of("approve", [approval["signature"] for approval in record["approvals"]], 2),
        act("execute", "0" * 64, 3),
        *of("accept", file["acceptance"]["signatures"], 4),
        act("accepted", sha256(core(transcript)), 5) | kind_of_end(json.loads(record["request"])),
    ]


def kind_of_end(request: dict) -> dict:
    ((operation, _),) = request["operation"].items()
    if operation in ("clock-correction", "new-origin"):
        return {"kind": "log", "action": operation}
    emergency = {"resume": "resume", "ratification": "ratify"}
    return {"kind": "emergency", "action": emergency[operation]} if operation in emergency else {}


def with_log(transcript: str, log, log_birth: str, acts=None, **changed) -> str:
    """The transcript with the proofs of its ceremony in this log."""
    start = len(log.leaves)
    for leaf in acts_of_ceremony(transcript) if acts is None else acts:
        log.append(leaf)
    log.append({"kind": "admin", "action": "heartbeat", "actor": "chancery", "time": minute(6)})
    proofs = [{"leaf": log.leaves[i], "proof": log.proof(i)} for i in range(start, len(log.leaves) - 1)]
    return canonical(json.loads(transcript) | {"log_keys": [log_birth], "log_proofs": proofs} | changed)


# The log.


def tree_root(leaves: list) -> bytes:
    """MTH of RFC 6962 section 2.1, by its definition."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0].encode()).digest()
    half = _largest_power_under(len(leaves))
    return hashlib.sha256(b"\x01" + tree_root(leaves[:half]) + tree_root(leaves[half:])).digest()


def tree_path(index: int, leaves: list) -> list:
    """PATH of RFC 6962 section 2.1.1, by its definition."""
    if len(leaves) == 1:
        return []
    half = _largest_power_under(len(leaves))
    if index < half:
        return tree_path(index, leaves[:half]) + [tree_root(leaves[half:])]
    return tree_path(index - half, leaves[half:]) + [tree_root(leaves[:half])]


def _largest_power_under(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


class Witness:
    def __init__(self, name: str) -> None:
        self.name, self.private = name, ed25519.Ed25519PrivateKey.generate()
        self.public = raw(self.private.public_key())
        self.key_id = hashlib.sha256(name.encode() + b"\n\x04" + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64(bytes([4]) + self.public)}"

    def line(self, text: str, at: str | int) -> str:
        """`at` is an instant, or the seconds as they are."""
        seconds = at if isinstance(at, int) else int(datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp())
        signature = self.private.sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
        return f"\u2014 {self.name} {b64(self.key_id + seconds.to_bytes(8, 'big') + signature)}\n"


class Log:
    """A log of the leaves appended, whose checkpoints the log's own key signs."""

    def __init__(self, key: ServiceKey, origin: str = ORIGIN) -> None:
        self.key, self.origin, self.leaves = key, origin, []

    def append(self, leaf: dict) -> str:
        self.leaves.append(canonical({"v": 1} | leaf))
        return self.leaves[-1]

    def signature_line(self, text: str, origin: str | None = None) -> str:
        origin = origin or self.origin
        if self.key.spec == "Ed25519":
            public = raw(self.key.private.public_key())
            key_id = hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
            value = self.key.private.sign(text.encode())
        else:
            key_id = hashlib.sha256(self.key.spki).digest()[:4]
            value = self.key.private.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        return f"\u2014 {origin} {b64(key_id + value)}\n"

    def checkpoint(self, cosignatures=(), extension: str = "") -> str:
        """`cosignatures` are pairs of a witness and its instant."""
        text = f"{self.origin}\n{len(self.leaves)}\n{b64(tree_root(self.leaves))}\n{extension}"
        lines = self.signature_line(text) + "".join(witness.line(text, at) for witness, at in cosignatures)
        return f"{text}\n{lines}"

    def proof(self, index: int, cosignatures=(), extension: str = "") -> str:
        path = "".join(b64(node) + "\n" for node in tree_path(index, self.leaves))
        return f"c2sp.org/tlog-proof@v1\nindex {index}\n{path}\n{self.checkpoint(cosignatures, extension)}"

    def proof_of_size(self, index: int, size: int | str) -> str:
        """In a tree of so many leaves, of which the others are made up; or in this one, whose size is spelled so."""
        path, root = tree_path(index, self.leaves), tree_root(self.leaves)
        if isinstance(size, int):
            path = [bytes([level]) * 32 for level in range((size - 1).bit_length())]
            root = hashlib.sha256(b"\x00" + self.leaves[index].encode()).digest()
            for level, node in enumerate(path):
                pair = node + root if index >> level & 1 else root + node
                root = hashlib.sha256(b"\x01" + pair).digest()
        text = f"{self.origin}\n{size}\n{b64(root)}\n"
        lines = "".join(b64(node) + "\n" for node in path)
        return f"c2sp.org/tlog-proof@v1\nindex {index}\n{lines}\n{text}\n{self.signature_line(text)}"

    def succeeded_by(self, origin: str, left: int | None = None, **changed) -> dict:
        """What a ceremony orders that moves this log, of whose leaves so many are left, to the origin."""
        size = len(self.leaves)
        left = size if left is None else left
        lost = None if left == size else {"first": left, "last": size - 1}
        order = {"origin": origin, "previous_origin": self.origin, "previous_checkpoint": self.checkpoint()}
        return order | {"size": left, "lost": lost, "root": tree_root(self.leaves[:left]).hex()} | changed


INPUTS = {
    "jws": b"eyJhbGciOiJFUzI1NiJ9.YSByZWNvcmQ", "dsse": b"DSSEv1 1 t 8 a record", "message": b"a record",
    "digest": b"a record",
}  # fmt: skip


class Story:
    """A log in which a key is born, signs once at minute 100, and has the life that the test gives it."""

    RING = "atp-integrity"

    def __init__(
        self, algorithm: str = "ES256", log_algorithm: str = "Ed25519", covers: str = "jws", installation=None, usage=None
    ) -> None:
        self.installation = installation or Installation()
        self.log_key, self.key = ServiceKey(log_algorithm), ServiceKey(algorithm)
        self.log_birth = self.installation.generate("log", self.log_key)
        usage = usage or ("structured" if covers in ("jws", "dsse") else "raw")
        self.birth = self.installation.generate(self.RING, self.key, order={"usage": usage})
        self.log, self.life, self.revocation, self.covers = Log(self.log_key), [], None, covers
        self.corrections, self.origins = [], []
        self.log.append({"kind": "roster", "action": "install-genesis", "actor": "cli:0:root", "time": minute(0)})
        self.act(10, "accepted", "kid", kind="ceremony", digest=sha256(self.birth))

    @property
    def genesis_digest(self) -> str:
        return self.installation.genesis_digest

    def act(self, at: int, action: str, concerns: str, **members) -> "Story":
        """An act of the key's life, in which it stands as `kid` or `previous_kid`."""
        leaf = {"kind": "key", "action": action, "actor": "cli:0:root", "ring": self.RING, "time": minute(at)}
        self.life.append(len(self.log.leaves))
        self.log.append(leaf | {concerns: self.key.kid} | members)
        return self

    def activate(self) -> "Story":
        return self.act(20, "rotate", "kid")

    def sign(self, message: bytes | None = None, at: int = 100) -> "Story":
        digested = self.covers == "digest"
        message = INPUTS[self.covers] if message is None else message
        digest = hashlib.sha384 if self.key.algorithm == "ES384" else hashlib.sha256
        self.input = digest(message).digest() if digested else message
        self.signature, self.salt = self.key.sign(self.input, digested), b"salt" * 4
        self.index = len(self.log.leaves)
        self.log.append({
            "actor": "anna", "alg": self.key.algorithm, "input_commit": sha256(self.salt + self.input), "kid": self.key.kid,
            "kind": "sign", "ring": self.RING, "sig_hash": sha256(self.key.lower(self.signature)), "time": minute(at),
        })  # fmt: skip
        return self

    def correct(self, first: int, last: int, bound: int, leaf=None, order=None, **changed) -> "Story":
        """A correction of the clock, and the leaf of it."""
        said = {"first": first, "last": last, "bound": minute(bound), "origin": self.log.origin}
        transcript = self.installation.correct(**said | (order or {}), **changed)
        return self.rule(self.corrections, "clock-correction", transcript, said | (leaf or {}))

    def move(self, origin: str, left: int | None = None, order=None, leaf=None, **changed) -> "Story":
        """A new origin, and the leaf of it. Proofs are of the new tree from here on."""
        wanted = self.log.succeeded_by(origin, left) | (order or {})
        transcript = self.installation.move(wanted, **changed)
        said = {"origin": origin, "first": wanted["size"], "last": len(self.log.leaves)}
        old, self.log = self.log, Log(self.log.key, origin)
        self.log.leaves = old.leaves[: wanted["size"]]
        return self.rule(self.origins, "new-origin", transcript, said | (leaf or {}))

    def rule(self, ruled: list, action: str, transcript: str, members: dict) -> "Story":
        ruled.append((len(self.log.leaves), transcript))
        said = {"ref": sha256(json.loads(transcript)["record"]["request"]), "digest": sha256(transcript)}
        leaf = {"kind": "log", "action": action, "actor": "chancery", "time": minute(410)} | said | members
        self.log.append({name: value for name, value in leaf.items() if value is not None})
        return self

    def demote(self) -> "Story":
        return self.act(200, "rotate", "previous_kid", kid=b64u(b"n" * 32))

    def retire(self, at: int = 300) -> "Story":
        return self.act(at, "retire", "kid")

    def revoke(self, reason: str = "superseded", since: int | None = None, number: int = 1) -> "Story":
        since_members = {} if since is None else {"compromised_since": minute(since)}
        spelled = since_members.get("compromised_since")
        self.revocation, ref = None, "0" * 64
        if reason != "compromised" or since is not None:
            self.revocation = self.installation.revoke(self.RING, self.key.kid, reason, spelled, number)
            ref = sha256(json.loads(self.revocation)["record"]["request"])
        return self.act(402, "revoke", "previous_kid", reason=reason, ref=ref, **since_members)

    def ruled(self, which: list) -> list:
        return [
            {"leaf": self.log.leaves[index], "proof": self.log.proof(index), "transcript": transcript}
            for index, transcript in which
        ]

    def members(self, cosignatures=(), **changed) -> dict:
        """The members of the evidence file; one that is changed to None is left out."""
        life = [{"leaf": self.log.leaves[index], "proof": self.log.proof(index)} for index in self.life]
        file = {
            "environment": ENVIRONMENT, "service": SERVICE, "leaf": self.log.leaves[self.index], "life": life,
            "corrections": self.ruled(self.corrections), "origins": self.ruled(self.origins),
            "log_keys": [self.log_birth], "proof": self.log.proof(self.index, cosignatures),
            "revocation": self.revocation, "subject": self.subject(), "transcript": self.birth,
            "type": "chancery-evidence", "v": 1,
        } | changed  # fmt: skip
        return {name: value for name, value in file.items() if value is not None}

    def subject(self, **changed) -> dict:
        encoded = {"input": b64u(self.input), "signature": b64u(self.signature), "salt": b64u(self.salt)}
        return {"covers": self.covers} | encoded | changed

    def evidence(self, cosignatures=(), **changed) -> bytes:
        return canonical(self.members(cosignatures, **changed)).encode()

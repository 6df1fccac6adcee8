"""Whether what was done is what was ordered: docs/TRANSCRIPT.md section 8."""

import hashlib

from . import place
from .keys import PublicKey, read_spki
from .operations import decided
from .refusal import Malformed, Refused
from .roster import Pin
from .shape import b64u_of_bytes, bytes_of_b64u, sha256_hex
from .sshsig import pae
from .strict_json import canonical

_KEY_OF_PURPOSE = {"sign": "public", "wrap": "check"}


def check_outcome(request: dict, request_digest: str, outcome: tuple, pin: Pin) -> tuple:
    """The kid and the public key, of a generation; the latter only of a key that signs."""
    operation, order = request["operation"]
    kind, said = outcome
    if operation != "generate":
        if outcome != _expected(operation, order):
            raise Refused("Ceremony/OtherOutcome", f"the outcome {kind} is not what was requested")
        return None, None
    purpose, wanted = order["purpose"]
    if kind != "generated" or said["key"][0] != _KEY_OF_PURPOSE[purpose]:
        raise Refused("Ceremony/OtherOutcome", f"the outcome {kind} is not a key of the purpose {purpose}")
    stated = said["key"][1]
    key = _check_public(stated) if purpose == "sign" else _check_check(stated, order, request)
    if key is not None and key.spec != wanted["key_spec"]:
        raise Refused("Ceremony/ReadBack", f"a key of {key.spec} in place of {wanted['key_spec']}")
    try:
        place.check_as_ordered(purpose, wanted["key_spec"], order["place"], said["location"], said["read_back"])
    except Malformed as error:
        raise Refused("Ceremony/ReadBack", str(error)) from None
    if key is not None:
        _check_possession(key, wanted["algorithm"], stated, request_digest, pin)
    return stated["kid"], key


def _expected(operation: str, order: dict) -> tuple:
    if operation == "destroy":
        return "destroyed", {"kids": [key["kid"] for key in order["keys"]]}
    if operation == "revoke":
        return "revoked", {"kid": order["kid"]}
    if operation == "clock-correction":
        return "corrected", order
    if operation == "resume":
        return "resumed", order
    if operation == "emergency-rotation":
        return "emergency-rotated", {"kid": order["standby"], "revoked": order["kid"]}
    if operation == "ratification":
        return "ratified", {"rotation": order["rotation"]}
    if operation == "rotation-policy":
        return "policy-set", decided(order)
    if operation == "order":
        return "ordered", {"id": order["id"]}
    return "new-origin", {name: order[name] for name in ("origin", "root", "size")}


def _check_public(stated: dict) -> PublicKey:
    try:
        key = read_spki(bytes_of_b64u(stated["public_key"]))
    except Malformed as error:
        raise Refused("Ceremony/PublicKey", str(error)) from None
    if stated["kid"] != key.kid:
        raise Refused("Ceremony/KeyMismatch", "the kid is not the thumbprint of the key")
    if stated["spki_digest"] != sha256_hex(key.spki):
        raise Refused("Ceremony/KeyMismatch", "`spki_digest` is not that of the key")
    return key


def _check_check(stated: dict, order: dict, request: dict) -> None:
    """A wrapping key shows its check value; that somebody has the key is stated, and proven by nothing here."""
    named = {"number": order["number"], "ring": order["ring"]}
    place_of_key = {"environment": request["environment"], "service": request["service"], "v": 1}
    if stated["challenge"] != sha256_hex(canonical(named | place_of_key)):
        raise Refused("Ceremony/KeyMismatch", "the challenge is not that of this key")
    identity = canonical(named | {"check_value": stated["check_value"]})
    if stated["kid"] != b64u_of_bytes(hashlib.sha256(identity).digest()):
        raise Refused("Ceremony/KeyMismatch", "the kid is not that of the check value")


def _check_possession(key: PublicKey, algorithm: str, stated: dict, request_digest: str, pin: Pin) -> None:
    challenge = canonical({"kid": stated["kid"], "request_digest": request_digest, "v": 1}).decode()
    message = pae(pin.namespace("possession"), challenge)
    if not key.verifies(algorithm, message, bytes_of_b64u(stated["possession"])):
        raise Refused("Ceremony/Possession", "the proof of possession is invalid")

"""MemberSignature: how a person signs, by its kind (docs/TRANSCRIPT.md sections 3 and 4)."""

from . import passkeys, sshsig
from .refusal import Refused
from .shape import sha256_hex
from .strict_json import canonical


def verify(signature: dict, namespace: str, body: str) -> sshsig.SshKey:
    """The key that signed the body in this namespace. Raises Refused with the reason of section 4."""
    if signature["kind"] != "ssh":
        raise Refused("Kind", "this kind of signature is not supported")
    return sshsig.verify(signature["signature"], namespace, body)


def verify_by(signature: dict, namespace: str, body: str, roster: dict):
    """What names the key that signed the body: the wire form of an SSH key, or the identity of a passkey of the roster."""
    if signature["kind"] == "webauthn":
        return passkeys.verify(signature, sshsig.pae(namespace, body), roster)
    return verify(signature, namespace, body).wire


def digest(signature: dict) -> str:
    """How the log names it."""
    return sha256_hex(canonical(signature))

"""MemberSignature: how a person signs, by its kind (docs/TRANSCRIPT.md sections 3 and 4)."""

from . import sshsig
from .refusal import Refused
from .shape import sha256_hex
from .strict_json import canonical


def verify(signature: dict, namespace: str, body: str) -> sshsig.SshKey:
    """The key that signed the body in this namespace. Raises Refused with the reason of section 4."""
    if signature["kind"] != "ssh":
        raise Refused("Kind", "this kind of signature is not supported")
    return sshsig.verify(signature["signature"], namespace, body)


def digest(signature: dict) -> str:
    """How the log names it."""
    return sha256_hex(canonical(signature))

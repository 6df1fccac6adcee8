"""The signature itself, in an evidence file: docs/LOG.md, "Evidence" and "Verify", step 8."""

from .keys import PublicKey
from .refusal import Malformed, Refused
from .shape import bytes_of_b64u, one_of, record, sha256_hex
from .strict_json import canonical, read_strict

_USAGE_OF = {"jws": "structured", "dsse": "structured", "message": "raw", "digest": "raw"}
_DSSE = b"DSSEv1 "

form = record(
    {"covers": one_of(*_USAGE_OF), "input": bytes_of_b64u, "signature": bytes_of_b64u},
    optional={"salt": bytes_of_b64u},
)


def wrong_with(subject: dict, leaf: dict, key: PublicKey, usage: str) -> str | None:
    """The reason of INVALID, if there is one. That the signature is another than the leaf's is a refusal."""
    covers, signed, signature = subject["covers"], subject["input"], subject["signature"]
    _check_form(covers, signed)
    if sha256_hex(key.canonical_signature(signature)) != leaf["sig_hash"]:
        raise Refused("subject", "the leaf belongs to a different signature")
    if subject["salt"] is not None and sha256_hex(subject["salt"] + signed) != leaf["input_commit"]:
        raise Refused("subject", "the leaf belongs to a different input")
    verifies = key.verifies_digest if covers == "digest" else key.verifies
    if not verifies(leaf["alg"], signed, signature):
        return "bad_signature"
    return None if usage == _USAGE_OF[covers] else "wrong_usage"


def _check_form(covers: str, signed: bytes) -> None:
    if covers == "dsse" and not signed.startswith(_DSSE):
        raise Refused("subject", "the input is not a DSSE pre-authentication encoding")
    if covers == "jws":
        header, dot, _ = signed.partition(b".")
        try:
            members = read_strict(bytes_of_b64u(header.decode("ascii")))
            canonical(members)  # refuses a lone surrogate
            is_jws = dot and isinstance(members, dict)
        except (Malformed, UnicodeDecodeError):
            is_jws = False
        if not is_jws:
            raise Refused("subject", "the input is not the header and payload of a JWS")

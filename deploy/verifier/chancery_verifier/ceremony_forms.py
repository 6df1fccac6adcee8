"""The objects of a transcript: the tables of docs/TRANSCRIPT.md section 3, and its `ssh key`."""

from . import operations, place, shape
from .refusal import Malformed
from .operations import ssh_key
from .shape import array, boolean, bytes_of_b64u, instant, kinded, mapping, one_of, or_null, record, tagged, text
from .strict_json import read_canonical

MAX_THRESHOLDS = 100


def _credential_id(value) -> str:
    if not 16 <= len(bytes_of_b64u(value)) <= 1023:
        raise Malformed("Content: a credential id of 16 to 1023 bytes was expected")
    return value


def _plain_later(value) -> str:
    # plain(n) is judged where a section says so, not when the JSON is read.
    return text(value)


# What is read of these is equal to the JSON, so that its canonical form is that of the file.
member_signature = kinded(
    {
        "ssh": record({"signature": text}),
        "webauthn": record(
            {
                "authenticator_data": shape.b64u,
                "client_data": shape.b64u,
                "credential_id": shape.b64u,
                "signature": shape.b64u,
            }
        ),
    }
)
_member_key = kinded(
    {
        "ssh": record({"public": ssh_key}),
        "webauthn": record(
            {
                "algorithm": one_of("ES256", "Ed25519", "RS256"),
                "credential_id": _credential_id,
                "public_key": shape.b64u,
            }
        ),
    }
)
signed = record({"body": text, "signatures": array(member_signature)})

member = record(
    {
        "id": shape.name,
        "name": _plain_later,
        "roles": array(shape.word),
        "keys": array(_member_key),
        "active": boolean,
    }
)
_document = {
    "v": shape.version_one,
    "service": shape.name,
    "environment": shape.name,
    "version": shape.uint,
    "previous": or_null(shape.digest),
}
roster = record(
    _document
    | {
        "members": array(member),
        "expires_at": or_null(instant),
        "passkeys": or_null(record({"origins": array(text), "rp_id": text})),
    }
)


def _thresholds(value) -> dict:
    thresholds = mapping(shape.word, shape.threshold, MAX_THRESHOLDS)(value)
    if "default" not in thresholds:
        raise Malformed("Content: the member 'default' is missing")
    return thresholds


policy = record(_document | {"routine_rings": array(shape.name), "thresholds": _thresholds})
recovery_roster = record(
    _document
    | {
        "members": array(record({"id": shape.name, "name": _plain_later, "keys": array(_member_key)})),
        "threshold": shape.threshold,
        "delay_seconds": shape.uint,
    }
)
genesis = record({"v": shape.version_one, "roster": roster, "policy": policy})

reference = record({"version": shape.uint, "digest": shape.digest})
request = record(
    {
        "v": shape.version_one,
        "service": shape.name,
        "environment": shape.name,
        "lines": array(record({"subject": shape.subject, "sequence": shape.uint, "previous": or_null(shape.digest)})),
        "roster": reference,
        "policy": reference,
        "operation": operations.operation,
        "order": or_null(record({"id": shape.hex16, "use": shape.integer(1, 2**32 - 1)})),
        "proposer": or_null(shape.name),
        "reason": _plain_later,
        "ticket": or_null(_plain_later),
        "created_at": instant,
        "approve_by": instant,
        "execute_by": instant,
        "nonce": shape.hex16,
    }
)

_public = record(
    {"kid": shape.kid, "spki_digest": shape.digest, "public_key": shape.b64u, "possession": shape.b64u},
)
_check = record({"kid": shape.kid, "challenge": shape.digest, "check_value": shape.digest})
outcome = tagged(
    {
        "generated": record(
            {
                "key": tagged({"public": _public, "check": _check}),
                "location": place.location,
                "read_back": place.read_back,
                "attestation": or_null(shape.b64u),
            }
        ),
        "destroyed": record({"kids": array(shape.kid)}),
        "revoked": record({"kid": shape.kid}),
        "corrected": operations.clock_correction,
        "new-origin": record({"origin": text, "root": shape.digest, "size": shape.uint}),
        "ordered": record({"id": shape.hex16}),
        "resumed": operations.resume,
        "emergency-rotated": record({"kid": shape.kid, "revoked": shape.kid}),
        "ratified": record({"rotation": shape.digest}),
        "policy-set": operations.decided_policy,
    }
)
statement = record(
    {
        "v": shape.version_one,
        "request_digest": shape.digest,
        "record_digest": shape.digest,
        "executed_at": instant,
        "outcome": outcome,
    }
)

veto = record({"v": shape.version_one, "document_digest": shape.digest, "reason": text, "roster": reference})
# Of a rejection and of a cancellation.
refusal = record({"v": shape.version_one, "reason": text, "request_digest": shape.digest})
suspension = record(
    {"v": shape.version_one, "member": shape.name, "nonce": shape.hex16, "reason": text, "roster": reference},
)
# What one member signs to stop signing.
_line = record({"subject": shape.subject, "sequence": shape.uint, "previous": or_null(shape.digest)})
stop = record(
    {
        "v": shape.version_one,
        "expires_at": instant,
        "line": _line,
        "nonce": shape.hex16,
        "reason": text,
        "roster": reference,
    }
)
_step = record(
    {"at": instant, "what": text, "witness": or_null(record({"name": text, "note": text}))},
)
_received = record({"received_at": instant, "signature": member_signature})
_refusal = record({"body": text, "received_at": instant, "signature": member_signature})
_logged = {"leaf": text, "proof": text}
_recovery = record(
    {
        "announcement": record(_logged),
        "document": signed,
        "effect": record(_logged),
        "log_keys": array(text),
        "vetoes": array(record(_logged | {"body": text, "signature": member_signature})),
    }
)
_change = tagged({"roster": signed, "policy": signed, "recovery-roster": signed, "recovery": _recovery})
_record = record(
    {
        "v": shape.version_one,
        "chains": record({"genesis": signed, "changes": array(_change)}),
        "request": text,
        "proposal": or_null(_received),
        "order": or_null(text),
        "approvals": array(_received),
        "rejections": array(_refusal),
        "cancellations": array(_refusal),
        "suspensions": array(record({"body": text, "received_at": instant, "signatures": array(member_signature)})),
        "steps": array(_step),
    }
)
transcript = record(
    {
        "v": shape.version_one,
        "record": _record,
        "acceptance": record(
            {"statement": text, "signatures": array(member_signature), "result": or_null(member_signature)},
        ),
        "log_keys": array(text),
        "log_proofs": array(record(_logged)),
    }
)
stop_file = record(
    {
        "v": shape.version_one,
        "body": text,
        "chains": record({"genesis": signed, "changes": array(_change)}),
        "log_keys": array(text),
        "log_proofs": array(record(_logged)),
        "signature": member_signature,
    }
)


def read_text(form, body: str) -> dict:
    """Canonical JSON of the form, out of a document that holds it as text."""
    try:
        data = body.encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("Content: a lone surrogate in a string") from None
    return form(read_canonical(data))

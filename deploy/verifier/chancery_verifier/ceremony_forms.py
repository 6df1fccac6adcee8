"""The objects of a transcript: the tables of docs/TRANSCRIPT.md section 3, and its `ssh key`."""

from . import shape
from .refusal import Malformed
from .shape import array, boolean, instant, one_of, or_null, record, tagged, text
from .sshsig import read_key_text
from .strict_json import read_canonical


def ssh_key(value):
    return read_key_text(text(value))


def _plain_later(value) -> str:
    # plain(n) is judged where a section says so, not when the JSON is read.
    return text(value)


signed = record({"body": text, "signatures": array(text)})

member = record(
    {
        "id": shape.name,
        "name": _plain_later,
        "roles": array(shape.role),
        "keys": array(record({"kind": one_of("ssh"), "public": ssh_key})),
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
THRESHOLDS = ("generate", "rotate", "accept", "destroy", "revoke", "roster_change", "policy_change", "resume")
roster = record(_document | {"members": array(member), "expires_at": or_null(instant)})
policy = record(_document | {"thresholds": record({name: shape.threshold for name in THRESHOLDS})})
genesis = record({"v": shape.version_one, "roster": roster, "policy": policy})

FLAGS = ("token", "private", "sensitive", "extractable", "modifiable", "sign", "decrypt", "unwrap", "derive")
template = record({name: boolean for name in FLAGS})
generate = record(
    {
        "ring": shape.name,
        "algorithm": shape.algorithm,
        "key_spec": shape.key_spec,
        "number": shape.u32,
        "token_serial": _plain_later,
        "token_label": _plain_later,
        "cka_id": shape.hex16,
        "label": _plain_later,
        "template": template,
        "critical": boolean,
        "usage": one_of("structured", "raw"),
        "publish_at": instant,
        "activate_at": instant,
        "retire_at": instant,
        "predecessor": or_null(shape.kid),
    }
)
destroy = record(
    {
        "ring": shape.name,
        "kid": shape.kid,
        "number": shape.u32,
        "cka_id": shape.hex16,
        "token_serial": _plain_later,
        "token_label": _plain_later,
    }
)
REASONS = ("unspecified", "compromised", "superseded")
revoke = record(
    {
        "ring": shape.name,
        "kid": shape.kid,
        "number": shape.u32,
        "reason": one_of(*REASONS),
        "compromised_since": or_null(instant),
    }
)
_reference = record({"version": shape.uint, "digest": shape.digest})
request = record(
    {
        "v": shape.version_one,
        "service": shape.name,
        "environment": shape.name,
        "sequence": shape.uint,
        "previous_transcript": or_null(shape.digest),
        "roster": _reference,
        "policy": _reference,
        "operation": tagged({"generate": generate, "destroy": destroy, "revoke": revoke}),
        "proposer": shape.name,
        "reason": _plain_later,
        "ticket": or_null(_plain_later),
        "created_at": instant,
        "approve_by": instant,
        "execute_by": instant,
        "nonce": shape.hex16,
    }
)

read_back = record(
    {
        "token_serial": text,
        "token_label": text,
        "label": text,
        "cka_id": shape.hex16,
        "key_spec": shape.key_spec,
        "template": template,
        "always_sensitive": or_null(boolean),
        "never_extractable": or_null(boolean),
        "local": or_null(boolean),
    }
)
generated = record(
    {
        "kid": shape.kid,
        "spki_digest": shape.digest,
        "public_key": shape.b64u,
        "read_back": read_back,
        "possession": shape.b64u,
        "attestation": or_null(shape.b64u),
    }
)
_kid_alone = record({"kid": shape.kid})
statement = record(
    {
        "v": shape.version_one,
        "request_digest": shape.digest,
        "record_digest": shape.digest,
        "executed_at": instant,
        "outcome": tagged({"generated": generated, "destroyed": _kid_alone, "revoked": _kid_alone}),
    }
)

rejection = record({"v": shape.version_one, "reason": text, "request_digest": shape.digest})
_step = record(
    {"at": instant, "what": text, "witness": or_null(record({"name": text, "note": text}))},
)
_record = record(
    {
        "v": shape.version_one,
        "chains": record({"genesis": signed, "changes": array(tagged({"roster": signed, "policy": signed}))}),
        "request": text,
        "approvals": array(record({"received_at": instant, "signature": text})),
        "rejections": array(record({"body": text, "received_at": instant, "signature": text})),
        "steps": array(_step),
    }
)
transcript = record(
    {
        "v": shape.version_one,
        "record": _record,
        "acceptance": record({"statement": text, "signatures": array(text)}),
        "log_proofs": array(text),
    }
)


def read_text(form, body: str) -> dict:
    """Canonical JSON of the form, out of a document that holds it as text."""
    try:
        data = body.encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("Content: a lone surrogate in a string") from None
    return form(read_canonical(data))

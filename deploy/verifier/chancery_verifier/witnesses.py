"""What witnesses attest of a ceremony that is closed: docs/TRANSCRIPT.md section 14. It counts towards nothing."""

from dataclasses import dataclass

from . import ceremony_forms as forms
from . import shape
from .counting import Rules, count
from .refusal import Malformed, Refused
from .shape import array, instant, is_plain, or_null, record, text
from .strict_json import read_canonical
from .transcript import Ceremony

MAX_FILE = 512 * 1024
MAX_NOTE = 1000

_body = record({"core_digest": shape.digest, "note": or_null(text), "request_digest": shape.digest, "v": shape.version_one})
# `log` has room for a leaf and its proof, which no file of today has.
_attestation = record(
    {"body": text, "log": shape.null, "received_at": or_null(instant), "signature": forms.member_signature}
)
_file = record({"attestations": array(_attestation), "request_digest": shape.digest, "v": shape.version_one})


@dataclass(frozen=True)
class Attested:
    witness: str
    note: str | None


def read_attestations(data: bytes) -> list:
    if len(data) > MAX_FILE:
        raise Malformed(f"more than {MAX_FILE} bytes")
    return _file(read_canonical(data))["attestations"]


def judge_attestations(attestations: list, ceremony: Ceremony) -> list:
    """Of each what it attests, or the Refused that says why it does not hold; the transcript holds all the same."""
    judged, seen = [], set()
    for attestation in attestations:
        try:
            attested = judge_attestation(attestation, ceremony)
            if attested.witness in seen:
                raise Refused("Again", attested.witness)
            seen.add(attested.witness)
            judged.append(attested)
        except Refused as refused:
            judged.append(refused)
    return judged


def judge_attestation(attestation: dict, ceremony: Ceremony) -> Attested:
    if attestation["signature"]["kind"] == "webauthn":
        raise Refused("Passkey", "a witness attests by an SSH key")
    body, namespace = attestation["body"], ceremony.pin.namespace("witness")
    counted = count([(attestation["signature"], True)], namespace, body, ceremony.roster, Rules(custodians=False))
    if not counted.members:
        raise Refused("Signature", counted.others[0])
    witness = counted.members[0]
    listed = next(member for member in ceremony.roster["members"] if member["id"] == witness)
    if "witness" not in listed["roles"]:
        raise Refused("Role", f"{witness} is not a witness")
    if witness in ceremony.suspended:
        raise Refused("Suspended", witness)
    try:
        said = forms.read_text(_body, body)
    except Malformed as error:
        raise Refused("Unreadable", str(error)) from None
    if (said["core_digest"], said["request_digest"]) != (ceremony.core_digest, ceremony.request_digest):
        raise Refused("OtherTranscript", "the attestation is of a different transcript")
    if said["note"] is not None and not is_plain(said["note"], MAX_NOTE):
        raise Refused("Text", "`note`")
    if witness in (ceremony.request["proposer"], *ceremony.approved, *ceremony.accepted):
        raise Refused("TookPart", f"{witness} took part in the ceremony")
    return Attested(witness, said["note"])

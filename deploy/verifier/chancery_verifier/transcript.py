"""The verification of a transcript: docs/TRANSCRIPT.md sections 7 to 9. Refusals are the names in brackets there."""

from dataclasses import dataclass

from . import ceremony_forms as forms
from .keys import SPECS_OF_ALGORITHM, PublicKey, read_spki
from .refusal import Malformed, Refused
from .roster import Chain, Pin, count, without_deadline
from .shape import bytes_of_b64u, is_plain, sha256_hex
from .sshsig import pae
from .strict_json import canonical, read_canonical

_OUTCOME_OF = {"generate": "generated", "destroy": "destroyed", "revoke": "revoked"}


@dataclass(frozen=True)
class Ceremony:
    """A transcript that holds. `key` and `algorithm` are only of a generation; `order` is what the request ordered."""

    pin: Pin
    operation: str
    order: dict
    kid: str
    key: PublicKey | None
    approved: list
    accepted: list
    digest: str
    request_digest: str
    executed_at: str

    @property
    def ring(self) -> str:
        return self.order["ring"]


def verify_transcript(data: bytes, pin: Pin) -> Ceremony:
    """Section 9, step by step."""
    try:
        value = read_canonical(data)
        transcript = forms.transcript(value)
    except Malformed as error:
        raise Refused("Unreadable", str(error)) from None
    if transcript["log_proofs"]:
        raise Refused("LogProofs", "`log_proofs` is not empty")
    record, acceptance = transcript["record"], transcript["acceptance"]
    statement = _read_statement(acceptance["statement"])
    if statement["record_digest"] != sha256_hex(canonical(value["record"])):
        raise Refused("Ceremony/OtherRecord", "the statement is about another record")
    chain = Chain(record["chains"], pin)
    request, approved = _judge_approval(record, chain, statement["executed_at"])
    request_digest = sha256_hex(record["request"].encode())
    if statement["request_digest"] != request_digest:
        raise Refused("Ceremony/OtherRequest", "the statement is about another request")
    if statement["executed_at"] < request["created_at"]:
        raise Refused("Ceremony/TooEarly", "executed before it was requested")
    kid, key = _check_outcome(request, request_digest, statement["outcome"], chain.pin)
    accepted = _count_acceptances(acceptance, request, chain)
    operation, order = request["operation"]
    digest, executed_at = sha256_hex(acceptance["statement"].encode()), statement["executed_at"]
    return Ceremony(chain.pin, operation, order, kid, key, approved, accepted, digest, request_digest, executed_at)


def _read_statement(body: str) -> dict:
    try:
        return forms.read_text(forms.statement, body)
    except Malformed as error:
        raise Refused("Ceremony/Unreadable", str(error)) from None


# Section 7: the approval.


def _judge_approval(record: dict, chain: Chain, executed_at: str) -> tuple:
    """The request and who approved it."""
    request = _read_request(record["request"])
    _check_content(request)
    _check_written_under(request, chain, executed_at)
    _check_not_rejected(record, chain)
    if executed_at > request["execute_by"]:
        raise _not_approved("Expired", "executed after `execute_by`")
    counted = _count_approvals(record, request, chain, executed_at)
    needed = chain.policy["thresholds"][_threshold_of(request)]
    if len(counted.members) < needed:
        raise _not_approved("Waiting or Expired", f"{len(counted.members)} approvals of {needed} {counted.others}")
    return request, counted.members


def _not_approved(standing: str, why: str) -> Refused:
    return Refused("Ceremony/NotApproved", f"{standing}: {why}")


def _read_request(body: str) -> dict:
    try:
        return forms.read_text(forms.request, body)
    except Malformed as error:
        raise _not_approved("Refused", f"Unreadable: {error}") from None


def _check_content(request: dict) -> None:
    def need(condition: bool, reason: str) -> None:
        if not condition:
            raise _not_approved("Refused", f"Content: {reason}")

    operation, order = request["operation"]
    sequence, previous = request["sequence"], request["previous_transcript"]
    need(sequence >= 1 and (sequence == 1) == (previous is None), "Sequence")
    need(is_plain(request["reason"], 1000), "Text: `reason`")
    need(request["ticket"] is None or is_plain(request["ticket"], 200), "Text: `ticket`")
    for member, most in (("token_serial", 64), ("token_label", 64), ("label", 100)):
        need(member not in order or is_plain(order[member], most), f"Text: `{member}`")
    need(request["created_at"] <= request["approve_by"] <= request["execute_by"], "Order")
    if operation == "generate":
        _check_generate(order, need)
    else:
        need(order["number"] != 0, "NumberZero")
    if operation == "revoke":
        since = order["compromised_since"]
        need((order["reason"] == "compromised") == (since is not None), "CompromisedSince")
        need(since is None or since <= request["created_at"], "Order: `compromised_since` after `created_at`")


def _check_generate(order: dict, need) -> None:
    need(order["publish_at"] <= order["activate_at"] <= order["retire_at"], "Order")
    need(order["key_spec"] in SPECS_OF_ALGORITHM[order["algorithm"]], "KeySpec")
    flags = order["template"]
    need(all(flags[flag] for flag in ("token", "private", "sensitive", "sign")), "Template")
    need(not any(flags[flag] for flag in ("extractable", "decrypt", "unwrap", "derive")), "Template")
    number, predecessor = order["number"], order["predecessor"]
    need(number != 0 and not (number == 1 and predecessor is not None), "Number")


def _check_written_under(request: dict, chain: Chain, executed_at: str) -> None:
    if (request["service"], request["environment"]) != (chain.pin.service, chain.pin.environment):
        raise _not_approved("Refused", f"Elsewhere: {request['service']}/{request['environment']}")
    for kind in ("roster", "policy"):
        if request[kind] != chain.references[kind]:
            raise _not_approved("Refused", f"{kind.capitalize()}: not the current one")
    expires_at = chain.roster["expires_at"]
    if expires_at is not None and expires_at < executed_at:
        raise _not_approved("Refused", "RosterExpired")
    if not any(member["id"] == request["proposer"] and member["active"] for member in chain.roster["members"]):
        raise _not_approved("Refused", f"Proposer: {request['proposer']} is not an active member")


def _check_not_rejected(record: dict, chain: Chain) -> None:
    """One rejection that counts is enough; one that does not is without effect, whatever its form."""
    digest, namespace = sha256_hex(record["request"].encode()), chain.pin.namespace("reject")
    for rejection in record["rejections"]:
        signatures = without_deadline([rejection["signature"]])
        counted = count(signatures, namespace, rejection["body"], chain.roster["members"])
        if counted.members and _rejects(rejection["body"], digest):
            raise _not_approved("Rejected", f"by {counted.members[0]}")


def _rejects(body: str, request_digest: str) -> bool:
    try:
        return forms.read_text(forms.rejection, body)["request_digest"] == request_digest
    except Malformed:
        return False


def _count_approvals(record: dict, request: dict, chain: Chain, executed_at: str):
    deadline = min(request["approve_by"], executed_at)
    signatures = [(approval["signature"], approval["received_at"] <= deadline) for approval in record["approvals"]]
    namespace = chain.pin.namespace("approve")
    return count(signatures, namespace, record["request"], chain.roster["members"], proposer=request["proposer"])


def _threshold_of(request: dict) -> str:
    operation, order = request["operation"]
    return "rotate" if operation == "generate" and order["predecessor"] is not None else operation


# Section 8: the outcome.


def _check_outcome(request: dict, request_digest: str, tagged: tuple, pin: Pin) -> tuple:
    """The kid, and the key of a generation."""
    operation, order = request["operation"]
    kind, outcome = tagged
    if kind != _OUTCOME_OF[operation] or (operation != "generate" and outcome["kid"] != order["kid"]):
        raise Refused("Ceremony/OtherOutcome", f"the outcome {kind} is not what was ordered")
    if operation != "generate":
        return outcome["kid"], None
    key = _check_key(outcome)
    _check_read_back(outcome["read_back"], order, key)
    challenge = canonical({"kid": outcome["kid"], "request_digest": request_digest, "v": 1}).decode()
    message = pae(pin.namespace("possession"), challenge)
    if not key.verifies(order["algorithm"], message, bytes_of_b64u(outcome["possession"])):
        raise Refused("Ceremony/Possession", "the proof of possession does not check")
    return outcome["kid"], key


def _check_key(outcome: dict) -> PublicKey:
    try:
        key = read_spki(bytes_of_b64u(outcome["public_key"]))
    except Malformed as error:
        raise Refused("Ceremony/PublicKey", str(error)) from None
    if outcome["kid"] != key.kid:
        raise Refused("Ceremony/KeyMismatch", "the kid is not the thumbprint of the key")
    if outcome["spki_digest"] != sha256_hex(key.spki):
        raise Refused("Ceremony/KeyMismatch", "`spki_digest` is not that of the key")
    return key


def _check_read_back(read_back: dict, order: dict, key: PublicKey) -> None:
    if key.spec != order["key_spec"]:
        raise Refused("Ceremony/ReadBack", f"a key of {key.spec} in place of {order['key_spec']}")
    for member in ("token_serial", "token_label", "cka_id", "label", "key_spec", "template"):
        if read_back[member] != order[member]:
            raise Refused("Ceremony/ReadBack", f"`{member}` is not as ordered")
    for member in ("always_sensitive", "never_extractable", "local"):
        if read_back[member] is False:
            raise Refused("Ceremony/ReadBack", f"`{member}` is false")


# Section 9, steps 10 and 11: the acceptance.


def _count_acceptances(acceptance: dict, request: dict, chain: Chain) -> list:
    signatures = without_deadline(acceptance["signatures"])
    namespace, body = chain.pin.namespace("accept"), acceptance["statement"]
    counted = count(signatures, namespace, body, chain.roster["members"], proposer=request["proposer"])
    if counted.others:
        raise Refused("Superfluous", counted.others[0])
    threshold = "revoke" if request["operation"][0] == "revoke" else "accept"
    needed = chain.policy["thresholds"][threshold]
    if len(counted.members) < needed:
        raise Refused("NotAccepted", f"{len(counted.members)} acceptances of {needed}")
    return counted.members

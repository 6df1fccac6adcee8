"""The verification of a transcript: docs/TRANSCRIPT.md section 9. Refusals are the names in brackets there."""

from dataclasses import dataclass, field, replace

from . import ceremony_forms as forms
from . import log_proofs, operations
from .approval import Approval, judge_approval
from .counting import Rules, count, threshold, without_deadline
from .keys import PublicKey
from .operations import subjects_of
from .order_log import OfOrder, said_of_use
from .orders import UnderOrder, check_result
from .outcome import check_outcome
from .refusal import Malformed, Refused
from .roster import Chain, Pin
from .shape import sha256_hex
from .strict_json import canonical, read_canonical


@dataclass(frozen=True)
class Ceremony:
    """A transcript that holds. `kid` and `key` are of a generation, `key` only of a key that signs."""

    pin: Pin
    request: dict
    kid: str | None
    key: PublicKey | None
    approved: list
    accepted: list
    digest: str
    request_digest: str
    core_digest: str
    execution_digest: str  # of the core without the acceptances of custodians
    executed_at: str
    chain_digests: list
    roster: dict
    suspended: frozenset
    steps: list
    under: UnderOrder | None = None
    by_executor: str | None = None  # whose signature over the result accepts it
    by_passkey: frozenset = frozenset()  # who of those who approved did it so
    logged: dict = field(default_factory=dict)  # of each member who approved the instant that the log gives
    shows_use: bool = False  # whether the file has leaves that bear out the use of the order

    @property
    def operation(self) -> str:
        return self.request["operation"][0]

    @property
    def order(self) -> dict:
        return self.request["operation"][1]

    @property
    def subjects(self) -> list:
        return subjects_of(self.operation, self.order)

    @property
    def ring(self) -> str | None:
        return self.order.get("ring")

    @property
    def algorithm(self) -> str:
        return self.order["purpose"][1]["algorithm"]

    @property
    def order_use(self) -> str | None:
        """Under a standing order: whether the file shows what the log says of its use."""
        return None if self.under is None else said_of_use(self.shows_use)

    @property
    def possession(self) -> str | None:
        """Of a generation: whether somebody has shown to have the private half."""
        if self.operation != "generate":
            return None
        return "stated" if self.key is None else "proven"


def verify_transcript(data: bytes, pin: Pin) -> Ceremony:
    """Section 9."""
    transcript, ceremony, approval = _verify_all_but_the_log(data, pin)
    if not transcript["log_proofs"]:
        return ceremony
    order = OfOrder.of(ceremony, read_canonical(data)["record"]["chains"]["changes"])
    logged, shows_use = log_proofs.check(transcript, ceremony, (approval.counted, order), verify_core)
    return replace(ceremony, logged=logged, shows_use=shows_use)


def verify_core(data: bytes, pin: Pin) -> Ceremony:
    """A transcript that stands in another file, where it brings no proofs of its own."""
    transcript, ceremony, _ = _verify_all_but_the_log(data, pin)
    if transcript["log_keys"] or transcript["log_proofs"]:
        raise Refused("LogProofs", "a transcript with proofs where its core should be")
    return ceremony


def verify_order(data: bytes, pin: Pin) -> Ceremony:
    """The transcript of a standing order. No order stands under another, however deep a file is nested."""
    try:
        record = forms.transcript(read_canonical(data))["record"]
        request = forms.read_text(forms.request, record["request"])
    except Malformed as error:
        raise Refused("Transcript", str(error)) from None
    if request["operation"][0] != "order" or request["order"] is not None or record["order"] is not None:
        raise Refused("OtherOrder", "the transcript is not of a standing order")
    try:
        return verify_core(data, pin)
    except Refused as error:
        raise Refused("Transcript", str(error)) from None


def _verify_all_but_the_log(data: bytes, pin: Pin) -> tuple:
    try:
        value = read_canonical(data)
        transcript = forms.transcript(value)
    except Malformed as error:
        raise Refused("Unreadable", str(error)) from None
    record, acceptance = transcript["record"], transcript["acceptance"]
    if bool(transcript["log_keys"]) != bool(transcript["log_proofs"]):
        raise Refused("LogProofs", "one of `log_keys` and `log_proofs` is empty, and the other is not")
    statement = _read_statement(acceptance["statement"])
    if statement["record_digest"] != sha256_hex(canonical(value["record"])):
        raise Refused("Ceremony/OtherRecord", "the statement refers to a different record")
    chain = Chain(record["chains"], pin, verify_core)
    approval = judge_approval(record, chain, statement["executed_at"], verify_order)
    request, request_digest = approval.request, sha256_hex(record["request"].encode())
    if statement["request_digest"] != request_digest:
        raise Refused("Ceremony/OtherRequest", "the statement refers to a different request")
    if statement["executed_at"] < request["created_at"]:
        raise Refused("Ceremony/TooEarly", "executed before it was requested")
    by_executor = check_result(acceptance, approval.under, chain)
    kid, key = check_outcome(request, request_digest, statement["outcome"], chain.pin)
    without = {"log_keys": [], "log_proofs": []}
    ceremony = Ceremony(
        pin=chain.pin,
        request=request,
        kid=kid,
        key=key,
        approved=approval.approved,
        by_passkey=approval.by_passkey,
        accepted=_count_acceptances(acceptance, approval, chain, by_executor),
        by_executor=by_executor,
        digest=sha256_hex(acceptance["statement"].encode()),
        request_digest=request_digest,
        core_digest=sha256_hex(canonical(value | without)),
        execution_digest=sha256_hex(canonical(value | without | {"acceptance": value["acceptance"] | {"signatures": []}})),
        executed_at=statement["executed_at"],
        chain_digests=chain.digests,
        roster=chain.roster,
        suspended=approval.suspended,
        steps=record["steps"],
        under=approval.under,
    )
    return transcript, ceremony, approval


def _read_statement(body: str) -> dict:
    try:
        return forms.read_text(forms.statement, body)
    except Malformed as error:
        raise Refused("Ceremony/Unreadable", str(error)) from None


def _count_acceptances(acceptance: dict, approval: Approval, chain: Chain, by_executor: str | None) -> list:
    """Section 9, steps 10 and 11."""
    signed, namespace = without_deadline(acceptance["signatures"]), chain.pin.namespace("accept")
    takes_passkeys = operations.takes_passkeys(*approval.request["operation"])
    rules = Rules(proposer=approval.request["proposer"], suspended=approval.suspended, passkeys=takes_passkeys)
    counted = count(signed, namespace, acceptance["statement"], chain.roster, rules)
    if counted.others:
        raise Refused("Superfluous", counted.others[0])
    revocation = approval.request["operation"][0] in ("revoke", "emergency-rotation")
    needed = threshold(chain.policy, "revoke" if revocation else "accept")
    if by_executor is None and counted.missing(needed) > 0:
        raise Refused("NotAccepted", f"{len(counted.members)} acceptances of {needed}")
    return counted.members

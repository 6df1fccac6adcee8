"""Whether a ceremony was approved: docs/TRANSCRIPT.md section 7."""

from dataclasses import dataclass

from . import ceremony_forms as forms
from . import emergency, operations, orders
from .counting import Count, Rules, count, threshold, without_deadline
from .lines import check_lines
from .refusal import Malformed, Refused
from .roster import Chain
from .shape import is_plain, sha256_hex


@dataclass(frozen=True)
class Approval:
    """A request that was approved. `counted` is of the approvals in the record."""

    request: dict
    counted: Count
    suspended: frozenset
    under: orders.UnderOrder | None = None

    @property
    def by_passkey(self) -> frozenset:
        """Who approved by passkey."""
        return frozenset(who for who, passkey in zip(self.counted.members, self.counted.passkeys) if passkey)

    @property
    def approved(self) -> list:
        """Of a ceremony under a standing order: who approved that, and would count."""
        return self.counted.members if self.under is None else self.under.approved


def judge_approval(record: dict, chain: Chain, executed_at: str, verify_core) -> Approval:
    request = _read_request(record["request"])
    _check_content(request)
    _check_written_under(request, chain, executed_at)
    suspended = frozenset(_suspended(record["suspensions"], chain))
    operation, order = request["operation"]
    if operation == "order" and not orders.executor_holds(order, chain.roster, suspended):
        raise _refused(f"Executor: {order['executor']['member']}")
    under = None
    if request["order"] is not None:
        try:
            under = orders.judge_use(record, request, chain, suspended, executed_at, verify_core)
        except Refused as error:
            raise _refused(f"Order: {error}") from None
    else:
        if record["order"] is not None:
            raise _refused("Order: NotUnder: the request is not under a standing order")
        _check_proposal(record, request, chain, suspended)
    _check_not_refused(record, request, chain)
    if executed_at > request["execute_by"]:
        raise _not_approved("Expired", "executed after `execute_by`")
    if under is not None:
        return Approval(request, Count(), suspended, under)
    counted = _count_approvals(record, request, chain, suspended, executed_at)
    needed = threshold(chain.policy, operations.threshold_word(*request["operation"]))
    missing = emergency.missing(operation, record["approvals"], counted, needed, chain.roster)
    if missing:
        raise _not_approved("Waiting or Expired", f"{missing} of {needed} approvals are missing {counted.others}")
    return Approval(request, counted, suspended)


def _not_approved(standing: str, why: str) -> Refused:
    return Refused("Ceremony/NotApproved", f"{standing}: {why}")


def _refused(why: str) -> Refused:
    return _not_approved("Refused", why)


def _read_request(body: str) -> dict:
    try:
        return forms.read_text(forms.request, body)
    except Malformed as error:
        raise _refused(f"Unreadable: {error}") from None


def _check_content(request: dict) -> None:
    operation, order = request["operation"]
    try:
        check_lines(request["lines"], operations.subjects_of(operation, order))
        if (request["proposer"] is None) == (request["order"] is None):
            raise Malformed("Proposer: exactly one of proposer and order is required")
        if not is_plain(request["reason"], 1000):
            raise Malformed("Text: `reason`")
        if request["ticket"] is not None and not is_plain(request["ticket"], 200):
            raise Malformed("Text: `ticket`")
        if not request["created_at"] <= request["approve_by"] <= request["execute_by"]:
            raise Malformed("Order: `created_at`, `approve_by`, `execute_by`")
        operations.check_content(operation, order, request["created_at"], request["lines"])
        if operation == "order" and order["id"] != request["nonce"]:
            raise Malformed("StandingOrder: Id: not the request's nonce")
    except Malformed as error:
        raise _refused(f"Content: {error}") from None


def _check_written_under(request: dict, chain: Chain, executed_at: str) -> None:
    if (request["service"], request["environment"]) != (chain.pin.service, chain.pin.environment):
        raise _refused(f"Elsewhere: {request['service']}/{request['environment']}")
    for kind in ("roster", "policy"):
        if request[kind] != chain.references[kind]:
            raise _refused(f"{kind.capitalize()}: not the current one")
    expires_at = chain.roster["expires_at"]
    if expires_at is not None and expires_at < executed_at:
        raise _refused("RosterExpired")


def _active_member(who: str, chain: Chain) -> dict | None:
    for member in chain.roster["members"]:
        if member["id"] == who and member["active"]:
            return member
    return None


def _may_propose(member: dict) -> bool:
    """Section 7: no executor, and no witness who has no other role that is known."""
    others = {"custodian", "security-lead", "on-call-manager", "on-call", "operator", "administrator"}
    only_witnesses = "witness" in member["roles"] and not others & set(member["roles"])
    return "executor" not in member["roles"] and not only_witnesses


def _check_proposal(record: dict, request: dict, chain: Chain, suspended: frozenset) -> None:
    who, proposal = request["proposer"], record["proposal"]
    member = _active_member(who, chain)
    if member is None or not _may_propose(member):
        raise _refused(f"Proposer: {who} is not an active member with permission to propose")
    if who in suspended:
        raise _refused(f"Proposer: {who} is suspended")
    if proposal is None:
        raise _refused("Proposal: nobody signed it")
    signed = without_deadline([proposal["signature"]])
    counted = count(signed, chain.pin.namespace("propose"), record["request"], chain.roster, Rules(custodians=False))
    if counted.members != [who]:
        raise _refused(f"Proposal: not signed by {who} {counted.others}")


# Suspensions.


def _suspended(suspensions: list, chain: Chain) -> list:
    """Who is suspended. A suspension that does not hold is without effect, whatever its form."""
    return [who for who in (_suspends(suspension, chain) for suspension in suspensions) if who is not None]


def _suspends(suspension: dict, chain: Chain) -> str | None:
    try:
        said = forms.read_text(forms.suspension, suspension["body"])
    except Malformed:
        return None
    who, namespace = said["member"], chain.pin.namespace("suspend")
    if said["roster"] != chain.references["roster"]:
        return None
    signed = without_deadline(suspension["signatures"])
    signers = count(signed, namespace, suspension["body"], chain.roster, Rules(custodians=False)).members
    custodians = count(signed, namespace, suspension["body"], chain.roster).members
    others = [custodian for custodian in custodians if custodian != who]
    return who if who in signers or len(others) >= 2 else None


# Rejections, cancellations, approvals.


def _check_not_refused(record: dict, request: dict, chain: Chain) -> None:
    """One that counts is enough; one that does not is without effect, whatever its form."""
    digest = sha256_hex(record["request"].encode())
    for rejection in record["rejections"]:
        members = _members_who_refuse(rejection, "reject", digest, chain, Rules(passkeys=True))
        if members:
            raise _not_approved("Rejected", f"by {members[0]}")
    for cancellation in record["cancellations"]:
        if request["proposer"] in _members_who_refuse(cancellation, "cancel", digest, chain, Rules(custodians=False)):
            raise _not_approved("Cancelled", f"by {request['proposer']}")


def _members_who_refuse(refusal: dict, purpose: str, request_digest: str, chain: Chain, rules: Rules) -> list:
    try:
        said = forms.read_text(forms.refusal, refusal["body"])
    except Malformed:
        return []
    if said["request_digest"] != request_digest:
        return []
    signed = without_deadline([refusal["signature"]])
    return count(signed, chain.pin.namespace(purpose), refusal["body"], chain.roster, rules).members


def _count_approvals(record: dict, request: dict, chain: Chain, suspended: frozenset, executed_at: str) -> Count:
    deadline = min(request["approve_by"], executed_at)
    signed = [(approval["signature"], approval["received_at"] <= deadline) for approval in record["approvals"]]
    roles = emergency.ROLES if request["operation"][0] == "emergency-rotation" else ("custodian",)
    takes_passkeys = operations.takes_passkeys(*request["operation"])
    rules = Rules(roles=roles, proposer=request["proposer"], suspended=suspended, passkeys=takes_passkeys)
    return count(signed, chain.pin.namespace("approve"), record["request"], chain.roster, rules)

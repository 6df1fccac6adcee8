"""The recovery roster and what it may do: docs/TRANSCRIPT.md section 6a."""

from datetime import datetime

from . import ceremony_forms as forms
from .counting import Rules, check_every_key_signed, check_people, count, holder, threshold, without_deadline
from .leaves import read_act
from .proofs import Prover, check_distinct, log_key_of
from .refusal import Malformed, Refused
from .shape import is_plain, sha256_hex

MIN_DELAY = 24 * 3600
MAX_DELAY = 30 * 24 * 3600
ANNOUNCE, VETO, RECOVER = "announce-recovery", "veto-recovery", "recover"


def check_recovery_roster(document: dict, chain) -> None:
    """What holds whoever signs it."""
    word, members = "Chain/RecoveryRoster", document["members"]
    check_people(members, word)
    if len(members) < document["threshold"]:
        raise Refused(word, f"TooFew: {len(members)} members for a threshold of {document['threshold']}")
    if not MIN_DELAY <= document["delay_seconds"] <= MAX_DELAY:
        raise Refused(word, f"Delay: {document['delay_seconds']} s")
    on_the_roster = {member["id"] for member in chain.roster["members"]}
    for member in members:
        if member["id"] in on_the_roster:
            raise Refused(word, f"OnTheRoster: {member['id']}")
    chain.refuse_former_keys(members, word)


def check_enrolment(document: dict, signed: dict, chain) -> None:
    """The threshold of the roster, and every key of those who may recover."""
    namespace, made = chain.pin.namespace("recovery-roster"), without_deadline(signed["signatures"])
    counted = count(made, namespace, signed["body"], chain.roster)
    needed = threshold(chain.policy, "recovery-roster")
    if len(counted.members) < needed:
        raise Refused("Chain/Signatures", f"{len(counted.members)} of {needed} for a recovery roster {counted.others}")
    for member in document["members"]:
        check_every_key_signed(member, set(), counted)


def count_recovery(signed: dict, chain) -> None:
    """Those who may recover, by the recovery roster that is current."""
    electorate = {"members": [member | {"active": True} for member in chain.recovery["members"]]}
    made = without_deadline(signed["signatures"])
    counted = count(made, chain.pin.namespace("recover"), signed["body"], electorate, Rules(custodians=False))
    needed = chain.recovery["threshold"]
    if len(counted.members) < needed:
        raise Refused("Chain/Signatures", f"{len(counted.members)} of {needed} for the recovery roster {counted.others}")


def check_log(change: dict, chain, verify_core) -> None:
    """Announced, not vetoed, and not used early. `verify_core` verifies the transcript of a log key."""
    try:
        _check_log(change, chain, verify_core)
    except Malformed as error:
        raise Refused("Chain/Recovery", str(error)) from None


def _check_log(change: dict, chain, verify_core) -> None:
    digest = sha256_hex(change["document"]["body"].encode())
    keys = [_log_key(text, chain, verify_core) for text in change["log_keys"]]
    check_distinct(keys)
    prover = Prover(keys)
    announced = _act(prover, change["announcement"])
    effect = _act(prover, change["effect"])
    for act, action in ((announced, ANNOUNCE), (effect, RECOVER)):
        if (act["kind"], act["action"], act["digest"]) != ("roster", action, digest):
            raise Malformed(f"OtherLeaf: not `{action}` of this document")
    if announced["index"] >= effect["index"] or len(prover.origins) != 1:
        raise Malformed("Order: the announcement is not before the effect in one log")
    for veto in change["vetoes"]:
        _check_veto(veto, _act(prover, veto), effect, digest, chain)
    waited = _milliseconds(effect["time"]) - _milliseconds(announced["time"])
    if waited < 1000 * chain.recovery["delay_seconds"]:
        raise Malformed(f"Early: used {waited} ms after the announcement")
    prover.finish()


def _log_key(text: str, chain, verify_core):
    try:
        ceremony = verify_core(text.encode(), chain.pin)
    except Refused as error:
        raise Malformed(f"Key: {error}") from None
    if ceremony.chain_digests != chain.digests[: len(ceremony.chain_digests)]:
        raise Malformed("Key: of a different chain of rosters")
    return log_key_of(ceremony)


def _act(prover: Prover, logged: dict) -> dict:
    proof = prover.prove(logged["leaf"], logged["proof"])
    return read_act(logged["leaf"]) | {"index": proof.index}


def _check_veto(veto: dict, act: dict, effect: dict, digest: str, chain) -> None:
    """Whether it holds or not, a recovery that holds has none: nothing else covers what is in it."""
    who = _vetoes(veto, act, effect, digest, chain)
    raise Malformed("Veto: one that does not hold" if who is None else f"Vetoed: by {who}")


def _vetoes(veto: dict, act: dict, effect: dict, digest: str, chain) -> str | None:
    said = (act["kind"], act["action"], act["ref"], act["digest"])
    if said != ("roster", VETO, digest, sha256_hex(veto["body"].encode())) or act["index"] >= effect["index"]:
        return None
    signed, namespace = without_deadline([veto["signature"]]), chain.pin.namespace("veto")
    counted = count(signed, namespace, veto["body"], chain.roster, Rules(custodians=False))
    if not counted.members or "executor" in holder(next(iter(counted.keys)), chain.roster)["roles"]:
        return None
    body = forms.read_text(forms.veto, veto["body"])
    of_it = (body["document_digest"], body["roster"]) == (digest, chain.references["roster"])
    return counted.members[0] if of_it and is_plain(body["reason"], 1000) else None


def _milliseconds(instant: str) -> int:
    moment = datetime.strptime(instant, "%Y-%m-%dT%H:%M:%S.%fZ") - datetime(1970, 1, 1)
    return (moment.days * 86400 + moment.seconds) * 1000 + moment.microseconds // 1000

"""What the log says of a ceremony: docs/TRANSCRIPT.md section 10."""

from . import signatures
from .leaves import read_act
from .proofs import Prover, check_distinct, log_key_of
from .refusal import Malformed, Refused


def check(transcript: dict, ceremony, counted, verify_core) -> tuple:
    """Of each member whose approval counts, the time of its leaf; and whether there are leaves that bear out the use of a
    standing order. `counted` are the approvals that count, and what leaves about the order have to be, if the ceremony is
    under one; `verify_core` verifies a transcript."""
    approvals, order = counted
    try:
        keys = [log_key_of(_verify(text, ceremony, verify_core)) for text in transcript["log_keys"]]
        check_distinct(keys)
        acts = _read_acts(transcript["log_proofs"], keys)
        expected = _expected_digests(transcript)
        others = [act for _, act in acts if order is not None and order.tells(act)]
        for _, act in acts:
            if act not in others:
                _check_act(act, ceremony, expected)
        own = [pair for pair in acts if pair[1] not in others]
        times = _times(own, ceremony, transcript["record"]["approvals"], approvals)
        if others:
            order.check(acts, _ends(own, ceremony)[0])
        return times, bool(others)
    except Malformed as error:
        raise Refused("LogProofs", str(error)) from None


def _verify(text: str, ceremony, verify_core):
    try:
        return verify_core(text.encode(), ceremony.pin)
    except Refused as error:
        raise Malformed(f"a transcript of a log key: {error}") from None


def _read_acts(log_proofs: list, keys: list) -> list:
    """Pairs of index and act."""
    prover, acts = Prover(keys), []
    for logged in log_proofs:
        proof = prover.prove(logged["leaf"], logged["proof"])
        if acts and proof.index <= acts[-1][0]:
            raise Malformed("the leaves are not in log order")
        acts.append((proof.index, read_act(logged["leaf"])))
    if len(prover.origins) != 1:
        raise Malformed("checkpoints of more than one origin")
    prover.finish()
    return acts


def _expected_digests(transcript: dict) -> dict:
    """For every action of the kind `ceremony` whose digest is compared, what it can be, but for the act that ends it."""
    record = transcript["record"]

    def of(received: list) -> set:
        return {signatures.digest(one["signature"]) for one in received}

    return {
        "propose": of([record["proposal"]] if record["proposal"] else []),
        "approve": of(record["approvals"]),
        "reject": of(record["rejections"]),
        "cancel": of(record["cancellations"]),
        "accept": {signatures.digest(signature) for signature in transcript["acceptance"]["signatures"]},
    }


def _check_act(act: dict, ceremony, expected: dict) -> None:
    is_end = (act["kind"], act["action"]) == _end(ceremony)
    if (act["kind"] != "ceremony" and not is_end) or act["ref"] != ceremony.request_digest:
        raise Malformed("a leaf that is not of this ceremony")
    possible = {ceremony.core_digest} if is_end else expected.get(act["action"])
    if possible is not None and act["digest"] not in possible:
        raise Malformed(f"an act `{act['action']}` of an object not in this transcript")


def _end(ceremony) -> tuple:
    """Kind and action of the act that ends it."""
    return _ENDS.get(ceremony.operation, ("ceremony", "accepted"))


_ENDS = {
    "clock-correction": ("log", "clock-correction"),
    "new-origin": ("log", "new-origin"),
    "resume": ("emergency", "resume"),
    "ratification": ("emergency", "ratify"),
}


def _ends(acts: list, ceremony) -> list:
    """The indexes of the acts that end it."""
    return [index for index, act in acts if (act["kind"], act["action"]) == _end(ceremony)]


def _times(acts: list, ceremony, received: list, approvals) -> dict:
    # The approvals of a new origin are in the log that it ends, which took no leaves any more.
    needed = ceremony.operation != "new-origin"
    end, ends = _end(ceremony), _ends(acts, ceremony)
    if len(ends) != 1:
        raise Malformed(f"{len(ends)} acts `{end[1]}` in place of one")
    times = {}
    for member, position in zip(approvals.members, approvals.positions):
        digest = signatures.digest(received[position]["signature"])
        found = [
            act["time"]
            for index, act in acts
            if act["action"] == "approve" and act["digest"] == digest and index < ends[0]
        ]
        if found:
            times[member] = found[0]
        elif needed:
            raise Malformed(f"the approval of {member} is not in the log before `{end[1]}`")
        if found and found[0] > ceremony.request["approve_by"]:
            raise Malformed(f"the approval of {member} is in the log after `approve_by`")
    return times

"""Lines: each ceremony stands behind the last one on each of its subjects (docs/TRANSCRIPT.md sections 7 and 11)."""

from .refusal import Malformed, Refused


def check_lines(lines: list, subjects: list) -> None:
    """Of one request. Raises Malformed that begins with the name of the reason."""
    if [line["subject"] for line in lines] != subjects:
        raise Malformed(f"Lines: the subjects are {', '.join(subjects)}")
    for line in lines:
        if line["sequence"] < 1 or (line["sequence"] == 1) != (line["previous"] is None):
            raise Malformed(f"Sequence: of {line['subject']}")


def verify_succession(ceremonies: list) -> None:
    """Of many transcripts that hold, oldest first."""
    last, nonces, uses = {}, set(), set()
    for ceremony in ceremonies:
        for line in ceremony.request["lines"]:
            sequence, before = last.get(line["subject"], (0, None))
            _check_step(line, sequence, before, ceremony)
            last[line["subject"]] = (line["sequence"], ceremony)
        nonce = ceremony.request["nonce"]
        if nonce in nonces:
            raise Refused("Nonce", f"the nonce {nonce} is reused")
        nonces.add(nonce)
        used = ceremony.request["order"] and (ceremony.request["order"]["id"], ceremony.request["order"]["use"])
        if used is not None and used in uses:
            raise Refused("Use", f"use {used[1]} of the standing order {used[0]} is taken again")
        uses.add(used)


def _check_step(line: dict, sequence: int, before, ceremony) -> None:
    subject = line["subject"]
    # A stop, which is no ceremony, takes a place in the line of the resumes.
    stops = subject.startswith("stop/") and line["sequence"] > sequence + 1
    if line["sequence"] != sequence + 1 and not stops:
        raise Refused("Sequence", f"{subject}: {line['sequence']} follows {sequence}")
    if before is None:
        return  # that `previous` is null was seen when the request was judged
    if not stops and line["previous"] != before.digest:
        raise Refused("Previous", f"{subject}: {line['sequence']} does not reference the previous ceremony")
    if ceremony.chain_digests[: len(before.chain_digests)] != before.chain_digests:
        raise Refused("Chain", f"{subject}: {line['sequence']} has a chain that does not extend the previous one")

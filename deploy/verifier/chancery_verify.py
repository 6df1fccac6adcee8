#!/usr/bin/env python3
"""Checks an evidence file or a transcript of Chancery, with the network off. See README.md beside this file."""

import argparse
import dataclasses
import json
import sys

from chancery_verifier.emergency import Stop, verify_stop
from chancery_verifier.evidence import verify_evidence
from chancery_verifier.lines import verify_succession
from chancery_verifier.policy import MAX_POLICY, WitnessPolicy
from chancery_verifier.refusal import Malformed, Refused
from chancery_verifier.roster import Pin
from chancery_verifier.shape import digest as read_digest
from chancery_verifier.strict_json import read_strict
from chancery_verifier.transcript import Ceremony, verify_core, verify_transcript
from chancery_verifier.witnesses import Attested, judge_attestations, read_attestations

MAX_FILE = 16 * 1024 * 1024
HOLDS, USAGE, DOES_NOT_HOLD = 0, 2, 5
GOOD_VERDICTS = ("VALID", "VALID_RETIRED_KEY")


def main() -> int:
    arguments = read_arguments()
    try:
        genesis = read_digest(arguments.genesis)
        policy = read_policy(arguments.witness_policy)
        attestations = [one for path in arguments.attestations for one in attestations_in(path)]
        if arguments.succession:
            holds, answer = check_succession(arguments.files, genesis)
            report(answer, arguments.output)
            return HOLDS if holds else DOES_NOT_HOLD
        every_one = True
        for path in arguments.files:
            asked = (genesis, policy, arguments.require_order_use)
            holds, answer = check(read_file(path, MAX_FILE + 1), path, asked, attestations)
            report(answer if len(arguments.files) == 1 else {"file": path} | answer, arguments.output)
            every_one &= holds
    except (OSError, Malformed) as error:
        print(f"chancery_verify: {error}", file=sys.stderr)
        return USAGE
    return HOLDS if every_one else DOES_NOT_HOLD


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chancery_verify.py", description=__doc__)
    parser.add_argument("files", metavar="FILE", nargs="+", help="an evidence file, a transcript or a stop")
    parser.add_argument("--genesis", required=True, metavar="SHA256", help="the pinned SHA-256 of the genesis")
    parser.add_argument("--witness-policy", metavar="FILE", help="c2sp.org/tlog-policy; for evidence files")
    parser.add_argument(
        "--attestations", metavar="FILE", action="append", default=[], help="what witnesses attested of the transcript"
    )
    parser.add_argument(
        "--require-order-use",
        action="store_true",
        help="refuse a key under a standing order if the file does not show what the log says of its use",
    )
    parser.add_argument("--succession", action="store_true", help="the transcripts, oldest first, follow each other")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    return parser.parse_args()


def read_file(path: str, most: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(most)


def read_policy(path: str | None) -> WitnessPolicy | None:
    if path is None:
        return None
    try:
        return WitnessPolicy(read_file(path, MAX_POLICY + 1))
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from None


def attestations_in(path: str) -> list:
    try:
        return read_attestations(read_file(path, MAX_FILE))
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from None


def check(data: bytes, path: str, asked: tuple, attestations: list) -> tuple:
    """Whether it holds, and the members of the answer. `asked` are the digest of the genesis, the policy of witnesses if
    there is one, and whether the use of a standing order has to be shown."""
    kind, (genesis, policy, needs_use) = kind_of(data, path), asked

    def look() -> tuple:
        if len(data) > MAX_FILE:
            raise Malformed(f"more than {MAX_FILE} bytes")
        if kind == "transcript":
            ceremony = verify_transcript(data, Pin(genesis))
            require_use(needs_use, ceremony.order_use, "LogProofs")
            return True, of_ceremony(ceremony, attestations)
        if kind == "stop":
            return True, of_stop(verify_stop(data, Pin(genesis), verify_core))
        result = verify_evidence(data, genesis, policy)
        require_use(needs_use, result.order_use, "order")
        return result.verdict in GOOD_VERDICTS, dataclasses.asdict(result)

    return answer_of(look, "malformed" if kind == "evidence" else "Unreadable")


def require_use(needed: bool, order_use: str | None, word: str) -> None:
    if needed and order_use == "not-shown":
        raise Refused(word, "the file does not show what the log says of the use of the standing order")


def check_succession(paths: list, genesis: str) -> tuple:
    def look() -> tuple:
        ceremonies = [verify_transcript(read_file(path, MAX_FILE), Pin(genesis)) for path in paths]
        verify_succession(ceremonies)
        return True, {"holds": True, "digests": [ceremony.digest for ceremony in ceremonies]}

    return answer_of(look, "Unreadable")


def answer_of(look, word: str) -> tuple:
    try:
        return look()
    except Refused as refused:
        return False, {"refused": refused.word, "why": refused.why}
    except OSError:
        raise
    # What nobody thought of is a refusal too: whoever made the file must not decide how its check ends.
    except Exception as error:  # noqa: BLE001
        return False, {"refused": word, "why": f"{type(error).__name__}: {error}"}


def kind_of(data: bytes, path: str) -> str:
    """By the name of the file, else by what is in it."""
    for kind in ("evidence", "transcript", "stop"):
        if path.endswith(f".{kind}"):
            return kind
    try:
        value = read_strict(data[:MAX_FILE])
    except Malformed:
        return "evidence"
    if not isinstance(value, dict):
        return "evidence"
    if "record" in value:
        return "transcript"
    return "stop" if "chains" in value and "body" in value else "evidence"


def of_stop(stop: Stop) -> dict:
    return {
        "holds": True,
        "service": stop.pin.service,
        "environment": stop.pin.environment,
        "subject": stop.body["line"]["subject"],
        "sequence": stop.body["line"]["sequence"],
        "by": stop.by,
        "reason": stop.body["reason"],
        "expires_at": stop.body["expires_at"],
        "logged": stop.logged,
        "digest": stop.digest,
    }


def of_ceremony(ceremony: Ceremony, attestations: list) -> dict:
    return {
        "holds": True,
        "service": ceremony.pin.service,
        "environment": ceremony.pin.environment,
        "operation": ceremony.operation,
        "subjects": ceremony.subjects,
        "ring": ceremony.ring,
        "kid": ceremony.order.get("kid", ceremony.kid),
        "possession": ceremony.possession,
        "approved": ceremony.approved,
        "accepted": ceremony.accepted,
        "accepted_by_executor": ceremony.by_executor,
        "order_use": ceremony.order_use,
        "logged": ceremony.logged,
        "digest": ceremony.digest,
        "noted": [noted(step) for step in ceremony.steps if step["what"] in ("note", "exception")],
        "attested": [attested(each) for each in judge_attestations(attestations, ceremony)],
    }


def noted(step: dict) -> str:
    witness = step["witness"] or {"name": "", "note": ""}
    return f"{step['at']} {step['what']} by {witness['name']}: {witness['note']}"


def attested(each: Attested | Refused) -> str:
    if isinstance(each, Refused):
        return f"NOT VALID: {each.word}: {each.why}"
    return each.witness if each.note is None else f"{each.witness}: {each.note}"


def report(answer: dict, output: str) -> None:
    if output == "json":
        print(json.dumps(answer))
        return
    for name, value in answer.items():
        pairs = [f"{key} {at}" for key, at in value.items()] if isinstance(value, dict) else value
        shown = ", ".join(pairs) if isinstance(pairs, list) else value
        # Words out of a refused file may hold anything; nothing of it steers the terminal.
        print(f"{name + ':':<13}{ascii(shown)[1:-1] if isinstance(shown, str) else shown}")


if __name__ == "__main__":
    sys.exit(main())

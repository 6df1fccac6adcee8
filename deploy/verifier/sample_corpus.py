"""Writes evidence files for a comparison of verifiers: one for every rule, and lives made at random.

    python3 sample_corpus.py DIRECTORY

makes `DIRECTORY/*.evidence`, all of one genesis, and witness policies `DIRECTORY/*.policy`, and prints the SHA-256 of the
genesis. What the files are worth is not said: two verifiers have to come to the same answer on their own.
"""

import pathlib
import random
import sys

from sample_files import ALGORITHMS, Installation, ServiceKey, Story, Witness, b64u, minute

LIVES = 80
OTHER = b64u(b"n" * 32)
SINCE = {"compromised_since": minute(1)}
REASONS = ("unspecified", "superseded", "compromised", "compromised", "because", None)
LEGAL = {
    "published": ("rotate", "rotate", "take over", "revoke"),
    "primary": ("demote", "demote", "revoke"),
    "demoted": ("roll back", "retire", "retire", "revoke"),
    "retired": ("archive", "revoke"),
    "archived": ("revoke",),
    "revoked": ("archive",),
}
NEXT = {
    "rotate": "primary", "take over": "primary", "roll back": "primary", "demote": "demoted", "retire": "retired",
    "archive": "archived", "revoke": "revoked",
}  # fmt: skip
STRANGE = (*NEXT, "accept", "of both", "of another", "elsewhere", "of no kind")


def main(directory: pathlib.Path) -> None:
    installation, witness, stranger = Installation(), Witness("w.example.org"), Witness("w.example.org")
    stranger.key_id = witness.key_id  # a line in the name of the witness that does not check

    def write(name: str, story: Story, cosignatures=(), **changed) -> None:
        (directory / f"{name}.evidence").write_bytes(story.evidence(cosignatures, **changed))

    for algorithm in ALGORITHMS:
        for log_algorithm in ("Ed25519", "ES256"):
            for covers in ("message", "digest"):
                story = Story(algorithm, log_algorithm, covers, installation).activate().sign()
                write(f"{algorithm}-{log_algorithm}-{covers}", story, [(witness, minute(110))])
    story = Story(installation=installation).activate().sign().demote().retire()
    for minutes in (300, 301):
        write(f"retired-{minutes}", story, [(witness, minute(minutes))])
    write("archived", story.act(310, "archive", "kid"), [(witness, minute(300))])
    write("never", Story(installation=installation).sign().activate(), [(witness, minute(110))])
    story = Story(installation=installation).activate().sign().demote().retire().revoke()
    for minutes in (90, 299, 300, 301, 401, 402, 403):
        write(f"cosigned-{minutes}", story, [(witness, minute(minutes))])
    for seconds in (0, 1, 2**62, 2**63):
        write(f"cosigned-{seconds}s", story, [(witness, seconds)])
    write("cosigned-twice", story, [(witness, minute(301)), (witness, minute(200))])
    write("cosigned-badly", story, [(witness, minute(200)), (stranger, minute(200))])
    story = Story(installation=installation).activate().sign().demote().retire().revoke("compromised", 350)
    for minutes in (300, 301, 349, 350, 402):
        write(f"stolen-{minutes}", story, [(witness, minute(minutes))])
    for name, members in (
        ("good", {"previous_kid": OTHER, "reason": "superseded"}), ("of-nobody", {"reason": "superseded"}),
        ("without-reason", {"previous_kid": OTHER}), ("since", {"previous_kid": OTHER, "reason": "superseded"} | SINCE),
    ):  # fmt: skip
        write(f"take-over-{name}", Story(installation=installation).act(20, "revoke", "kid", **members).sign())
    write("rotate-since", Story(installation=installation).act(20, "rotate", "kid", **SINCE).sign())
    write("backwards", Story(installation=installation).act(9, "rotate", "kid").sign())
    story = Story(installation=installation).activate().sign().revoke()
    write("revoked-archived", story.act(410, "archive", "kid"))
    write("archived-twice", story.act(411, "archive", "kid"))
    for name, leaf in (("actor", {"actor": "x" * 1024}), ("snowman", {"actor": "\u2603\x7f\x1f/\\\""}), ("v", {"v": 2})):
        story = Story(installation=installation).activate()
        story.log.append = lambda members, append=story.log.append, leaf=leaf: append(members | leaf)
        write(f"leaf-{name}", story.sign())
    story = Story(installation=installation).activate().sign().revoke("superseded")
    for name, changed in (
        ("ring", ("elsewhere", story.key.kid, "superseded", None)), ("kid", (Story.RING, OTHER, "superseded", None)),
        ("reason", (Story.RING, story.key.kid, "unspecified", None)),
    ):  # fmt: skip
        write(f"revocation-{name}", story, revocation=installation.revoke(*changed))
    for name, changed in (
        ("service", {"service": "Other"}), ("environment", {"environment": "other"}), ("acts", {"life": [{"leaf": "", "proof": ""}] * 1001}),
        ("log-keys", {"log_keys": [story.log_birth] * 1001}), ("same-log-key", {"log_keys": [story.log_birth] * 2}),
        ("no-log-key", {"log_keys": []}), ("log-key", {"log_keys": [installation.generate("log", ServiceKey("ES384"))]}),
        ("of-the-log", {"transcript": story.log_birth}), ("no-life", {"life": []}),
    ):  # fmt: skip
        write(f"file-{name}", story, **changed)
    dice = random.Random(9)
    for number in range(LIVES):
        story = at_random(dice, Story(installation=installation))
        write(f"life-{number}", story, [(witness, minute(dice.randrange(20, 600)))] if dice.random() < 0.6 else ())
    line = f"witness w {witness.vkey}\n"
    absent = f"witness v {Witness('absent.example.org').vkey}\n"
    for name, text in (
        ("complete", f"{line}quorum w\n"), ("any", f"{line}{absent}group g any w v\nquorum g\n"),
        ("incomplete", f"{line}{absent}group g all w v\nquorum g\n"), ("nobody", f"{line}quorum none\n"),
    ):  # fmt: skip
        (directory / f"{name}.policy").write_text(text)
    print(installation.genesis_digest)


def at_random(dice: random.Random, story: Story) -> Story:
    """A life that is mostly possible, with the signature somewhere in it."""
    state, now, acts = "published", 10, dice.randrange(1, 8)
    signed_at = dice.randrange(0 if dice.random() < 0.2 else 1, acts + 1)
    for number in range(acts + 1):
        if number == signed_at:
            story.sign()
        if number == acts:
            break
        step = dice.choice(STRANGE) if dice.random() < 0.06 else dice.choice(LEGAL[state])
        now += dice.randrange(0, 90) if dice.random() < 0.95 else -dice.randrange(0, 90)
        act(dice, story, step, max(now, 0))
        state = NEXT.get(step, state)
    return story


def act(dice: random.Random, story: Story, step: str, at: int) -> None:
    reason = {"reason": dice.choice(REASONS[:4] if dice.random() < 0.95 else REASONS)}
    if reason["reason"] is None:
        del reason["reason"]
    if reason.get("reason") == "compromised" and dice.random() < 0.7 or dice.random() < 0.03:
        reason["compromised_since"] = minute(dice.randrange(0, 300))
    plain = SINCE if dice.random() < 0.02 else {}
    if step in ("rotate", "roll back"):
        story.act(at, "roll-back" if step == "roll back" else "rotate", "kid", previous_kid=OTHER, **plain)
    elif step == "demote":
        story.act(at, dice.choice(("rotate", "roll-back")), "previous_kid", kid=OTHER, **plain)
    elif step == "take over":
        story.act(at, "revoke", "kid", **({"previous_kid": OTHER} if dice.random() < 0.9 else {}), **reason)
    elif step == "revoke":
        story.act(at, "revoke", "previous_kid", **({"kid": OTHER} if dice.random() < 0.5 else {}), **reason)
    elif step in ("retire", "archive"):
        story.act(at, step, "kid", **plain)
    elif step == "accept":
        story.act(at, "accepted", "kid", kind="ceremony")
    elif step == "of both":
        story.act(at, "rotate", "kid", previous_kid=story.key.kid)
    elif step == "of another":
        story.act(at, "rotate", "kid", kid=OTHER)
    elif step == "elsewhere":
        story.act(at, "rotate", "kid", ring="elsewhere")
    else:
        story.act(at, "rotate", "kid", kind="admin")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

"""Writes evidence files for a comparison of verifiers: one for every rule, and lives made at random.

    python3 sample_corpus.py DIRECTORY [TRANSCRIPTS]

makes `DIRECTORY/*.evidence`, all of one genesis, and witness policies `DIRECTORY/*.policy`, and prints the SHA-256 of the
genesis. In the other directory, if it is named, it makes `*.transcript` of the same genesis. What the files are worth is not
said: two verifiers have to come to the same answer on their own.
"""

import json
import pathlib
import random
import sys

from sample_files import ALGORITHMS, INPUTS, Installation, Log, ServiceKey, Story, Witness, WrappingKey, b64u, canonical, minute, tree_root, with_log
from sample_transcripts import MEMBERS, write_transcripts

LIVES = 120
OTHER = b64u(b"n" * 32)
SINCE = {"compromised_since": minute(1)}
REASONS = ("unspecified", "superseded", "compromised", "compromised", "because", None)
LEGAL = {
    "published": ("rotate", "rotate", "take over", "revoke"),
    "primary": ("demote", "demote", "revoke"),
    "demoted": ("roll back", "retire", "retire", "revoke"),
    "retired": ("archive", "revoke"),
    "archived": ("revoke",),
    "revoked": ("archive", "revoke", "revoke"),
}
NEXT = {
    "rotate": "primary", "take over": "primary", "roll back": "primary", "demote": "demoted", "retire": "retired",
    "archive": "archived", "revoke": "revoked",
}  # fmt: skip
STRANGE = (*NEXT, "accept", "of both", "of another", "elsewhere", "of no kind", "of a new kind")
NEW, NEWER = "new.example.org/log", "newer.example.org/log"
HEARTBEAT = {"kind": "admin", "action": "x", "actor": "x", "time": minute(110)}


def main(directory: pathlib.Path, transcripts: pathlib.Path | None) -> None:
    installation, witness, stranger = Installation(), Witness("w.example.org"), Witness("w.example.org")
    for who, *roles in MEMBERS:
        installation.join(who, *roles)
    stranger.key_id = witness.key_id  # a line in the name of the witness that does not check

    def write(name: str, story: Story, cosignatures=(), **changed) -> None:
        (directory / f"{name}.evidence").write_bytes(story.evidence(cosignatures, **changed))

    for algorithm in ALGORITHMS:
        for covers in INPUTS:
            story = Story(algorithm, "Ed25519", covers, installation).activate().sign()
            write(f"{algorithm}-{covers}", story, [(witness, minute(110))])
        story = Story(algorithm, "ES256", installation=installation).activate().sign()
        write(f"{algorithm}-ES256", story, [(witness, minute(110))])
    subjects(write, installation)
    numbers(write, installation)
    severities(write, installation)
    corrections(write, installation)
    origins(write, installation, witness, stranger)
    story = Story(installation=installation).activate().sign().demote().retire()
    for minutes in (300, 301):
        write(f"retired-{minutes}", story, [(witness, minute(minutes))])
    write("archived", story.act(310, "archive", "kid"), [(witness, minute(300))])
    write("never", Story(installation=installation).sign().activate(), [(witness, minute(110))])
    story = Story(installation=installation).activate().sign().demote().retire().revoke()
    for minutes in (90, 299, 300, 301, 401, 402, 403):
        write(f"cosigned-{minutes}", story, [(witness, minute(minutes))])
    for name, story in (("end", Story(installation=installation).activate().demote().retire().sign(at=300)),
                        ("before-end", Story(installation=installation).activate().sign(at=300).demote().retire())):  # fmt: skip
        write(f"at-the-{name}", story)
        story.act(300, "revoke", "previous_kid", reason="superseded", time=minute(300).replace(".000Z", ".001Z"))
        write(f"at-the-{name}-revoked", story, [(witness, minute(300))])
    story = Story(installation=installation).activate().demote().retire().sign(at=300)
    write("at-the-end-and-revoked", story.act(300, "revoke", "previous_kid", reason="superseded"))
    story = Story(installation=installation).activate().sign().demote().retire().revoke()
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
    story = Story(installation=installation).act(9, "rotate", "kid").sign()
    write("backwards", story)
    write("backwards-and-subject", story, subject=story.subject(signature=b64u(story.key.sign(b"another"))))
    write("backwards-and-form", story, subject=story.subject(input=""))
    write("backwards-and-revocation", story, revocation=story.birth)
    write("backwards-revoked-and-revocation", story.revoke(), revocation=story.birth)
    for name, members in (
        ("use", {"use": 2**53 - 1, "input_commit": "0" * 64}), ("use-minus", {"use": -1}), ("use-text", {"use": "1"}), ("use-large", {"use": 2**53}),
        ("commit", {"input_commit": "0" * 63}), ("uses", {"uses": 1}),
    ):  # fmt: skip
        write(f"act-{name}", Story(installation=installation).act(20, "rotate", "kid", **members).sign())
    story = Story(installation=installation).activate().sign().revoke()
    write("revoked-archived", story.act(410, "archive", "kid"))
    write("archived-twice", story.act(411, "archive", "kid"))
    for name, leaf in (("kind", {"kind": "brand-new"}), ("alg", {"alg": "x" * 41}), ("other-alg", {"alg": "ML-DSA-65"}), ("actor", {"actor": "x" * 1024}), ("snowman", {"actor": "\u2603\x7f\x1f/\\\""}), ("v", {"v": 2})):
        story = Story(installation=installation).activate()
        story.log.append = lambda members, append=story.log.append, leaf=leaf: append(members | leaf)
        write(f"leaf-{name}", story.sign())
    story = Story(installation=installation).activate().sign().revoke("superseded")
    for name, changed in (
        ("ring", ("elsewhere", story.key.kid, "superseded", None)), ("kid", (Story.RING, OTHER, "superseded", None)),
        ("reason", (Story.RING, story.key.kid, "unspecified", None)),
    ):  # fmt: skip
        write(f"revocation-{name}", story, revocation=installation.revoke(*changed))
    write("revocation-number", Story(installation=installation).activate().sign().revoke(number=2))
    for name, changed in (
        ("service", {"service": "Other"}), ("environment", {"environment": "other"}), ("acts", {"life": [{"leaf": "", "proof": ""}] * 1001}),
        ("log-keys", {"log_keys": [story.log_birth] * 1001}), ("same-log-key", {"log_keys": [story.log_birth] * 2}),
        ("corrections", {"corrections": [{"leaf": "", "proof": "", "transcript": ""}] * 1001}), ("no-corrections", {"corrections": None}),
        ("origins", {"origins": [{"leaf": "", "proof": "", "transcript": ""}] * 1001}), ("no-origins", {"origins": None}),
        ("wrapping", {"transcript": installation.generate("kek", WrappingKey())}),
        ("transcript-with-proofs", {"transcript": with_log(story.birth, Log(story.log_key), story.log_birth)}),
        ("log-key-with-proofs", {"log_keys": [with_log(story.log_birth, Log(story.log_key), story.log_birth)]}),
        ("revocation-with-proofs", {"revocation": with_log(story.revocation, Log(story.log_key), story.log_birth)}),
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
    if transcripts is not None:
        write_transcripts(transcripts, installation)
    print(installation.genesis_digest)


def subjects(write, installation: Installation) -> None:
    for covers in INPUTS:
        for usage in ("structured", "raw", "sealed", "certificates"):
            write(f"usage-{covers}-{usage}", Story(covers=covers, usage=usage, installation=installation).activate().sign())
    story = Story(usage="raw", installation=installation).activate()
    story.key.sign = lambda *_: b"\1" * 64
    write("usage-and-bad", story.sign())
    for algorithm in ("ES256", "ES384"):
        story = Story(algorithm, installation=installation).activate().sign()
        write(f"twin-{algorithm}", story, subject=story.subject(signature=b64u(story.key.twin(story.signature))))
        story = Story(algorithm, installation=installation).activate()
        for name, signature in (("long", b"\xff" * 2 * story.key.size), ("short", b"\xff"), ("none", b"")):
            story.key.sign = lambda *_, signature=signature: signature
            write(f"signature-{algorithm}-{name}", story.sign())
    for number, message in enumerate(
        (b"e30.", b"e30.a.b", b"e30.\xff\0", b"eyAiYSIgOiAxIH0.", b"", b"e30", b".e30", b"W10.a", b"e30=.a", b"e31.a", b"\xff.a", b"bnVsbA.a",
         *(b64u(header.encode()).encode() + b"." for header in ('{"a":"\\ud83d\\ude00"}', '{"a":"\\ud800"}', '{"\\udfff":1}', '{"a":["\\ude00\\ud83d"]}')))
    ):
        write(f"jws-{number}", Story(installation=installation).activate().sign(message))
    for number, message in enumerate((b"DSSEv1 ", b"", b"DSSEv1", b"dssev1 1", b" DSSEv1 ")):
        write(f"dsse-{number}", Story(covers="dsse", installation=installation).activate().sign(message))


def numbers(write, installation: Installation) -> None:
    story = Story(installation=installation).activate().sign()
    good = story.log.proof(story.index)
    for index in ("03", "+3", "3 ", 2**63 - 1, 2**63):
        write(f"index-{index}", story, proof=good.replace("index 3\n", f"index {index}\n"))
    for size in (2**62, 2**63 - 1, 2**63, "0004"):
        write(f"size-{size}", story, proof=story.log.proof_of_size(story.index, size))


def severities(write, installation: Installation) -> None:
    kinds = [("unspecified", None), ("superseded", None), ("compromised", 101), ("compromised", 100), ("compromised", None)]
    for first in kinds:
        for then in kinds:
            story = Story(installation=installation).activate().sign().revoke(*first).revoke(*then)
            write(f"severe-{first[0]}-{first[1]}-{then[0]}-{then[1]}", story)
    story = Story(installation=installation).activate().sign().revoke().act(403, "archive", "kid").revoke("compromised", 50)
    write("severe-archived", story)
    story = Story(installation=installation).activate().sign().revoke()
    first = story.revocation
    write("severe-first-transcript", story.revoke("compromised", 50), revocation=first)


def corrections(write, installation: Installation) -> None:
    def signed() -> Story:
        return Story(installation=installation).activate().sign()

    for first, last, bound in ((3, 3, 50), (0, 3, 50), (3, 3, 150), (0, 2, 5), (3, 3, 1), (0, 3, 2), (3, 4, 50), (3, 2, 50), (3, 3, 401)):
        write(f"correction-{first}-{last}-{bound}", signed().correct(first, last, bound))
    for number, leaf in enumerate((
        {"kind": "admin"}, {"action": "new-origin"}, {"ref": "0" * 64}, {"digest": "0" * 64}, {"first": 2}, {"last": 4},
        {"bound": minute(49)}, {"kind": "brand-new"}, {"more": 1}, {"reason": "x"}, {"origin": NEW}, {"origin": None}, {"bound": None},
    )):  # fmt: skip
        write(f"correction-leaf-{number}", signed().correct(3, 3, 50, leaf=leaf))
    story = signed().correct(3, 3, 60).correct(3, 4, 50)
    one, two = story.members()["corrections"]
    write("correction-two", story)
    for number, changed in enumerate((
        [two, one], [one, one], [one | {"proof": ""}], [one | {"leaf": two["leaf"]}], [one | {"transcript": two["transcript"]}],
        [one | {"transcript": story.birth}], [one | {"transcript": with_log(one["transcript"], Log(story.log_key), story.log_birth)}],
    )):  # fmt: skip
        write(f"correction-other-{number}", story, corrections=changed)
    for name, origin in (("elsewhere", NEW), ("here", story.log.origin)):
        said = {"order": {"origin": origin}, "leaf": {"origin": origin}}
        write(f"correction-{name}", signed().correct(3, 3, 50, **said))
        write(f"correction-{name}-moved", signed().correct(3, 3, 50, **said).move(NEW))
        write(f"correction-moved-{name}", signed().move(NEW).correct(3, 3, 50, **said))
    again = signed().correct(3, 3, 50)
    ((index, transcript),) = again.corrections
    said = {name: value for name, value in json.loads(again.log.leaves[index]).items() if name in ("first", "last", "bound", "origin")}
    again.move(NEW, left=3).sign().log.append(HEARTBEAT)
    again.corrections = []
    write("correction-again", again.rule(again.corrections, "clock-correction", transcript, said))
    write("correction-retired", Story(installation=installation).activate().sign().demote().retire(90).correct(4, 4, 80))
    write("correction-revoked", Story(installation=installation).activate().sign().revoke().correct(4, 4, 100))
    write("correction-born", Story(installation=installation).act(500, "rotate", "kid").sign().correct(1, 2, 1))


def origins(write, installation: Installation, witness: Witness, stranger: Witness) -> None:
    def signed() -> Story:
        return Story(installation=installation).activate().sign()

    story = signed()
    proof, life = story.log.proof(story.index), story.members()["life"]
    story.move(NEW).demote().retire()
    write("origin", story)
    write("origin-old-proof", story, proof=proof)
    write("origin-old-life", story, life=life + story.members()["life"][2:])
    write("origin-unexplained", story, origins=[], proof=proof)
    story = signed()
    leaf, proof = story.log.leaves[story.index], story.log.proof(story.index)
    story.move(NEW, left=3).act(120, "rotate", "previous_kid", kid=OTHER).retire(300)
    write("origin-lost", story, leaf=leaf, proof=proof)
    write("origin-behind", story.sign())
    story = signed()
    old = story.log.proof(story.index)
    story.move(NEW)
    middle, first = story.log.proof(story.index), story.members()["origins"][0]
    story.move(NEWER, left=5)
    both = story.members()["origins"]
    for number, proof in enumerate((old, middle, story.log.proof(story.index))):
        write(f"origins-{number}", story, proof=proof)
        write(f"origins-first-{number}", story, proof=proof, origins=[first, both[1]])
    write("origins-backwards", story, origins=both[::-1])
    write("origins-twice", story, origins=both + both[1:])
    write("origins-second-only", story, proof=old, origins=both[1:])
    back = signed().move(NEW)
    write("origins-round", back.move(Story(installation=installation).log.origin))
    for number, leaf in enumerate((
        {"kind": "admin"}, {"action": "clock-correction"}, {"ref": "0" * 64}, {"digest": "0" * 64}, {"first": 3}, {"last": 5},
        {"origin": NEWER}, {"kind": "brand-new"}, {"more": 1},
    )):  # fmt: skip
        write(f"origin-leaf-{number}", signed().move(NEW, leaf=leaf))
    story = signed().move(NEW)
    ((index, transcript),) = story.origins
    story.log.leaves.insert(index, canonical({"other": 1}))
    story.origins = [(index + 1, transcript)]
    write("origin-not-first", story)
    story = signed()
    old = story.log.proof(story.index)
    story.move(NEW).correct(3, 3, 50)
    write("origin-corrected", story)
    write("origin-corrected-old", story, proof=old)
    early = signed().correct(2, 3, 50)
    changed = early.members()["corrections"]
    early.move(NEW, left=3)
    early.corrections = []
    early.sign().log.append(HEARTBEAT)
    write("origin-corrected-before", early, corrections=changed)
    lost = signed()
    old = {"leaf": lost.log.leaves[3], "proof": lost.log.proof(3)}
    lost.move(NEW, left=3).log.append(HEARTBEAT)
    write("origin-corrected-lost", lost.correct(3, 3, 50), **old)
    write("origin-corrected-and-lost", signed().correct(3, 3, 50).move(NEW))
    ends(write, signed)
    roots(write, signed)
    ends_signed(write, signed, installation, witness, stranger)
    places(write, signed)


def ends(write, signed) -> None:
    """The last checkpoint of an origin, and the others of it."""
    for name, more, lost in (("fork", 1, {}), ("longer-fork", 2, {"size": 4, "lost": {"first": 4, "last": 4}})):
        story = signed()
        proof, fork = story.log.proof(story.index), Log(story.log_key)
        fork.leaves = [*story.log.leaves[:3], *(canonical({"other": number}) for number in range(more))]
        root = {"root": tree_root(fork.leaves).hex()} if not lost else {}
        story.move(NEW, order={"previous_checkpoint": fork.checkpoint()} | root | lost, leaf={"last": 3 + more})
        write(f"origin-end-{name}", story)
        write(f"origin-end-{name}-old-proof", story, proof=proof)
    story = signed()
    fitting, end = story.log.proof(story.index), story.log.succeeded_by(NEW)
    story.log.append(HEARTBEAT)
    larger, life = story.log.proof(story.index), story.members()["life"]
    story.move(NEW, left=4, order=end, leaf={"last": 4})
    write("origin-end-proof-fits", story, proof=fitting)
    write("origin-end-proof-larger", story, proof=larger)
    write("origin-end-life-larger", story, life=life)
    end, middle = story.log.succeeded_by(NEWER), story.log.proof(story.index)
    story.log.append(HEARTBEAT)
    larger = story.log.proof(story.index)
    story.move(NEWER, left=5, order=end, leaf={"last": 5})
    write("origin-end-second-fits", story, proof=middle)
    write("origin-end-second-larger", story, proof=larger)


    for name, more in (("fork", 1), ("longer-fork", 2)):  # of which the signature is not lost
        story = signed()
        story.log.append(HEARTBEAT)
        proof, fork = story.log.proof(story.index), Log(story.log_key)
        fork.leaves = [*story.log.leaves[:4], *(canonical({"other": number}) for number in range(more))]
        said = {"previous_checkpoint": fork.checkpoint(), "lost": {"first": 4, "last": 3 + more}}
        story.move(NEW, left=4, order=said, leaf={"last": 4 + more})
        write(f"origin-end-lost-{name}", story)
        write(f"origin-end-lost-{name}-old-proof", story, proof=proof)


def roots(write, signed) -> None:
    """What a new tree begins with, and who signed where the old one ended."""
    for size in range(1, 9):
        for left in (None, 4 + size // 2):
            story = signed()
            for _ in range(size):
                story.log.append(HEARTBEAT)
            story.move(NEW, left=left)
            write(f"origin-root-{size}-{left}", story)
            story.log.leaves[0] = story.log.leaves[0].replace("root", "toor")  # below the leaves that were left
            write(f"origin-root-{size}-{left}-other-first", story)
    story = signed()
    for _ in range(3):
        story.log.append(HEARTBEAT)
    story.move(NEW, left=6)
    for count in range(1, 9):
        story.log.append(HEARTBEAT)
        write(f"origin-root-in-{count}", story)
    write("origin-root-under-newer", story.move(NEWER, left=9))
    story = signed()
    story.log.append(HEARTBEAT)
    write("origin-root-of-others", story.move(NEW, left=4, order={"root": "0" * 64}))
    story = signed()
    old = {"leaf": story.log.leaves[3], "proof": story.log.proof(3), "life": story.members()["life"]}
    story.move(NEW, left=0)
    for _ in range(3):
        story.log.append(HEARTBEAT)
    write("origin-root-of-nothing", story, **old)


def ends_signed(write, signed, installation: Installation, witness: Witness, stranger: Witness) -> None:
    """Who signed where the old origin ended."""
    unknown, second = ServiceKey("Ed25519"), ServiceKey("ES256")
    birth = installation.generate("log", second)

    def line(key: ServiceKey, text: str, name: str | None = None) -> str:
        return Log(key).signature_line(text, name)

    makers = {
        "good": lambda key, text: line(key, text), "unknown": lambda _, text: line(unknown, text),
        "other-name": lambda key, text: line(key, text, "other.example.org"), "bad": lambda key, text: line(key, text + "x"),
        "good-and-bad": lambda key, text: line(key, text) + line(key, text + "x"),
        "good-and-unknown": lambda key, text: line(unknown, text) + line(key, text),
        "witness": lambda key, text: line(key, text) + witness.line(text, minute(90)),
        "bad-witness": lambda key, text: line(key, text) + stranger.line(text, minute(90)),
        "witness-alone": lambda key, text: witness.line(text, minute(90)),
        "second": lambda _, text: line(second, text), "both": lambda key, text: line(key, text) + line(second, text),
    }  # fmt: skip
    for name, make in makers.items():
        story = signed()
        text = story.log.checkpoint().rpartition("\n\n")[0] + "\n"
        story.move(NEW, order={"previous_checkpoint": f"{text}\n{make(story.log_key, text)}"})
        write(f"origin-signed-{name}", story)
        write(f"origin-signed-{name}-two-keys", story, log_keys=[story.log_birth, birth])


def places(write, signed) -> None:
    """Two leaves at one place, of trees of different sizes."""
    story = signed()
    old = {"leaf": story.log.leaves[3], "proof": story.log.proof(3)}
    story.log.leaves.pop()
    story.demote().log.append(HEARTBEAT)
    write("place-of-leaf-and-act", story, **old)
    story.move(NEW)
    write("place-under-two-origins", story, **old)
    write("place-of-one", story, **old, life=story.members()["life"][:-1])
    story = signed().correct(3, 3, 50)
    corrections = story.members()["corrections"]
    story.log.leaves.pop()
    story.demote().log.append(HEARTBEAT)
    write("place-of-act-and-correction", story, corrections=corrections)
    story = signed().move(NEW)
    origins = story.members()["origins"]
    story.log.leaves.pop()
    story.correct(3, 3, 50).log.append(HEARTBEAT)
    write("place-of-origin-and-correction", story, origins=origins)
    write("place-of-origin", story, origins=origins, corrections=[])


def at_random(dice: random.Random, story: Story) -> Story:
    """A life that is mostly possible, with the signature somewhere in it."""
    state, now, acts = "published", 10, dice.randrange(1, 8)
    revoked = 0
    signed_at = dice.randrange(0 if dice.random() < 0.2 else 1, acts + 1)
    for number in range(acts + 1):
        if number == signed_at:
            story.sign()
        if number == acts:
            break
        step = dice.choice(STRANGE) if dice.random() < 0.06 else dice.choice(LEGAL[state])
        now += dice.randrange(0, 90) if dice.random() < 0.95 else -dice.randrange(0, 90)
        act(dice, story, step, max(now, 0), revoked)
        revoked += step == "revoke"
        state = NEXT.get(step, state)
    # A clock that was wrong, and a log that moved.
    for _ in range(2):
        if dice.random() < 0.2:
            first, last = sorted(dice.randrange(len(story.log.leaves)) for _ in range(2))
            story.correct(first, last, dice.randrange(0, 400))
        if dice.random() < 0.15:
            story.move(f"origin{len(story.origins)}.example.org/log")
    return story


def act(dice: random.Random, story: Story, step: str, at: int, revoked: int) -> None:
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
        if revoked and dice.random() < 0.8:  # mostly more severely
            reason = {"reason": "compromised", "compromised_since": minute(dice.randrange(0, 300) // 4**revoked)}
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
        story.act(at, "rotate", "kid", kind="brand-new" if step == "of a new kind" else "admin")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None)

"""Tests of new origins of the log, and of corrections of its clock, in evidence files."""

import json
import unittest

from chancery_verifier.evidence import verify_evidence
from chancery_verifier.policy import WitnessPolicy
from refusals import Refusals
from sample_files import Log, ServiceKey, Story, Witness, b64u, canonical, minute, with_log

NEW, NEWER = "new.example.org/log", "newer.example.org/log"
MORE = {"kind": "admin", "action": "x", "actor": "x", "time": minute(110)}


def found(story: Story, **changed):
    return verify_evidence(story.evidence(**changed), story.genesis_digest)


def signed() -> Story:
    """The leaves: of the genesis, the acceptance, the first use and a signature of minute 100, with the indexes 0 to 3."""
    return Story().activate().sign()


class Corrections(Refusals):
    def refuse(self, word: str, story: Story, **changed) -> str:
        return self.refused(word, verify_evidence, story.evidence(**changed), story.genesis_digest)

    def test_a_time_is_not_after_the_bound(self):
        for first, last, bound, existed_at in (
            (3, 3, 50, 50), (0, 3, 50, 50), (3, 3, 150, 100), (0, 2, 5, 100), (3, 3, 1, 20), (0, 3, 2, 2),
        ):  # fmt: skip
            story = signed().correct(first, last, bound)
            self.assertEqual(found(story).existed_at, minute(existed_at), (first, last, bound))

    def test_the_smallest_bound_holds(self):
        story = signed().correct(3, 3, 60).correct(3, 4, 50).correct(3, 3, 70)
        self.assertEqual(found(story).existed_at, minute(50))
        del story.corrections[1]
        self.assertEqual(found(story).existed_at, minute(60))
        self.assertEqual(found(story, corrections=[]).existed_at, minute(100))

    def test_acts_are_corrected_too(self):
        story = Story().activate().sign().demote().retire(90)
        self.refuse("life", story)  # retired before it was demoted, at 200
        self.assertEqual(found(story.correct(4, 4, 80)).reasons, ["no_proof_of_existence", "after_end"])
        revoked = Story().activate().sign().revoke()
        self.assertEqual(found(revoked).verdict, "VALID_RETIRED_KEY")
        self.assertEqual(found(revoked.correct(4, 4, 100)).verdict, "REVOKED")
        late = Story().act(500, "rotate", "kid").sign()
        self.assertEqual(found(late).existed_at, minute(500))
        self.assertEqual(found(late.correct(2, 2, 30)).existed_at, minute(100))
        # A clock that was ahead at the acceptance was ahead at the birth before it.
        early = Story().act(500, "rotate", "kid").sign().correct(1, 2, 1)
        self.assertEqual(found(early).verdict, "VALID")

    def test_acts_that_are_something_else(self):
        kid = b64u(b"o" * 32)
        for leaf in (
            {"kind": "admin"}, {"action": "new-origin"}, {"ref": "0" * 64}, {"digest": "0" * 64}, {"first": 2}, {"last": 4},
            {"bound": minute(49)}, {"origin": NEW}, {"kind": "brand-new"}, {"more": 1}, {"actor": 1},
            {"first": None}, {"last": None}, {"bound": None}, {"origin": None}, {"ref": None}, {"digest": None},
        ):  # fmt: skip
            with self.subTest(leaf):
                self.refuse("correction", signed().correct(3, 3, 50, leaf=leaf))
        self.assertEqual(found(signed().correct(3, 3, 50, leaf={"kid": kid, "reason": "x"})).existed_at, minute(50))
        self.refuse("correction", signed().correct(3, 3, 401))  # the bound is after the request
        self.refuse("correction", signed().correct(3, 2, 50))

    def test_a_correction_is_of_the_origin_in_which_it_stands(self):
        elsewhere = {"order": {"origin": NEW}, "leaf": {"origin": NEW}}
        self.refuse("correction", signed().correct(3, 3, 50, **elsewhere))
        story = signed().move(NEW)
        self.assertEqual(found(story.correct(3, 3, 50)).existed_at, minute(50))
        self.assertEqual(found(signed().correct(3, 3, 50).move(NEW)).existed_at, minute(50))
        old = {"origin": Story().log.origin}
        self.refuse("correction", signed().move(NEW).correct(3, 3, 50, order=old, leaf=old))

    def test_the_act_of_a_ceremony_is_not_told_again_under_a_later_origin(self):
        story = signed().correct(3, 3, 50)
        ((index, transcript),) = story.corrections
        said = {name: value for name, value in json.loads(story.log.leaves[index]).items() if name in ("first", "last", "bound", "origin")}
        story.move(NEW, left=3).sign().log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(110)})
        story.corrections = []
        self.assertEqual(found(story).existed_at, minute(100))
        self.refuse("correction", story.rule(story.corrections, "clock-correction", transcript, said))

    def test_a_correction_stands_behind_what_it_corrects(self):
        self.refuse("correction", signed().correct(3, 4, 50))
        self.assertEqual(found(signed().correct(3, 3, 50)).existed_at, minute(50))

    def test_corrections_that_do_not_verify(self):
        story = signed().correct(3, 3, 50).correct(2, 3, 60)
        one, two = story.members()["corrections"]
        logged = with_log(one["transcript"], Log(story.log_key), story.log_birth)
        new = signed().move(NEW)
        for corrections in (
            [two, one], [one, one], [one | {"proof": two["proof"]}], [one | {"leaf": two["leaf"]}], [one | {"transcript": two["transcript"]}],
            [one | {"transcript": logged}], [one | {"transcript": story.birth}], [one | {"transcript": "{}"}], [one | {"proof": ""}],
            new.members()["origins"], [one | {"leaf": story.log.leaves[2], "proof": story.log.proof(2)}],
            [one | {"transcript": signed().correct(3, 3, 50).corrections[0][1]}],
        ):  # fmt: skip
            self.refuse("correction", story, corrections=corrections)
        other = Log(ServiceKey("Ed25519"))
        other.leaves = story.log.leaves
        self.refuse("correction", story, corrections=[one | {"proof": other.proof(4)}])
        elsewhere = Log(story.log_key, NEW)
        elsewhere.leaves = story.log.leaves
        self.refuse("correction", story, corrections=[one | {"proof": elsewhere.proof(4)}])

    def test_two_roots_of_a_size_are_found_in_corrections_too(self):
        story = signed().correct(3, 3, 50)
        corrections = story.members()["corrections"]
        story.log.leaves[0] = story.log.leaves[0].replace("root", "toor")
        self.refuse("proof", story, corrections=corrections)


class Origins(Refusals):
    def refuse(self, word: str, story: Story, **changed) -> str:
        return self.refused(word, verify_evidence, story.evidence(**changed), story.genesis_digest)

    def test_proofs_of_both_origins(self):
        story = signed()
        proof, life = story.log.proof(story.index), story.members()["life"]
        story.move(NEW).demote().retire()
        self.assertEqual(found(story).verdict, "VALID_RETIRED_KEY")
        self.assertEqual(found(story, proof=proof).verdict, "VALID_RETIRED_KEY")
        mixed = life + story.members()["life"][2:]
        self.assertEqual(found(story, life=mixed).verdict, "VALID_RETIRED_KEY")
        self.refuse("proof", story, origins=[], proof=proof)
        self.refuse("proof", story, origins=[], life=mixed)
        self.assertEqual(found(Story().activate().sign(), origins=[]).verdict, "VALID")

    def test_a_lost_signature_and_an_act_of_the_new_origin(self):
        """Both have the index 3: the one that was lost is before the other."""
        story = signed()
        proof, leaf = story.log.proof(story.index), story.log.leaves[story.index]
        story.move(NEW, left=3).act(120, "rotate", "previous_kid", kid=b64u(b"n" * 32)).retire(300)
        self.assertEqual(found(story, proof=proof, leaf=leaf).verdict, "VALID_RETIRED_KEY")
        # A signature of the new origin, behind the end of the key: its index says nothing of that.
        self.assertEqual(found(story.sign(at=100)).reasons, ["no_proof_of_existence", "after_end"])

    def test_an_act_that_was_lost_is_before_the_new_origin(self):
        story = Story()
        story.log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(11)})
        story.activate()
        lost = {"leaf": story.log.leaves[3], "proof": story.log.proof(3)}
        del story.life[-1]
        story.move(NEW, left=2).sign()
        life = [*story.members()["life"], lost]
        self.assertEqual(story.index, 3)
        self.assertEqual(found(story, life=life).verdict, "VALID")
        self.assertEqual(found(story).reasons, ["never_active"])

    def test_a_line_of_three(self):
        story = signed()
        old = story.log.proof(story.index)
        story.move(NEW)
        middle = story.log.proof(story.index)
        first = story.members()["origins"][0]
        story.move(NEWER, left=5)
        both = story.members()["origins"]
        for proof in (old, middle, story.log.proof(story.index)):
            self.assertEqual(found(story, proof=proof).verdict, "VALID")
            self.assertEqual(found(story, proof=proof, origins=[first, both[1]]).verdict, "VALID")
        self.refuse("proof", story, proof=old, origins=both[1:])
        self.refuse("origin", story, origins=both[::-1])
        self.refuse("origin", story, origins=both + both[1:])
        self.refuse("origin", story, origins=both[:1])  # its own proof is of an origin that is not on the line

    def test_the_origins_form_one_line(self):
        back = signed().move(NEW)
        back.move(Story().log.origin)
        self.refuse("origin", back)
        self.refuse("origin", signed().move(NEW, order={"previous_origin": "other"}))
        gap = signed().move(NEW)
        gap.log.origin = "between.example.org/log"
        self.refuse("origin", gap.move(NEWER))
        elsewhere = signed().move(NEW)
        elsewhere.log.origin = NEWER
        self.refuse("origin", elsewhere)

    def test_acts_that_are_something_else(self):
        for leaf in (
            {"kind": "admin"}, {"action": "clock-correction"}, {"ref": "0" * 64}, {"digest": "0" * 64}, {"first": 3}, {"last": 5},
            {"origin": NEWER}, {"kind": "brand-new"}, {"more": 1}, {"first": None}, {"last": None}, {"origin": None},
        ):  # fmt: skip
            with self.subTest(leaf):
                self.refuse("origin", signed().move(NEW, leaf=leaf))

    def test_the_act_is_the_first_leaf_of_the_new_origin(self):
        story = signed()
        story.move(NEW)
        (index, transcript) = story.origins[0]
        story.log.leaves.insert(index, canonical({"other": 1}))
        story.origins = [(index + 1, transcript)]
        self.refuse("origin", story)

    def test_origins_that_do_not_verify(self):
        story = signed().move(NEW)
        (one,) = story.members()["origins"]
        logged = with_log(one["transcript"], Log(story.log_key), story.log_birth)
        for origin in (
            {"transcript": logged}, {"transcript": story.birth}, {"transcript": "{}"}, {"proof": ""}, {"proof": story.log.proof(3)},
            {"leaf": story.log.leaves[3], "proof": story.log.proof(3)}, {"transcript": signed().move(NEW).origins[0][1]},
        ):  # fmt: skip
            self.refuse("origin", story, origins=[one | origin])

    def test_the_new_tree_begins_with_the_leaves_that_are_left(self):
        for more, left in ((0, None), (1, 4), (3, None), (3, 6), (5, 4)):
            story = signed()
            for _ in range(more):
                story.log.append(MORE)
            story.move(NEW, left=left)
            for _ in range(4):
                story.log.append(MORE)
                self.assertEqual(found(story).verdict, "VALID")
            story.log.leaves[0] = story.log.leaves[0].replace("root", "toor")
            self.refuse("origin", story)
        # In a tree of a later origin, too; and none that is left.
        story.log.leaves[0] = story.log.leaves[0].replace("toor", "root")
        self.assertEqual(found(story.move(NEWER, left=7)).verdict, "VALID")
        story = signed()
        story.log.append(MORE)
        self.refuse("origin", story.move(NEW, left=4, order={"root": "0" * 64}))
        story = signed()
        old = {"leaf": story.log.leaves[3], "proof": story.log.proof(3), "life": story.members()["life"]}
        story.move(NEW, left=0)
        for _ in range(3):
            story.log.append(MORE)
        self.assertEqual(found(story, **old).verdict, "VALID")

    def test_the_last_checkpoint_of_an_origin_is_signed_by_a_log_key(self):
        unknown, second, witness = Log(ServiceKey("Ed25519")), Log(ServiceKey("ES256")), Witness("w.example.org")
        stranger = Witness(witness.name)
        stranger.key_id = witness.key_id
        policy = WitnessPolicy(f"witness w {witness.vkey}\nquorum w\n".encode())
        for lines, word in (
            (lambda log, text: [log.signature_line(text)], None), (lambda _, text: [unknown.signature_line(text)], "origin"),
            (lambda log, text: [log.signature_line(text, "other")], "origin"), (lambda log, text: [log.signature_line(text + "x")], "origin"),
            (lambda log, text: [log.signature_line(text), log.signature_line(text + "x")], "origin"),
            (lambda log, text: [unknown.signature_line(text), log.signature_line(text)], None),
            (lambda _, text: [witness.line(text, minute(90))], "origin"),
            (lambda log, text: [log.signature_line(text), stranger.line(text, minute(90))], None),
            (lambda _, text: [second.signature_line(text)], "origin"),
        ):  # fmt: skip
            story = signed()
            text = story.log.checkpoint().rpartition("\n\n")[0] + "\n"
            story.move(NEW, order={"previous_checkpoint": text + "\n" + "".join(lines(story.log, text))})
            if word is None:
                verify_evidence(story.evidence(), story.genesis_digest, policy)
                self.assertEqual(found(story).verdict, "VALID")
            else:
                self.refuse(word, story)
        # It is what the second log key signed.
        keys = [story.log_birth, story.installation.generate("log", second.key)]
        self.assertEqual(found(story, log_keys=keys).verdict, "VALID")
        again = signed().move(NEW)
        self.refuse("proof", again, log_keys=[again.log_birth, again.installation.generate("log", second.key)])

    def test_one_size_has_one_root_in_each_origin(self):
        story = signed()
        story.log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(110)})
        old = story.members()["life"]  # a tree of five leaves
        story.move(NEW, left=4)  # and another one
        self.assertEqual(len(story.log.leaves), 5)
        self.assertEqual(found(story, life=old).verdict, "VALID")
        story.log.leaves[0] = story.log.leaves[0].replace("root", "toor")
        changed = story.log.proof(story.index)
        story.log.leaves[0] = story.log.leaves[0].replace("toor", "root")
        self.refuse("proof", story, proof=changed)

    def test_the_last_checkpoint_of_an_origin_has_the_root_of_its_size(self):
        def forked(log: Log, more: int) -> str:
            other = Log(log.key, log.origin)
            other.leaves = [*log.leaves[:3], *(canonical({"other": number}) for number in range(more))]
            return other.checkpoint()

        story = signed()
        story.log.append(MORE)
        proof, life = story.log.proof(3), story.members()["life"]
        story.move(NEW, left=4, order={"previous_checkpoint": forked(story.log, 2), "lost": {"first": 4, "last": 4}})
        self.assertEqual(found(story).verdict, "VALID")  # nothing in the file is of the old origin
        self.refuse("origin", story, proof=proof)
        self.refuse("origin", story, life=life)
        story.log.append(MORE)
        middle = story.log.proof(3)
        story.move(NEWER, left=5, order={"previous_checkpoint": forked(story.log, 3), "lost": {"first": 5, "last": 5}})
        self.assertEqual(found(story).verdict, "VALID")
        self.refuse("origin", story, proof=middle)
        # Where two roots stand in proofs, `proof` comes first.
        two = signed()
        proof, life = two.log.proof(3), two.members()["life"]
        fork = Log(two.log_key)
        fork.leaves = [*two.log.leaves[:3], canonical({"other": 0})]
        forked_life = [life[0], life[1] | {"proof": fork.proof(2)}]
        two.move(NEW)
        self.refuse("proof", two, proof=proof, life=forked_life)
        self.refuse("origin", two, life=[two.members()["life"][0], forked_life[1]])
        longer = signed()
        proof = longer.log.proof(3)
        lost = {"size": 4, "lost": {"first": 4, "last": 4}}
        longer.move(NEW, order={"previous_checkpoint": forked(longer.log, 2)} | lost, leaf={"last": 5})
        self.assertEqual(found(longer, proof=proof).verdict, "VALID")  # of another size: there is nothing to compare

    def test_an_origin_that_ended_has_no_larger_checkpoint(self):
        story = signed()
        fitting, end = story.log.proof(3), story.log.succeeded_by(NEW)
        story.log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(110)})
        larger, life = story.log.proof(3), story.members()["life"]
        story.move(NEW, left=4, order=end, leaf={"last": 4})
        self.assertEqual(found(story).verdict, "VALID")
        self.assertEqual(found(story, proof=fitting).verdict, "VALID")
        self.refuse("origin", story, proof=larger)
        self.refuse("origin", story, life=life)
        self.refuse("origin", story, life=life[:1] + story.members()["life"][1:])
        # Of each origin that ended, not of the first alone; and not of the newest, which goes on.
        end, middle = story.log.succeeded_by(NEWER), story.log.proof(3)
        story.log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(110)})
        larger = story.log.proof(3)
        self.assertEqual(found(story, proof=larger).verdict, "VALID")
        first = story.members()["origins"]
        story.move(NEWER, left=5, order=end, leaf={"last": 5})
        self.assertEqual(found(story, proof=middle).verdict, "VALID")
        self.refuse("origin", story, proof=larger)
        self.refuse("origin", story, origins=[*first, story.members()["origins"][1]])

    def test_larger_checkpoints_in_corrections(self):
        story = signed().correct(3, 3, 50)
        end = story.log.succeeded_by(NEW)
        fitting = story.members()["corrections"]
        story.log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(110)})
        larger = story.members()["corrections"]
        story.move(NEW, left=5, order=end, leaf={"last": 5})
        self.assertEqual(found(story, corrections=fitting).existed_at, minute(50))
        self.refuse("origin", story, corrections=larger)

    def test_one_place_has_one_leaf(self):
        # Of the leaf, under the old origin, and of an act, under the new one that took another leaf over.
        story = signed()
        old = {"leaf": story.log.leaves[3], "proof": story.log.proof(3)}
        story.log.leaves.pop()
        story.demote().log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(210)})
        story.move(NEW)
        kept = story.members()["life"]
        self.refuse("proof", story, **old)
        self.assertEqual(found(story, **old, life=kept[:-1]).verdict, "VALID")
        # Of an act and a correction.
        story = signed().correct(3, 3, 50)
        corrections = story.members()["corrections"]
        story.log.leaves.pop()
        story.demote().log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(210)})
        self.refuse("proof", story, corrections=corrections)
        self.assertEqual(found(story, corrections=[]).verdict, "VALID")
        # Of two corrections, which are not in ascending places either: that is told first.
        story = signed().correct(3, 3, 60)
        (one,) = story.members()["corrections"]
        story.log.leaves.pop()
        story.corrections = []
        story.correct(3, 3, 50).log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(410)})
        self.refuse("correction", story, corrections=[one, *story.members()["corrections"]])
        # Of a new origin and a correction.
        story = signed().move(NEW)
        origins = story.members()["origins"]
        story.log.leaves.pop()
        story.correct(3, 3, 50).log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(410)})
        self.refuse("proof", story, origins=origins)
        self.assertEqual(found(story, origins=origins, corrections=[]).verdict, "VALID")

    def test_a_correction_reaches_back_and_not_forward(self):
        story = signed()
        old = story.log.proof(story.index)
        story.move(NEW).correct(3, 3, 50)
        self.assertEqual(found(story).existed_at, minute(50))
        self.assertEqual(found(story, proof=old).existed_at, minute(50))
        early = signed()
        early.correct(2, 3, 50)
        corrections = early.members()["corrections"]
        early.move(NEW, left=3)
        early.corrections = []
        early.sign()
        self.assertEqual(early.index, 4)
        early.log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(110)})
        self.assertEqual(found(early, corrections=corrections).existed_at, minute(100))
        lost = signed()
        at = lost.index
        lost_leaf, lost_proof = lost.log.leaves[at], lost.log.proof(at)
        lost.move(NEW, left=3)
        lost.log.append({"kind": "admin", "action": "x", "actor": "x", "time": minute(110)})
        lost.correct(3, 3, 50)
        # Of two leaves with one index it does not hold for the one that was lost.
        self.assertEqual(found(lost, leaf=lost_leaf, proof=lost_proof).existed_at, minute(100))


if __name__ == "__main__":
    unittest.main()

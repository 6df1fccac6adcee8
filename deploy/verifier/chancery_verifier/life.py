"""The life of a key by its acts in the log: docs/LOG.md, "Verify", step 6."""

from dataclasses import dataclass, field

from .leaves import read_act
from .operations import REASONS
from .refusal import Malformed, Refused

_BEGINNING_OF_TIME = ""  # before every instant


@dataclass
class Life:
    """What became of the key. `state` is published, primary, demoted, retired, archived or revoked."""

    state: str | None = None
    primary_at: tuple | None = None  # the place of the first act that made it primary
    retired_at: tuple | None = None  # of the act that retired it
    revocation: dict | None = None  # the last one, if it was made more severe
    revoked_at: str | None = None  # by the first one
    times: list = field(default_factory=list)  # of every act its place and its time
    # When it was published, primary first, demoted last and not primary since, retired and archived.
    reached: dict = field(default_factory=dict)


def _refuse_life(why: str) -> Refused:
    return Refused("life", why)


def read_life(acts: list, places: list, birth, clock) -> Life:
    """`acts` are leaves, `clock` knows when they really were written."""
    life, last_place = Life(), (-1, -1)
    for text, place in zip(acts, places):
        try:
            leaf = read_act(text)
        except Malformed as error:
            raise _refuse_life(str(error)) from None
        if place <= last_place:
            raise _refuse_life("the acts are not in log order")
        last_place = place
        if leaf["ring"] != birth.ring:
            raise _refuse_life(f"an act of a different ring, {leaf['ring']}")
        at = clock.time(place, leaf["time"])
        # A clock that was wrong at the acceptance was wrong at the birth before it.
        if life.state is None and birth.executed_at > leaf["time"]:
            raise _refuse_life("accepted before it was generated")
        _apply(leaf, at, life, birth)
        if life.state == "primary" and life.primary_at is None:
            life.primary_at = place
        if life.state == "retired" and life.retired_at is None:
            life.retired_at = place
        life.times.append((place, at))
    if life.state is None:
        raise _refuse_life("there are no acts")
    _check_instants(life)
    return life


def _check_instants(life: Life) -> None:
    steps = ["published", "primary", "demoted", "retired"]
    # A revoked key may be archived without having been retired; the order then says nothing of it.
    steps += ["archived"] if "retired" in life.reached else []
    instants = [life.reached[step] for step in steps if step in life.reached]
    if instants != sorted(instants):
        raise _refuse_life("the instants are not in order")


def _apply(leaf: dict, at: str, life: Life, birth) -> None:
    """The table of step 6. Exactly one of its rows is for this act and this key."""
    kind, action, kid = leaf["kind"], leaf["action"], birth.kid
    is_kid, is_previous = leaf["kid"] == kid, leaf["previous_kid"] == kid
    if is_kid == is_previous:
        raise _refuse_life(f"an act {kind} {action} does not concern this key, or is repeated")
    if kind == "key" and action == "revoke":
        _check_reason(leaf)
    elif leaf["compromised_since"] is not None:
        raise _refuse_life("`compromised_since` on an act that is not a revocation")
    if (life.state is None) != ((kind, action) == ("ceremony", "accepted")):
        raise _refuse_life("the acceptance must be the first act and occur only once")
    if (kind, action) == ("ceremony", "accepted") and is_kid:
        if leaf["digest"] != birth.core_digest:
            raise _refuse_life("a different transcript was accepted")
        _reach(life, "published", (None,), at)
    elif kind == "key" and action in ("rotate", "roll-back", "revoke") and is_kid:
        if action == "revoke" and leaf["previous_kid"] is None:
            raise _refuse_life("a revocation without a kid")
        _reach(life, "primary", ("published", "demoted"), at)
    elif kind == "key" and action in ("rotate", "roll-back"):
        _reach(life, "demoted", ("primary",), at)
    elif kind == "key" and action == "retire" and is_kid:
        _reach(life, "retired", ("demoted",), at)
    elif kind == "key" and action == "archive" and is_kid:
        _reach(life, "archived", ("retired", "revoked"), at)
    elif kind == "key" and action == "revoke":
        _revoke(leaf, at, life)
    else:
        raise _refuse_life(f"an act {kind} {action} is not allowed in this state")


def _reach(life: Life, state: str, allowed_from: tuple, at: str) -> None:
    if life.state not in allowed_from:
        raise _refuse_life(f"a {life.state} key cannot become {state}")
    if state == "archived" and state in life.reached:
        raise _refuse_life("already archived")
    if state == "primary":
        life.reached.pop("demoted", None)
        life.reached.setdefault(state, at)
    else:
        life.reached[state] = at
    # What is destroyed after its revocation stays revoked.
    life.state = "revoked" if life.revocation is not None else state


def _check_reason(leaf: dict) -> None:
    if leaf["reason"] not in REASONS:
        raise _refuse_life(f"{leaf['reason']!r} is not a revocation reason")
    if leaf["compromised_since"] is not None and leaf["reason"] != "compromised":
        raise _refuse_life("`compromised_since` for a key that is not compromised")


def _revoke(leaf: dict, at: str, life: Life) -> None:
    if life.revocation is not None and not _more_severe(leaf, life.revocation):
        raise _refuse_life("already revoked, and this revocation is not more severe")
    if life.state == "primary":
        _reach(life, "demoted", ("primary",), at)
    if life.revocation is None:
        life.revoked_at = at
    life.revocation, life.state = leaf, "revoked"


def _more_severe(leaf: dict, before: dict) -> bool:
    """Only a compromise is, and a compromise only with an earlier beginning."""
    if leaf["reason"] != "compromised":
        return False
    return before["reason"] != "compromised" or _beginning(leaf) < _beginning(before)


def _beginning(compromise: dict) -> str:
    return compromise["compromised_since"] or _BEGINNING_OF_TIME

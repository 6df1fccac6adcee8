"""The line of a log's origins, places on it, and corrections of the clock: docs/LOG.md, "Verify", steps 4a to 4c."""

from dataclasses import dataclass, field

from .operations import end_of_old_origin
from .refusal import Malformed
from .tlog import Proof, root_before

_CORRECTION = ("first", "last", "bound", "origin")


@dataclass(frozen=True)
class Ruled:
    """An act of the log with the ceremony that ruled it, both verified by themselves."""

    leaf: str
    act: dict
    proof: Proof
    ceremony: object


def check_act(ruled: Ruled, action: str, **members) -> None:
    """That the act says what the ceremony ordered."""
    act, ceremony = ruled.act, ruled.ceremony
    if ceremony.operation != action:
        raise Malformed(f"a transcript of the operation {ceremony.operation}")
    if (act["kind"], act["action"]) != ("log", action):
        raise Malformed(f"an act {act['kind']} {act['action']} in place of log {action}")
    expected = {"ref": ceremony.request_digest, "digest": ceremony.core_digest} | members
    for name, value in expected.items():
        if act[name] != value:
            raise Malformed(f"`{name}` of the act is not that of the ceremony")


@dataclass
class Line:
    """The origins from the first to the last; `sizes[k]` is how many leaves went over from k to k+1, `ends[k]` the last
    checkpoint of k."""

    origins: list
    sizes: list = field(default_factory=list)
    ends: list = field(default_factory=list)

    def place(self, proof: Proof) -> tuple:
        origin = proof.checkpoint.origin
        if origin not in self.origins:
            raise Malformed(f"the origin {origin!r} is not in the chain of origins of this log")
        return self.place_under(self.origins.index(origin), proof.index)

    def place_under(self, epoch: int, index: int) -> tuple:
        """Of the leaf with this index in the tree of the origin: what was left over is an older origin's."""
        while epoch > 0 and index < self.sizes[epoch - 1]:
            epoch -= 1
        return epoch, index


def read_line(changes: list, first_origin: str) -> Line:
    """`changes` are of the type Ruled; without them the origin of the leaf is the only one."""
    line = Line([changes[0].ceremony.order.get("previous_origin") if changes else first_origin])
    for change in changes:
        order = change.ceremony.order
        end = end_of_old_origin(order) if change.ceremony.operation == "new-origin" else None
        check_act(change, "new-origin", origin=order.get("origin"), first=order.get("size"), last=end and end.size)
        if order["previous_origin"] != line.origins[-1] or order["origin"] in line.origins:
            raise Malformed("the origins do not form a single chain")
        line.origins.append(order["origin"])
        line.sizes.append(order["size"])
        line.ends.append(end)
    for number, change in enumerate(changes):
        if line.place(change.proof) != (number + 1, line.sizes[number]):
            raise Malformed("the act of a new origin is not its first leaf")
        # Its path shows what stands before it: the owner of the log cannot put other leaves there than were left.
        proof = change.proof
        if root_before(proof.index, proof.checkpoint.size, proof.path).hex() != change.ceremony.order["root"]:
            raise Malformed("the tree of a new origin does not begin with the retained leaves")
    return line


class Clock:
    """The times of leaves, as corrected."""

    def __init__(self, corrections: list, line: Line) -> None:
        self._line, self._bounds, last_place = line, [], (-1, -1)
        for correction in corrections:
            order, place = correction.ceremony.order, line.place(correction.proof)
            check_act(correction, "clock-correction", **{name: order.get(name) for name in _CORRECTION})
            if place <= last_place:
                raise Malformed("the corrections are not in log order")
            if order["last"] >= correction.proof.index:
                raise Malformed("a correction of leaves that do not precede it")
            # The act of a ceremony that is logged again under a later origin corrects nothing there.
            if order["origin"] != line.origins[place[0]]:
                raise Malformed("a correction of leaves of a different origin")
            last_place = place
            self._bounds.append((place[0], order["first"], order["last"], order["bound"]))

    def time(self, place: tuple, written: str) -> str:
        """A correction concerns what stands at its indexes in the tree of its origin, and no leaf that was lost before."""
        index = place[1]
        bounds = [
            bound
            for epoch, first, last, bound in self._bounds
            if first <= index <= last and self._line.place_under(epoch, index) == place
        ]
        return min([written] + bounds)

"""A key under a standing order held against leaves of the log: docs/TRANSCRIPT.md section 7a, "In the log"."""

from dataclasses import dataclass

from .orders import UnderOrder, earliest, is_in_window
from .refusal import Malformed
from .shape import sha256_hex
from .strict_json import canonical

BIRTHS = ("generated", "adopted after a crash")


def said_of_use(shown: bool) -> str:
    return "shown" if shown else "not-shown"


@dataclass(frozen=True)
class OfOrder:
    """What the leaves about the order, and about its key, have to be."""

    ceremony: object
    under: UnderOrder
    next_document: str | None  # SHA-256 of the document that ended the chain under which the order was held

    @classmethod
    def of(cls, ceremony, changes: list):
        """None of a ceremony that is under no order. `changes` are those of its chain, as they stand in the file."""
        if ceremony.under is None:
            return None
        # The genesis is the first document.
        later = changes[ceremony.under.logged.documents - 1 :]
        ended = None
        if later:
            ((_, document),) = later[0].items()
            ended = sha256_hex(canonical(document))
        return cls(ceremony, ceremony.under, ended)

    def tells(self, act: dict) -> bool:
        """Whether a leaf is of the order, of the key before, or of the end of the chain."""
        logged = self.under.logged
        if act["kind"] == "order":
            return self._is_use(act) and act["digest"] == self.ceremony.request_digest
        if act["kind"] == "roster":
            return self._ends_the_chain(act)
        if act["kind"] != "ceremony" or act["ref"] == self.ceremony.request_digest:
            return False
        digests = {"accepted": logged.core_digest, "ordered": logged.execution_digest}
        of_order = act["ref"] == logged.request_digest and act["digest"] == digests.get(act["action"], "")
        before = act["action"] == "accepted" and act["kid"] == self.ceremony.order["predecessor"]
        return of_order or before

    def makes(self, act: dict) -> bool:
        """Whether a leaf of the key's own ceremony tells how it was made."""
        return any(_is_about(act, action, self.ceremony.request_digest) for action in ("intend-generation", *BIRTHS))

    def check(self, acts: list, end) -> None:
        """`acts` are pairs of place and act, in the order of the log; `end` is the place of the key's acceptance."""
        ended = next((index for index, act in acts if self._ends_the_chain(act)), None)
        acts = [(index, act) for index, act in acts if index <= end]
        if self.next_document is not None and ended is None:
            raise Malformed("the end of the chain under which the order was held is not in the log")
        accepted = _first(acts, self._accepts, end)
        _need(accepted is not None, "Unaccepted")
        used = _first(acts, self._is_use)
        _need(used is not None, "Unlogged: its use of the standing order")
        _need(used[1]["digest"] == self.ceremony.request_digest, "Taken")
        self._need_in_time(used[1])
        self._check_order(acts, used[0], ended)
        self._check_made(acts, used[0], accepted)
        before = _first(acts, self._precedes)
        _need(before is not None and before[0] < used[0], "Predecessor")

    def _check_order(self, acts: list, used, ended) -> None:
        logged = self.under.logged
        accepted = _first(acts, lambda act: _is_about(act, "accepted", logged.request_digest))
        _need(accepted is not None and accepted[0] < used, "OrderUnlogged")
        _need(accepted[1]["digest"] == logged.core_digest, "OtherOrder")
        if ended is None or accepted[0] < ended:
            return
        done = _first(
            acts,
            lambda act: _is_about(act, "ordered", logged.request_digest) and act["digest"] == logged.execution_digest,
        )
        in_time = done is not None and done[0] < ended and accepted[1]["time"] <= logged.execute_by
        _need(in_time, "FormerRoster")

    def _check_made(self, acts: list, used, accepted: tuple) -> None:
        request = self.ceremony.request_digest
        intent = _first(acts, lambda act: _is_about(act, "intend-generation", request), used)
        _need(intent is not None, "Unmade")
        self._need_in_time(intent[1])
        _need(is_in_window(self.under.order["window"], intent[1]["time"]), "Time: outside the window")
        born = _first(acts, self._is_birth, intent[0])
        _need(born is not None and born[0] < accepted[0], "Unmade")
        self._need_in_time(born[1])
        if self.ceremony.by_executor is not None:
            self._need_in_time(accepted[1])

    def _need_in_time(self, act: dict) -> None:
        begin = earliest(self.under.order, self.under.use)
        _need(begin <= act["time"] <= self.ceremony.request["execute_by"], f"Time: {act['time']}")

    def _is_use(self, act: dict) -> bool:
        same = act["ref"] == self.under.order["id"] and act["use"] == self.under.use
        return act["kind"] == "order" and act["action"] == "use" and same

    def _accepts(self, act: dict) -> bool:
        same = act["kid"] == self.ceremony.kid and act["digest"] == self.ceremony.core_digest
        return _is_about(act, "accepted", self.ceremony.request_digest) and same

    def _is_birth(self, act: dict) -> bool:
        same = act["kid"] == self.ceremony.kid and act["digest"] == self.ceremony.execution_digest
        return any(_is_about(act, how, self.ceremony.request_digest) for how in BIRTHS) and same

    def _precedes(self, act: dict) -> bool:
        wanted = self.ceremony.order
        same = act["kid"] == wanted["predecessor"] and act["ring"] == wanted["ring"]
        return act["kind"] == "ceremony" and act["action"] == "accepted" and same

    def _ends_the_chain(self, act: dict) -> bool:
        installed = act["kind"] == "roster" and act["action"].startswith("install-")
        return installed and act["digest"] is not None and act["digest"] == self.next_document


def _is_about(act: dict, action: str, request: str) -> bool:
    return (act["kind"], act["action"], act["ref"]) == ("ceremony", action, request)


def _first(acts: list, is_it, start=None):
    return next(((index, act) for index, act in acts if (start is None or index >= start) and is_it(act)), None)


def _need(condition: bool, reason: str) -> None:
    if not condition:
        raise Malformed(f"the use of the standing order: {reason}")

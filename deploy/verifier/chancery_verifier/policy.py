"""Which witnesses are enough: c2sp.org/tlog-policy. A policy that cannot be read is the user's mistake, not the file's."""

import re

from .refusal import Malformed
from .shape import bytes_of_base64
from .tlog import Checkpoint, cosigned_at, ed25519_key_id, is_key_name

MAX_POLICY = 64 * 1024
NOBODY = "none"


class WitnessPolicy:
    """`log` lines are not used (docs/LOG.md, "Verify")."""

    def __init__(self, data: bytes) -> None:
        self._witnesses = {}  # name: key name, public key
        self._groups = {}  # name: k, members
        self._members = set()
        self._quorum = None
        for line in _lines(data):
            self._read_line(line.split(" "))
        if self._quorum is None:
            raise Malformed("a policy has one quorum line")

    @property
    def needs_nobody(self) -> bool:
        return self._quorum == NOBODY

    def check_lines(self, checkpoint: Checkpoint) -> None:
        """Raises Malformed where a line names one of the witnesses and does not check."""
        for witness in self._witnesses.values():
            cosigned_at(checkpoint, *witness)

    def complete_at(self, checkpoint: Checkpoint) -> str | None:
        """The instant at which the quorum was complete, None if it is not. Not asked where the quorum is none."""
        return self._complete_at(self._quorum, checkpoint)

    def _complete_at(self, name: str, checkpoint: Checkpoint) -> str | None:
        if name in self._witnesses:
            return cosigned_at(checkpoint, *self._witnesses[name])
        needed, members = self._groups[name]
        instants = [self._complete_at(member, checkpoint) for member in members]
        earliest_first = sorted(at for at in instants if at is not None)
        # A group is complete with the k-th earliest of its members.
        return earliest_first[needed - 1] if len(earliest_first) >= needed else None

    def _read_line(self, items: list) -> None:
        keyword, *rest = items
        if keyword == "log" and len(rest) in (1, 2):
            return
        if keyword == "witness" and len(rest) in (2, 3):
            self._read_witness(rest[0], rest[1])
        elif keyword == "group" and len(rest) >= 3:
            self._read_group(rest[0], rest[1], rest[2:])
        elif keyword == "quorum" and len(rest) == 1:
            self._read_quorum(rest[0])
        else:
            raise Malformed(f"not a line of a policy: {' '.join(items)!r}")

    def _define(self, name: str) -> None:
        if name == NOBODY or self._is_defined(name):
            raise Malformed(f"duplicate name {name!r}")

    def _is_defined(self, name: str) -> bool:
        return name in self._witnesses or name in self._groups

    def _read_witness(self, name: str, vkey: str) -> None:
        self._define(name)
        key_name, public = read_witness_vkey(vkey)
        if any(known == public for _, known in self._witnesses.values()):
            raise Malformed(f"duplicate key of the witness {name!r}")
        self._witnesses[name] = (key_name, public)

    def _read_group(self, name: str, threshold: str, members: list) -> None:
        self._define(name)
        for member in members:
            if not self._is_defined(member) or member in self._members:
                raise Malformed(f"{member!r} is not defined, or is in a group already")
            self._members.add(member)
        self._groups[name] = (_threshold(threshold, len(members)), members)

    def _read_quorum(self, name: str) -> None:
        if self._quorum is not None:
            raise Malformed("two quorum lines")
        if name != NOBODY and not self._is_defined(name):
            raise Malformed(f"the quorum {name!r} is not defined")
        self._quorum = name


def _threshold(word: str, members: int) -> int:
    if word in ("any", "all"):
        return 1 if word == "any" else members
    if not re.fullmatch(r"[1-9][0-9]{0,3}", word) or int(word) > members:
        raise Malformed(f"{word!r} of {members} members")
    return int(word)


def _lines(data: bytes) -> list:
    """Lines that say something. Octets over 127 are opaque, so they are read as Latin-1; only space and tab separate."""
    if len(data) > MAX_POLICY:
        raise Malformed(f"a policy longer than {MAX_POLICY} bytes")
    if any(octet < 0x20 and octet not in (0x09, 0x0A) or octet == 0x7F for octet in data):
        raise Malformed("a control character in a policy")
    lines = (re.sub(r"[ \t]+", " ", line).strip(" ") for line in data.decode("latin-1").split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def read_witness_vkey(vkey: str) -> tuple:
    """signed-note, "Verifier keys", of signature type 0x04: the key name and the 32 bytes of the key."""
    name, _, rest = vkey.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        name = name.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the name of a verifier key is not UTF-8") from None
    material = bytes_of_base64(encoded)
    if not is_key_name(name) or len(material) != 33 or material[0] != 4:
        raise Malformed(f"{vkey!r} is not the verifier key of an Ed25519 witness (type 0x04)")
    if key_id != ed25519_key_id(name, 4, material[1:]).hex():
        raise Malformed(f"the key id of {vkey!r} is not that of the key")
    return name, material[1:]

"""The log's forms: RFC 6962 section 2.1 and c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof."""

import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .keys import PublicKey
from .refusal import Malformed
from .shape import bytes_of_base64, instant_of_seconds, sha256_hex

MAX_PROOF = 512 * 1024
MAX_NOTE = 256 * 1024
MAX_SIGNATURES = 64
MAX_NUMBER = 2**63 - 1  # of leaves, of a leaf, of seconds
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
EMPTY_ROOT = hashlib.sha256(b"").digest()  # of a tree without leaves


# The tree.


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of_path(index: int, size: int, leaf: bytes, path: list) -> bytes:
    """The root to which an inclusion proof leads: RFC 9162 section 2.1.3.2, for the proofs of RFC 6962 section 2.1.1."""
    root = leaf
    for is_left, sibling in _with_sides(index, size, path):
        root = node_hash(sibling, root) if is_left else node_hash(root, sibling)
    return root


def root_before(index: int, size: int, path: list) -> bytes:
    """The root of the first `index` leaves of the tree in which this path proves the leaf `index`: its siblings to the left,
    from the lowest up. They are the whole subtrees of which RFC 6962 makes that root."""
    root = None
    for is_left, sibling in _with_sides(index, size, path):
        if is_left:
            root = sibling if root is None else node_hash(sibling, root)
    return EMPTY_ROOT if root is None else root


def _with_sides(index: int, size: int, path: list) -> list:
    """Each hash of the path, from the lowest up, with whether it stands to the left."""
    if index >= size:
        raise Malformed(f"there is no leaf {index} in a tree of {size}")
    node, last, sides = index, size - 1, []
    for sibling in path:
        if last == 0:
            raise Malformed("the path is too long")
        is_left = bool(node & 1) or node == last
        sides.append((is_left, sibling))
        while is_left and not node & 1 and node != 0:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    if last != 0:
        raise Malformed("the path is too short")
    return sides


# Notes and checkpoints.


def read_decimal(digits: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", digits) or int(digits) > MAX_NUMBER:
        raise Malformed(f"{digits[:40]!r} is no number of leaves: decimal, without leading zeros, at most 2^63-1")
    return int(digits)


@dataclass(frozen=True)
class Signature:
    name: str
    key_id: bytes
    value: bytes


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and not yet verified. `text` is what is signed."""

    text: str
    origin: str
    size: int
    root: bytes
    signatures: list


def is_key_name(name: str) -> bool:
    """signed-note, "Format": not empty, no Unicode space, no plus."""
    return name != "" and "+" not in name and not any(character.isspace() for character in name)


def read_checkpoint(note: str) -> Checkpoint:
    """A signed note whose text is a checkpoint without extension lines."""
    if len(note.encode()) > MAX_NOTE:
        raise Malformed(f"a note longer than {MAX_NOTE} bytes")
    if any(character < " " and character != "\n" for character in note):
        raise Malformed("a control character in a note")
    text, blank, rest = note.rpartition("\n\n")
    if not blank or not rest.endswith("\n"):
        raise Malformed("a note is a text, an empty line, and lines of signatures")
    lines = rest[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise Malformed(f"more than {MAX_SIGNATURES} signatures")
    signatures = [_read_signature(line) for line in lines]
    parts = text.split("\n")
    if len(parts) != 3 or not parts[0]:
        raise Malformed("a checkpoint is of three lines: origin, size, root")
    root = bytes_of_base64(parts[2])
    if len(root) != 32:
        raise Malformed("the root of a checkpoint has 32 bytes")
    return Checkpoint(text + "\n", parts[0], read_decimal(parts[1]), root, signatures)


def _read_signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not is_key_name(parts[1]):
        raise Malformed("a signature line is: em dash, key name, base64")
    name, data = parts[1], bytes_of_base64(parts[2])
    if len(data) < 5:
        raise Malformed("a signature is a key id of four bytes and something")
    return Signature(name, data[:4], data[4:])


def ed25519_key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def log_key_id(origin: str, key: PublicKey) -> bytes:
    """docs/LOG.md, "Checkpoints": type 0x01 for Ed25519; ECDSA on P-256 goes by the SHA-256 of the SPKI."""
    if key.spec == "Ed25519":
        return ed25519_key_id(origin, 1, key.material)
    return hashlib.sha256(key.spki).digest()[:4]


def log_signature_checks(key: PublicKey, checkpoint: Checkpoint, signature: Signature) -> bool:
    message = checkpoint.text.encode()
    if key.spec == "Ed25519":
        return key.verifies("Ed25519", message, signature.value)
    try:
        key.verify_ecdsa_der(message, signature.value)
    except (InvalidSignature, ValueError):
        return False
    return True


def log_signers(checkpoint: Checkpoint, keys: list) -> set:
    """The kids of the log keys that signed. A line that names a log key and does not check refuses the note."""
    signers = set()
    for signature in checkpoint.signatures:
        if signature.name != checkpoint.origin:
            continue
        named = [key for key in keys if log_key_id(checkpoint.origin, key) == signature.key_id]
        checking = [key.kid for key in named if log_signature_checks(key, checkpoint, signature)]
        if named and not checking:
            raise Malformed(f"a signature of the log key {named[0].kid} is invalid")
        signers.update(checking)
    if not signers:
        raise Malformed("the checkpoint is not signed by a log key")
    return signers


def cosigned_at(checkpoint: Checkpoint, name: str, public: bytes) -> str | None:
    """The earliest instant at which this witness cosigned: tlog-cosignature, Ed25519. Raises Malformed where a line names
    the witness and does not check."""
    key_id, instants = ed25519_key_id(name, 4, public), []
    for signature in checkpoint.signatures:
        if (signature.name, signature.key_id) == (name, key_id):
            instants.append(_cosignature_instant(checkpoint, name, public, signature.value))
    return min(instants, default=None)


def _cosignature_instant(checkpoint: Checkpoint, name: str, public: bytes, value: bytes) -> str:
    seconds = int.from_bytes(value[:8], "big")
    message = f"cosignature/v1\ntime {seconds}\n{checkpoint.text}".encode()
    sound = len(value) == 8 + 64 and 1 <= seconds <= MAX_NUMBER
    if not sound or not _ed25519_checks(public, message, value[8:]):
        raise Malformed(f"a cosignature of {name} is invalid")
    return instant_of_seconds(seconds)


def _ed25519_checks(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# Proofs.


@dataclass(frozen=True)
class Proof:
    index: int
    path: list
    checkpoint: Checkpoint


def read_proof(text: str) -> Proof:
    """A tlog-proof without `extra`."""
    if len(text.encode()) > MAX_PROOF:
        raise Malformed(f"a proof longer than {MAX_PROOF} bytes")
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines[0] != PROOF_HEADER:
        raise Malformed("not a tlog-proof")
    if len(lines) < 2 or not lines[1].startswith("index "):
        raise Malformed("the second line of a tlog-proof without `extra` is its index")
    path = [bytes_of_base64(line) for line in lines[2:]]
    if any(len(node) != 32 for node in path):
        raise Malformed("a hash of a path has 32 bytes")
    return Proof(read_decimal(lines[1].removeprefix("index ")), path, read_checkpoint(note))


def check_inclusion(leaf: bytes, proof: Proof) -> None:
    checkpoint = proof.checkpoint
    if root_of_path(proof.index, checkpoint.size, leaf_hash(leaf), proof.path) != checkpoint.root:
        raise Malformed(f"the path does not lead from the leaf {proof.index} ({sha256_hex(leaf)}) to the root")

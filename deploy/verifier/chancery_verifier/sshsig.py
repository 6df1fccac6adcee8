"""Signatures of people: docs/TRANSCRIPT.md section 4, after PROTOCOL.sshsig of OpenSSH."""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from .keys import is_sound_ed25519
from .refusal import Malformed, Refused
from .shape import bytes_of_base64

MAX_ARMOR = 8192
_BEGIN = "-----BEGIN SSH SIGNATURE-----\n"
_END = "-----END SSH SIGNATURE-----\n"
_MAGIC = b"SSHSIG"
_SK = "@openssh.com"
_RSA_EXPONENT = 65537

# Type of key: its curve. The type of the signature is that of the key, except for RSA.
_CURVES = {
    "ecdsa-sha2-nistp256": ("nistp256", ec.SECP256R1(), hashes.SHA256()),
    "ecdsa-sha2-nistp384": ("nistp384", ec.SECP384R1(), hashes.SHA384()),
    "sk-ecdsa-sha2-nistp256@openssh.com": ("nistp256", ec.SECP256R1(), hashes.SHA256()),
}
_ED25519 = ("ssh-ed25519", "sk-ssh-ed25519@openssh.com")
_RSA_HASHES = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}


@dataclass(frozen=True)
class SshKey:
    """A key of a person. `wire` is its one spelling; `material` is the same for the same key under another type."""

    kind: str
    wire: bytes
    material: bytes
    application: bytes


class _Wire:
    """A reader of SSH strings: RFC 4251 section 5."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def take(self, count: int) -> bytes:
        if len(self._rest) < count:
            raise Malformed("truncated")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def string(self) -> bytes:
        return self.take(int.from_bytes(self.take(4), "big"))

    def mpint(self, longest: int) -> int:
        data = self.string()
        if not data or data[0] & 0x80 or (data[0] == 0 and (len(data) == 1 or data[1] < 0x80)):
            raise Malformed("an mpint is positive and in its shortest form")
        if len(data.lstrip(b"\0")) > longest:
            raise Malformed("an mpint is too long")
        return int.from_bytes(data, "big")

    def end(self) -> None:
        if self._rest:
            raise Malformed("trailing bytes")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def pae(namespace: str, body: str) -> bytes:
    """The DSSE pre-authentication encoding of a body, with the namespace as its payload type."""
    kind, data = namespace.encode(), body.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(data), data)


def read_key_text(text: str) -> SshKey:
    """`ssh key` of section 2: type, one space, padded base64 of the wire form."""
    kind, _, encoded = text.partition(" ")
    key = read_key(bytes_of_base64(encoded))
    if key.kind != kind:
        raise Malformed("the type of the ssh key is not the one inside it")
    return key


def read_key(wire: bytes) -> SshKey:
    """The wire form of a public key, of one of the kinds of section 4 and in its one spelling."""
    reader = _Wire(wire)
    try:
        kind = reader.string().decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("the type of an ssh key is not ASCII") from None
    if kind in _ED25519:
        material = _read_ed25519(reader)
    elif kind in _CURVES:
        material = _read_point(reader, kind)
    elif kind == "ssh-rsa":
        material = _read_rsa(reader)
    else:
        raise Malformed(f"ssh keys of the type {kind!r} are refused")
    application = reader.string() if kind.endswith(_SK) else b""
    reader.end()
    try:
        application.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the application of a security key is not UTF-8") from None
    return SshKey(kind, wire, material, application)


def _read_ed25519(reader: _Wire) -> bytes:
    material = reader.string()
    if not is_sound_ed25519(material):
        raise Malformed("an Ed25519 key of small order, of another length, or not canonically encoded")
    return material


def _read_point(reader: _Wire, kind: str) -> bytes:
    curve_name, curve, _ = _CURVES[kind]
    if reader.string() != curve_name.encode():
        raise Malformed("the curve is not that of the key's type")
    point = reader.string()
    if len(point) != 1 + 2 * ((curve.key_size + 7) // 8) or point[0] != 4:
        raise Malformed("a point is 04 || x || y")
    return point


def _read_rsa(reader: _Wire) -> bytes:
    e, n = reader.mpint(4), reader.mpint(1024)
    if e != _RSA_EXPONENT or not 2048 <= n.bit_length() <= 8192:
        raise Malformed("an RSA key has an n of 2048 to 8192 bits, and e 65537")
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


def verify(armor: str, namespace: str, body: str) -> SshKey:
    """The key that signed the body in this namespace. Raises Refused with the reason of section 4."""
    blob = _Wire(_unarmor(armor))
    try:
        if blob.take(len(_MAGIC)) != _MAGIC or blob.take(4) != b"\0\0\0\1":
            raise Malformed("not an SSHSIG of version 1")
        wire, signed_namespace, reserved, hash_name, signature = (blob.string() for _ in range(5))
        blob.end()
        if reserved:
            raise Malformed("`reserved` is not empty")
    except Malformed as error:
        raise Refused("Malformed", str(error)) from None
    if hash_name not in (b"sha256", b"sha512"):
        raise Refused("Algorithm", "the hash is neither sha256 nor sha512")
    if signed_namespace != namespace.encode():
        raise Refused("Namespace", f"signed for a namespace other than {namespace}")
    try:
        key = read_key(wire)
    except Malformed as error:
        raise Refused("Key", str(error)) from None
    hashed = hashlib.new(hash_name.decode(), pae(namespace, body)).digest()
    message = _MAGIC + _string(signed_namespace) + _string(b"") + _string(hash_name) + _string(hashed)
    _verify_signature(key, message, signature)
    return key


def _unarmor(armor: str) -> bytes:
    if len(armor.encode()) > MAX_ARMOR:
        raise Refused("Armor", f"longer than {MAX_ARMOR} bytes")
    if not (armor.startswith(_BEGIN) and armor.endswith(_END)):
        raise Refused("Armor", "not between the lines of an SSH signature")
    lines = armor[len(_BEGIN) : -len(_END)]
    encoded = lines.replace("\n", "")
    wrapped = "".join(encoded[start : start + 70] + "\n" for start in range(0, len(encoded), 70))
    try:
        blob = bytes_of_base64(encoded)
    except Malformed as error:
        raise Refused("Armor", str(error)) from None
    if wrapped != lines:
        raise Refused("Armor", "the lines are not of 70 characters")
    return blob


def _verify_signature(key: SshKey, message: bytes, signature: bytes) -> None:
    reader = _Wire(signature)
    try:
        kind = reader.string()
        allowed = _RSA_HASHES if key.kind == "ssh-rsa" else (key.kind,)
        if kind not in [name.encode() for name in allowed]:
            raise Refused("Algorithm", f"a signature of the type {kind!r} by a key of the type {key.kind}")
        value = reader.string()
        if key.kind.endswith(_SK):
            message = _security_key_message(key, reader.take(5), message)
        reader.end()
        valid = _check(key, kind.decode(), value, message)
    except Malformed as error:
        raise Refused("Malformed", str(error)) from None
    if not valid:
        raise Refused("BadSignature", "the signature is invalid")


def _security_key_message(key: SshKey, flags_and_counter: bytes, message: bytes) -> bytes:
    if not flags_and_counter[0] & 1:
        raise Refused("UserPresence", "the security key was not touched")
    return hashlib.sha256(key.application).digest() + flags_and_counter + hashlib.sha256(message).digest()


def _check(key: SshKey, kind: str, value: bytes, message: bytes) -> bool:
    try:
        if kind in _ED25519:
            ed25519.Ed25519PublicKey.from_public_bytes(key.material).verify(value, message)
        elif kind in _CURVES:
            _check_ecdsa(key, kind, value, message)
        else:
            _check_rsa(key, kind, value, message)
    # ValueError: a point off its curve, an n that no RSA key has, a value of an impossible length.
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _check_ecdsa(key: SshKey, kind: str, value: bytes, message: bytes) -> None:
    reader = _Wire(value)
    size = (len(key.material) - 1) // 2
    r, s = reader.mpint(size), reader.mpint(size)
    reader.end()
    _, curve, sha = _CURVES[kind]
    public = ec.EllipticCurvePublicKey.from_encoded_point(curve, key.material)
    public.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(sha))


def _check_rsa(key: SshKey, kind: str, value: bytes, message: bytes) -> None:
    if len(value) != len(key.material):
        raise InvalidSignature
    public = rsa.RSAPublicNumbers(_RSA_EXPONENT, int.from_bytes(key.material, "big")).public_key()
    public.verify(value, message, padding.PKCS1v15(), _RSA_HASHES[kind])

"""Passkeys as signers: docs/TRANSCRIPT.md section 4a; W3C Web Authentication Level 3, section 7.2."""

import hashlib
import json
import math
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from .keys import SPECS_OF_ALGORITHM, PublicKey, read_spki
from .refusal import Malformed, Refused
from .shape import b64u_of_bytes, bytes_of_b64u

MAX_CLIENT_DATA = MAX_AUTHENTICATOR_DATA = 4096
MAX_CBOR_DEPTH = 5
# As deep as the JSON of a browser is read.
MAX_JSON_DEPTH = 127
MAX_ORIGINS = 10
_UP, _UV, _BE, _BS, _AT, _ED = 1, 4, 8, 16, 64, 128
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def verify(signature: dict, message: bytes, roster: dict) -> tuple:
    """The key whose assertion this is over the message, as `identity` names it. Raises Refused."""
    passkeys = roster.get("passkeys")
    if passkeys is None:
        raise Refused("Passkey", "NotUsed: the roster has no passkeys")
    key = find(signature["credential_id"], roster)
    if key is None:
        raise Refused("UnknownKey", "the passkey belongs to no roster member")
    public = read_key(key)
    client_data, data = bytes_of_b64u(signature["client_data"]), bytes_of_b64u(signature["authenticator_data"])
    try:
        _check_client_data(client_data, hashlib.sha256(message).digest(), passkeys)
        _check_authenticator_data(data, passkeys)
    except Malformed as error:
        raise Refused("Passkey", str(error)) from None
    signed = data + hashlib.sha256(client_data).digest()
    if not _verifies(public, key["algorithm"], signed, bytes_of_b64u(signature["signature"])):
        raise Refused("Passkey", "Signature: it does not verify")
    return identity(key)


def identity(key: dict) -> tuple:
    return ("webauthn", key["algorithm"], key["credential_id"], key["public_key"])


def find(credential_id: str, roster: dict) -> dict | None:
    for member in roster["members"]:
        for key in member["keys"]:
            if key["kind"] == "webauthn" and key["credential_id"] == credential_id:
                return key
    return None


def read_key(key: dict) -> PublicKey:
    """The public key, of a shape that the algorithm takes. Raises Malformed."""
    public = read_spki(bytes_of_b64u(key["public_key"]))
    if public.spec not in SPECS_OF_ALGORITHM[key["algorithm"]]:
        raise Malformed(f"Algorithm: {key['algorithm']} does not take {public.spec}")
    if public.spec == "P-256":
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public.material)
        except ValueError:
            raise Malformed("Invalid: the point is not on its curve") from None
    return public


def materials(key: dict) -> list:
    """What two keys must not share, in the form of an SSH key's material; and the id by which the passkey is found."""
    public = read_key(key)
    if public.spec == "Ed25519":
        material = public.material
    elif public.spec == "P-256":
        material = b"\x04" + public.material
    else:
        modulus = serialization.load_der_public_key(public.spki).public_numbers().n
        material = modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")
    return [material, b"webauthn\0" + bytes_of_b64u(key["credential_id"])]


def _verifies(public: PublicKey, algorithm: str, signed: bytes, signature: bytes) -> bool:
    if algorithm != "ES256":
        return public.verifies(algorithm, signed, signature)
    try:
        # One encoding of r and s.
        if utils.encode_dss_signature(*utils.decode_dss_signature(signature)) != signature:
            return False
        public.verify_ecdsa_der(signed, signature)
    except (InvalidSignature, ValueError):
        return False
    return True


# The relying party.


def check_relying_party(passkeys: dict) -> None:
    """Section 6: browsers would ask, and origins are spelled as they spell them. Raises Malformed."""
    if not _is_host(passkeys["rp_id"]):
        raise Malformed("RpId: a host name in lower case was expected")
    origins = passkeys["origins"]
    if not 1 <= len(origins) <= MAX_ORIGINS or len(set(origins)) != len(origins):
        raise Malformed(f"Origins: 1 to {MAX_ORIGINS}, each once")
    for origin in origins:
        if not _may_ask(origin, passkeys["rp_id"]):
            raise Malformed(f"Origin: {origin!r}")


def _may_ask(origin: str, rp_id: str) -> bool:
    scheme, separator, rest = origin.partition("://")
    if not separator or scheme not in ("https", "http"):
        return False
    host, colon, port = rest.partition(":")
    if colon:
        written = re.fullmatch(r"0|[1-9][0-9]{0,4}", port) is not None and int(port) < 2**16
        if not written or port == ("443" if scheme == "https" else "80"):
            return False
    under = host == rp_id or host.endswith("." + rp_id)
    return _is_host(host) and under and (scheme == "https" or host == "localhost")


def _is_host(name: str) -> bool:
    labels = name.split(".")
    plain = all(_LABEL.fullmatch(label) for label in labels)
    return len(name) <= 253 and plain and re.fullmatch(r"[0-9]+", labels[-1]) is None


# Client data.


def _check_client_data(data: bytes, challenge: bytes, passkeys: dict) -> None:
    said = _read_client_data(data)
    for name in ("type", "challenge", "origin"):
        if not isinstance(said.get(name), str):
            raise Malformed(f"ClientData: {name}")
    if not isinstance(said.get("crossOrigin", False), bool) or not isinstance(said.get("topOrigin", ""), str):
        raise Malformed("ClientData: crossOrigin or topOrigin")
    if said["type"] != "webauthn.get":
        raise Malformed(f"Type: {said['type']!r}")
    if said["challenge"] != b64u_of_bytes(challenge):
        raise Malformed("Challenge: over other bytes")
    if said["origin"] not in passkeys["origins"]:
        raise Malformed(f"Origin: {said['origin']!r}")
    if said.get("crossOrigin", False) or "topOrigin" in said:
        raise Malformed("CrossOrigin: made in a frame of another site")


def _read_client_data(data: bytes) -> dict:
    """One JSON object, no member of it twice. Numbers that are no doubles, wrong UTF-8 and lone surrogates are refused."""
    if len(data) > MAX_CLIENT_DATA:
        raise Malformed("ClientData: too long")
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        said = json.loads(text, object_pairs_hook=_Members, parse_int=_number, parse_float=_number, parse_constant=_number)
        _without_surrogates(said)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"ClientData: {error}") from None
    if not isinstance(said, _Members):
        raise Malformed("ClientData: not an object")
    members = dict(said.pairs)
    if len(members) != len(said.pairs):
        raise Malformed("ClientData: duplicate member")
    return members


class _Members:
    """An object of which nobody knows yet whether a member is there twice: only in the outermost one that matters."""

    def __init__(self, pairs: list) -> None:
        self.pairs = pairs


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_JSON_DEPTH:
            raise ValueError("nested too deep")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]}")
    return number


def _without_surrogates(value) -> None:
    """UnicodeEncodeError, a ValueError, for half of a pair."""
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, list):
        for each in value:
            _without_surrogates(each)
    elif isinstance(value, _Members):
        for name, each in value.pairs:
            _without_surrogates(name)
            _without_surrogates(each)


# Authenticator data.


def _check_authenticator_data(data: bytes, passkeys: dict) -> None:
    if not 37 <= len(data) <= MAX_AUTHENTICATOR_DATA:
        raise Malformed(f"AuthenticatorData: {len(data)} bytes")
    flags, rest = data[32], data[37:]
    attested = bool(flags & _AT)
    try:
        if attested:
            length = int.from_bytes(_take(rest[16:], 2)[0], "big")
            _, rest = _take(rest[18:], length)
            _, rest = _item(rest, MAX_CBOR_DEPTH)
        if flags & _ED:
            extensions, rest = _item(rest, MAX_CBOR_DEPTH)
            if not isinstance(extensions, dict) or any(kind != "text" for kind, _ in extensions):
                raise Malformed("AuthenticatorData: Extensions: not a map by text")
        if rest:
            raise Malformed("AuthenticatorData: Trailing")
    except ValueError as error:
        raise Malformed(f"AuthenticatorData: {error}") from None
    if data[:32] != hashlib.sha256(passkeys["rp_id"].encode()).digest():
        raise Malformed("RpId: for another relying party")
    if not flags & _UP:
        raise Malformed("NotPresent")
    if not flags & _UV:
        raise Malformed("NotVerified")
    if flags & _BS and not flags & _BE:
        raise Malformed("BackupState")
    if attested:
        raise Malformed("Attested: no part of an assertion")


def _take(data: bytes, count: int) -> tuple:
    if len(data) < count:
        raise ValueError("CBOR: it ends in the middle of an item")
    return data[:count], data[count:]


def _item(data: bytes, depth: int) -> tuple:
    """An item of CTAP2's canonical CBOR, as something that can be compared, and what comes after it."""
    head, rest = _take(data, 1)
    major, low = head[0] >> 5, head[0] & 31
    if major == 6 or low > 27:
        raise ValueError("CBOR: tags and indefinite lengths are not allowed")
    number = low
    if low > 23:
        digits, rest = _take(rest, 1 << (low - 24))
        number = int.from_bytes(digits, "big")
        least = {24: 24, 25: 2**8, 26: 2**16, 27: 2**32}[low]
        if major == 7:
            least = 32 if low == 24 else 0
        if number < least:
            raise ValueError("CBOR: not the shortest form")
    if major in (2, 3):
        value, rest = _take(rest, number)
        return (("text", value.decode("utf-8")) if major == 3 else ("bytes", value)), rest
    if major in (4, 5):
        if depth == 0:
            raise ValueError("CBOR: nested too deep")
        return _items(rest, number, depth - 1) if major == 4 else _map(rest, number, depth - 1)
    return (major, number), rest


def _items(rest: bytes, count: int, depth: int) -> tuple:
    items = []
    while len(items) < count:
        item, rest = _item(rest, depth)
        items.append(_comparable(item))
    return ("array", tuple(items)), rest


def _map(rest: bytes, count: int, depth: int) -> tuple:
    members = {}
    while len(members) < count:
        key, rest = _item(rest, depth)
        value, rest = _item(rest, depth)
        if _comparable(key) in members:
            raise ValueError("CBOR: duplicate key")
        members[_comparable(key)] = value
    return members, rest


def _comparable(item):
    """The same without what has no hash, to any depth. Keys and the items of arrays are so already."""
    return ("map", tuple((key, _comparable(value)) for key, value in item.items())) if isinstance(item, dict) else item

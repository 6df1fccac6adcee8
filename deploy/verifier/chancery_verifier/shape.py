"""Readers of JSON values: each takes a value, returns it when it is of its type, and raises Malformed when it is not.

The types are those of docs/TRANSCRIPT.md section 2. An instant stays the string it is: all of them have one length and
one time zone, so that comparing the strings compares the instants.
"""

import base64
import binascii
import hashlib
import re
from datetime import datetime, timedelta, timezone

from .refusal import Malformed
from .strict_json import MAX_INTEGER

FIRST_INSTANT = "1970-01-01T00:00:00.000Z"
LAST_INSTANT = "9999-12-30T21:59:59.999Z"
ALGORITHMS = ("ES256", "ES384", "PS256", "RS256", "Ed25519")
KEY_SPECS = ("P-256", "P-384", "RSA-2048", "RSA-3072", "RSA-4096", "Ed25519")
USAGES = ("structured", "raw", "sealed", "certificates", "log", "wrap")


def text(value) -> str:
    if not isinstance(value, str):
        raise Malformed("Content: a string was expected")
    return value


def boolean(value) -> bool:
    if not isinstance(value, bool):
        raise Malformed("Content: true or false was expected")
    return value


def integer(least: int, most: int):
    def read(value) -> int:
        # bool is an int in Python, and is none in JSON.
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Malformed(f"Content: an integer from {least} to {most} was expected")
        return value

    return read


def one_of(*words: str):
    def read(value) -> str:
        if not isinstance(value, str) or value not in words:
            raise Malformed(f"Content: one of {', '.join(words)} was expected")
        return value

    return read


def matching(pattern: str, what: str):
    def read(value) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise Malformed(f"Content: {what} was expected")
        return value

    return read


def or_null(reader):
    return lambda value: None if value is None else reader(value)


def null(value) -> None:
    """The room of what may be added one day."""
    if value is not None:
        raise Malformed("Content: null was expected")


def array(reader):
    def read(value) -> list:
        if not isinstance(value, list):
            raise Malformed("Content: an array was expected")
        return [reader(element) for element in value]

    return read


def record(members: dict, optional: dict | None = None):
    """An object of exactly these members; the optional ones may be missing, and are then None in what is returned."""
    optional = optional or {}

    def read(value) -> dict:
        if not isinstance(value, dict):
            raise Malformed("Content: an object was expected")
        for name in value:
            if name not in members and name not in optional:
                raise Malformed(f"Content: unknown member {name!r}")
        for name in members:
            if name not in value:
                raise Malformed(f"Content: the member {name!r} is missing")
        answer = {name: None for name in optional}
        for name, element in value.items():
            answer[name] = _member(name, members.get(name) or optional[name], element)
        return answer

    return read


def _member(name: str, reader, value):
    try:
        return reader(value)
    except Malformed as error:
        raise Malformed(f"{error} (in {name!r})") from None


def kinded(choices: dict):
    """An object that says in its member `kind` which of these it is. The reader gets the other members."""

    def read(value) -> dict:
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str) or value["kind"] not in choices:
            raise Malformed(f"Content: an object of one of the kinds {', '.join(choices)} was expected")
        others = {name: element for name, element in value.items() if name != "kind"}
        return {"kind": value["kind"]} | choices[value["kind"]](others)

    return read


def mapping(name_reader, reader, most: int):
    """An object with any names that one reader takes, and values that the other takes."""

    def read(value) -> dict:
        if not isinstance(value, dict) or len(value) > most:
            raise Malformed(f"Content: an object of at most {most} members was expected")
        return {name_reader(name): _member(name, reader, element) for name, element in value.items()}

    return read


def tagged(choices: dict):
    """An object of one member, whose name says what it is. Returns the name and the value."""

    def read(value) -> tuple:
        if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in choices:
            raise Malformed(f"Content: an object of one member was expected: {', '.join(choices)}")
        name, inner = next(iter(value.items()))
        return name, choices[name](inner)

    return read


def instant(value) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value, re.ASCII):
        raise Malformed("Content: an instant YYYY-MM-DDTHH:MM:SS.mmmZ was expected")
    try:
        datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        raise Malformed(f"Content: there is no instant {value}") from None
    if value[17:19] == "60" or not FIRST_INSTANT <= value <= LAST_INSTANT:
        raise Malformed(f"Content: the instant {value} is out of range")
    return value


def instant_of_seconds(seconds: int) -> str:
    """The end of a POSIX second as an instant; one after the last instant is the last instant."""
    if seconds >= 253_402_300_800:
        return LAST_INSTANT
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)
    return min(moment.strftime("%Y-%m-%dT%H:%M:%S.999Z"), LAST_INSTANT)


def sha256_hex(data: bytes) -> str:
    """SHA-256 as it stands in every document."""
    return hashlib.sha256(data).hexdigest()


def bytes_of_b64u(value) -> bytes:
    """base64url without padding, in its one spelling."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]*", value, re.ASCII):
        raise Malformed("Content: base64url was expected")
    try:
        decoded = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except binascii.Error:
        raise Malformed("Content: base64url of an impossible length") from None
    if b64u_of_bytes(decoded) != value:
        raise Malformed("Content: unused bits of the last character are not zero")
    return decoded


def b64u_of_bytes(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def bytes_of_base64(value: str) -> bytes:
    """RFC 4648 section 4 with padding, in its one spelling."""
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("base64 was expected") from None
    if base64.b64encode(decoded).decode("ascii") != value:
        raise Malformed("this base64 is not canonical")
    return decoded


def b64u(value) -> str:
    bytes_of_b64u(value)
    return value


def kid(value) -> str:
    if len(bytes_of_b64u(value)) != 32:
        raise Malformed("Content: a kid was expected, base64url of 32 bytes")
    return value


def short_text(value) -> str:
    if not 1 <= len(text(value)) <= 40:
        raise Malformed("Content: a string of 1 to 40 code points was expected")
    return value


def subject(value) -> str:
    """What a line of ceremonies is about: a kind, and mostly a name of that kind."""
    kind, slash, which = text(value).partition("/")
    if value not in ("trust", "log"):
        if not slash or kind not in _NAMES_OF_SUBJECTS:
            raise Malformed("Content: a subject was expected, such as ring/NAME")
        _NAMES_OF_SUBJECTS[kind](which)
    return value


version_one = integer(1, 1)
uint = integer(0, MAX_INTEGER)
u32 = integer(0, 2**32 - 1)
threshold = integer(2, 255)
name = matching(r"[a-z0-9][a-z0-9-]{0,62}", "a name of a-z, 0-9 and -")
digest = matching(r"[0-9a-f]{64}", "a SHA-256 in lower-case hexadecimal")
hex16 = matching(r"[0-9a-f]{32}", "16 bytes in lower-case hexadecimal")
algorithm = one_of(*ALGORITHMS)
key_spec = one_of(*KEY_SPECS)
usage = one_of(*USAGES)
key_type = matching(r"[a-z0-9][a-z0-9_-]{0,39}", "a key type of a-z, 0-9, - and _")
word = matching(r"[a-z][a-z0-9-]{0,39}", "a word of a-z, 0-9 and -, beginning with a letter")


def _stopped(value) -> str:
    """One ring, or `*` for all of them."""
    return value if value == "*" else name(value)


_NAMES_OF_SUBJECTS = {
    "ring": name, "key": kid, "order": hex16, "tenant": name, "ca": name, "stop": _stopped, "rotation-policy": key_type,
}  # fmt: skip

_NOT_PLAIN = (
    (0x0000, 0x001F), (0x007F, 0x009F), (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160),
    (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)  # fmt: skip


def is_plain(value: str, most: int) -> bool:
    """plain(n): judged where a section says so, not when the JSON is read."""
    if not 1 <= len(value) <= most:
        return False
    return not any(low <= ord(character) <= high for character in value for low, high in _NOT_PLAIN)

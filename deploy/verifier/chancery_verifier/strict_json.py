"""Strict and canonical JSON: docs/TRANSCRIPT.md section 1; RFC 8259, RFC 8785."""

import json
import re

from .refusal import Malformed

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32

# Strings, integers, booleans and null: Python writes these as RFC 8785 section 3.2.2 wants them.
_SCALARS = json.JSONEncoder(ensure_ascii=False)


def read_canonical(data: bytes):
    """The value of strict JSON in its one spelling. Raises Malformed with the document's name of the reason first."""
    value = read_strict(data)
    if canonical(value) != data:
        raise Malformed("NotCanonical: these are not the bytes RFC 8785 gives for this value")
    return value


def read_strict(data: bytes):
    """The value of strict JSON, however it is spaced and ordered."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"Syntax: not UTF-8: {error.reason} at byte {error.start}") from None
    check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise Malformed(f"Syntax: {error}") from None


def check_depth(text: str) -> None:
    """Before the parser, which would recurse as deep as the input says."""
    outside_strings = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", outside_strings):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise Malformed(f"Depth: more than {MAX_DEPTH} objects and arrays nested")


def _object(pairs: list) -> dict:
    members = {}
    for name, value in pairs:
        if name in members:
            raise Malformed(f"Duplicate: the member {name!r} occurs twice in one object")
        members[name] = value
    return members


def _integer(digits: str) -> int:
    # By length first: the conversion of very long numbers is slow, and Python refuses it in its own way.
    if digits == "-0":
        raise Malformed("Float: -0 is not an integer")
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
        raise Malformed("Integer: exceeds 2^53-1 in magnitude")
    return int(digits)


def _no_float(_digits: str):
    raise Malformed("Float: only integers are allowed")


def canonical(value) -> bytes:
    """The bytes of RFC 8785 for a value that read_strict returned."""
    try:
        return _write(value).encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("Content: a lone surrogate in a string") from None


def _write(value) -> str:
    if isinstance(value, dict):
        # RFC 8785 section 3.2.3: members are ordered by the UTF-16 code units of their names.
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_write(name)}:{_write(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_write(element) for element in value) + "]"
    return _SCALARS.encode(value)

"""Where keys are: place, location and what was read back, by the kind of the device (docs/TRANSCRIPT.md sections 3, 7, 8)."""

from . import shape
from .refusal import Malformed
from .shape import array, boolean, is_plain, or_null, record, tagged, text

_BOOLEANS = ("token", "private", "sensitive", "extractable", "modifiable", "sign", "decrypt", "unwrap", "derive")
_WHERE_THEY_APPLY = ("encrypt", "wrap")
template = record(
    {flag: boolean for flag in _BOOLEANS} | {flag: or_null(boolean) for flag in _WHERE_THEY_APPLY},
)
# What a template has to say for each purpose; `modifiable` is free.
_TEMPLATES = {
    "sign": {
        "token": True, "private": True, "sensitive": True, "sign": True, "extractable": False, "decrypt": False,
        "unwrap": False, "derive": False, "encrypt": None, "wrap": None,
    },
    "wrap": {
        "token": True, "private": True, "sensitive": True, "wrap": True, "unwrap": True, "extractable": False,
        "encrypt": False, "decrypt": False, "sign": False, "derive": False,
    },
}  # fmt: skip
_KEY_OPS = {"sign": ["sign", "verify"], "wrap": ["unwrapKey", "wrapKey"]}

_on_token = {"token_serial": text, "token_label": text, "cka_id": shape.hex16, "label": text}
place = tagged(
    {
        "pkcs11": record(_on_token | {"template": template}),
        "key-vault": record({"vault": text, "name": text, "tag": text}),
    }
)
location = tagged(
    {
        "pkcs11": record(_on_token),
        "key-vault": record({"vault": text, "name": text, "version": text}),
    }
)
read_back = tagged(
    {
        "pkcs11": record(
            {
                "key_spec": text,
                "template": template,
                "always_sensitive": or_null(boolean),
                "never_extractable": or_null(boolean),
                "local": or_null(boolean),
            }
        ),
        "key-vault": record(
            {
                "key_spec": text,
                "tag": text,
                "enabled": boolean,
                "exportable": boolean,
                "hardware": boolean,
                "key_ops": array(text),
            }
        ),
    }
)
# plain(n) of every member that is one, in places and locations of both kinds.
_PLAIN = {"token_serial": 64, "token_label": 64, "label": 100, "vault": 253, "name": 127, "tag": 64, "version": 64}


def check_plain(place_or_location: tuple) -> None:
    _, members = place_or_location
    for name, most in _PLAIN.items():
        if name in members and not is_plain(members[name], most):
            raise Malformed(f"`{name}` is not plain")


def check_template(purpose: str, ordered: tuple) -> None:
    """A key vault has no template: its tag and its key_ops say what a key may do."""
    kind, members = ordered
    if kind == "pkcs11":
        for flag, expected in _TEMPLATES[purpose].items():
            if members["template"][flag] is not expected:
                raise Malformed(f"`{flag}` of a key of the purpose {purpose}")


def check_as_ordered(purpose: str, key_spec: str, ordered: tuple, found_at: tuple, found: tuple) -> None:
    """Section 8, step 5."""
    kind, wanted = ordered
    if found_at[0] != kind or found[0] != kind:
        raise Malformed(f"`location` and `read_back` are not of the kind {kind}")
    at, seen = found_at[1], found[1]
    check_plain(found_at)
    expected = {"key_spec": key_spec}
    if kind == "pkcs11":
        _check_equal(at, {name: wanted[name] for name in _on_token})
        _check_equal(seen, expected | {"template": wanted["template"]})
        for name in ("always_sensitive", "never_extractable", "local"):
            if seen[name] is False:
                raise Malformed(f"`{name}` is false")
    else:
        _check_equal(at, {name: wanted[name] for name in ("vault", "name")})
        expected |= {"tag": wanted["tag"], "enabled": True, "exportable": False, "hardware": True}
        _check_equal(seen, expected | {"key_ops": _KEY_OPS[purpose]})


def _check_equal(found: dict, expected: dict) -> None:
    for name, value in expected.items():
        if found[name] != value:
            raise Malformed(f"`{name}` differs from the request")

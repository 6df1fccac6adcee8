"""Writes transcripts for a comparison of verifiers, all of one genesis: of each operation, and one for each rule."""

import json
import pathlib
import sys

from sample_files import (
    TEMPLATES, Installation, Log, ServiceKey, WrappingKey, acts_of_ceremony, b64, b64u, by_passkey, canonical,
    location_of, minute, policy_order, policy_text, sha256, token_place, tree_root, vault_place, with_log,
)  # fmt: skip

from sample_emergency import emergencies, stops
from sample_order_log import order_proofs
from sample_orders import orders
from sample_passkeys import passkeys
from sample_recovery import recoveries

# Beside the custodians.
MEMBERS = (
    ("zoe",), ("eve", "operator"), ("max", "executor"), ("wim", "witness"), ("wea", "witness", "seen-before"),
    ("wop", "witness", "operator"), ("adam", "administrator"),
    ("lena", "security-lead"), ("mona", "on-call-manager"), ("otto", "on-call"),
    ("ida", "custodian", "security-lead", "on-call-manager"),
)  # fmt: skip

# Plain, and no names of keys.
NO_NAMES = (("space", "a b"), ("nbsp", "a\u00a0b"), ("wide", "a\u3000b"), ("plus", "a+b"))


def write_transcripts(directory: pathlib.Path, installation: Installation) -> None:
    """The installation has, beside its custodians, the `MEMBERS`."""
    makers = (generations, places, operations, lines, votes, suspensions, log_proofs, recoveries, orders, order_proofs, emergencies, passkeys)
    for maker in makers:
        for name, transcript in maker(installation):
            (directory / f"{maker.__name__}-{name}.transcript").write_text(transcript, encoding="utf-8")
    for name, stop in stops(installation):
        (directory / f"stops-{name}.stop").write_text(stop, encoding="utf-8")


def generations(installation: Installation):
    key, wrapping, log_key = ServiceKey(), WrappingKey(), ServiceKey("Ed25519")

    def make(ring: str = "ring", of=key, **changed) -> str:
        return installation.generate(ring, of, **changed)

    for algorithm in ("ES384", "PS256", "RS256", "Ed25519"):
        yield algorithm, make(of=ServiceKey(algorithm))
    for usage in ("structured", "raw", "sealed", "certificates", "log", "wrap", "other"):
        yield f"usage-{usage}", make(order={"usage": usage})
        yield f"usage-of-log-{usage}", make("log", log_key, order={"usage": usage})
        yield f"usage-of-wrap-{usage}", make("kek", wrapping, order={"usage": usage})
    other = WrappingKey()
    other.secret = b"o" * 32
    stated = other.stated({"number": 1, "ring": "kek"})
    yield "wrap", make("kek", wrapping)
    yield "wrap-in-vault", make("kek", wrapping, order={"place": vault_place()})
    yield "wrap-other-kid", make("kek", wrapping, public={"kid": stated["kid"]})
    yield "wrap-other-value", make("kek", wrapping, public={"check_value": stated["check_value"]})
    yield "wrap-other-ring", make("kek", wrapping, public=wrapping.stated({"number": 1, "ring": "other"}))
    yield "wrap-other-number", make("kek", wrapping, public=wrapping.stated({"number": 2, "ring": "kek"}))
    yield "wrap-says-public", make("kek", wrapping, generated={"key": {"public": public_of(key)}})
    yield "sign-says-check", make(generated={"key": {"check": wrapping.stated({"number": 1, "ring": "ring"})}})
    yield "log-of-ES384", make("log", ServiceKey("ES384"))
    yield "two-approvals-of-one", make(approve=["grace", "grace"])
    yield "superfluous", make(accept=["grace", "mary", "ada"])
    yield "passkey-accepts", with_acceptance(make(), by_passkey())
    yield "unknown-signature", with_acceptance(make(), by_passkey() | {"kind": "pgp"})
    yield "result", make(acceptance={"result": installation.sign("max", "result", "{}")})
    yield "one-array", make(log_keys=["x"])


def public_of(key: ServiceKey) -> dict:
    return {"kid": key.kid, "spki_digest": sha256(key.spki), "public_key": b64u(key.spki), "possession": ""}


def with_acceptance(transcript: str, signature: dict) -> str:
    file = json.loads(transcript)
    file["acceptance"]["signatures"].append(signature)
    return canonical(file)


def places(installation: Installation):
    key, wrapping = ServiceKey(), WrappingKey()

    def template(purpose: str, **flags) -> dict:
        place = token_place("ring", purpose)["pkcs11"]
        return {"place": {"pkcs11": place | {"template": TEMPLATES[purpose] | flags}}}

    for purpose, of in (("sign", key), ("wrap", wrapping)):
        for flag, value in TEMPLATES[purpose].items():
            yield f"{purpose}-{flag}", installation.generate("ring", of, order=template(purpose, **{flag: not value}))
    for flag in ("encrypt", "wrap"):
        yield f"{flag}-of-a-private-half", installation.generate("ring", key, order=template("sign", **{flag: False}))
    yield "encrypt-null", installation.generate("ring", wrapping, order=template("wrap", encrypt=None))
    kinds = {"pkcs11": token_place("ring"), "key-vault": vault_place()}
    for kind, place in kinds.items():
        other = kinds["key-vault" if kind == "pkcs11" else "pkcs11"]
        yield f"{kind}", installation.generate("ring", key, order={"place": place})
        elsewhere = {"order": {"place": place}, "generated": {"location": location_of(other)}}
        yield f"{kind}-elsewhere", installation.generate("ring", key, **elsewhere)
    second = {"pkcs11": token_place("ring")["pkcs11"] | {"cka_id": "2" * 32}}
    yield "swapped", installation.generate("ring", key, generated={"location": location_of(second)})
    yield "floppy-location", installation.generate("ring", key, generated={"location": {"floppy": {}}})
    order = json.loads(json.loads(installation.generate("ring", key))["record"]["request"])["operation"]["generate"]
    request = installation.request({"generate": order | {"place": {"floppy": {}}}})
    yield "floppy", installation.transcript(request, lambda _: {"revoked": {"kid": key.kid}})
    found = {"enabled": True, "exportable": False, "hardware": True, "key_ops": ["sign", "verify"], "key_spec": "P-256", "tag": "chancery"}
    for name, value in (
        ("enabled", False), ("exportable", True), ("hardware", False), ("key_ops", ["verify", "sign"]), ("key_spec", "EC"), ("tag", "x"),
    ):  # fmt: skip
        changed = {"read_back": {"key-vault": found | {name: value}}}
        yield f"vault-{name}", installation.generate("ring", key, order={"place": vault_place()}, generated=changed)


def operations(installation: Installation):
    kid, location = b64u(b"k" * 32), location_of(token_place("ring"))
    keys = [{"kid": b64u(bytes([n]) * 32), "locations": [location], "number": 1, "ring": "ring"} for n in range(101)]
    keys.sort(key=lambda key: key["kid"])
    for name, some in (
        ("one", keys[:1]), ("hundred", keys[:100]), ("none", []), ("too-many", keys), ("backwards", keys[1::-1]), ("twice", keys[:1] * 2),
        ("zero", [keys[0] | {"number": 0}]), ("vault", [keys[0] | {"locations": [location_of(vault_place())]}]),
        ("floppy", [keys[0] | {"locations": [{"floppy": {}}]}]),
    ):  # fmt: skip
        yield f"destroy-{name}", installation.destroy(*some)
    copies = [{"pkcs11": location["pkcs11"] | {"cka_id": f"{number:032x}"}} for number in range(17)]
    for name, locations in (
        ("16", copies[:16]), ("17", copies), ("none", []), ("twice", copies[:2] + copies[:1]), ("mixed", [location_of(vault_place()), location]),
        ("text", [location, {"pkcs11": location["pkcs11"] | {"label": ""}}]), ("one", location),
    ):  # fmt: skip
        yield f"destroy-copies-{name}", installation.destroy(keys[0] | {"locations": locations})
    before = {name: value for name, value in keys[0].items() if name != "locations"}
    yield "destroy-location", installation.destroy(before | {"location": location})
    kids = [key["kid"] for key in keys[:2]]
    for name, said in (("fewer", kids[:1]), ("backwards", kids[::-1])):
        yield f"destroyed-{name}", installation.later({"destroy": {"keys": keys[:2]}}, {"destroyed": {"kids": said}})
    for reason, since in (
        ("unspecified", None), ("superseded", None), ("compromised", minute(1)), ("compromised", None), ("superseded", minute(1)),
        ("compromised", minute(401)),
    ):  # fmt: skip
        yield f"revoke-{reason}-{since}".replace(":", ""), installation.revoke("ring", kid, reason, since)
    yield "correct", installation.correct(1, 2, minute(400))
    yield "correct-backwards", installation.correct(2, 1, minute(400))
    yield "correct-later", installation.correct(1, 2, minute(401))
    yield "corrected-other", installation.correct(1, 2, minute(1), {"bound": minute(0)})
    for name, origin in (("none", ""), ("long", "x" * 200), ("too-long", "x" * 201), ("text", "a\u200b"), *NO_NAMES):
        yield f"correct-origin-{name}", installation.correct(1, 2, minute(400), origin=origin)
    yield "corrected-other-origin", installation.correct(1, 2, minute(1), {"origin": "other"})
    bound = {"first": 1, "last": 2, "bound": minute(1)}
    yield "correct-no-origin", installation.later({"clock-correction": bound}, {"corrected": bound | {"origin": "o"}})
    yield "corrected-no-origin", installation.later({"clock-correction": bound | {"origin": "o"}}, {"corrected": bound})
    log = Log(ServiceKey("Ed25519"), "old.example.org/log")
    for number in range(5):
        log.append({"number": number})
    order = log.succeeded_by("new.example.org/log", 3)
    for name, change in (
        ("some-lost", {}), ("none-lost", {"size": 5, "lost": None}), ("all-lost", {"size": 0, "lost": {"first": 0, "last": 4}}),
        ("not-said", {"lost": None}), ("too-many", {"size": 6, "lost": None}), ("range", {"lost": {"first": 3, "last": 5}}),
        ("same", {"origin": log.origin}), ("other", {"previous_origin": "other"}), ("no-checkpoint", {"previous_checkpoint": "x"}),
        ("text", {"origin": "\u200b"}), ("extension", {"previous_checkpoint": log.checkpoint(extension="x\n")}),
    ):  # fmt: skip
        yield f"move-{name}", installation.move(order | rooted(log, change))
    for name, origin in NO_NAMES:
        yield f"move-to-{name}", installation.move(order | {"origin": origin})
        old = Log(log.key, origin)
        old.leaves = log.leaves
        yield f"move-from-{name}", installation.move(old.succeeded_by("new.example.org/log", 3))
    yield "moved-other", installation.move(order, {"size": 4})
    yield "moved-other-root", installation.move(order, {"root": "0" * 64})
    no_root = {name: value for name, value in order.items() if name != "root"}
    yield "move-without-root", installation.move(no_root, {"root": order["root"]})
    yield "moved-without-root", installation.later({"new-origin": order}, {"new-origin": {"origin": order["origin"], "size": 3}})
    yield "move-other-root", installation.move(order | {"root": "0" * 64})  # nobody can tell from this file
    all_left = log.succeeded_by("new.example.org/log")
    yield "move-none-lost-other-root", installation.move(all_left | {"root": "0" * 64})
    yield "move-all-lost-other-root", installation.move(log.succeeded_by("new.example.org/log", 0) | {"root": "0" * 64})
    empty = Log(log.key, log.origin)
    nothing = empty.succeeded_by("new.example.org/log")
    yield "move-empty", installation.move(nothing)
    zeros = {"previous_checkpoint": empty.checkpoint().replace(b64(tree_root([])), b64(bytes(32)))}
    for name, root in (("nothing", nothing["root"]), ("zeros", "0" * 64)):
        yield f"move-empty-of-zeros-{name}", installation.move(nothing | zeros | {"root": root})
    for size in ("05", 2**63 - 1, 2**63):
        yield f"move-size-{size}", installation.move(order | {"previous_checkpoint": log.checkpoint().replace("\n5\n", f"\n{size}\n")})
    yield from policies(installation)
    request = installation.request({"revoke": {"kid": kid}}) | {"operation": {"relocate": {}}}
    yield "unknown", installation.transcript(request, lambda _: {"revoked": {"kid": kid}})


def policies(installation: Installation):
    deviation = {"framework": "nist-sp-800-57", "paragraph": "5.3.6 (1)", "reason": "a\u202eb", "decided_by": "x", "until": minute(1)}
    long = policy_text(2, "9" * 16384)
    for name, order in (
        ("good", {}), ("deviates", {"document": policy_text(2, deviations=[deviation])}), ("same", {"document": policy_text(2)}),
        ("zero", {"version": 0}), ("one", {"version": 1, "document": policy_text(1), "replaces": policy_text(0)}),
        ("left-out", {"version": 9, "document": policy_text(9)}), ("highest", {"version": 2**32 - 1, "document": policy_text(2**32 - 1)}),
        ("of-version-zero", {"replaces": policy_text(0)}), ("of-a-later", {"replaces": policy_text(3)}), ("replaces-negative", {"replaces": policy_text(-1)}),
        ("too-high", {"document": policy_text(2**32)}), ("three", {"version": 3}), ("document-three", {"document": policy_text(3)}), ("replaces-two", {"replaces": policy_text(2)}),
        ("of-another", {"key_type": "api_key"}), ("not-a-type", {"key_type": "Signing"}), ("long", {"document": long}),
        ("as-long-as-it-may", {"document": policy_text(2, "9" * (16384 - len(policy_text(2, ""))))}),
        ("longer", {"document": policy_text(2, "9" * (16385 - len(policy_text(2, ""))))}),
        ("umlauts", {"document": policy_text(2, "\u00e4" * 8140)}), ("many-umlauts", {"document": policy_text(2, "\u00e4" * 8200)}),
        ("spaced", {"document": policy_text(2) + " "}), ("array", {"document": "[]"}), ("empty", {"replaces": ""}),
        ("true", {"document": policy_text(True)}), ("text", {"document": policy_text("2")}), ("float", {"document": policy_text(2).replace(":2", ":2.0")}),
        ("twice", {"document": policy_text(2).replace("{", '{"interval":"1d",')}), ("no-type", {"replaces": policy_text(1, key_type=None)}),
    ):  # fmt: skip
        yield f"policy-{name}", installation.set_policy(order)
    for name, outcome in (("digest", {"digest": "0" * 64}), ("type", {"key_type": "api_key"}), ("version", {"version": 3})):
        yield f"policy-set-other-{name}", installation.set_policy(outcome=outcome)
    without = {name: value for name, value in policy_order().items() if name != "replaces"}
    yield "policy-without-replaced", installation.later({"rotation-policy": without}, {"policy-set": {}})
    yield "policy-other-line", installation.set_policy(request={"lines": [{"subject": "rotation-policy/api_key", "sequence": 1, "previous": None}]})


def rooted(log: Log, change: dict) -> dict:
    """The change, with the root of as many leaves, where they are another number."""
    return ({"root": tree_root(log.leaves[: change["size"]]).hex()} if "size" in change else {}) | change


def lines(installation: Installation):
    key, good = ServiceKey(), {"subject": "ring/ring", "sequence": 2, "previous": "0" * 64}
    for name, changed in (
        ("good", [good]), ("none", []), ("twice", [good, good]), ("other", [good | {"subject": "ring/other"}]),
        ("kind", [good | {"subject": "other"}]), ("zero", [good | {"sequence": 0}]), ("first", [good | {"sequence": 1}]),
        ("no-previous", [good | {"previous": None}]),
    ):  # fmt: skip
        yield name, installation.generate("ring", key, request={"lines": changed})
    one = json.loads(installation.generate("one", key))
    other = json.loads(one["record"]["request"].replace("ring/one", "ring/two").replace('"ring":"one"', '"ring":"two"'))
    for part in ("proposal", "approvals"):
        replayed = {"record": {part: one["record"][part]}}
        yield f"replayed-{part}", installation.transcript(other, lambda _: {"revoked": {"kid": key.kid}}, **replayed)


def votes(installation: Installation):
    key = ServiceKey()
    order = {"revoke": {"ring": "ring", "kid": key.kid, "number": 1, "reason": "superseded", "compromised_since": None}}
    request = installation.request(order)
    body = canonical(request)

    def make(asked=request, **record) -> str:
        return installation.transcript(asked, lambda _: {"revoked": {"kid": key.kid}}, record=record)

    yield "proposal-none", make(proposal=None)
    yield "proposal-by-another", make(proposal=installation.received("grace", "propose", body))
    yield "proposal-of-approval", make(proposal=installation.received("ada", "approve", body))
    yield "proposal-by-passkey", make(proposal={"received_at": minute(1), "signature": by_passkey()})
    for who in ("eve", "max", "wim", "wea", "wop", "adam", "nobody"):
        yield f"proposer-{who}", make(installation.request(order, proposer=who))
    standing = {"id": "0" * 32, "use": 1}
    yield "order", make(installation.request(order, proposer=None, order=standing), proposal=None)
    for use in (0, 2**32 - 1, 2**32, "1"):
        yield f"order-use-{use}", make(installation.request(order, proposer=None, order=standing | {"use": use}), proposal=None)
    yield "order-and-proposer", make(installation.request(order, order=standing))
    yield "neither", make(installation.request(order, proposer=None), proposal=None)
    yield "order-in-record", make(order="{}")
    for who in ("ada", "grace", "eve", "max", "wim", "adam"):
        for member, purpose in (("rejections", "reject"), ("cancellations", "cancel")):
            yield f"{purpose}-{who}", make(**{member: [installation.refusal(who, purpose, request)]})
            other = installation.refusal(who, purpose, request | {"nonce": "f" * 32})
            yield f"{purpose}-{who}-of-another", make(**{member: [other]})


def suspensions(installation: Installation):
    key, elsewhere = ServiceKey(), {"roster": {"version": 1, "digest": "0" * 64}}
    for name, (member, *signers), changed in (
        ("by-herself", ("grace", "grace"), {}), ("by-one", ("grace", "mary"), {}), ("by-two", ("grace", "mary", "zoe"), {}),
        ("by-one-twice", ("grace", "mary", "mary"), {}), ("by-an-operator", ("grace", "mary", "eve"), {}), ("by-nobody", ("grace",), {}),
        ("of-another-roster", ("grace", "grace"), elsewhere), ("of-form", ("grace", "grace"), {"v": 2}),
        ("of-the-proposer", ("ada", "ada"), {}), ("of-an-executor", ("max", "max"), {}), ("of-nobody", ("nobody", "mary", "zoe"), {}),
    ):  # fmt: skip
        record = {"suspensions": [installation.suspension(member, *signers, **changed)]}
        yield f"{name}-approves", installation.generate("ring", key, record=record, accept=["mary", "zoe"])
        yield f"{name}-accepts", installation.generate("ring", key, record=record, approve=["mary", "zoe"])
        others = {"approve": ["mary", "zoe"], "accept": ["mary", "zoe"]}
        yield f"{name}-others", installation.generate("ring", key, record=record, **others)


def on_the_log(installation: Installation):
    """Ceremonies that a leaf of the kind `log` ends, and the leaves of each."""
    log = Log(ServiceKey("Ed25519"), "old.example.org/log")
    made = {
        "clock-correction": installation.correct(1, 2, minute(400)),
        "new-origin": installation.move(log.succeeded_by("new.example.org/log")),
    }
    for kind, transcript in made.items():
        yield kind, acts_of_ceremony(transcript), transcript


def log_proofs(installation: Installation):
    log_key = ServiceKey("Ed25519")
    birth = installation.generate("log", log_key)
    transcript = installation.generate("ring", ServiceKey())
    acts, other = acts_of_ceremony(transcript), acts_of_ceremony(installation.generate("ring", ServiceKey()))

    def logged(of=None, **changed) -> str:
        log = Log(log_key)
        log.append({"kind": "admin", "action": "heartbeat", "actor": "chancery", "time": minute(0)})
        return with_log(transcript, log, birth, acts if of is None else of, **changed)

    yield "good", logged()
    yield "of-itself", with_log(birth, Log(log_key), birth)
    yield "no-keys", logged(log_keys=[])
    yield "two-keys", logged(log_keys=[birth, birth])
    yield "unused-key", logged(log_keys=[birth, installation.generate("log", ServiceKey("ES256"))])
    yield "key-of-a-ring", logged(log_keys=[transcript])
    yield "key-with-proofs", logged(log_keys=[with_log(birth, Log(log_key), birth)])
    yield "of-another", logged(other)
    yield "unknown-kind", logged([acts[3] | {"kind": "brand-new"}, *acts])
    for number, act in enumerate(acts):
        yield f"without-{number}", logged(acts[:number] + acts[number + 1 :])
        yield f"other-digest-{number}", logged([*acts[:number], act | {"digest": other[number]["digest"]}, *acts[number + 1 :]])
        yield f"other-ref-{number}", logged([*acts[:number], act | {"ref": other[number]["ref"]}, *acts[number + 1 :]])
        yield f"twice-{number}", logged([*acts[: number + 1], *acts[number:]])
        yield f"at-the-end-{number}", logged([*acts[:number], *acts[number + 1 :], act])
    for name, at in (("by", "2026-01-01T10:00:00.000Z"), ("after", "2026-01-01T10:00:00.001Z")):
        late = acts[1] | {"time": at}
        yield f"approval-{name}", logged([acts[0], late, *acts[2:]])
        yield f"approval-again-{name}", logged([*acts[:2], late, *acts[2:]])
    for kind, of, made in on_the_log(installation):
        yield kind, with_log(made, Log(log_key), birth, of)
        for number in range(len(of)):
            yield f"{kind}-without-{number}", with_log(made, Log(log_key), birth, of[:number] + of[number + 1 :])
        yield f"{kind}-end-alone", with_log(made, Log(log_key), birth, of[-1:])
        yield f"{kind}-end-twice", with_log(made, Log(log_key), birth, [*of, of[-1]])
        yield f"{kind}-end-of-another", with_log(made, Log(log_key), birth, [*of[:-1], of[-1] | {"digest": "0" * 64}])
        after = of[1] | {"time": minute(601)}
        yield f"{kind}-approval-after", with_log(made, Log(log_key), birth, [of[0], after, *of[2:]])
        yield f"{kind}-approval-behind", with_log(made, Log(log_key), birth, [of[0], *of[2:], after])
        for action in (kind, "accepted"):
            extra = {"kind": "ceremony", "action": action, "actor": "x", "ref": of[0]["ref"], "time": minute(3)}
            yield f"{kind}-extra-{action}", with_log(made, Log(log_key), birth, [extra, *of])
            yield f"{kind}-extra-{action}-digest", with_log(made, Log(log_key), birth, [extra | {"digest": "0" * 64}, *of])
            yield f"{kind}-ended-by-{action}", with_log(made, Log(log_key), birth, [*of[:-1], extra | {"digest": of[-1]["digest"]}])
    data = logged().encode()
    for place in range(0, len(data), 997):
        tampered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        yield f"byte-{place}", tampered.decode("utf-8", "replace")


if __name__ == "__main__":
    house = Installation()
    for who, *roles in MEMBERS:
        house.join(who, *roles)
    write_transcripts(pathlib.Path(sys.argv[1]), house)
    print(house.genesis_digest)

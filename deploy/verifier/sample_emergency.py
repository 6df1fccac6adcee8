"""Transcripts of emergencies and stops of signing, one for each rule, for a comparison of verifiers."""

import json

from sample_files import (
    Installation, Log, ServiceKey, acts_of_ceremony, b64u, by_passkey, canonical, minute, sha256, with_log,
)  # fmt: skip

OLD, NEW = b64u(b"o" * 32), b64u(b"n" * 32)
STOP = sha256("a stop")
THREE = ("lena", "mona", "grace")


def stop_body(installation: Installation, **changed) -> dict:
    return {
        "v": 1, "expires_at": minute(60), "line": {"subject": "stop/ring", "sequence": 1, "previous": None}, "nonce": "7" * 32,
        "reason": "a stolen laptop", "roster": installation.references()["roster"],
    } | changed  # fmt: skip


def stop_file(installation: Installation, body: dict, who: str = "grace", **changed) -> str:
    text = canonical(body)
    return canonical(
        {
            "v": 1, "body": text, "chains": {"genesis": installation.genesis, "changes": installation.changes}, "log_keys": [],
            "log_proofs": [], "signature": installation.sign(who, "stop", text),
        } | changed  # fmt: skip
    )


def stop_leaf(file: str, **changed) -> dict:
    """What the log tells of a stop of the ring `ring`."""
    read = json.loads(file)
    return {
        "action": "stop", "actor": "member:grace", "digest": sha256(canonical(read["signature"])), "kind": "emergency",
        "reason": "a stolen laptop", "ref": sha256(read["body"]), "ring": "ring", "time": minute(2), "v": 1, "version": 1,
    } | changed  # fmt: skip


def stops(installation: Installation):
    def of(**changed) -> dict:
        return stop_body(installation, **changed)

    def line(**changed) -> dict:
        return {"line": of()["line"] | changed}

    yield "one", stop_file(installation, of())
    yield "all", stop_file(installation, of(**line(subject="stop/*")))
    yield "later", stop_file(installation, of(**line(sequence=3, previous=STOP)))
    for who in ("ada", "otto", "ida", "lena", "mona", "eve", "max"):
        yield f"by-{who}", stop_file(installation, of(), who)
    for name, changed in (
        ("log", line(subject="stop/log")), ("ring", line(subject="ring/ring")), ("zero", line(sequence=0)), ("second", line(sequence=2)),
        ("first-after", line(previous=STOP)), ("nobody", {"reason": ""}), ("hidden", {"reason": "a\u200bb"}), ("unknown", line(subject="stop/A")),
        ("other-roster", {"roster": installation.references()["roster"] | {"version": 2}}), ("other-member", {"member": "ada"}),
    ):  # fmt: skip
        yield f"body-{name}", stop_file(installation, of(**changed))
    yield "passkey", stop_file(installation, of(), signature=by_passkey())
    yield "other-purpose", stop_file(installation, of(), signature=installation.sign("grace", "withdraw", canonical(of())))
    yield "one-array", stop_file(installation, of(), log_keys=["x"])
    yield from _logged_stops(installation, of())
    data = stop_file(installation, of()).encode()
    for place in range(0, len(data), 97):
        tampered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        yield f"byte-{place}", tampered.decode("utf-8", "replace")


def _logged_stops(installation: Installation, body: dict):
    key = ServiceKey("Ed25519")
    birth = installation.generate("log", key, order={"usage": "log"})
    file = stop_file(installation, body)

    def logged(file: str = file, **changed) -> str:
        log = Log(key)
        leaf = log.append(stop_leaf(file, **changed))
        log.append({"kind": "admin", "action": "heartbeat", "actor": "chancery", "time": minute(6)})
        return canonical(json.loads(file) | {"log_keys": [birth], "log_proofs": [{"leaf": leaf, "proof": log.proof(0)}]})

    yield "logged", logged()
    for name, changed in (
        ("late", {"time": minute(61)}), ("kind", {"kind": "admin"}), ("action", {"action": "resume"}), ("ring", {"ring": "other"}),
        ("ref", {"ref": STOP}), ("digest", {"digest": STOP}), ("version", {"version": 2}),
    ):  # fmt: skip
        yield f"logged-{name}", logged(**changed)
    whole = stop_file(installation, body | {"line": body["line"] | {"subject": "stop/*"}})
    yield "logged-all-as-one", logged(whole)


def emergencies(installation: Installation):
    yield from _resumes(installation)
    yield from _rotations(installation)
    yield from _ratifications(installation)


def _resumes(installation: Installation):
    def make(ends=None, ring="ring", line=None, outcome=None, **changed) -> str:
        order = {"ends": ends or {"stop": {"digest": STOP, "sequence": 1}}, "ring": ring}
        request = installation.request({"resume": order})
        subject = f"stop/{ring or '*'}"
        request["lines"] = [{"subject": subject, "sequence": 2, "previous": STOP} | (line or {})]
        said = {"resumed": order} if outcome is None else outcome
        return installation.transcript(request, lambda _: said, **changed)

    unratified = {"unratified": {"rotation": STOP}}
    yield "resume", make()
    yield "resume-all", make(ring=None)
    yield "resume-log", make(ring="log")
    yield "resume-later", make(line={"sequence": 4, "previous": sha256("another")})
    yield "resume-other-stop", make(line={"previous": sha256("another")})
    yield "resume-itself", make({"stop": {"digest": STOP, "sequence": 2}})
    yield "resume-no-place", make({"stop": {"digest": STOP, "sequence": 0}})
    yield "resume-unratified", make(unratified)
    yield "resume-unratified-all", make(unratified, ring=None)
    yield "resume-nothing", make({})
    yield "resume-something", make({"pause": {}})
    yield "resume-other-line", make(line={"subject": "stop/other"})
    yield "resume-other-outcome", make(outcome={"resumed": {"ends": unratified, "ring": "ring"}})
    yield "resume-by-one", make(approve=["grace"])
    yield "resume-by-lena", make(approve=["grace", "lena"])
    yield "resume-accepted-by-one", make(accept=["grace"])


def _rotations(installation: Installation):
    def make(order=None, outcome=None, line=None, approve=THREE, **changed) -> str:
        order = {
            "compromised_since": "2025-12-31T23:00:00.000Z", "kid": OLD, "number": 1, "ratify_within_seconds": 86_400, "ring": "ring",
            "standby": NEW, "standby_number": 2,
        } | (order or {})  # fmt: skip
        request = installation.request({"emergency-rotation": order})
        request["lines"] = [{"subject": f"key/{order['kid']}", "sequence": 1, "previous": None} | (line or {})]
        said = {"emergency-rotated": {"kid": order["standby"], "revoked": order["kid"]}} if outcome is None else outcome
        return installation.transcript(request, lambda _: said, approve=approve, **changed)

    yield "rotation", make()
    for name, approve in (
        ("one-person", ["ida"]), ("two-people", ["ida", "lena"]), ("ida-as-manager", ["ida", "lena", "grace"]),
        ("ida-and-two", ["ida", "grace", "mary"]), ("custodians", ["grace", "mary"]), ("without-manager", ["lena", "grace", "mary"]),
        ("with-otto", ["lena", "otto", "grace"]), ("with-proposer", ["lena", "mona", "ada"]), ("twice", ["lena", "lena", "mona", "grace"]),
        ("five", ["lena", "mona", "grace", "mary", "ida"]), ("nobody", []),
    ):  # fmt: skip
        yield f"rotation-{name}", make(approve=approve)
    for name, changed in (
        ("log", {"ring": "log"}), ("zero", {"number": 0}), ("standby-zero", {"standby_number": 0}), ("same-key", {"standby": OLD}),
        ("same-number", {"standby_number": 1}), ("at-once", {"ratify_within_seconds": 1}), ("never", {"ratify_within_seconds": 0}),
        ("long", {"ratify_within_seconds": 86_401}), ("tomorrow", {"compromised_since": minute(1)}), ("now", {"compromised_since": minute(0)}),
        ("always", {"compromised_since": None}), ("extra", {"reason": "compromised"}),
    ):  # fmt: skip
        yield f"rotation-{name}", make(changed)
    yield "rotation-of-the-ring", make(line={"subject": "ring/ring"})
    yield "rotation-of-standby", make(line={"subject": f"key/{NEW}"})
    yield "rotation-other-outcome", make(outcome={"emergency-rotated": {"kid": OLD, "revoked": NEW}})
    yield "rotation-revoked", make(outcome={"revoked": {"kid": OLD}})
    yield "rotation-accepted-by-one", make(accept=["grace"])
    yield "rotation-accepted-by-lena", make(accept=["grace", "lena"])
    yield "rotation-rejected-by-mary", make(record={"rejections": [_rejection(installation, make, "mary")]})
    suspended = {"suspensions": [installation.suspension("mona", "mona")]}
    yield "rotation-suspended", make(record=suspended)
    data = make().encode()
    for place in range(0, len(data), 199):
        tampered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        yield f"byte-{place}", tampered.decode("utf-8", "replace")


def _rejection(installation: Installation, make, who: str) -> dict:
    request = json.loads(json.loads(make())["record"]["request"])
    # The next request has the next nonce.
    request["nonce"] = f"{installation.nonces + 1:032x}"
    return installation.refusal(who, "reject", request)


def _ratifications(installation: Installation):
    def make(order=None, outcome=None, subject=f"key/{NEW}", **changed) -> str:
        order = {"kid": NEW, "ring": "ring", "rotation": STOP} | (order or {})
        request = installation.request({"ratification": order})
        request["lines"] = [{"subject": subject, "sequence": 1, "previous": None}]
        said = {"ratified": {"rotation": order["rotation"]}} if outcome is None else outcome
        return installation.transcript(request, lambda _: said, **changed)

    yield "ratification", make()
    yield "ratification-log", make({"ring": "log"})
    yield "ratification-other-line", make(subject=f"key/{OLD}")
    yield "ratification-other-outcome", make(outcome={"ratified": {"rotation": sha256("another")}})
    yield "ratification-by-one", make(approve=["grace"])
    yield "ratification-by-the-three", make(approve=["lena", "mona", "grace"])
    yield "ratification-accepted-by-one", make(accept=["grace"])
    key = ServiceKey("Ed25519")
    birth = installation.generate("log", key, order={"usage": "log"})
    made = make()
    of = acts_of_ceremony(made)
    for name, end in (("logged", {}), ("accepted", {"kind": "ceremony", "action": "accepted"}), ("resumed", {"action": "resume"})):
        yield f"ratification-{name}", with_log(made, Log(key), birth, [*of[:-1], of[-1] | end])

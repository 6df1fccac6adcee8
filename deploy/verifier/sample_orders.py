"""Transcripts of standing orders and of what is made under them, one for each rule, for a comparison of verifiers."""

import json

from sample_files import (
    ENVIRONMENT, SERVICE, TEMPLATES, Installation, Person, ServiceKey, b64u, canonical, generate_order, generated_outcome, minute,
    token_place, vault_place,
)  # fmt: skip

ID = "5" * 32
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
EVERY_DAY = {"days": DAYS, "from_minute": 0, "until_minute": 1440}
# The year has 365 days; minute 0 is the first of a year.
YEAR_AND_A_DAY = "2027-01-02T00:00:00.000Z"


def standing_order(installation: Installation, ring: str, key: ServiceKey, **changed) -> dict:
    place = token_place(ring)["pkcs11"]
    token = {name: place[name] for name in ("template", "token_label", "token_serial")}
    return {
        "activate_after_seconds": 60, "executor": {"key": installation.people["max"].public, "member": "max"}, "id": ID,
        "interval_seconds": 0, "lifetime_seconds": 3600, "not_after": minute(900), "not_before": minute(5),
        "place": {"pkcs11": token}, "purpose": {"sign": {"algorithm": key.algorithm, "key_spec": key.spec}}, "ring": ring,
        "usage": "structured", "uses": 2, "window": EVERY_DAY,
    } | changed  # fmt: skip


def ask(installation: Installation, order: dict, outcome=None, nonce=None, **changed) -> str:
    request = installation.request({"order": order}, nonce=nonce or order["id"])
    said = {"ordered": {"id": order["id"]}} if outcome is None else outcome
    return installation.transcript(request, lambda _: said, **changed)


class Use:
    """What asks for a key under an order: changed before it is signed."""

    def __init__(self, installation: Installation, order: dict, transcript: str, key: ServiceKey) -> None:
        self.installation, self.order, self.transcript, self.key = installation, order, transcript, key

    def make(self, at: int = 10, use: int = 1, generate=None, request=None, record=None, executor="max", accept=(), **changed) -> str:
        ring = self.order["ring"]
        wanted = generate_order(ring, self.key)
        place = {"pkcs11": wanted["place"]["pkcs11"] | {"label": f"{SERVICE}/{ENVIRONMENT}/{ring}/2"}}
        wanted |= {"number": 2, "predecessor": b64u(b"k" * 32), "place": place, "publish_at": minute(at)}
        wanted |= {"activate_at": minute(at + 1), "retire_at": minute(at + 61)} | (generate or {})
        members = {"proposer": None, "order": {"id": self.order["id"], "use": use}, "created_at": minute(at), "approve_by": minute(at)}
        asked = self.installation.request({"generate": wanted}, **members) | (request or {})

        def outcome(digest: str) -> dict:
            return {"generated": generated_outcome(wanted, self.key, digest) | changed.get("generated", {})}

        file = json.loads(
            self.installation.transcript(
                asked, changed.get("outcome", outcome), approve=(), accept=accept, record={"order": self.transcript} | (record or {}),
                statement={"executed_at": minute(changed.get("executed", at + 1))},
            )  # fmt: skip
        )
        if executor is not None:
            body = file["acceptance"]["statement"]
            made = executor.member_signature("result", body) if isinstance(executor, Person) else self.installation.sign(executor, "result", body)
            file["acceptance"]["result"] = made
        return canonical(file)


def orders(installation: Installation):
    key = ServiceKey()
    for ring in ("oauth", "ring"):
        installation.generate(ring, ServiceKey())
    yield from _asked(installation, key)
    order = standing_order(installation, "oauth", key)
    use = Use(installation, order, ask(installation, order), key)
    yield "use", use.make()
    yield "use-last", use.make(use=2)
    yield "use-too-many", use.make(use=3)
    yield "use-accepted-too", use.make(accept=["grace"])
    yield "use-accepted-by-the-executor", use.make(accept=["max"])
    yield from _executors(use)
    yield from _differences(use)
    yield from _times(installation, key)
    yield from _orders_of_uses(installation, use, key)
    rare = standing_order(installation, "ring", key)
    critical = Use(installation, rare, ask(installation, rare), key)
    for name, accept in (("nobody", ()), ("one", ("grace",)), ("two", ("grace", "ada")), ("one-twice", ("grace", "grace"))):
        yield f"critical-{name}", critical.make(accept=accept)


def _asked(installation: Installation, key: ServiceKey):
    def make(**changed) -> str:
        return ask(installation, standing_order(installation, "oauth", key) | changed)

    yield "order", make()
    for usage in ("structured", "raw", "sealed", "certificates", "log", "wrap"):
        yield f"order-usage-{usage}", make(usage=usage)
    yield "order-ring-log", make(ring="log")
    for uses in (0, 1, 366, 367, 2**32):
        yield f"order-uses-{uses}", make(uses=uses)
    for name, end in (("year", "2027-01-02T00:05:00.000Z"), ("longer", "2027-01-02T00:05:00.001Z"), ("over", minute(5)), ("backwards", minute(4))):
        yield f"order-until-{name}", make(not_after=end)
    yield "order-over", make(not_before=minute(0), not_after=minute(0))
    for name, window in (
        ("no-day", {"days": []}), ("backwards", {"days": DAYS[1::-1]}), ("twice", {"days": DAYS[:1] * 2}), ("unknown", {"days": ["caturday"]}),
        ("one", {"days": DAYS[:1]}), ("empty", {"from_minute": 5, "until_minute": 5}), ("late", {"until_minute": 1441}), ("big", {"until_minute": 2**16}),
    ):  # fmt: skip
        yield f"order-window-{name}", make(window=EVERY_DAY | window)
    year = 366 * 86_400
    for name, least, most in (("interval_seconds", 0, year), ("activate_after_seconds", 0, 20 * year), ("lifetime_seconds", 1, 20 * year)):
        for value in (0, least, most, most + 1):
            yield f"order-{name}-{value}", make(**{name: value})
    yield "order-wrap", make(purpose={"wrap": {"algorithm": "A256KW", "key_spec": "AES-256"}})
    yield "order-key-spec", make(purpose={"sign": {"algorithm": "ES256", "key_spec": "P-384"}})
    token = standing_order(installation, "oauth", key)["place"]["pkcs11"]
    for name, change in (
        ("extractable", {"template": TEMPLATES["sign"] | {"extractable": True}}), ("modifiable", {"template": TEMPLATES["sign"] | {"modifiable": True}}),
        ("text", {"token_label": ""}), ("label", {"label": "x"}),
    ):  # fmt: skip
        yield f"order-place-{name}", make(place={"pkcs11": token | change})
    yield "order-vault", make(place=vault_place())
    for who, key_of in (("max", "ada"), ("eve", "eve"), ("ada", "ada"), ("nobody", "max")):
        yield f"order-executor-{who}-{key_of}", make(executor={"key": installation.people[key_of].public, "member": who})
    order = standing_order(installation, "oauth", key)
    yield "order-other-nonce", ask(installation, order, nonce="6" * 32)
    yield "order-other-outcome", ask(installation, order, outcome={"ordered": {"id": "6" * 32}})
    yield "order-approved-by-one", ask(installation, order, approve=["grace"])
    yield "order-accepted-by-one", ask(installation, order, accept=["grace"])
    suspended = {"suspensions": [installation.suspension("max", "max")]}
    yield "order-executor-suspended", ask(installation, order, record=suspended)
    yield "order-with-result", ask(installation, order, acceptance={"result": installation.sign("max", "result", "{}")})


def _executors(use: Use):
    yield "result-none", use.make(executor=None)
    yield "result-none-accepted", use.make(executor=None, accept=("grace", "ada"))
    for who in ("ada", "eve"):
        yield f"result-by-{who}", use.make(executor=who)
    yield "result-by-a-stranger", use.make(executor=Person())
    other = json.loads(use.make())
    mine = json.loads(use.make())
    mine["acceptance"]["result"] = other["acceptance"]["result"]
    yield "result-of-another", canonical(mine)
    mine["acceptance"]["result"] = use.installation.sign("max", "accept", mine["acceptance"]["statement"])
    yield "result-of-another-purpose", canonical(mine)
    for name, signers in (("suspended", ("grace", "mary")), ("suspended-by-one", ("grace",)), ("suspended-by-itself", ("max",))):
        yield f"executor-{name}", use.make(record={"suspensions": [use.installation.suspension("max", *signers)]})
    for who in ("grace", "mary", "zoe"):
        yield f"approver-suspended-{who}", use.make(record={"suspensions": [use.installation.suspension(who, who)]})


def _differences(use: Use):
    pkcs11 = token_place("oauth")["pkcs11"] | {"label": f"{SERVICE}/{ENVIRONMENT}/oauth/2"}
    for name, change in (
        ("token_serial", "x"), ("token_label", "x"), ("label", "x"), ("cka_id", "9" * 32), ("template", TEMPLATES["sign"] | {"modifiable": True}),
    ):  # fmt: skip
        yield f"place-{name}", use.make(generate={"place": {"pkcs11": pkcs11 | {name: change}}})
    yield "place-vault", use.make(generate={"place": vault_place()})
    for name, change in (
        ("usage", "raw"), ("publish_at", minute(9)), ("activate_at", minute(12)), ("retire_at", minute(72)), ("predecessor", None), ("number", 3),
    ):  # fmt: skip
        yield f"generate-{name}", use.make(generate={name: change})
    later = {"lines": [{"subject": "ring/atp-integrity", "sequence": 2, "previous": "0" * 64}]}
    yield "generate-other-ring", use.make(generate={"ring": "atp-integrity"}, request=later)
    record_of = use.installation
    yield "with-proposal", use.make(record={"proposal": record_of.received("ada", "propose", "{}")})
    yield "with-approvals", use.make(record={"approvals": [record_of.received("ada", "approve", "{}")]})
    yield "without-order", use.make(record={"order": None})
    first = [{"subject": "ring/oauth", "sequence": 1, "previous": None}]
    yield "first-of-its-line", use.make(request={"lines": first})
    yield "with-proposer", use.make(request={"proposer": "ada"})
    yield "not-under", use.make(request={"order": None, "proposer": "ada"})
    revoke = {"revoke": {"ring": "oauth", "kid": use.key.kid, "number": 1, "reason": "superseded", "compromised_since": None}}
    revoked = {"operation": revoke, "lines": [record_of.line(f"key/{use.key.kid}")]}
    yield "revocation", use.make(request=revoked, outcome=lambda _: {"revoked": {"kid": use.key.kid}})


def _times(installation: Installation, key: ServiceKey):
    def under(**changed) -> Use:
        order = standing_order(installation, "oauth", key, **changed)
        return Use(installation, order, ask(installation, order), key)

    held = under()
    for at in (1, 4, 5):
        yield f"from-{at}", held.make(at=at)
    for until in (900, 901):
        yield f"until-{until}", held.make(request={"execute_by": minute(until)})
    yield "executed-late", held.make(request={"execute_by": minute(900)}, executed=901)
    apart = under(interval_seconds=600)
    for at, use in ((5, 1), (14, 2), (15, 2), (100, 1)):
        yield f"interval-{at}-{use}", apart.make(at=at, use=use)
    # The first of January 2026 is a Thursday.
    for name, window in (
        ("thursday", {"days": ["thursday"]}), ("friday", {"days": ["friday"]}), ("from", {"from_minute": 11}), ("from-later", {"from_minute": 12}),
        ("until", {"until_minute": 12}), ("until-earlier", {"until_minute": 11}),
    ):  # fmt: skip
        yield f"window-{name}", under(window=EVERY_DAY | window).make()
    yield "before-the-order", under(not_before=minute(0)).make(at=1)


def _orders_of_uses(installation: Installation, use: Use, key: ServiceKey):
    def of(transcript: str) -> str:
        return use.make(record={"order": transcript})

    for name, changed in (("approved-by-one", {"approve": ["grace"]}), ("accepted-by-one", {"accept": ["grace"]})):
        yield f"of-order-{name}", of(ask(installation, use.order, **changed))
    yield "of-more-uses", of(use.transcript.replace('\\"uses\\":2', '\\"uses\\":3'))
    other = standing_order(installation, "oauth", key, id="6" * 32)
    yield "of-another-order", of(ask(installation, other))
    yield "of-a-key", of(installation.generate("oauth", key))
    yield "of-another-use", of(use.make())
    yield "of-nothing", of("{}")
    yield "of-an-order-for-another-ring", of(ask(installation, standing_order(installation, "ring", key)))
    house = Installation()
    for who, *roles in (("zoe",), ("eve", "operator"), ("max", "executor")):
        house.join(who, *roles)
    yield "of-another-genesis", of(ask(house, standing_order(house, "oauth", key)))
    proven = json.loads(use.transcript) | {"log_keys": ["x"], "log_proofs": [{"leaf": "x", "proof": "x"}]}
    yield "of-an-order-with-proofs", of(canonical(proven))
    data = use.make().encode()
    for place in range(0, len(data), 199):
        tampered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        yield f"byte-{place}", tampered.decode("utf-8", "replace")

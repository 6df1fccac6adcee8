"""Transcripts of keys under standing orders with the leaves of the log about the order, for a comparison of verifiers."""

import json

from sample_files import Installation, Log, ServiceKey, b64u, canonical, core, minute, sha256, with_log
from sample_orders import Use, ask, standing_order

RING = "oauth"
PREDECESSOR = b64u(b"k" * 32)


def execution(transcript: str) -> str:
    """What the executor wrote: the core without acceptances of custodians."""
    file = json.loads(core(transcript))
    return canonical(file | {"acceptance": file["acceptance"] | {"signatures": []}})


def ceremony(action: str, transcript: str, at: int, **more) -> dict:
    ref = sha256(json.loads(transcript)["record"]["request"])
    return {"kind": "ceremony", "action": action, "actor": "x", "ref": ref, "time": minute(at)} | more


def acts_of_use(order: str, use: str, installed=None) -> dict:
    """The leaves that a service writes of a key under an order, oldest first, by what they are."""
    request = json.loads(json.loads(use)["record"]["request"])
    kid = json.loads(json.loads(use)["acceptance"]["statement"])["outcome"]["generated"]["key"]["public"]["kid"]
    acts = {
        "ordered": ceremony("ordered", order, 3, digest=sha256(execution(order))),
        "order": ceremony("accepted", order, 4, digest=sha256(core(order))),
        "before": {"kind": "ceremony", "action": "accepted", "actor": "x", "kid": PREDECESSOR, "ring": RING, "time": minute(5)},
    }
    if installed is not None:
        acts["installed"] = {"kind": "roster", "action": "install-roster", "actor": "x", "digest": sha256(canonical(installed))}
        acts["installed"]["time"] = minute(6)
    acts["use"] = {
        "kind": "order", "action": "use", "actor": "x", "ref": request["order"]["id"], "use": request["order"]["use"],
        "digest": sha256(json.loads(use)["record"]["request"]), "time": minute(10),
    }  # fmt: skip
    acts["intent"] = ceremony("intend-generation", use, 11)
    acts["born"] = ceremony("generated", use, 11, kid=kid, digest=sha256(execution(use)))
    acts["accepted"] = ceremony("accepted", use, 12, kid=kid, digest=sha256(core(use)))
    return acts


class Logged:
    def __init__(self, installation: Installation, order: str, use: str, installed=None) -> None:
        self.log_key, self.use = ServiceKey("Ed25519"), use
        self.birth = installation.generate("log", self.log_key)
        self.acts = acts_of_use(order, use, installed)

    def make(self, names=None, **changed) -> str:
        """`names`: which leaves, in which order; `changed`: members of leaves."""
        log = Log(self.log_key)
        log.append({"kind": "admin", "action": "heartbeat", "actor": "chancery", "time": minute(0)})
        acts = [self.acts[name] | changed.get(name, {}) for name in names or self.acts]
        return with_log(self.use, log, self.birth, acts)

    def variants(self, prefix: str):
        names = list(self.acts)
        yield f"{prefix}-good", self.make()
        for name in names:
            others = [each for each in names if each != name]
            yield f"{prefix}-without-{name}", self.make(others)
            yield f"{prefix}-last-{name}", self.make([*others, name])
            yield f"{prefix}-first-{name}", self.make([name, *others])
            yield f"{prefix}-twice-{name}", self.make([*names, name])
            for member, value in (("digest", "0" * 64), ("ref", "1" * 64), ("kid", b64u(b"z" * 32)), ("action", "other"), ("kind", "key")):
                yield f"{prefix}-{name}-other-{member}", self.make(**{name: {member: value}})
            for at in (4, 600, 601):
                yield f"{prefix}-{name}-at-{at}", self.make(**{name: {"time": minute(at)}})
        yield f"{prefix}-of-another-ring", self.make(before={"ring": "ring"})
        yield f"{prefix}-of-another-use", self.make(use={"use": 2})
        yield f"{prefix}-withdrawn", self.make(use={"action": "withdraw"})
        yield f"{prefix}-adopted", self.make(born={"action": "adopted after a crash"})
        yield f"{prefix}-end-alone", self.make(["accepted"])
        yield f"{prefix}-own-alone", self.make(["intent", "born", "accepted"])


def next_policy(installation: Installation) -> dict:
    """The document, as it was signed."""
    genesis = canonical({"v": 1, "roster": installation.roster, "policy": installation.policy})
    installation.policy = installation.policy | {"version": 2, "previous": sha256(genesis)}
    document = installation.signed("policy", canonical(installation.policy), "ada", "grace", "mary")
    installation.changes = [{"policy": document}]
    return document


def order_proofs(installation: Installation):
    key = ServiceKey()
    for ring in (RING, "ring"):
        installation.generate(ring, ServiceKey())
    order = standing_order(installation, RING, key)
    asked = ask(installation, order)
    use = Use(installation, order, asked, key)
    logged = Logged(installation, asked, use.make())
    yield from logged.variants("leaves")
    window = {"days": ["thursday"], "from_minute": 11, "until_minute": 12}
    narrow = standing_order(installation, RING, key, window=window)
    asked_narrow = ask(installation, narrow)
    within = Logged(installation, asked_narrow, Use(installation, narrow, asked_narrow, key).make())
    for at in (10, 11, 12):
        yield f"leaves-window-{at}", within.make(intent={"time": minute(at)}, born={"time": minute(13)}, accepted={"time": minute(14)})
    rare = standing_order(installation, "ring", key)
    asked_rare = ask(installation, rare)
    critical = Logged(installation, asked_rare, Use(installation, rare, asked_rare, key).make(accept=("grace", "ada")))
    critical.acts["before"] |= {"ring": "ring"}
    for at in (12, 700):
        yield f"leaves-critical-{at}", critical.make(accepted={"time": minute(at)})
    # A policy comes between the order and its use.
    installed = next_policy(installation)
    later = Logged(installation, asked, use.make(), installed)
    yield from later.variants("policy")
    between = ["ordered", "installed", "order", "before", "use", "intent", "born", "accepted"]
    yield "policy-between", later.make(between)
    yield "policy-between-late", later.make(between, order={"time": minute(601)})
    yield "policy-between-other", later.make(between, ordered={"digest": "0" * 64})
    yield "policy-first", later.make(["installed", "ordered", "order", "before", "use", "intent", "born", "accepted"])
    data = logged.make().encode()
    for place in range(0, len(data), 1009):
        tampered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        yield f"leaves-byte-{place}", tampered.decode("utf-8", "replace")

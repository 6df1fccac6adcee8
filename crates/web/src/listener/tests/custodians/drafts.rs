//! Requests that the service resolves for a member who has nothing but a key.

use keyring::ceremony::{Wanted, Wish};
use trust::request::RevocationReason;
use trust::{Operation, Request, Trusted};

use super::*;

impl Fixture {
    fn wish(&self, wanted: Wanted) -> Wish {
        Wish {
            ring: Some("records".parse().unwrap()),
            proposer: "carol".parse().unwrap(),
            reason: "a wish & a test: 100 %".to_owned(),
            ticket: Some("T-1 \u{e9}".to_owned()),
            approve_within: Duration::from_secs(3_600),
            execute_within: Duration::from_secs(7_200),
            wanted,
        }
    }

    fn trusted_elsewhere(&self) -> Trusted {
        let chains = trust::json::require_canonical(&self.custodians.genesis()).unwrap();
        trust::chain::walk(&chains, self.custodians.pin()).unwrap()
    }

    async fn drafted(&self, wish: &Wish) -> Request {
        let world = self.world().await;
        let who = wish.proposer.as_str();
        let answered = self.read_as(who, &wish.path().unwrap()).await;
        assert_eq!(answered.status, 200, "{}", answered.json());
        assert_eq!(self.world().await, world, "a draft was kept");
        Request::decode(answered.json()["request"].as_str().unwrap().as_bytes()).unwrap()
    }

    /// How the ring's first key was ordered.
    async fn generated(&self) -> Request {
        let keys = self.state.services.keys.current();
        let id = keys.rings["records"].keys[0].ceremony.to_string();
        Request::decode(&self.ceremonies().request(&id).await.unwrap().0).unwrap()
    }

    async fn proposed(&self, request: &Request) -> Answered {
        let who = request.proposer.as_ref().unwrap().as_str();
        let bytes = request.encode().unwrap();
        let body = json!({
            "request": String::from_utf8(bytes.clone()).unwrap(),
            "signature": self.signed(who, Purpose::Propose, &bytes),
        });
        self.post(LIST, body.to_string()).await
    }
}

fn generate() -> Wanted {
    Wanted::Generate {
        activate_in: None,
        lifetime: Duration::from_secs(90 * 86_400),
    }
}

fn order(request: &mut Request) -> &mut trust::Generate {
    match &mut request.operation {
        Operation::Generate(order) => order,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_member_writes_every_proposal_with_nothing_but_a_key() {
    let fixture = service().await;
    let kid: trust::Kid = fixture.kid().parse().unwrap();
    let before = fixture.generated().await;
    for wanted in [
        generate(),
        Wanted::Revoke {
            kid: kid.clone(),
            reason: RevocationReason::Compromised,
            compromised_since: Some(Time::from_millis(fixture.now().millis() - 60_000)),
        },
        Wanted::Revoke {
            kid,
            reason: RevocationReason::Superseded,
            compromised_since: None,
        },
    ] {
        let wish = fixture.wish(wanted);
        let request = fixture.drafted(&wish).await;
        let trusted = fixture.trusted_elsewhere();
        let compared = wish.compare(&request, &trusted, Some(&before), fixture.now());
        compared.unwrap();
        let proposed = fixture.proposed(&request).await;
        assert_eq!(proposed.status, 200, "{}", proposed.json());
    }
    // What no quorum could approve is not drafted: the key signs.
    let kid = fixture.kid().parse().unwrap();
    let wish = fixture.wish(Wanted::Destroy { kid });
    let refused = fixture.read_as("carol", &wish.path().unwrap()).await;
    assert_eq!(refused.code(), "request_refused", "{}", refused.json());
    let none = Wanted::Destroy {
        kid: "A".repeat(43).parse().unwrap(),
    };
    let refused = fixture
        .read_as("carol", &fixture.wish(none).path().unwrap())
        .await;
    assert_eq!(refused.code(), "request_refused");
}

#[tokio::test]
async fn the_policy_of_a_critical_key_type_is_drafted_whole_and_compared_to_the_letter() {
    let fixture = service().await;
    let types = calendar::KeyTypes::standard();
    let mut policy = calendar::PolicyDocument::standard(types.get("signing").unwrap());
    policy.version = 2;
    let asked = |policy: &calendar::PolicyDocument| {
        let document = keyring::ceremony::canonical_policy(policy).unwrap();
        Wish {
            ring: None,
            ..fixture.wish(Wanted::RotationPolicy { document })
        }
    };
    let wish = asked(&policy);
    let request = fixture.drafted(&wish).await;
    let trusted = fixture.trusted_elsewhere();
    let differs = |request: &Request, before: Option<&Request>| {
        let compared = wish.compare(request, &trusted, before, fixture.now());
        compared.err().map(|differs| differs.0)
    };
    assert_eq!(differs(&request, None), None);
    let changed = |change: &dyn Fn(&mut trust::RotationPolicy)| {
        let mut changed = request.clone();
        match &mut changed.operation {
            Operation::RotationPolicy(order) => change(order),
            other => panic!("{other:?}"),
        }
        changed
    };
    let longer = changed(&|order| order.document = order.document.replace("90d", "91d"));
    assert_eq!(differs(&longer, None), Some("policy"));
    // The first one replaces the figures that the key type begins with.
    let invented = changed(&|order| order.replaces = order.replaces.replace("90d", "9d"));
    let of_another_release = differs(&invented, None).unwrap();
    assert!(of_another_release.starts_with("policy to replace (the service may be"));
    // What the quorum decided last is what it replaces.
    let last = changed(&|order| order.document = order.replaces.clone());
    assert_eq!(differs(&request, Some(&last)), None);
    assert_eq!(differs(&request, Some(&longer)), Some("policy to replace"));
    let proposed = fixture.proposed(&request).await;
    assert_eq!(proposed.status, 200, "{}", proposed.json());
    policy.version = 7;
    let path = asked(&policy).path().unwrap();
    let refused = fixture.read_as("carol", &path).await;
    assert_eq!(refused.code(), "request_refused", "{}", refused.json());
    let path = path.replace("document=", "document=_");
    assert_eq!(fixture.read_as("carol", &path).await.code(), "bad_query");
    let path = format!("{path}&ring=records");
    assert_eq!(fixture.read_as("carol", &path).await.code(), "bad_query");
}

/// A service that was taken over drafts something else; nobody signs it.
#[tokio::test]
async fn threat_the_service_drafts_another_request_than_was_asked_for() {
    let fixture = service().await;
    let wish = fixture.wish(generate());
    let good = fixture.drafted(&wish).await;
    let (trusted, now) = (fixture.trusted_elsewhere(), fixture.now());
    let before = fixture.generated().await;
    let changed = |change: &dyn Fn(&mut Request)| {
        let mut request = good.clone();
        change(&mut request);
        let compared = wish.compare(&request, &trusted, Some(&before), now);
        compared.map_err(|error| error.0)
    };
    let later = |time: Time| time + Duration::from_secs(1);
    assert_eq!(changed(&|_| {}), Ok(()));
    let cases: [(&str, &dyn Fn(&mut Request)); 15] = [
        ("service or environment", &|r| {
            r.environment = "staging".parse().unwrap()
        }),
        ("roster", &|r| r.roster.digest = Sha256Digest::of(b"")),
        ("policy", &|r| r.policy.digest = Sha256Digest::of(b"")),
        ("proposer", &|r| r.proposer = Some("bob".parse().unwrap())),
        ("reason", &|r| r.reason = "another".to_owned()),
        ("ticket", &|r| r.ticket = None),
        ("time of making", &|r| {
            r.created_at = Time::from_millis(now.millis() - 301_000);
        }),
        ("approve_by", &|r| r.approve_by = later(r.approve_by)),
        ("execute_by", &|r| r.execute_by = later(r.execute_by)),
        ("publish_at", &|r| {
            let order = order(r);
            order.publish_at = later(order.publish_at);
        }),
        ("retire_at", &|r| {
            let order = order(r);
            order.retire_at = later(order.retire_at);
        }),
        ("algorithm", &|r| {
            order(r).purpose = trust::KeyPurpose::Sign {
                algorithm: trust::Algorithm::Es384,
                key_spec: trust::Algorithm::Es384.default_key_spec(),
            };
        }),
        ("form", &|r| r.lines[0].sequence = 0),
        ("form", &|r| {
            order(r).ring = "digests".parse().unwrap();
        }),
        ("ring", &|r| {
            let ring: trust::Name = "digests".parse().unwrap();
            order(r).ring = ring.clone();
            r.lines[0].subject = trust::Subject::Ring(ring);
        }),
    ];
    for (what, change) in cases {
        assert_eq!(changed(change), Err(what));
    }
    // Another operation, and another key.
    let kid: trust::Kid = fixture.kid().parse().unwrap();
    let revoke = |kid: &trust::Kid, reason| {
        fixture.wish(Wanted::Revoke {
            kid: kid.clone(),
            reason,
            compromised_since: None,
        })
    };
    let asked = revoke(&kid, RevocationReason::Superseded);
    let request = fixture.drafted(&asked).await;
    let compared = |wish: &Wish| {
        let compared = wish.compare(&request, &trusted, None, fixture.now());
        compared.map_err(|error| error.0)
    };
    assert_eq!(compared(&asked), Ok(()));
    assert_eq!(compared(&wish), Err("operation"));
    let other = "A".repeat(43).parse().unwrap();
    assert_eq!(
        compared(&revoke(&other, RevocationReason::Superseded)),
        Err("key")
    );
    let because = revoke(&kid, RevocationReason::Unspecified);
    assert_eq!(compared(&because), Err("reason of revocation"));
}

#[tokio::test]
async fn a_draft_is_for_members_and_its_parameters_are_its_operations() {
    let fixture = service().await;
    let path = fixture.wish(generate()).path().unwrap();
    assert_eq!(fixture.get(&path).await.code(), "unauthenticated");
    assert_eq!(fixture.get_as(SIGNER, &path).await.code(), "forbidden");
    assert_eq!(fixture.get_as(OPERATOR, &path).await.status, 200);
    let kid = "A".repeat(43);
    let base = "/v1/ceremonies/draft?ring=records&proposer=carol&reason=a\
                &approve_within_ms=1000&execute_within_ms=2000";
    for (rest, member) in [
        ("", ""),
        ("&operation=destroy", "kid"),
        ("&operation=generate", "lifetime_ms"),
        ("&operation=generate&lifetime_ms=0", "lifetime_ms"),
        (
            "&operation=generate&lifetime_ms=99999999999999",
            "lifetime_ms",
        ),
        (
            &format!("&operation=generate&lifetime_ms=1&kid={kid}"),
            "kid",
        ),
        (
            &format!("&operation=destroy&kid={kid}&because=compromised"),
            "because",
        ),
        (
            &format!("&operation=revoke&kid={kid}&because=lost"),
            "because",
        ),
        (
            &format!("&operation=revoke&kid={kid}&compromised_since=now"),
            "compromised_since",
        ),
        ("&operation=new-origin", "operation"),
        ("&operation=clock-correction", "ring"),
        (&format!("&operation=renew&ceremony={kid}"), "ring"),
        ("&operation=generate&lifetime_ms=1&count=2", ""),
    ] {
        let answered = fixture.get_as(OPERATOR, &format!("{base}{rest}")).await;
        assert_eq!(answered.code(), "bad_query", "{rest}");
        assert_eq!(answered.member(), member, "{rest}");
    }
    let base = &base.replace("ring=records&", "");
    let id = Sha256Digest::of(b"none");
    for (rest, code, member) in [
        ("&operation=generate&lifetime_ms=1", "bad_query", "ring"),
        ("&operation=renew", "bad_query", "ceremony"),
        ("&operation=renew&ceremony=x", "bad_query", "ceremony"),
        (
            &format!("&operation=renew&ceremony={id}"),
            "unknown_ceremony",
            "ceremony",
        ),
        ("&operation=clock-correction&first=1", "bad_query", "last"),
        (
            "&operation=clock-correction&bound=now",
            "bad_query",
            "bound",
        ),
        ("&operation=clock-correction", "request_refused", ""),
    ] {
        let answered = fixture.get_as(OPERATOR, &format!("{base}{rest}")).await;
        assert_eq!(answered.code(), code, "{rest}");
        assert_eq!(answered.member(), member, "{rest}");
    }
    let base = "/v1/ceremonies/draft?ring=records&proposer=carol&reason=a\
                &approve_within_ms=1000&execute_within_ms=2000";
    // A proposer who is nobody, and a reason that hides something.
    for (from, to) in [("carol", "mallory"), ("reason=a", "reason=%E2%80%AE")] {
        let path = format!("{base}&operation=generate&lifetime_ms=1").replace(from, to);
        let answered = fixture.get_as(OPERATOR, &path).await;
        assert_eq!(answered.code(), "request_refused", "{to}");
    }
}

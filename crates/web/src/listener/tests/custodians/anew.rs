//! Ceremonies that are proposed anew, and corrections of the log's clock, by members with nothing but a key.

use keyring::ceremony::{Wanted, Wish, WrongLeaves};
use trust::request::RevocationReason;
use trust::{Algorithm, Generate, KeyPurpose, Operation, Place, Request, Usage};

use super::*;

impl Fixture {
    /// By Alice, in her own words.
    fn wish_of_alice(&self, wanted: Wanted) -> Wish {
        Wish {
            ring: None,
            proposer: "alice".parse().unwrap(),
            reason: "the roster changed".to_owned(),
            ticket: None,
            approve_within: Duration::from_secs(1_800),
            execute_within: Duration::from_secs(3_600),
            wanted,
        }
    }

    async fn draft_for_alice(&self, wish: &Wish) -> Request {
        let world = self.world().await;
        let answered = self.read_as("alice", &wish.path().unwrap()).await;
        assert_eq!(answered.status, 200, "{}", answered.json());
        assert_eq!(self.world().await, world, "a draft was kept");
        Request::decode(answered.json()["request"].as_str().unwrap().as_bytes()).unwrap()
    }

    fn compare(&self, wish: &Wish, request: &Request) -> Result<(), &'static str> {
        let now = self.now();
        let compared = self.trusted(|trusted| wish.compare(request, trusted, None, now));
        compared.map_err(|error| error.0)
    }

    /// Proposed by Alice; its id.
    async fn propose_as_alice(&self, request: &Request) -> String {
        let bytes = request.encode().unwrap();
        let body = json!({
            "request": String::from_utf8(bytes.clone()).unwrap(),
            "signature": self.signed("alice", Purpose::Propose, &bytes),
        });
        let answered = self.post(LIST, body.to_string()).await;
        assert_eq!(answered.status, 200, "{}", answered.json());
        self.state.services.keys.refresh().await;
        Sha256Digest::of(&bytes).to_string()
    }

    async fn request_of(&self, id: &str) -> Request {
        Request::decode(&self.ceremonies().request(id).await.unwrap().0).unwrap()
    }
}

fn again(request: &Request) -> Wanted {
    Wanted::Again(Box::new(request.clone()))
}

fn order(request: &mut Request) -> &mut Generate {
    match &mut request.operation {
        Operation::Generate(order) => order,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_ceremony_that_is_void_is_proposed_anew_from_afar() {
    let fixture = service().await;
    let id = fixture.open().await;
    let before = fixture.request_of(&id).await;
    fixture.replace_carol().await;
    fixture.wait(5);
    let wish = fixture.wish_of_alice(again(&before));
    let request = fixture.draft_for_alice(&wish).await;
    assert_eq!(fixture.compare(&wish, &request), Ok(()));
    assert_ne!(request.roster, before.roster);
    assert_eq!(request.operation.ring(), before.operation.ring());
    let id = fixture.propose_as_alice(&request).await;
    for who in ["bob", "frank"] {
        let answered = fixture.submit(&id, fixture.approval(who, &id).await).await;
        assert_eq!(answered.status, 200, "{}", answered.json());
    }
    fixture.execute(&id).await;
    assert_eq!(fixture.state_of(&id).await, "executed");

    // A revocation as well, and what it is about is the same to the letter.
    let revoke = Wanted::Revoke {
        kid: fixture.kid().parse().unwrap(),
        reason: RevocationReason::Superseded,
        compromised_since: None,
    };
    let mut wish = fixture.wish_of_alice(revoke);
    wish.ring = Some("records".parse().unwrap());
    let first = fixture.draft_for_alice(&wish).await;
    let wish = fixture.wish_of_alice(again(&first));
    let id = fixture.propose_as_alice(&first).await;
    fixture.wait(120);
    let second = fixture.draft_for_alice(&wish).await;
    assert_eq!(fixture.compare(&wish, &second), Ok(()));
    assert_eq!(second.operation, first.operation);
    assert_ne!(fixture.propose_as_alice(&second).await, id);
}

/// A service that was taken over hands out something else than it was before; nobody signs it.
#[tokio::test]
async fn threat_the_service_renews_another_request_than_the_one_that_was_void() {
    let fixture = service().await;
    let before = fixture.request_of(&fixture.open().await).await;
    fixture.replace_carol().await;
    let wish = fixture.wish_of_alice(again(&before));
    let good = fixture.draft_for_alice(&wish).await;
    let later = |time: Time| time + Duration::from_secs(1);
    let cases: [(&str, &dyn Fn(&mut Request)); 14] = [
        ("roster", &|r| r.roster = before.roster),
        ("policy", &|r| r.policy.version += 1),
        ("proposer", &|r| r.proposer = Some("bob".parse().unwrap())),
        ("reason", &|r| r.reason = before.reason.clone()),
        ("ticket", &|r| r.ticket = Some("T-1".to_owned())),
        ("approve_by", &|r| r.approve_by = later(r.approve_by)),
        ("execute_by", &|r| r.execute_by = later(r.execute_by)),
        ("ring", &|r| {
            let ring: trust::Name = "digests".parse().unwrap();
            order(r).ring = ring.clone();
            r.lines[0].subject = trust::Subject::Ring(ring);
        }),
        ("purpose", &|r| {
            order(r).purpose = KeyPurpose::Sign {
                algorithm: Algorithm::Es384,
                key_spec: Algorithm::Es384.default_key_spec(),
            };
        }),
        ("usage", &|r| order(r).usage = Usage::Raw),
        ("token", &|r| {
            if let Place::Pkcs11(place) = &mut order(r).place {
                place.token_serial = "another".to_owned();
            }
        }),
        ("life of the key", &|r| {
            let order = order(r);
            order.retire_at = later(order.retire_at);
        }),
        ("life of the key", &|r| {
            let order = order(r);
            order.activate_at = later(order.activate_at);
            order.retire_at = later(order.retire_at);
        }),
        ("operation", &|r| {
            let Operation::Generate(of) = &r.operation else {
                panic!("{r:?}")
            };
            let (ring, kid) = (of.ring.clone(), fixture.kid().parse().unwrap());
            r.lines = vec![trust::Line {
                subject: trust::Subject::Key(kid),
                sequence: 1,
                previous: None,
            }];
            r.operation = Operation::Revoke(trust::Revoke {
                ring,
                number: 1,
                kid: fixture.kid().parse().unwrap(),
                reason: RevocationReason::Superseded,
                compromised_since: None,
            });
        }),
    ];
    assert_eq!(fixture.compare(&wish, &good), Ok(()));
    for (what, change) in cases {
        let mut request = good.clone();
        change(&mut request);
        assert_eq!(fixture.compare(&wish, &request), Err(what));
    }
    // Of a revocation nothing may differ: not the key, nor why.
    let revocation = Request {
        lines: vec![trust::Line {
            subject: trust::Subject::Key(fixture.kid().parse().unwrap()),
            sequence: 1,
            previous: None,
        }],
        operation: Operation::Revoke(trust::Revoke {
            ring: "records".parse().unwrap(),
            number: 1,
            kid: fixture.kid().parse().unwrap(),
            reason: RevocationReason::Superseded,
            compromised_since: None,
        }),
        ..good.clone()
    };
    let wish = fixture.wish_of_alice(again(&revocation));
    assert_eq!(fixture.compare(&wish, &revocation), Ok(()));
    let mut other = revocation.clone();
    if let Operation::Revoke(order) = &mut other.operation {
        order.reason = RevocationReason::Unspecified;
    }
    assert_eq!(fixture.compare(&wish, &other), Err("operation"));
    assert_eq!(fixture.compare(&wish, &good), Err("operation"));
}

/// A leaf that was written by a clock that is ahead is found, shown, and named before anything is signed.
#[tokio::test]
async fn a_correction_of_the_clock_is_drafted_for_a_member() {
    let fixture = service().await;
    fixture.publish_log().await;
    fixture.wait(1);
    let index = fixture.store.log_size().await.unwrap().unsigned_abs();
    const YEAR: i64 = 365 * 24 * 60;
    fixture.wait(YEAR);
    fixture.grant_token("ahead", &["operator"]).await;
    fixture.wait(-YEAR);
    let leaves = |range, bound| WrongLeaves { range, bound };
    let wish = fixture.wish_of_alice(Wanted::Correct(leaves(None, None)));
    let shown = fixture.draft_for_alice(&wish).await;
    assert_eq!(fixture.compare(&wish, &shown), Ok(()));
    let Operation::ClockCorrection(order) = &shown.operation else {
        panic!("{shown:?}")
    };
    assert_eq!((order.first, order.last), (index, index));
    assert!(order.bound < shown.created_at);

    let named = leaves(Some((index, index)), Some(order.bound));
    assert!(named.are_named() && !leaves(None, Some(order.bound)).are_named());
    let wish = fixture.wish_of_alice(Wanted::Correct(named));
    let request = fixture.draft_for_alice(&wish).await;
    assert_eq!(fixture.compare(&wish, &request), Ok(()));
    // Leaves that were not named are made no older.
    let changed = |change: &dyn Fn(&mut trust::request::ClockCorrection)| {
        let mut request = request.clone();
        if let Operation::ClockCorrection(order) = &mut request.operation {
            change(order);
        }
        fixture.compare(&wish, &request)
    };
    let refused = Err("range of leaves");
    assert_eq!(changed(&|order| order.first -= 1), refused);
    assert_eq!(changed(&|order| order.last += 1), refused);
    let earlier = Time::from_millis(order.bound.millis() - 1);
    assert_eq!(changed(&|order| order.bound = earlier), refused);

    let id = fixture.propose_as_alice(&request).await;
    for who in ["bob", "carol"] {
        let answered = fixture.submit(&id, fixture.approval(who, &id).await).await;
        assert_eq!(answered.status, 200, "{}", answered.json());
    }
    assert_eq!(fixture.state_of(&id).await, "approved");
}

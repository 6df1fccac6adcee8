//! Requests that no quorum can approve, and requests as people read them.

use trust::place::{Pkcs11Place, ReadBack};
use trust::request::{KeyPurpose, Operation, Request, RequestError, RevocationReason};
use trust::review::{review, review_statement};
use trust::tally::{Obstacle, Standing};
use trust::*;

use crate::support::{NewKey, World, destroy, first, generate, in_vault, minute, name, revoke};

fn refused(world: &World, change: impl FnOnce(&mut Request)) -> RequestError {
    let mut request = world.request();
    change(&mut request);
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    match world.tally(&ceremony).into_standing() {
        Standing::Refused(obstacles) => match &obstacles[..] {
            [Obstacle::Content(error), ..] => error.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn order(request: &mut Request) -> &mut Generate {
    match &mut request.operation {
        Operation::Generate(order) => order,
        _ => panic!("not a generation"),
    }
}

fn place(request: &mut Request) -> &mut Pkcs11Place {
    match &mut order(request).place {
        Place::Pkcs11(place) => place,
        Place::KeyVault(_) => panic!("a token"),
    }
}

fn template(request: &mut Request) -> &mut Template {
    &mut place(request).template
}

/// Another operation, in the lines of its subjects.
fn set(request: &mut Request, operation: Operation) {
    request.lines = operation.subjects().into_iter().map(first).collect();
    request.operation = operation;
}

#[test]
fn unsafe_templates_cannot_be_approved() {
    let world = World::quick();
    type Edit = fn(&mut Template);
    let edits: [(&str, Edit); 12] = [
        ("CKA_TOKEN", |template| template.token = false),
        ("CKA_PRIVATE", |template| template.private = false),
        ("CKA_SENSITIVE", |template| template.sensitive = false),
        ("CKA_EXTRACTABLE", |template| template.extractable = true),
        ("CKA_SIGN", |template| template.sign = false),
        ("CKA_DECRYPT", |template| template.decrypt = true),
        ("CKA_UNWRAP", |template| template.unwrap = true),
        ("CKA_DERIVE", |template| template.derive = true),
        ("CKA_ENCRYPT", |template| template.encrypt = Some(true)),
        ("CKA_ENCRYPT", |template| template.encrypt = Some(false)),
        ("CKA_WRAP", |template| template.wrap = Some(true)),
        ("CKA_WRAP", |template| template.wrap = Some(false)),
    ];
    for (attribute, edit) in edits {
        let error = refused(&world, |request| edit(template(request)));
        assert_eq!(error, RequestError::Template(attribute));
    }
}

#[test]
fn contradictions_cannot_be_approved() {
    let world = World::quick();
    let error = refused(&world, |request| {
        order(request).purpose = KeyPurpose::Sign {
            algorithm: Algorithm::Es256,
            key_spec: KeySpec::Rsa2048,
        }
    });
    assert_eq!(
        error,
        RequestError::KeySpec(Algorithm::Es256, KeySpec::Rsa2048)
    );
    assert_eq!(
        refused(&world, |r| order(r).number = 0),
        RequestError::Number(0)
    );
    let error = refused(&world, |r| {
        order(r).predecessor = Some(NewKey::generate().public().kid())
    });
    assert_eq!(error, RequestError::Number(1));
    // Else few could make the first key of a ring, or passkeys, by naming one before it that there is not.
    let later = |request: &mut Request| {
        let kid = NewKey::generate().public().kid();
        (order(request).number, order(request).predecessor) = (2, Some(kid));
    };
    assert_eq!(refused(&world, later), RequestError::Predecessor);
    let ring = Subject::Ring(name("atp-integrity"));
    assert_eq!(
        refused(&world, |r| r.lines[0].sequence = 2),
        RequestError::Sequence(2, ring.clone())
    );
    assert_eq!(
        refused(&world, |r| r.lines[0].sequence = 0),
        RequestError::Sequence(0, ring.clone())
    );
    for edit in [
        (|r| r.approve_by = minute(61)) as fn(&mut Request),
        |r| r.created_at = minute(31),
        |r| order(r).activate_at = minute(0) - std::time::Duration::from_millis(1),
        |r| order(r).retire_at = minute(0),
    ] {
        let error = refused(&world, edit);
        assert!(matches!(error, RequestError::Order { .. }), "{error}");
    }
    for reason in [RevocationReason::Superseded, RevocationReason::Compromised] {
        let error = refused(&world, |request| {
            set(request, revoke(&NewKey::generate().kid()));
            if let Operation::Revoke(order) = &mut request.operation {
                order.reason = reason;
                order.compromised_since = match reason {
                    RevocationReason::Compromised => None,
                    _ => Some(minute(0)),
                };
            }
        });
        assert_eq!(error, RequestError::CompromisedSince);
    }
}

/// Numbers count from 1: an order that names key 0 of a ring names none.
#[test]
fn key_zero_cannot_be_destroyed_or_revoked() {
    let world = World::quick();
    let kid = NewKey::generate().public().kid();
    for operation in [destroy(std::slice::from_ref(&kid)), revoke(&kid)] {
        let word = operation.word();
        let error = refused(&world, |request| {
            set(request, operation);
            match &mut request.operation {
                Operation::Destroy(order) => order.keys[0].number = 0,
                Operation::Revoke(order) => order.number = 0,
                _ => panic!("not asked for"),
            }
        });
        assert_eq!(error, RequestError::NumberZero(word));
    }
}

/// Lists are shown member by member: what stands in one hides as little as what stands beside it.
#[test]
fn a_review_spells_out_what_hides_inside_a_list_too() {
    let world = World::quick();
    let hidden = "a\u{202e}b\u{9b}2Jc";
    let kids = [NewKey::generate().kid(), NewKey::generate().kid()];
    let mut request = world.request_for(destroy(&kids));
    let Operation::Destroy(order) = &mut request.operation else {
        panic!("a destruction")
    };
    if let Location::Pkcs11(at) = &mut order.keys[1].locations[0] {
        at.token_label = hidden.to_owned();
    }
    let destruction = review(&request.encode().unwrap(), None).unwrap();
    let statement = {
        let request = world.request_for(Operation::Generate(Generate {
            place: in_vault("jwt", 1),
            ..generate("jwt")
        }));
        let mut generated = NewKey::generate().generated(&request);
        if let ReadBack::KeyVault(found) = &mut generated.read_back {
            found.key_ops.push(hidden.to_owned());
        }
        let record = world.record(&world.ceremony(&request, &[]));
        let outcome = approval::Outcome::Generated(generated);
        world.statement(&record, outcome).encode().unwrap()
    };
    let result = review_statement(&statement).unwrap();
    for (review, path) in [
        (
            &destruction,
            "operation.destroy.keys.1.locations.0.pkcs11.token_label",
        ),
        (&result, "outcome.generated.read_back.key-vault.key_ops.2"),
    ] {
        let shown = review.lines.iter().find(|(found, _)| found == path);
        let spelled = "a\\u{202e}b\\u{9b}2Jc";
        assert_eq!(shown.unwrap().1, spelled);
        let text = review.render();
        assert!(!text.contains(['\u{202e}', '\u{9b}']), "{text}");
    }
    let subject = format!("key/{}", kids.iter().min().unwrap());
    let mut lines = destruction.lines.iter();
    assert!(lines.any(|line| *line == ("lines.0.subject".to_owned(), subject.clone())));
}

/// What a terminal shows must be what is signed.
#[test]
fn text_that_hides_something_cannot_be_approved() {
    let world = World::quick();
    for hidden in [
        "",
        "a\u{1b}[2Jb",
        "a\nb",
        "a\u{202e}b",
        "a\u{200b}b",
        "a\u{feff}b",
        "a\u{ad}b",
        "a\u{61c}b",
        "a\u{fe0f}b",
        "a\u{e0041}b",
        &"a".repeat(1001),
    ] {
        let error = refused(&world, |request| request.reason = hidden.to_owned());
        assert_eq!(error, RequestError::Text("reason", 1000), "{hidden:?}");
    }
    let error = refused(&world, |request| {
        place(request).token_label = "\u{7}".to_owned()
    });
    assert_eq!(error, RequestError::Text("place.pkcs11.token_label", 64));
}

#[test]
fn every_member_is_required_and_no_other_is_read() {
    let bytes = World::quick().request().encode().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    for (path, _) in review(&bytes, None).unwrap().lines {
        let mut pruned = value.clone();
        let (parent, member) = match path.rsplit_once('.') {
            Some((parent, member)) => (format!("/{}", parent.replace('.', "/")), member),
            None => (String::new(), path.as_str()),
        };
        let object = pruned
            .pointer_mut(&parent)
            .unwrap()
            .as_object_mut()
            .unwrap();
        object.remove(member).unwrap();
        let without = json::canonical(&pruned).unwrap();
        assert!(Request::decode(&without).is_err(), "without {path}");
        pruned.pointer_mut(&parent).unwrap()["extra"] = serde_json::Value::Null;
    }
    for parent in [
        "",
        "/operation/generate",
        "/operation/generate/purpose/sign",
        "/operation/generate/place/pkcs11",
        "/operation/generate/place/pkcs11/template",
        "/lines/0",
        "/roster",
    ] {
        let mut extended = value.clone();
        extended.pointer_mut(parent).unwrap()["extra"] = 1.into();
        let error = Request::decode(&json::canonical(&extended).unwrap()).unwrap_err();
        assert!(error.to_string().contains("extra"), "{error}");
    }
}

#[test]
fn a_review_shows_every_member_the_difference_and_the_words() {
    let world = World::quick();
    let first = world.request();
    let mut second = first.clone();
    order(&mut second).number = 2;
    place(&mut second).token_serial = "another".to_owned();
    let bytes = second.encode().unwrap();
    let review = review(&bytes, Some(&first)).unwrap();
    assert_eq!(review.digest, Sha256Digest::of(&bytes));
    assert_eq!(
        review.changes,
        [
            "generate.number: 1 -> 2",
            "generate.place.pkcs11.token_serial: 0a1b2c3d -> another"
        ]
    );
    let text = review.render();
    for shown in [
        "operation.generate.place.pkcs11.token_serial",
        "operation.generate.place.pkcs11.template.extractable",
        "proposer",
        "2026-11-22T10:00:00.000Z",
        &review.digest.to_string(),
        &review.words,
    ] {
        assert!(text.contains(shown), "{shown} in\n{text}");
    }
    assert_eq!(review.words.split_whitespace().count(), 32);
    // What it asks for comes first, in sentences.
    let (head, _) = text.split_once("In full:").unwrap();
    for shown in [
        "a new ES256 key, number 2 of ring",
        "in use from",
        "cannot be taken from token",
    ] {
        assert!(head.contains(shown), "{shown} in\n{head}");
    }
    let early = |at: &str| {
        let mut request = second.clone();
        request.approve_by = at.parse().unwrap();
        let review = trust::review::review(&request.encode().unwrap(), None).unwrap();
        review
            .summary
            .iter()
            .any(|sentence| sentence.contains("as soon as it has been accepted"))
    };
    assert!(early("2100-01-01T00:00:00.000Z"));
    assert!(!early("2000-01-01T00:00:00.000Z"));
    // Nothing in a request moves the cursor of who reviews it.
    second.reason = "\u{1b}[2Jharmless".to_owned();
    let text = trust::review::review(&second.encode().unwrap(), None)
        .unwrap()
        .render();
    assert!(
        text.contains("\\u{1b}[2Jharmless") && !text.contains('\u{1b}'),
        "{text}"
    );
}

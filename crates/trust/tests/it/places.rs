//! Where keys are made and found: tokens and vaults, pairs and wrapping keys, and their end.

use trust::approval::{Generated, NewKey as Told, Outcome, wrap_challenge, wrap_kid};
use trust::bytes16::CkaId;
use trust::place::{ReadBack, VaultLocation, VaultReadBack};
use trust::request::{Destroy, Operation, Request, RequestError};
use trust::tally::{AcceptanceError, Finished, Obstacle, Standing, tally_acceptance};
use trust::*;

use crate::support::{
    NewKey, World, destroy, first, found, generate, in_vault, name, on_token, wrap_key, wrapping,
};

/// What becomes of a generation of which this is stated; all sign.
fn stated(
    world: &World,
    request: &Request,
    generated: Box<Generated>,
) -> Result<(), AcceptanceError> {
    let signers = [&world.alice, &world.bob];
    let record = world.record(&world.ceremony(request, &signers));
    let statement = world.statement(&record, Outcome::Generated(generated));
    let acceptance = world.acceptance(&statement, &signers);
    tally_acceptance(&world.trusted(), &record, &acceptance).map(|tally| {
        assert!(tally.into_finished().is_ok());
    })
}

fn refused(world: &World, operation: Operation) -> RequestError {
    let request = world.request_for(operation);
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    match world.tally(&ceremony).into_standing() {
        Standing::Refused(obstacles) => match &obstacles[..] {
            [Obstacle::Content(error)] => error.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// After every other in the order of texts.
const LAST: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzw";

fn vault_read_back(generated: &mut Generated) -> &mut VaultReadBack {
    match &mut generated.read_back {
        ReadBack::KeyVault(found) => found,
        ReadBack::Pkcs11(_) => panic!("a vault"),
    }
}

fn vault_location(generated: &mut Generated) -> &mut VaultLocation {
    match &mut generated.location {
        Location::KeyVault(location) => location,
        Location::Pkcs11(_) => panic!("a vault"),
    }
}

#[test]
fn a_key_is_born_in_a_vault_and_each_attribute_read_back_is_compared() {
    let world = World::quick();
    for (order, makes_pair) in [(generate("jwt"), true), (wrap_key("kek"), false)] {
        let order = Generate {
            place: in_vault(order.ring.as_str(), 1),
            ..order
        };
        let request = world.request_for(Operation::Generate(order));
        let pair = NewKey::generate();
        let generated = || match makes_pair {
            true => pair.generated(&request),
            false => wrapping(&request, Sha256Digest::of(b"wrapped")),
        };
        stated(&world, &request, generated()).unwrap();
        let mut later = generated();
        vault_location(&mut later).version = "another version is the vault's to choose".to_owned();
        stated(&world, &request, later).unwrap();

        type Change = fn(&mut Generated);
        let changes: [(&str, Change); 14] = [
            ("the vault", |g| vault_location(g).vault.push('x')),
            ("the name", |g| vault_location(g).name.push('x')),
            ("the version", |g| vault_location(g).version.clear()),
            ("the version", |g| {
                vault_location(g).version = "v".repeat(65)
            }),
            ("the tag", |g| vault_read_back(g).tag.push('x')),
            ("the key attributes", |g| {
                vault_read_back(g).key_spec = "P-384".to_owned()
            }),
            ("enabled", |g| vault_read_back(g).enabled = false),
            ("exportable", |g| vault_read_back(g).exportable = true),
            ("hardware", |g| vault_read_back(g).hardware = false),
            ("key_ops", |g| vault_read_back(g).key_ops.clear()),
            ("key_ops", |g| vault_read_back(g).key_ops.reverse()),
            ("key_ops", |g| {
                vault_read_back(g).key_ops.push("zip".to_owned())
            }),
            ("the kind of location", |g| {
                g.location = found(&generate("jwt")).0
            }),
            ("the kind of location", |g| {
                g.read_back = found(&generate("jwt")).1
            }),
        ];
        for (what, change) in changes {
            let mut bad = generated();
            change(&mut bad);
            match stated(&world, &request, bad).unwrap_err() {
                AcceptanceError::ReadBack(found) => assert_eq!(found, what),
                other => panic!("{what}: {other}"),
            }
        }
    }
}

#[test]
fn a_place_that_cannot_be_shown_to_people_cannot_be_approved() {
    let world = World::quick();
    let at = |place| {
        refused(
            &world,
            Operation::Generate(Generate {
                place,
                ..generate("jwt")
            }),
        )
    };
    let vault = |change: fn(&mut place::VaultPlace)| {
        let mut place = in_vault("jwt", 1);
        if let Place::KeyVault(place) = &mut place {
            change(place);
        }
        at(place)
    };
    let name = RequestError::Text("place.key-vault.name", 127);
    assert_eq!(vault(|place| place.name.clear()), name);
    assert_eq!(vault(|place| place.name = "n".repeat(128)), name);
    let tag = RequestError::Text("place.key-vault.tag", 64);
    assert_eq!(vault(|place| place.tag = "a\u{202e}b".to_owned()), tag);
    let host = RequestError::Text("place.key-vault.vault", 253);
    assert_eq!(vault(|place| place.vault = "v".repeat(254)), host);
    let mut token = on_token("jwt", 1, Template::signing_key());
    if let Place::Pkcs11(place) = &mut token {
        place.label = "l".repeat(101);
    }
    assert_eq!(at(token), RequestError::Text("place.pkcs11.label", 100));
}

/// Two ceremonies side by side, and a database's owner who exchanges what they made.
#[test]
fn location_swapped_between_two_keys() {
    let world = World::quick();
    let at = |ring: &str, place| {
        let order = Generate {
            place,
            ..generate(ring)
        };
        world.request_for(Operation::Generate(order))
    };
    let mut second = on_token("two", 1, Template::signing_key());
    if let Place::Pkcs11(place) = &mut second {
        place.cka_id = CkaId([8; 16]);
    }
    for (one, two) in [
        (
            at("one", on_token("one", 1, Template::signing_key())),
            at("two", second),
        ),
        (at("one", in_vault("one", 1)), at("two", in_vault("two", 1))),
    ] {
        let [mut here, mut there] =
            [&one, &two].map(|request| NewKey::generate().generated(request));
        std::mem::swap(&mut here.location, &mut there.location);
        for (request, swapped) in [(&one, here), (&two, there)] {
            let error = stated(&world, request, swapped).unwrap_err();
            assert!(matches!(error, AcceptanceError::ReadBack(_)), "{error}");
        }
    }
    // In an order to destroy they are what was signed, and nothing else.
    let kids = [NewKey::generate().kid(), NewKey::generate().kid()];
    let mut operation = destroy(&kids);
    let Operation::Destroy(order) = &mut operation else {
        panic!("a destruction")
    };
    let vault = Generate {
        place: in_vault("one", 1),
        ..generate("one")
    };
    order.keys[1].locations = vec![found(&vault).0];
    let honest = world.request_for(operation.clone());
    let approved = world.ceremony(&honest, &[&world.alice, &world.bob]);
    assert_eq!(world.tally(&approved).standing, Standing::Approved);
    let Operation::Destroy(order) = &mut operation else {
        panic!("a destruction")
    };
    let [one, two] = &mut order.keys[..] else {
        panic!("two keys")
    };
    std::mem::swap(&mut one.locations, &mut two.locations);
    let swapped = world.request_for(operation).encode().unwrap();
    let mut ceremony = Ceremony {
        request: swapped,
        ..approved
    };
    ceremony.proposal = Some(world.proposal(&ceremony.request, &world.carol));
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 2 });
}

#[test]
fn a_wrapping_key_has_a_transcript_and_each_member_of_it_is_checked() {
    let world = World::quick();
    let request = world.request_for(Operation::Generate(wrap_key("kek")));
    let check_value = Sha256Digest::of(b"the challenge as the key wraps it");
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let outcome = Outcome::Generated(wrapping(&request, check_value));
    let bytes = world.finished(&ceremony, outcome).encode().unwrap();
    let verified = verify_transcript(&bytes, &world.pin).unwrap();
    let Operation::Generate(order) = &request.operation else {
        panic!("a generation")
    };
    let kid = wrap_kid(order, check_value).unwrap();
    assert_eq!(verified.kids(), [&kid]);
    assert!(verified.public_key().is_none());
    assert!(matches!(verified.finished(), Finished::WrapKey(found) if *found == kid));
    // Possession is stated, not proven: no such key can be published.
    assert!(matches!(
        verified.into_accepted(&kid),
        Err(TranscriptError::NotAKey)
    ));

    let with = |change: &dyn Fn(&mut Sha256Digest, &mut Sha256Digest, &mut Kid)| {
        let mut generated = wrapping(&request, check_value);
        let Told::Check {
            challenge,
            check_value,
            kid,
        } = &mut generated.key
        else {
            panic!("a secret key")
        };
        change(challenge, check_value, kid);
        stated(&world, &request, generated).unwrap_err()
    };
    let mut other = request.clone();
    other.environment = name("staging");
    let elsewhere = wrap_challenge(&other, order).unwrap();
    let another = Generate {
        number: 2,
        ..order.clone()
    };
    let of_another = wrap_kid(&another, check_value).unwrap();
    for (error, member) in [
        (
            with(&|challenge, _, _| *challenge = elsewhere),
            "the challenge",
        ),
        (
            with(&|_, check_value, _| *check_value = elsewhere),
            "the kid",
        ),
        (with(&|_, _, kid| *kid = of_another.clone()), "the kid"),
    ] {
        match error {
            AcceptanceError::KeyMismatch(what) => assert_eq!(what, member),
            other => panic!("{other}"),
        }
    }
    let mut imported = wrapping(&request, check_value);
    if let ReadBack::Pkcs11(found) = &mut imported.read_back {
        found.local = Some(false);
    }
    let error = stated(&world, &request, imported).unwrap_err();
    assert!(
        matches!(error, AcceptanceError::ReadBack("CKA_LOCAL")),
        "{error}"
    );

    // A pair is no wrapping key, and no wrapping key a pair.
    let error = stated(&world, &request, NewKey::generate().generated(&request)).unwrap_err();
    assert!(matches!(error, AcceptanceError::OtherOutcome), "{error}");
    let pair = world.request();
    let error = stated(&world, &pair, wrapping(&pair, check_value)).unwrap_err();
    assert!(matches!(error, AcceptanceError::OtherOutcome), "{error}");
}

#[test]
fn challenge_and_name_of_a_wrapping_key_are_of_it_alone() {
    let world = World::quick();
    let request = world.request_for(Operation::Generate(wrap_key("kek")));
    let order = wrap_key("kek");
    let challenge = |request: &Request, order: &Generate| wrap_challenge(request, order).unwrap();
    let here = challenge(&request, &order);
    // As written down, so that who holds the key can compute them without this program.
    let text = r#"{"environment":"production","number":1,"ring":"kek","service":"seal","v":1}"#;
    assert_eq!(here, Sha256Digest::of(text.as_bytes()));
    let check_value = Sha256Digest::of(b"x");
    let text = format!(r#"{{"check_value":"{check_value}","number":1,"ring":"kek"}}"#);
    let kid = base64url::encode(Sha256Digest::of(text.as_bytes()).as_bytes());
    assert_eq!(wrap_kid(&order, check_value).unwrap().as_str(), kid);

    let mut second = order.clone();
    second.number = 2;
    let mut elsewhere = request.clone();
    elsewhere.service = name("another");
    for other in [
        challenge(&request, &second),
        challenge(&request, &wrap_key("another")),
        challenge(&elsewhere, &order),
    ] {
        assert_ne!(here, other);
    }
}

#[test]
fn a_wrapping_key_that_could_do_more_than_wrap_cannot_be_approved() {
    let world = World::quick();
    type Edit = fn(&mut Template);
    let edits: [(&str, Edit); 13] = [
        ("CKA_TOKEN", |template| template.token = false),
        ("CKA_PRIVATE", |template| template.private = false),
        ("CKA_SENSITIVE", |template| template.sensitive = false),
        ("CKA_EXTRACTABLE", |template| template.extractable = true),
        ("CKA_SIGN", |template| template.sign = true),
        ("CKA_DECRYPT", |template| template.decrypt = true),
        ("CKA_UNWRAP", |template| template.unwrap = false),
        ("CKA_DERIVE", |template| template.derive = true),
        ("CKA_ENCRYPT", |template| template.encrypt = Some(true)),
        ("CKA_ENCRYPT", |template| template.encrypt = None),
        ("CKA_WRAP", |template| template.wrap = Some(false)),
        ("CKA_WRAP", |template| template.wrap = None),
        ("CKA_SIGN", |template| *template = Template::signing_key()),
    ];
    for (attribute, edit) in edits {
        let mut template = Template::wrapping_key();
        edit(&mut template);
        let place = on_token("kek", 1, template);
        let order = Generate {
            place,
            ..wrap_key("kek")
        };
        let error = refused(&world, Operation::Generate(order));
        assert_eq!(error, RequestError::Template(attribute));
    }
}

#[test]
fn usage_goes_with_ring_and_purpose() {
    let world = World::quick();
    let with = |order: Generate, usage| {
        let order = Generate { usage, ..order };
        let request = world.request_for(Operation::Generate(order));
        request.check()
    };
    for usage in Usage::ALL {
        let wraps = usage == Usage::Wrap;
        let of_the_log = usage == Usage::Log;
        for (order, good) in [
            (generate("jwt"), !wraps && !of_the_log),
            (wrap_key("kek"), wraps),
            (generate("log"), of_the_log),
            (wrap_key("log"), false),
        ] {
            let expected = match good {
                true => Ok(()),
                false => Err(RequestError::Usage(usage)),
            };
            assert_eq!(with(order, usage), expected);
        }
    }
}

#[test]
fn keys_are_destroyed_together_and_exactly_those_that_were_ordered() {
    let world = World::quick();
    let kids = [NewKey::generate().kid(), NewKey::generate().kid()];
    let request = world.request_for(destroy(&kids));
    let signers = [&world.alice, &world.bob];
    let record = world.record(&world.ceremony(&request, &signers));
    let mut ordered = kids.to_vec();
    ordered.sort();
    let done = |kids: &[&Kid]| {
        let kids = kids.iter().copied().cloned().collect();
        let statement = world.statement(&record, Outcome::Destroyed { kids });
        let acceptance = world.acceptance(&statement, &signers);
        tally_acceptance(&world.trusted(), &record, &acceptance)
    };
    let [one, two] = [&ordered[0], &ordered[1]];
    let finished = done(&[one, two]).unwrap().into_finished().unwrap();
    assert!(matches!(finished, Finished::Destroyed(kids) if kids == ordered));
    let another = NewKey::generate().kid();
    for kids in [
        &[one][..],
        &[two, one],
        &[one, two, &another],
        &[one, &another],
        &[],
    ] {
        let error = done(kids).unwrap_err();
        assert!(matches!(error, AcceptanceError::OtherOutcome), "{error}");
    }
}

#[test]
fn a_list_to_destroy_that_is_empty_too_long_or_out_of_order_cannot_be_approved() {
    let world = World::quick();
    let destroys = |change: &dyn Fn(&mut Destroy)| {
        let kids: Vec<_> = (0..100_u32)
            .map(|number| {
                let digest = Sha256Digest::of(&number.to_be_bytes());
                base64url::encode(digest.as_bytes()).parse().unwrap()
            })
            .collect();
        let mut operation = destroy(&kids);
        if let Operation::Destroy(order) = &mut operation {
            change(order);
        }
        let mut request = world.request_for(operation);
        request.lines = request
            .operation
            .subjects()
            .into_iter()
            .map(first)
            .collect();
        request.check()
    };
    assert_eq!(destroys(&|_| ()), Ok(()));
    assert_eq!(destroys(&|order| order.keys.truncate(1)), Ok(()));
    for change in [
        (|order| order.keys.swap(0, 1)) as fn(&mut Destroy),
        |order| order.keys[1] = order.keys[0].clone(),
        |order| {
            let mut last = order.keys[99].clone();
            last.kid = LAST.parse().unwrap();
            order.keys.push(last);
        },
        |order| order.keys[7].locations.clear(),
        |order| {
            let same = order.keys[7].locations[0].clone();
            order.keys[7].locations.push(same);
        },
        |order| order.keys[7].locations = copies(17),
    ] {
        assert_eq!(destroys(&change), Err(RequestError::Keys));
    }
    assert_eq!(
        destroys(&|order| order.keys[7].locations = copies(16)),
        Ok(())
    );
    // Of nothing there is no line either.
    assert_eq!(
        destroys(&|order| order.keys.clear()),
        Err(RequestError::Lines)
    );
    let error = destroys(&|order| {
        order.keys[7].locations = copies(2);
        if let Location::Pkcs11(at) = &mut order.keys[7].locations[1] {
            at.token_label.clear();
        }
    });
    let expected = RequestError::Text("location.pkcs11.token_label", 64);
    assert_eq!(error, Err(expected));
}

/// Locations of one key on as many tokens.
fn copies(number: usize) -> Vec<Location> {
    let (location, _) = found(&generate("jwt"));
    let on = |token: usize| {
        let mut location = location.clone();
        if let Location::Pkcs11(at) = &mut location {
            at.token_serial = format!("serial-{token}");
        }
        location
    };
    (0..number).map(on).collect()
}

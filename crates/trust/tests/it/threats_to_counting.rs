//! The threats by which a key counts for more than its one member, or for anybody.

use aws_lc_rs::encoding::{AsBigEndian, EcPublicKeyCompressedBin};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
};
use base64ct::{Base64, Encoding};
use trust::chain::{ChainError, Change, walk};
use trust::roster::RosterError;
use trust::sshkey::{SshKey, SshKeyError};
use trust::sshsig::{self, SshSigError};
use trust::*;

use crate::support::{Custodian, World, armor, name, put, sshsig_blob};

const SK_ED25519: &str = "sk-ssh-ed25519@openssh.com";
const SK_P256: &str = "sk-ecdsa-sha2-nistp256@openssh.com";

fn wire(kind: &str, curve: Option<&str>, point: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    put(&mut wire, kind.as_bytes());
    if let Some(curve) = curve {
        put(&mut wire, curve.as_bytes());
    }
    put(&mut wire, point);
    if kind.starts_with("sk-") {
        put(&mut wire, b"ssh:");
    }
    wire
}

fn read(kind: &str, wire: &[u8]) -> Result<SshKey, SshKeyError> {
    format!("{kind} {}", Base64::encode_string(wire)).parse()
}

/// The error of a signature that brings this key along.
fn brought_along(world: &World, kind: &str, wire: &[u8], value: &[u8]) -> SshSigError {
    let namespace = world.namespace(Purpose::Approve);
    let mut signature = Vec::new();
    put(&mut signature, kind.as_bytes());
    put(&mut signature, value);
    let ns = namespace.to_string();
    let blob = sshsig_blob(wire, ns.as_bytes(), b"", b"sha512", &signature);
    sshsig::verify(&armor(&blob), &namespace, b"m").unwrap_err()
}

#[test]
fn one_key_under_two_members_in_two_spellings() {
    let world = World::quick();
    for (kind, curve, algorithm) in [
        (
            "ecdsa-sha2-nistp256",
            "nistp256",
            &ECDSA_P256_SHA256_FIXED_SIGNING,
        ),
        (
            "ecdsa-sha2-nistp384",
            "nistp384",
            &ECDSA_P384_SHA384_FIXED_SIGNING,
        ),
        (SK_P256, "nistp256", &ECDSA_P256_SHA256_FIXED_SIGNING),
    ] {
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let whole = wire(kind, Some(curve), pair.public_key().as_ref());
        assert!(read(kind, &whole).is_ok(), "{kind}");

        let short: EcPublicKeyCompressedBin<'_> = pair.public_key().as_be_bytes().unwrap();
        let short = wire(kind, Some(curve), short.as_ref());
        assert_eq!(read(kind, &short).unwrap_err(), SshKeyError::Point);
        let error = brought_along(&world, kind, &short, &[]);
        assert!(matches!(error, SshSigError::Key(_)), "{error}");
    }
    // A modulus with one zero more.
    let modulus = [&[0][..], &[0xff; 256]].concat();
    for (n, good) in [
        (modulus.clone(), true),
        ([&[0], &modulus[..]].concat(), false),
    ] {
        let mut rsa = Vec::new();
        for part in [b"ssh-rsa", &[1, 0, 1][..], &n] {
            put(&mut rsa, part);
        }
        assert_eq!(read("ssh-rsa", &rsa).is_ok(), good);
    }
}

/// The identity: R = identity and S = 0 are a signature over everything.
#[test]
fn a_member_key_with_which_anybody_can_sign() {
    let world = World::quick();
    let mut identity = [0; 32];
    identity[0] = 1;
    let forged = [identity, [0; 32]].concat();
    for kind in ["ssh-ed25519", SK_ED25519] {
        let weak = wire(kind, None, &identity);
        let error = brought_along(&world, kind, &weak, &forged);
        assert!(matches!(error, SshSigError::Key(_)), "{error}");
        assert_eq!(read(kind, &weak).unwrap_err(), SshKeyError::SmallOrder);
        // The others of small order: 0, -1, and 1 spelled with p added or with a sign.
        let mut zero = [0; 32];
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        let mut again = minus_one;
        again[0] = 0xee;
        let mut signed = identity;
        signed[31] = 0x80;
        for point in [zero, minus_one, again, signed] {
            let error = read(kind, &wire(kind, None, &point)).unwrap_err();
            assert_eq!(error, SshKeyError::SmallOrder, "{point:02x?}");
        }
        zero[0] = 9;
        assert!(read(kind, &wire(kind, None, &zero)).is_ok());
    }
    // Nor may a ring's key be such a point, whatever the token says.
    assert!(PublicKey::ed25519(&identity).is_err());
}

fn followed(world: &World, document: SignedDocument) -> Result<Trusted, ChainError> {
    let mut chains = world.chains.clone();
    chains.changes.push(Change::Roster(document));
    walk(&chains, &world.pin)
}

#[test]
fn a_former_members_id_is_given_away() {
    let world = World::quick();
    let document = world.next_roster(
        |roster| drop(roster.members.remove(3)),
        &[&world.alice, &world.bob],
    );
    let source = RosterError::Dropped(name("dave"));
    assert_eq!(
        followed(&world, document).unwrap_err(),
        ChainError::Roster { index: 1, source }
    );
    // Listed as a former member, without keys, is how one leaves.
    let leave = |roster: &mut Roster| {
        roster.members[3].active = false;
        roster.members[3].keys.clear();
    };
    let document = world.next_roster(leave, &[&world.alice, &world.bob]);
    assert!(followed(&world, document).is_ok());
}

/// A key that was put away, by its member or with its member, several rosters ago.
#[test]
fn a_key_that_was_put_away_comes_to_count_for_another() {
    let mut world = World::quick();
    let signers = ["alice", "carol"].map(Custodian::quick);
    let signers = [&signers[0], &signers[1]];
    let document = world.next_roster(
        |roster| {
            roster.members[1].active = false;
            roster.members[1].keys.clear();
        },
        &signers,
    );
    world.chains.changes.push(Change::Roster(document));
    let document = world.next_roster(|_| {}, &signers);
    world.chains.changes.push(Change::Roster(document));

    let heir = Custodian::quick_with_seed("erin", "bob");
    let document = world.next_roster(
        |roster| roster.members.push(heir.member(&[Role::Custodian])),
        &[signers[0], signers[1], &heir],
    );
    let source = RosterError::FormerKey(name("bob"), name("erin"));
    assert_eq!(
        followed(&world, document).unwrap_err(),
        ChainError::Roster { index: 3, source }
    );
    // Its own member may take it up again, and shows it.
    let back = |roster: &mut Roster| {
        roster.members[1] = world.bob.member(&[Role::Custodian]);
    };
    let document = world.next_roster(back, &[signers[0], signers[1], &world.bob]);
    assert!(followed(&world, document).is_ok());
    let document = world.next_roster(back, &signers);
    assert!(matches!(
        followed(&world, document),
        Err(ChainError::Signatures { index: 3, .. })
    ));
}

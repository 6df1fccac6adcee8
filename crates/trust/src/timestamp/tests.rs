//! Against tokens of OpenSSL, honest and not.

mod authority;
mod pss;

use cms::content_info::ContentInfo;
use cms::signed_data::SignedData;
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode as _, Encode as _, Tag};
use proptest::prelude::*;
use spki::AlgorithmIdentifierOwned;

use super::scheme::Scheme;
use super::token::{GenTime, Token};
use super::*;
use crate::alg::Hash;
use authority::Workshop;

/// Sixty-four bytes, as a signature of P-256 has them.
const SIGNATURE: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const CADES: &str = "-cades -econtent_type 1.2.840.113549.1.9.16.1.4";

/// Long after every token of these tests was made, before the end of their certificates.
fn now() -> Time {
    "2035-01-01T00:00:00.000Z".parse().unwrap()
}

fn check(token: &[u8], authorities: &Authorities) -> Result<Timestamp, TimestampError> {
    verify(token, SIGNATURE, authorities, now())
}

/// The text of the refusal.
fn refused(token: &[u8], authorities: &Authorities) -> String {
    check(token, authorities).unwrap_err().to_string()
}

/// The `TSTInfo` inside a token.
fn content(token: &[u8]) -> Vec<u8> {
    let outer = ContentInfo::from_der(token).unwrap();
    let signed: SignedData = outer.content.decode_as().unwrap();
    let content = signed.encap_content_info.econtent.unwrap();
    let content: OctetString = content.decode_as().unwrap();
    content.as_bytes().to_vec()
}

/// The same `TSTInfo` with another instant of the same length.
fn made_at(content: &[u8], instant: &[u8; 15]) -> Vec<u8> {
    let place = content
        .windows(2)
        .position(|two| two == [0x18, 15])
        .unwrap();
    let mut changed = content.to_vec();
    changed[place + 2..place + 17].copy_from_slice(instant);
    changed
}

/// A root and an authority under it.
fn workshop(root: &str, signer: &str) -> Workshop {
    let workshop = Workshop::new();
    workshop.own("root", root, "root");
    workshop.issue("root", "tsa", signer, "tsa");
    workshop
}

#[test]
fn token_of_openssl_proves_existence() {
    for (root, signer) in [
        ("rsa", "rsa"),
        ("p384", "p256"),
        ("p256", "p384"),
        ("ed25519", "rsa"),
    ] {
        let workshop = workshop(root, signer);
        let roots = workshop.trusting(&["root"]);
        for query in ["-sha256 -cert", "-sha384 -cert", "-sha512 -cert -no_nonce"] {
            let token = workshop.stamp("tsa", SIGNATURE, query, "");
            let timestamp = check(&token, &roots).unwrap();
            assert_eq!(timestamp.authority, "CN=root", "{root} {signer} {query}");
            assert_eq!(timestamp.policy, "1.2.3.4.1");
            assert_eq!(timestamp.serial.len(), 4, "{}", timestamp.serial);
            // The accuracy of the authority counts against it: 1.5001 s, in whole milliseconds.
            let made_at = Token::from_der(&token).unwrap().info.gen_time.at();
            assert_eq!(timestamp.at.since(made_at), Duration::from_millis(1_501));
        }
    }
}

#[test]
fn signer_may_be_configured_itself_and_then_need_not_be_in_the_token() {
    let workshop = workshop("p256", "rsa");
    let signer = workshop.trusting(&["tsa"]);
    for query in ["-sha256", "-sha256 -cert"] {
        let token = workshop.stamp("tsa", SIGNATURE, query, "");
        assert_eq!(check(&token, &signer).unwrap().authority, "CN=tsa");
    }
    let bare = workshop.stamp("tsa", SIGNATURE, "-sha256", "");
    let roots = workshop.trusting(&["root"]);
    assert!(matches!(
        check(&bare, &roots),
        Err(TimestampError::NoSigner)
    ));
    // The older attribute, by SHA-1, names the certificate as well as the newer one.
    let older = workshop.stamp("tsa", SIGNATURE, "-sha256 -cert", "-section ts_sha1");
    check(&older, &roots).unwrap();
}

#[test]
fn intermediates_come_with_the_token_and_are_two_at_most() {
    let workshop = Workshop::new();
    workshop.own("root", "p256", "root");
    workshop.own("low", "p256", "low_root");
    let mut chain = Vec::new();
    for (issuer, name) in [("root", "one"), ("one", "two"), ("two", "three")] {
        workshop.issue(issuer, name, "p256", "between");
        workshop.issue(name, "tsa", "p256", "tsa");
        chain.extend(workshop.read(&format!("{name}.pem")));
        workshop.write("chain", &chain);
        let reply = "-chain chain";
        let token = workshop.stamp("tsa", SIGNATURE, "-sha256 -cert", reply);
        let outcome = check(&token, &workshop.trusting(&["root"]));
        assert_eq!(outcome.is_ok(), name != "three", "{name}: {outcome:?}");
        // An intermediate that is configured is as good as a root.
        check(&token, &workshop.trusting(&["low", name])).unwrap();
    }
    // Without them nothing leads to the root.
    workshop.issue("one", "tsa", "p256", "tsa");
    let token = workshop.stamp("tsa", SIGNATURE, "-sha256 -cert", "");
    let why = refused(&token, &workshop.trusting(&["root"]));
    assert!(
        why.contains("does not chain to a configured authority"),
        "{why}"
    );
    // A root that allows no intermediates, and issuers that must not issue.
    for (issuer, extensions, expected) in [
        ("low", "between", "path length constraint"),
        ("root", "no_ca", "not a CA certificate"),
        (
            "root",
            "not_for_certificates",
            "does not allow signing certificates",
        ),
        ("root", "client", "not a CA certificate"),
        (
            "root",
            "client_ca",
            "its extended key usage does not allow timeStamping",
        ),
    ] {
        workshop.issue(issuer, "bad", "p256", extensions);
        workshop.issue("bad", "tsa", "p256", "tsa");
        let token = workshop.stamp("tsa", SIGNATURE, "-sha256 -cert", "-chain bad.pem");
        let why = refused(&token, &workshop.trusting(&["root", "low"]));
        assert!(why.contains(expected), "{extensions}: {why}");
    }
}

#[test]
fn token_about_something_else_proves_nothing() {
    let workshop = workshop("p256", "p256");
    let roots = workshop.trusting(&["root"]);
    let token = workshop.stamp("tsa", b"another signature", "-sha256 -cert", "");
    assert!(matches!(
        check(&token, &roots),
        Err(TimestampError::OtherImprint)
    ));
    let weak = workshop.stamp("tsa", SIGNATURE, "-sha1 -cert", "");
    assert!(matches!(check(&weak, &roots), Err(TimestampError::Hash(_))));
}

#[test]
fn authority_that_is_not_configured_proves_nothing() {
    let ours = workshop("p256", "p256");
    let theirs = workshop("p256", "p256");
    let token = theirs.stamp("tsa", SIGNATURE, "-sha256 -cert", "");
    // Of the same name, by another key.
    let why = refused(&token, &ours.trusting(&["root"]));
    assert_eq!(why, "the signature of a certificate is invalid");
    theirs.own("stranger", "p256", "root");
    let why = refused(&token, &theirs.trusting(&["stranger"]));
    assert!(why.contains("the signer CN=tsa"), "{why}");
    assert!(matches!(
        check(&token, &Authorities::default()),
        Err(TimestampError::NoAuthorities)
    ));
    assert!(Authorities::default().add_pem(b"nothing").is_err());
    let pem = theirs.read("root.pem");
    let der = theirs.openssl("x509 -in root.pem -outform DER");
    assert!(
        Authorities::default()
            .add_pem(&pem[..pem.len() - 40])
            .is_err()
    );
    let roots = Authorities::from_der([der.as_slice()]).unwrap();
    check(&token, &roots).unwrap();
    assert!(Authorities::from_der([&der[1..]]).is_err());
}

#[test]
fn token_of_the_future_or_out_of_its_certificates_time_proves_nothing() {
    let workshop = workshop("p256", "p256");
    let roots = workshop.trusting(&["root"]);
    let token = workshop.stamp("tsa", SIGNATURE, "-sha256 -cert", "");
    let made = Token::from_der(&token).unwrap().info.gen_time.at();
    let at = |now| verify(&token, SIGNATURE, &roots, now);
    at(made - CLOCK_TOLERANCE).unwrap();
    let early = at(made - CLOCK_TOLERANCE - Duration::from_millis(1));
    assert!(matches!(early, Err(TimestampError::Future(_))));

    let content = content(&token);
    let sign = format!("-signer tsa.pem -inkey tsa.key {CADES}");
    let unchanged = workshop.forge(&content, &sign);
    check(&unchanged, &roots).unwrap();
    for instant in [b"20010101000000Z", b"20991231235959Z"] {
        let token = workshop.forge(&made_at(&content, instant), &sign);
        let late = "2100-01-01T00:00:00.000Z".parse().unwrap();
        let outcome = verify(&token, SIGNATURE, &roots, late);
        let why = outcome.unwrap_err().to_string();
        assert!(why.contains("CN=tsa: it was not valid at"), "{why}");
    }
}

#[test]
fn signer_that_is_not_for_time_stamping_alone_proves_nothing() {
    let workshop = workshop("p256", "p256");
    let content = content(&workshop.stamp("tsa", SIGNATURE, "-sha256 -cert", ""));
    for (extensions, expected) in [
        ("not_critical", "not timeStamping alone"),
        ("two_uses", "not timeStamping alone"),
        ("client", "not timeStamping alone"),
        ("any", "not timeStamping alone"),
        ("enciphers", "does not allow signatures"),
        ("strange", "unknown critical extension"),
    ] {
        workshop.issue("root", "bad", "p256", extensions);
        let sign = format!("-signer bad.pem -inkey bad.key {CADES}");
        let token = workshop.forge(&content, &sign);
        // Configuring it does not make it one either.
        for trusted in [["root"], ["bad"]] {
            let why = refused(&token, &workshop.trusting(&trusted));
            assert!(why.contains(expected), "{extensions}: {why}");
        }
    }
}

#[test]
fn structure_that_is_no_token_proves_nothing() {
    let workshop = workshop("p256", "p256");
    workshop.issue("root", "other", "p256", "tsa");
    workshop.issue("root", "big", "p521", "tsa");
    let roots = workshop.trusting(&["root"]);
    let token = workshop.stamp("tsa", SIGNATURE, "-sha256 -cert", "");
    let content = content(&token);
    let tsa = "-signer tsa.pem -inkey tsa.key";
    let kind = "-econtent_type 1.2.840.113549.1.9.16.1.4";
    for (options, expected) in [
        (format!("{tsa} -cades"), "expected a TSTInfo"),
        (
            format!("{tsa} {kind}"),
            "the signed attributes lack the signing certificate",
        ),
        (
            format!("{tsa} -signer other.pem -inkey other.key {CADES}"),
            "expected exactly one signer",
        ),
        (format!("{tsa} {CADES} -noattr"), "lack the content type"),
        (
            format!("{tsa} {CADES} -nocerts"),
            "neither in the timestamp token",
        ),
        (
            format!("{tsa} {CADES} -md sha1"),
            "hash algorithm 1.3.14.3.2.26",
        ),
        (
            format!("-signer big.pem -inkey big.key {CADES}"),
            "not accepted with this key",
        ),
    ] {
        let options = match options.contains("-noattr") {
            true => options.replace("-cades", ""),
            false => options,
        };
        let why = refused(&workshop.forge(&content, &options), &roots);
        assert!(why.contains(expected), "{options}: {why}");
    }
    // What else is within the rules: a signer named by its key.
    let by_key = workshop.forge(&content, &format!("{tsa} {CADES} -keyid"));
    check(&by_key, &roots).unwrap();

    workshop.openssl("ts -reply -config openssl.cnf -section ts -queryfile query -signer tsa.pem -inkey tsa.key -out response");
    let why = refused(&workshop.read("response"), &roots);
    assert!(why.contains("not a TimeStampResp"), "{why}");
    let mut longer = token.clone();
    longer.push(0);
    assert!(check(&longer, &roots).is_err());
    longer.resize(LONGEST_TOKEN + 1, 0);
    assert!(matches!(
        check(&longer, &roots),
        Err(TimestampError::TooLong)
    ));
}

/// The same token with its parts changed.
fn changed(token: &[u8], change: impl FnOnce(&mut SignedData)) -> Vec<u8> {
    let outer = ContentInfo::from_der(token).unwrap();
    let mut signed: SignedData = outer.content.decode_as().unwrap();
    change(&mut signed);
    let content = Any::encode_from(&signed).unwrap();
    ContentInfo { content, ..outer }.to_der().unwrap()
}

#[test]
fn what_an_honest_authority_would_not_sign_proves_nothing() {
    let workshop = workshop("p256", "p256");
    let roots = workshop.trusting(&["root"]);
    let token = workshop.stamp("tsa", SIGNATURE, "-sha256 -cert", "");
    let content = content(&token);
    let sign = format!("-signer tsa.pem -inkey tsa.key {CADES}");
    let is_refused = |token: &[u8], expected: &str| {
        let why = refused(token, &roots);
        assert!(why.contains(expected), "{expected}: {why}");
    };
    let body: Any = Any::from_der(&content).unwrap();
    let rewritten = |body: Vec<u8>| Any::new(Tag::Sequence, body).unwrap().to_der().unwrap();
    let mut version = body.value().to_vec();
    assert_eq!(version[..3], [2, 1, 1]);
    version[2] = 2;
    is_refused(&workshop.forge(&rewritten(version), &sign), "version 1");
    // An extension 1.2.3.4.5, critical and not.
    for (critical, last) in [(true, 0xff), (false, 0)] {
        let mut extension = vec![0x06, 4, 0x2a, 3, 4, 5];
        if critical {
            extension.extend([0x01, 1, last]);
        }
        extension.extend([0x04, 2, 5, 0]);
        let mut body = body.value().to_vec();
        let length = u8::try_from(extension.len()).unwrap();
        body.extend([0xa1, length + 2, 0x30, length]);
        body.extend(extension);
        let token = workshop.forge(&rewritten(body), &sign);
        match critical {
            true => is_refused(&token, "unknown critical extension"),
            false => drop(check(&token, &roots).unwrap()),
        }
    }
    // More certificates than anybody needs.
    let mut many = Vec::new();
    for n in 0..8 {
        workshop.own(&format!("own{n}"), "p256", "root");
        many.extend(workshop.read(&format!("own{n}.pem")));
    }
    workshop.write("many", &many);
    let crowded = workshop.forge(&content, &format!("{sign} -certfile many"));
    is_refused(&crowded, "too many certificates");
    // The set of hashes is not signed, and has to hold the signer's all the same.
    let other = changed(&token, |signed| {
        let oid = "2.16.840.1.101.3.4.2.3".parse().unwrap();
        let sha512 = AlgorithmIdentifierOwned {
            oid,
            parameters: None,
        };
        signed.digest_algorithms = vec![sha512].try_into().unwrap();
    });
    is_refused(&other, "digest algorithm is not listed");
    // Properly signed as something else than a token's content.
    let other = changed(&token, |signed| {
        let mut signers = signed.signer_infos.0.clone().into_vec();
        let attributes = signers[0].signed_attrs.take().unwrap();
        let mut attributes = attributes.into_vec();
        for attribute in &mut attributes {
            if attribute.oid.to_string() == "1.2.840.113549.1.9.3" {
                let data = "1.2.840.113549.1.7.1".parse::<ObjectIdentifier>().unwrap();
                attribute.values = vec![Any::encode_from(&data).unwrap()].try_into().unwrap();
            }
        }
        let attributes: SetOfVec<_> = attributes.try_into().unwrap();
        workshop.write("attributes", &attributes.to_der().unwrap());
        let signature = workshop.openssl("dgst -sha256 -sign tsa.key attributes");
        signers[0].signature = OctetString::new(signature).unwrap();
        signers[0].signed_attrs = Some(attributes);
        signed.signer_infos = signers.try_into().unwrap();
    });
    is_refused(&other, "does not match the content");
    assert_eq!(changed(&token, |_| ()), token);
}

/// The certificate of somebody else with the same issuer and serial number.
#[test]
fn certificate_that_was_swapped_is_noticed() {
    let workshop = workshop("p256", "p256");
    let roots = workshop.trusting(&["root"]);
    let token = workshop.stamp("tsa", SIGNATURE, "-sha256", "");
    // The same key and names, another certificate: only the signed attribute tells them apart.
    workshop.openssl("x509 -in tsa.pem -noout -serial");
    let serial = workshop.openssl("x509 -in tsa.pem -noout -serial");
    let serial = String::from_utf8(serial).unwrap();
    let serial = serial.trim().trim_start_matches("serial=");
    workshop.openssl(&format!(
        "x509 -req -in tsa.csr -CA root.pem -CAkey root.key -set_serial 0x{serial} -days 3000 -extfile openssl.cnf -extensions tsa -out twin.pem"
    ));
    let why = refused(&token, &workshop.trusting(&["twin"]));
    assert!(why.contains("names a certificate other"), "{why}");
    check(&token, &workshop.trusting(&["tsa"])).unwrap();
    assert!(check(&token, &roots).is_err());
}

#[test]
fn token_with_any_byte_changed_proves_nothing() {
    for (signer, query) in [("p256", "-sha256 -cert"), ("rsa", "-sha384")] {
        let workshop = workshop("p256", signer);
        // A certificate in the token that cannot be read is not looked for where its own is known.
        let known = if query.contains("-cert") {
            "root"
        } else {
            "tsa"
        };
        let trusted = workshop.trusting(&[known]);
        let token = workshop.stamp("tsa", SIGNATURE, query, "");
        check(&token, &trusted).unwrap();
        for place in 0..token.len() {
            for mask in [1 << (place % 8), 0x80, 0xff] {
                let mut changed = token.clone();
                changed[place] ^= mask;
                let outcome = check(&changed, &trusted);
                assert!(outcome.is_err(), "byte {place} ^ {mask:#x}: {outcome:?}");
            }
        }
        for length in 0..token.len() {
            assert!(check(&token[..length], &trusted).is_err(), "{length}");
        }
        for place in 0..64 {
            let mut signature = SIGNATURE.to_vec();
            signature[place] ^= 1;
            assert!(verify(&token, &signature, &trusted, now()).is_err());
        }
    }
}

#[test]
fn a_signer_uses_the_hash_that_it_names() {
    let algorithm = |oid: &str| AlgorithmIdentifierOwned {
        oid: oid.parse().unwrap(),
        parameters: None,
    };
    let (rsa, ecdsa_sha384) = ("1.2.840.113549.1.1.1", "1.2.840.10045.4.3.3");
    for (oid, hash, expected) in [
        (rsa, Hash::Sha512, Some(Scheme::Rsa(Hash::Sha512))),
        (
            ecdsa_sha384,
            Hash::Sha384,
            Some(Scheme::Ecdsa(Hash::Sha384)),
        ),
        (ecdsa_sha384, Hash::Sha256, None),
        // RFC 8419 section 3.1.
        ("1.3.101.112", Hash::Sha512, Some(Scheme::Ed25519)),
        ("1.3.101.112", Hash::Sha256, None),
        // RSASSA-PSS, ECDSA with SHA-1.
        ("1.2.840.113549.1.1.10", Hash::Sha256, None),
        ("1.2.840.10045.4.1", Hash::Sha256, None),
    ] {
        let found = Scheme::of_signer(&algorithm(oid), hash).ok();
        assert_eq!(found, expected, "{oid} {hash}");
    }
}

#[test]
fn case_v2_a_token_without_accuracy_counts_from_the_end_of_its_digits() {
    let workshop = workshop("p256", "p256");
    let roots = workshop.trusting(&["root"]);
    let ends = |section: &str| {
        let reply = format!("-section {section}");
        let token = workshop.stamp("tsa", SIGNATURE, "-sha256 -cert", &reply);
        let timestamp = check(&token, &roots).unwrap();
        let made_at = Token::from_der(&token).unwrap().info.gen_time.at();
        (made_at.millis(), timestamp.at.since(made_at).as_millis())
    };
    let (made_at, later) = ends("ts_seconds");
    assert_eq!((made_at % 1_000, later), (0, 999));
    // OpenSSL leaves out zeros at the end, so that a hundredth may be written with fewer digits.
    let (made_at, later) = ends("ts_hundredths");
    let expected = match made_at % 1_000 {
        0 => 999,
        hundreds if hundreds % 100 == 0 => 99,
        _ => 9,
    };
    assert_eq!(later, expected, "{made_at}");
}

fn read_gen_time(text: &str) -> Option<GenTime> {
    let mut der = vec![0x18, u8::try_from(text.len()).unwrap()];
    der.extend(text.as_bytes());
    GenTime::from_der(&der).ok()
}

/// An instant of the token as DER, read as the token's.
fn gen_time(text: &str) -> Option<Time> {
    read_gen_time(text).map(GenTime::at)
}

#[test]
fn instants_have_one_spelling_and_are_rounded_up() {
    for (text, expected, end) in [
        ("20261122090000Z", "2026-11-22T09:00:00.000Z", 999),
        ("20261122090000.5Z", "2026-11-22T09:00:00.500Z", 99),
        ("20261122090000.51Z", "2026-11-22T09:00:00.510Z", 9),
        ("20261122090000.512Z", "2026-11-22T09:00:00.512Z", 0),
        ("20261122090000.1234Z", "2026-11-22T09:00:00.124Z", 0),
        ("20261231235959.999999999Z", "2027-01-01T00:00:00.000Z", 0),
    ] {
        let read = read_gen_time(text).unwrap();
        assert_eq!(read.at().to_string(), expected, "{text}");
        assert_eq!(read.end().since(read.at()).as_millis(), end, "{text}");
    }
    for text in [
        "",
        "Z",
        "20261122090000",
        "20261122090000.Z",
        "20261122090000.50Z",
        "20261122090000,5Z",
        "20261122090000+0100",
        "202611220900Z",
        "20261322090000Z",
        "20261122090060Z",
        "2026112209000.5Z",
        "20261122090000.1234567891Z",
        "+0261122090000Z",
    ] {
        assert_eq!(gen_time(text), None, "{text}");
    }
}

proptest! {
    /// Nothing panics, whatever comes.
    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Token::from_der(&bytes).is_err());
        let mut sequence = vec![0x30, 0x82, 0, 0];
        sequence[2..4].copy_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
        sequence.extend(&bytes);
        prop_assert!(Token::from_der(&sequence).is_err());
        let _ = ContentInfo::from_der(&bytes).map(|outer| outer.to_der());
    }

    #[test]
    fn instants_of_garbage_are_refused_or_read(text in "[0-9.Z+]{0,26}") {
        let _ = gen_time(&text);
    }
}

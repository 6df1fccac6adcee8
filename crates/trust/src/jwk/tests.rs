use super::*;

fn rsa_of_rfc7638() -> PublicKey {
    // RFC 7638 section 3.1.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP\
             ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY\
             368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0f\
             M4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    PublicKey::rsa(&base64url::decode(n).unwrap(), &[1, 0, 1]).unwrap()
}

#[test]
fn the_thumbprint_of_rfc7638() {
    let kid = rsa_of_rfc7638().kid();
    assert_eq!(kid.as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn the_thumbprint_of_rfc8037() {
    // RFC 8037 appendix A.3.
    let x = base64url::decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
    let kid = PublicKey::ed25519(&x).unwrap().kid();
    assert_eq!(kid.as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

/// RFC 7517 appendix A.1, whose key is P-256.
const EC_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig"}"#;

fn every_kind() -> Vec<(PublicKey, Algorithm)> {
    vec![
        (
            PublicKey::from_jwk_json(EC_JWK.as_bytes()).unwrap(),
            Algorithm::Es256,
        ),
        (
            PublicKey::ec(Curve::P384, &[1; 48], &[2; 48]).unwrap(),
            Algorithm::Es384,
        ),
        (rsa_of_rfc7638(), Algorithm::Ps256),
        (rsa_of_rfc7638(), Algorithm::Rs256),
        (PublicKey::ed25519(&[3; 32]).unwrap(), Algorithm::Ed25519),
    ]
}

#[test]
fn a_jwk_is_read_as_it_is_written() {
    for (key, algorithm) in every_kind() {
        let jwk =
            serde_json::to_vec(&key.to_jwk(algorithm, Usage::Structured, &key.kid())).unwrap();
        assert_eq!(PublicKey::from_jwk_json(&jwk).unwrap(), key);
    }
}

#[test]
fn the_members_of_a_jwk_have_a_stable_order() {
    let (key, algorithm) = every_kind().remove(0);
    let text =
        serde_json::to_string(&key.to_jwk(algorithm, Usage::Structured, &key.kid())).unwrap();
    let head = r#"{"kty":"EC","use":"sig","key_ops":["verify"],"alg":"ES256","kid":""#;
    assert!(text.starts_with(head), "{text}");
    let tail = format!(
        r#""kid":"{}","usage":"structured","crv":"P-256","x":""#,
        key.kid()
    );
    assert!(text.contains(&tail), "{text}");
    for usage in Usage::ALL {
        let jwk = key.to_jwk(algorithm, usage, &key.kid());
        let text = serde_json::to_string(&jwk).unwrap();
        assert!(text.contains(&format!(r#""usage":"{usage}""#)), "{text}");
        assert_eq!(PublicKey::from_jwk_json(text.as_bytes()).unwrap(), key);
    }
    let (ed25519, algorithm) = every_kind().remove(4);
    let text = serde_json::to_string(&ed25519.to_jwk(algorithm, Usage::Structured, &ed25519.kid()))
        .unwrap();
    assert!(
        !text.contains("alg"),
        "libraries disagree on its alg: {text}"
    );
}

#[test]
fn spki_is_read_as_it_is_written_and_in_no_other_encoding() {
    for (key, _) in every_kind() {
        let der = key.to_spki_der();
        assert_eq!(PublicKey::from_spki_der(&der).unwrap(), key);
        let mut longer = der.clone();
        longer.push(0);
        assert!(PublicKey::from_spki_der(&longer).is_err(), "trailing byte");
        assert!(
            PublicKey::from_spki_der(&der[..der.len() - 1]).is_err(),
            "truncated"
        );
    }
}

#[test]
fn spki_as_openssl_writes_it() {
    // `openssl pkey -pubout` of the Ed25519 key of RFC 8410 section 10.1.
    let der = crate::hex::decode(
        "302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1",
    )
    .unwrap();
    assert_eq!(
        PublicKey::from_spki_der(&der).unwrap().spec(),
        KeySpec::Ed25519
    );
    // The same with a NULL parameter, which RFC 8410 section 3 forbids.
    let with_null = crate::hex::decode(
        "302c300706032b65700500032100\
         19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1",
    )
    .unwrap();
    assert!(PublicKey::from_spki_der(&with_null).is_err());
}

#[test]
fn malformed_jwks_are_refused() {
    let kid = PublicKey::from_jwk_json(EC_JWK.as_bytes()).unwrap().kid();
    let with = |from: &str, to: &str| EC_JWK.replace(from, to);
    for (bad, why) in [
        (
            with(r#""kty":"EC""#, r#""kty":"EC","kty":"EC""#),
            "duplicate member",
        ),
        (with(r#""use":"sig""#, r#""use":"enc""#), "for encryption"),
        (with(r#""use":"sig""#, r#""d":"AQ""#), "private half"),
        (with(r#""use":"sig""#, r#""k":"AQ""#), "symmetric member"),
        (with(r#""use":"sig""#, r#""alg":"none""#), "alg none"),
        (
            with(r#""use":"sig""#, r#""alg":"HS256""#),
            "alg of another kind",
        ),
        (
            with(r#""use":"sig""#, r#""alg":"ES384""#),
            "alg of another curve",
        ),
        (
            with(
                r#""use":"sig""#,
                r#""kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k""#,
            ),
            "kid of another key",
        ),
        (
            with(r#""use":"sig""#, r#""key_ops":["sign"]"#),
            "another use",
        ),
        (
            with(r#""use":"sig""#, r#""n":"AQAB""#),
            "members of two kinds",
        ),
        (with("P-256", "P-384"), "wrong curve"),
        (with("P-256", "secp256k1"), "unknown curve"),
        (with("MKBC", "MKB="), "padding"),
        (with("MKBC", ""), "short coordinate"),
        (with(r#""kty":"EC""#, r#""kty":"oct""#), "symmetric"),
        (r#"{"kty":"oct","k":"AQAB"}"#.to_owned(), "symmetric"),
        (
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
            "tiny modulus",
        ),
        ("[]".to_owned(), "not an object"),
        (format!("{EC_JWK} "), ""),
        (format!("{EC_JWK}x"), "trailing bytes"),
    ] {
        let read = PublicKey::from_jwk_json(bad.as_bytes());
        assert_eq!(read.is_err(), !why.is_empty(), "{why}: {bad}");
    }
    let good = with(r#""use":"sig""#, &format!(r#""kid":"{kid}""#));
    assert!(PublicKey::from_jwk_json(good.as_bytes()).is_ok());
}

#[test]
fn rsa_keys_of_unusual_make_are_refused() {
    let n = [0xff; 256];
    assert!(PublicKey::rsa(&n, &[1, 0, 1]).is_ok());
    assert!(PublicKey::rsa(&n, &[3]).is_err(), "small exponent");
    assert!(PublicKey::rsa(&n[..128], &[1, 0, 1]).is_err(), "1024 bits");
    assert!(
        PublicKey::rsa(&[&[0], &n[1..]].concat(), &[1, 0, 1]).is_err(),
        "leading zero"
    );
    assert!(
        PublicKey::rsa(&[&[0x7f], &n[1..]].concat(), &[1, 0, 1]).is_err(),
        "2047 bits"
    );
    assert!(
        PublicKey::rsa(&[&n[1..], &[0xfe]].concat(), &[1, 0, 1]).is_err(),
        "even"
    );
}

#[test]
fn kids_have_one_spelling() {
    let good = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    assert!(good.parse::<Kid>().is_ok());
    for bad in [
        &good[1..],
        &good.replace('_', "/"),
        "",
        &format!("{good}="),
        &good.replace("S4k", "S4l"),
    ] {
        assert!(bad.parse::<Kid>().is_err(), "{bad}");
    }
}

//! RSASSA-PSS, which authorities of the European Union use (case V3).

use super::*;

#[test]
fn case_v3_a_token_signed_with_pss_is_read() {
    let workshop = workshop("rsa", "rsa");
    let roots = workshop.trusting(&["root"]);
    // Before the token is made, which has to fall into their time.
    let how = "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest";
    let names = [("plain", "rsa"), ("alone", "pss"), ("bound", "pss256")];
    for (name, kind) in names {
        workshop.issue_by("root", name, kind, "tsa", how);
    }
    let content = content(&workshop.stamp("tsa", SIGNATURE, "-sha256 -cert", ""));
    let pss = "-keyopt rsa_padding_mode:pss";
    let forge = |name: &str, options: &str| {
        let sign = format!("-signer {name}.pem -inkey {name}.key {CADES} {pss} {options}");
        workshop.forge(&content, &sign)
    };
    for hash in ["sha256", "sha384", "sha512"] {
        let token = forge(
            "tsa",
            &format!("-md {hash} -keyopt rsa_pss_saltlen:digest -keyopt rsa_mgf1_md:{hash}"),
        );
        assert_eq!(check(&token, &roots).unwrap().authority, "CN=root");
    }
    for (options, expected) in [
        ("-md sha256 -keyopt rsa_pss_saltlen:20", "RSASSA-PSS other"),
        (
            "-md sha256 -keyopt rsa_pss_saltlen:32 -keyopt rsa_mgf1_md:sha1",
            "RSASSA-PSS other",
        ),
        (
            "-md sha256 -keyopt rsa_pss_saltlen:32 -keyopt rsa_mgf1_md:sha512",
            "RSASSA-PSS other",
        ),
    ] {
        let why = refused(&forge("tsa", options), &roots);
        assert!(why.contains(expected), "{options}: {why}");
    }
    // A signature with one bit changed.
    let bad = changed(
        &forge("tsa", "-md sha256 -keyopt rsa_pss_saltlen:32"),
        |signed| {
            let mut signers = signed.signer_infos.0.clone().into_vec();
            let mut signature = signers[0].signature.as_bytes().to_vec();
            signature[100] ^= 1;
            signers[0].signature = OctetString::new(signature).unwrap();
            signed.signer_infos = signers.try_into().unwrap();
        },
    );
    assert!(refused(&bad, &roots).contains("is invalid"));
    // Certificates signed so, and keys that are for nothing else, with and without parameters.
    for (name, _) in names {
        let token = forge(name, "-md sha256 -keyopt rsa_pss_saltlen:digest");
        assert_eq!(
            check(&token, &roots).unwrap().authority,
            "CN=root",
            "{name}"
        );
    }
}

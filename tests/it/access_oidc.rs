//! Bearer tokens of OIDC issuers: a real issuer through its rotation and its outage, the command line, and an issuer with
//! a private authority.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use testkit::issuer::{IssuerKey, IssuerServer, key_set};
use trust::Algorithm;

use crate::support::http::{Answer, send};
use crate::support::installation::{Installation, Service, text};
use crate::support::issuer::Issuer;
use crate::support::process::{Said, run, until};

const RING: &str = "integrity";

const ISSUERS: &str = "CHANCERY_ACCESS__OIDC__ISSUER";

/// The setting of one issuer, as the environment gives it.
fn setting(url: &str, algorithm: &str, more: &str) -> String {
    format!(
        r#"[{{ name = "test", issuer = "{url}", audience = "chancery", algorithms = ["{algorithm}"], {more}
        map = [{{ claim = "/groups", value = "signers", roles = ["signer:{RING}"] }},
               {{ claim = "/groups", value = "watchers", roles = ["operator", "auditor"] }}] }}]"#
    )
    .replace('\n', " ")
}

fn sign(service: &Service, token: &str) -> Answer {
    let body = json!({"format": "jws", "payload": "AQID"});
    service.post(&format!("/v1/rings/{RING}/sign"), Some(token), &body)
}

fn get(service: &Service, path: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    send(
        &service.api,
        "GET",
        path,
        &[("authorization", &bearer)],
        b"",
    )
    .expect("an answer")
}

fn usable(service: &Service) -> Option<f64> {
    service.metric("chancery_oidc_issuer_usable{issuer=\"test\"}")
}

#[test]
fn tokens_of_a_real_issuer_count_through_its_rotation_and_its_outage() {
    let installation = Installation::new();
    installation.open_ring(RING);
    installation.open_log();
    let own = installation.grant("integrity-service", &format!("signer:{RING}"));
    let mut issuer = Issuer::new("ES256");
    let times = r#"refresh_floor = "1s", refresh = "2s", keep_keys = "8s", time_limit = "1s", token_type = "at+jwt","#;
    let issuers = setting(&issuer.url, "ES256", times);
    let service = installation.serve_with(&[(ISSUERS, issuers.as_str())]);

    let first = issuer.token("signer-app", "chancery");
    until("the first token signs", || {
        sign(&service, &first).status == 200
    });
    assert_eq!(usable(&service), Some(1.0));
    let watcher = issuer.token("watcher-app", "chancery");
    sign(&service, &watcher).problem(403, "forbidden");
    assert_eq!(get(&service, "/v1/rings", &watcher).status, 200);
    for bad in [
        issuer.token("plain-app", "chancery"),
        issuer.token("signer-app", "another"),
    ] {
        sign(&service, &bad).problem(401, "invalid_credentials");
    }

    // The next key is published beside the one before.
    issuer.rotate("second", true);
    let second = issuer.token("signer-app", "chancery");
    until("a token by the next key signs", || {
        sign(&service, &second).status == 200
    });
    assert_eq!(sign(&service, &first).status, 200);
    // The keys before are gone, and so is what they signed.
    issuer.rotate("third", false);
    let third = issuer.token("signer-app", "chancery");
    until("a token by the third key signs", || {
        sign(&service, &third).status == 200
    });
    for old in [&first, &second] {
        // 503 while the keys are being read.
        until("it is refused", || sign(&service, old).status == 401);
        assert_ne!(sign(&service, old).status, 200);
    }

    // Unknown kids do not have it asked without end.
    let (before, started) = (issuer.asked(), Instant::now());
    let forged = IssuerKey::new("unknown", Algorithm::Es256);
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_secs();
    let claims = json!({"iss": issuer.url, "aud": "chancery", "sub": "a", "iat": now,
        "exp": now + 60, "groups": ["signers"]});
    let header = json!({"alg": "ES256", "kid": "unknown", "typ": "at+jwt"});
    let forged = forged.sign(&header, &claims);
    for _ in 0..200 {
        assert!(matches!(sign(&service, &forged).status, 401 | 503));
    }
    let asked = issuer.asked() - before;
    assert!(asked <= started.elapsed().as_secs() + 2, "{asked}");

    issuer.leave();
    assert_eq!(sign(&service, &third).status, 200, "its keys are known");
    until("its keys are too old", || {
        sign(&service, &third).status == 503
    });
    sign(&service, &third).problem(503, "issuer_unavailable");
    assert_eq!(usable(&service), Some(0.0));
    assert_eq!(sign(&service, &own).status, 200, "others do not notice");
    assert_eq!(get(&service, "/v1/trust", &third).status, 200);
    issuer.return_again();
    until("it is believed again", || {
        sign(&service, &third).status == 200
    });

    let auditor = issuer.token("watcher-app", "chancery");
    let leaves = service.leaves(&auditor, 0);
    for (kind, name) in [
        ("sign", "oidc:test:signer-app"),
        ("refusal", "oidc:test:watcher-app"),
    ] {
        let mut of_kind = leaves.iter().filter(|leaf| leaf["kind"] == kind);
        assert!(
            of_kind.any(|leaf| leaf.to_string().contains(name)),
            "{kind}: {leaves:?}"
        );
    }
    // No token stands anywhere.
    let secret = third.rsplit('.').next().expect("a signature");
    assert!(!leaves.iter().any(|leaf| leaf.to_string().contains(secret)));
}

fn check(installation: &Installation, issuers: &str, input: &[u8], file: &str) -> Said {
    let mut command = installation.command();
    command.args(["--output", "json", "access", "check-token", file]);
    run(command.env(ISSUERS, issuers), input)
}

fn doctor(installation: &Installation, issuers: &str) -> Value {
    let mut command = installation.command();
    command
        .args(["--output", "json", "doctor"])
        .env(ISSUERS, issuers);
    let told = run(&mut command, b"").json();
    let rows = told["checks"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["what"] == "OIDC issuer");
    row.unwrap_or_else(|| panic!("{rows:?}")).clone()
}

fn claims(url: &str) -> Value {
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_secs();
    json!({"iss": url, "aud": "chancery", "sub": "payments", "iat": now, "exp": now + 600,
        "groups": ["signers"]})
}

#[test]
fn check_token_says_whom_a_token_stands_for_and_doctor_asks_the_issuer() {
    let installation = Installation::new();
    let key = IssuerKey::new("one", Algorithm::Es256);
    let server = IssuerServer::new(&[&key]);
    let issuers = setting(&server.url(), "ES256", "");
    let token = key.token(&claims(&server.url()));

    let said = check(&installation, &issuers, token.as_bytes(), "-");
    let found = said.json();
    assert_eq!(found["principal"], "oidc:test:payments");
    assert_eq!(found["roles"], json!(["signer:integrity"]));
    assert_eq!((&found["issuer"], said.code), (&json!("test"), Some(0)));
    let file = installation.file("bearer");
    fs::write(&file, format!("Bearer {token}\n")).expect("written");
    let said = check(&installation, &issuers, b"", text(&file));
    assert_eq!(said.json()["principal"], "oidc:test:payments");

    let mut other = claims(&server.url());
    other["aud"] = json!("other");
    let other = key.token(&other);
    let said = check(&installation, &issuers, other.as_bytes(), "-");
    assert_eq!(said.code, Some(3), "{said:?}");
    let all = String::from_utf8_lossy(&said.stdout).into_owned() + &said.stderr;
    assert!(
        all.contains("another audience") && !all.contains(&other),
        "{all}"
    );

    let own = installation.grant("olga", "operator");
    let said = check(&installation, &issuers, own.as_bytes(), "-");
    assert_eq!(said.json()["principal"], "olga");
    let said = check(&installation, &issuers, b"nothing", "-");
    assert_eq!(said.code, Some(3), "{said:?}");
    assert_eq!(check(&installation, &issuers, b"a b", "-").code, Some(2));

    let row = doctor(&installation, &issuers);
    assert_eq!(
        (&row["good"], &row["found"]),
        (&json!(true), &json!("test: 1 key(s)"))
    );
    let rsa = setting(&server.url(), "RS256", "");
    let row = doctor(&installation, &rsa);
    assert_eq!(row["good"], false);
    assert!(
        row["found"].to_string().contains("no key that can be used"),
        "{row}"
    );
    server.set_away(true);
    let row = doctor(&installation, &issuers);
    assert_eq!(row["good"], false);
    assert!(row["found"].to_string().contains("is unavailable"), "{row}");
    let said = check(&installation, &issuers, token.as_bytes(), "-");
    assert_eq!(said.code, Some(4), "{said:?}");
}

fn authority(directory: &Path, name: &str) -> (CertifiedIssuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let made = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let made = made.expect("an authority");
    let file = directory.join(name);
    fs::write(&file, made.pem()).expect("written");
    (made, text(&file).to_owned())
}

/// Answers each request with the same page, over TLS.
fn serve_tls(authority: &CertifiedIssuer<'static, KeyPair>, page: String) -> String {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a configuration");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut tls = StreamOwned::new(connection, stream);
            let mut head = [0; 4_096];
            if !matches!(tls.read(&mut head), Ok(1..)) {
                continue;
            }
            let length = page.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            let _ = tls.write_all(head.as_bytes());
            let _ = tls.write_all(page.as_bytes());
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    url
}

/// As the API server of Kubernetes is reached.
#[test]
fn threat_somebody_answers_in_the_place_of_an_issuer() {
    let installation = Installation::new();
    let (ours, file) = authority(&installation.file("."), "ca.pem");
    let (_, another) = authority(&installation.file("."), "another.pem");
    let key = IssuerKey::new("one", Algorithm::Es256);
    let url = serve_tls(&ours, key_set(&[&key]));
    let with = |more: &str| {
        let keys = format!("jwks_uri = \"{url}/openid/v1/jwks\", {more}");
        setting(
            "https://kubernetes.default.svc.cluster.local",
            "ES256",
            &keys,
        )
    };
    let row = doctor(&installation, &with(&format!("ca_file = \"{file}\",")));
    assert_eq!(
        (&row["good"], &row["found"]),
        (&json!(true), &json!("test: 1 key(s)"))
    );
    for more in [format!("ca_file = \"{another}\","), String::new()] {
        let row = doctor(&installation, &with(&more));
        assert_eq!(row["good"], false, "{row}");
        assert!(row["found"].to_string().contains("is unavailable"), "{row}");
    }
}

//! TLS with client certificates: a name in the certificate is a principal, if somebody mapped it.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::http::{Answer, connect, receive, request};
use crate::support::installation::{Installation, Service, free_port, text};
use crate::support::process::{run, until};

const BODY: &[u8] = br#"{"format":"jws","payload":"AQID"}"#;

/// A certificate and its key, in PEM.
struct Identity {
    certificate: String,
    key: String,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, names: &[&str]) -> Identity {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(names).expect("params");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

/// One request over TLS; an error is a handshake or connection that failed.
fn send(
    service: &Service,
    authority: &str,
    client: Option<&Identity>,
    headers: &[(&str, &str)],
) -> std::io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM"))
        .expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificate =
                CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
            builder
                .with_client_auth_cert(vec![certificate], key)
                .expect("an identity")
        }
    };
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut stream = StreamOwned::new(connection, connect(&service.api)?);
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    stream.write_all(&request(
        "localhost",
        "POST",
        "/v1/rings/integrity/sign",
        &all,
        BODY,
    ))?;
    receive(&mut stream)
}

/// Case C5: the command line trusts the authority that it is given, and shows a certificate.
fn command_line(
    installation: &Installation,
    service: &Service,
    ours: &CertifiedIssuer<'static, KeyPair>,
    theirs: &CertifiedIssuer<'static, KeyPair>,
    client: &Identity,
) {
    let file = |name: &str, content: &str| -> PathBuf {
        let path = installation.file(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let port = service.api.rsplit_once(':').expect("a port").1;
    let url = format!("https://localhost:{port}");
    let (right, wrong) = (
        file("ca.pem", &ours.pem()),
        file("wrong.pem", &theirs.pem()),
    );
    let certificate = file("client.pem", &client.certificate);
    let key = file("client.key", &client.key);
    let record = file("record", "a record");
    let out = installation.file("record.jws");
    let sign = |ca: &PathBuf| {
        installation.try_chancery([
            "sign",
            text(&record),
            "--ring",
            "integrity",
            "--url",
            &url,
            "--ca-file",
            text(ca),
            "--client-certificate",
            text(&certificate),
            "--client-key",
            text(&key),
            "--out",
            text(&out),
        ])
    };
    let said = sign(&wrong);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.text().contains("certificate"), "{said:?}");
    let said = sign(&right);
    assert_eq!(said.code, Some(0), "{said:?}");
    let verify = |rest: &[&str]| {
        let words = ["verify", text(&out), "--url", &url];
        installation.try_chancery(words.into_iter().chain(rest.iter().copied()))
    };
    assert_eq!(verify(&["--ca-file", text(&right)]).code, Some(0));
    assert_eq!(verify(&[]).code, Some(4));
    // What would change nothing, and what is no certificate, is a usage error.
    let plain = [
        "verify",
        text(&out),
        "--url",
        "http://localhost:1",
        "--ca-file",
        text(&right),
    ];
    assert_eq!(installation.try_chancery(plain).code, Some(2));
    assert_eq!(verify(&["--ca-file", text(&record)]).code, Some(2));
    assert_eq!(verify(&["--client-key", text(&key)]).code, Some(2));
}

#[test]
fn case_c5_a_name_in_a_client_certificate_is_a_principal_on_the_command_line_too() {
    let installation = Installation::new();
    let kid = installation.open_ring("integrity");
    let (ours, theirs) = (authority(), authority());
    let file = |name: &str, content: &str| -> PathBuf {
        let path = installation.file(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let server = issue(&ours, &["localhost"]);
    let (certificate, key) = (
        file("server.pem", &server.certificate),
        file("server.key", &server.key),
    );
    let client_ca = file("clients.pem", &ours.pem());
    let san = "integrity.internal.test";
    let grant = [
        "access",
        "grant",
        "integrity-service",
        "--role",
        "signer:integrity",
        "--san",
        san,
    ];
    installation.chancery(grant);
    let token = installation.grant("program", "signer:integrity");
    let service = installation.serve_with(&[
        ("CHANCERY_HTTP__TLS__CERTIFICATE", text(&certificate)),
        ("CHANCERY_HTTP__TLS__KEY", text(&key)),
        ("CHANCERY_HTTP__TLS__CLIENT_CA", text(&client_ca)),
    ]);
    let send = |client: Option<&Identity>, headers: &[(&str, &str)]| {
        send(&service, &ours.pem(), client, headers)
    };

    let known = issue(&ours, &[san]);
    assert_eq!(send(Some(&known), &[]).expect("an answer").ok()["kid"], kid);
    let several = issue(&ours, &["other.internal.test", san]);
    assert_eq!(
        send(Some(&several), &[]).expect("an answer").ok()["kid"],
        kid
    );
    command_line(&installation, &service, &ours, &theirs, &known);
    // A name that nobody mapped, one that only contains a mapped one, and no certificate at all.
    for name in [
        "other.internal.test",
        "x.integrity.internal.test",
        "integrity.internal.test.evil.test",
    ] {
        let stranger = issue(&ours, &[name]);
        send(Some(&stranger), &[])
            .expect("an answer")
            .problem(401, "invalid_credentials");
    }
    send(None, &[])
        .expect("an answer")
        .problem(401, "unauthenticated");
    // Signed by an authority that is not ours: the handshake fails.
    let forged = issue(&theirs, &[san]);
    assert!(send(Some(&forged), &[]).is_err());
    // An access token alone does it; a bad one is not made good by a certificate.
    let bearer = format!("Bearer {token}");
    assert_eq!(
        send(None, &[("authorization", &bearer)])
            .expect("an answer")
            .ok()["kid"],
        kid
    );
    let answer = send(Some(&known), &[("authorization", "Bearer nobody")]).expect("an answer");
    answer.problem(401, "invalid_credentials");
    // Withdrawn.
    installation.chancery(["access", "withdraw", "--san", san]);
    crate::support::process::until("the credential has ended", || {
        send(Some(&known), &[]).expect("an answer").status == 401
    });
    // No plain HTTP on this port.
    let plain = crate::support::http::send(&service.api, "GET", "/.well-known/jwks.json", &[], b"");
    assert!(plain.is_err() || plain.is_ok_and(|answer| answer.status >= 400));
}

#[test]
fn the_operations_listener_is_asked_from_anywhere_over_tls_with_a_token() {
    let installation = Installation::new();
    let Identity { certificate, key } = issue(&authority(), &["operations.example"]);
    let file = |name: &str, content: &str| -> PathBuf {
        let path = installation.file(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let (certificate, key) = (file("ops.pem", &certificate), file("ops.key", &key));
    let token = file("ops.token", "an-access-token-of-operations\n");
    let other = file("other.token", "an-access-token-of-another\n");
    let operations = free_port();
    let anywhere = operations.replace("127.0.0.1", "0.0.0.0");
    let listen = ("CHANCERY_HTTP__OPERATIONS_LISTEN", anywhere.as_str());
    let guarded = [
        listen,
        (
            "CHANCERY_HTTP__OPERATIONS_TLS__CERTIFICATE",
            text(&certificate),
        ),
        ("CHANCERY_HTTP__OPERATIONS_TLS__KEY", text(&key)),
        ("CHANCERY_HTTP__OPERATIONS_TOKEN_FILE", text(&token)),
    ];
    let said = |words: &[&str], environment: &[(&str, &str)]| {
        let mut command = installation.command();
        command.args(words).envs(environment.iter().copied());
        run(&mut command, b"")
    };
    let open = said(&["serve"], &[listen]);
    assert_eq!(open.code, Some(2), "{open:?}");
    assert_eq!(said(&["health"], &guarded).code, Some(4), "nobody is there");

    let _service = installation.start(&guarded);
    until("it is ready", || {
        said(&["health", "--ready"], &guarded).code == Some(0)
    });
    assert_eq!(said(&["health"], &guarded).code, Some(0));
    let mut with_another = guarded;
    with_another[3].1 = text(&other);
    let refused = said(&["health", "--ready"], &with_another);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    let plain = crate::support::http::send(&operations, "GET", "/metrics", &[], b"");
    assert!(plain.is_err(), "{plain:?}");
}

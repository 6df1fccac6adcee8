//! The listeners over real sockets: time limits, shutdown, TLS.

mod alerts;
mod compromise;
mod custodians;
mod oidc;
mod permissions;
mod rotations;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::signals::{Hangup, Stop};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::listener::error::Error;
use crate::listener::server::serve;
use crate::listener::tls::TlsFiles;
use crate::settings::{Settings, Tls};
use crate::testing::{self, Fixture, SIGNER};

const GOOD: &str = r#"{"format":"jws","payload":"AQID"}"#;

struct Running {
    fixture: Fixture,
    api: SocketAddr,
    operations: SocketAddr,
    stop: oneshot::Sender<Stop>,
    served: JoinHandle<Result<(), Error>>,
}

fn free_address() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

async fn run(settings: Settings) -> Running {
    let settings = Settings {
        listen: free_address(),
        operations_listen: free_address(),
        shutdown_grace: Duration::from_secs(5),
        ..settings
    };
    let (api, operations) = (settings.listen, settings.operations_listen);
    let fixture = Fixture::with(settings.clone()).await;
    let (stop, stopped) = oneshot::channel();
    let app = fixture.state.services.clone();
    let served = tokio::spawn(serve(
        app,
        settings,
        async { stopped.await.unwrap_or(Stop::Interrupt) },
        Hangup::new(),
    ));
    for address in [api, operations] {
        while TcpStream::connect(address).await.is_err() {
            assert!(!served.is_finished(), "it stopped by itself");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Running {
        fixture,
        api,
        operations,
        stop,
        served,
    }
}

/// Sends bytes and reads until the server closes or `until` is seen.
async fn exchange(address: SocketAddr, bytes: &str, until: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut part = [0; 4_096];
    while !text.contains(until) {
        let read = stream.read(&mut part).await.unwrap();
        if read == 0 {
            break;
        }
        text.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    text
}

fn sign_request(length: usize) -> String {
    format!(
        "POST /v1/rings/records/sign HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SIGNER}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_and_one_that_breaks_off_signs_nothing() {
    let mut settings = testing::settings();
    settings.request_timeout = Duration::from_millis(300);
    let running = run(settings).await;
    let slow = format!("{}{{\"format\"", sign_request(100));
    let text = exchange(running.api, &slow, "body_timeout").await;
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");

    let mut stream = TcpStream::connect(running.api).await.unwrap();
    stream.write_all(slow.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 400 "),
        "{text}"
    );
    assert!(running.fixture.leaves("sign").await.is_empty());
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_unread() {
    let running = run(testing::settings()).await;
    let text = exchange(running.api, &sign_request(1 << 30), "body_too_large").await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
}

/// What a server says to a request whose body comes after its head was read.
async fn body_later(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // As long as it is likely to be a packet of its own; whatever it is, the answer has to come.
    tokio::time::sleep(Duration::from_millis(20)).await;
    stream.write_all(body).await.unwrap();
    let mut part = [0; 4_096];
    let read = stream.read(&mut part).await.unwrap();
    String::from_utf8_lossy(&part[..read]).to_lowercase()
}

#[tokio::test]
async fn case_g4_an_early_answer_arrives_and_says_whether_the_connection_goes_on() {
    let running = run(testing::settings()).await;
    let refused = [
        ("/nothing", " 404 "),
        ("/v1/rings/records/sign", " 401 "),
        ("/v1/keys/history", " 405 "),
    ];
    for (path, status) in refused {
        for (size, ends) in [(10, false), (60_000, false), (1 << 20, true)] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                 Content-Length: {size}\r\n\r\n"
            );
            let text = body_later(running.api, &head, &vec![b' '; size]).await;
            assert!(text.contains(status), "{path} {size} {text}");
            let closes = text.contains("connection: close");
            assert_eq!(closes, ends, "{path} {size} {text}");
        }
    }
    // 413 is answered from the declared length.
    let head = sign_request(1 << 20);
    let text = body_later(running.api, &head, &vec![b' '; 1 << 20]).await;
    assert!(
        text.contains(" 413 ") && text.contains("connection: close"),
        "{text}"
    );
    // Whoever waits to be asked for a body is not asked for one that is not wanted.
    let head = sign_request(1 << 20).replace("Host: x", "Host: x\r\nExpect: 100-continue");
    let text = exchange(running.api, &head, "body_too_large").await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
}

#[tokio::test]
async fn a_body_of_no_declared_length_is_cut_at_the_limit() {
    let running = run(testing::settings()).await;
    let head = sign_request(0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let chunk = format!("800\r\n{}\r\n", "A".repeat(0x800));
    let text = exchange(
        running.api,
        &format!("{head}{}", chunk.repeat(3)),
        "body_too_large",
    )
    .await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    let split = GOOD.split_at(9);
    let whole = [split.0, split.1, ""]
        .map(|part| format!("{:x}\r\n{part}\r\n", part.len()))
        .concat();
    let text = exchange(running.api, &format!("{head}{whole}"), "log_index").await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[tokio::test]
async fn head_has_the_length_and_not_the_body() {
    let running = run(testing::settings()).await;
    let request = "HEAD /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let text = exchange(running.api, request, "never").await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "{text}");
    assert!(text.contains("content-length: "), "{text}");
    let metrics = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let text = exchange(running.operations, metrics, "never").await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight() {
    let mut settings = testing::settings();
    settings.request_timeout = Duration::from_secs(5);
    let running = run(settings).await;
    running.fixture.token.hold();
    let request = format!("{}{GOOD}", sign_request(GOOD.len()));
    let api = running.api;
    let asked = tokio::spawn(async move { exchange(api, &request, "log_index").await });
    running.fixture.until_asked(1).await;
    running.stop.send(Stop::Interrupt).unwrap();
    while TcpStream::connect(running.api).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!running.served.is_finished(), "a request is in flight");
    running.fixture.token.release();
    let text = asked.await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    running.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn case_a5_a_service_that_is_to_stop_says_so_before_it_closes_the_door() {
    let mut settings = testing::settings();
    settings.drain_delay = Duration::from_millis(500);
    let running = run(settings).await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let ready = ask("/health/ready");
    let text = exchange(running.operations, &ready, "never").await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    running.stop.send(Stop::Terminate).unwrap();
    let mut text = String::new();
    while !text.starts_with("HTTP/1.1 503 ") {
        text = exchange(running.operations, &ready, "never").await;
    }
    assert!(text.contains(r#""stopping":true"#), "{text}");
    let live = exchange(running.operations, &ask("/health/live"), "never").await;
    assert!(live.starts_with("HTTP/1.1 200 "), "{live}");
    // Whoever comes while others learn of it is served, and told not to use the connection again.
    let rings = "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n";
    let text = exchange(running.api, rings, "never").await;
    assert!(text.to_lowercase().contains("connection: close"), "{text}");
    running.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings {
        listen: taken.local_addr().unwrap(),
        operations_listen: free_address(),
        ..testing::settings()
    };
    let fixture = Fixture::with(settings.clone()).await;
    let served = serve(
        fixture.state.services.clone(),
        settings,
        std::future::pending(),
        Hangup::new(),
    );
    let error = served.await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Listen {
                listener: "API",
                ..
            }
        ),
        "{error}"
    );
}

/// A certificate and its key, in PEM.
struct Identity(String);

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn identity(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Identity(format!("{}{}", certificate.pem(), key.serialize_pem()))
}

/// One request over TLS, blocking; the answer, or why there was none.
fn request_over_tls(
    address: SocketAddr,
    root: &str,
    identity: Option<&Identity>,
    request: &str,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity(pem)) => {
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    };
    let name = address.ip().into();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = std::net::TcpStream::connect(address)?;
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn tls(directory: &Path, server: &str, clients: &str) -> Tls {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let both = write("server.pem", server);
    Tls {
        certificate: both.clone(),
        key: both,
        client_ca: Some(write("clients.pem", clients)),
    }
}

#[tokio::test]
async fn a_certificates_name_signs_a_stranger_reads_and_a_foreign_certificate_does_not_connect() {
    let directory = tempfile::tempdir().unwrap();
    let (servers, clients, foreign) = (authority(), authority(), authority());
    let Identity(server) = identity(&servers, "127.0.0.1");
    let mut settings = testing::settings();
    settings.tls = Some(tls(directory.path(), &server, &clients.pem()));
    let running = run(settings).await;
    let (api, root) = (running.api, servers.pem());
    let sign = format!(
        "POST /v1/rings/records/sign HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    );
    let jwks = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    tokio::task::spawn_blocking(move || {
        let ask = |identity: Option<&Identity>, request: &str| {
            request_over_tls(api, &root, identity, request)
        };
        let known = identity(&clients, "signer.example");
        let text = ask(Some(&known), &sign).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        let other = identity(&clients, "other.example");
        let text = ask(Some(&other), &sign).unwrap();
        assert!(text.contains("invalid_credentials"), "{text}");
        assert!(ask(None, jwks).unwrap().starts_with("HTTP/1.1 200 "));
        let text = ask(None, &sign).unwrap();
        assert!(text.contains("unauthenticated"), "{text}");
        let forged = identity(&foreign, "signer.example");
        assert!(ask(Some(&forged), &sign).is_err());
    })
    .await
    .unwrap();
}

#[test]
fn case_a10_a_new_certificate_is_used_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (servers, clients) = (authority(), authority());
    let Identity(first) = identity(&servers, "127.0.0.1");
    let settings = tls(directory.path(), &first, &clients.pem());
    let (files, expires) = TlsFiles::open(settings.clone()).unwrap();
    let until = |year: i32| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &servers).unwrap();
        format!("{}{}", certificate.pem(), key.serialize_pem())
    };
    std::fs::write(&settings.certificate, until(2040)).unwrap();
    let new = files.reload().unwrap();
    assert_eq!(new.to_string(), "2040-01-01T00:00:00.000Z");
    assert_ne!(new, expires);
    // Half a file, as somebody writes it; the one before stays in use.
    std::fs::write(&settings.certificate, &first[..first.len() / 2]).unwrap();
    assert!(files.reload().is_err());
}

#[tokio::test]
async fn case_a10_new_connections_get_the_new_certificate_after_a_hang_up() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second, clients) = (authority(), authority(), authority());
    let Identity(old) = identity(&first, "127.0.0.1");
    let files = tls(directory.path(), &old, &clients.pem());
    let mut settings = testing::settings();
    settings.tls = Some(files.clone());
    let running = run(settings).await;
    let jwks = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let ask = async |root: String| {
        let api = running.api;
        let asked = move || request_over_tls(api, &root, None, jwks).is_ok();
        tokio::task::spawn_blocking(asked).await.unwrap()
    };
    assert!(ask(first.pem()).await && !ask(second.pem()).await);
    let Identity(new) = identity(&second, "127.0.0.1");
    std::fs::write(&files.certificate, new).unwrap();
    let pid = std::process::id().to_string();
    let mut hang_up = std::process::Command::new("kill");
    assert!(hang_up.args(["-HUP", &pid]).status().unwrap().success());
    while !ask(second.pem()).await {}
    assert!(!ask(first.pem()).await);
}

#[test]
fn tls_files_that_do_not_fit_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let settings = tls(directory.path(), "nothing", "nothing");
    let Err(error) = TlsFiles::open(settings.clone()) else {
        panic!("accepted");
    };
    assert!(error.to_string().contains("clients.pem"), "{error}");
    let missing = Tls {
        certificate: directory.path().join("none.pem"),
        client_ca: None,
        ..settings
    };
    assert!(matches!(TlsFiles::open(missing), Err(Error::Read { .. })));
}

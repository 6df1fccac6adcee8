//! How much at once, how fast and for how long: an answer that says so, and never a hang.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use crate::support::http::{connect, receive, send};
use crate::support::installation::{Installation, Service};
use crate::support::process::until;

/// A request whose body does not come.
fn unfinished(service: &Service, access_token: Option<&str>) -> TcpStream {
    let mut stream = connect(&service.api).expect("the service listens");
    let bearer = access_token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let head = format!(
        "POST /v1/verify HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\
         content-type: application/json\r\ncontent-length: 15\r\n\r\n{{\"jws\"",
        bearer.unwrap_or_default()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream
}

fn ask(service: &Service, access_token: Option<&str>) -> crate::support::http::Answer {
    let bearer = format!("Bearer {}", access_token.unwrap_or_default());
    let header = [("authorization", bearer.as_str())];
    let headers = if access_token.is_some() {
        &header[..]
    } else {
        &[]
    };
    send(&service.api, "GET", "/v1/audit", headers, b"").expect("the service answers")
}

#[test]
fn limits_answer_at_once_and_in_so_many_words() {
    let installation = Installation::new();
    let auditor = installation.grant("auditor", "auditor");
    let jwks = "/.well-known/jwks.json";

    // The rate is the caller's own.
    let service = installation.serve_with(&[("CHANCERY_HTTP__REQUESTS_PER_SECOND", "3")]);
    let answers: Vec<_> = (0..30).map(|_| service.get("/v1/keys/nobody")).collect();
    let limited: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert!(
        limited.len() > 10 && limited.len() < 30,
        "{} of 30",
        limited.len()
    );
    limited.iter().for_each(|answer| {
        answer.problem(429, "rate_limited");
        let wait: u32 = answer
            .header("retry-after")
            .and_then(|s| s.parse().ok())
            .expect("seconds");
        assert!((1..=2).contains(&wait), "{wait}");
    });
    assert_eq!(
        ask(&service, Some(&auditor)).status,
        200,
        "another caller pays nothing for it"
    );
    for _ in 0..30 {
        // Nothing is published here yet; what matters is that nobody is told to wait.
        assert_eq!(service.get(jwks).status, 404, "publication has no rate");
    }
    drop(service);

    // So many at once; places are given back. Strangers have half as many, of their own.
    let service = installation.serve_with(&[("CHANCERY_HTTP__MAX_IN_FLIGHT", "4")]);
    let mut held = vec![unfinished(&service, None), unfinished(&service, None)];
    // Seen from the other listener: a question on this one would take a place itself.
    let in_flight = || service.metric("chancery_http_requests_in_flight");
    until("the two are in flight", || in_flight() == Some(2.0));
    ask(&service, None).problem(503, "overloaded");
    assert_eq!(
        ask(&service, Some(&auditor)).status,
        200,
        "slow strangers keep nobody out who has credentials"
    );
    assert_eq!(
        service.get(jwks).status,
        404,
        "publication takes no place, and nothing is published here"
    );
    let mut finished = held.pop().expect("one");
    finished.write_all(b":\"a.b.c\"}").expect("sent");
    receive(&mut finished)
        .expect("an answer")
        .problem(400, "bad_member");
    assert_eq!(ask(&service, None).status, 401);
    // The other client goes away.
    drop(held);
    until("the place of the one that left is free", || {
        in_flight() == Some(0.0)
    });
    let two = [unfinished(&service, None), unfinished(&service, None)];
    until("two again", || in_flight() == Some(2.0));
    ask(&service, None).problem(503, "overloaded");
    drop(two);
    until("both places are free", || in_flight() == Some(0.0));
    assert_eq!(ask(&service, None).status, 401);
    // And those with credentials theirs.
    let held: Vec<_> = (0..4)
        .map(|_| unfinished(&service, Some(&auditor)))
        .collect();
    until("the four are in flight", || in_flight() == Some(4.0));
    ask(&service, Some(&auditor)).problem(503, "overloaded");
    drop(held);
    until("all places are free", || in_flight() == Some(0.0));
    assert_eq!(ask(&service, Some(&auditor)).status, 200);
    drop(service);

    // And for so long.
    let service = installation.serve_with(&[("CHANCERY_HTTP__REQUEST_TIMEOUT_MS", "400")]);
    let mut slow = unfinished(&service, None);
    receive(&mut slow)
        .expect("an answer")
        .problem(408, "body_timeout");
    assert_eq!(ask(&service, Some(&auditor)).status, 200);
}

/// From another address of this machine than everybody else.
fn silent(service: &Service) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let to: SocketAddr = service.api.parse().expect("an address");
    let from: SocketAddr = "127.0.0.2:0".parse().expect("an address");
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &from).expect("an address of this machine");
    connect(&socket, &to).expect("the service listens");
    TcpStream::from(socket)
}

#[test]
fn case_a3_silent_connections_keep_nobody_out() {
    let installation = Installation::new();
    let mut serve = Command::new("sh");
    serve.args(["-c", "ulimit -n 600; exec \"$@\"", "sh"]);
    let chancery = installation.command();
    serve.arg(chancery.get_program()).args(chancery.get_args());
    let service = installation.serve_as(serve.arg("serve"));
    let jwks = "/.well-known/jwks.json";
    let open = || service.metric("chancery_connections{listener=\"API\"}");
    let refused =
        || service.metric("chancery_connections_refused_total{listener=\"API\",why=\"address\"}");
    // As many as it has descriptors.
    let held: Vec<_> = (0..620).map(|_| silent(&service)).collect();
    until("what is too much of one address is closed", || {
        refused().is_some_and(|refused| refused >= 500.0)
    });
    // Nothing is published here; what matters is that there is an answer.
    assert_eq!(service.get(jwks).status, 404);
    let live = send(&service.operations, "GET", "/health/live", &[], b"");
    assert_eq!(live.expect("an answer").status, 200);
    until("silent connections are ended", || open() == Some(0.0));
    drop(held);
    assert_eq!(service.get(jwks).status, 404);
}

//! Traces at a collector: what a span says, whose trace it is, and that nobody who signs notices the collector.

use std::fs;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use crate::support::collector::{Collector, Mood, text as attribute};
use crate::support::http::send;
use crate::support::installation::{Installation, Service, base64url};
use crate::support::process::{signal, until};
use crate::support::receiver::configure;

const RING: &str = "integrity";
const PAYLOAD: &[u8] = b"what is signed is nobody's business";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// How long the collector may take, and how many spans may wait meanwhile.
const TIMEOUT: Duration = Duration::from_secs(10);
const QUEUE: u32 = 512;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of(span: &Span, name: &str) -> Option<String> {
    attribute(&span.attributes, name)
}

fn number(span: &Span, name: &str) -> f64 {
    let found = of(span, name).unwrap_or_else(|| panic!("{name}: {span:?}"));
    found.parse().expect("a number")
}

fn is_of_a_stranger(span: &Span, status: &str) -> bool {
    of(span, "chancery.caller").as_deref() == Some("stranger")
        && of(span, "http.response.status_code").as_deref() == Some(status)
}

/// With everything that a caller may say beside it, where there is a trace.
fn sign(service: &Service, signer: &str, traceparent: Option<&str>) -> String {
    let body = json!({"format": "jws", "payload": base64url(PAYLOAD)}).to_string();
    let bearer = format!("Bearer {signer}");
    let mut headers = vec![
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    if let Some(traceparent) = traceparent {
        headers.extend([
            ("idempotency-key", "the-callers-own-key"),
            ("x-request-id", "the-callers-own-session"),
            ("traceparent", traceparent),
            ("tracestate", "congo=t61rcWkgMzE"),
            ("baggage", "user=olga"),
        ]);
    }
    let path = format!("/v1/rings/{RING}/sign");
    let answer = send(&service.api, "POST", &path, &headers, body.as_bytes());
    let answer = answer.expect("an answer").ok();
    answer["jws"].as_str().expect("a JWS").to_owned()
}

/// One installation for all of it: what a collector that is well sees, and then what becomes of the service when it is not.
#[test]
fn a_signature_is_traced_from_the_request_to_the_commit_and_waits_for_no_collector() {
    let installation = Installation::new();
    let kid = installation.open_ring(RING);
    let collector = Collector::start();
    configure(
        &installation,
        &format!(
            "[telemetry.traces]\nendpoint = \"{}\"\nallow_private = true\nratio = 1.0\nqueue = {QUEUE}\nevery = \"100ms\"\ntimeout = \"{}s\"\n",
            collector.endpoint,
            TIMEOUT.as_secs()
        ),
    );
    let signer = installation.grant("integrity-service", &format!("signer:{RING}"));
    let asset = [
        "asset",
        "register",
        "external/partner",
        "--key-type",
        "api_key",
    ];
    let old = [
        "--storage",
        "wrapped",
        "--rotated-at",
        "2020-01-01T00:00:00.000Z",
    ];
    installation.chancery([&asset[..], &old].concat());
    let made = installation
        .chancery(["rotation", "schedule", "api_key"])
        .json();
    let rotation = made[0]["id"].as_str().expect("an id").to_owned();
    let mut service = installation.serve();

    // The caller does not want it exported. That is not the caller's to say.
    let jws = sign(&service, &signer, Some(&format!("00-{TRACE}-{CALLER}-00")));
    let signature = jws.rsplit_once('.').expect("a JWS").1.to_owned();
    let in_trace = || {
        let spans = collector.spans().into_iter();
        let spans = spans.filter(|span| hex(&span.trace_id) == TRACE);
        spans.collect::<Vec<Span>>()
    };
    until("the whole trace arrives", || in_trace().len() == 4);
    let spans = in_trace();
    let named = |name: &str| {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no {name}: {spans:?}"))
    };
    let request = named("POST /v1/rings/{ring}/sign");
    assert_eq!(hex(&request.parent_span_id), CALLER);
    assert_eq!(request.kind, 2, "a server's");
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/rings/{ring}/sign"),
        ("http.response.status_code", "200"),
        ("chancery.caller", "known"),
    ] {
        assert_eq!(of(request, name).as_deref(), Some(value), "{name}");
    }
    assert!(number(request, "chancery.admission_ms") >= 0.0);
    assert_eq!(of(request, "chancery.request.id"), None, "it is not ours");
    let made = named("sign");
    assert_eq!(made.parent_span_id, request.span_id);
    assert_eq!(of(made, "chancery.ring").as_deref(), Some(RING));
    assert_eq!(of(made, "chancery.kid"), Some(kid));
    let (token, commit) = (named("token"), named("commit"));
    for part in [token, commit] {
        assert_eq!(part.parent_span_id, made.span_id);
        assert!(request.start_time_unix_nano <= part.start_time_unix_nano);
        assert!(part.end_time_unix_nano <= request.end_time_unix_nano);
    }
    assert!(token.end_time_unix_nano <= commit.start_time_unix_nano);
    let millis = |span: &Span| (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e6;
    assert!(number(token, "chancery.queue_ms") <= millis(token));
    assert!(number(commit, "chancery.transaction_ms") <= millis(commit));
    assert_eq!(of(commit, "chancery.group").as_deref(), Some("1"));
    for (name, value) in [
        ("service.name", "chancery"),
        ("deployment.environment.name", "test"),
    ] {
        assert_eq!(collector.resource(name).as_deref(), Some(value), "{name}");
    }

    // A stranger's trace does not go on here.
    let stranger = format!("00-{}-{CALLER}-01", "a".repeat(32));
    let headers = [("traceparent", stranger.as_str())];
    let path = "/openapi.json";
    assert_eq!(
        send(&service.api, "GET", path, &headers, b"")
            .expect("an answer")
            .status,
        200
    );
    let public = || {
        let spans = collector.spans().into_iter();
        let mut theirs = spans.filter(|span| is_of_a_stranger(span, "200"));
        theirs.next()
    };
    until("the stranger's request arrives", || public().is_some());
    let public = public().expect("a span");
    assert_ne!(hex(&public.trace_id), "a".repeat(32));
    assert_eq!(public.parent_span_id, Vec::<u8>::new());
    assert_eq!(of(&public, "chancery.caller").as_deref(), Some("stranger"));
    assert!(of(&public, "chancery.request.id").is_some());
    // Nor is anything said of a path that is none.
    assert_eq!(service.get("/what-a-caller-made-up").status, 404);
    let refused = [("authorization", "Bearer what-is-no-token")];
    let refused = send(&service.api, "GET", "/v1/rings", &refused, b"");
    assert_eq!(refused.expect("an answer").status, 401);
    let called = |status: &str| {
        let mut spans = collector.spans().into_iter();
        spans.find(|span| of(span, "http.response.status_code").as_deref() == Some(status))
    };
    until("both arrive", || {
        called("404").is_some() && called("401").is_some()
    });
    let (nowhere, refused) = (
        called("404").expect("a span"),
        called("401").expect("a span"),
    );
    assert_eq!(nowhere.name, "GET");
    assert_eq!(of(&nowhere, "http.route"), None);
    assert_eq!(refused.name, "GET /v1/rings");
    threat_strangers_fill_the_queue(&service, &collector);

    // The steps of a rotation say which.
    let administrator = installation.grant("operations", "administrator");
    until("the administrator is known", || {
        let body = json!({ "event_id": rotation });
        let asked = service.post("/v1/key-rotation/execute", Some(&administrator), &body);
        asked.status == 200
    });
    until("a step of the rotation arrives", || {
        collector.spans().iter().any(|span| {
            span.name == "rotation step"
                && of(span, "chancery.rotation").as_ref() == Some(&rotation)
        })
    });

    threat_spans_tell_a_secret(&installation, &collector, &signer, &signature);
    case_a_collector_that_is_ill(&collector, &mut service, &signer, &administrator);
}

/// Ten traces of theirs in a second, however many requests they send.
fn threat_strangers_fill_the_queue(service: &Service, collector: &Collector) {
    let path = "/openapi.json";
    let count = || {
        let spans = collector.spans().into_iter();
        spans.filter(|span| is_of_a_stranger(span, "200")).count()
    };
    let before = count();
    let began = Instant::now();
    for _ in 0..200 {
        service.get(path);
    }
    until("some of them arrive", || count() > before);
    let most = 10 * (2 + usize::try_from(began.elapsed().as_secs()).expect("a number"));
    assert!(count() - before <= most, "{} of 200", count() - before);
}

fn threat_spans_tell_a_secret(
    installation: &Installation,
    collector: &Collector,
    signer: &str,
    signature: &str,
) {
    assert!(collector.has_seen(b"chancery.admission_ms"));
    let pin = fs::read_to_string(installation.token_file("pin")).expect("the PIN");
    for secret in [
        pin.trim(),
        signer,
        signature,
        &base64url(PAYLOAD),
        std::str::from_utf8(PAYLOAD).expect("text"),
        "the-callers-own-key",
        "the-callers-own-session",
        "what-a-caller-made-up",
        "what-is-no-token",
        "61rcWkgMzE",
        "olga",
        "external/partner",
    ] {
        assert!(!collector.has_seen(secret.as_bytes()), "{secret}");
    }
}

/// It refuses, lies without end, is silent: signatures go on as before, what does not fit is dropped, and the service ends in time.
fn case_a_collector_that_is_ill(
    collector: &Collector,
    service: &mut Service,
    signer: &str,
    administrator: &str,
) {
    let median = || {
        let times = (0..15).map(|_| {
            let began = Instant::now();
            sign(service, signer, None);
            began.elapsed()
        });
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let spans = |outcome: &str| {
        let name = format!("chancery_spans_total{{outcome=\"{outcome}\"}}");
        service.metric(&name).expect("a count")
    };
    let neither_sent_nor_failed = || {
        let made = service.metric("chancery_spans_made_total");
        made.expect("a count") - spans("exported") - spans("failed")
    };
    for mood in [Mood::Refuses, Mood::Endless, Mood::Silent] {
        let (failed, exported) = (spans("failed"), spans("exported"));
        collector.is(mood);
        let ill = median();
        assert!(ill < TIMEOUT / 2, "{mood:?}: {ill:?}");
        match mood {
            Mood::Endless => until("it says yes", || spans("exported") > exported),
            Mood::Refuses => until("it is known that it does not", || spans("failed") > failed),
            _ => {}
        }
    }
    // More than may wait and is under way, while it is silent.
    let bearer = format!("Bearer {administrator}");
    let headers = [("authorization", bearer.as_str())];
    until("there are more spans than may wait", || {
        for _ in 0..100 {
            let answer = send(&service.api, "GET", "/v1/rings", &headers, b"");
            assert_eq!(answer.expect("an answer").status, 200);
        }
        neither_sent_nor_failed() > f64::from(2 * QUEUE + 100)
    });
    // It is well again, and gets what happens from now on, after what waited.
    let (failed, exported) = (spans("failed"), spans("exported"));
    collector.is(Mood::Takes);
    until("what was under way is lost", || spans("failed") > failed);
    until("spans are exported again", || spans("exported") > exported);
    // The queue may be full yet when the first of them is asked for.
    let last = "b".repeat(32);
    until("the last ones arrive", || {
        sign(service, signer, Some(&format!("00-{last}-{CALLER}-00")));
        let spans = collector.spans();
        let of_it = spans.iter().filter(|span| hex(&span.trace_id) == last);
        of_it.count() >= 4
    });
    let dropped = neither_sent_nor_failed();
    assert!(dropped > 10.0, "nothing was dropped: {dropped}");
    collector.is(Mood::Silent);
    sign(service, signer, None);
    let began = Instant::now();
    signal("TERM", service.child.id());
    service.child.wait().expect("it ends");
    let took = began.elapsed();
    // Less than the collector may take.
    assert!(took < TIMEOUT - Duration::from_secs(2), "{took:?}");
}

//! The span of a request for a collector of traces, by the semantic conventions of OpenTelemetry for HTTP. It says which route was
//! called and what came of it; nothing of the path, the headers or the body.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, Method, StatusCode};
use base::trace::{self, TARGET, TraceParent};
use tracing::Span;
use tracing::field::Empty;

use crate::middleware::auth::Caller;
use crate::services::Services;

const TRACEPARENT: &str = "traceparent";

/// Begins with the request; nothing is done in it before [`admitted`] has told whose trace it belongs to. An id that the caller gave is
/// not in it.
pub fn of(method: &Method, route: Option<&str>, our_id: Option<&str>) -> Span {
    let method = known(method);
    let (space, path) = route.map_or(("", ""), |route| (" ", route));
    tracing::trace_span!(
        target: TARGET,
        "request",
        otel.name = format_args!("{method}{space}{path}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        chancery.request.id = our_id,
        chancery.admission_ms = Empty,
        chancery.caller = Empty,
    )
}

/// Once it is known who calls: none of a request that was not let in. The trace of a known caller goes on here; strangers begin a new
/// one, whatever they say.
pub fn admitted(
    span: &Span,
    services: &Services,
    caller: Option<&Caller>,
    (headers, began): (&HeaderMap, Instant),
) {
    if span.is_disabled() {
        return;
    }
    span.record("chancery.admission_ms", millis(began.elapsed()));
    let is_known = caller.is_some_and(|caller| caller.name().is_some());
    let word = match caller {
        None => trace::REFUSED,
        Some(_) if is_known => trace::KNOWN,
        Some(_) => trace::STRANGER,
    };
    span.record(trace::CALLER, word);
    let mut told = headers.get_all(TRACEPARENT).iter();
    // Two of them are none.
    if let (true, Some(one), None) = (is_known, told.next(), told.next())
        && let Some(parent) = one.to_str().ok().and_then(TraceParent::read)
    {
        (services.set_parent)(span, parent);
    }
}

/// Once it is known what came of it.
pub fn answered(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// A caller may make up any other.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => method.as_str(),
        _ => "_OTHER",
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_a_caller_made_up_is_in_no_span() {
        let made_up = Method::from_bytes(b"PASSWORD").unwrap();
        assert_eq!((known(&Method::POST), known(&made_up)), ("POST", "_OTHER"));
    }
}

//! Requests and connections.

use super::Values::{Named, Of};

/// Upper bounds in seconds: fine around a signature, coarse towards the time limits.
pub const LATENCY_BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0,
];

const ROUTE: super::Values = Named("a route of the API, or `other`");
const CODE: super::Values = Named("a code of problem documents");
const ISSUER: super::Values = Named("an OIDC issuer, as the configuration calls it");
const LISTENER: super::Values = Of(&["API", "operations"]);

super::table! {
    HTTP_METRICS: "Requests and callers"
    Histogram(LATENCY_BUCKETS) REQUEST_SECONDS = "chancery_http_request_duration_seconds" { route: ROUTE }
        "Time from receiving a request's head to sending the response's head.";
    Counter REQUESTS = "chancery_http_requests_total" { route: ROUTE, status: Of(&["1xx", "2xx", "3xx", "4xx", "5xx"]) }
        "Requests answered, by route and class of status.";
    Counter PROBLEMS = "chancery_http_problems_total" { code: CODE }
        "Requests answered with a problem document.";
    Counter REFUSALS = "chancery_refusals_total" { code: CODE }
        "Requests refused for missing credentials or permissions.";
    Counter REFUSALS_NOT_WRITTEN = "chancery_refusals_not_written_total" {}
        "Refusals that could not be written to the audit trail.";
    Gauge IN_FLIGHT = "chancery_http_requests_in_flight" {} "Requests in flight.";
    Counter JWKS_REQUESTS = "chancery_jwks_requests_total" { answer: Of(&["full", "not_modified"]) }
        "JWKS requests, by response.";
    Gauge CONNECTIONS = "chancery_connections" { listener: LISTENER } "Open connections.";
    Counter CONNECTIONS_REFUSED = "chancery_connections_refused_total"
        { listener: LISTENER, why: Of(&["all", "address", "descriptors"]) }
        "Connections closed as soon as they were accepted, by the limit reached.";
    Counter OIDC_REFRESHES = "chancery_oidc_key_reads_total" { issuer: ISSUER, outcome: Of(&["read", "failed"]) }
        "Attempts to read the keys of an OIDC issuer.";
    Gauge OIDC_KEYS_AGE = "chancery_oidc_keys_age_seconds" { issuer: ISSUER }
        "Time since the keys of the OIDC issuer were read.";
    Gauge OIDC_USABLE = "chancery_oidc_issuer_usable" { issuer: ISSUER }
        "1 while the keys of the OIDC issuer are recent enough that its tokens are accepted, else 0.";
    Gauge TLS_CERTIFICATE_EXPIRES = "chancery_tls_certificate_expires_timestamp_seconds" {}
        "When the certificate of the API listener expires, Unix time; there with TLS.";
}

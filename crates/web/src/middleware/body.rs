//! Strict bodies: JSON by content type, in time, within the limit, with every member known.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::middleware::context::Context;
use crate::middleware::json_object::Object;
use crate::problem::{Code, Problem};

/// Reads the body as `T` with [`trust::json::parse_strict`].
pub async fn strict<T: DeserializeOwned>(
    context: &Context,
    request: Request,
) -> Result<T, Problem> {
    strict_within(context, request, usize::MAX).await
}

/// The same of a body that has a limit of its own.
pub async fn strict_within<T: DeserializeOwned>(
    context: &Context,
    request: Request,
    limit: usize,
) -> Result<T, Problem> {
    require_json(request.headers())?;
    let collected = collect(request.into_body(), context.body_limit_bytes.min(limit));
    let bytes = tokio::time::timeout_at(context.deadline.into(), collected)
        .await
        .map_err(|_| {
            Problem::new(
                Code::BodyTimeout,
                format!(
                    "the body was not received within {} ms",
                    context.time_limit.as_millis()
                ),
            )
        })??;
    let Object(read) = trust::json::parse_strict(&bytes)?;
    Ok(read)
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("nothing");
    let (essence, parameters) = given.split_once(';').unwrap_or((given, ""));
    let charset = parameters.trim().trim_matches('"');
    let is_utf8 = charset.is_empty()
        || charset.eq_ignore_ascii_case("charset=utf-8")
        || charset.eq_ignore_ascii_case("charset=\"utf-8");
    if essence.trim().eq_ignore_ascii_case("application/json") && is_utf8 {
        return Ok(());
    }
    Err(Problem::new(
        Code::UnsupportedMediaType,
        format!("expected application/json, got {given}"),
    )
    .about("Content-Type"))
}

/// One frame, the usual case, is passed on without a copy.
async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Code::BodyTooLarge,
            format!("the body exceeds the limit of {limit} bytes"),
        )
    };
    // A declared length over the limit is refused before a byte of it is read.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut more = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| {
            tracing::debug!(%error, "body incomplete");
            Problem::new(
                Code::BodyIncomplete,
                "the connection was closed before the body was complete",
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + more.len() + data.len() > limit {
            return Err(too_large());
        }
        if first.is_empty() && more.is_empty() {
            first = data;
        } else {
            more.extend_from_slice(&std::mem::take(&mut first));
            more.extend_from_slice(&data);
        }
    }
    Ok(if more.is_empty() { first } else { more.into() })
}

/// Base64url without padding, as every byte string in a body is spelled.
pub fn base64url(member: &str, text: &str) -> Result<Vec<u8>, Problem> {
    trust::base64url::decode(text)
        .ok_or_else(|| Problem::member(member, "expected base64url without padding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only parsed")]
        a: u64,
    }

    fn refused(text: &str) -> Problem {
        trust::json::parse_strict::<Sample>(text.as_bytes())
            .map_err(Problem::from)
            .expect_err(text)
    }

    #[test]
    fn what_json_collapses_silently_is_refused() {
        for (text, code) in [
            (r#"{"a":1,"a":2}"#, Code::BadJson),
            (r#"{"a":1.0}"#, Code::BadJson),
            (r#"{"a":9007199254740993}"#, Code::BadJson),
            (r#"{"a":1}x"#, Code::BadJson),
            (r#"{"a":1"#, Code::BadJson),
            (r#"{"a":1,"b":2}"#, Code::BadMember),
            (r#"{"a":"1"}"#, Code::BadMember),
            (r#"{}"#, Code::BadMember),
        ] {
            assert_eq!(refused(text).code, code, "{text}");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_and_one_at_it_is_not() {
        assert_eq!(
            collect(Body::from(vec![0; 9]), 8).await.unwrap_err().code,
            Code::BodyTooLarge
        );
        assert_eq!(collect(Body::from(vec![0; 8]), 8).await.unwrap().len(), 8);
    }

    #[test]
    fn only_json_in_utf8_is_read() {
        for (value, good) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("application/jsonx", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(require_json(&headers).is_ok(), good, "{value}");
        }
        assert!(require_json(&HeaderMap::new()).is_err());
    }

    #[test]
    fn base64url_has_one_spelling() {
        assert_eq!(base64url("payload", "AQI").unwrap(), [1, 2]);
        for bad in ["AQI=", "AQJ", "A+I", "A I"] {
            assert!(base64url("payload", bad).is_err(), "{bad}");
        }
    }
}

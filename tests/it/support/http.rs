//! Answers as the tests expect them.

use std::io::{Read, Result};
use std::ops::Deref;

use serde_json::Value;
use testkit::http;
pub use testkit::http::{connect, request};

#[derive(Debug)]
pub struct Answer(http::Answer);

impl Deref for Answer {
    type Target = http::Answer;

    fn deref(&self) -> &http::Answer {
        &self.0
    }
}

impl Answer {
    /// The body, or the end of the test.
    pub fn json(&self) -> Value {
        self.0.json().unwrap_or_else(|e| panic!("{e:#}"))
    }

    pub fn into_body(self) -> Vec<u8> {
        self.0.body
    }

    /// A problem document (RFC 9457) with this status and stable code, or the end of the test.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{text}"
        );
        assert_eq!(self.header("cache-control"), Some("no-store"), "{text}");
        let document = self.json();
        assert_eq!(document["code"], code, "{text}");
        assert_eq!(
            document["type"],
            format!("urn:chancery:problem:{code}"),
            "{text}"
        );
        assert_eq!(document["status"], status, "{text}");
        assert!(document["title"].is_string(), "{text}");
        assert_eq!(
            document["request_id"].as_str(),
            self.header("x-request-id"),
            "{text}"
        );
        assert_eq!(
            self.header("retry-after").is_some(),
            status == 429 || status == 503,
            "{text}"
        );
        document
    }

    /// The body of a 200, or the end of the test.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

/// Sends one request; an error is a connection that failed, never a status.
pub fn send(
    authority: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    http::send(authority, method, path, headers, body).map(Answer)
}

/// Reads one answer, up to the end of the connection.
pub fn receive(stream: &mut impl Read) -> Result<Answer> {
    http::receive(stream).map(Answer)
}

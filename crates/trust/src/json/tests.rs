use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outer {
    inner: Inner,
    list: Vec<i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    name: String,
}

fn refusal(text: &str) -> String {
    parse_strict::<Outer>(text.as_bytes())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_plain_document_is_read() {
    let outer: Outer = parse_strict(br#" {"inner": {"name": "a"}, "list": [1, -2]} "#).unwrap();
    assert_eq!(
        outer,
        Outer {
            inner: Inner { name: "a".into() },
            list: vec![1, -2]
        }
    );
}

#[test]
fn every_refusal_names_the_member() {
    for (text, expected) in [
        (
            r#"{"inner":{"name":"a","name":"b"},"list":[]}"#,
            "inner.name: duplicate member",
        ),
        (
            r#"{"inner":{"name":"a","\u006eame":"b"},"list":[]}"#,
            "inner.name: duplicate member",
        ),
        (
            r#"{"inner":{"name":"a"},"list":[1,1.0]}"#,
            "list[1]: only integers",
        ),
        (
            r#"{"inner":{"name":"a"},"list":[1e3]}"#,
            "list[0]: only integers",
        ),
        (
            r#"{"inner":{"name":"a"},"list":[-0]}"#,
            "list[0]: only integers",
        ),
        (
            r#"{"inner":{"name":"a"},"list":[9007199254740992]}"#,
            "list[0]: integer exceeds",
        ),
        (
            r#"{"inner":{"name":"a"},"list":[99999999999999999999999]}"#,
            "list[0]: integer exceeds",
        ),
        (
            r#"{"inner":{"name":"a","nick":"b"},"list":[]}"#,
            "inner.nick: unknown field `nick`",
        ),
        (
            r#"{"inner":{"name":1},"list":[]}"#,
            "inner.name: invalid type",
        ),
        (r#"{"inner":{},"list":[]}"#, "inner: missing field `name`"),
        (
            r#"{"inner":{"name":"a"},"list":[]} x"#,
            "bytes after the document",
        ),
        (r#"{"inner":{"name":"a"},"list":[01]}"#, "leading zero"),
        (r#"{"inner":{"name":"a"},"list":[1,]}"#, "list[1]: not JSON"),
        (
            r#"{"inner":{"name":"\ud800"},"list":[]}"#,
            "inner.name: unexpected end of hex escape",
        ),
        (
            r#"{"inner":{"na\ud800me":"a"},"list":[]}"#,
            "inner: not JSON: malformed member name",
        ),
        (r#"{"inner":{"name":"a\"#, "unterminated string"),
        ("", "unexpected end"),
        ("{", "expected a member name"),
    ] {
        let message = refusal(text);
        assert!(
            message.contains(expected),
            "{text}\n  said {message}\n  not  {expected}"
        );
    }
}

#[test]
fn depth_is_limited() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse_strict::<serde_json::Value>(deep(MAX_DEPTH).as_bytes()).is_ok());
    let error = parse_strict::<serde_json::Value>(deep(MAX_DEPTH + 1).as_bytes()).unwrap_err();
    assert!(matches!(error, JsonError::Depth { .. }), "{error}");
}

#[test]
fn canonical_form_is_demanded_of_signed_documents() {
    let canonical_bytes = br#"{"inner":{"name":"a"},"list":[1]}"#;
    assert!(require_canonical::<Outer>(canonical_bytes).is_ok());
    for other in [
        &br#"{"list":[1],"inner":{"name":"a"}}"#[..],
        br#"{"inner": {"name":"a"},"list":[1]}"#,
        br#"{"inner":{"name":"\u0061"},"list":[1]}"#,
        br#"{"inner":["a"],"list":[1]}"#,
        b"{\"inner\":{\"name\":\"a\"},\"list\":[1]}\n",
    ] {
        let error = require_canonical::<Outer>(other).unwrap_err();
        assert!(matches!(error, JsonError::NotCanonical { .. }), "{error}");
    }
}

#[test]
fn what_cannot_be_read_back_is_not_written() {
    assert!(canonical(&1.5f64).is_err());
    assert!(canonical(&(1u64 << 53)).is_err());
    assert_eq!(canonical(&((1u64 << 53) - 1)).unwrap(), b"9007199254740991");
}

/// RFC 8785 section 3.2.3: members are sorted by UTF-16 code units.
#[test]
fn members_are_sorted_by_utf16_code_units() {
    let value = serde_json::json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
    let text = String::from_utf8(canonical(&value).unwrap()).unwrap();
    let expected = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}";
    assert_eq!(text, expected);
}

//! The description as others read it: what the generated one cannot say is added here, so that a
//! caller can tell a good request from a refused one by the schema alone.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// Base64url without padding, and without bits that no byte has (RFC 4648 section 3.5).
const BASE64URL: &str =
    "^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$";

/// 32, 48 or 64 bytes in base64url.
const DIGEST: &str =
    "^(?:[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]|[A-Za-z0-9_-]{64}|[A-Za-z0-9_-]{85}[AQgw])$";

/// Either spelling of `middleware/idempotency.rs`.
const IDEMPOTENCY_KEY: &str = "^(?:[A-Za-z0-9_.:-]{1,128}|\"[A-Za-z0-9_.:-]{1,128}\")$";

/// The largest integer of 64 bits.
const MOST: u64 = i64::MAX as u64;

/// One form of a request that has several: the members that it must and may have, no other.
struct Form {
    name: &'static str,
    description: &'static str,
    /// The format that says which form it is.
    format: Option<&'static str>,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const SIGN: [Form; 5] = [
    Form {
        name: "SignJws",
        description: "A JWS in compact serialisation.",
        format: Some("jws"),
        required: &["payload"],
        optional: &["alg"],
    },
    Form {
        name: "SignJwsDetached",
        description: "A JWS in compact serialisation without its payload.",
        format: Some("jws-detached"),
        required: &["payload"],
        optional: &["b64", "alg"],
    },
    Form {
        name: "SignDsse",
        description: "A DSSE envelope.",
        format: Some("dsse"),
        required: &["payload", "payload_type"],
        optional: &["alg"],
    },
    Form {
        name: "SignRawMessage",
        description: "The signature alone, over a message.",
        format: Some("raw"),
        required: &["payload"],
        optional: &["encoding", "alg"],
    },
    Form {
        name: "SignRawDigest",
        description: "The signature alone, over a digest by the hash of the ring's algorithm.",
        format: Some("raw"),
        required: &["digest", "hash"],
        optional: &["encoding", "alg"],
    },
];

const VERIFY: [Form; 4] = [
    Form {
        name: "VerifyJws",
        description: "A JWS; a detached one with its payload.",
        format: None,
        required: &["jws"],
        optional: &["payload", "timestamp", "at"],
    },
    Form {
        name: "VerifyDsse",
        description: "A DSSE envelope.",
        format: None,
        required: &["envelope"],
        optional: &["kid", "timestamp", "at"],
    },
    Form {
        name: "VerifyRawMessage",
        description: "A bare signature over a message.",
        format: None,
        required: &["signature", "kid", "payload"],
        optional: &["encoding", "timestamp", "at"],
    },
    Form {
        name: "VerifyRawDigest",
        description: "A bare signature over a digest.",
        format: None,
        required: &["signature", "kid", "digest"],
        optional: &["encoding", "timestamp", "at"],
    },
];

/// The description with its rules; `batch_limit` is the configured one.
pub fn published(description: &OpenApi, batch_limit: usize) -> Value {
    let mut description = serde_json::to_value(description).unwrap_or_default();
    paths(&mut description["paths"]);
    let components = &mut description["components"];
    components["headers"] = json!({
        "RequestId": {
            "description": "The request's identity in the service log: the caller's own `X-Request-Id` if it is 1 to 64 letters, digits, '-', '_' or '.', otherwise a new one.",
            "required": true,
            "schema": { "type": "string", "pattern": "^[A-Za-z0-9_.-]+$" },
        },
        "RetryAfter": {
            "description": "Seconds after which a retry may succeed (RFC 9110).",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "ETag": {
            "description": "For `If-None-Match`.",
            "schema": { "type": "string" },
        },
    });
    let schemas = &mut components["schemas"];
    members(schemas);
    for request in ["SignBatchRequest", "VerifyBatchRequest"] {
        let items = &mut schemas[request]["properties"]["items"];
        items["minItems"] = json!(1);
        items["maxItems"] = json!(batch_limit);
    }
    let covered = schemas["VerifyRequest"].clone();
    split(schemas, "SignRequest", &SIGN);
    split(schemas, "VerifyRequest", &VERIFY);
    // The same without what is asked of a verdict alone.
    let of_signature = VERIFY.iter().map(|form| {
        let mut alternative = alternative(&covered, form);
        if let Some(properties) = alternative["properties"].as_object_mut() {
            properties.retain(|name, _| name != "timestamp" && name != "at");
        }
        alternative
    });
    let of_signature: Vec<Value> = of_signature.collect();
    let signature = &mut schemas["EvidenceRequest"]["properties"]["signature"];
    let told = signature["description"].take();
    *signature = json!({ "description": told, "oneOf": of_signature });
    description
}

/// OpenAPI has no parameter `{*name}` for the rest of a path. Parameters of one name have one rule.
fn paths(paths: &mut Value) {
    let Some(paths) = paths.as_object_mut() else {
        return;
    };
    let named = std::mem::take(paths);
    *paths = named
        .into_iter()
        .map(|(path, item)| (path.replace("{*", "{"), item))
        .collect();
    let operations = paths
        .values_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut);
    for operation in operations {
        let id = operation["operationId"].as_str().unwrap_or_default();
        let id = id.to_owned();
        let parameters = operation.get_mut("parameters");
        for parameter in parameters
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let name = parameter["name"].as_str().unwrap_or_default();
            if let Some(schema) = of_parameter(&id, name) {
                parameter["schema"] = schema;
            }
        }
        responses(&mut operation["responses"]);
    }
}

fn of_parameter(operation: &str, name: &str) -> Option<Value> {
    let integer = |minimum: u64, maximum: u64| json!({ "type": "integer", "format": "int64", "minimum": minimum, "maximum": maximum });
    Some(match (operation, name) {
        (_, "kid") => {
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$" })
        }
        (_, "ceremony") => json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
        (_, "index" | "from" | "old" | "new") => integer(0, MOST),
        ("history", "limit") => json!({ "type": "integer", "enum": [10, 100, 1000] }),
        ("ceremonies", "limit") => integer(1, 100),
        (_, "limit") => integer(1, 1000),
        (_, "wait") => integer(0, 60),
        (_, "receipt") => json!({ "type": "string", "enum": ["wait"] }),
        (_, "Idempotency-Key") => json!({ "type": "string", "pattern": IDEMPOTENCY_KEY }),
        (_, "If-None-Match") => json!({ "type": "string" }),
        _ => return None,
    })
}

/// Each answer has its headers, and what the service refuses of any route is said at each.
fn responses(responses: &mut Value) {
    let Some(responses) = responses.as_object_mut() else {
        return;
    };
    let refused = |description: &str| {
        json!({
            "description": description,
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        })
    };
    for (status, description) in [
        ("429", "The caller's rate is exceeded; see Retry-After"),
        ("503", "Overloaded, or unavailable for now; see Retry-After"),
        ("default", "Refused; see `code`"),
    ] {
        let known = responses.contains_key(status);
        if !known {
            responses.insert(status.to_owned(), refused(description));
        }
    }
    for (status, response) in responses.iter_mut() {
        let mut headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/RequestId" } });
        if matches!(status.as_str(), "429" | "503" | "5XX") {
            headers["Retry-After"] = json!({ "$ref": "#/components/headers/RetryAfter" });
        }
        if status == "304" {
            headers["ETag"] = json!({ "$ref": "#/components/headers/ETag" });
        }
        response["headers"] = headers;
        // OpenAPI requires one.
        if response["description"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
        {
            response["description"] = json!("The answer");
        }
    }
}

/// Rules of members of requests.
fn members(schemas: &mut Value) {
    for (schema, member, rule, value) in [
        ("SignRequest", "payload", "pattern", json!(BASE64URL)),
        ("SignRequest", "digest", "pattern", json!(DIGEST)),
        ("SignRequest", "payload_type", "minLength", json!(1)),
        ("VerifyRequest", "payload", "pattern", json!(BASE64URL)),
        ("VerifyRequest", "digest", "pattern", json!(BASE64URL)),
        ("VerifyRequest", "signature", "pattern", json!(BASE64URL)),
        ("VerifyRequest", "timestamp", "pattern", json!(BASE64URL)),
        ("VerifyRequest", "jws", "type", json!(["string", "object"])),
        ("EvidenceRequest", "salt", "pattern", json!(BASE64URL)),
    ] {
        schemas[schema]["properties"][member][rule] = value;
    }
}

/// Replaces a request that has several forms by the choice of one of them.
fn split(schemas: &mut Value, request: &str, forms: &[Form]) {
    let whole = schemas[request].take();
    for form in forms {
        schemas[form.name] = alternative(&whole, form);
    }
    let choice = forms
        .iter()
        .map(|form| json!({ "$ref": format!("#/components/schemas/{}", form.name) }));
    let choice: Vec<Value> = choice.collect();
    schemas[request] = json!({ "description": whole["description"], "oneOf": choice });
}

fn alternative(whole: &Value, form: &Form) -> Value {
    let mut properties = Map::new();
    if let Some(format) = form.format {
        properties.insert(
            "format".to_owned(),
            json!({ "type": "string", "enum": [format] }),
        );
    }
    for member in form.required {
        let schema = without_null(whole["properties"][*member].clone());
        properties.insert((*member).to_owned(), schema);
    }
    for member in form.optional {
        let schema = whole["properties"][*member].clone();
        properties.insert((*member).to_owned(), schema);
    }
    let format = form.format.map(|_| "format");
    let required: Vec<&str> = format
        .into_iter()
        .chain(form.required.iter().copied())
        .collect();
    json!({
        "type": "object",
        "description": form.description,
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    })
}

/// What must be there is not null.
fn without_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema["type"].as_array_mut() {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            schema["type"] = only.clone();
        }
    }
    match schema["oneOf"].as_array() {
        None => without_empty(schema),
        Some(choice) => choice
            .iter()
            .find(|one| one["type"] != "null")
            .cloned()
            .unwrap_or_default(),
    }
}

/// Asking a value for a member that it has not got leaves null there.
fn without_empty(mut schema: Value) -> Value {
    if let Some(members) = schema.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::openapi;

    #[test]
    fn case_g3_every_member_of_a_request_is_in_one_of_its_forms() {
        let generated = serde_json::to_value(openapi::routes().split_for_parts().1).unwrap();
        for (request, forms) in [("SignRequest", &SIGN[..]), ("VerifyRequest", &VERIFY[..])] {
            let properties = &generated["components"]["schemas"][request]["properties"];
            let members: Vec<_> = properties.as_object().unwrap().keys().collect();
            for form in forms {
                for member in form.required.iter().chain(form.optional) {
                    assert!(
                        members.iter().any(|name| name == member),
                        "{request} {member}"
                    );
                }
            }
            for member in members {
                let named = |form: &Form| {
                    let mut of_form = form.required.iter().chain(form.optional);
                    of_form.any(|name| name == member)
                };
                assert!(
                    member == "format" || forms.iter().any(named),
                    "{request}: {member} is in no form"
                );
            }
        }
    }

    #[test]
    fn case_g3_limits_patterns_and_headers_are_in_the_description() {
        let text = openapi::describe();
        let schemas = &text["components"]["schemas"];
        assert_eq!(schemas["SignRequest"]["oneOf"].as_array().unwrap().len(), 5);
        let jws = &schemas["SignJws"];
        assert_eq!(jws["required"], json!(["format", "payload"]));
        assert_eq!(jws["properties"]["payload"]["type"], "string");
        assert_eq!(jws["properties"]["payload"]["pattern"], BASE64URL);
        assert_eq!(jws["additionalProperties"], false);
        let items = &schemas["SignBatchRequest"]["properties"]["items"];
        assert_eq!(
            (&items["minItems"], &items["maxItems"]),
            (&json!(1), &json!(1000))
        );
        for (path, item) in text["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                let responses = operation["responses"].as_object().unwrap();
                assert!(
                    responses.contains_key("429") && responses.contains_key("503"),
                    "{path}"
                );
                for (status, response) in responses {
                    assert!(response["description"].is_string(), "{path} {status}");
                    assert!(
                        response["headers"]["X-Request-Id"].is_object(),
                        "{path} {status}"
                    );
                }
                assert!(
                    responses["429"]["headers"]["Retry-After"].is_object(),
                    "{path}"
                );
            }
        }
    }
}

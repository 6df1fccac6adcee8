//! `POST /v1/rings/{ring}/sign-batch`: many signatures, each item with a result of its own.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::middleware::json_object::Object;
use crate::middleware::{body, idempotency};
use crate::problem::{self, Code, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::sign::{self, SignAnswer};
use crate::v1::sign_request::SignRequest;
use crate::v1::state::{ServerState, SharedState};
use keyring::signing::Format;

/// Items signed by one request. They share the ring and the deadline.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignBatchRequest {
    /// Each is read by itself: one that is malformed has a problem of its own.
    #[schema(value_type = Vec<SignRequest>)]
    items: Vec<Value>,
}

/// One result per item, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignBatchAnswer {
    items: Vec<SignItemAnswer>,
}

/// A signature, or the problem.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum SignItemAnswer {
    Signed(Box<SignAnswer>),
    Problem { problem: problem::Document },
}

/// Sign many
#[utoipa::path(
    post,
    path = "/v1/rings/{ring}/sign-batch",
    operation_id = "sign_batch",
    tag = "signing",
    params(
        ("ring" = String, Path, description = "Name of the ring"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry return the same signature for each item"),
    ),
    request_body = SignBatchRequest,
    responses(
        (status = 200, description = "One result per item; check each of them", body = SignBatchAnswer),
        (status = "4XX", description = "The whole request was refused", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "Nothing was signed or the outcome is unknown; see `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(ring): Named,
    request: Request,
) -> Result<Response, Problem> {
    let caller = context.caller.signer(&ring)?.clone();
    no_query(request.uri())?;
    let idempotency = idempotency::of(request.headers())?;
    let asked: SignBatchRequest = body::strict(&context, request).await?;
    check_size(&state, asked.items.len())?;

    // Items that are wrong by themselves keep their place in the batch that goes on, so that an
    // idempotency key names the same item in every retry.
    let mut own = Vec::with_capacity(asked.items.len());
    let mut formats = Vec::with_capacity(asked.items.len());
    for (index, item) in asked.items.into_iter().enumerate() {
        match read(&item).and_then(|item| format_of(&state, &ring, item)) {
            Ok(format) => {
                own.push(None);
                formats.push(Ok(format));
            }
            Err(problem) => {
                formats.push(Err(problem.detail().to_owned()));
                own.push(Some(problem.in_item(index)));
            }
        }
    }
    let signing = &state.services.signing;
    let results = signing
        .sign_batch(&caller, &ring, formats, None, idempotency, context.deadline)
        .await?;

    let items = own
        .into_iter()
        .zip(results)
        .enumerate()
        .map(|(index, (own, result))| match (own, result) {
            (Some(problem), _) => failed(&state, &problem),
            (None, Ok(signed)) => {
                state.layer.metrics.signed(&ring, &signed.kid);
                SignItemAnswer::Signed(Box::new(signed.into()))
            }
            (None, Err(error)) => failed(&state, &Problem::from(error).in_item(index)),
        })
        .collect();
    json(&SignBatchAnswer { items })
}

fn format_of(state: &ServerState, ring: &str, item: SignRequest) -> Result<Format, Problem> {
    let algorithm = sign::ring_algorithm(state, ring);
    if let (Some(own), Some(asked)) = (algorithm, item.expected_algorithm())
        && !own.is_named(asked)
    {
        return Err(Problem::new(
            Code::WrongAlgorithm,
            format!("the item asks for {asked}, the ring signs with {own}"),
        )
        .about("alg"));
    }
    item.into_format(algorithm)
}

/// One item, as strictly as a body of its own. That the whole is JSON without duplicate members was
/// seen when it was read.
pub fn read<T: DeserializeOwned>(item: &Value) -> Result<T, Problem> {
    if !item.is_object() {
        return Err(Problem::new(Code::BadMember, "expected an object"));
    }
    match Object::<T>::deserialize(item) {
        Ok(Object(read)) => Ok(read),
        // Read once more from text, which says where the mistake is.
        Err(error) => match trust::json::parse_strict::<Object<T>>(item.to_string().as_bytes()) {
            Ok(Object(read)) => Ok(read),
            Err(error @ trust::JsonError::Content { .. }) => Err(error.into()),
            Err(_) => Err(Problem::new(Code::BadMember, error.to_string())),
        },
    }
}

/// At least one item, at most the configured number.
pub fn check_size(state: &ServerState, items: usize) -> Result<(), Problem> {
    let limit = state.settings.batch_limit;
    if (1..=limit).contains(&items) {
        return Ok(());
    }
    Err(Problem::member(
        "items",
        format!("expected 1 to {limit} items, got {items}"),
    ))
}

fn failed(state: &ServerState, problem: &Problem) -> SignItemAnswer {
    if let Some(cause) = problem.cause() {
        let code = problem.code.name();
        match state.layer.failures.happened(code) {
            Some(count) => tracing::error!(code, cause, count, "an item of a batch failed"),
            None => tracing::debug!(code, cause, "an item of a batch failed"),
        }
    }
    SignItemAnswer::Problem {
        problem: problem.document(None),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use serde_json::json;

    use crate::testing::Fixture;

    const PATH: &str = "/v1/rings/records/sign-batch";

    #[tokio::test]
    async fn one_bad_item_does_not_stop_the_others() {
        let fixture = Fixture::new().await;
        let body = json!({"items": [
            {"format": "jws", "payload": "AQI"},
            {"format": "jws", "payload": "AQI="},
            {"format": "jws", "payload": "AQI", "alg": "HS256"},
        ]});
        let answered = fixture.sign(PATH, &body.to_string()).await;
        assert_eq!(answered.status, StatusCode::OK);
        let items = answered.json()["items"].clone();
        assert_eq!(items[0]["kid"], fixture.kid());
        assert_eq!(items[1]["problem"]["code"], "bad_member");
        assert_eq!(items[1]["problem"]["member"], "items[1].payload");
        assert_eq!(items[2]["problem"]["code"], "wrong_algorithm");
        assert_eq!(items[2]["problem"]["member"], "items[2].alg");
    }

    #[tokio::test]
    async fn a_batch_has_one_item_at_least_and_the_limit_at_most() {
        let fixture = Fixture::new().await;
        let item = json!({"format": "jws", "payload": "AQI"});
        for count in [0, 4] {
            let body = json!({"items": vec![item.clone(); count]});
            let answered = fixture.sign(PATH, &body.to_string()).await;
            assert_eq!(answered.code(), "bad_member", "{count}");
            assert_eq!(answered.member(), "items");
        }
        let answered = fixture.sign(PATH, r#"{"items":{}}"#).await;
        assert_eq!(answered.member(), "items");
    }

    #[tokio::test]
    async fn case_c3_each_item_of_a_batch_has_a_result_of_its_own() {
        let fixture = Fixture::new().await;
        for (item, member) in [
            (r#"{"format":"jws","payload":"AQI","x":1}"#, "items[1].x"),
            (r#"{"format":"jws","payload":7}"#, "items[1].payload"),
            (r#"{"format":"jwt","payload":"AQI"}"#, "items[1].format"),
            (r#"{"payload":"AQI"}"#, "items[1]"),
            (r#"["jws","AQI"]"#, "items[1]"),
            ("null", "items[1]"),
        ] {
            let good = r#"{"format":"jws","payload":"AQI"}"#;
            let body = format!(r#"{{"items":[{good},{item},{good}]}}"#);
            let answered = fixture.sign(PATH, &body).await;
            assert_eq!(answered.status, StatusCode::OK, "{item}");
            let items = answered.json()["items"].clone();
            let problem = &items[1]["problem"];
            assert_eq!(problem["code"], "bad_member", "{item}: {problem}");
            assert_eq!(problem["member"], member, "{item}: {problem}");
            assert!(
                items[0]["jws"].is_string() && items[2]["jws"].is_string(),
                "{items}"
            );
        }
        // What is not JSON as we read it has no items.
        let body = r#"{"items":[{"format":"jws","payload":"AQI","payload":"AQI"}]}"#;
        assert_eq!(fixture.sign(PATH, body).await.code(), "bad_json");
    }
}

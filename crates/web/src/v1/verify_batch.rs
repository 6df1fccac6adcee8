//! `POST /v1/verify-batch`: many verdicts with one request.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::sign_batch::{check_size, read};
use crate::v1::state::SharedState;
use crate::v1::verify::{VerifyAnswer, VerifyRequest, verification_for};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyBatchRequest {
    /// Each is read by itself: one that is malformed has a problem of its own.
    #[schema(value_type = Vec<VerifyRequest>)]
    items: Vec<Value>,
}

/// One result per item, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerifyBatchAnswer {
    items: Vec<VerifyItemAnswer>,
}

/// A verdict, or the problem.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum VerifyItemAnswer {
    Judged(Box<VerifyAnswer>),
    Problem { problem: problem::Document },
}

/// Verify many
#[utoipa::path(
    post,
    path = "/v1/verify-batch",
    operation_id = "verify_batch",
    tag = "verification",
    request_body = VerifyBatchRequest,
    responses(
        (status = 200, description = "One result per item; check each of them", body = VerifyBatchAnswer),
        (status = "4XX", description = "The whole request was refused", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: VerifyBatchRequest = body::strict(&context, request).await?;
    check_size(&state, asked.items.len())?;

    let mut own = Vec::with_capacity(asked.items.len());
    let mut questions = Vec::with_capacity(asked.items.len());
    for (index, item) in asked.items.into_iter().enumerate() {
        match read(&item).and_then(VerifyRequest::into_question) {
            Ok(question) => {
                own.push(None);
                questions.push(question);
            }
            Err(problem) => own.push(Some(problem.in_item(index))),
        }
    }
    let verification = verification_for(&state, &context);
    let mut answers = verification.verify_batch(questions).await.into_iter();
    let items = own
        .into_iter()
        .enumerate()
        .map(|(index, own)| match own {
            Some(problem) => Err(problem),
            None => match answers.next() {
                Some(answer) => answer.map_err(|error| Problem::from(error).in_item(index)),
                None => Err(Problem::new(Code::Internal, "no result")),
            },
        })
        .map(|result| match result {
            Ok(answer) => {
                state.layer.metrics.judged(answer.verdict.outcome);
                VerifyItemAnswer::Judged(Box::new(answer.into()))
            }
            Err(problem) => VerifyItemAnswer::Problem {
                problem: problem.document(None),
            },
        })
        .collect();
    json(&VerifyBatchAnswer { items })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{Fixture, foreign_jws};

    #[tokio::test]
    async fn each_item_keeps_its_place() {
        let fixture = Fixture::new().await;
        let body = json!({"items": [{"jws": 1}, {"jws": foreign_jws()}, {"signature": "AQI"}]});
        let answered = fixture.post("/v1/verify-batch", body.to_string()).await;
        let items = answered.json()["items"].clone();
        assert_eq!(items[0]["problem"]["member"], "items[0].jws");
        assert_eq!(items[1]["verdict"], "INVALID");
        assert_eq!(items[2]["problem"]["member"], "items[2].kid");
    }

    #[tokio::test]
    async fn case_c3_each_item_of_a_batch_has_a_result_of_its_own() {
        let fixture = Fixture::new().await;
        let good = json!({"jws": foreign_jws()});
        for (bad, member) in [
            (json!({"jws": "a.b.c", "x": 1}), "items[1].x"),
            (json!({"signature": "AQ", "kid": 7}), "items[1].kid"),
            (json!(["a.b.c"]), "items[1]"),
        ] {
            let body = json!({"items": [good, bad, good]}).to_string();
            let answered = fixture.post("/v1/verify-batch", body).await;
            let items = answered.json()["items"].clone();
            let problem = &items[1]["problem"];
            assert_eq!(problem["code"], "bad_member", "{problem}");
            assert_eq!(problem["member"], member, "{problem}");
            assert_eq!(items[0]["verdict"], "INVALID", "{items}");
            assert_eq!(items[2]["verdict"], "INVALID", "{items}");
        }
    }
}

//! `PUT /v1/policies/{key_type}`: the next version of a policy.

use axum::extract::{Request, State};
use axum::response::Response;
use calendar::PolicyDocument;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::policy_versions::PolicyVersionAnswer;
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPolicy {
    /// The whole next version; its `version` is one more than that of the policy in force.
    #[schema(value_type = Object)]
    document: PolicyDocument,
    /// 1 to 1000 characters, for the record.
    reason: String,
}

/// Change a policy
///
/// By an administrator; the policy of a critical key type only the quorum changes, and it is answered
/// `ceremony_required`. All that is wrong with a document is told at once. Of two changes at once the second is answered
/// `policy_version`.
#[utoipa::path(
    put,
    path = "/v1/policies/{key_type}",
    operation_id = "set_policy",
    tag = "operation",
    params(("key_type" = String, Path, description = "Such as `jwt_signing`")),
    request_body = SetPolicy,
    responses(
        (status = 200, body = PolicyVersionAnswer),
        (status = "4XX", description = "Refused; nothing was changed", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(key_type): Named,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: SetPolicy = body::strict(&context, request).await?;
    if asked.document.key_type.as_str() != key_type {
        let what = "expected the key type of the path";
        return Err(Problem::member("document.key_type", what));
    }
    let principal = context.caller.known()?;
    let now = state.services.env.now();
    let policies = state.services.inventory.policies();
    let by = (&*principal.name, now);
    let version = policies.set(asked.document, &asked.reason, by).await?;
    json(&PolicyVersionAnswer::from(version))
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use serde_json::{Value, json};

    use crate::testing::{Answered, Fixture, OPERATOR};
    use crate::v1::asset::tests::{ADMINISTRATOR, registered};

    async fn put(fixture: &Fixture, who: &str, path: &str, body: &Value) -> Answered {
        let body = body.to_string();
        fixture.send_as(who, Method::PUT, path, &body).await
    }

    #[tokio::test]
    async fn a_policy_is_changed_version_by_version() {
        let fixture = registered().await;
        let path = "/v1/policies/api_key";
        let policy = fixture.get_as(OPERATOR, path).await.json();
        assert_eq!(policy["document"]["interval"], "30d");
        assert_eq!(policy["critical"], false);
        let mut document = policy["document"].clone();
        document["version"] = json!(2);
        document["interval"] = json!("20d");
        let body = json!({"document": document, "reason": "the partner asked for it"});
        let set = put(&fixture, ADMINISTRATOR, path, &body).await;
        assert_eq!(set.json()["version"], 2, "{:?}", set.json());
        let again = put(&fixture, ADMINISTRATOR, path, &body).await;
        assert_eq!(again.code(), "policy_version");
        assert_eq!(again.member(), "document.version");
        let path = "/v1/policies/api_key/versions";
        let versions = fixture.get_as(OPERATOR, path).await.json();
        assert_eq!(versions["versions"][0]["changed_by"], ADMINISTRATOR);
        assert_eq!(versions["versions"][1]["version"], 1);
        let all = fixture.get_as(OPERATOR, "/v1/policies").await.json();
        assert_eq!(all["policies"].as_array().unwrap().len(), 16);
        let refused = put(&fixture, OPERATOR, "/v1/policies/api_key", &body).await;
        assert_eq!(refused.code(), "forbidden");
    }

    #[tokio::test]
    async fn the_plan_is_made_by_the_policy_that_was_set() {
        let fixture = registered().await;
        let due = async || {
            let path = "/v1/key-rotation/schedule?days=90";
            let plan = fixture.get_as(ADMINISTRATOR, path).await.json();
            let rotations = plan["rotations"].as_array().unwrap().iter();
            let of = rotations.filter(|one| one["asset"] == "external/partner");
            of.map(|one| one["due"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let since: calendar::Time = fixture.now().to_string().parse().unwrap();
        let after = |days| (since + calendar::Span::days(days)).to_string();
        let before = due().await;
        assert_eq!(before[0], after(30));
        let path = "/v1/policies/api_key";
        let policy = fixture.get_as(OPERATOR, path).await.json();
        let mut document = policy["document"].clone();
        document["version"] = json!(2);
        document["interval"] = json!("20d");
        let body = json!({"document": document, "reason": "the partner asked for it"});
        put(&fixture, ADMINISTRATOR, path, &body).await;
        let now = due().await;
        assert_eq!(now[0], after(20));
        assert!(now.len() > before.len(), "{now:?}");
        let of_type = "/v1/key-rotation/keys/api_key";
        let of_type = fixture.get_as(ADMINISTRATOR, of_type).await.json();
        assert_eq!(of_type["policy"]["interval"], "20d");
        assert_eq!(of_type["assets"][0]["name"], "external/partner");
    }

    #[tokio::test]
    async fn a_policy_that_cannot_be_is_refused_with_every_reason() {
        let fixture = registered().await;
        let policy = fixture
            .get_as(OPERATOR, "/v1/policies/jwt_signing")
            .await
            .json();
        let mut document = policy["document"].clone();
        document["version"] = json!(2);
        document["interval"] = json!("2000d");
        document["overlap"] = json!("40d");
        document["approval"] = json!("automatic");
        let path = "/v1/policies/jwt_signing";
        let body = |document: &Value| json!({"document": document, "reason": "why not"});
        let refused = put(&fixture, ADMINISTRATOR, path, &body(&document)).await;
        assert_eq!(refused.code(), "policy_refused");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        for part in [
            "shorter than overlap 40d",
            "without consent",
            "nist-sp-800-57",
        ] {
            assert!(detail.contains(part), "{part}: {detail}");
        }
        let mut of_another = document.clone();
        of_another["key_type"] = json!("api_key");
        let mut unknown = document.clone();
        unknown["key_type"] = json!("launch_code");
        let mut misspelled = document.clone();
        misspelled["interval"] = json!("90 days");
        for (path, body, code) in [
            (path, body(&of_another), "bad_member"),
            (
                "/v1/policies/launch_code",
                body(&unknown),
                "unknown_key_type",
            ),
            (path, body(&misspelled), "bad_member"),
            (path, json!({"document": document}), "bad_member"),
        ] {
            let refused = put(&fixture, ADMINISTRATOR, path, &body).await;
            assert_eq!(refused.code(), code, "{path} {body}");
        }
        let policy = fixture
            .get_as(OPERATOR, "/v1/policies/signing")
            .await
            .json();
        assert_eq!(policy["critical"], true);
        let mut document = policy["document"].clone();
        document["version"] = json!(2);
        let refused = put(
            &fixture,
            ADMINISTRATOR,
            "/v1/policies/signing",
            &body(&document),
        )
        .await;
        assert_eq!(refused.code(), "ceremony_required");
        let unknown = fixture.get_as(OPERATOR, "/v1/policies/launch_code").await;
        assert_eq!(unknown.code(), "unknown_key_type");
    }
}

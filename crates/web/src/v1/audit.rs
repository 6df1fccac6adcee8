//! `GET /v1/audit`: the trail, page by page, for auditors.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trust::Time;
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{json, query};
use crate::v1::state::SharedState;
use store::LeafRow;

const PAGE: i64 = 100;
const PAGE_MAX: i64 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    from: Option<i64>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuditAnswer {
    /// In order and without gaps.
    leaves: Vec<LeafView>,
    /// `from` of the next page; absent at the end of the trail.
    next: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LeafView {
    index: i64,
    #[schema(value_type = String, format = DateTime)]
    time: Time,
    kind: String,
    ring: Option<String>,
    kid: Option<String>,
    /// The leaf itself: canonical JSON of which the members beside it are copies.
    #[schema(value_type = Object)]
    leaf: Value,
}

/// Audit trail
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "audit",
    tag = "operation",
    params(
        ("from" = Option<i64>, Query, description = "Index of the first leaf of the page; default 0"),
        ("limit" = Option<i64>, Query, description = "Page size, 1 to 1000; default 100"),
    ),
    responses(
        (status = 200, body = AuditAnswer),
        (status = "4XX", description = "Not an auditor, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    let asked: AuditQuery = query(&uri)?;
    let from = asked.from.unwrap_or(0);
    let limit = asked.limit.unwrap_or(PAGE);
    if from < 0 {
        return Err(Problem::new(Code::BadQuery, "expected an index").about("from"));
    }
    if !(1..=PAGE_MAX).contains(&limit) {
        let text = format!("expected 1 to {PAGE_MAX}");
        return Err(Problem::new(Code::BadQuery, text).about("limit"));
    }
    let store = state.services.store.for_visitors();
    let rows = store.leaves(from, limit).await?;
    let full = i64::try_from(rows.len()).is_ok_and(|found| found == limit);
    let next = rows.last().filter(|_| full).map(|row| row.index + 1);
    json(&AuditAnswer {
        leaves: rows.into_iter().map(LeafView::of).collect(),
        next,
    })
}

impl LeafView {
    fn of(row: LeafRow) -> Self {
        Self {
            index: row.index,
            time: Time::from_millis(row.time),
            kind: row.kind,
            ring: row.ring,
            kid: row.kid,
            // A body that is not JSON is shown as it is; an auditor wants to see it.
            leaf: serde_json::from_str(&row.body).unwrap_or(Value::String(row.body)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{AUDITOR, Fixture, OPERATOR, SIGNER};

    #[tokio::test]
    async fn the_trail_is_read_to_its_end_page_by_page() {
        let fixture = Fixture::new().await;
        let mut path = "/v1/audit?limit=5".to_owned();
        let mut seen = Vec::new();
        loop {
            let page = fixture.get_as(AUDITOR, &path).await.json();
            for leaf in page["leaves"].as_array().unwrap() {
                assert_eq!(leaf["leaf"]["kind"], leaf["kind"]);
                seen.push(leaf["index"].as_i64().unwrap());
            }
            match page["next"].as_i64() {
                Some(next) => path = format!("/v1/audit?limit=5&from={next}"),
                None => break,
            }
        }
        let size = fixture.store.log_size().await.unwrap();
        assert!(size > 10);
        assert_eq!(seen, (0..size).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn only_an_auditor_reads_it() {
        let fixture = Fixture::new().await;
        for access_token in [SIGNER, OPERATOR] {
            let answered = fixture.get_as(access_token, "/v1/audit").await;
            assert_eq!(answered.code(), "forbidden");
        }
        assert_eq!(fixture.get("/v1/audit").await.code(), "unauthenticated");
        for path in [
            "/v1/rings",
            "/v1/rings/records",
            "/v1/inventory",
            "/v1/keys",
        ] {
            let answered = fixture.get_as(AUDITOR, path).await;
            assert_eq!(answered.code(), "forbidden", "{path}");
        }
        assert_eq!(fixture.leaves("refusal").await.len(), 6);
        assert_eq!(fixture.strangers_refused().await["count"], 1);
    }

    #[tokio::test]
    async fn a_wrong_parameter_is_refused() {
        let fixture = Fixture::new().await;
        for query in ["limit=0", "limit=1001", "from=-1", "from=x", "page=2"] {
            let answered = fixture.get_as(AUDITOR, &format!("/v1/audit?{query}")).await;
            assert_eq!(answered.code(), "bad_query", "{query}");
        }
    }
}

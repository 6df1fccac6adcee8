//! `GET /v1/keys/{kid}/usage`: how often a key signed in each hour.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use keyring::keys::Key;
use keyring::usage::{KeyUsage, MOST_HOURS};
use serde::{Deserialize, Serialize};
use trust::{Kid, Time};
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::key::find;
use crate::v1::key_life::{self, Life};
use crate::v1::response::{Named, json, query};
use crate::v1::state::{ServerState, SharedState};

/// By default.
const HOURS: u32 = 24;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageQuery {
    hours: Option<u32>,
}

/// What a key signed.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyUsageAnswer {
    #[schema(value_type = String)]
    kid: Kid,
    ring: String,
    key_number: u32,
    #[serde(flatten)]
    life: Life,
    /// First instant of the first hour.
    #[schema(value_type = String, format = DateTime)]
    from: Time,
    #[schema(value_type = String, format = DateTime)]
    until: Time,
    /// In these hours.
    signatures: u64,
    /// Since the key's beginning.
    total: u64,
    /// Hours of UTC that have any, oldest first.
    hours: Vec<UsageHour>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct UsageHour {
    #[schema(value_type = String, format = DateTime)]
    from: Time,
    signatures: u64,
}

impl KeyUsageAnswer {
    pub fn of(key: &Key, usage: KeyUsage) -> Self {
        let signatures = usage.signatures();
        let hours = usage.hours.into_iter().map(|hour| UsageHour {
            from: hour.from,
            signatures: hour.signatures,
        });
        Self {
            kid: key.kid.clone(),
            ring: key.ring.to_string(),
            key_number: key.number,
            life: key_life::life(key),
            from: usage.from,
            until: usage.until,
            signatures,
            total: usage.total,
            hours: hours.collect(),
        }
    }
}

/// How many hours are asked for.
pub fn hours(uri: &Uri) -> Result<u32, Problem> {
    let asked: UsageQuery = query(uri)?;
    let hours = asked.hours.unwrap_or(HOURS);
    match (1..=MOST_HOURS).contains(&hours) {
        true => Ok(hours),
        false => {
            let expected = format!("expected 1 to {MOST_HOURS}");
            Err(Problem::new(Code::BadQuery, expected).about("hours"))
        }
    }
}

/// What one key signed until now.
pub async fn usage_of(
    state: &ServerState,
    key: &Key,
    hours: u32,
) -> Result<KeyUsageAnswer, Problem> {
    let now = state.services.env.now();
    let usage = KeyUsage::read(&state.services.store, &key.kid, now, hours).await?;
    Ok(KeyUsageAnswer::of(key, usage))
}

/// Usage of a key
///
/// Its signatures by hour, for ninety days. What was signed before the service counted by hour is in `total` alone; the sum of
/// each day, for ever, is at `…/blast-radius`.
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/usage",
    operation_id = "key_usage",
    tag = "operation",
    params(
        ("kid" = String, Path, description = "RFC 7638 SHA-256 thumbprint of the key"),
        ("hours" = Option<u32>, Query, description = "The hour that is under way and those before it: 1 to 2160; default 24"),
    ),
    responses(
        (status = 200, body = KeyUsageAnswer),
        (status = "4XX", description = "An invalid parameter, no permission, or no such key", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable, or signatures are not counted yet", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    let hours = hours(&uri)?;
    let key = find(&state, &kid).await?;
    json(&usage_of(&state, &key, hours).await?)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Fixture, OPERATOR};

    const DAY: i64 = 24 * 60;

    #[tokio::test]
    async fn signatures_are_shown_by_hour_and_by_key_of_the_ring() {
        let fixture = Fixture::new().await;
        let body = r#"{"format":"jws","payload":"AQID"}"#;
        let sign = async || {
            let signed = fixture.sign("/v1/rings/records/sign", body).await;
            assert_eq!(signed.status, 200);
        };
        sign().await;
        fixture.wait(2 * DAY);
        sign().await;
        sign().await;
        fixture.wait(60);
        sign().await;
        let kid = fixture.kid();
        let path = format!("/v1/keys/{kid}/usage");
        let get = async |path: &str| fixture.get_as(OPERATOR, path).await;
        let answer = get(&path).await.json();
        let hours = answer["hours"].as_array().unwrap().iter();
        let hours: Vec<_> = hours
            .map(|hour| hour["signatures"].as_u64().unwrap())
            .collect();
        assert_eq!(hours, [2, 1], "{answer}");
        assert_eq!(
            (&answer["signatures"], &answer["total"]),
            (&3.into(), &4.into())
        );
        assert_eq!(answer["until"], fixture.now().to_string());
        // However far they are counted, the answer is the same.
        while fixture.store.count_signatures(1_000).await.unwrap() > 0 {}
        assert_eq!(get(&path).await.json(), answer);
        let last = get(&format!("{path}?hours=1")).await.json();
        assert_eq!(last["signatures"], 1);
        let all = get(&format!("{path}?hours=50")).await.json();
        assert_eq!(all["signatures"], 4);
        let ring = get("/v1/rings/records/usage").await.json();
        assert_eq!(ring["keys"][0], answer);

        for (query, member) in [
            ("hours=0", "hours"),
            ("hours=2161", "hours"),
            ("days=1", ""),
        ] {
            let answered = get(&format!("{path}?{query}")).await;
            assert_eq!(
                (answered.code().as_str(), answered.member().as_str()),
                ("bad_query", member)
            );
        }
        assert_eq!(get("/v1/rings/none/usage").await.code(), "unknown_ring");
    }
}

//! `GET /v1/keys/{kid}/blast-radius`: what is in doubt when a key is.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use trust::{Kid, Time};
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::instant;
use crate::v1::key::find;
use crate::v1::key_life::{self, Life};
use crate::v1::response::{Named, json, query};
use crate::v1::state::SharedState;
use keyring::keys::Key;
use keyring::verification::{Issued, Radius, RadiusQuestion};
use store::DayRow;

const PAGE: i64 = 100;
const PAGE_MAX: i64 = 1_000;
const DAY_MILLIS: i64 = 86_400_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RadiusQuery {
    since: Option<String>,
    from: Option<i64>,
    limit: Option<i64>,
}

/// The signatures by one key since an instant.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlastRadiusAnswer {
    #[schema(value_type = String)]
    kid: Kid,
    ring: String,
    key_number: u32,
    #[serde(flatten)]
    life: Life,
    #[schema(value_type = String, format = DateTime)]
    since: Time,
    /// On the first page only.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<RadiusSummary>,
    /// In the order of the log, at most `limit`; a page may have fewer, or none, though there is a next one.
    signatures: Vec<IssuedView>,
    /// `from` of the next page; absent on the last page.
    next: Option<i64>,
}

/// Totals over all signatures.
#[derive(Debug, Serialize, ToSchema)]
pub struct RadiusSummary {
    total: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<RadiusEnd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<RadiusEnd>,
    /// UTC days with at least one signature.
    by_day: Vec<RadiusDay>,
}

/// The lowest index and the earliest instant, or the highest and the latest: the clocks of
/// replicas differ slightly, so the two may belong to different signatures.
#[derive(Debug, Serialize, ToSchema)]
pub struct RadiusEnd {
    index: i64,
    #[schema(value_type = String, format = DateTime)]
    time: Time,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RadiusDay {
    #[schema(example = "2026-11-22", format = Date)]
    day: String,
    signatures: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct IssuedView {
    index: i64,
    #[schema(value_type = String, format = DateTime)]
    time: Time,
    /// SHA-256 of the raw signature, hex.
    sig_hash: String,
}

/// Blast radius
///
/// Every signature by this key logged since an instant: all that are in doubt if the key has been
/// compromised since then. The service releases no signature that is not in the log: a valid
/// signature that is not in this list was not made by the service.
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/blast-radius",
    operation_id = "blast_radius",
    tag = "verification",
    params(
        ("kid" = String, Path, description = "RFC 7638 SHA-256 thumbprint of the key"),
        ("since" = Option<String>, Query, format = DateTime, description = "RFC 3339; default: `compromised_since` of a compromised key"),
        ("from" = Option<i64>, Query, description = "Log index to continue from: `next` of the previous page. Omit it for the first page, which also returns the summary; 0 lists from the beginning without a summary"),
        ("limit" = Option<i64>, Query, description = "Page size, 1 to 1000; default 100"),
    ),
    responses(
        (status = 200, body = BlastRadiusAnswer),
        (status = 400, description = "An invalid parameter, or `since` is missing for a key that is not compromised", body = problem::Document, content_type = "application/problem+json"),
        (status = 404, description = "Unknown key", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The log is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    let key = find(&state, &kid).await?;
    let asked: RadiusQuery = query(&uri)?;
    let bad = |name: &str, expected: String| Problem::new(Code::BadQuery, expected).about(name);
    let since = match &asked.since {
        Some(text) => instant::parse(text).map_err(|expected| bad("since", expected.to_owned()))?,
        None => compromised_since(&key).ok_or_else(|| {
            let expected = "expected an instant: the key is not compromised".to_owned();
            bad("since", expected)
        })?,
    };
    if asked.from.is_some_and(|from| from < 0) {
        return Err(bad("from", "expected an index".to_owned()));
    }
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad("limit", format!("expected 1 to {PAGE_MAX}")));
    }
    let question = RadiusQuestion {
        kid: key.kid.clone(),
        since,
        from: asked.from,
        limit,
    };
    let radius = state.services.verification.radius(question).await?;
    json(&BlastRadiusAnswer::of(&key, since, radius))
}

/// Of a compromised key; from the beginning where nobody knows since when.
fn compromised_since(key: &Key) -> Option<Time> {
    let revocation = key.state.life().revocation?;
    let compromised = revocation.reason == trust::request::RevocationReason::Compromised;
    let since = revocation.compromised_since;
    compromised.then(|| {
        since
            .unwrap_or(Time::from_millis(0))
            .min(revocation.revoked_at)
    })
}

impl BlastRadiusAnswer {
    fn of(key: &Key, since: Time, radius: Radius) -> Self {
        Self {
            kid: key.kid.clone(),
            ring: key.ring.to_string(),
            key_number: key.number,
            life: key_life::life(key),
            since,
            summary: radius.by_day.as_deref().map(RadiusSummary::of),
            signatures: radius.signatures.into_iter().map(IssuedView::of).collect(),
            next: radius.next,
        }
    }
}

impl RadiusSummary {
    fn of(days: &[DayRow]) -> Self {
        let end = |index: Option<i64>, time: Option<i64>| {
            Some(RadiusEnd {
                index: index?,
                time: Time::from_millis(time?),
            })
        };
        Self {
            total: days.iter().map(|day| day.signatures).sum(),
            first: end(
                days.iter().map(|day| day.first_index).min(),
                days.iter().map(|day| day.first_time).min(),
            ),
            last: end(
                days.iter().map(|day| day.last_index).max(),
                days.iter().map(|day| day.last_time).max(),
            ),
            by_day: days.iter().map(RadiusDay::of).collect(),
        }
    }
}

impl RadiusDay {
    fn of(row: &DayRow) -> Self {
        let midnight = Time::from_millis(row.day.saturating_mul(DAY_MILLIS)).to_string();
        Self {
            day: midnight.chars().take(10).collect(),
            signatures: row.signatures,
        }
    }
}

impl IssuedView {
    fn of(issued: Issued) -> Self {
        Self {
            index: issued.index,
            time: issued.time,
            sig_hash: issued.sig_hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::Fixture;

    const DAY: i64 = 24 * 60;

    async fn sign(fixture: &Fixture) {
        let body = r#"{"format":"jws","payload":"AQID"}"#;
        let signed = fixture.sign("/v1/rings/records/sign", body).await;
        assert_eq!(signed.status, 200);
    }

    #[tokio::test]
    async fn a_compromised_key_has_a_default_and_another_needs_an_instant() {
        let fixture = Fixture::new().await;
        let path = format!("/v1/keys/{}/blast-radius", fixture.kid());
        sign(&fixture).await;
        fixture.wait(2 * DAY);
        let (first, first_time) = (fixture.store.log_size().await.unwrap(), fixture.now());
        sign(&fixture).await;
        sign(&fixture).await;
        fixture.wait(DAY);
        sign(&fixture).await;
        let last = fixture.store.log_size().await.unwrap() - 1;

        let answered = fixture.get(&path).await;
        assert_eq!(
            (answered.code(), answered.member()),
            ("bad_query".into(), "since".into())
        );
        let page = format!("{path}?since={first_time}&from={}&limit=1", first + 1);
        let answer = fixture.get(&page).await.json();
        assert_eq!(answer["since"], first_time.to_string());
        assert!(answer.get("summary").is_none(), "{answer}");
        assert_eq!(answer["signatures"].as_array().unwrap().len(), 1);
        assert_eq!(answer["signatures"][0]["index"], first + 1);

        fixture.compromise(DAY + 1).await;
        let answer = fixture.get(&path).await.json();
        let since = trust::Time::from_millis(fixture.now().millis() - (DAY + 1) * 60_000);
        assert_eq!(answer["since"], since.to_string());
        assert_eq!(answer["state"], "revoked");
        assert_eq!(answer["revocation"]["reason"], "compromised");
        let day = |time: trust::Time| time.to_string()[..10].to_owned();
        assert_eq!(
            answer["summary"],
            json!({
                "total": 3,
                "first": {"index": first, "time": first_time},
                "last": {"index": last, "time": fixture.now()},
                "by_day": [
                    {"day": day(first_time), "signatures": 2},
                    {"day": day(fixture.now()), "signatures": 1},
                ],
            })
        );
    }

    #[tokio::test]
    async fn a_wrong_question_is_refused() {
        let fixture = Fixture::new().await;
        fixture.compromise(1).await;
        let path = format!("/v1/keys/{}/blast-radius", fixture.kid());
        for (query, member) in [
            ("since=yesterday", "since"),
            ("since=2026-01-01T00:00:00+01:00", "since"),
            ("since=", "since"),
            ("from=-1", "from"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", ""),
            ("until=2026-01-01T00:00:00Z", ""),
        ] {
            let answered = fixture.get(&format!("{path}?{query}")).await;
            assert_eq!(answered.code(), "bad_query", "{query}");
            assert_eq!(answered.member(), member, "{query}");
        }
        for kid in ["short".to_owned(), "A".repeat(43)] {
            let answered = fixture.get(&format!("/v1/keys/{kid}/blast-radius")).await;
            assert_eq!(answered.code(), "unknown_key", "{kid}");
        }
    }
}

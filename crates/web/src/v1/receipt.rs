//! `GET /v1/receipts/{index}`: the proof that a leaf is in the log.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{Named, TEXT, bytes_of, no_query, public};
use crate::v1::state::{ServerState, SharedState};
use log::Receipt;

/// Receipt
///
/// A C2SP `tlog-proof` under the first checkpoint that covered the leaf. With the log's public key
/// (and those of the witnesses, if any) it can be verified offline, without a time limit. The leaf
/// itself is the `leaf` member of `/v1/evidence/{index}`.
#[utoipa::path(
    get,
    path = "/v1/receipts/{index}",
    operation_id = "receipt",
    tag = "log",
    params(("index" = i64, Path, description = "Log index: the `log_index` of a signature")),
    responses(
        (status = 200, description = "A c2sp.org/tlog-proof", body = String, content_type = "text/plain"),
        (status = 404, description = "No leaf with this index, or no checkpoint covers it yet", body = problem::Document, content_type = "application/problem+json"),
        (status = 410, description = "The leaf body was pruned after its retention period; receipts and evidence obtained earlier still verify", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database or the storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(index): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let receipt = of(&state, self::index(&index)?).await?;
    // Witnesses may still add their lines; the log's own part never changes.
    let response = bytes_of(receipt.proof.to_string(), TEXT, public("max-age=60"));
    Ok(response)
}

pub fn index(text: &str) -> Result<i64, Problem> {
    let index = text.parse().ok().filter(|index| *index >= 0);
    index.ok_or_else(|| Problem::new(Code::NotFound, "expected an index: an integer, 0 or more"))
}

pub async fn of(state: &ServerState, index: i64) -> Result<Receipt, Problem> {
    let found = state.services.transparency_log.receipt(index).await?;
    found.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            "no leaf with this index, or no checkpoint covers it yet",
        )
        .about("index")
    })
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use serde_json::{Value, json};

    use crate::testing::{Fixture, SIGNER};

    const SIGN: &str = "/v1/rings/records/sign";
    const GOOD: &str = r#"{"format":"jws","payload":"AQID"}"#;

    async fn signed(fixture: &Fixture) -> Value {
        let answered = fixture.sign(SIGN, GOOD).await;
        assert_eq!(answered.status, StatusCode::OK);
        answered.json()
    }

    #[tokio::test]
    async fn a_receipt_and_the_evidence_come_with_the_first_checkpoint_that_covers_the_leaf() {
        let fixture = Fixture::new().await;
        let answer = signed(&fixture).await;
        let index = answer["log_index"].as_i64().unwrap();
        let paths = [
            format!("/v1/receipts/{index}"),
            format!("/v1/evidence/{index}"),
        ];
        for path in &paths {
            assert_eq!(fixture.get(path).await.code(), "not_found", "{path}");
        }
        fixture.publish_log().await;
        let receipt = fixture.get(&paths[0]).await;
        assert_eq!(receipt.status, StatusCode::OK);
        assert_eq!(receipt.header("cache-control"), "public, max-age=60");
        assert!(receipt.header("content-type").starts_with("text/plain"));
        assert!(receipt.body.starts_with(b"c2sp.org/tlog-proof@v1\n"));
        let evidence = fixture.get(&paths[1]).await;
        assert_eq!(evidence.header("content-type"), "application/json");
        assert!(
            evidence.json()["subject"].is_null(),
            "without the signature"
        );
        for path in ["/v1/receipts/x", "/v1/receipts/-1", "/v1/evidence/999999"] {
            assert_eq!(fixture.get(path).await.code(), "not_found", "{path}");
        }
        let asked = fixture.get(&format!("{}?a=1", paths[0])).await;
        assert_eq!(asked.code(), "bad_query");

        let body = json!({"signature": {"jws": answer["jws"]}, "salt": answer["salt"]});
        let whole = fixture.post("/v1/evidence", body.to_string()).await;
        assert_eq!(whole.status, StatusCode::OK);
        assert_eq!(whole.header("cache-control"), "no-store");
        assert!(whole.json()["subject"].is_object(), "with the signature");
        let beyond = json!({"signature": {"jws": answer["jws"], "at": "2026-01-01T00:00:00.000Z"}});
        let beyond = fixture.post("/v1/evidence", beyond.to_string()).await;
        assert_eq!(beyond.code(), "bad_member");
    }

    #[tokio::test]
    async fn a_signer_may_wait_for_the_receipt() {
        let fixture = Fixture::new().await;
        fixture.publish_log().await;
        let path = format!("{SIGN}?receipt=wait");
        let answered = fixture.sign(&path, GOOD).await;
        let receipt = answered.json()["receipt"].as_str().unwrap().to_owned();
        assert!(receipt.starts_with("c2sp.org/tlog-proof@v1\n"), "{receipt}");
        assert!(fixture.caller(SIGNER).name().is_some());
    }

    #[tokio::test]
    async fn the_log_is_read_as_files() {
        let fixture = Fixture::new().await;
        let checkpoint = "/log/checkpoint";
        assert_eq!(fixture.get(checkpoint).await.code(), "not_found");
        fixture.publish_log().await;
        let answered = fixture.get(checkpoint).await;
        assert_eq!(answered.header("cache-control"), "public, max-age=1");
        assert_eq!(answered.header("access-control-allow-origin"), "*");
        let text = String::from_utf8(answered.body).unwrap();
        let size: u64 = text.lines().nth(1).unwrap().parse().unwrap();
        assert!(size > 0);
        let tile = fixture.get(&format!("/log/tile/0/000.p/{size}")).await;
        assert_eq!(tile.status, StatusCode::OK);
        assert_eq!(tile.body.len() as u64, size * 32);
        assert!(tile.header("cache-control").contains("immutable"));
        for path in ["/log/tile/0/999", "/log/tile/x/000", "/log/tile/0/../1"] {
            assert_eq!(fixture.get(path).await.code(), "not_found", "{path}");
        }
        let path = format!("/v1/log/consistency?old=1&new={size}");
        let answer = fixture.get(&path).await.json();
        assert_eq!((&answer["old"], &answer["new"]), (&json!(1), &json!(size)));
        assert!(!answer["hashes"].as_array().unwrap().is_empty());
        let later = format!("/v1/log/consistency?old=1&new={}", size + 1_000);
        for path in [
            later.as_str(),
            "/v1/log/consistency?old=2&new=1",
            "/v1/log/consistency",
        ] {
            assert_eq!(fixture.get(path).await.code(), "bad_query", "{path}");
        }
    }
}

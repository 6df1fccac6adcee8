//! `GET /v1/inventory`: all that rotates, as JSON, CSV or a cryptography bill of materials.

use axum::extract::State;
use axum::http::header::{ACCEPT, LINK};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use calendar::Word;
use rotation::inventory::{AssetView, BomVersion, Filter, PAGE_MAX, Rotated, cbom, sheet};
use serde::{Deserialize, Serialize};
use store::AssetState;
use trust::Time;
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::asset::AssetAnswer;
use crate::v1::response::{NO_STORE, bytes_of, json, query};
use crate::v1::state::SharedState;

const PAGE: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    key_type: Option<String>,
    owner: Option<String>,
    state: Option<String>,
    due_before: Option<String>,
    text: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
    sort: Option<String>,
    format: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct InventoryAnswer {
    /// By name.
    assets: Vec<AssetAnswer>,
    /// `after` of the next page. A page of filters may be short, or empty, and have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Names of rows on this page that cannot be read; each is an alarm.
    unreadable: Vec<String>,
}

/// What a page is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Bom(BomVersion),
}

/// Inventory
///
/// All that rotates: rings and the assets whose values somebody else keeps, with their owners, states, last and next
/// rotations, by name and in pages. `format`, or `Accept`, says how it is written: `json`, `csv` (which can be imported again),
/// `cbom-1.6` or `cbom-1.7` (CycloneDX). A page that is no JSON names the next one in the header `Link`.
#[utoipa::path(
    get,
    path = "/v1/inventory",
    operation_id = "inventory",
    tag = "operation",
    params(
        ("key_type" = Option<String>, Query, description = "Such as `jwt_signing`"),
        ("owner" = Option<String>, Query, description = "Who answers for it: its own owner, or the team of its key type's policy"),
        ("state" = Option<String>, Query, description = "`prepared`, `active`, `revoked` or `retired`"),
        ("due_before" = Option<String>, Query, description = "Assets whose next version has to be in use before this instant"),
        ("text" = Option<String>, Query, description = "Somewhere in name, purpose or labels; 1 to 100 characters"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "Page size: 1 to 1000; default 100"),
        ("sort" = Option<String>, Query, description = "`asset` (default), or `rotated`: what rotated longest ago first, without what has no version in use"),
        ("format" = Option<String>, Query, description = "`json` (default), `csv`, `cbom-1.6` or `cbom-1.7`"),
    ),
    responses(
        (status = 200, body = InventoryAnswer),
        (status = "4XX", description = "No permission, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let asked: Asked = query(&uri)?;
    let format = match asked.format.as_deref() {
        Some(text) => format_of(text)
            .ok_or_else(|| bad("format", "expected json, csv, cbom-1.6 or cbom-1.7"))?,
        None => accepted(&headers),
    };
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad("limit", "expected 1 to 1000"));
    }
    let after = asked.after.as_deref().map(cursor).transpose()?;
    let by_age = match asked.sort.as_deref() {
        None | Some("asset") => false,
        Some("rotated") => true,
        Some(_) => return Err(bad("sort", "expected asset or rotated")),
    };
    let filter = filter(&asked)?;
    let inventory = &state.services.inventory;
    let now = state.services.env.now();
    let policies = inventory.policies().current(now).await?;
    let page = match by_age {
        true => {
            let after = after.as_deref().map(str::parse::<Rotated>).transpose();
            let after = after.map_err(|_| bad("after", "expected `next` of a page"))?;
            inventory.oldest(&filter, after, limit, &policies).await?
        }
        false => {
            let page = inventory.page(&filter, after.as_deref(), limit, &policies);
            page.await?
        }
    };
    let next = page.next.as_deref();
    let next = next.map(|name| trust::base64url::encode(name.as_bytes()));
    // An export that misses a row would be a wrong answer; JSON names those that cannot be read.
    if format != Format::Json && !page.unreadable.is_empty() {
        let count = page.unreadable.len();
        let what = format!("{count} rows of this page cannot be read; as JSON it names them");
        return Err(Problem::new(Code::Internal, what));
    }
    let (bytes, content_type) = match format {
        Format::Json => {
            let assets = page.rows.iter();
            let assets = assets.map(|row| AssetView::of(row, &policies, now).into());
            return json(&InventoryAnswer {
                assets: assets.collect(),
                next,
                unreadable: page.unreadable,
            });
        }
        Format::Csv => (
            sheet(&page.documents()).map_err(|e| Problem::caused_by(Code::Internal, &e))?,
            HeaderValue::from_static("text/csv; charset=utf-8; header=present"),
        ),
        Format::Bom(version) => {
            let bom = cbom(&page.rows, &policies.types, version, now);
            let bytes = serde_json::to_vec(&bom);
            let content_type = match version {
                BomVersion::V1_6 => "application/vnd.cyclonedx+json; version=1.6",
                BomVersion::V1_7 => "application/vnd.cyclonedx+json; version=1.7",
            };
            (
                bytes.map_err(|e| Problem::caused_by(Code::Internal, &e))?,
                HeaderValue::from_static(content_type),
            )
        }
    };
    let mut response = bytes_of(bytes, content_type, NO_STORE);
    if let Some(link) = next.and_then(|next| link(&uri, &next)) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

fn bad(name: &str, what: &str) -> Problem {
    Problem::new(Code::BadQuery, what).about(name)
}

fn format_of(text: &str) -> Option<Format> {
    match text {
        "json" => Some(Format::Json),
        "csv" => Some(Format::Csv),
        text => text
            .strip_prefix("cbom-")
            .and_then(BomVersion::of)
            .map(Format::Bom),
    }
}

/// The first type that is known; JSON for whoever asks for nothing else.
fn accepted(headers: &HeaderMap) -> Format {
    let given = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let types = given.unwrap_or_default().split(',');
    let mut known = types.filter_map(|each| {
        let (essence, parameters) = each.split_once(';').unwrap_or((each, ""));
        match essence.trim() {
            "application/json" => Some(Format::Json),
            "text/csv" => Some(Format::Csv),
            "application/vnd.cyclonedx+json" if parameters.contains("version=1.7") => {
                Some(Format::Bom(BomVersion::V1_7))
            }
            "application/vnd.cyclonedx+json" => Some(Format::Bom(BomVersion::V1_6)),
            _ => None,
        }
    });
    known.next().unwrap_or(Format::Json)
}

fn filter(asked: &Asked) -> Result<Filter, Problem> {
    let word = |name: &str, text: &Option<String>| -> Result<Option<Word>, Problem> {
        let parsed = text.as_deref().map(str::parse).transpose();
        parsed.map_err(|_| bad(name, "expected 1 to 40 characters of a-z, 0-9, - and _"))
    };
    let state = asked.state.as_deref().map(|text| {
        AssetState::of(text)
            .ok_or_else(|| bad("state", "expected prepared, active, revoked or retired"))
    });
    let due_before = asked.due_before.as_deref().map(str::parse::<Time>);
    let text = asked.text.clone();
    if text
        .as_ref()
        .is_some_and(|text| !trust::text::is_plain(text, 100))
    {
        return Err(bad("text", "expected 1 to 100 characters"));
    }
    Ok(Filter {
        key_type: word("key_type", &asked.key_type)?,
        owner: word("owner", &asked.owner)?,
        state: state.transpose()?,
        due_before: due_before
            .transpose()
            .map_err(|error| bad("due_before", &error.to_string()))?,
        text,
    })
}

/// The name of the last asset of the page before.
fn cursor(text: &str) -> Result<String, Problem> {
    let bytes = trust::base64url::decode(text);
    let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| bad("after", "expected `next` of a page"))
}

/// RFC 8288: the same query behind the last asset of this page.
fn link(uri: &Uri, next: &str) -> Option<HeaderValue> {
    let parts = uri.query().unwrap_or_default().split('&');
    let kept = parts.filter(|part| !part.is_empty() && !part.starts_with("after="));
    let after = format!("after={next}");
    let query: Vec<&str> = kept.chain([after.as_str()]).collect();
    let link = format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"));
    HeaderValue::from_str(&link).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{Fixture, OPERATOR};
    use crate::v1::asset::tests::{ADMINISTRATOR, registered};

    #[tokio::test]
    async fn the_inventory_has_rings_and_external_assets_in_pages() {
        let fixture = registered().await;
        let all = fixture.get_as(OPERATOR, "/v1/inventory").await.json();
        let names = |answer: &serde_json::Value| -> Vec<String> {
            let assets = answer["assets"].as_array().unwrap().iter();
            assets
                .map(|one| one["asset"].as_str().unwrap().to_owned())
                .collect()
        };
        let expected = [
            "external/partner",
            "external/shop",
            "signing/digests",
            "signing/records",
        ];
        assert_eq!(names(&all), expected);
        let records = &all["assets"][3];
        assert_eq!(
            (&records["key_type"], &records["owner"], &records["state"]),
            (&json!("signing"), &json!("security"), &json!("active"))
        );
        assert!(records["due_at"].is_string(), "{records}");
        assert_eq!(all["assets"][2]["state"], "prepared");
        let first = fixture
            .get_as(OPERATOR, "/v1/inventory?limit=3")
            .await
            .json();
        assert_eq!(names(&first).len(), 3);
        let next = first["next"].as_str().unwrap();
        let path = format!("/v1/inventory?limit=3&after={next}");
        let rest = fixture.get_as(OPERATOR, &path).await.json();
        assert_eq!(names(&rest), ["signing/records"]);
        assert!(rest.get("next").is_none());
        for (query, expected) in [
            ("key_type=api_key", vec!["external/partner"]),
            ("owner=platform", vec!["external/shop"]),
            ("state=prepared", vec!["signing/digests"]),
            ("text=PART", vec!["external/partner"]),
            ("due_before=1971-01-01T00:00:00.000Z", vec![]),
        ] {
            let path = format!("/v1/inventory?{query}");
            let found = fixture.get_as(OPERATOR, &path).await.json();
            assert_eq!(names(&found), expected, "{query}");
        }
        let path = "/v1/inventory?sort=rotated&limit=1&after=";
        let mut by_age = Vec::new();
        let mut next = String::new();
        loop {
            let page = match next.as_str() {
                "" => path.trim_end_matches("&after=").to_owned(),
                next => format!("{path}{next}"),
            };
            let page = fixture.get_as(OPERATOR, &page).await.json();
            by_age.extend(names(&page));
            match page["next"].as_str() {
                Some(after) => next = after.to_owned(),
                None => break,
            }
        }
        assert_eq!(
            by_age,
            ["signing/records", "external/partner", "external/shop"]
        );
        for query in [
            "limit=0",
            "limit=1001",
            "state=asleep",
            "key_type=A",
            "due_before=tomorrow",
            "text=",
            "after=*",
            "format=xml",
            "sort=size",
            "sort=rotated&after=AQ",
        ] {
            let path = format!("/v1/inventory?{query}");
            let refused = fixture.get_as(OPERATOR, &path).await;
            assert_eq!(refused.code(), "bad_query", "{query}");
        }
    }

    #[tokio::test]
    async fn the_inventory_is_written_as_asked_for() {
        let fixture = registered().await;
        let csv = fixture
            .get_as(OPERATOR, "/v1/inventory?format=csv&limit=2")
            .await;
        assert!(csv.header("content-type").starts_with("text/csv"));
        let text = String::from_utf8(csv.body.clone()).unwrap();
        assert!(text.starts_with("asset,key_type,"), "{text}");
        let link = csv.header("link");
        let rest = link.strip_prefix('<').unwrap().split('>').next().unwrap();
        assert!(rest.contains("format=csv&limit=2&after="), "{link}");
        // A full page has another behind it, which may be empty.
        let rest = rest.replace("limit=2", "limit=10");
        let rest = fixture.get_as(OPERATOR, &rest).await;
        assert!(
            String::from_utf8(rest.body.clone())
                .unwrap()
                .contains("signing/records")
        );
        assert_eq!(rest.header("link"), "");
        // What was exported is imported to the same.
        let body = json!({"csv": text, "dry_run": false}).to_string();
        let again = fixture
            .post_as(ADMINISTRATOR, "/v1/assets", &body)
            .await
            .json();
        assert_eq!(
            (&again["unchanged"], &again["applied"]),
            (&json!(2), &json!(false))
        );
        for version in ["1.6", "1.7"] {
            let path = format!("/v1/inventory?format=cbom-{version}");
            let bom = fixture.get_as(OPERATOR, &path).await;
            assert!(bom.header("content-type").ends_with(version));
            assert_eq!(bom.json()["specVersion"], version);
        }
        // A row that cannot be read is named, and no export leaves it out.
        let damage = "UPDATE external_asset SET owner = 'No Word' WHERE id = 'external/shop'";
        fixture.place.raw(damage).await.unwrap();
        let named = fixture.get_as(OPERATOR, "/v1/inventory").await.json();
        assert_eq!(named["unreadable"], json!(["external/shop"]));
        for format in ["csv", "cbom-1.6", "cbom-1.7"] {
            let path = format!("/v1/inventory?format={format}");
            let refused = fixture.get_as(OPERATOR, &path).await;
            assert_eq!(refused.code(), "internal", "{format}");
        }
        let refused = Fixture::new()
            .await
            .get_as(ADMINISTRATOR, "/v1/inventory")
            .await;
        assert_eq!(refused.code(), "invalid_credentials");
    }
}

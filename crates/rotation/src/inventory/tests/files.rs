//! Import and export, and files that cannot be taken.

use super::*;
use crate::error::ImportError;
use crate::inventory::import::PART;

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let (place, inventory) = inventory().await;
    let before = place.store.log_size().await.unwrap();
    let report = import(&inventory, rows(&[PARTNER, SHOP, OLD]), false).await;
    assert_eq!((report.new, report.refused, report.applied), (3, 0, false));
    assert_eq!(report.rows[1].row, 3, "the row of the sheet");
    assert_eq!(place.store.log_size().await.unwrap(), before);
    assert_eq!(names(&inventory, &Filter::default()).await, [""; 0]);

    let report = import(&inventory, rows(&[PARTNER, SHOP, OLD]), true).await;
    assert_eq!(
        (report.new, report.applied, report.log_indexes),
        (3, true, vec![before])
    );
    let leaf = place.store.leaf(before).await.unwrap().unwrap();
    assert_eq!(leaf.kind, "rotation");
    assert!(
        leaf.body.contains(r#""reason":"3 assets""#),
        "{}",
        leaf.body
    );
    // The same file may come again.
    let again = import(&inventory, rows(&[PARTNER, SHOP, OLD]), true).await;
    assert_eq!((again.new, again.unchanged, again.applied), (0, 3, false));
    assert_eq!(place.store.log_size().await.unwrap(), before + 1);
}

#[tokio::test]
async fn what_is_exported_is_imported_to_the_same() {
    let (place, inventory) = inventory().await;
    place.open_ring("records").await;
    import(&inventory, rows(&[PARTNER, SHOP, OLD]), true).await;
    let all = documents(&inventory.rows().await.unwrap());
    assert_eq!(all.len(), 4);
    let csv = sheet(&all).unwrap();
    let json = serde_json::to_vec(&AssetsFile {
        assets: all.clone(),
    })
    .unwrap();
    for (what, rows) in [
        ("csv", read_csv(csv.as_slice()).unwrap()),
        ("json", read_json(json.as_slice()).unwrap()),
    ] {
        let read: Vec<_> = rows.iter().map(|row| row.read.clone().unwrap()).collect();
        assert_eq!(read, all, "{what}");
        let report = import(&inventory, rows, true).await;
        assert_eq!(
            (report.unchanged, report.skipped, report.refused),
            (3, 1, 0),
            "{what}"
        );
    }
    // Into another installation too, which has no such ring.
    let (_other, elsewhere) = self::inventory().await;
    let externals: Vec<_> = all
        .into_iter()
        .filter(|one| one.asset.kind() == "external")
        .collect();
    let csv = sheet(&externals).unwrap();
    let report = import(&elsewhere, read_csv(csv.as_slice()).unwrap(), true).await;
    assert_eq!((report.new, report.applied), (3, true));
    assert_eq!(documents(&elsewhere.rows().await.unwrap()), externals);
}

#[tokio::test]
async fn one_refused_row_keeps_all_out_and_each_says_why() {
    let (place, inventory) = inventory().await;
    let before = place.store.log_size().await.unwrap();
    let cases = [
        (
            "external/f,api_key,\"two\r\nlines\",,wrapped,,2026-11-01T00:00:00.000Z,,,",
            "plain text",
        ),
        (
            "external/g,launch_code,,,wrapped,,2026-11-01T00:00:00.000Z,,,",
            "no key type has the name launch_code",
        ),
        (
            "external/h,api_key,,,safe,,2026-11-01T00:00:00.000Z,,,",
            "storage: expected hsm",
        ),
        (
            "external/i,api_key,,,wrapped,,2027-11-01T00:00:00.000Z,,,",
            "lies in the future",
        ),
        (
            "external/j,api_key,,,wrapped,,2026-11-01,,,",
            "rotated_at: expected an instant",
        ),
        (
            "external/k,api_key,,,wrapped,,2026-11-01T00:00:00.000Z,2026-10-01T00:00:00.000Z,,",
            "not after rotated_at",
        ),
        (
            "external/l,api_key,,,wrapped,0,2026-11-01T00:00:00.000Z,,,",
            "numbered from 1",
        ),
        (
            "external/l2,api_key,,,wrapped,1000000001,2026-11-01T00:00:00.000Z,,,",
            "1000000000 at most",
        ),
        (
            "external/m,api_key,,Team A,wrapped,,2026-11-01T00:00:00.000Z,,,",
            "owner: expected 1 to 40",
        ),
        (
            "external/n,api_key,,,wrapped,,2026-11-01T00:00:00.000Z,,env,",
            "labels: expected",
        ),
        (
            "external/o,api_key,,,wrapped,,2026-11-01T00:00:00.000Z,,,asleep",
            "state: expected",
        ),
        ("external/p,api_key,,,wrapped,,,,,", "rotated_at: when"),
        (
            "external/p2,api_key,,,wrapped,,2026-11-01T00:00:00.000Z,,,revoked",
            "state: expected",
        ),
        (
            "signing/records,signing,,,hsm,,2026-11-01T00:00:00.000Z,,,",
            "a driver of their own",
        ),
        (
            "external/Q,api_key,,,wrapped,,2026-11-01T00:00:00.000Z,,,",
            "asset: expected 1 to 100",
        ),
        ("external/r,api_key,,,wrapped", "5 cells, expected 10"),
    ];
    let mut lines = vec![PARTNER];
    lines.extend(cases.iter().map(|(line, _)| *line));
    let report = import(&inventory, rows(&lines), true).await;
    assert_eq!(
        (report.new, report.refused, report.applied),
        (1, cases.len(), false)
    );
    for (verdict, (line, why)) in report.rows.iter().skip(1).zip(cases) {
        assert_eq!(verdict.verdict, Verdict::Refused, "{line}");
        assert!(
            verdict.why.join("\n").contains(why),
            "{line}: {:?}",
            verdict.why
        );
    }
    assert_eq!(place.store.log_size().await.unwrap(), before);
    assert!(
        report.refusals(2).ends_with("and 14 more"),
        "{}",
        report.refusals(2)
    );
}

#[tokio::test]
async fn a_text_with_blanks_at_an_end_is_refused_because_a_sheet_loses_them() {
    let (_place, inventory) = inventory().await;
    for (purpose, label) in [(" calls", "prod"), ("calls ", "prod"), ("calls", "prod ")] {
        let row = serde_json::json!({
            "asset": "external/a", "key_type": "api_key", "storage": "wrapped",
            "rotated_at": at(-1), "purpose": purpose, "labels": { "env": label },
        });
        let report = import(&inventory, rows_of(vec![row]).unwrap(), true).await;
        let why = report.rows[0].why.join("\n");
        assert!(why.contains("blanks"), "{purpose:?} {label:?}: {why}");
    }
}

/// A row about `name` with this purpose.
fn with_purpose(name: &str, purpose: &str) -> String {
    format!("external/{name},api_key,{purpose},,wrapped,,2026-11-01T00:00:00.000Z,,,")
}

#[tokio::test]
async fn fault_a_cell_that_a_spreadsheet_takes_for_a_formula_is_refused() {
    let (place, inventory) = inventory().await;
    let before = place.store.log_size().await.unwrap();
    let cells = [
        "=1+1",
        "\"+SUM(A1)\"",
        "-2",
        "@cmd",
        "\" =1\"",
        "\"=HYPERLINK(\"\"https://attacker.example\"\")\"",
    ];
    for cell in cells {
        let row = with_purpose("a", cell);
        let report = import(&inventory, rows(&[PARTNER, &row]), true).await;
        let refused = &report.rows[1];
        assert_eq!(
            (report.new, report.refused, refused.row),
            (1, 1, 3),
            "{cell}"
        );
        let why = refused.why.join("\n");
        let said = why.starts_with("purpose: begins with") && why.ends_with("for a formula");
        assert!(said, "{why}");
    }
    assert_eq!(place.store.log_size().await.unwrap(), before);
}

#[tokio::test]
async fn fault_of_two_rows_about_one_asset_the_second_is_refused_and_nothing_is_taken() {
    let (place, inventory) = inventory().await;
    let before = place.store.log_size().await.unwrap();
    let (first, second) = (with_purpose("a", "one"), with_purpose("a", "two"));
    for second in [&first, &second] {
        let report = import(&inventory, rows(&[&first, PARTNER, second]), true).await;
        assert_eq!((report.new, report.refused, report.applied), (2, 1, false));
        assert_eq!(report.rows[2].why, ["asset: it is in row 2 already"]);
    }
    assert_eq!(place.store.log_size().await.unwrap(), before);
}

#[tokio::test]
async fn fault_an_import_that_breaks_off_is_completed_by_the_same_file() {
    let (place, inventory) = inventory().await;
    let lines: Vec<String> = (0..PART + 300)
        .map(|n| format!("external/a{n:04},api_key,,,wrapped,,2026-11-01T00:00:00.000Z,,,"))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let size = async || place.store.log_size().await.unwrap();
    let before = size().await;
    let broken =
        "CREATE TRIGGER broken BEFORE INSERT ON external_asset WHEN NEW.id = 'external/a2200'
        BEGIN SELECT RAISE(ABORT, 'broken'); END";
    place.raw(broken).await.unwrap();
    let by = ("olga", at(0));
    let error = inventory.import(rows(&lines), true, by).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "2000 of 2300 assets are registered; import the same again, and it registers the others"
    );
    assert_eq!(size().await, before + 1, "each part has its leaf");
    place.raw("DROP TRIGGER broken").await.unwrap();
    let report = import(&inventory, rows(&lines), true).await;
    assert_eq!((report.new, report.unchanged), (300, PART));
    assert_eq!(report.rows.len(), PART + 300, "each row has its verdict");
    assert_eq!(report.log_indexes, [before + 1]);
    let reason = async |index| {
        let leaf = place.store.leaf(index).await.unwrap().unwrap();
        let body: serde_json::Value = serde_json::from_str(&leaf.body).unwrap();
        body["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(before).await, "assets 1 to 2000 of 2300");
    assert_eq!(reason(before + 1).await, "300 assets");
    let again = import(&inventory, rows(&lines), true).await;
    assert_eq!((again.unchanged, again.applied), (PART + 300, false));
}

#[test]
fn fault_csv_with_a_byte_order_mark_is_read_as_without() {
    let text = format!("{HEADER}\n{PARTNER}\n");
    let marked = format!("\u{feff}{text}");
    let read = |text: &str| read_csv(text.as_bytes()).unwrap().remove(0).read.unwrap();
    assert_eq!(read(&marked), read(&text));
    // Nowhere else is it a mark.
    let inside = format!("{HEADER}\n\u{feff}{PARTNER}\n");
    assert!(read_csv(inside.as_bytes()).unwrap()[0].read.is_err());
}

#[test]
fn fault_csv_with_crlf_is_read_as_with_lf() {
    let text = format!("{HEADER}\n{PARTNER}\n{SHOP}\n");
    let read = |text: &str| {
        let rows = read_csv(text.as_bytes()).unwrap();
        let read = rows.into_iter().map(|row| (row.row, row.read.unwrap()));
        read.collect::<Vec<_>>()
    };
    assert_eq!(read(&text.replace('\n', "\r\n")), read(&text));
}

#[test]
fn csv_with_a_bom_crlf_and_quotes_is_read() {
    let text = format!("\u{feff}{HEADER}\r\n{PARTNER}\r\n\r\n{SHOP}\n");
    let rows = read_csv(text.as_bytes()).unwrap();
    assert_eq!(rows.len(), 2);
    let document = rows[0].read.as_ref().unwrap();
    assert_eq!(document.purpose, "calls, to the partner");
    assert_eq!(document.labels["tier"], "1");
    assert_eq!(rows[1].row, 3, "an empty line is no row");
    // Columns in another order, and only those that must be.
    let few =
        "storage,rotated_at,asset,key_type\nfiles,2026-11-01T00:00:00.000Z,external/a,api_key\n";
    let read = read_csv(few.as_bytes()).unwrap();
    assert_eq!(read[0].read.as_ref().unwrap().asset.as_str(), "external/a");
}

#[test]
fn a_file_with_wrong_columns_is_refused_as_a_whole() {
    let why = |text: &str| read_csv(text.as_bytes()).unwrap_err().to_string();
    assert!(
        why("asset,key_type,storage\nexternal/a,api_key,files\n").contains("rotated_at is missing")
    );
    assert!(why("asset,asset,key_type,storage,rotated_at\n").contains("asset occurs twice"));
    assert!(why("asset,secret\n").contains("unknown column \"secret\""));
    assert!(why("").contains("no asset"));
    assert!(why(HEADER).contains("no asset"));
    assert!(why("=cmd|' /C calc'!A0\n").contains("unknown column"));
}

#[test]
fn a_row_that_is_not_utf8_is_refused_alone() {
    let mut bytes = format!("{HEADER}\n{PARTNER}\n").into_bytes();
    bytes.extend(b"external/x,api_key,caf\xe9,,files,,2026-11-01T00:00:00.000Z,,,\n");
    let rows = read_csv(bytes.as_slice()).unwrap();
    assert!(rows[0].read.is_ok());
    assert_eq!(rows[1].read.as_ref().unwrap_err()[0], "purpose: not UTF-8");
}

#[test]
fn fault_a_million_rows_are_refused_and_not_kept() {
    let line = "external/a,api_key,,,files,,2026-11-01T00:00:00.000Z,,,\n";
    let text = format!("{HEADER}\n{}", line.repeat(1_000_000));
    let refused = read_csv(text.as_bytes()).unwrap_err();
    assert!(
        matches!(refused, ImportError::TooMany(100_000)),
        "{refused}"
    );
    // A quote that nobody closes makes one cell of the rest.
    let open = format!(
        "{HEADER}\n\"{}",
        "x".repeat(usize::try_from(MOST_BYTES).unwrap())
    );
    let refused = read_csv(open.as_bytes()).unwrap_err();
    assert!(matches!(refused, ImportError::TooLong(_)), "{refused}");
    let refused = read_json(vec![b' '; usize::try_from(MOST_BYTES).unwrap() + 1].as_slice());
    assert!(
        matches!(refused, Err(ImportError::TooLong(_))),
        "{refused:?}"
    );
}

#[test]
fn threat_a_formula_leaves_with_an_export() {
    let read = read_csv(format!("{HEADER}\n{PARTNER}\n").as_bytes()).unwrap();
    let mut document = read[0].read.clone().unwrap();
    // Of a kind to come, whose texts nobody checked here.
    document.purpose = "=HYPERLINK(\"https://attacker.example\")".to_owned();
    let text = String::from_utf8(sheet(&[document]).unwrap()).unwrap();
    assert!(text.contains("\"'=HYPERLINK("), "{text}");
}

#[tokio::test]
async fn a_bill_of_materials_has_the_members_that_the_schema_asks_for() {
    let (place, inventory) = inventory().await;
    place.open_ring("records").await;
    import(&inventory, rows(&[PARTNER, SHOP, OLD]), true).await;
    let all = inventory.rows().await.unwrap();
    let types = inventory.policies().types().await.unwrap();
    for version in [BomVersion::V1_6, BomVersion::V1_7] {
        let bom = serde_json::to_value(cbom(&all, &types, version, at(0))).unwrap();
        assert_eq!(bom["bomFormat"], "CycloneDX");
        assert_eq!(bom["specVersion"], version.as_str());
        let components = bom["components"].as_array().unwrap();
        assert_eq!(components.len(), 5);
        assert!(
            components
                .iter()
                .all(|one| one["type"] == "cryptographic-asset" && one["name"].is_string())
        );
        let of = |name: &str| &components.iter().find(|one| one["name"] == name).unwrap()["cryptoProperties"];
        let ring = &of("signing/records")["relatedCryptoMaterialProperties"];
        assert_eq!(
            of("signing/records")["assetType"],
            "related-crypto-material"
        );
        assert_eq!(
            (&ring["type"], &ring["state"]),
            (&"private-key".into(), &"active".into())
        );
        assert_eq!(ring["securedBy"]["mechanism"], "HSM");
        assert_eq!(ring["algorithmRef"], components[0]["bom-ref"]);
        let certificate = &of("external/shop.example")["certificateProperties"];
        assert_eq!(certificate["notValidAfter"], "2026-12-20T00:00:00.000Z");
        assert_eq!(
            certificate["certificateState"].is_array(),
            version == BomVersion::V1_7
        );
    }
}

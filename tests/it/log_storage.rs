//! Storage of the log that takes nothing more: signing goes on, and says so.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::process::until;
use crate::support::witnessed_log::{House, readiness};

#[test]
fn case_a9_storage_that_takes_nothing_is_told_and_receipts_fail_at_once() {
    let house = House::new();
    let service = house.installation.serve();
    house.sign(&service);
    let (log, away) = (house.at().join("log"), house.at().join("away"));
    // A file in the place of the directory: every write fails, as on a full disk.
    fs::rename(&log, &away).expect("moved");
    fs::write(&log, "").expect("a file");
    house.try_sign(&service).ok();
    until("readiness tells", || {
        readiness(&service)["parts"]["log"]["late"].is_string()
    });
    let ready = readiness(&service);
    assert_eq!(ready["parts"]["log"]["ok"], false);
    let late = ready["parts"]["log"]["late"].to_string();
    assert!(
        late.contains("wait for a checkpoint") && late.contains("the log's storage failed"),
        "{late}"
    );
    assert_eq!(ready["serves"]["signing"], true, "{ready}");
    let before = Instant::now();
    let signed: Value = house.try_sign(&service).ok();
    assert!(before.elapsed() < Duration::from_secs(5), "it did not wait");
    assert_eq!(signed["receipt"], Value::Null);
    let why = signed["receipt_unavailable"].to_string();
    assert!(why.contains("the log's storage failed"), "{why}");

    fs::remove_file(&log).expect("gone");
    fs::rename(&away, &log).expect("moved");
    until("receipts are given again", || {
        house.try_sign(&service).ok()["receipt"].is_string()
    });
    assert_eq!(readiness(&service)["parts"]["log"]["ok"], true);
}

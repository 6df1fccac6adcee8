//! Of an installation that is kept: a policy of a critical key type that the quorum decided.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::installation::{Installation, member, text};

/// Signing keys rotate sooner, by a ceremony whose transcript is written to `transcript`.
pub fn decided(installation: &Installation, transcript: &Path) {
    let shown = installation.chancery(["policy", "show", "signing"]).json();
    let mut document = shown["document"].clone();
    document["version"] = json!(2);
    document["interval"] = json!("80d");
    let file = installation.file("signing-policy.json");
    fs::write(&file, document.to_string()).expect("written");
    let id = installation.propose_words(&["ceremony", "new", "rotation-policy", text(&file)]);
    installation.vote_all("approve", &id);
    installation.chancery(["ceremony", "execute", &id]);
    installation.vote_all("accept", &id);
    let shown = installation.chancery(["policy", "show", "signing"]).json();
    assert_eq!(member(&shown["document"], "interval"), "80d");
    let out = ["ceremony", "transcript", &id, "--out", text(transcript)];
    installation.chancery(out);
}

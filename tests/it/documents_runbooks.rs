//! The pages of deploy/runbooks: each alert has one, and every command in them runs as it is printed. What a reader fills in is filled
//! in here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use calendar::KeyTypes;
use calendar::alerts::AlertName;
use serde_json::Value;

use crate::documents_scripts::{Room, id_of};
use crate::documents_story::{Section, last_line};
use crate::support::process::{repository, until};

const PAGES: &str = "deploy/runbooks";
const KEY_TYPES: &str = "deploy/runbooks/key-types";

/// The index, and the page that others lead to.
const NOT_OF_ALERTS: [&str; 2] = ["README.md", "emergency.md"];

/// What is done last, because nothing can be done with it afterwards.
const LAST: [&str; 4] = [
    "chancery rotation cancel",
    "chancery asset retire",
    "chancery trust suspend",
    "chancery rotation declare",
];

/// What a rule refuses in the room that the commands are typed in, and in which words: nothing failed there, nothing was promoted, no
/// message was lost.
const REFUSED: [(&str, &str); 7] = [
    (
        "chancery asset report ASSET --rotated-at INSTANT --expires-at",
        "expires_at",
    ),
    ("chancery notify retry", "no dead letter"),
    ("chancery notify test", "no receiver"),
    ("chancery rotation done EVENT generate", "reported twice"),
    ("chancery rotation retry", "cannot be tried again"),
    ("chancery rotation roll-back", "cannot be rolled back"),
    ("chancery rotation schedule", "rotates already"),
];

fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(repository(directory)).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.into_string().expect("a name"));
    names.filter(|name| name.ends_with(".md")).collect()
}

#[test]
fn each_alert_has_its_runbook_and_each_runbook_its_alert() {
    let rules = fs::read_to_string(repository("deploy/prometheus/chancery.rules.yml"));
    let rules = rules.expect("the rules");
    let named = rules.lines().filter_map(|line| {
        let (_, page) = line.split_once("deploy/runbooks/")?;
        Some(page.trim_end_matches('\'').to_owned())
    });
    let mut named: BTreeSet<String> = named.filter(|page| page.ends_with(".md")).collect();
    assert!(named.len() > 20, "{named:?}");
    named.extend(AlertName::ALL.iter().map(|alert| format!("{alert}.md")));
    named.extend(NOT_OF_ALERTS.map(str::to_owned));
    assert_eq!(names(PAGES), named);
}

#[test]
fn each_key_type_has_its_runbook() {
    let types = KeyTypes::standard();
    let types = types.iter().map(|known| format!("{}.md", known.name));
    assert_eq!(names(KEY_TYPES), types.collect());
}

/// Commands as they are printed, and whether each stands on a line of its own.
fn commands() -> BTreeMap<String, bool> {
    let mut found = BTreeMap::new();
    let files = |directory: &str| {
        let directory = PathBuf::from(directory);
        names(directory.to_str().expect("a path"))
            .into_iter()
            .map(move |name| directory.join(name))
    };
    for path in files(PAGES).chain(files(KEY_TYPES)) {
        if path.ends_with("emergency.md") {
            continue;
        }
        let text = fs::read_to_string(repository(path.to_str().expect("a path"))).expect("a page");
        let (lines, prose): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with("    "));
        for line in lines {
            found.insert(line.trim().to_owned(), true);
        }
        for span in prose.join(" ").split('`').skip(1).step_by(2) {
            if span.starts_with("chancery ") {
                found.entry(span.to_owned()).or_insert(false);
            }
        }
    }
    found
}

fn json(said: &str) -> Value {
    serde_json::from_str(said).unwrap_or_else(|e| panic!("{e}: {said}"))
}

#[test]
fn every_command_of_the_runbooks_runs_as_printed() {
    let room = Room::new();
    let kid = room.first_key();
    room.another_key();
    let runs = |command: &str| room.as_by("", command, &[]);
    // One of each type, and two that something happens to.
    let mut sheet = "asset,key_type,storage,rotated_at\n".to_owned();
    let types = KeyTypes::standard();
    let types = types
        .iter()
        .map(|known| (known.name.as_str(), known.name.as_str()));
    for (asset, key_type) in types.chain([
        ("partner", "api_key"),
        ("spare", "api_key"),
        ("leaked", "api_key"),
    ]) {
        sheet += &format!("external/{asset},{key_type},wrapped,2020-01-01T00:00:00.000Z\n");
    }
    fs::write(room.reader.file("assets.csv"), sheet).expect("written");
    runs("chancery asset import assets.csv --apply");
    runs(
        "openssl req -x509 -newkey ed25519 -nodes -keyout tls.key -out tls.pem -subj /CN=localhost",
    );
    runs("chancery rotation schedule api_key --asset external/partner --force");
    let events = json(&runs(
        "chancery rotation events --asset external/partner --output json",
    ));
    let event = events[0]["id"].as_str().expect("an event").to_owned();
    let show = format!("chancery rotation show {event} --output json");
    until("the rotation waits for a person", || {
        json(&runs(&show))["waits"] == "person"
    });
    let mut alert = String::new();
    until("the alert fires", || {
        let alerts = json(&runs(
            "chancery alert list --name rotation-overdue --output json",
        ));
        alert = alerts["alerts"][0]["id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        !alert.is_empty()
    });
    let reports = ["one", "two"].map(|name| {
        let file = format!(
            "chancery emergency report {name} --asset external/leaked --source drill --reason drill --output json"
        );
        json(&runs(&file))["id"].as_str().expect("an id").to_owned()
    });
    let mut first = Section::whole("docs/ceremonies/first-key.md");
    first.next("chancery trust show");
    let open = last_line(&room.as_by("adam", &first.next("chancery ceremony new generate"), &[]));
    let now = room.reader.runs("date -u +%Y-%m-%dT%H:%M:%S.000Z", &[]);
    let mut commands: Vec<(String, bool)> = commands().into_iter().collect();
    commands.sort_by_key(|(command, _)| LAST.iter().any(|last| command.starts_with(last)));
    assert!(commands.len() > 80, "{}", commands.len());
    let mut wrong = Vec::new();
    for (command, is_line) in commands {
        match command.as_str() {
            "chancery job resume" => drop(runs("chancery job pause --reason drill")),
            "chancery job resume JOB" => {
                drop(runs(
                    "chancery job pause key_rotation_health_check --reason drill",
                ));
            }
            _ => {}
        }
        let words: Vec<&str> = command.split(' ').collect();
        let asset = match words.as_slice() {
            ["chancery", "asset", "retire", ..] => "external/spare".to_owned(),
            ["chancery", "rotation", "declare", key_type, ..] => format!("external/{key_type}"),
            _ => "external/partner".to_owned(),
        };
        let report = match words.as_slice() {
            ["chancery", "emergency", "dismiss", ..] => &reports[1],
            _ => &reports[0],
        };
        let values = [
            ("RING", "integrity"),
            ("KID", &kid),
            ("ID", &open),
            ("EVENT", &event),
            ("REPORT", report),
            ("ALERT", &alert),
            ("ASSET", asset.as_str()),
            ("TYPE", "api_key"),
            ("JOB", "key_rotation_health_check"),
            ("STEP", "generate"),
            ("INSTANT", &now),
            ("MEMBER", "wanda"),
            ("MESSAGE", "nt_0"),
            ("RECEIVER", "operations"),
            ("NAME", "portal"),
            ("ROLE", "operator"),
            ("SAN", "portal.example"),
            ("TEAM", "integration"),
            ("CERTIFICATE", "tls.pem"),
            ("TEXT", "drill"),
            ("KEY", "ada"),
        ];
        let said = room.reader.tries(&command, &values);
        let refused = REFUSED
            .iter()
            .find(|(begins, _)| command.starts_with(begins));
        let fits = match refused {
            Some((_, words)) => said.code != Some(0) && said.stderr.contains(words),
            // A command that is only named.
            None if !is_line && said.code == Some(2) => said.stderr.contains("required arguments"),
            None => said.code == Some(0),
        };
        if !fits {
            wrong.push(format!("{command}: {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// By those who are there then.
#[test]
fn the_page_for_an_emergency_runs_as_printed() {
    let room = Room::new();
    let kid = room.first_key();
    let new = room.another_key();
    // A standby key that could sign by now.
    (room.reader).runs_when_due("chancery ring rotate integrity", &[]);
    let roles = "chancery trust new-roster --roles ada=custodian,security-lead --roles berta=custodian,on-call-manager \
                 --out roles --url URL --genesis SHA256 --key KEY";
    let roster = id_of(&room.as_by("ada", roles, &[]));
    let sign = "chancery trust sign ROSTER --url URL --genesis SHA256 --key KEY";
    room.as_by("berta", sign, &[("ROSTER", &roster)]);
    let asset = "chancery asset register external/seal --key-type token_encryption --storage wrapped \
                 --rotated-at 2020-01-01T00:00:00.000Z";
    room.as_by("", asset, &[]);
    let now = room.reader.runs("date -u +%Y-%m-%dT%H:%M:%S.000Z", &[]);
    let mut page = Section::whole("deploy/runbooks/emergency.md");
    let is = [("RING", "integrity"), ("TEXT", "drill"), ("ID", "adam")];
    let runs = |who: &str, command: &str, more: &[(&str, &str)]| {
        let fixed = [
            ("KID", kid.as_str()),
            ("NEW", new.as_str()),
            ("NEW", new.as_str()),
            ("INSTANT", now.as_str()),
        ];
        let other = [("TYPE", "token_encryption"), ("ASSET", "external/seal")];
        room.as_by(who, command, &[&is[..], &fixed, &other, more].concat())
    };
    runs("ada", &page.next("chancery emergency stop"), &[]);
    let state = runs("ada", &page.next("chancery emergency state"), &[]);
    assert!(state.contains("integrity"), "{state}");
    runs("ada", &page.next("chancery ring show"), &[]);
    let rotate = page.next("chancery emergency rotate");
    let ceremony = id_of(&last_line(&runs("adam", &rotate, &[])));
    let steps = |page: &mut Section| {
        let begins = ["review", "approve", "execute", "accept"];
        begins.map(|verb| page.next(&format!("chancery ceremony {verb} CEREMONY")))
    };
    let decide = |[review, approve, execute, accept]: &[String; 4], id: &str| {
        let is = [("CEREMONY", id)];
        for who in ["ada", "berta", "carl"] {
            runs(who, review, &is);
            runs(who, approve, &is);
        }
        runs("", execute, &is);
        for who in ["ada", "berta"] {
            runs(who, accept, &is);
        }
    };
    decide(&steps(&mut page), &ceremony);
    let ratify = page.next("chancery emergency ratify");
    let ratified = id_of(&last_line(&runs("adam", &ratify, &[])));
    let four = steps(&mut page);
    decide(&four, &ratified);
    let resume = page.next("chancery emergency resume");
    decide(&four, &id_of(&last_line(&runs("adam", &resume, &[]))));
    runs("", &page.next("curl -s"), &[]);
    runs("", &page.next("chancery audit list"), &[]);
    runs("", &page.next("chancery rotation declare"), &[]);
    runs("", &page.next("chancery rotation events"), &[]);
    let state = runs("", &page.next("chancery emergency state"), &[]);
    assert!(state.contains("no ring is stopped"), "{state}");
    runs("", &page.next("chancery log check"), &[]);
    for begins in ["chancery ceremony transcript", "chancery ceremony verify"] {
        runs("", &page.next(begins), &[("CEREMONY", &ceremony)]);
    }
    page.end();
}

//! Who may name whom. The floors of docs/ARCHITECTURE.md, read off the sources; each rule below is shown a snippet that
//! breaks it.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::support::rust_source::{self, Token};

/// A room of the service: its floor, and its place from the left. Imports go down, or left on the same floor.
const ROOMS: &[(&str, u8, u8)] = &[
    ("config", 1, 0),
    ("telemetry", 1, 0),
    // A witness stands alone: it knows neither the database nor the token.
    ("witness", 2, 0),
    ("log", 3, 0),
    ("keys", 3, 2),
    ("signing", 3, 3),
    ("verification", 3, 3),
    ("ceremony", 3, 4),
    ("rotation", 3, 5),
    ("envelope", 3, 6),
    ("secrets", 3, 6),
    ("certificates", 3, 6),
    ("audit", 3, 7),
    ("evidence", 3, 7),
    ("alerts", 3, 7),
    ("http", 4, 0),
    ("console", 4, 0),
    ("cli", 4, 0),
];

/// Crates that stay in their rooms. `main` wires everything and may name them all.
const FOREIGN: &[(&[&str], &[&str])] = &[
    (
        &[
            "axum",
            "tower",
            "tower_http",
            "utoipa",
            "utoipa_axum",
            "utoipa_swagger_ui",
        ],
        &["http/", "console/"],
    ),
    (&["clap", "comfy_table", "indicatif"], &["cli/"]),
    // The log asks its witnesses.
    (&["reqwest"], &["cli/", "log/witnesses/"]),
    (&["rustls", "axum_server", "x509_cert"], &["http/"]),
    // These have crates of their own.
    (&["cryptoki", "hsm", "sqlx"], &[]),
];

/// What the crates may build on: those of this workspace that are below them, and foreign ones that
/// no other may name.
const CRATES: &[(&str, &[&str], &[&str])] = &[
    ("crates/trust", &[], &[]),
    ("crates/access", &["store", "trust"], &[]),
    ("crates/base", &["trust"], &[]),
    ("crates/store", &["trust"], &["sqlx"]),
    ("crates/token", &["hsm", "trust"], &[]),
    ("hsm", &[], &["cryptoki"]),
    (".", &["access", "base", "store", "token", "trust"], &[]),
];

/// A PKCS#11 library blocks, and its worker answers to nobody but its own process.
const NOT_IN_HSM: &[&str] = &["tokio", "axum", "reqwest"];

/// What `trust` may build on: an auditor reads this list.
const TRUST_DEPENDENCIES: &[&str] = &[
    "aws-lc-rs",
    "base64ct",
    // CMS and X.509, for RFC 3161 tokens.
    "cms",
    "der",
    "jiff",
    // The lower s of an ECDSA signature, and nothing else.
    "p256",
    "p384",
    "serde",
    "serde_json",
    "serde_json_canonicalizer",
    "spki",
    "ssh-key",
    "thiserror",
    "x509-cert",
];

/// What would make `trust` depend on where and when it runs.
const IMPURE: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "net"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "SystemTime"],
    &["std", "time", "Instant"],
    &["jiff", "Timestamp", "now"],
    &["jiff", "Zoned", "now"],
    &["aws_lc_rs", "rand"],
    &["tokio"],
];

const MOST_LINES: usize = 600;

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    Floor,
    Room,
    Pure,
    Length,
    Attribute,
    Unfinished,
}

#[derive(Debug)]
struct Violation {
    file: String,
    line: usize,
    rule: Rule,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {:?}: {}",
            self.file, self.line, self.rule, self.what
        )
    }
}

/// All that is wrong with one file, named by its path from the root of the repository.
fn inspect(file: &str, source: &str) -> Vec<Violation> {
    let tokens = rust_source::tokens(source);
    let mut found = Vec::new();
    let mut add = |line: usize, rule: Rule, what: String| {
        found.push(Violation {
            file: file.to_owned(),
            line,
            rule,
            what,
        });
    };

    let lines = source.lines().count();
    if lines > MOST_LINES {
        add(
            lines,
            Rule::Length,
            format!("{lines} lines, {MOST_LINES} at most"),
        );
    }
    for (line, attribute) in rust_source::attributes(&tokens) {
        for (word, instead) in [
            ("ignore", "a test that does not run proves nothing"),
            ("allow", "use #[expect(…, reason)]"),
        ] {
            let conditional = attribute.first() == Some(&"cfg_attr") && attribute.contains(&word);
            if attribute.first() == Some(&word) || conditional {
                add(line, Rule::Attribute, format!("#[{word}]: {instead}"));
            }
        }
    }
    for three in tokens.windows(3) {
        if ["todo", "unimplemented", "dbg"].contains(&three[0].text.as_str())
            && three[1].text == "!"
            && three[2].text != "="
        {
            add(
                three[0].line,
                Rule::Unfinished,
                format!("{}!", three[0].text),
            );
        }
    }
    if let Some(within) = file.strip_prefix("src/") {
        service(within, &tokens, &mut add);
    } else if let Some(within) = file.strip_prefix("crates/trust/src/") {
        pure_crate(within, &tokens, &mut add);
    } else if file.starts_with("hsm/src/") {
        blocking_crate(&tokens, &mut add);
    }
    // `use crate::x::{self, Y}` is one import of `x`.
    found.dedup_by(|a, b| a.to_string() == b.to_string());
    found
}

fn service(within: &str, tokens: &[Token], add: &mut impl FnMut(usize, Rule, String)) {
    let module = module_of(within);
    let Some(room) = module.first() else {
        return; // main.rs wires everything
    };
    let Some(here) = place(room) else {
        add(
            1,
            Rule::Floor,
            format!("the room `{room}` has no floor: give it one in tests/it/layering.rs"),
        );
        return;
    };
    for path in rust_source::paths(tokens) {
        if let Some(target) = room_named(&module, &path).filter(|target| target != room) {
            match place(&target) {
                Some(there) if there < here => {}
                Some(there) => add(
                    path.line,
                    Rule::Floor,
                    format!(
                        "`{room}` (floor {}) names `{target}` (floor {}): imports go down, or left",
                        here.0, there.0
                    ),
                ),
                None => add(
                    path.line,
                    Rule::Floor,
                    format!("`{room}` names `{target}` of main: imports go down"),
                ),
            }
        }
        let first = path.segments.first().map_or("", String::as_str);
        for (crates, rooms) in FOREIGN {
            if crates.contains(&first) && !rooms.iter().any(|r| within.starts_with(r)) {
                let only = if rooms.is_empty() {
                    "a crate of its own".to_owned()
                } else {
                    rooms.join(", ")
                };
                add(
                    path.line,
                    Rule::Room,
                    format!("`{first}` is named in {only} only"),
                );
            }
        }
    }
}

fn pure_crate(within: &str, tokens: &[Token], add: &mut impl FnMut(usize, Rule, String)) {
    let for_tests = within.ends_with("/tests.rs") || within.contains("/tests/");
    for path in rust_source::paths(tokens) {
        if ["hsm", "chancery"].contains(&path.segments[0].as_str()) {
            add(
                path.line,
                Rule::Floor,
                format!("`trust` names `{}`", path.segments[0]),
            );
        }
        let impure = IMPURE.iter().find(|p| {
            path.segments
                .iter()
                .map(String::as_str)
                .take(p.len())
                .eq(p.iter().copied())
        });
        if let Some(impure) = impure.filter(|_| !for_tests && !path.in_test) {
            add(
                path.line,
                Rule::Pure,
                format!(
                    "`{}`: trust is a function of its arguments",
                    impure.join("::")
                ),
            );
        }
    }
    for token in tokens.iter().filter(|t| t.text == "async") {
        add(
            token.line,
            Rule::Pure,
            "`async`: trust is a function of its arguments".to_owned(),
        );
    }
}

fn blocking_crate(tokens: &[Token], add: &mut impl FnMut(usize, Rule, String)) {
    for path in rust_source::paths(tokens) {
        if ["trust", "chancery", "tokio"].contains(&path.segments[0].as_str()) {
            add(
                path.line,
                Rule::Floor,
                format!("`hsm` names `{}`", path.segments[0]),
            );
        }
    }
    for token in tokens.iter().filter(|t| t.text == "async") {
        add(
            token.line,
            Rule::Pure,
            "`async`: hsm is synchronous".to_owned(),
        );
    }
}

fn place(room: &str) -> Option<(u8, u8)> {
    ROOMS.iter().find(|r| r.0 == room).map(|r| (r.1, r.2))
}

/// `http/sign.rs` is the module `http::sign`, `http/mod.rs` is `http`, `main.rs` is the root.
fn module_of(within: &str) -> Vec<String> {
    let path = within.trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|m| m == "mod") || path == "main" || path == "lib" {
        module.pop();
    }
    module
}

/// The first name below the root of the service's crate that a path reaches, by `crate::` or by enough `super::`.
fn room_named(module: &[String], path: &rust_source::Path) -> Option<String> {
    let mut at: Vec<&String> = module.iter().chain(&path.inside).collect();
    for (i, segment) in path.segments.iter().enumerate() {
        match segment.as_str() {
            "crate" if i == 0 => at.clear(),
            "self" if i == 0 => {}
            "super" => {
                at.pop();
            }
            _ if i == 0 => return None,
            _ => {
                at.push(segment);
                break;
            }
        }
    }
    at.first().map(|s| (*s).clone())
}

/// Every Rust file below `directory`, as (path from the root, text).
fn sources(root: &Path, directory: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(root.join(directory)) else {
        return found;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            if !path.ends_with("/target") {
                found.extend(sources(root, &path));
            }
        } else if path.ends_with(".rs") {
            found.push((path.clone(), fs::read_to_string(root.join(&path)).unwrap()));
        }
    }
    found
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn dependencies_of(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(manifest)).unwrap();
    let table: toml::Table = text.parse().unwrap();
    table["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

#[test]
fn every_source_keeps_to_its_floor_and_room() {
    let mut read = 0;
    let mut found = Vec::new();
    for directory in ["src", "crates", "hsm", "tests", "benches"] {
        for (file, text) in sources(repository(), directory) {
            read += 1;
            found.extend(inspect(&file, &text).iter().map(ToString::to_string));
        }
    }
    assert!(read > 3, "only {read} files found: is this the repository?");
    assert!(
        found.is_empty(),
        "{} violations\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn crates_depend_on_what_they_may() {
    for dependency in dependencies_of("crates/trust/Cargo.toml") {
        assert!(
            TRUST_DEPENDENCIES.contains(&dependency.as_str()),
            "crates/trust/Cargo.toml: `{dependency}` is not on the list"
        );
    }
    for dependency in dependencies_of("hsm/Cargo.toml") {
        assert!(
            !NOT_IN_HSM.contains(&dependency.as_str()),
            "hsm/Cargo.toml: `{dependency}`"
        );
    }
    let ours = [
        "access", "base", "hsm", "store", "token", "trust", "chancery",
    ];
    let kept: Vec<&str> = CRATES.iter().flat_map(|each| each.2).copied().collect();
    for (directory, below, own) in CRATES {
        for dependency in dependencies_of(&format!("{directory}/Cargo.toml")) {
            let dependency = dependency.as_str();
            let known = !ours.contains(&dependency) || below.contains(&dependency);
            let free = !kept.contains(&dependency) || own.contains(&dependency);
            assert!(known && free, "{directory}/Cargo.toml: `{dependency}`");
        }
    }
    let listed = fs::read_dir(repository().join("crates"))
        .unwrap()
        .map(|each| {
            let name = each.unwrap().file_name();
            format!("crates/{}", name.to_str().unwrap())
        });
    for directory in listed {
        let told = CRATES.iter().any(|each| each.0 == directory);
        assert!(
            told,
            "{directory} has no floor: give it one in tests/it/layering.rs"
        );
    }
}

/// The rules broken by a snippet, each with the line it stands on.
fn broken(file: &str, source: &str) -> Vec<(Rule, usize)> {
    inspect(file, source)
        .into_iter()
        .map(|v| (v.rule, v.line))
        .collect()
}

#[test]
fn imports_go_down_or_left() {
    for (file, source) in [
        ("src/config/mod.rs", "use crate::telemetry::Filter;"),
        ("src/witness/mod.rs", "\nuse crate::log::Log;"),
        (
            "src/log/mod.rs",
            "use crate::{\n    config::Config,\n    keys::{self, Ring},\n};",
        ),
        (
            "src/signing/mod.rs",
            "fn f() { crate::verification::verdict(); }",
        ),
        ("src/keys/plan.rs", "use super::super::ceremony::Tally;"),
        ("src/http/sign.rs", "use crate::cli::Arguments;"),
        (
            "src/http/sign.rs",
            "mod inner { use super::super::super::console; }",
        ),
        ("src/keys/mod.rs", "use crate::Wiring;"),
    ] {
        let found = broken(file, source);
        assert_eq!(found.len(), 1, "{file}: {source}: {found:?}");
        assert_eq!(found[0].0, Rule::Floor);
    }
    for (file, source) in [
        ("src/main.rs", "use crate::http::Router; mod cli;"),
        (
            "src/http/sign.rs",
            "use crate::{signing::Signer, log::Log, config::Http};",
        ),
        (
            "src/http/sign.rs",
            "use super::problem::Problem; mod tests { use super::*; use super::super::problem; }",
        ),
        ("src/rotation/mod.rs", "use crate::ceremony::Ceremony;"),
        (
            "src/log/mod.rs",
            "// use crate::http::x;\nconst X: &str = \"use crate::http::x\"; const Y: &str = r#\"crate::http\"#;",
        ),
    ] {
        assert_eq!(broken(file, source), [], "{file}: {source}");
    }
    assert_eq!(broken("src/kitchen/mod.rs", "")[0].0, Rule::Floor);
}

#[test]
fn a_violation_names_file_line_and_rule() {
    let found = inspect(
        "src/log/tiles.rs",
        "//! Tiles.\n\nuse crate::{\n    config::Config,\n    http::Problem,\n};\n",
    );
    assert_eq!(
        found[0].to_string(),
        "src/log/tiles.rs:5: Floor: `log` (floor 3) names `http` (floor 4): imports go down, or left"
    );
    assert_eq!(found.len(), 1);
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    for (file, source) in [
        ("src/keys/mod.rs", "use sqlx::Row;"),
        ("src/ceremony/mod.rs", "fn f(s: &dyn hsm::Administer) {}"),
        ("src/signing/mod.rs", "use axum;"),
        ("src/log/mod.rs", "use ::tower_http::trace;"),
        ("src/keys/mod.rs", "fn f() { reqwest::Client::new(); }"),
        ("src/cli/mod.rs", "use rustls::ServerConfig;"),
        ("src/keys/mod.rs", "use cryptoki::session::Session;"),
    ] {
        assert_eq!(broken(file, source), [(Rule::Room, 1)], "{file}: {source}");
    }
    for (file, source) in [
        ("crates/store/src/sqlite/mod.rs", "use sqlx::Row;"),
        ("crates/token/src/executor.rs", "use hsm::Administer;"),
        ("src/main.rs", "use rustls::crypto; use axum::Router;"),
        (
            "src/keys/mod.rs",
            "fn f(a: A) { a.hsm.sign(); self::hsm::x(); }",
        ),
    ] {
        assert_eq!(broken(file, source), [], "{file}: {source}");
    }
}

#[test]
fn trust_is_pure_and_the_crates_are_strangers() {
    for (file, source, rule) in [
        (
            "crates/trust/src/time.rs",
            "use std::time::SystemTime;",
            Rule::Pure,
        ),
        (
            "crates/trust/src/time.rs",
            "use std::{fmt, time::{Duration, SystemTime}};",
            Rule::Pure,
        ),
        (
            "crates/trust/src/time.rs",
            "fn f() { std::fs::read(p); }",
            Rule::Pure,
        ),
        ("crates/trust/src/time.rs", "async fn f() {}", Rule::Pure),
        ("crates/trust/src/time.rs", "use hsm::KeySpec;", Rule::Floor),
        ("hsm/src/key.rs", "use trust::Algorithm;", Rule::Floor),
        ("hsm/src/key.rs", "fn f() { tokio::spawn(g); }", Rule::Floor),
    ] {
        assert_eq!(broken(file, source), [(rule, 1)], "{file}: {source}");
    }
    let tested = "use std::time::Duration;\n#[cfg(test)]\nmod tests { use std::process::Command; }";
    assert_eq!(broken("crates/trust/src/time.rs", tested), []);
    let after = "#[cfg(test)]\nmod tests { fn f<'a>(x: &'a str) { let c = '{'; } }\nuse std::fs;";
    assert_eq!(broken("crates/trust/src/time.rs", after), [(Rule::Pure, 3)]);
}

#[test]
fn nothing_is_ignored_allowed_or_left_unfinished() {
    for (source, rule) in [
        ("#[test]\n#[ignore]\nfn f() {}", (Rule::Attribute, 2)),
        ("#[ignore = \"slow\"]", (Rule::Attribute, 1)),
        ("#[cfg_attr(not(ci), ignore)]", (Rule::Attribute, 1)),
        ("#![allow(dead_code)]", (Rule::Attribute, 1)),
        ("#[allow(clippy::panic)]", (Rule::Attribute, 1)),
        ("fn f() {\n    todo!()\n}", (Rule::Unfinished, 2)),
        (
            "fn f() { unimplemented!(\"later\") }",
            (Rule::Unfinished, 1),
        ),
        ("fn f() { dbg!(x); }", (Rule::Unfinished, 1)),
    ] {
        assert_eq!(broken("tests/it/api.rs", source), [rule], "{source}");
    }
    assert_eq!(
        broken(
            "src/main.rs",
            "#[expect(dead_code, reason = \"later\")]\nfn f() { todo != 1 }"
        ),
        []
    );
}

#[test]
fn files_stay_short() {
    assert_eq!(
        broken("src/main.rs", &"//\n".repeat(601)),
        [(Rule::Length, 601)]
    );
    assert_eq!(broken("src/main.rs", &"//\n".repeat(600)), []);
}

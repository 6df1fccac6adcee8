//! Who may name whom. The floors of docs/ARCHITECTURE.md, read off the sources; each rule below is shown a snippet that
//! breaks it.

mod cycles;
mod tables;

use std::fmt;
use std::fs;
use std::path::Path;

use self::tables::{
    CALENDAR_DEPENDENCIES, CRATES, IMPURE, MODULES, NOT_IN_HSM, PURE, TRUST_DEPENDENCIES,
};
use crate::support::rust_source::{self, Token};

const MOST_LINES: usize = 600;

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    Floor,
    Pure,
    Style,
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

    if file.ends_with("/mod.rs") {
        add(
            1,
            Rule::Style,
            "a module with a folder is `name.rs` beside `name/`".to_owned(),
        );
    }
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
    for (directory, floors) in MODULES {
        if let Some(within) = file.strip_prefix(&format!("{directory}/")) {
            modules(within, floors, &tokens, &mut add);
        }
    }
    let program = file.ends_with("/main.rs") || file.starts_with("demo/");
    for path in rust_source::paths(&tokens) {
        if !program
            && path
                .segments
                .starts_with(&["base".to_owned(), "system".to_owned()])
        {
            add(
                path.line,
                Rule::Pure,
                "`base::system`: a program hands clock and random source in".to_owned(),
            );
        }
    }
    let pure = PURE.iter().find_map(|name| {
        let within = file.strip_prefix("crates/")?.strip_prefix(name)?;
        Some((*name, within.strip_prefix("/src/")?))
    });
    if let Some((name, within)) = pure {
        pure_crate(name, within, &tokens, &mut add);
    } else if file.starts_with("hsm/src/") {
        blocking_crate(&tokens, &mut add);
    }
    // `use crate::x::{self, Y}` is one import of `x`.
    found.dedup_by(|a, b| a.to_string() == b.to_string());
    found
}

fn modules(
    within: &str,
    floors: &[&[&str]],
    tokens: &[Token],
    add: &mut impl FnMut(usize, Rule, String),
) {
    let module = module_of(within);
    let Some(name) = module.first() else {
        return; // the root wires everything
    };
    let floor = |name: &str| floors.iter().position(|floor| floor.contains(&name));
    let Some(here) = floor(name) else {
        add(
            1,
            Rule::Floor,
            format!("the module `{name}` has no floor: give it one in tests/it/layering/tables.rs"),
        );
        return;
    };
    for path in rust_source::paths(tokens) {
        let Some(target) = module_named(&module, &path).filter(|target| target != name) else {
            continue;
        };
        let tests = within.ends_with("/tests.rs") || within.contains("/tests/");
        if target == "testing" && (path.in_test || tests) {
            continue;
        }
        match floor(&target) {
            Some(there) if there < here => {}
            Some(there) => add(
                path.line,
                Rule::Floor,
                format!(
                    "`{name}` (floor {here}) names `{target}` (floor {there}): imports go down"
                ),
            ),
            None => add(
                path.line,
                Rule::Floor,
                format!("`{name}` names `{target}` of the root: imports go down"),
            ),
        }
    }
}

fn pure_crate(
    name: &str,
    within: &str,
    tokens: &[Token],
    add: &mut impl FnMut(usize, Rule, String),
) {
    let for_tests = within.ends_with("/tests.rs") || within.contains("/tests/");
    for path in rust_source::paths(tokens) {
        let other = PURE
            .iter()
            .any(|pure| *pure == path.segments[0] && *pure != name);
        if other || ["hsm", "chancery"].contains(&path.segments[0].as_str()) {
            add(
                path.line,
                Rule::Floor,
                format!("`{name}` names `{}`", path.segments[0]),
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
                    "`{}`: {name} is a function of its arguments",
                    impure.join("::")
                ),
            );
        }
    }
    for token in tokens.iter().filter(|t| t.text == "async") {
        add(
            token.line,
            Rule::Pure,
            format!("`async`: {name} is a function of its arguments"),
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

/// `http/sign.rs` is the module `http::sign`, `main.rs` and `lib.rs` are the root.
fn module_of(within: &str) -> Vec<String> {
    let path = within.trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    if path == "main" || path == "lib" {
        module.pop();
    }
    module
}

/// The first name below the root of the crate that a path reaches, by `crate::` or by enough `super::`.
fn module_named(module: &[String], path: &rust_source::Path) -> Option<String> {
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
    for directory in ["src", "crates", "demo", "hsm", "tests", "benches"] {
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
    for (name, list) in [
        ("trust", TRUST_DEPENDENCIES),
        ("calendar", CALENDAR_DEPENDENCIES),
    ] {
        for dependency in dependencies_of(&format!("crates/{name}/Cargo.toml")) {
            assert!(
                list.contains(&dependency.as_str()),
                "crates/{name}/Cargo.toml: `{dependency}` is not on the list"
            );
        }
    }
    for dependency in dependencies_of("hsm/Cargo.toml") {
        assert!(
            !NOT_IN_HSM.contains(&dependency.as_str()),
            "hsm/Cargo.toml: `{dependency}`"
        );
    }
    let ours: Vec<&str> = CRATES
        .iter()
        .map(|each| each.0.rsplit('/').next().unwrap())
        .collect();
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
            "{directory} has no floor: give it one in tests/it/layering/tables.rs"
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
fn imports_go_down() {
    for (file, source) in [
        ("src/config.rs", "use crate::telemetry::Filter;"),
        ("src/config.rs", "\nuse crate::cli::Arguments;"),
        (
            "crates/keyring/src/keys/load.rs",
            "use crate::{\n    signing::Signing,\n};",
        ),
        (
            "crates/keyring/src/signing.rs",
            "fn f() { crate::verification::verdict(); }",
        ),
        (
            "crates/keyring/src/keys/plan.rs",
            "use super::super::ceremony::Tally;",
        ),
        (
            "crates/keyring/src/signing/sign.rs",
            "mod inner { use super::super::super::ceremony; }",
        ),
        ("crates/keyring/src/keys.rs", "use crate::Wiring;"),
        (
            "crates/web/src/problem.rs",
            "use crate::v1::state::ServerState;",
        ),
        ("crates/web/src/v1/sign.rs", "use crate::testing::Fixture;"),
    ] {
        let found = broken(file, source);
        assert_eq!(found.len(), 1, "{file}: {source}: {found:?}");
        assert_eq!(found[0].0, Rule::Floor);
    }
    for (file, source) in [
        ("src/main.rs", "use crate::cli::Router; mod cli;"),
        (
            "crates/keyring/src/ceremony/execute.rs",
            "use crate::{signing::Signer, keys::Key}; use super::Error; mod tests { use super::super::Error; }",
        ),
        (
            "crates/keyring/src/ceremony/due.rs",
            "use crate::rotation::Plan;",
        ),
        (
            "crates/web/src/v1/sign.rs",
            "use crate::problem::Problem; #[cfg(test)] mod tests { use crate::testing::Fixture; }",
        ),
        (
            "crates/keyring/src/keys.rs",
            "// use crate::ceremony::x;\nconst X: &str = \"use crate::ceremony::x\"; const Y: &str = r#\"crate::ceremony\"#;",
        ),
    ] {
        assert_eq!(broken(file, source), [], "{file}: {source}");
    }
    assert_eq!(broken("src/kitchen.rs", "")[0].0, Rule::Floor);
}

#[test]
fn a_violation_names_file_line_and_rule() {
    let found = inspect(
        "crates/keyring/src/signing/sign.rs",
        "//! Signs.\n\nuse crate::{\n    keys::Key,\n    ceremony::Vote,\n};\n",
    );
    assert_eq!(
        found[0].to_string(),
        "crates/keyring/src/signing/sign.rs:5: Floor: `signing` (floor 1) names `ceremony` (floor 2): imports go down"
    );
    assert_eq!(found.len(), 1);
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
        (
            "crates/calendar/src/time.rs",
            "use std::time::Instant;",
            Rule::Pure,
        ),
        (
            "crates/calendar/src/time.rs",
            "use trust::Time;",
            Rule::Floor,
        ),
        (
            "crates/trust/src/time.rs",
            "use calendar::Time;",
            Rule::Floor,
        ),
        (
            "crates/keyring/src/keys.rs",
            "use base::system::now;",
            Rule::Pure,
        ),
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
fn modules_have_one_style() {
    assert_eq!(broken("hsm/src/worker/mod.rs", ""), [(Rule::Style, 1)]);
    assert_eq!(broken("hsm/src/worker.rs", ""), []);
}

#[test]
fn files_stay_short() {
    assert_eq!(
        broken("src/main.rs", &"//\n".repeat(601)),
        [(Rule::Length, 601)]
    );
    assert_eq!(broken("src/main.rs", &"//\n".repeat(600)), []);
}

/// All names of metrics stand in one table, each with its help.
#[test]
fn case_c6_every_figure_has_its_name_in_one_place() {
    let crates = sources(repository(), "crates").into_iter();
    let all = crates.chain(sources(repository(), "src"));
    for (file, text) in all {
        for kind in ["counter", "gauge", "histogram"] {
            let literal = format!("{kind}!(\"");
            assert!(
                !text.contains(&literal),
                "{file}: name the {kind} in base/src/names.rs"
            );
        }
    }
    // The table gives each its help, so one that is named beside it has none.
    for (file, text) in sources(repository(), "crates/base/src") {
        let beside = ["&str = \"chancery_", "&str = \"process_"];
        assert!(
            !beside.iter().any(|name| text.contains(name)),
            "{file}: a metric beside the table of base/src/names.rs"
        );
    }
}

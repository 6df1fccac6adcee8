//! A document that lies is worse than none: what the documents name has to exist.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::support::process::{repository, run};

const DOCUMENTS: &[&str] = &[
    "README.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/ARCHITECTURE.md",
    "docs/CEREMONY.md",
    "docs/EMERGENCY.md",
    "docs/KEY-STATES.md",
    "docs/LOG.md",
    "docs/METRICS.md",
    "docs/OPERATION.md",
    "docs/RECOVERY.md",
    "docs/ROTATION.md",
    "docs/THREAT-MODEL.md",
    "docs/TRANSCRIPT.md",
    "docs/ceremonies/emergency.md",
    "docs/ceremonies/first-key.md",
    "docs/ceremonies/lost-custodian.md",
    "docs/ceremonies/recovery.md",
    "docs/ceremonies/roster-change.md",
    "docs/ceremonies/rotation.md",
];

/// With the runbooks.
fn documents() -> Vec<String> {
    let mut all: Vec<String> = DOCUMENTS.iter().map(|name| (*name).to_owned()).collect();
    for directory in ["deploy/runbooks", "deploy/runbooks/key-types"] {
        let entries = fs::read_dir(repository(directory)).expect("runbooks");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.into_string().expect("a name"));
        let pages = names.filter(|name| name.ends_with(".md"));
        all.extend(pages.map(|name| format!("{directory}/{name}")));
    }
    all
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The code of a Markdown text: indented and fenced lines, and what stands between backticks.
fn code(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut found: Vec<String> = joined
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .map(str::to_owned)
        .collect();
    // A span may be broken over two lines.
    let prose: String = joined
        .lines()
        .filter(|l| !l.starts_with("    "))
        .collect::<Vec<_>>()
        .join(" ");
    found.extend(prose.split('`').skip(1).step_by(2).map(str::to_owned));
    found
}

/// What stands after the name of the program, and after the variables before it.
fn of_chancery(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix("chancery ") {
        return Some(rest);
    }
    let (variables, rest) = line.split_once(" chancery ")?;
    variables.starts_with("CHANCERY_").then_some(rest)
}

/// The commands of `chancery` in a piece of code: sub-commands, and the options given to them.
fn commands(code: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let mut found = Vec::new();
    for line in code.split(['#', '>', '|']) {
        let Some(rest) = of_chancery(line.trim()) else {
            continue;
        };
        let mut words: Vec<&str> = rest.split_whitespace().collect();
        if words.first() == Some(&"--config") {
            words.drain(..words.len().min(2));
        }
        let names = |word: &&&str| {
            word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
        };
        let path: Vec<String> = words
            .iter()
            .take_while(names)
            .map(|w| (*w).to_owned())
            .collect();
        let options = words
            .iter()
            .filter(|w| w.starts_with("--"))
            .map(|w| (*w).to_owned())
            .collect();
        found.push((path, options));
    }
    found
}

#[test]
fn every_command_of_the_documents_exists() {
    let mut seen = BTreeSet::new();
    for document in &documents() {
        for (path, options) in code(&read(document)).iter().flat_map(|c| commands(c)) {
            let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
            let said = run(command.args(&path).arg("--help"), b"");
            let help = String::from_utf8_lossy(&said.stdout).into_owned();
            assert_eq!(
                said.code,
                Some(0),
                "{document}: chancery {path:?}: {}",
                said.stderr
            );
            for option in options {
                assert!(
                    help.contains(&option),
                    "{document}: chancery {path:?} has no {option}"
                );
            }
            seen.insert(path);
        }
    }
    assert!(
        seen.len() > 10,
        "only {seen:?} found: is that reading the documents?"
    );
}

/// What errors, `doctor` and help texts advise.
#[test]
fn case_c8_every_command_that_is_advised_exists() {
    let mut files = vec![
        repository("src"),
        repository("crates"),
        repository("deploy"),
    ];
    let mut advised = BTreeSet::new();
    while let Some(file) = files.pop() {
        if file.is_dir() {
            let entries = fs::read_dir(&file).expect("a directory");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let text = fs::read_to_string(&file).unwrap_or_default();
        for rest in text.split("`chancery ").skip(1) {
            let command = rest.split('`').next().unwrap_or_default();
            // Broken over two lines of a comment or of a string.
            let joined = command
                .split_whitespace()
                .filter(|word| !["//", "///", "//!", "#", "\\", "--"].contains(word));
            let joined = joined.collect::<Vec<_>>().join(" ");
            advised.extend(commands(&format!("chancery {joined}")));
        }
    }
    for (path, options) in &advised {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        let said = run(command.args(path).arg("--help"), b"");
        let help = String::from_utf8_lossy(&said.stdout).into_owned();
        assert_eq!(said.code, Some(0), "chancery {path:?}: {}", said.stderr);
        for option in options {
            let option = option.trim_end_matches([',', '.', '"']);
            assert!(help.contains(option), "chancery {path:?} has no {option}");
        }
    }
    assert!(advised.len() > 10, "{advised:?}");
}

#[test]
fn every_make_target_of_the_documents_exists() {
    let makefile = read("Makefile");
    let mut seen = 0;
    for document in &documents() {
        for code in code(&read(document)) {
            if let Some(target) = code
                .strip_prefix("make ")
                .and_then(|rest| rest.split_whitespace().next())
            {
                assert!(
                    makefile.contains(&format!("\n{target}:")),
                    "{document}: make {target}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 4);
}

/// Those that the program knows, README and Makefile name, and nothing else.
#[test]
fn every_part_of_the_demonstration_is_documented() {
    let source = read("demo/src/main.rs");
    let (_, parts) = source.split_once("enum Part {").expect("the parts");
    let (parts, _) = parts.split_once('}').expect("their end");
    let parts: BTreeSet<String> = parts
        .split(',')
        .map(|part| part.trim().to_lowercase())
        .filter(|part| !part.is_empty())
        .collect();
    for document in ["README.md", "Makefile"] {
        let text = read(document);
        let named = text.split("PART=").skip(1).filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_lowercase())?;
            rest.get(..end).map(str::to_owned)
        });
        assert_eq!(named.collect::<BTreeSet<_>>(), parts, "{document}");
    }
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    for document in &documents() {
        let directory = repository(document)
            .parent()
            .expect("a directory")
            .to_path_buf();
        let text = read(document);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            assert!(directory.join(link).exists(), "{document}: {link}");
        }
    }
}

#[test]
fn every_test_of_the_threat_model_exists() {
    let mut sources = String::new();
    let mut waiting: Vec<_> = ["src", "crates", "hsm", "tests"].map(repository).into();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(
                fs::read_dir(&path)
                    .expect("a directory")
                    .map(|e| e.expect("an entry").path()),
            );
        } else if path.extension().is_some_and(|e| e == "rs") {
            sources.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
    let text = read("docs/THREAT-MODEL.md");
    // The tests stand in the last column.
    let cells = text
        .lines()
        .filter_map(|l| l.strip_suffix('|'))
        .filter_map(|l| l.rsplit('|').next());
    let tests: Vec<&str> = cells
        .flat_map(|c| c.split('`').skip(1).step_by(2))
        .collect();
    assert!(tests.len() > 10, "only {tests:?}");
    for test in tests {
        assert!(
            sources.contains(&format!("fn {test}(")),
            "docs/THREAT-MODEL.md: no test {test}"
        );
    }
}

#[test]
fn every_configuration_shipped_is_accepted() {
    for name in ["embedded", "postgres-softhsm", "luna", "azure"] {
        let file = repository(&format!("deploy/config/{name}.toml"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        let said = run(
            command.arg("--config").arg(&file).args(["config", "print"]),
            b"",
        );
        assert_eq!(said.code, Some(0), "{}: {}", file.display(), said.stderr);
    }
}

/// Sections to be put behind a configuration.
#[test]
fn every_issuer_shipped_is_accepted_alone_and_with_the_others() {
    let read = |name: &str| read(&format!("deploy/config/{name}.toml"));
    let (base, names) = (read("embedded"), ["oidc-issuer", "oidc-kubernetes"]);
    let mut all = base.clone();
    let directory = tempfile::tempdir().expect("a directory");
    for name in names {
        all += &read(name);
        for text in [&format!("{base}{}", read(name)), &all] {
            let file = directory.path().join("chancery.toml");
            fs::write(&file, text).expect("written");
            let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
            command.arg("--config").arg(&file).args(["config", "print"]);
            let said = run(&mut command, b"");
            assert_eq!(said.code, Some(0), "{name}: {}", said.stderr);
            assert!(said.text().contains("[[access.oidc.issuer"), "{name}");
        }
    }
}

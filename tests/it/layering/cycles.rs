//! No two files of a crate import each other, not even by way of others. What a module takes from its own children is no
//! such import: it declares them, and re-exports what they offer.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::rust_source;

/// A file's module, from the root of its crate.
type Module = Vec<String>;

/// Which files of a crate name which others. `files`: path below `src/`, and text.
fn imports(files: &[(&str, &str)]) -> BTreeMap<Module, BTreeSet<Module>> {
    let modules: BTreeSet<Module> = files.iter().map(|file| super::module_of(file.0)).collect();
    let mut graph: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (file, text) in files {
        let here = super::module_of(file);
        let named = graph.entry(here.clone()).or_default();
        for path in rust_source::paths(&rust_source::tokens(text)) {
            let there = match absolute(&here, &path) {
                Some(there) if !path.in_test => there,
                _ => continue,
            };
            let lengths = (0..=there.len()).rev();
            let file = lengths
                .map(|length| there[..length].to_vec())
                .find(|module| modules.contains(module));
            // Itself, or what it declares.
            named.extend(file.filter(|file| !file.starts_with(&here)));
        }
    }
    graph
}

/// The path from the root of the crate, of one that begins with `crate`, `self` or `super`.
fn absolute(here: &[String], path: &rust_source::Path) -> Option<Module> {
    let first = path.segments.first()?;
    if !["crate", "self", "super"].contains(&first.as_str()) {
        return None;
    }
    let mut at: Module = here.iter().chain(&path.inside).cloned().collect();
    for segment in &path.segments {
        match segment.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                at.pop();
            }
            name => at.push(name.to_owned()),
        }
    }
    Some(at)
}

/// The files of one circle, if there is one.
fn cycle(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<String>> {
    let mut left: BTreeMap<&Module, BTreeSet<&Module>> = graph
        .iter()
        .map(|(from, to)| (from, to.iter().collect()))
        .collect();
    // A file that names none of those that are left is in no circle.
    while let Some(leaf) = left
        .iter()
        .find(|(_, named)| named.is_empty())
        .map(|(leaf, _)| *leaf)
    {
        left.remove(leaf);
        for named in left.values_mut() {
            named.remove(leaf);
        }
    }
    let mut at = *left.keys().next()?;
    let mut seen: Vec<&Module> = Vec::new();
    while !seen.contains(&at) {
        seen.push(at);
        at = left[at].first()?;
    }
    let begin = seen.iter().position(|module| *module == at)?;
    Some(
        seen[begin..]
            .iter()
            .map(|module| module.join("::"))
            .collect(),
    )
}

#[test]
fn no_two_files_import_each_other() {
    let mut crates = vec![
        "src".to_owned(),
        "demo/src".to_owned(),
        "hsm/src".to_owned(),
    ];
    for each in std::fs::read_dir(super::repository().join("crates")).unwrap() {
        let name = each.unwrap().file_name();
        crates.push(format!("crates/{}/src", name.to_str().unwrap()));
    }
    let mut found = Vec::new();
    for directory in crates {
        let sources = super::sources(super::repository(), &directory);
        let prefix = format!("{directory}/");
        let tests = |file: &str| file.ends_with("/tests.rs") || file.contains("/tests/");
        let files: Vec<(&str, &str)> = sources
            .iter()
            .filter(|(file, _)| !tests(file))
            .filter_map(|(file, text)| Some((file.strip_prefix(&prefix)?, text.as_str())))
            .collect();
        assert!(!files.is_empty(), "{directory}");
        found.extend(cycle(&imports(&files)).map(|circle| format!("{directory}: {circle:?}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_circle_is_found_and_a_parent_with_its_children_is_none() {
    let circle = |files: &[(&str, &str)]| cycle(&imports(files));
    let two = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "fn f() { super::a::g(); }"),
    ];
    assert_eq!(circle(&two), Some(vec!["a".to_owned(), "b".to_owned()]));
    let three = [
        ("a.rs", "use crate::b::c::C;"),
        ("b/c.rs", "use super::super::d::{self, D};"),
        ("d.rs", "use crate::a::A;"),
    ];
    assert_eq!(circle(&three).map(|files| files.len()), Some(3));
    let family = [
        ("lib.rs", "pub use a::A; mod a;"),
        (
            "a.rs",
            "mod b; pub use self::b::B; #[cfg(test)] mod tests { use crate::c::C; }",
        ),
        ("a/b.rs", "use super::A; use crate::c::C;"),
        ("c.rs", "use crate::a::A; use std::fmt; use store::Store;"),
    ];
    assert_eq!(
        circle(&family),
        None,
        "c takes what a re-exports, b takes from c and a"
    );
}

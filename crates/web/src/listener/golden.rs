//! What callers build against, kept as files: a change of it has to be seen in a review. Set
//! `UPDATE_GOLDEN` to write them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::listener::openapi;
use crate::problem::{Code, Problem};

pub fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "tests/golden/{name} differs from the generated file; review the difference with \
         UPDATE_GOLDEN=1 and git diff"
    );
}

/// With its members in one order, whether or not a crate of the build turned on `preserve_order` of serde_json.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.into_iter().collect();
            members
                .into_iter()
                .map(|(name, value)| (name, sorted(value)))
                .collect()
        }
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[test]
fn the_description_is_the_one_that_was_reviewed() {
    let mut text = serde_json::to_string_pretty(&sorted(openapi::describe())).unwrap();
    text.push('\n');
    compare("openapi.json", &text);
}

/// One line a code: status, headers that callers act on, document.
#[tokio::test]
async fn every_problem_is_the_one_that_was_reviewed() {
    let mut text = String::new();
    for code in Code::ALL {
        let problem = Problem::new(code, "what was wrong").about("member");
        let response = problem.render("request-1");
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        let (wait, challenge) = (header("retry-after"), header("www-authenticate"));
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
        text.push_str(&format!(
            "{status} retry-after: {wait} www-authenticate: {challenge}\n{body}\n"
        ));
    }
    compare("problems.txt", &text);
}

#[test]
fn no_two_codes_have_one_name() {
    let names: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn case_g3_each_parameter_of_a_path_is_in_the_path() {
    let description = openapi::describe();
    for (path, item) in description["paths"].as_object().unwrap() {
        let mut named: Vec<_> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        named.sort_unstable();
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array();
            let mut given: Vec<_> = parameters
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            given.sort_unstable();
            assert_eq!(given, named, "{method} {path}");
        }
    }
}

#[test]
fn no_two_operations_have_one_id() {
    let description = openapi::describe();
    let paths = description["paths"].as_object().unwrap().values();
    let mut ids: Vec<String> = paths
        .flat_map(|path| path.as_object().unwrap().values())
        .filter_map(|operation| Some(operation.get("operationId")?.as_str()?.to_owned()))
        .collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert!(all > 20, "{ids:?}");
    assert_eq!(ids.len(), all, "{ids:?}");
}

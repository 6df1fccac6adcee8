//! The rules, dashboards and configurations in deploy/ for Prometheus, Alertmanager and Grafana, and the runbooks that alerts name:
//! they can be read, they do what they say, and they name nothing that does not exist.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::process::{done_in, repository};
use crate::support::promql::{Expression, Recorded};

/// An alert, or a series that is recorded.
#[derive(Debug, Default)]
struct Rule {
    alert: Option<String>,
    record: Option<String>,
    expression: String,
    annotations: String,
    severity: String,
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Of deploy/prometheus/chancery.rules.yml, which has one shape; what `promtool` counts is compared.
fn rules() -> Vec<Rule> {
    let text = read("deploy/prometheus/chancery.rules.yml");
    let mut rules: Vec<Rule> = Vec::new();
    let mut in_expression = false;
    for line in text.lines() {
        let bare = line.trim_start();
        if let Some((kind @ ("- alert" | "- record"), name)) = bare.split_once(": ") {
            let name = Some(name.to_owned());
            rules.push(match kind {
                "- alert" => Rule {
                    alert: name,
                    ..Rule::default()
                },
                _ => Rule {
                    record: name,
                    ..Rule::default()
                },
            });
        }
        let Some(rule) = rules.last_mut() else {
            continue;
        };
        in_expression &= line.starts_with("          ");
        match bare.split_once(": ") {
            _ if in_expression => rule.expression += &format!(" {bare}"),
            Some(("expr", "|-")) => in_expression = true,
            Some(("expr", expression)) => expression.clone_into(&mut rule.expression),
            Some(("severity", severity)) => severity.clone_into(&mut rule.severity),
            Some(("summary" | "description", _)) => rule.annotations += bare,
            Some(("runbook_url", url)) => {
                assert!(repository(url).is_file(), "{:?}: {url}", rule.alert);
                rule.annotations += bare;
            }
            _ => {}
        }
    }
    rules
}

fn recorded(rules: &[Rule]) -> Recorded {
    let mut recorded = Recorded::new();
    for rule in rules {
        if let Some(name) = &rule.record {
            let expression = Expression::read(&rule.expression).expect("an expression");
            recorded.insert(name.clone(), expression.labels(&recorded));
        }
    }
    // What a quantile is made of is not in its result.
    for labels in recorded.values_mut() {
        labels.remove("le");
    }
    recorded
}

/// Where an expression stands, the expression, and the labels that its legend or its annotations name.
fn expressions() -> Vec<(String, String, BTreeSet<String>)> {
    let of_rules = rules().into_iter().map(|rule| {
        let named = braced(&rule.annotations, "{{ $labels.");
        let name = rule.alert.or(rule.record).expect("a name");
        (name, rule.expression, named)
    });
    let mut all: Vec<_> = of_rules.collect();
    for entry in fs::read_dir(repository("deploy/grafana")).expect("dashboards") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a dashboard");
        let board: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let name = path.file_name().expect("a name").to_string_lossy();
        for panel in board["panels"].as_array().expect("panels") {
            let title = panel["title"].as_str().expect("a title");
            for target in panel["targets"].as_array().expect("targets") {
                let expression = target["expr"].as_str().expect("an expression");
                let legend = target["legendFormat"].as_str().expect("a legend");
                all.push((
                    format!("{name}: {title}"),
                    expression.to_owned(),
                    braced(legend, "{{"),
                ));
            }
        }
        for variable in board["templating"]["list"].as_array().expect("variables") {
            let query = variable["query"].as_str().expect("a query");
            if let Some(of) = query.strip_prefix("label_values(") {
                let (metric, label) = of
                    .trim_end_matches(')')
                    .split_once(", ")
                    .expect("two arguments");
                let named = BTreeSet::from([label.to_owned()]);
                all.push((format!("{name}: {query}"), metric.to_owned(), named));
            }
        }
    }
    all
}

/// The words that follow an opening in a text.
fn braced(text: &str, opening: &str) -> BTreeSet<String> {
    let words = text.split(opening).skip(1).map(|rest| {
        let rest = rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        rest[..end.unwrap_or(rest.len())].to_owned()
    });
    words.collect()
}

/// Each expression as Prometheus is asked it, with Grafana's variables filled in.
pub fn asked() -> Vec<(String, String)> {
    let all = expressions().into_iter().map(|(place, expression, _)| {
        let expression = expression
            .replace("$__rate_interval", "1m")
            .replace("$ring", ".*");
        (place, expression)
    });
    all.collect()
}

fn faults_of(expression: &str, labels: &BTreeSet<String>, recorded: &Recorded) -> Vec<String> {
    let read = match Expression::read(expression) {
        Ok(read) => read,
        Err(why) => return vec![why],
    };
    let mut faults = read.faults(recorded);
    let known = read.labels(recorded);
    let unknown = labels.difference(&known);
    faults.extend(unknown.map(|label| format!("its result has no label {label}")));
    faults
}

#[test]
fn every_expression_of_rules_and_dashboards_names_metrics_that_are_exposed() {
    let recorded = recorded(&rules());
    let all = expressions();
    let faults: Vec<String> = all
        .iter()
        .flat_map(|(place, expression, labels)| {
            let faults = faults_of(expression, labels, &recorded);
            faults
                .into_iter()
                .map(move |fault| format!("{place}: {fault}"))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(all.len() > 120, "only {} found", all.len());
}

#[test]
fn case_a_rule_or_dashboard_that_names_a_metric_that_does_not_exist() {
    let recorded = recorded(&rules());
    for (expression, labels, fault) in [
        ("chancery_rings_ready == 0", "", "no metric has the name"),
        ("sum(chancery_hsm_up_total)", "", "no metric has the name"),
        // The base name of a histogram is no series, and what is none has no parts.
        (
            "chancery_http_request_duration_seconds > 1",
            "",
            "no metric has the name",
        ),
        ("chancery_hsm_up_bucket", "", "no metric has the name"),
        ("chancery:nothing:rate5m > 1", "", "no metric has the name"),
        (
            "chancery_ring_ready{kid=\"k\"} == 0",
            "",
            "has no label kid",
        ),
        (
            "chancery_rotations_open{state=\"broken\"} > 0",
            "",
            "is never \"broken\"",
        ),
        (
            "chancery_rotations_open{state=~\"failed|done\"} > 0",
            "",
            "is never \"done\"",
        ),
        (
            "sum by (tenant) (rate(chancery_http_requests_total[5m]))",
            "",
            "has the label tenant",
        ),
        (
            "sum by (ring) (chancery_ring_ready)",
            "instance",
            "no label instance",
        ),
        ("chancery_hsm_up", "ring", "no label ring"),
        ("1 > 0", "", "names no metric"),
    ] {
        let labels = labels.split_whitespace().map(str::to_owned).collect();
        let faults = faults_of(expression, &labels, &recorded).join("\n");
        assert!(faults.contains(fault), "{expression}: {faults:?}");
    }
}

#[test]
fn rules_and_configurations_hold_under_the_tools_of_prometheus() {
    let at = repository("deploy/prometheus");
    let said = done_in(&at, "promtool", ["check", "rules", "chancery.rules.yml"]);
    let rules = rules();
    let found = format!("{} rules found", rules.len());
    assert!(said.text().contains(&found), "{found}: {}", said.text());
    done_in(&at, "promtool", ["check", "config", "prometheus.yml"]);
    done_in(
        &at,
        "promtool",
        ["test", "rules", "chancery.rules.test.yml"],
    );
    let days = "chancery.rules.days.test.yml";
    done_in(&at, "promtool", ["test", "rules", days]);
    let tests = read("deploy/prometheus/chancery.rules.test.yml")
        + &read(&format!("deploy/prometheus/{days}"));
    for rule in rules.iter().filter(|rule| rule.alert.is_some()) {
        let (name, severity) = (rule.alert.as_deref().unwrap_or_default(), &rule.severity);
        let fires = format!("{{alertname=\"{name}\", severity=\"{severity}\"}}");
        assert!(tests.contains(&fires), "no test of {name}, {severity}");
        let known = ["info", "warning", "critical"].contains(&severity.as_str());
        assert!(known, "{name}: {severity:?}");
        for annotation in ["summary: ", "description: ", "runbook_url: "] {
            assert!(
                rule.annotations.contains(annotation),
                "{name}: {annotation}"
            );
        }
    }
    let at = repository("deploy/alertmanager");
    done_in(&at, "amtool", ["check-config", "alertmanager.yml"]);
    // What the service tells of itself is told once.
    for (labels, receiver) in [
        (["severity=critical", "told_by=service"], "nobody"),
        (["severity=warning", "told_by=service"], "nobody"),
        (["severity=critical", "service=chancery"], "on-call"),
        (["severity=warning", "service=chancery"], "operations"),
    ] {
        let words = ["config", "routes", "test", "--config.file=alertmanager.yml"];
        let said = done_in(&at, "amtool", [&words[..], &labels].concat());
        assert_eq!(said.text().trim(), receiver, "{labels:?}");
    }
    // What silences another alert names alerts that there are.
    let names = alerts_named_in(&read("deploy/alertmanager/alertmanager.yml"));
    for name in names {
        let known = rules
            .iter()
            .any(|rule| rule.alert.as_deref() == Some(&*name));
        assert!(known, "alertmanager.yml: {name}");
    }
}

#[test]
fn no_rule_has_the_name_of_a_condition_that_the_service_tells_of() {
    let told = notify::condition_names();
    assert!(told.contains("ChanceryUsageHigh") && told.contains("ChanceryExecutorLate"));
    for rule in rules() {
        let name = rule.alert.unwrap_or_default();
        assert!(!told.contains(&name), "{name}");
    }
}

/// The names of alerts in a text.
fn alerts_named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let names = words.filter(|word| word.starts_with("Chancery") && *word != "Chancery");
    names.map(str::to_owned).collect()
}

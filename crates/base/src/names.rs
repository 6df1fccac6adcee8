//! The metrics: one table of their names, labels and meanings. Whatever is exposed stands in it, docs/METRICS.md is written from
//! it, and the rules and dashboards in deploy/ are checked against it.
//!
//! Labels never hold anything that a caller chose, and each has a bounded number of values whatever the number of keys, assets
//! and callers.

mod http;
mod log;
mod notify;
mod process;
mod rotation;
mod signing;

use std::fmt::Write as _;

use metrics::{
    Label as SeriesLabel, counter, describe_counter, describe_gauge, describe_histogram,
};

pub use self::http::*;
pub use self::log::*;
pub use self::notify::*;
pub use self::process::*;
pub use self::rotation::*;
pub use self::signing::*;

/// Rings that have series of their own: the first so many that this process learned of. [`RINGS_LEFT_OUT`] counts the others.
pub const MOST_RINGS: usize = 256;

/// Key types that have series of their own: the standard ones, and of the others the first so many that a process met. The rest
/// are together [`OTHER`], so that with more types than these two replicas may call one type differently.
pub const MOST_KEY_TYPES: usize = 64;

/// Keys of which a process counts signatures by kid: the first so many that it signed with. The others of a ring are together
/// [`OTHER`].
pub const MOST_SIGNING_KEYS: usize = 1_024;

/// The value of a label that stands for all that have none of their own.
pub const OTHER: &str = "other";

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Rises, and begins at zero with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations by upper bounds, with `_bucket` (label `le`), `_sum` and `_count`.
    Histogram(&'static [f64]),
}

/// What the values of a label are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// One of these.
    Of(&'static [&'static str]),
    /// Something of the installation, in words that say what bounds their number.
    Named(&'static str),
}

/// A label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// As it is exposed.
    pub name: &'static str,
    /// What it may be.
    pub values: Values,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// As it is exposed.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// All of them, on each series.
    pub labels: &'static [Label],
    /// What it means, with its unit.
    pub help: &'static str,
}

/// Metrics about one subject.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// What they are about.
    pub title: &'static str,
    /// They.
    pub metrics: &'static [Metric],
}

/// Names the metrics of one subject, and lists them: kind, constant, name, labels with their values, meaning.
macro_rules! table {
    (
        $group:ident: $title:literal
        $($kind:ident $(($buckets:expr))? $name:ident = $text:literal { $($label:ident: $values:expr),* } $help:literal;)*
    ) => {
        $(#[doc = $help] pub const $name: &str = $text;)*

        #[doc = $title] pub(super) const $group: $crate::names::Group = $crate::names::Group {
            title: $title,
            metrics: &[$($crate::names::Metric {
                name: $name,
                kind: $crate::names::Kind::$kind $((&$buckets))?,
                labels: &[$($crate::names::Label { name: stringify!($label), values: $values }),*],
                help: $help,
            }),*],
        };
    };
}
use table;

/// All there are.
pub const GROUPS: [Group; 6] = [
    http::HTTP_METRICS,
    signing::SIGNING_METRICS,
    log::LOG_METRICS,
    rotation::ROTATION_METRICS,
    notify::NOTIFY_METRICS,
    process::PROCESS_METRICS,
];

const RING: Values = Values::Named("a ring; at most 256 of them");
const KEY_TYPE: Values = Values::Named("a key type; at most 64, the others are together `other`");

/// All there are, in the order of their subjects.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    GROUPS.iter().flat_map(|group| group.metrics)
}

/// The metric of a name.
pub fn metric(name: &str) -> Option<&'static Metric> {
    all().find(|metric| metric.name == name)
}

/// Says to the recorder what each metric means.
pub fn describe() {
    for metric in all() {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.help),
        }
    }
}

/// Lets the counters of the service whose labels are known beforehand begin at zero: of a series that begins at one, nobody sees
/// that it rose.
pub fn begin_at_zero() {
    let of_executor = [EXECUTOR_CEREMONIES, EXECUTOR_ROUNDS];
    for metric in all().filter(|metric| !of_executor.contains(&metric.name)) {
        if metric.kind == Kind::Counter {
            for labels in known_labels(metric.labels) {
                counter!(metric.name, labels).increment(0);
            }
        }
    }
}

/// Every combination of labels; none where one of them is not known beforehand.
fn known_labels(labels: &[Label]) -> Vec<Vec<SeriesLabel>> {
    let mut all = vec![Vec::new()];
    for label in labels {
        let Values::Of(words) = label.values else {
            return Vec::new();
        };
        all = all
            .iter()
            .flat_map(|known: &Vec<SeriesLabel>| {
                words.iter().map(move |word| {
                    let mut more = known.clone();
                    more.push(SeriesLabel::from_static_parts(label.name, word));
                    more
                })
            })
            .collect();
    }
    all
}

/// docs/METRICS.md.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    for group in GROUPS {
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n| metric | kind | labels | means |\n|---|---|---|---|\n",
            group.title
        );
        for metric in group.metrics {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            let labels: Vec<String> = metric.labels.iter().map(described).collect();
            let _ = writeln!(
                text,
                "| `{}` | {kind} | {} | {} |",
                metric.name,
                labels.join("; "),
                metric.help
            );
        }
    }
    text
}

fn described(label: &Label) -> String {
    let values = match label.values {
        Values::Of(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        Values::Named(what) => what.to_owned(),
    };
    format!("`{}`: {values}", label.name)
}

const HEAD: &str = "# Metrics

What `/metrics` on the operations listener exposes, in Prometheus' text format. This page is written from the table in
`crates/base/src/names.rs` (`UPDATE_GOLDEN=1 cargo test -p base metrics`). What to do when one of them is out of order stands in
[OPERATION.md](OPERATION.md); alert rules are in `deploy/prometheus`, dashboards in `deploy/grafana`, pictures of their panels in
[metrics](metrics).

Each label has a bounded number of values, and none is a caller's word. A counter begins at zero with its process; gauges of the
database and of rotations are the same on each replica. A ratio or an age of something that is not there is `NaN`, of which no
comparison holds.

A scrape waits for the database for 50 ms at most. Where it does not answer, the values are those of the last time, and
`chancery_database_metrics_age_seconds` says how old they are. The inventory is read in the background, at most once a minute and for
at most a hundredth of the time, but each half hour at least; `chancery_inventory_metrics_age_seconds` says how long ago all of it was.
What cannot be read holds nothing else up; then it is tried again after as long as that took, so that half of the time is the most.
";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The document as it stands; `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    fn the_document_of_metrics_is_what_the_table_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/METRICS.md");
        let text = document();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "docs/METRICS.md differs from the table; review the difference with UPDATE_GOLDEN=1 and git diff"
        );
    }

    #[test]
    fn counters_begin_with_every_combination_of_known_labels() {
        let count = |name: &str| known_labels(metric(name).unwrap().labels).len();
        assert_eq!(count(PASSKEYS_CLONED), 1);
        assert_eq!(count(JOB_RUNS), JOB_NAMES.len() * 2);
        assert_eq!(count(ROTATION_FAILURES), ROTATION_STEPS.len() * 2);
        assert_eq!(count(SIGNATURES), 0);
    }

    #[test]
    fn names_of_metrics_follow_the_conventions_of_prometheus() {
        let mut seen = HashSet::new();
        for metric in all() {
            let Metric { name, kind, .. } = *metric;
            assert!(seen.insert(name), "{name} twice");
            let own = ["chancery_", "process_"];
            assert!(own.iter().any(|prefix| name.starts_with(prefix)), "{name}");
            let plain = |word: &str| word.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
            assert!(plain(name), "{name}");
            assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
            for end in [
                "_bucket", "_sum", "_count", "_minutes", "_hours", "_days", "_millis", "_percent",
            ] {
                assert!(
                    !name.ends_with(end),
                    "{name}: {end} is no base unit, or is a histogram's"
                );
            }
            if metric.help.contains("Unix time") {
                assert!(
                    name.ends_with("_timestamp_seconds") || name.ends_with("_time_seconds"),
                    "{name}"
                );
            }
            assert!(
                metric.help.ends_with('.') && !metric.help.contains('|'),
                "{name}"
            );
            let mut labels = HashSet::new();
            for label in metric.labels {
                // What Prometheus adds itself.
                let own = ["le", "job", "instance"].contains(&label.name);
                assert!(plain(label.name) && !own, "{name}: {}", label.name);
                assert!(labels.insert(label.name), "{name}: {} twice", label.name);
            }
            if let Kind::Histogram(bounds) = kind {
                assert!(bounds.is_sorted() && !bounds.is_empty(), "{name}");
            }
        }
    }
}

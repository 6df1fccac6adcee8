//! Which metrics and labels an expression of PromQL names. Whether it can be parsed is asked of a real Prometheus; here it is taken
//! apart as far as names go.

use std::collections::{BTreeMap, BTreeSet};

use base::names::{self, Kind, Values};

/// What Prometheus itself puts on series that it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];

const AGGREGATIONS: [&str; 11] = [
    "sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile",
];
const GROUPINGS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const OPERATORS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "inf"];

/// A metric that an expression selects, and by what.
#[derive(Debug, PartialEq)]
struct Selector {
    name: String,
    /// Label, operator, value.
    matchers: Vec<(String, String, String)>,
}

/// What an expression names.
#[derive(Debug, Default, PartialEq)]
pub struct Expression {
    selectors: Vec<Selector>,
    /// Labels by which series are grouped or matched.
    grouped: BTreeSet<String>,
    /// Of them those that a result has, where it is grouped by some.
    by: BTreeSet<String>,
}

/// Series that rules record, with their labels.
pub type Recorded = BTreeMap<String, BTreeSet<String>>;

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take_while(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    }

    fn past(&mut self, end: char) -> Result<&'a str, String> {
        let (taken, rest) = self
            .rest
            .split_once(end)
            .ok_or_else(|| format!("no {end} after {:?}", self.rest))?;
        self.rest = rest;
        Ok(taken)
    }

    /// `label="value", …}`.
    fn matchers(&mut self) -> Result<Vec<(String, String, String)>, String> {
        let mut found = Vec::new();
        loop {
            self.take_while(|c| c.is_whitespace() || c == ',');
            if self.peek() == Some('}') {
                self.past('}')?;
                return Ok(found);
            }
            let label = self.word().to_owned();
            self.space();
            let operator = self.take_while(|c| "=!~".contains(c)).to_owned();
            self.space();
            let quote = self.peek().filter(|c| matches!(c, '"' | '\''));
            let quote = quote.ok_or_else(|| format!("no value of {label}"))?;
            self.past(quote)?;
            found.push((label, operator, self.past(quote)?.to_owned()));
        }
    }
}

impl Expression {
    /// Takes it apart.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: text };
        let mut found = Self::default();
        while let Some(next) = reader.peek() {
            match next {
                '"' | '\'' => {
                    reader.past(next)?;
                    reader.past(next)?;
                }
                '[' => {
                    reader.past(']')?;
                }
                // A number or a duration; a variable.
                '0'..='9' | '$' => {
                    reader.past(next)?;
                    reader.word();
                }
                'a'..='z' | 'A'..='Z' | '_' | ':' => {
                    let word = reader.word();
                    reader.space();
                    if GROUPINGS.contains(&word) && reader.peek() == Some('(') {
                        reader.past('(')?;
                        let labels = reader.past(')')?.split(',').map(str::trim);
                        for label in labels.filter(|label| !label.is_empty()) {
                            found.grouped.insert(label.to_owned());
                            if word == "by" {
                                found.by.insert(label.to_owned());
                            }
                        }
                    } else if reader.peek() != Some('(')
                        && !AGGREGATIONS.contains(&word)
                        && !OPERATORS.contains(&word)
                    {
                        let mut matchers = Vec::new();
                        if reader.peek() == Some('{') {
                            reader.past('{')?;
                            matchers = reader.matchers()?;
                        }
                        let name = word.to_owned();
                        found.selectors.push(Selector { name, matchers });
                    }
                }
                _ => {
                    reader.past(next)?;
                }
            }
        }
        match found.selectors.is_empty() && !text.contains("vector(") {
            true => Err("it names no metric".to_owned()),
            false => Ok(found),
        }
    }

    /// Everything that it names and that is not exposed.
    pub fn faults(&self, recorded: &Recorded) -> Vec<String> {
        let mut faults = Vec::new();
        let mut labels = BTreeSet::new();
        for selector in &self.selectors {
            let name = &selector.name;
            let Some(known) = labels_of(name, recorded) else {
                faults.push(format!("no metric has the name {name}"));
                continue;
            };
            for (label, operator, value) in &selector.matchers {
                match known.get(label.as_str()) {
                    None => faults.push(format!("{name} has no label {label}")),
                    Some(Some(words)) if !operator.contains('~') || !value.contains('$') => {
                        let asked = value.split('|').filter(|word| !words.contains(word));
                        faults.extend(
                            asked.map(|word| {
                                format!("the label {label} of {name} is never {word:?}")
                            }),
                        );
                    }
                    Some(_) => {}
                }
            }
            labels.extend(known.into_keys().map(str::to_owned));
        }
        let unknown = self.grouped.difference(&labels);
        faults.extend(unknown.map(|label| format!("no metric of it has the label {label}")));
        faults
    }

    /// The labels that its series may have.
    pub fn labels(&self, recorded: &Recorded) -> BTreeSet<String> {
        if !self.by.is_empty() {
            return self.by.clone();
        }
        let known = self.selectors.iter();
        let known = known.filter_map(|selector| labels_of(&selector.name, recorded));
        known
            .flat_map(BTreeMap::into_keys)
            .map(str::to_owned)
            .collect()
    }
}

/// The labels of a series, each with all values where they are known.
fn labels_of<'a>(
    name: &str,
    recorded: &'a Recorded,
) -> Option<BTreeMap<&'a str, Option<&'static [&'static str]>>> {
    let mut labels: BTreeMap<&str, _> = SCRAPED.map(|label| (label, None)).into();
    if let Some(own) = recorded.get(name) {
        return Some(own.iter().map(|label| (label.as_str(), None)).collect());
    }
    match name {
        "up" => return Some(labels),
        "ALERTS" => {
            labels.extend(["alertname", "alertstate", "severity"].map(|label| (label, None)));
            return Some(labels);
        }
        _ => {}
    }
    let of_histogram = ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|end| Some((names::metric(name.strip_suffix(end)?)?, end)));
    let metric = match (names::metric(name), of_histogram) {
        (Some(metric), _) if !matches!(metric.kind, Kind::Histogram(_)) => metric,
        (None, Some((metric, end))) if matches!(metric.kind, Kind::Histogram(_)) => {
            if end == "_bucket" {
                labels.insert("le", None);
            }
            metric
        }
        _ => return None,
    };
    for label in metric.labels {
        let words = match label.values {
            Values::Of(words) => Some(words),
            Values::Named(_) => None,
        };
        labels.insert(label.name, words);
    }
    Some(labels)
}

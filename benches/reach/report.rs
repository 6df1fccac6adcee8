//! `report.md` for people, `report.json` for machines, plots beside them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::machine;
use super::plot::{Plot, short};
use super::stats::{Summary, summary};

#[derive(Clone, Copy)]
pub enum Reach {
    AtLeast(f64),
    AtMost(f64),
    /// Reported beside the others, with nothing to reach.
    None,
}

pub struct Figure {
    pub id: &'static str,
    pub unit: &'static str,
    pub reach: Reach,
    pub seen: Summary,
}

impl Figure {
    /// The median over repetitions.
    pub fn new(id: &'static str, unit: &'static str, reach: Reach, values: &[f64]) -> Self {
        Self {
            id,
            unit,
            reach,
            seen: summary(values),
        }
    }

    /// A count over the whole run, where a median would hide what happened once.
    pub fn total(id: &'static str, unit: &'static str, reach: Reach, values: &[f64]) -> Self {
        let mut seen = summary(values);
        seen.median = values.iter().sum();
        Self {
            id,
            unit,
            reach,
            seen,
        }
    }

    fn met(&self) -> Option<bool> {
        match self.reach {
            Reach::AtLeast(least) => Some(self.seen.median >= least),
            Reach::AtMost(most) => Some(self.seen.median <= most),
            Reach::None => None,
        }
    }

    fn reach(&self) -> Option<String> {
        match self.reach {
            Reach::AtLeast(least) => Some(format!("≥ {least}")),
            Reach::AtMost(most) => Some(format!("≤ {most}")),
            Reach::None => None,
        }
    }

    fn json(&self) -> Value {
        let value = (self.seen.median * 1e6).round() / 1e6;
        json!({"id": self.id, "value": value, "unit": self.unit, "reach": self.reach(), "met": self.met()})
    }

    fn row(&self) -> String {
        let met = match self.met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        format!(
            "| `{}` | {} {} | {} – {} | {} | {} | {met} |",
            self.id,
            short(self.seen.median),
            self.unit,
            short(self.seen.low),
            short(self.seen.high),
            self.seen.count,
            self.reach().unwrap_or_default(),
        )
    }
}

/// What one row of measurements has to say.
pub struct Section {
    pub title: &'static str,
    /// Paragraphs and tables in Markdown: what was done and what else was seen.
    pub text: Vec<String>,
    pub figures: Vec<Figure>,
    pub plots: Vec<Plot>,
}

pub struct Report {
    directory: PathBuf,
    machine: Vec<(&'static str, String)>,
    sections: Vec<Section>,
    failed: Vec<(String, String)>,
}

impl Report {
    pub fn new(directory: &Path) -> Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            machine: machine::describe(),
            sections: Vec::new(),
            failed: Vec::new(),
        })
    }

    pub fn path(&self) -> PathBuf {
        self.directory.join("report.md")
    }

    pub fn add(&mut self, section: Section) -> Result<()> {
        for figure in &section.figures {
            eprintln!("bench:   {}", figure.row());
        }
        for plot in &section.plots {
            fs::write(self.directory.join(format!("{}.svg", plot.name)), &plot.svg)?;
        }
        self.sections.push(section);
        Ok(())
    }

    pub fn failed(&mut self, ids: &[&str], error: &anyhow::Error) {
        eprintln!("bench:   not measured: {error:#}");
        self.failed.push((ids.join(", "), format!("{error:#}")));
    }

    pub fn write(&self) -> Result<()> {
        let figures = self.sections.iter().flat_map(|section| &section.figures);
        let list: Vec<Value> = figures.map(Figure::json).collect();
        fs::write(
            self.directory.join("report.json"),
            serde_json::to_vec_pretty(&list)?,
        )?;
        fs::write(self.path(), self.markdown()?)?;
        Ok(())
    }

    fn markdown(&self) -> Result<String> {
        let mut text = String::from(
            "# Performance\n\nWhat each figure means: docs/PERFORMANCE.md.\n\n| | |\n|---|---|\n",
        );
        for (name, value) in &self.machine {
            writeln!(text, "| {name} | {value} |")?;
        }
        writeln!(
            text,
            "| load average at the end | {} |",
            machine::load_average()
        )?;
        text.push_str("\n| figure | median | low – high | repetitions | reach | met |\n|---|---|---|---|---|---|\n");
        for figure in self.sections.iter().flat_map(|section| &section.figures) {
            writeln!(text, "{}", figure.row())?;
        }
        for (ids, why) in &self.failed {
            writeln!(text, "\nNot measured: {ids}: {why}")?;
        }
        for section in &self.sections {
            writeln!(text, "\n## {}\n", section.title)?;
            writeln!(text, "{}", section.text.join("\n\n"))?;
            for plot in &section.plots {
                writeln!(text, "\n![{0}]({0}.svg)", plot.name)?;
            }
        }
        Ok(text)
    }
}

/// A table in Markdown.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        text.push_str(&format!("\n| {} |", row.join(" | ")));
    }
    text
}

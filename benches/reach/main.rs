//! Performance. Every figure is a ratio within one run on one machine, interleaved, and a median of at least five
//! repetitions; what each id means is written in docs/PERFORMANCE.md. Nothing here fails because something was slow.

mod arguments;
mod backlog;
mod http;
mod installation;
mod load;
mod machine;
mod nginx;
mod openbao;
mod outside;
mod plot;
mod process;
mod profile;
mod raw;
mod report;
mod rows;
mod stats;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use arguments::{Arguments, Mode};
use installation::Installation;
use report::Report;

fn main() -> ExitCode {
    let done =
        Arguments::parse(std::env::args().skip(1)).and_then(|arguments| match arguments.mode {
            Mode::RawSign(bare) => raw::token::child(&bare),
            Mode::RawVerify => raw::verify::child(),
            Mode::Measure => measure(&arguments),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    let directory = installation::output_directory()?;
    let mut report = Report::new(&directory)?;
    eprintln!("bench: an installation of its own, by ceremonies");
    let mut installation = Installation::new(&directory).context("the installation")?;
    for row in rows::ROWS {
        if !arguments.wants(row.ids, row.named_only) {
            continue;
        }
        eprintln!("bench: {}", row.ids.join(", "));
        // A part that cannot be measured is told as such and does not take the others with it.
        match (row.measure)(&mut installation, arguments) {
            Ok(section) => report.add(section)?,
            Err(error) => report.failed(row.ids, &error),
        }
        // After each row, so that an interrupted run leaves what it has seen.
        report.write()?;
    }
    drop(installation);
    eprintln!("bench: {}", report.path().display());
    Ok(())
}

//! From the start of the process until it can sign.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::arguments::Arguments;
use crate::installation::Installation;
use crate::process;
use crate::report::{Figure, Reach, Section};

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let (mut seconds, mut cpu, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.repetitions() {
        installation.stop();
        seconds.push(installation.serve(&BTreeMap::new())?.as_secs_f64());
        let service = installation.service()?;
        cpu.push(process::cpu(service)?);
        memory.push(process::memory(service)?.0);
    }
    Ok(Section {
        title: "Start",
        text: vec![
            "From the start of the process until `/health/ready/signing` says yes, asked every 2 ms: configuration, \
             database, every key's transcript tallied again, worker processes logged in to the token one after the \
             other. Memory is the resident memory of the whole tree, shared pages counted in each process."
                .to_owned(),
        ],
        figures: vec![
            Figure::new("start-s", "s", Reach::AtMost(1.0), &seconds),
            Figure::new("start-cpu-s", "s", Reach::None, &cpu),
            Figure::new("start-rss-mb", "MiB", Reach::None, &memory),
        ],
        plots: Vec::new(),
    })
}

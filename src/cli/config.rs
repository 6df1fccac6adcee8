use std::path::Path;

use clap::Subcommand;

use super::World;
use crate::config::Config;
use verify::output::{Code, Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print all effective settings; secrets are omitted.
    Print,
}

pub fn load(path: &Path, world: &World) -> Result<Config, Failure> {
    Config::load(path, world.environment.iter().cloned())
        .map_err(|error| Failure::new(Code::Usage, error))
}

pub fn run(path: &Path, command: &Command, world: &World, output: &Output) -> Result<(), Failure> {
    let config = load(path, world)?;
    match command {
        Command::Print => {
            let text = toml::to_string(&config).map_err(|e| Failure::new(Code::Failed, e))?;
            output.result(&config, || text);
        }
    }
    Ok(())
}

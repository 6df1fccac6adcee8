//! What is asked from outside, over HTTP: tests of rotation, and a check of everything against its policy.

use clap::Subcommand;

use super::super::World;
use super::{compliance, exercise};
use verify::output::{Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Outside {
    /// Test a whole rotation of a ring over HTTP, in an installation that is not production: sign before and after, watch each
    /// step and check it from outside. Exit code 0 where all of it passed, 1 where something did not.
    #[command(after_help = exercise::TEST_HELP)]
    Test(exercise::Options),
    /// Test the way back: rotate a ring, roll back when the new key signs, and check that nothing broke.
    #[command(after_help = exercise::ROLL_BACK_HELP)]
    RollBackTest(exercise::Options),
    /// Test that a rotation fails no request: sign and verify at a given rate while a ring rotates.
    #[command(after_help = exercise::ZERO_DOWNTIME_HELP)]
    ZeroDowntimeTest(exercise::Loaded),
    /// Check every asset against its policy, over HTTP. It changes nothing, and may run in production. Exit code 1 where a finding
    /// is an error.
    #[command(after_help = compliance::HELP)]
    ComplianceCheck(compliance::Options),
}

impl Outside {
    pub async fn run(self, world: &World, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Test(options) => exercise::rotation(&options, world, output).await,
            Self::RollBackTest(options) => exercise::roll_back(&options, world, output).await,
            Self::ZeroDowntimeTest(loaded) => exercise::zero_downtime(&loaded, world, output).await,
            Self::ComplianceCheck(options) => compliance::run(&options, world, output).await,
        }
    }
}

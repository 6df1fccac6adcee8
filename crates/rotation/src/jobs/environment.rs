//! Which installation it is: rotation itself is tested in one that is not production, and in no other.

use serde::Serialize;

use super::Scheduler;
use crate::engine::error::Error;

/// What an installation says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// The name that its approvals are bound to (`service.environment`).
    pub environment: String,
    /// Whether rotations may be begun as tests (`rotation.tests`).
    pub tests: bool,
}

impl Scheduler {
    /// In this environment; without it no test is allowed.
    pub fn with_environment(self, environment: Environment) -> Self {
        Self {
            environment,
            ..self
        }
    }

    /// Whether a rotation may be begun as a test.
    pub fn permits_tests(&self) -> Result<(), Error> {
        match self.environment.tests {
            true => Ok(()),
            false => Err(Error::TestsNotAllowed {
                environment: self.environment.environment.clone(),
            }),
        }
    }
}

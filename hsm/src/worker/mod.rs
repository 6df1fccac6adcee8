//! The worker process: one module, one `C_Initialize`, session threads that own everything they touch.

use std::process::ExitCode;

/// The body of the hidden sub-command. Standard input is the socket to the supervisor; arguments carry nothing.
pub fn worker_main() -> ExitCode {
    ExitCode::FAILURE
}

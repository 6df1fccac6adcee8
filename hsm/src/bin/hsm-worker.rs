//! The worker process alone, so that this crate's tests need nothing of the service.

use std::process::ExitCode;

fn main() -> ExitCode {
    hsm::worker_main()
}

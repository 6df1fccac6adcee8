//! Whether the policy that a request says it replaces is the one that the quorum decided last.

use keyring::ceremony::{Replaced, replaced_policy};
use trust::Request;
use verify::output::Output;

/// What nobody here could check of a policy is said, because the service chose it.
pub(super) fn of_replaced(request: &Request, before: Option<&Request>, output: &Output) {
    match replaced_policy(request, before) {
        None | Some(Replaced::Known) => {}
        Some(Replaced::Unknown) => output.remark(
            "NOTE: the policy that it replaces is what the service says: no transcript here shows it.",
        ),
        Some(Replaced::Differs) => output.remark(
            "WARNING: it says that it replaces another policy than the one that the quorum decided last.",
        ),
    }
}

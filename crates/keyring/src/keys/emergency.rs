//! Whether a ring is kept from signing, as this version of the database and the log tell it.

use trust::Time;
use trust::emergency::Stopped;
use trust::stop::VerifiedStop;

use store::Judged;

use super::snapshot::Snapshot;

impl Snapshot {
    /// Why a ring does not sign at an instant, if it does not. Whether that changed since, the transaction of the
    /// signature asks again.
    pub fn stopped(&self, ring: &str, at: Time) -> Option<String> {
        Some(match self.emergency.known().stopped(ring, at)? {
            Stopped::By(stop) => {
                let who = match self.emergency.statement(&stop.digest) {
                    Some(VerifiedStop { by, body, .. }) => format!("by {by}: {}", body.reason),
                    None => "the log tells of it, its statement is missing".to_owned(),
                };
                format!("since {}, {who}", stop.since)
            }
            Stopped::Unratified(rotation) => format!(
                "its emergency rotation of {} was not ratified until {}",
                rotation.since, rotation.until
            ),
        })
    }

    /// What a signature of this ring is recorded with.
    pub fn judged(&self, ring: &str) -> Judged {
        Judged {
            below: self.emergency.judged(),
            until: self.emergency.known().until(ring).map(Time::millis),
        }
    }
}

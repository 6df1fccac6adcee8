//! What is told of a passkey that may be copied: a leaf, a metric, and by the leaf those whom it concerns.

use base::names;
use metrics::counter;
use trust::error_chain;
use trust::leaf::{ActKind, CLONED};

use super::clones::Refused;
use super::service::CeremonyService;
use log::Event;
use store::Change;

impl CeremonyService {
    /// A passkey of this member may be copied. That it cannot be written down now changes nothing of the refusal.
    pub(super) async fn note_clone(&self, actor: &str, refused: Refused) {
        counter!(names::PASSKEYS_CLONED).increment(1);
        let (reference, why) = (&refused.reference, &refused.why);
        tracing::warn!(actor, reference, why, "a passkey may be cloned");
        self.clones.add(actor, refused, self.env.now());
        self.write_clones().await;
    }

    /// Writes what is counted, as far as no leaf told of the member lately.
    pub(crate) async fn write_clones(&self) {
        let now = self.env.now();
        for (actor, counted) in self.clones.due(now) {
            let Refused {
                reference,
                ring,
                why,
            } = &counted.last;
            let event = Event {
                counted: Some((counted.count, counted.from, counted.until)),
                reason: Some(why),
                reference: Some(reference),
                ring: ring.as_deref(),
                ..Event::new(ActKind::Refusal, CLONED, &actor, now)
            };
            if let Err(error) = self.log.commit(&Change::Record, &event).await {
                // It may be there twice then, and never not at all.
                tracing::error!(
                    actor,
                    count = counted.count,
                    error = error_chain(&error),
                    "refused signatures of a passkey were not written to the audit trail"
                );
                self.clones.put_back(actor, counted);
            }
        }
    }
}

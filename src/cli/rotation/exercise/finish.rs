//! What is looked at when a rotation is over, or the test of it is.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use trust::verdict::Outcome;

use super::api::{Rotation, Signed};
use super::judge::{self, Seen};
use super::report::{Check, Report, StepVerdict};
use super::stranger::Rejected;
use super::watch::Stop;
use super::{COVERED, Exercise};
use verify::output::Failure;

/// How long all of it may take.
const LOOKS: Duration = Duration::from_secs(5 * 60);

/// Returns when an end is wanted.
async fn wanted(stop: &mut Option<Stop>) {
    match stop {
        Some(stop) => stop.wanted().await,
        None => std::future::pending().await,
    }
}

impl Exercise<'_> {
    /// All that is looked at when it is over. `up_to`: up to which step it was to come.
    pub async fn finish(
        mut self,
        (last, mut stop): (Option<&Rotation>, Option<Stop>),
        up_to: &str,
        left: String,
    ) -> Result<Report, Failure> {
        let mut steps = Vec::new();
        let cut = tokio::select! {
            () = self.look(last, up_to, &mut steps) => None,
            () = sleep(LOOKS) => Some(format!("{} minutes are over", LOOKS.as_secs() / 60)),
            () = wanted(&mut stop) => Some("interrupted".to_owned()),
        };
        if let Some(why) = cut {
            let found = format!("{why}: not all was looked at");
            self.checks.push(Check::of("looked-at", false, found));
        }
        let mut report = Report {
            test: self.test,
            passed: false,
            url: self.options.service.url.clone(),
            environment: self.environment,
            ring: self.options.ring.to_string(),
            asset: self.asset,
            rotation: last.map(|rotation| rotation.id.clone()),
            old_kid: self.old,
            new_kid: last.and_then(|rotation| rotation.made.clone()),
            began_at: self.began_at,
            ended_at: self.env.now(),
            key_sets: self
                .stranger
                .names()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            steps,
            checks: self.checks,
            signatures: self.book.signatures,
            load: None,
            left,
        };
        report.passed = report.holds();
        Ok(report)
    }

    async fn look(&mut self, last: Option<&Rotation>, up_to: &str, steps: &mut Vec<StepVerdict>) {
        self.output.remark("Verifying everything again.");
        let good = self.book.signatures.failed == 0 && self.book.signatures.rejected == 0;
        let counts = &self.book.signatures;
        let found = format!(
            "{} made, {} requests failed, {} not accepted",
            counts.made, counts.failed, counts.rejected
        );
        self.checks.push(Check::of("signatures", good, found));
        if let Some(rotation) = last {
            let seen = self.seen(rotation.made.as_deref()).await;
            if rotation.state == "rolled-back" {
                let again = seen.old_key.as_ref().and_then(|key| key.role.as_deref());
                let found = format!("the old key is {}", again.unwrap_or("no signer"));
                self.checks
                    .push(Check::of("keys", again == Some("primary"), found));
            }
            *steps = judge::steps(rotation, &seen, up_to);
        }
        self.old_signatures().await;
        self.verdicts().await;
        let check = self.evidence().await;
        self.checks.push(check);
        if let Some(rotation) = last {
            let from = self.book.first_index.unwrap_or_default();
            let mut wanted = judge::Wanted::of(rotation, &self.old);
            match self.api.leaves(from, |leaf| wanted.takes(leaf)).await {
                Ok(leaves) => self
                    .checks
                    .extend(judge::leaves(&leaves, rotation, &self.old)),
                Err(failure) => {
                    let why = format!("{:#}", failure.error);
                    self.checks.push(Check::of("leaves", false, why));
                }
            }
        }
    }

    /// A verifier that starts now accepts what was signed before, during and after.
    async fn old_signatures(&mut self) {
        self.stranger.starts_anew();
        let mut rejected: Vec<Rejected> = Vec::new();
        let kept: Vec<Signed> = self.book.kept().into_iter().cloned().collect();
        for signed in &kept {
            for one in self.stranger.verify(signed).await {
                if !rejected.contains(&one) {
                    rejected.push(one);
                }
            }
        }
        let found = match rejected.first() {
            None => format!(
                "{} signatures of all keys, verified with fresh key sets",
                kept.len()
            ),
            Some(Rejected { by, why }) => format!("{by}: {why}"),
        };
        let check = Check::of("old-signatures", rejected.is_empty(), found);
        self.checks.push(check);
    }

    /// What the service itself says of the first signature of each key.
    async fn verdicts(&mut self) {
        let mut said = Vec::new();
        for signed in self.book.firsts() {
            said.push(match self.api.verdict(&signed.jws).await {
                Ok(verdict) => verdict,
                Err(failure) => format!("{:#}", failure.error),
            });
        }
        let good = |word: &String| ["VALID", "VALID_RETIRED_KEY"].contains(&word.as_str());
        let check = Check::of("verdicts", said.iter().all(good), said.join(", "));
        self.checks.push(check);
    }

    /// The first signature of each key, shown without the service. Checkpoints come a little later than leaves.
    async fn evidence(&self) -> Check {
        let check = |passed, found: String| Check::of("evidence", passed, found);
        let (genesis, whose) = match self.options.genesis {
            Some(genesis) => (genesis, "the pinned genesis"),
            None => match self.api.genesis().await {
                Ok(genesis) => (genesis, "the genesis that the service names (not pinned)"),
                Err(failure) => return check(false, format!("{:#}", failure.error)),
            },
        };
        let mut count = 0;
        for signed in self.book.firsts() {
            let until = Instant::now() + COVERED;
            let file = loop {
                match self.api.evidence(signed).await {
                    Ok(file) => break file,
                    Err(failure) if Instant::now() >= until => {
                        return check(false, format!("{}: {:#}", signed.kid, failure.error));
                    }
                    Err(_) => sleep(self.options.poll.min(Duration::from_secs(1))).await,
                }
            };
            match trust::evidence::verify(&file, genesis, None) {
                Ok(finding) => match finding.verdict.outcome {
                    Outcome::Valid | Outcome::ValidRetiredKey => count += 1,
                    other => return check(false, format!("{}: {other:?}", signed.kid)),
                },
                Err(error) => return check(false, format!("{}: {error}", signed.kid)),
            }
        }
        check(
            true,
            format!("a signature of each of {count} keys verifies offline, by {whose}"),
        )
    }

    async fn seen(&self, new: Option<&str>) -> Seen {
        let ring = self.api.ring(self.options.ring.as_str()).await.ok();
        let key = |kid: &str| {
            let keys = ring.as_ref().map(|ring| ring.keys.iter());
            keys.into_iter()
                .flatten()
                .find(|key| key.kid == kid)
                .cloned()
        };
        let transcript = match new {
            Some(kid) => self.api.has_transcript(kid).await.unwrap_or(false),
            None => false,
        };
        Seen {
            old: self.old.clone(),
            shown_at: new.and_then(|kid| self.stranger.shown_everywhere_at(kid)),
            new_signs: new.is_some_and(|kid| self.book.signed_by(kid)),
            old_key: key(&self.old),
            new_key: new.and_then(key),
            transcript,
        }
    }
}

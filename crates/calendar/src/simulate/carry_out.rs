//! What a step does to an asset's versions and to what is published.

use crate::facts::VersionFacts;
use crate::time::Time;
use crate::words::{EventState, Step, VersionState};

use super::engine::Engine;
use super::findings::Finding;
use super::report::PublishedSet;
use super::verifiers::Signer;

impl Engine {
    /// Does a step of an event. It is not asked for twice: here nothing is lost between doing and writing.
    pub(super) fn carry_out(&mut self, index: usize, step: Step, now: Time) {
        match step {
            Step::PreCheck | Step::Test | Step::Watch => {}
            Step::Generate => self.generate(index, now),
            Step::Publish => self.publish(index, now),
            Step::Promote => self.promote(index, now),
            Step::Retire => self.retire(index, now),
            Step::Archive => self.archive(index, now),
        }
    }

    /// Asset and new version of an event.
    fn subject(&self, index: usize) -> Option<(usize, u32)> {
        self.events
            .get(index)
            .map(|event| (event.asset, event.lived.version))
    }

    fn set_state(&mut self, asset: usize, number: u32, state: VersionState) {
        let versions = self
            .facts
            .assets
            .get_mut(asset)
            .map(|asset| &mut asset.versions);
        if let Some(version) =
            versions.and_then(|all| all.iter_mut().find(|each| each.number == number))
        {
            version.state = state;
        }
    }

    fn generate(&mut self, index: usize, now: Time) {
        let Some((asset, number)) = self.subject(index) else {
            return;
        };
        if let Some(asset) = self.facts.assets.get_mut(asset) {
            // As long as its predecessor.
            let lifetime = asset
                .primary()
                .ok()
                .and_then(|(old, _)| Some(old.expires_at?.since(old.created_at)));
            asset.versions.push(VersionFacts {
                number,
                created_at: now,
                expires_at: lifetime.map(|lifetime| now + lifetime),
                state: VersionState::Prepared { published_at: None },
            });
        }
        if let Some(event) = self.events.get_mut(index) {
            event.lived.generated_at = Some(now);
        }
    }

    fn publish(&mut self, index: usize, now: Time) {
        let Some((asset, number)) = self.subject(index) else {
            return;
        };
        self.set_state(
            asset,
            number,
            VersionState::Prepared {
                published_at: Some(now),
            },
        );
        if let Some(event) = self.events.get_mut(index) {
            event.facts.published_at = Some(now);
            event.lived.published_at = Some(now);
        }
        self.open_event(asset, number, |event| event.published_at = Some(now));
        self.publish_set(asset, now);
    }

    fn open_event(
        &mut self,
        asset: usize,
        version: u32,
        change: impl Fn(&mut crate::facts::OpenEvent),
    ) {
        let events = self
            .facts
            .assets
            .get_mut(asset)
            .map(|asset| &mut asset.events);
        if let Some(event) =
            events.and_then(|all| all.iter_mut().find(|event| event.version == version))
        {
            change(event);
        }
    }

    fn promote(&mut self, index: usize, now: Time) {
        let Some((asset, number)) = self.subject(index) else {
            return;
        };
        let Some(event) = self.events.get(index) else {
            return;
        };
        let emergency = event.facts.is_emergency();
        let published_at = event.facts.published_at;
        let Some((there, policy)) = self.of(asset) else {
            return;
        };
        let published = policy.key_type().published;
        let name = there.name.clone();
        let old = there.primary().ok().map(|(old, _)| *old);
        // Held against what verifiers were told to keep, not against the policy.
        let safe =
            published_at.unwrap_or(now) + self.world.caches.max_age.plus(self.world.caches.skew);
        if published && now < safe {
            let by = safe.since(now);
            self.findings.push(Finding::PromotedEarly {
                asset: name.clone(),
                version: number,
                at: now,
                by,
            });
        }
        if let Some(old) = old {
            if let Some(at) = old.expires_at.filter(|at| *at < now) {
                self.findings.push(Finding::Expired {
                    asset: name.clone(),
                    version: old.number,
                    at,
                });
            }
            let state = match emergency {
                true => VersionState::Revoked { since: now },
                false => VersionState::Secondary { since: now },
            };
            self.set_state(asset, old.number, state);
            if emergency {
                self.end_signer(asset, old.number, now, true);
            }
        }
        self.set_state(asset, number, VersionState::Primary { since: now });
        if published {
            let signer = Signer {
                version: number,
                from: now,
                until: None,
                revoked: false,
            };
            self.signers.entry(asset).or_default().push(signer);
        }
        if let Some(asset) = self.facts.assets.get_mut(asset)
            && let Some(usage) = &mut asset.usage
        {
            (usage.counted_at, usage.uses) = (now, 0);
        }
        self.open_event(asset, number, |event| event.promoted_at = Some(now));
        if let Some(event) = self.events.get_mut(index) {
            event.facts.promoted_at = Some(now);
            event.lived.promoted_at = Some(now);
            event.old = old.map(|old| old.number);
        }
        self.publish_set(asset, now);
        self.one_primary(asset, now);
        self.check_way_back(index, now);
        self.late(index, now);
    }

    /// The old version of an event that did not reach its last step, if it can become the primary again: it is there, may sign,
    /// and is published as before.
    fn way_back(&self, index: usize) -> Option<u32> {
        let event = self.events.get(index)?;
        let (asset, policy) = self.of(event.asset)?;
        let old = event.old?;
        let there = asset.versions.iter().find(|each| each.number == old)?;
        let set = self.sets.get(&asset.name).and_then(|sets| sets.last());
        let shown = set.is_some_and(|set| set.versions.contains(&old));
        let good = matches!(there.state, VersionState::Secondary { .. });
        (good && (shown || !policy.key_type().published)).then_some(old)
    }

    fn check_way_back(&mut self, index: usize, now: Time) {
        if self.way_back(index).is_none()
            && let Some(event) = self
                .events
                .get(index)
                .filter(|event| !event.facts.is_emergency())
        {
            let (asset, version) = (event.lived.asset.clone(), event.lived.version);
            let finding = Finding::NoWayBack {
                asset,
                version,
                at: now,
            };
            self.findings.push(finding);
        }
    }

    fn one_primary(&mut self, asset: usize, now: Time) {
        if let Some(there) = self.facts.assets.get(asset)
            && let Err(count) = there.primary()
        {
            self.findings.push(Finding::Primaries {
                asset: there.name.clone(),
                count,
                at: now,
            });
        }
    }

    fn retire(&mut self, index: usize, now: Time) {
        let Some((asset, number)) = self.subject(index) else {
            return;
        };
        self.check_way_back(index, now);
        if let Some(old) = self.way_back(index) {
            self.set_state(asset, old, VersionState::Retired { since: now });
            self.end_signer(asset, old, now, false);
        }
        // From now on the asset can rotate again; the end of grace is another matter.
        if let Some(asset) = self.facts.assets.get_mut(asset) {
            asset.events.retain(|event| event.version != number);
        }
        if let Some(open) = self.open.get_mut(asset) {
            open.retain(|event| *event != index);
        }
        if let Some(event) = self.events.get_mut(index) {
            event.lived.retired_at = Some(now);
        }
        self.publish_set(asset, now);
    }

    fn archive(&mut self, index: usize, now: Time) {
        let Some((asset, old)) = self
            .events
            .get(index)
            .and_then(|event| Some((event.asset, event.old?)))
        else {
            return;
        };
        // Kept in the archive, and not here.
        if let Some(asset) = self.facts.assets.get_mut(asset) {
            asset.versions.retain(|each| {
                let ended = matches!(
                    each.state,
                    VersionState::Retired { .. } | VersionState::Revoked { .. }
                );
                !(ended && each.number == old)
            });
        }
        if let Some(event) = self.events.get_mut(index) {
            event.lived.archived_at = Some(now);
        }
        self.publish_set(asset, now);
    }

    /// The old version becomes the primary again; the new one signs nothing more, and what it signed can be checked. Not if an
    /// emergency has taken its place meanwhile.
    pub(super) fn roll_back(&mut self, index: usize, now: Time) -> bool {
        let Some((asset, number)) = self.subject(index) else {
            return false;
        };
        let primary = self
            .facts
            .assets
            .get(asset)
            .and_then(|asset| asset.primary().ok());
        let in_place = primary.is_some_and(|(primary, _)| primary.number == number);
        let Some(old) = self.way_back(index).filter(|_| in_place) else {
            if let Some(event) = self.events.get_mut(index) {
                event.facts.roll_back = false;
            }
            if in_place {
                self.check_way_back(index, now);
            }
            return false;
        };
        self.set_state(asset, number, VersionState::Retired { since: now });
        self.end_signer(asset, number, now, false);
        // Its interval begins anew; who wants the rotation sooner asks for it.
        self.set_state(asset, old, VersionState::Primary { since: now });
        if let Some(event) = self.events.get_mut(index) {
            event.facts.state = EventState::RolledBack;
            event.lived.rolled_back = true;
        }
        self.publish_set(asset, now);
        self.one_primary(asset, now);
        self.close(index);
        true
    }

    /// Ends an event that promoted nothing: its version is taken back, and was never used.
    pub(super) fn take_back(&mut self, index: usize, version: u32) {
        let Some((asset, _)) = self.subject(index) else {
            return;
        };
        if let Some(asset) = self.facts.assets.get_mut(asset) {
            // One that is published stays as a standby.
            asset.versions.retain(|each| {
                each.number != version
                    || each.state != VersionState::Prepared { published_at: None }
            });
        }
        // What was never made, or is gone, leaves its number to the next.
        let there = self.facts.assets.get(asset);
        if !there.is_some_and(|asset| asset.versions.iter().any(|each| each.number == version)) {
            self.made.remove(&(asset, version));
        }
        if let Some(event) = self.events.get_mut(index) {
            event.facts.state = EventState::Cancelled;
        }
        self.close(index);
    }

    /// Nothing is done for the event any more.
    pub(super) fn close(&mut self, index: usize) {
        let Some((asset, number)) = self.subject(index) else {
            return;
        };
        if let Some(event) = self.events.get_mut(index) {
            event.closed = true;
        }
        if let Some(open) = self.open.get_mut(asset) {
            open.retain(|event| *event != index);
        }
        if let Some(asset) = self.facts.assets.get_mut(asset) {
            asset.events.retain(|event| event.version != number);
        }
    }

    fn end_signer(&mut self, asset: usize, version: u32, now: Time, revoked: bool) {
        let signers = self.signers.get_mut(&asset).map(|all| all.iter_mut());
        let signer = signers
            .and_then(|mut all| all.find(|each| each.version == version && each.until.is_none()));
        if let Some(signer) = signer {
            (signer.until, signer.revoked) = (Some(now), revoked);
        }
    }

    /// What is published of an asset at the beginning.
    pub(super) fn begin_publication(&mut self, asset: usize) {
        let start = self.world.start;
        let Some((there, policy)) = self.of(asset) else {
            return;
        };
        if !policy.key_type().published {
            return;
        }
        let signers = there.versions.iter().filter(|each| each.state.can_sign());
        let signers: Vec<Signer> = signers
            .map(|each| Signer {
                version: each.number,
                from: start,
                until: None,
                revoked: false,
            })
            .collect();
        self.signers.insert(asset, signers);
        self.publish_set(asset, start);
    }

    /// Writes what is published of an asset from now on, if that changed.
    fn publish_set(&mut self, asset: usize, now: Time) {
        let Some((there, policy)) = self.of(asset) else {
            return;
        };
        if !policy.key_type().published {
            return;
        }
        let shown = there.versions.iter().filter(|each| match each.state {
            VersionState::Prepared { published_at } => published_at.is_some(),
            VersionState::Primary { .. }
            | VersionState::Secondary { .. }
            | VersionState::Retired { .. } => true,
            VersionState::Archived { .. } | VersionState::Revoked { .. } => false,
        });
        let mut versions: Vec<u32> = shown.map(|each| each.number).collect();
        versions.sort_unstable();
        let name = there.name.clone();
        let sets = self.sets.entry(name).or_default();
        if sets.last().is_none_or(|last| last.versions != versions) {
            sets.push(PublishedSet {
                from: now,
                versions,
            });
        }
    }

    /// Primaries whose end came before their successor.
    pub(super) fn expired_at_the_end(&mut self, until: Time) {
        for asset in &self.facts.assets {
            if let Ok((primary, _)) = asset.primary()
                && let Some(at) = primary.expires_at.filter(|at| *at < until)
            {
                self.findings.push(Finding::Expired {
                    asset: asset.name.clone(),
                    version: primary.number,
                    at,
                });
            }
        }
    }
}

//! Standing orders: asked for, carried out by their record, accepted like everything else, shown with what is left, and
//! withdrawn by one custodian.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use trust::actor::Actor;
use trust::format::V1;
use trust::leaf::ActKind;
use trust::request::{
    Nonce, OrderExecutor, OrderPlace, OrderToken, OrderUse, OrderWindow, Request,
};
use trust::sshkey::SshKey;
use trust::tally::{still_active, suspended};
use trust::text::is_plain;
use trust::withdrawal::{
    MAX_REASON, WITHDRAW, WithdrawalBody, verify_withdrawal, withdrawal_message,
};
use trust::{
    Approved, KeyPurpose, Kid, Member, MemberId, MemberSignature, Name, Outcome, Purpose, Role,
    Sha256Digest, StandingOrder, Template, Time, Trusted,
};

use super::error::Error;
use super::service::{CeremonyFacts, CeremonyService, SigningPayload};
use super::vote::{encoded, normalized};
use crate::keys::Ring;
use log::{Event, suspensions};
use store::{CeremonyState, Change, OrderRow, UseRow};

/// A standing order that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderInput {
    /// From the proposal until a key may become primary.
    pub activate_after: Duration,
    /// A member with the role `executor`.
    pub executor: MemberId,
    /// Where it has several keys.
    pub executor_key: Option<SshKey>,
    /// Between two uses.
    pub interval: Duration,
    /// How long each key is meant to sign.
    pub lifetime: Duration,
    pub not_after: Time,
    pub not_before: Time,
    pub token_label: String,
    pub token_serial: String,
    /// How many keys.
    pub uses: u32,
    pub window: OrderWindow,
}

/// An order and what is left of it.
#[derive(Debug, Clone, Serialize)]
pub struct OrderReport {
    pub order: String,
    /// The ceremony that asked for it.
    pub ceremony: Sha256Digest,
    pub ring: Name,
    /// In one word: `waiting`, `active`, `paused`, `used-up`, `ended` or `withdrawn`.
    pub state: &'static str,
    /// What the word means here.
    pub standing: String,
    pub uses: u32,
    pub left: u32,
    pub not_before: Time,
    pub not_after: Time,
    /// The next use is not made before; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_use_after: Option<Time>,
    /// What may be made, as custodians approved it; absent where its transcript does not verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permits: Option<StandingOrder>,
    /// Whether the policy of today calls the ring routine: then the executor's signature accepts each key.
    pub routine: bool,
    pub approved_by: Vec<MemberId>,
    /// Who of these would count today.
    pub still_active: Vec<MemberId>,
    /// How many of them have to be.
    pub needed: usize,
    /// Whether all who would count signed by passkey: then the order is paused, however many they are.
    #[serde(skip)]
    by_passkeys_alone: bool,
    pub used: Vec<UseReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<WithdrawalReport>,
}

/// A use that was taken.
#[derive(Debug, Clone, Serialize)]
pub struct UseReport {
    #[serde(rename = "use")]
    pub number: u32,
    pub ceremony: Sha256Digest,
    pub state: &'static str,
    pub created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<Kid>,
}

#[derive(Debug, Clone, Serialize)]
pub struct WithdrawalReport {
    pub at: Time,
    /// The custodian, where the signature verifies today.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<MemberId>,
    pub reason: String,
}

/// Whom to trust, and who of them is suspended.
type People = (Arc<Trusted>, BTreeSet<MemberId>);

/// Why an order is paused of which enough approvers are left.
const BY_PASSKEYS: &str =
    "all approvers who are active signed by passkey; one has to have signed by another key";

/// Orders of a page.
pub const ORDERS_MAX: i64 = 100;

impl OrderInput {
    /// With everything resolved against the ring and the roster.
    pub(super) fn resolved(
        &self,
        id: Nonce,
        ring: (&Name, &Ring),
        trusted: &Trusted,
        publish_safety: Duration,
    ) -> Result<StandingOrder, Error> {
        let (name, ring) = ring;
        if self.activate_after < publish_safety {
            return Err(Error::Unfit(format!(
                "keys may become primary {} s after they are asked for at the earliest (publish_safety)",
                publish_safety.as_secs()
            )));
        }
        let executor = trusted.roster().member(&self.executor);
        let is_executor =
            |member: &&Member| member.active && member.roles.contains(&Role::Executor);
        let executor = executor
            .filter(is_executor)
            .ok_or_else(|| Error::Unfit(format!("{} is not an active executor", self.executor)))?;
        let mut keys = executor.keys.iter().filter_map(|key| key.ssh());
        let key = match (&self.executor_key, keys.next(), keys.next()) {
            (Some(key), _, _) => key.clone(),
            (None, Some(key), None) => key.clone(),
            _ => {
                return Err(Error::Unfit(format!(
                    "{} has several keys: name the one that signs results",
                    self.executor
                )));
            }
        };
        Ok(StandingOrder {
            activate_after_seconds: self.activate_after.as_secs(),
            executor: OrderExecutor {
                key,
                member: self.executor.clone(),
            },
            id,
            interval_seconds: self.interval.as_secs(),
            lifetime_seconds: self.lifetime.as_secs(),
            not_after: self.not_after,
            not_before: self.not_before,
            place: OrderPlace::Pkcs11(OrderToken {
                template: Template::signing_key(),
                token_label: self.token_label.clone(),
                token_serial: self.token_serial.clone(),
            }),
            purpose: KeyPurpose::Sign {
                algorithm: ring.algorithm,
                key_spec: ring.key_spec,
            },
            ring: name.clone(),
            usage: ring.usage,
            uses: self.uses,
            window: self.window.clone(),
        })
    }
}

impl CeremonyService {
    /// An order takes effect when it is accepted: it is carried out by its record alone.
    pub(super) async fn order(
        &self,
        facts: &CeremonyFacts,
        approved: &Approved<Box<StandingOrder>>,
        now: Time,
    ) -> Result<(), Error> {
        let outcome = Outcome::Ordered {
            id: approved.order().id,
        };
        let steps = self.noted_by_now(facts).await?;
        let execution = facts.draft(steps, outcome, now, "ordered")?.encode()?;
        let digest = Sha256Digest::of(&execution);
        let change = Change::ExecuteCeremony {
            ceremony: facts.id.clone(),
            execution,
            at: now.millis(),
        };
        let event = Event {
            digest: Some(digest),
            ..self.about(facts, "ordered")
        };
        self.log.commit(&change, &event).await?;
        Ok(())
    }

    /// The row of an order that its custodians accepted.
    pub(super) fn accepted_order(
        order: &StandingOrder,
        ceremony: Sha256Digest,
        at: Time,
    ) -> OrderRow {
        OrderRow {
            id: order.id,
            ceremony,
            ring: order.ring.clone(),
            uses: order.uses,
            not_before: order.not_before,
            not_after: order.not_after,
            accepted_at: at,
            withdrawal: None,
        }
    }

    pub(super) async fn order_row(&self, order: &str) -> Result<OrderRow, Error> {
        let row = self.store.order(order).await?;
        row.ok_or_else(|| Error::UnknownOrder(order.to_owned()))
    }

    /// The transcript of the order that a request is under, for its record.
    pub(super) async fn order_of(&self, request: &Request) -> Result<Option<String>, Error> {
        let Some(OrderUse { id, .. }) = request.order else {
            return Ok(None);
        };
        let Some(row) = self.store.order(&id.to_string()).await? else {
            return Ok(None);
        };
        let bytes = self.store.transcript(&row.ceremony.to_string()).await?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// The newest orders before this instant and id, what is left of each, and where the next page begins if there may be
    /// one.
    pub async fn orders(
        &self,
        before: (i64, &str),
        limit: i64,
    ) -> Result<(Vec<OrderReport>, Option<(i64, String)>), Error> {
        let limit = limit.clamp(1, ORDERS_MAX);
        // A row that cannot be read is told by `log check`.
        let rows = self.store.orders_before(before, limit).await?.rows.read;
        let full = rows.len() as i64 == limit;
        let last = rows.last().filter(|_| full);
        let next = last.map(|row| (row.accepted_at.millis(), row.id.to_string()));
        let mut reports = Vec::new();
        let people = self.people().await?;
        for row in rows {
            reports.push(self.report_of_order(row, &people).await?);
        }
        Ok((reports, next))
    }

    /// An order, and what is left of it.
    pub async fn order_report(&self, order: &str) -> Result<OrderReport, Error> {
        let row = self.order_row(order).await?;
        let people = self.people().await?;
        self.report_of_order(row, &people).await
    }

    async fn people(&self) -> Result<People, Error> {
        let (_, trusted) = self.trusted().await?;
        let suspended = suspended(&trusted, &suspensions(&self.store, &trusted).await?);
        Ok((trusted, suspended))
    }

    async fn report_of_order(
        &self,
        row: OrderRow,
        (trusted, suspended): &People,
    ) -> Result<OrderReport, Error> {
        let uses = self.store.uses_of(&row.id.to_string()).await?;
        let taken = uses.iter().map(|used| used.number).max().unwrap_or(0);
        let needed = trusted.policy().thresholds.of("order").get();
        let withdrawn = row.withdrawal.as_ref().map(|told| {
            let read = trust::json::require_canonical::<WithdrawalBody>(&told.body);
            let signature = MemberSignature::decode(told.signature.as_bytes()).ok();
            let of = (row.id, row.ceremony);
            let by = signature
                .and_then(|signature| verify_withdrawal(trusted, of, &told.body, &signature).ok());
            WithdrawalReport {
                at: told.at,
                by,
                reason: read.map(|body| body.reason).unwrap_or_default(),
            }
        });
        let mut report = OrderReport {
            order: row.id.to_string(),
            ceremony: row.ceremony,
            ring: row.ring.clone(),
            state: "invalid",
            standing: String::new(),
            uses: row.uses,
            left: row.uses.saturating_sub(taken),
            not_before: row.not_before,
            not_after: row.not_after,
            next_use_after: None,
            permits: None,
            routine: false,
            approved_by: Vec::new(),
            still_active: Vec::new(),
            needed,
            by_passkeys_alone: false,
            used: uses.into_iter().map(UseReport::of).collect(),
            withdrawn,
        };
        match self.verified(row).await {
            Ok(known) => {
                report.approved_by = known.approved_by;
                report.still_active = still_active(trusted, &report.approved_by, suspended);
                let mut active = report.still_active.iter();
                report.by_passkeys_alone = active.all(|member| known.by_passkey.contains(member));
                let (ring, usage) = (&known.order.ring, known.order.usage);
                report.routine = trusted.policy().is_routine(ring, usage);
                let next = taken + 1;
                report.next_use_after =
                    (next <= known.order.uses).then(|| known.order.earliest(next));
                report.permits = Some(known.order);
            }
            Err(Error::Store(error)) => return Err(Error::Store(error)),
            Err(error) => report.standing = trust::error_chain(&error),
        }
        report.tell(self.env.now());
        Ok(report)
    }

    /// The exact bytes that a custodian signs to withdraw an order.
    pub async fn withdrawal_payload(
        &self,
        order: &str,
        reason: &str,
    ) -> Result<SigningPayload, Error> {
        let row = self.order_row(order).await?;
        let body = withdrawal_body(&row, reason)?;
        let (service, environment) = (&self.pin.service, &self.pin.environment);
        let namespace = trust::Namespace::new(Purpose::Withdraw, service, environment);
        Ok(SigningPayload {
            namespace: namespace.to_string(),
            bytes: withdrawal_message(service, environment, &body),
        })
    }

    /// Withdraws an order by one custodian's signature. What waits under it is void by the same transaction; what was made
    /// under it and is not accepted never is.
    pub async fn withdraw_order(
        &self,
        order: &str,
        reason: &str,
        signature: &str,
    ) -> Result<OrderReport, Error> {
        let row = self.order_row(order).await?;
        let body = withdrawal_body(&row, reason)?;
        let signature = normalized(signature)?;
        let (_, trusted) = self.trusted().await?;
        let of = (row.id, row.ceremony);
        let by = match verify_withdrawal(&trusted, of, &body, &signature) {
            Ok(by) => by,
            Err(error) => {
                let why = error.to_string();
                self.refused("withdraw", Some(row.ring.as_str()), &why)
                    .await?;
                return Err(Error::DoesNotCount(why));
            }
        };
        let now = self.env.now();
        let change = Change::WithdrawOrder {
            order: order.to_owned(),
            body,
            signature: encoded(&signature)?,
            at: now.millis(),
        };
        let custodian = Actor::Custodian(by.as_str()).to_string();
        let event = Event {
            kind: ActKind::Order,
            action: WITHDRAW,
            actor: &custodian,
            digest: Some(signature.digest()?),
            reason: Some(reason),
            reference: Some(order),
            ring: Some(row.ring.as_str()),
            time: now,
            ..self.event()
        };
        match self.log.commit(&change, &event).await {
            // Somebody was first, which is as good.
            Err(error) if error.is_already() => {}
            done => drop(done?),
        }
        // If we die before, reconciliation does it.
        for used in self.store.uses_of(order).await? {
            if used.state == CeremonyState::Executed {
                let id = used.ceremony.to_string();
                self.give_up_use(&id, "the standing order is withdrawn")
                    .await?;
            }
        }
        self.order_report(order).await
    }

    /// What was made under an order that was withdrawn meanwhile, or that is held against its executor, is never accepted.
    pub(super) async fn give_up_use(&self, ceremony: &str, why: &str) -> Result<(), Error> {
        let facts = self.facts(ceremony).await?;
        let step = (CeremonyState::Executed, CeremonyState::Failed);
        match self.move_because(&facts, step, "failed", Some(why)).await {
            // Others of the line follow it, or somebody was first.
            Err(Error::Store(error)) if error.is_conflict() => Ok(()),
            done => done,
        }
    }
}

pub(super) fn withdrawal_body(row: &OrderRow, reason: &str) -> Result<Vec<u8>, Error> {
    if !is_plain(reason, MAX_REASON) {
        return Err(Error::Reason);
    }
    let body = WithdrawalBody {
        order: row.id,
        reason: reason.to_owned(),
        request_digest: row.ceremony,
        v: V1,
    };
    Ok(body.encode()?)
}

impl UseReport {
    fn of(row: UseRow) -> Self {
        Self {
            number: row.number,
            ceremony: row.ceremony,
            state: row.state.as_str(),
            created_at: row.created_at,
            kid: row.kid,
        }
    }
}

impl OrderReport {
    /// Where it stands, as far as rows and its transcript say.
    fn tell(&mut self, now: Time) {
        let (state, standing) = if let Some(withdrawn) = &self.withdrawn {
            let by = withdrawn.by.as_ref().map_or("a custodian", Name::as_str);
            let told = format!("by {by} at {}: {}", withdrawn.at, withdrawn.reason);
            ("withdrawn", told)
        } else if self.permits.is_none() {
            return;
        } else if now > self.not_after {
            ("ended", format!("at {}", self.not_after))
        } else if self.left == 0 {
            ("used-up", format!("all {} uses are taken", self.uses))
        } else if self.still_active.len() < self.needed {
            let (active, needed) = (self.still_active.len(), self.needed);
            let told = format!("{active} of the {needed} approvers needed are active");
            ("paused", told)
        } else if self.by_passkeys_alone {
            ("paused", BY_PASSKEYS.to_owned())
        } else {
            let left = format!("{} of {} uses are left", self.left, self.uses);
            match self.next_use_after.filter(|next| now < *next) {
                Some(next) => ("waiting", format!("{left}, the next from {next} on")),
                None => ("active", left),
            }
        };
        (self.state, self.standing) = (state, standing);
    }
}

impl fmt::Display for OrderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |all: &[MemberId]| match all {
            [] => "none".to_owned(),
            all => all.iter().map(Name::as_str).collect::<Vec<_>>().join(", "),
        };
        writeln!(f, "order        {}", self.order)?;
        writeln!(f, "ceremony     {}", self.ceremony)?;
        writeln!(f, "ring         {}", self.ring)?;
        writeln!(f, "state        {}: {}", self.state, self.standing)?;
        writeln!(f, "holds        {} to {}", self.not_before, self.not_after)?;
        if let Some(order) = &self.permits {
            let accepted = match self.routine {
                true => "by the executor's signature",
                false => "by the threshold",
            };
            writeln!(f, "executor     {}", order.executor.member)?;
            writeln!(f, "accepted     {accepted}")?;
            let days = order.window.days.iter().map(ToString::to_string);
            let days = days.collect::<Vec<_>>().join(", ");
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            writeln!(
                f,
                "window       {days}, {} to {} UTC",
                clock(order.window.from_minute),
                clock(order.window.until_minute)
            )?;
        }
        writeln!(f, "approved by  {}", list(&self.approved_by))?;
        for used in &self.used {
            let kid = used.kid.as_ref().map_or("-", Kid::as_str);
            writeln!(
                f,
                "use {:<8} {} {} {kid}",
                used.number, used.state, used.ceremony
            )?;
        }
        Ok(())
    }
}

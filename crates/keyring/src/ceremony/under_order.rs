//! Keys under a standing order: asked for by nobody but the order, made by its executor, who signs the result.

use std::time::Duration;

use trust::format::V1;
use trust::leaf::ActKind;
use trust::request::{CkaId, Nonce, OrderPlace, OrderUse, Request};
use trust::tally::Standing;
use trust::withdrawal::USE;
use trust::{
    Generate, Line, MemberSignature, Operation, Place, Purpose, Sha256Digest, StandingOrder,
    Transcript, dsse, place,
};

use super::error::Error;
use super::propose::filed;
use super::reconcile::Alone;
use super::report::Report;
use super::schedule::Lost;
use super::service::{CeremonyService, statement_digest};
use super::verified_order::VerifiedOrder;
use super::vote::normalized;
use crate::keys::Snapshot;
use base::step;
use log::{Event, suspensions};
use store::{CeremonyState, Change, OrderUseRow, RotationFence, UseRow};
use token::Executor;

/// How long a use stays open that nobody carries out; then it is lost.
pub(super) const OPEN: Duration = Duration::from_secs(24 * 3_600);

impl CeremonyService {
    /// Asks for the next key under an order, as it is known and as of now. Returns the ceremony, which
    /// [`Self::execute`] carries out; one that was asked for before and waits is returned again.
    ///
    /// Nobody signs the request: it names the order and a use of it, and what it asks for is the order's. If two
    /// executors ask at once, one of them has lost and nothing was taken twice. If we die after it, the use waits.
    pub async fn propose_under_order(
        &self,
        order: &str,
        snapshot: &Snapshot,
    ) -> Result<String, Error> {
        self.propose_use(order, None, snapshot).await
    }

    /// The same by the engine that decides when a ring rotates, and for its rotation, which the request names as its ticket:
    /// the order's executor carries it out. Returns the ceremony; one that was asked for before and waits is returned again.
    /// Nothing is asked for where another one has the rotation by then, or where it was cancelled; nor too soon after uses that
    /// came to nothing ([`Error::Paused`]), so that a token that fails at each generation does not use the order up.
    pub async fn ask_under_order(
        &self,
        order: &str,
        rotation: RotationFence,
        snapshot: &Snapshot,
    ) -> Result<String, Error> {
        let known = self.usable_order(order).await?;
        self.propose_of(known, None, Some(rotation), snapshot).await
    }

    /// The same of this very use, where one is given: if it was taken meanwhile, nothing is asked for.
    pub(super) async fn propose_use(
        &self,
        order: &str,
        number: Option<u32>,
        snapshot: &Snapshot,
    ) -> Result<String, Error> {
        let known = self.usable_order(order).await?;
        // Of another executor's keys nobody could accept one, and each would cost a use.
        self.require_signer(&known.order)?;
        self.propose_of(known, number, None, snapshot).await
    }

    async fn usable_order(&self, order: &str) -> Result<VerifiedOrder, Error> {
        let known = self.verified_order(order).await?;
        match known.withdrawn {
            true => Err(Error::Unfit(format!(
                "the standing order {order} is withdrawn"
            ))),
            false => Ok(known),
        }
    }

    async fn propose_of(
        &self,
        known: VerifiedOrder,
        number: Option<u32>,
        rotation: Option<RotationFence>,
        snapshot: &Snapshot,
    ) -> Result<String, Error> {
        let order = &known.order.id.to_string();
        let uses = self.store.uses_of(order).await?;
        if let Some((waits, _)) = self.open_use(&uses).await? {
            return Ok(waits);
        }
        let now = self.env.now();
        let number = match number {
            Some(number) => number.into(),
            None => self.store.last_use(order).await?.saturating_add(1),
        };
        let used = u32::try_from(number)
            .ok()
            .and_then(std::num::NonZeroU32::new)
            .ok_or_else(|| Error::Unfit("the standing order is used up".to_owned()))?;
        let standing = &known.order;
        // A person who asks is not held up, and whoever decides by itself when a key is due has looked at that.
        let lost = Lost::of(&uses);
        if let Some(until) = lost.until()
            && rotation.is_some()
            && now < until
            && used.get() <= standing.uses
        {
            return Err(Error::Paused {
                lost: lost.count,
                until,
            });
        }
        let ring = snapshot.rings.get(standing.ring.as_str());
        let ring = ring.ok_or_else(|| Error::Unfit(format!("unknown ring {}", standing.ring)))?;
        let (_, trusted) = self.trusted().await?;
        let OrderPlace::Pkcs11(token) = &standing.place;
        let key_number = self.next_number(ring).await?;
        let activate_at = now + Duration::from_secs(standing.activate_after_seconds);
        let mut generate = Generate {
            ring: standing.ring.clone(),
            number: key_number,
            purpose: standing.purpose,
            usage: standing.usage,
            place: Place::Pkcs11(place::Pkcs11Place {
                cka_id: CkaId(self.env.random()?),
                label: String::new(),
                template: token.template.clone(),
                token_label: token.token_label.clone(),
                token_serial: token.token_serial.clone(),
            }),
            publish_at: now,
            activate_at,
            retire_at: activate_at + Duration::from_secs(standing.lifetime_seconds),
            predecessor: ring.keys.last().map(|key| key.kid.clone()),
        };
        let mut request = Request {
            v: V1,
            service: trusted.service().clone(),
            environment: trusted.environment().clone(),
            lines: Vec::new(),
            roster: trusted.roster_ref(),
            policy: trusted.policy_ref(),
            operation: Operation::Generate(generate.clone()),
            order: Some(OrderUse {
                id: standing.id,
                number: used,
            }),
            proposer: None,
            reason: format!("use {used} of the standing order {order}"),
            ticket: rotation.as_ref().map(|fence| fence.event().to_owned()),
            created_at: now,
            approve_by: now,
            execute_by: (now + OPEN).min(standing.not_after).max(now),
            nonce: Nonce(self.env.random()?),
        };
        if let Place::Pkcs11(place) = &mut generate.place {
            place.label = standing.label(&request, key_number);
        }
        request.operation = Operation::Generate(generate);
        for subject in request.operation.subjects() {
            let head = self.store.line_head(&subject.to_string()).await?;
            let (previous, last) = match head {
                Some(head) => (Some(statement_digest(&head.execution)?), head.seq),
                None => (None, 0),
            };
            request.lines.push(Line {
                previous,
                sequence: u64::try_from(last)
                    .map_err(|_| Error::Unfit("a negative sequence number".to_owned()))?
                    + 1,
                subject,
            });
        }
        self.file_under_order(&request, known.text, rotation).await
    }

    async fn file_under_order(
        &self,
        request: &Request,
        order: String,
        rotation: Option<RotationFence>,
    ) -> Result<String, Error> {
        let now = request.created_at;
        let bytes = request.encode()?;
        let id = Sha256Digest::of(&bytes);
        let (_, trusted) = self.trusted().await?;
        let ceremony = trust::Ceremony {
            request: bytes.clone(),
            proposal: None,
            approvals: Vec::new(),
            rejections: Vec::new(),
            cancellations: Vec::new(),
            suspensions: suspensions(&self.store, &trusted).await?,
            order: Some(order),
        };
        let history = self.history(request, &id.to_string()).await?;
        let tally = trust::tally(&trusted, &ceremony, &history, now);
        if tally.standing != Standing::Approved {
            return Err(Error::NotApproved(tally.into_standing()));
        }
        let used = request
            .order
            .ok_or_else(|| Error::Unfit("the request is under no standing order".to_owned()))?;
        let (row, lines) = filed(request, bytes)?;
        let order = used.id.to_string();
        let event = Event {
            kind: ActKind::Order,
            action: USE,
            digest: Some(id),
            reference: Some(&order),
            ring: request.operation.ring().map(trust::Name::as_str),
            time: now,
            use_number: Some(used.number.get().into()),
            ..self.event()
        };
        let change = Change::ProposeCeremony {
            row: Box::new(row),
            lines,
            proposal: None,
            order: Some(OrderUseRow {
                order: order.clone(),
                number: used.number.get().into(),
            }),
        };
        let change = match rotation {
            Some(fence) => Change::OfRotation {
                fence,
                change: Box::new(change),
            },
            None => change,
        };
        self.log.commit(&change, &event).await?;
        step::reached("filed");
        Ok(id.to_string())
    }

    /// The use of an order that was taken and waits to be carried out, or to be settled after a crash.
    pub(super) async fn open_use(
        &self,
        uses: &[UseRow],
    ) -> Result<Option<(String, CeremonyState)>, Error> {
        use CeremonyState as S;
        let open = |state| matches!(state, S::Proposed | S::Approved | S::Executing);
        let now = self.env.now();
        for used in uses.iter().rev() {
            if !open(used.state) {
                continue;
            }
            let id = used.ceremony.to_string();
            let request = Request::decode(&self.row(&id).await?.request)?;
            // What is late, or was overtaken in its line, is lost.
            let overtaken = self.is_overtaken(&request).await?;
            if used.state == S::Executing || (now <= request.execute_by && !overtaken) {
                return Ok(Some((id, used.state)));
            }
        }
        Ok(None)
    }

    async fn is_overtaken(&self, request: &Request) -> Result<bool, Error> {
        for line in &request.lines {
            let head = self.store.line_head(&line.subject.to_string()).await?;
            let last = head.map_or(0, |head| head.seq);
            if u64::try_from(last)
                .ok()
                .and_then(|last| last.checked_add(1))
                != Some(line.sequence)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the next key under an order: asks for it and carries it out. For a routine ring it is published by that;
    /// otherwise custodians accept it.
    pub async fn make_under_order(
        &self,
        order: &str,
        executor: &Executor,
        snapshot: &Snapshot,
    ) -> Result<Report, Error> {
        // What an earlier executor left half done is settled first: it may be this order's, and then it is the key.
        let before = self.store.uses_of(order).await?;
        Box::pin(self.reconcile(executor, Alone::Unknown)).await?;
        for used in self.store.uses_of(order).await? {
            let made = matches!(used.state, CeremonyState::Executed | CeremonyState::Closed);
            let mut earlier = before.iter();
            let settled = |was: &UseRow| was.ceremony == used.ceremony && was.state != used.state;
            if made && earlier.any(settled) {
                return self.report(&used.ceremony.to_string()).await;
            }
        }
        let id = self.propose_under_order(order, snapshot).await?;
        Box::pin(self.execute(&id, Some(executor), snapshot)).await
    }

    /// Whether it could sign what is made under a standing order.
    pub(super) fn signs_results(&self) -> bool {
        self.result_signer.is_some()
    }

    /// Whether this is the executor that the order names, by the key that it names.
    pub(super) fn require_signer(&self, order: &StandingOrder) -> Result<(), Error> {
        let signer = self.result_signer.as_ref().ok_or(Error::NoResultSigner)?;
        let key = signer.public_key().map_err(Error::ResultSigner)?;
        match key == order.executor.key {
            true => Ok(()),
            false => Err(Error::OtherExecutor(order.executor.member.clone())),
        }
    }

    /// The executor's signature over what was done under a standing order.
    pub(super) fn sign_result(
        &self,
        request: &Request,
        draft: &Transcript,
    ) -> Result<MemberSignature, Error> {
        let signer = self.result_signer.as_ref().ok_or(Error::NoResultSigner)?;
        let namespace = request.namespace(Purpose::Result).to_string();
        let bytes = dsse::pae(&namespace, draft.acceptance.statement.as_bytes());
        let signed = signer.sign(&namespace, &bytes);
        normalized(&signed.map_err(Error::ResultSigner)?)
    }
}

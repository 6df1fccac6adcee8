//! Wrapping, unwrapping and re-wrapping of data keys.
//!
//! A signature is verified in software before it leaves; a wrapped key cannot be. What takes its place: in front of every
//! batch each wrapping key wraps its challenge, and what comes out must be its check value. From there to the batch's end the
//! library is held, so that the handles cannot come to mean other keys.
//!
//! Data keys are session objects here. Each is destroyed as soon as it was used; if that fails, or anything else, the session
//! is closed, and its objects end with it.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cryptoki::error::{Error as Ck, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use zeroize::Zeroizing;

use super::aes_kw::{
    Opened, check_value, finish, read_value, round_trip, unwrap, wrap, wrap_object,
};
use super::attributes;
use super::keys::WrapKey;
use super::module::Live;
use super::session_thread::{Fault, SessionThread, one};
use super::trial::Unable;
use super::wire::Request;
use crate::api::ObjectClass;
use crate::ckr;
use crate::error::{Error, ObjectWord};
use crate::frame::{Event, Item, WrapHead, broken};
use crate::key::CkaId;
use crate::wrap::{WrapOp, WrapRef};

/// Why an item did not come out.
enum Step {
    /// `C_UnwrapKey` did not take the blob.
    Refused(Ck),
    /// Anything else: nobody's blob is at fault.
    Fault(Ck),
    /// What the new key wrapped does not give the old blob again.
    Other,
}

impl From<Ck> for Step {
    fn from(error: Ck) -> Self {
        Step::Fault(error)
    }
}

impl SessionThread<'_> {
    /// A part of a batch; every item has a result, unless the keys or the token have none to give.
    pub fn wrap_request(&mut self, request: &Request) -> io::Result<Result<Vec<Item>, Error>> {
        let (head, items) = WrapHead::read(&request.body).ok_or_else(broken)?;
        let left = Duration::from_millis(u64::from(head.left_ms));
        if request.received.elapsed() > left {
            return Ok(Err(Error::DeadlineExceeded));
        }
        let (items, odd) = items.as_chunks_or(head.op.input_len());
        if odd {
            return Err(broken());
        }
        let keys = &self.worker.keys;
        let of = |number| keys.wrap(number);
        Ok(of(head.from)
            .and_then(|from| Ok((from, of(head.to)?)))
            .and_then(|(from, to)| {
                self.climb(None, |thread, live| {
                    thread.able_to_wrap(live)?;
                    let outcome = thread.wrap_once(live, head.op, &from, &to, &items);
                    if outcome.is_err() {
                        from.forget();
                        to.forget();
                        thread.discard_session();
                    }
                    outcome
                })
            }))
    }

    /// What the trial at the start found. Where the token was at fault then, it is tried again: a start in a bad moment costs
    /// no worker its life, and a fault that goes on is one for the ladder.
    pub fn able_to_wrap(&mut self, live: &Live) -> Result<(), Fault> {
        let worker = self.worker;
        if matches!(worker.module.wrap_trial(), Some(Err(unable)) if unable.fault.is_some()) {
            worker.module.try_wrapping(self.session(live)?);
        }
        match worker.module.wrap_trial() {
            Some(Ok(_)) => Ok(()),
            Some(Err(Unable {
                fault: Some((code, function)),
                ..
            })) => Err(Ck::Pkcs11(code, function).into()),
            Some(Err(unable)) => Err(Error::CannotWrap {
                reason: unable.reason,
            }
            .into()),
            None => Err(Error::WorkerLost.into()),
        }
    }

    /// One attempt at a part: both keys show themselves, then the items.
    fn wrap_once(
        &mut self,
        live: &Live,
        op: WrapOp,
        from: &Arc<WrapKey>,
        to: &Arc<WrapKey>,
        items: &[&[u8]],
    ) -> Result<Vec<Item>, Fault> {
        let from_handle = self.wrap_handle(live, from)?;
        let to_handle = match Arc::ptr_eq(from, to) {
            true => from_handle,
            false => self.wrap_handle(live, to)?,
        };
        let mut done = Vec::with_capacity(items.len());
        for item in items {
            let session = self.session(live)?;
            let mut outcome = carry(session, op, (from_handle, to_handle), item);
            if matches!(outcome, Err(Step::Refused(_))) {
                // The same code means a damaged blob here and a broken token there. The key's own challenge, wrapped and
                // unwrapped, says which; then the blob has one more try, for faults that pass.
                round_trip(session, from_handle, &from.reference.challenge)?;
                outcome = carry(session, op, (from_handle, to_handle), item);
            }
            done.push(match outcome {
                Ok(bytes) => Ok(bytes),
                Err(Step::Fault(error)) => return Err(error.into()),
                Err(Step::Refused(error)) => Err(self.refused(op, from.reference.cka_id, &error)),
                Err(Step::Other) => {
                    self.worker.outbox.event(Event::Mismatch);
                    let cka_id = to.reference.cka_id;
                    Err(Error::WrongRewrap { cka_id })
                }
            });
        }
        Ok(done)
    }

    /// What an unwrap that was refused means, on a token that has just shown that it is well.
    fn refused(&self, op: WrapOp, cka_id: CkaId, error: &Ck) -> Error {
        let Ck::Pkcs11(code, _) = error else {
            return ckr::error(error, None);
        };
        if op == WrapOp::Unwrap && *code == RvError::TemplateInconsistent {
            return Error::StrictKey { cka_id };
        }
        let module = &self.worker.module;
        let by_trial = matches!(module.wrap_trial(), Some(Ok(seen)) if seen == ckr::name(*code));
        let by_profile = module
            .profile()
            .is_some_and(|profile| profile.is_wrap_integrity(*code));
        if by_trial || by_profile {
            self.worker.outbox.event(Event::WrapIntegrity);
            return Error::WrappedKeyInvalid { cka_id };
        }
        let class = module
            .profile()
            .map(|profile| profile.treatment(*code).class);
        ckr::error(error, class)
    }

    /// The key's handle, after it wrapped its challenge to its check value: the one that was found in this epoch, else the one
    /// found now.
    fn wrap_handle(&mut self, live: &Live, key: &WrapKey) -> Result<ObjectHandle, Fault> {
        let epoch = self.worker.module.epoch();
        let session = self.session(live)?;
        let mut binding = key.binding.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = match *binding {
            Some((found_in, handle)) if found_in == epoch => handle,
            _ => find_secret(session, key.reference.cka_id)?,
        };
        *binding = None;
        show(session, handle, &key.reference)?;
        *binding = Some((epoch, handle));
        Ok(handle)
    }

    /// A wrapping key that no batch has used here: found, and shown to be the one.
    pub fn find_wrap(&mut self, live: &Live, key: &WrapRef) -> Result<ObjectHandle, Fault> {
        let session = self.session(live)?;
        let handle = find_secret(session, key.cka_id)?;
        show(session, handle, key)?;
        Ok(handle)
    }
}

/// Items of `length` bytes, and whether something is left over.
trait AsChunks {
    fn as_chunks_or(&self, length: usize) -> (Vec<&[u8]>, bool);
}

impl AsChunks for [u8] {
    fn as_chunks_or(&self, length: usize) -> (Vec<&[u8]>, bool) {
        if length == 0 {
            return (Vec::new(), !self.is_empty());
        }
        let chunks = self.chunks_exact(length);
        let odd = !chunks.remainder().is_empty();
        (chunks.collect(), odd)
    }
}

/// Exactly one secret key with this id; never "the first one found".
pub fn find_secret(session: &Session, cka_id: CkaId) -> Result<ObjectHandle, Fault> {
    let found = attributes::find(session, ObjectClass::SecretKey, cka_id)?;
    Ok(one(cka_id, ObjectWord::SecretKey, found)?)
}

/// Only what a key makes of a known value says which key it is.
fn show(session: &Session, handle: ObjectHandle, key: &WrapRef) -> Result<(), Fault> {
    let cka_id = key.cka_id;
    if check_value(session, handle, &key.challenge)? != key.check_value {
        return Err(Error::WrongCheckValue { cka_id }.into());
    }
    Ok(())
}

/// One item through the token.
fn carry(
    session: &Session,
    op: WrapOp,
    (from, to): (ObjectHandle, ObjectHandle),
    item: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Step> {
    match op {
        // It has no items: that the keys showed themselves is all.
        WrapOp::Check => Err(Step::Fault(Ck::NotSupported)),
        WrapOp::Wrap => Ok(Zeroizing::new(wrap(session, from, item)?)),
        WrapOp::Unwrap => {
            let opened = unwrap(session, from, item, Opened::Readable).map_err(Step::Refused)?;
            let value = finish(session, opened, read_value(session, opened))?;
            Ok(value)
        }
        WrapOp::Rewrap => {
            let inside = unwrap(session, from, item, Opened::Inside).map_err(Step::Refused)?;
            let new = finish(session, inside, wrap_object(session, to, inside))?;
            // KW has no randomness: what the new blob holds gives the old blob again, or it is not the same key.
            let again = unwrap(session, to, &new, Opened::Inside)?;
            let old = finish(session, again, wrap_object(session, from, again))?;
            if old != item {
                return Err(Step::Other);
            }
            Ok(Zeroizing::new(new))
        }
    }
}

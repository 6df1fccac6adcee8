//! A session thread: one session, its own handles, and the ladder it climbs when the token fails it.

use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use cryptoki::error::Error as Ck;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::Worker;
use super::attributes;
use super::keys::{Binding, Key};
use super::mechanism;
use super::module::Live;
use super::public_key;
use super::wire::Request;
use crate::api::ObjectClass;
use crate::ckr::{self, Rung, Treatment};
use crate::error::{Class, Error, ObjectWord};
use crate::frame::{Answer, Event, KeyNumber, Kind, broken};
use crate::key::{CkaId, KeyRef};

/// What can go wrong in one attempt.
pub enum Fault {
    /// The library's word.
    Code(Ck),
    /// Ours: nothing found, the wrong thing found, a signature that does not verify.
    Error(Error),
}

/// Both kinds of fault arise in the middle of an attempt; `?` sorts them.
impl From<Ck> for Fault {
    fn from(error: Ck) -> Self {
        Fault::Code(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Error(error)
    }
}

pub struct SessionThread<'w> {
    /// What all seats share.
    pub worker: &'w Worker,
    /// Ours alone, with the generation it belongs to.
    session: Option<(u64, Session)>,
    /// Handles by key number, each with its epoch.
    handles: Vec<Option<Binding>>,
    /// Counts the challenges, so that none repeats.
    challenges: u64,
}

impl<'w> SessionThread<'w> {
    pub fn new(worker: &'w Worker) -> Self {
        Self {
            worker,
            session: None,
            handles: Vec::new(),
            challenges: 0,
        }
    }

    /// Works until the supervisor is gone or talks nonsense; in both cases this process has no further use. What this
    /// thread was doing then is done by another process.
    pub fn work(mut self) {
        let worker = self.worker;
        while let Ok(request) = worker.inbox.next(&worker.outbox, &worker.keys) {
            if self.serve(&request).is_err() {
                break;
            }
        }
        super::exit();
    }

    /// One request to its answer. An error here is about the socket, not about the token.
    fn serve(&mut self, request: &Request) -> io::Result<()> {
        let outbox = &self.worker.outbox;
        let outcome = match request.kind {
            Kind::Sign => match self.sign_request(request)? {
                Ok(signature) => return outbox.signed(request.id, &signature),
                Err(error) => Err(error),
            },
            Kind::Wrap => match self.wrap_request(request)? {
                Ok(items) => return outbox.wrapped(request.id, &items),
                Err(error) => Err(error),
            },
            Kind::Prepare | Kind::Probe => self.probe(&request.body)?.map(|()| Answer::Nothing),
            Kind::Call => {
                let call = serde_json::from_slice(&request.body)?;
                self.call(call)
            }
            _ => return Err(broken()),
        };
        match outcome {
            Ok(answer) => outbox.done(request.id, &answer),
            Err(error) => outbox.failed(request.id, &error),
        }
    }

    /// A signature for a caller.
    fn sign_request(&mut self, request: &Request) -> io::Result<Result<Vec<u8>, Error>> {
        let (number, rest) = request.body.split_first_chunk::<4>().ok_or_else(broken)?;
        let (left, input) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let number = KeyNumber::from_le_bytes(*number);
        let left = Duration::from_millis(u64::from(u32::from_le_bytes(*left)));
        // Nobody waits for it any more; the token's time belongs to those who do.
        if request.received.elapsed() > left {
            return Ok(Err(Error::DeadlineExceeded));
        }
        Ok(self.worker.keys.get(number).and_then(|key| {
            key.check_input(input)?;
            self.climb(Some(&key), |thread, live| {
                thread.sign_once(live, number, &key, input)
            })
        }))
    }

    /// A real signature, verified; without a key, whether the token is still itself.
    fn probe(&mut self, body: &[u8]) -> io::Result<Result<(), Error>> {
        // No key was ever used: C_GetTokenInfo is the best there is. C_GetSessionInfo would say yes to anything.
        let Some(number) = body.first_chunk::<4>() else {
            return Ok(self.climb(None, |thread, live| {
                if thread.worker.module.token_is_there(live) {
                    Ok(())
                } else {
                    Err(Fault::Error(Error::TokenAbsent {
                        uri: live.identity.label.clone(),
                    }))
                }
            }));
        };
        let number = KeyNumber::from_le_bytes(*number);
        Ok(self.worker.keys.get(number).and_then(|key| {
            let challenge = self.challenge(&key.reference);
            self.climb(Some(&key), |thread, live| {
                thread.sign_once(live, number, &key, &challenge).map(drop)
            })
        }))
    }

    /// One attempt: session, handle, C_Sign, verification.
    fn sign_once(
        &mut self,
        live: &Live,
        number: KeyNumber,
        key: &Arc<Key>,
        input: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let handle = self.handle(live, number, key)?;
        let session = self.session(live)?;
        let signature = mechanism::sign(session, key.reference.scheme, handle, input)?;
        key.verifier.verify(input, &signature)?;
        Ok(signature)
    }

    /// The session of this generation. One from before is forgotten: its number may be somebody else's by now, and
    /// closing it would close theirs.
    pub fn session(&mut self, live: &Live) -> Result<&Session, Ck> {
        let current =
            matches!(&self.session, Some((generation, _)) if *generation == live.generation);
        if !current {
            mem::forget(self.session.take());
            let session = self.worker.module.open_session(&live.pkcs11, live.slot)?;
            self.session = Some((live.generation, session));
        }
        match &self.session {
            Some((_, session)) => Ok(session),
            None => Err(Ck::NotSupported),
        }
    }

    /// The key's handle: our own copy, else the one another thread has bound in this epoch, else bound now.
    fn handle(
        &mut self,
        live: &Live,
        number: KeyNumber,
        key: &Arc<Key>,
    ) -> Result<ObjectHandle, Fault> {
        let epoch = self.worker.module.epoch();
        let index = number as usize;
        if let Some(Some((found_in, handle))) = self.handles.get(index)
            && *found_in == epoch
        {
            return Ok(*handle);
        }
        let mut binding = key.binding.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = match *binding {
            Some((found_in, handle)) if found_in == epoch => handle,
            _ => {
                *binding = None;
                let handle = self.bind(live, key)?;
                *binding = Some((epoch, handle));
                handle
            }
        };
        if self.handles.len() <= index {
            self.handles.resize(index + 1, None);
        }
        self.handles[index] = Some((epoch, handle));
        Ok(handle)
    }

    /// Finds exactly one private and one public key, compares the public key with the one asked for, and has the private
    /// key sign a challenge.
    fn bind(&mut self, live: &Live, key: &Key) -> Result<ObjectHandle, Fault> {
        let reference = &key.reference;
        let form = self.worker.module.ec_point();
        let challenge = self.challenge(reference);
        let session = self.session(live)?;
        // Private and public key each exactly once. "The first one found" is how a twin made by somebody else would get
        // to sign in our name.
        let private = one(
            reference.cka_id,
            ObjectWord::PrivateKey,
            attributes::find(session, ObjectClass::PrivateKey, reference.cka_id)?,
        )?;
        let public = one(
            reference.cka_id,
            ObjectWord::PublicKey,
            attributes::find(session, ObjectClass::PublicKey, reference.cka_id)?,
        )?;
        if public_key::read(session, public, form)?.as_deref() != Some(reference.spki.as_slice()) {
            self.worker.outbox.event(Event::Mismatch);
            return Err(Error::WrongKey {
                cka_id: reference.cka_id,
            }
            .into());
        }
        // The public object says what the key should be; only a signature says what the private object is.
        let signature = mechanism::sign(session, reference.scheme, private, &challenge)?;
        key.verifier.verify(&challenge, &signature)?;
        Ok(private)
    }

    /// Input for a signature that proves possession to ourselves: as long as the scheme wants it, never the same twice
    /// in a process, and under a prefix that no format of ours begins with. It stays in this process.
    fn challenge(&mut self, key: &KeyRef) -> Vec<u8> {
        self.challenges += 1;
        let mut message = b"chancery hsm challenge, not a document\0".to_vec();
        message.extend_from_slice(&std::process::id().to_le_bytes());
        message.extend_from_slice(&self.challenges.to_le_bytes());
        message.extend_from_slice(&self.worker.module.epoch().to_le_bytes());
        message.extend_from_slice(&key.cka_id.0);
        match key.scheme.digest_len() {
            Some(48) => digest::digest(&digest::SHA384, &message).as_ref().to_vec(),
            Some(_) => digest::digest(&digest::SHA256, &message).as_ref().to_vec(),
            None => message,
        }
    }

    /// The recovery ladder: each rung once, then the next, as far as the fault's treatment allows.
    pub fn climb<T>(
        &mut self,
        key: Option<&Arc<Key>>,
        mut attempt: impl FnMut(&mut Self, &Live) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let mut stood_on: Option<Rung> = None;
        loop {
            let worker = self.worker;
            let hold = worker.module.share();
            let Some(live) = hold.live() else {
                return Err(Error::WorkerLost);
            };
            let generation = live.generation;
            let fault = match attempt(self, live) {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            // The library must be free before the next rung: it may need it for itself.
            let (treatment, error) = self.judge(live, fault);
            drop(hold);
            let next = match stood_on {
                None => treatment.first,
                Some(Rung::Reopen) => treatment.first.max(Rung::Rebind),
                Some(_) => treatment.first.max(Rung::Reinitialise),
            };
            let exhausted = stood_on == Some(Rung::Reinitialise);
            if exhausted
                || next > treatment.last
                || next == Rung::Stop
                || treatment.first == Rung::Stop
            {
                return Err(error);
            }
            match next {
                Rung::Reopen => {
                    self.reopen();
                    worker.outbox.event(Event::SessionReopened);
                }
                // A lost login hides private keys and answers "not found" or "bad handle", never "not logged in"; so log in first
                // and look for the key again in any case.
                Rung::Rebind => {
                    if worker.module.login_again()? {
                        worker.outbox.event(Event::LoggedIn);
                    }
                    self.forget(key);
                }
                Rung::Reinitialise | Rung::Stop => {
                    // Between this failure and the main thread's success nobody should send us work.
                    match worker.module.reinitialise(generation) {
                        Ok(Some(ready)) => {
                            worker.outbox.event(Event::Reinitialised);
                            worker.outbox.status(&ready);
                        }
                        Ok(None) => self.reopen(),
                        Err(error) => {
                            worker.outbox.status(&crate::frame::Status::Down {
                                error: error.clone(),
                            });
                            return Err(error);
                        }
                    }
                }
            }
            // Each rung once: a fault that survives it is not of its kind.
            stood_on = Some(next);
        }
    }

    /// What to do about a fault, and the error it is if nothing helps.
    fn judge(&self, live: &Live, fault: Fault) -> (Treatment, Error) {
        let stop = |class| Treatment {
            first: Rung::Stop,
            last: Rung::Stop,
            class,
        };
        match fault {
            Fault::Code(Ck::Pkcs11(code, function)) => {
                let treatment = match self.worker.module.profile() {
                    Some(profile) => profile.treatment(code),
                    None => ckr::treatment(code),
                };
                (
                    treatment,
                    ckr::error(&Ck::Pkcs11(code, function), Some(treatment.class)),
                )
            }
            Fault::Code(other) => (stop(Class::Unsupported), ckr::error(&other, None)),
            Fault::Error(
                error @ (Error::WrongSignature { .. } | Error::WrongCheckValue { .. }),
            ) => {
                // The handle may be stale: bind afresh, once. That it happened at all is told in any case.
                self.worker.outbox.event(Event::Mismatch);
                (
                    Treatment {
                        first: Rung::Rebind,
                        last: Rung::Rebind,
                        class: Class::Fatal,
                    },
                    error,
                )
            }
            Fault::Error(error @ (Error::NotFound { .. } | Error::TokenAbsent { .. })) => {
                // A token whose storage is gone finds nothing and says so without an error. Ask whether it is still there
                // before believing that the key is not.
                if self.worker.module.token_is_there(live) {
                    (stop(error.class()), error)
                } else {
                    let class = Class::Transient;
                    (
                        Treatment {
                            first: Rung::Reinitialise,
                            last: Rung::Reinitialise,
                            class,
                        },
                        Error::TokenAbsent {
                            uri: live.identity.label.clone(),
                        },
                    )
                }
            }
            // Our own judgement of what was found; finding it again would not change it.
            Fault::Error(error) => (stop(error.class()), error),
        }
    }

    /// Drops this thread's session; the next attempt opens another.
    fn reopen(&mut self) {
        if let Some((generation, session)) = self.session.take() {
            let hold = self.worker.module.share();
            if hold
                .live()
                .is_some_and(|live| live.generation == generation)
            {
                // It is dead or about to be; an error says only that.
                drop(session.close());
            } else {
                mem::forget(session);
            }
        }
    }

    /// Closes this thread's session, and with it every session object. Only where the library of its generation is held.
    pub fn discard_session(&mut self) {
        if let Some((_, session)) = self.session.take() {
            drop(session.close());
        }
    }

    /// The next attempt finds the key again, and compares it again.
    fn forget(&mut self, key: Option<&Arc<Key>>) {
        self.handles.clear();
        if let Some(key) = key {
            *key.binding.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Zero or two objects are an error; never "take the first".
pub fn one(
    cka_id: CkaId,
    what: ObjectWord,
    found: Vec<ObjectHandle>,
) -> Result<ObjectHandle, Error> {
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err(Error::NotFound { cka_id, what }),
        many => Err(Error::Ambiguous {
            cka_id,
            what,
            count: many.len(),
        }),
    }
}

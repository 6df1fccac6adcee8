//! The vendor's library: loaded once, initialised once in each generation, with one session that is never closed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Ck, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use rustix::event::{EventfdFlags, eventfd};

use super::lock::{self, StartLock, TokenFile};
use super::pin;
use super::trial::{self, Trial};
use crate::api::TokenIdentity;
use crate::ckr;
use crate::config::Power;
use crate::error::{Class, Error};
use crate::frame::{StartOrder, Status};
use crate::profile::{EcPoint, Mutation, PinForm, Profile};

/// The library while it is up. Everything made from it carries its generation.
pub struct Live {
    pub pkcs11: Pkcs11,
    pub slot: Slot,
    pub generation: u64,
    pub identity: TokenIdentity,
    /// Never closed: the login is lost with the last session, and closing the last one while another opens destroys the
    /// new one on SoftHSM.
    keeper: Mutex<Session>,
}

pub struct Module {
    order: StartOrder,
    /// Used up by the first login.
    retry_rejected: AtomicBool,
    file: Mutex<TokenFile>,
    /// Loaded once. Unloading a vendor's library is asking for trouble.
    library: OnceLock<Pkcs11>,
    /// Known since the token was first seen; it does not change afterwards.
    profile: OnceLock<Profile>,
    /// Readers use the library, the writer has it for itself: that is both the barrier before C_Finalize (which crashes
    /// SoftHSM under a signing thread) and the lock for changes of objects.
    live: RwLock<Option<Live>>,
    /// Grows with every initialisation and every login; a handle found under another epoch is not used again.
    epoch: AtomicU64,
    /// What the trial of wrapping found; made once, and again after it failed.
    wrap_trial: Mutex<Option<Trial>>,
    /// Counts successful initialisations.
    generation: AtomicU64,
    /// Whether the last attempt to bring the library up succeeded.
    up: AtomicBool,
    /// Whether C_Finalize is owed; calling it unasked makes some libraries complain.
    initialised: AtomicBool,
    /// When the library came up last, so that a fault it cannot cure does not restart it in a loop.
    last_start: Mutex<Option<Instant>>,
    /// Calls the main thread out of its wait for the supervisor's hang-up.
    wake: OwnedFd,
}

/// Shared or sole use of the library.
pub enum Hold<'a> {
    Shared(RwLockReadGuard<'a, Option<Live>>),
    Sole(RwLockWriteGuard<'a, Option<Live>>),
}

impl Hold<'_> {
    pub fn live(&self) -> Option<&Live> {
        match self {
            Hold::Shared(guard) => guard.as_ref(),
            Hold::Sole(guard) => guard.as_ref(),
        }
    }
}

impl Module {
    pub fn new(order: StartOrder) -> io::Result<Self> {
        let file = lock::open(order.lock_dir.as_deref(), &order.uri)?;
        Ok(Self {
            retry_rejected: AtomicBool::new(order.retry_rejected),
            order,
            file: Mutex::new(file),
            library: OnceLock::new(),
            profile: OnceLock::new(),
            live: RwLock::new(None),
            epoch: AtomicU64::new(0),
            wrap_trial: Mutex::new(None),
            generation: AtomicU64::new(0),
            up: AtomicBool::new(false),
            initialised: AtomicBool::new(false),
            last_start: Mutex::new(None),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Handles found under another epoch are not used.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub fn wake(&self) -> &OwnedFd {
        &self.wake
    }

    pub fn woken(&self) {
        // Nothing to read is the usual case.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    /// As configured, else as the profile says.
    pub fn sessions(&self) -> usize {
        let profile = self.profile.get().map_or(1, Profile::sessions);
        self.order.sessions.unwrap_or(profile).max(1)
    }

    /// The profile in force; before the token was ever seen there is none.
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.get()
    }

    pub fn ec_point(&self) -> EcPoint {
        self.profile
            .get()
            .map_or(EcPoint::Either, |profile| profile.ec_point)
    }

    /// Pause before the next attempt, growing with the attempts and never quite the same in two processes.
    pub fn pause(&self, attempts: u32) -> Duration {
        let (first, longest) = self
            .profile
            .get()
            .map_or((20, 200), |profile| profile.times.pause_ms);
        let pause = first
            .saturating_mul(u64::from(attempts.max(1)))
            .min(longest);
        let jitter = u64::from(std::process::id()).wrapping_mul(0x9e37_79b9) % (pause / 4 + 1);
        Duration::from_millis(pause - jitter)
    }

    /// Use of the library beside others. Held for one call or a few, never while waiting for work.
    pub fn share(&self) -> Hold<'_> {
        Hold::Shared(self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// As the profile wants it for changes of objects.
    pub fn change(&self) -> Hold<'_> {
        match self.profile.get().map(|profile| profile.mutation) {
            // One executor has one session thread, so `serial` needs no lock of its own.
            Some(Mutation::Free | Mutation::Serial) => self.share(),
            Some(Mutation::Exclusive) | None => {
                Hold::Sole(self.live.write().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// Waits for the token's start lock, then brings the library up. Answers what to tell the supervisor.
    pub fn start(
        &self,
        gone: impl Fn() -> bool,
        queued: impl Fn(),
        begins: impl Fn(),
    ) -> Result<Status, Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lock = file
            .lock(gone, queued)
            .map_err(lock_failed)?
            .ok_or(Error::Stopping)?;
        begins();
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.is_none() || !self.is_up() {
            self.raise(&mut live, &mut lock)?;
        }
        let live = live.as_ref().ok_or(Error::WorkerLost)?;
        self.ready(live)
    }

    /// What the supervisor is told.
    fn ready(&self, live: &Live) -> Result<Status, Error> {
        let profile = self.profile.get().ok_or(Error::WorkerLost)?;
        Ok(Status::Ready {
            generation: live.generation,
            sessions: self.sessions(),
            identity: live.identity.clone(),
            limits: profile.limits(),
            wrap: self
                .wrap_trial()
                .unwrap_or_else(|| Err("not tried".into()))
                .map(drop)
                .map_err(|unable| unable.reason),
        })
    }

    /// Rung three, asked for by a thread that met a fault in generation `seen`. Another thread may have done it already.
    /// A failure marks the library as down and calls the main thread, which goes on trying.
    ///
    /// The start lock comes before the library's, here as everywhere.
    pub fn reinitialise(&self, seen: u64) -> Result<Option<Status>, Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever holds the lock is starting on this token; its supervisor kills it should it hang.
        let mut lock = file
            .lock(|| false, || {})
            .map_err(lock_failed)?
            .ok_or(Error::Stopping)?;
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| live.generation > seen) {
            return Ok(None);
        }
        let recent = self
            .last_start
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .map(|at| at.elapsed());
        let (_, longest) = self
            .profile
            .get()
            .map_or((0, 25), |profile| profile.times.pause_ms);
        if self.is_up() && recent.is_some_and(|recent| recent < Duration::from_millis(longest * 10))
        {
            // A fault that survives a fresh library is not cured by another one; do not stop every thread for it.
            return Ok(None);
        }
        if let Err(error) = self.raise(&mut live, &mut lock) {
            // Full means that the call is already pending.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
            return Err(error);
        }
        self.ready(live.as_ref().ok_or(Error::WorkerLost)?)
            .map(Some)
    }

    /// Finalise, initialise, find the token, log in. All threads are parked: the caller holds the writer's lock. Sessions
    /// of the generation before are forgotten by their owners, never closed, since their numbers may live again.
    fn raise(&self, live: &mut Option<Live>, lock: &mut StartLock<'_>) -> Result<(), Error> {
        self.up.store(false, Ordering::Release);
        let pkcs11 = self.library()?.clone();
        let mut race_allowed = true;
        loop {
            // From here to the end nobody has the library; if we die here the next process starts from nothing.
            *live = None;
            if self.initialised.swap(false, Ordering::AcqRel) {
                // What matters is whether C_Initialize succeeds afterwards.
                drop(pkcs11.clone().finalize());
            }
            self.epoch.fetch_add(1, Ordering::AcqRel);
            pkcs11
                .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
                .map_err(|error| ckr::error(&error, Some(Class::Transient)))?;
            self.initialised.store(true, Ordering::Release);
            // Slots are numbered anew by every initialisation: the token is found by its words.
            let (slot, identity) = self.find_token(&pkcs11)?;
            let keeper = self.open(&pkcs11, slot)?;
            match self.login(&keeper, lock) {
                Ok(()) => {
                    self.try_wrapping(&keeper);
                    let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
                    *live = Some(Live {
                        pkcs11,
                        slot,
                        generation,
                        identity,
                        keeper: Mutex::new(keeper),
                    });
                    *self
                        .last_start
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    self.up.store(true, Ordering::Release);
                    return Ok(());
                }
                Err(Refusal::Race(_)) if race_allowed => {
                    race_allowed = false;
                    let pause = self
                        .profile
                        .get()
                        .map_or(0, |profile| profile.login.race_pause_ms);
                    std::thread::sleep(Duration::from_millis(pause));
                }
                Err(Refusal::Race(error) | Refusal::Final(error)) => return Err(error),
            }
        }
    }

    /// What the token can do with wrapping keys, tried before anybody uses it. A failure costs wrapping and nothing else; a
    /// generation may fail for once where other processes use the token, so it has a second chance.
    pub fn try_wrapping(&self, session: &Session) {
        let (Some(profile), false) = (self.profile.get(), matches!(self.wrap_trial(), Some(Ok(_))))
        else {
            return;
        };
        let trial = trial::run(session, profile).or_else(|_| trial::run(session, profile));
        *self
            .wrap_trial
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(trial);
    }

    /// What the trial of wrapping found; `None` before the token was there.
    pub fn wrap_trial(&self) -> Option<Trial> {
        self.wrap_trial
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The library itself; a path that cannot be loaded is a matter for people.
    fn library(&self) -> Result<&Pkcs11, Error> {
        if let Some(library) = self.library.get() {
            return Ok(library);
        }
        let path = &self.order.uri.module_path;
        let library = Pkcs11::new(path).map_err(|error| Error::Module {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        Ok(self.library.get_or_init(|| library))
    }

    /// Exactly one token that fits the URI. A slot whose token cannot be described is passed over: one odd token must
    /// not hide the others.
    fn find_token(&self, pkcs11: &Pkcs11) -> Result<(Slot, TokenIdentity), Error> {
        let uri = &self.order.uri;
        let slots = pkcs11
            .get_slots_with_token()
            .map_err(|error| ckr::error(&error, Some(Class::Transient)))?;
        // What the URI leaves open fits everything.
        let fits = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        let mut found: Vec<(Slot, TokenInfo)> = slots
            .into_iter()
            .filter_map(|slot| pkcs11.get_token_info(slot).ok().map(|info| (slot, info)))
            .filter(|(_, info)| {
                fits(&uri.token, clean(info.label()))
                    && fits(&uri.serial, clean(info.serial_number()))
                    && fits(&uri.manufacturer, clean(info.manufacturer_id()))
                    && fits(&uri.model, clean(info.model()))
            })
            .collect();
        if found.len() > 1 {
            return Err(Error::TokenAmbiguous {
                uri: uri.to_string(),
                count: found.len(),
            });
        }
        let (slot, info) = found.pop().ok_or_else(|| Error::TokenAbsent {
            uri: uri.to_string(),
        })?;
        let profile = match (self.profile.get(), &self.order.profile) {
            (Some(profile), _) => profile,
            (None, Some(name)) => {
                let profile = Profile::named(name)?;
                self.profile.get_or_init(|| profile)
            }
            (None, None) => {
                let profile = Profile::detect(clean(info.manufacturer_id()), clean(info.model()))?;
                self.profile.get_or_init(|| profile)
            }
        };
        Ok((slot, identity(&info, &profile.name)))
    }

    /// A session that nobody closes by accident. Read-only, unless this worker administers or the token has no other.
    pub fn open(&self, pkcs11: &Pkcs11, slot: Slot) -> Result<Session, Error> {
        self.open_session(pkcs11, slot)
            .map_err(|error| ckr::error(&error, None))
    }

    /// The same with the library's own error, for the ladder.
    pub fn open_session(&self, pkcs11: &Pkcs11, slot: Slot) -> Result<Session, Ck> {
        let read_only = self
            .profile
            .get()
            .is_none_or(|profile| profile.read_only_sessions);
        if self.order.power == Power::Use && read_only {
            pkcs11.open_ro_session_no_drop(slot)
        } else {
            pkcs11.open_rw_session_no_drop(slot)
        }
    }

    /// Rung two's first half: a login that was lost is made again. Logged in already is success. Answers whether there was
    /// anything to do.
    pub fn login_again(&self) -> Result<bool, Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lock = file
            .lock(|| false, || {})
            .map_err(lock_failed)?
            .ok_or(Error::Stopping)?;
        let hold = self.share();
        let Some(live) = hold.live() else {
            return Ok(false);
        };
        // Login belongs to the process and not to a session, so the keeper's will do for all.
        let before = self.epoch();
        let keeper = live.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        match self.login(&keeper, &mut lock) {
            Ok(()) => Ok(self.epoch() != before),
            Err(Refusal::Race(error) | Refusal::Final(error)) => Err(error),
        }
    }

    /// Tries the PIN, unless this content of its source was rejected before.
    fn login(&self, session: &Session, lock: &mut StartLock<'_>) -> Result<(), Refusal> {
        let profile = self
            .profile
            .get()
            .ok_or(Refusal::Final(Error::WorkerLost))?;
        let source = match (&self.order.uri.pin_source, profile.login.pin) {
            (Some(source), _) => source,
            (None, PinForm::None) => return Ok(()),
            (None, _) => {
                let reason = "the URI names no pin-source".to_owned();
                return Err(Refusal::Final(Error::PinSource {
                    path: Default::default(),
                    reason,
                }));
            }
        };
        // Stamp before content: if the file changes between the two, the worst is one more try of the new content.
        let stamp = pin::stamp(source).map_err(Refusal::Final)?;
        let rejected = lock.rejected_before(&stamp).unwrap_or(false);
        // A person may have set it back at the token, and the file is as it was: one more try by the first worker of a
        // service that was started since, and no more. Without the record of it there is no try.
        let retry = self.retry_rejected.swap(false, Ordering::Relaxed);
        if rejected && !(retry && lock.take_retry(&stamp).unwrap_or(false)) {
            return Err(Refusal::Final(Error::PinRejected));
        }
        let pin = pin::read(source).map_err(Refusal::Final)?;
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) => {
                if rejected {
                    // Should that fail, the worst is one try less.
                    drop(lock.forget(&stamp));
                }
                // Handles may have moved with the login state, even within one generation.
                self.epoch.fetch_add(1, Ordering::AcqRel);
                Ok(())
            }
            Err(Ck::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Ck::Pkcs11(code, _)) if profile.login.race.contains(&ckr::name(code)) => {
                // One more try is by rule; if that fails too, the token is away and not the PIN wrong.
                Err(Refusal::Race(Error::Token {
                    call: "C_Login".to_owned(),
                    code: ckr::name(code),
                    class: Class::Transient,
                }))
            }
            Err(Ck::Pkcs11(
                RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinLocked
                | RvError::PinExpired,
                _,
            )) => {
                // Should writing fail, this process and its supervisor still remember.
                drop(lock.remember_rejected(&stamp));
                Err(Refusal::Final(Error::PinRejected))
            }
            Err(error) => Err(Refusal::Final(ckr::error(&error, None))),
        }
    }

    /// Whether the token behind this library is still the one it was. C_GetSessionInfo would say yes with the token's
    /// storage gone.
    pub fn token_is_there(&self, live: &Live) -> bool {
        live.pkcs11.get_token_info(live.slot).is_ok_and(|info| {
            clean(info.serial_number()) == live.identity.serial
                && clean(info.label()) == live.identity.label
        })
    }
}

fn lock_failed(error: io::Error) -> Error {
    Error::WorkerStart {
        reason: error.to_string(),
    }
}

enum Refusal {
    /// By the profile's word a race between starting processes.
    Race(Error),
    Final(Error),
}

/// Some tokens pad with NUL instead of blanks.
fn clean(text: &str) -> &str {
    text.trim_end_matches(['\0', ' '])
}

/// The token's words about itself, and the profile that was chosen by them.
fn identity(info: &TokenInfo, profile: &str) -> TokenIdentity {
    let firmware = info.firmware_version();
    TokenIdentity {
        serial: clean(info.serial_number()).to_owned(),
        label: clean(info.label()).to_owned(),
        manufacturer: clean(info.manufacturer_id()).to_owned(),
        model: clean(info.model()).to_owned(),
        firmware: format!("{}.{}", firmware.major(), firmware.minor()),
        profile: profile.to_owned(),
    }
}

//! Bare C_SignInit and C_Sign: cached handles, one session per thread, nothing verified, nothing recorded.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use super::{Crew, measured, obey};
use crate::arguments::Bare;
use crate::installation::{Installation, TOKEN};

/// Bare signers with the first key of a ring.
pub fn crew(
    installation: &Installation,
    ring: &str,
    scheme: &str,
    processes: usize,
    sessions: usize,
) -> Result<Crew> {
    let arguments = [
        "raw-sign".to_owned(),
        installation.module().display().to_string(),
        installation.token_file("pin").display().to_string(),
        TOKEN.to_owned(),
        format!("chancery/bench/{ring}/1"),
        scheme.to_owned(),
        sessions.to_string(),
    ];
    let conf = installation
        .token_file("softhsm2.conf")
        .display()
        .to_string();
    Crew::start(processes, &arguments, &[("SOFTHSM2_CONF".to_owned(), conf)])
}

/// The body of a child.
pub fn child(bare: &Bare) -> Result<()> {
    let pkcs11 = Pkcs11::new(&bare.module)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let mut found = None;
    for slot in pkcs11.get_slots_with_token()? {
        if pkcs11.get_token_info(slot)?.label() == bare.token {
            found = Some(slot);
        }
    }
    let slot = found.context("the token is not there")?;
    let open = || pkcs11.open_ro_session(slot);
    // Keeps the log-in alive while the threads come and go.
    let keeper = open()?;
    let pin = std::fs::read_to_string(&bare.pin)?;
    keeper.login(UserType::User, Some(&AuthPin::new(pin.trim().into())))?;
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Label(bare.label.clone().into()),
    ];
    let key = match keeper.find_objects(&template)?.as_slice() {
        [only] => *only,
        found => bail!("{} private keys are labelled {}", found.len(), bare.label),
    };
    let sessions = (0..bare.sessions)
        .map(|_| open())
        .collect::<Result<Vec<_>, _>>()?;
    let mut sessions = sessions;
    obey(|duration| {
        let (together, scheme) = (Barrier::new(sessions.len()), bare.scheme.as_str());
        measured(|| {
            let (together, end) = (&together, Instant::now() + duration);
            let parts = thread::scope(|scope| {
                let threads: Vec<_> = sessions
                    .iter_mut()
                    .map(|session| {
                        scope.spawn(move || {
                            together.wait();
                            signatures(session, key, scheme, end)
                        })
                    })
                    .collect();
                let join = |thread: thread::ScopedJoinHandle<'_, Result<Vec<f64>>>| {
                    thread
                        .join()
                        .map_err(|_| anyhow!("a signing thread panicked"))?
                };
                threads.into_iter().map(join).collect::<Result<Vec<_>>>()
            })?;
            let times = parts.concat();
            Ok((times.len() as u64, times))
        })
    })
}

/// Microseconds of each signature until the end.
fn signatures(
    session: &mut Session,
    key: ObjectHandle,
    scheme: &str,
    end: Instant,
) -> Result<Vec<f64>> {
    let mechanism = match scheme {
        "ES256" => Mechanism::Ecdsa,
        "PS256" => Mechanism::RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: 32.into(),
        }),
        other => bail!("no mechanism for {other}"),
    };
    let mut times = Vec::with_capacity(1 << 16);
    let mut digest = [7; 32];
    let mut last = Instant::now();
    while last < end {
        digest[..8].copy_from_slice(&(times.len() as u64).to_le_bytes());
        session.sign(&mechanism, key, &digest)?;
        let now = Instant::now();
        times.push(Duration::as_secs_f64(&(now - last)) * 1e6);
        last = now;
    }
    Ok(times)
}

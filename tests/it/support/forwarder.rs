//! A port that leads to another one, which may change: what a service sees of a database that fails over, and a client of a service
//! whose answer is lost.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Forwarder {
    pub port: u16,
    target: Arc<AtomicU16>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    losing: Arc<Mutex<Option<&'static str>>>,
    turned_away: Arc<AtomicUsize>,
}

impl Forwarder {
    /// Its threads end with this process.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let target = Arc::new(AtomicU16::new(target));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let losing: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let (leads, kept, loses) = (target.clone(), open.clone(), losing.clone());
        let turned_away: Arc<AtomicUsize> = Arc::default();
        let turns_away = turned_away.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", leads.load(Ordering::SeqCst)))
                else {
                    turns_away.fetch_add(1, Ordering::SeqCst);
                    continue;
                };
                let lost = Arc::new(AtomicBool::new(false));
                for (from, to, asks) in [(&near, &far, true), (&far, &near, false)] {
                    let (from, to) = (from.try_clone(), to.try_clone());
                    let (Ok(from), Ok(to)) = (from, to) else {
                        continue;
                    };
                    let (loses, lost) = (loses.clone(), lost.clone());
                    thread::spawn(move || {
                        copy(from, to, |bytes| match asks {
                            true => {
                                let mut words = loses.lock().expect("no panic under it");
                                if words.is_some_and(|words| contains(bytes, words)) {
                                    *words = None;
                                    lost.store(true, Ordering::SeqCst);
                                }
                                true
                            }
                            false => !lost.load(Ordering::SeqCst),
                        });
                    });
                }
                kept.lock().expect("no panic under it").extend([near, far]);
            }
        });
        Self {
            port,
            target,
            open,
            losing,
            turned_away,
        }
    }

    /// From now on it leads there; connections of before are cut.
    pub fn lead_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
        for stream in self.open.lock().expect("no panic under it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many connections came while nothing was there.
    pub fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::SeqCst)
    }

    /// The answer to the next request with these words is lost, once the other side has given it.
    pub fn lose_the_answer_to(&self, words: &'static str) {
        *self.losing.lock().expect("no panic under it") = Some(words);
    }

    /// Whether it was lost.
    pub fn has_lost(&self) -> bool {
        self.losing.lock().expect("no panic under it").is_none()
    }
}

fn contains(bytes: &[u8], words: &str) -> bool {
    bytes
        .windows(words.len())
        .any(|part| part == words.as_bytes())
}

/// Until one side ends, or something must not be passed on.
fn copy(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 16 * 1_024];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if !passes(&bytes[..read]) || to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

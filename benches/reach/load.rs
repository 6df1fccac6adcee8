//! A load generator that costs little: one thread, some connections, one request under way on each, bytes made before.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fs::Timespec;

use super::http::{self, PATIENCE};

/// Where to, how wide, and how fast: without a pace the next request leaves when the last answer is there.
#[derive(Clone, Copy)]
pub struct Plan {
    pub address: SocketAddr,
    pub connections: usize,
    pub pace: Option<Duration>,
}

/// Makes requests and looks at answers.
pub trait Caller: Send + 'static {
    fn next(&mut self, out: &mut Vec<u8>);
    /// How many good results the answer holds.
    fn answered(&mut self, answer: &Answer<'_>) -> u64;
}

pub struct Answer<'a> {
    pub sent: Instant,
    pub done: Instant,
    /// 0 if the connection broke.
    pub status: u16,
    pub body: &'a [u8],
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    good: AtomicU64,
    bad: AtomicU64,
}

pub struct Load<C> {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<C>>,
}

impl<C: Caller> Load<C> {
    pub fn start(plan: Plan, caller: C) -> Self {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = thread::spawn(move || Driver::new(plan, caller, seen)?.run());
        Self { shared, thread }
    }

    /// Good results so far.
    pub fn good(&self) -> u64 {
        self.shared.good.load(Ordering::Relaxed)
    }

    /// Requests that had no good result.
    pub fn bad(&self) -> u64 {
        self.shared.bad.load(Ordering::Relaxed)
    }

    /// Sends nothing more, waits for the answers that are due, and gives the caller back.
    pub fn stop(self) -> Result<C> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the load generator panicked"))?
    }
}

struct Connection {
    stream: TcpStream,
    incoming: Vec<u8>,
    sent: Option<Instant>,
    due: Instant,
}

struct Driver<C> {
    plan: Plan,
    caller: C,
    shared: Arc<Shared>,
    poll: OwnedFd,
    connections: Vec<Connection>,
    outgoing: Vec<u8>,
}

impl<C: Caller> Driver<C> {
    fn new(plan: Plan, caller: C, shared: Arc<Shared>) -> Result<Self> {
        let mut driver = Self {
            plan,
            caller,
            shared,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            outgoing: Vec::new(),
        };
        let now = Instant::now();
        for index in 0..plan.connections {
            // Spread over the pace, so that they do not all call at once.
            let share = plan
                .pace
                .unwrap_or_default()
                .mul_f64(index as f64 / plan.connections as f64);
            let stream = driver.connect(index)?;
            driver.connections.push(Connection {
                stream,
                incoming: Vec::with_capacity(8_192),
                sent: None,
                due: now + share,
            });
        }
        Ok(driver)
    }

    fn connect(&self, index: usize) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.plan.address).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.poll, &stream, data, epoll::EventFlags::IN)?;
        Ok(stream)
    }

    fn run(mut self) -> Result<C> {
        let mut events = Vec::with_capacity(self.plan.connections.max(1));
        let mut end = None;
        loop {
            let now = Instant::now();
            let stop = self.shared.stop.load(Ordering::Relaxed);
            if stop {
                let end = *end.get_or_insert(now + PATIENCE);
                if now > end || self.connections.iter().all(|each| each.sent.is_none()) {
                    return Ok(self.caller);
                }
            } else {
                self.send_due(now)?;
            }
            // Never longer than this, so that a stop is seen.
            let next = self
                .connections
                .iter()
                .filter(|each| each.sent.is_none())
                .map(|each| each.due)
                .min();
            let wait = next
                .map_or(Duration::from_millis(20), |due| {
                    due.saturating_duration_since(now)
                })
                .min(Duration::from_millis(20));
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(wait.subsec_nanos()),
            };
            events.clear();
            epoll::wait(&self.poll, spare_capacity(&mut events), Some(&timeout))?;
            for event in &events {
                let data = event.data;
                self.read(data.u64() as usize, stop)?;
            }
        }
    }

    fn send_due(&mut self, now: Instant) -> Result<()> {
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            if connection.sent.is_none() && connection.due <= now {
                self.send(index)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, index: usize) -> Result<()> {
        self.outgoing.clear();
        self.caller.next(&mut self.outgoing);
        let connection = &mut self.connections[index];
        connection.sent = Some(Instant::now());
        let mut rest = self.outgoing.as_slice();
        while !rest.is_empty() {
            match connection.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                // A body larger than the socket's buffer: the server is reading it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    sleep(Duration::from_micros(50))
                }
                Err(_) => return self.broken(index),
            }
        }
        Ok(())
    }

    fn read(&mut self, index: usize, stop: bool) -> Result<()> {
        let mut part = [0; 65_536];
        let connection = &mut self.connections[index];
        match connection.stream.read(&mut part) {
            Ok(0) => return self.broken(index),
            Ok(count) => connection.incoming.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return self.broken(index),
        }
        let Some((status, body)) = http::answer(&connection.incoming)? else {
            return Ok(());
        };
        let done = Instant::now();
        let sent = connection.sent.take().unwrap_or(done);
        let answer = Answer {
            sent,
            done,
            status,
            body: &connection.incoming[body],
        };
        let good = self.caller.answered(&answer);
        self.shared.good.fetch_add(good, Ordering::Relaxed);
        self.shared
            .bad
            .fetch_add(u64::from(good == 0), Ordering::Relaxed);
        connection.incoming.clear();
        connection.due = self
            .plan
            .pace
            .map_or(done, |pace| (connection.due + pace).max(done));
        if !stop && connection.due <= done {
            self.send(index)?;
        }
        Ok(())
    }

    /// Counts what was under way as failed and opens a new connection.
    fn broken(&mut self, index: usize) -> Result<()> {
        let done = Instant::now();
        if let Some(sent) = self.connections[index].sent.take() {
            let answer = Answer {
                sent,
                done,
                status: 0,
                body: &[],
            };
            self.caller.answered(&answer);
            self.shared.bad.fetch_add(1, Ordering::Relaxed);
        }
        let stream = self.connect(index)?;
        let connection = &mut self.connections[index];
        connection.stream = stream;
        connection.incoming.clear();
        connection.due = done + Duration::from_millis(10);
        Ok(())
    }
}

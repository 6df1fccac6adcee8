//! One socket to one worker. Whoever has something to send puts it down and sends what lies there, unless somebody is
//! sending already: then that one takes it along. So writes coalesce under load and cost no thread when idle.

use std::io;
use std::mem;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use zeroize::Zeroize as _;

pub struct Link {
    socket: UnixStream,
    out: Mutex<Out>,
}

#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    /// The buffer of the write before, so that steady traffic allocates nothing.
    spare: Vec<u8>,
    /// Somebody is in `send` with the lock free; he looks again before he leaves.
    sending: bool,
    /// Data keys are among the bytes.
    secret: bool,
}

impl Link {
    pub fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            out: Mutex::default(),
        }
    }

    /// A second handle on the same socket, for the listening thread.
    pub fn reader(&self) -> io::Result<UnixStream> {
        self.socket.try_clone()
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts frames down; they leave with the next [`Link::flush`].
    pub fn put(&self, put: impl FnOnce(&mut Vec<u8>)) {
        put(&mut self.out().bytes);
    }

    /// The same, for frames with data keys in them: they are erased here when they are gone.
    pub fn put_secret(&self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut out = self.out();
        out.secret = true;
        put(&mut out.bytes);
    }

    /// Never blocks: what a full socket does not take stays for the next call (the monitor makes one every few
    /// milliseconds). An error is left to the reader's thread, which sees the same socket end.
    pub fn flush(&self) {
        loop {
            let (mut bytes, secret) = {
                let mut out = self.out();
                if out.sending || out.bytes.is_empty() {
                    return;
                }
                out.sending = true;
                let spare = mem::take(&mut out.spare);
                (
                    mem::replace(&mut out.bytes, spare),
                    mem::take(&mut out.secret),
                )
            };
            let sent = self.send(&bytes);
            let mut out = self.out();
            out.sending = false;
            if sent < bytes.len() {
                out.secret |= secret;
                let rest = bytes.split_off(sent);
                let behind = mem::replace(&mut out.bytes, rest);
                out.bytes.extend_from_slice(&behind);
                if secret {
                    bytes.zeroize();
                }
                return;
            }
            if secret {
                bytes[..].zeroize();
            }
            bytes.clear();
            out.spare = bytes;
        }
    }

    /// How much of it the socket took.
    fn send(&self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match send(
                &self.socket,
                &bytes[sent..],
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            ) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return sent,
                // Nobody will read it any more.
                Err(_) => return bytes.len(),
            }
        }
        sent
    }

    /// The worker's signal to end.
    pub fn close(&self) {
        // Already closed by the other side is as good.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

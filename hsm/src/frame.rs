//! Frames between supervisor and worker: a small fixed binary form, so that a signature costs some hundred nanoseconds of
//! packing; what is rare carries JSON in its body.
//!
//! `u32 length of the rest | u8 kind | u64 id | body`, little endian. Both ends are one binary, so there is no version;
//! a frame that cannot be read ends the connection and with it the worker.

use std::io::{self, Read};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::api::{
    DestroyOrder, DestroyWrapOrder, GenerateOrder, GenerateWrapOrder, Generated, GeneratedWrap,
    ObjectInfo, TokenIdentity,
};
use crate::config::Power;
use crate::error::Error;
use crate::key::CkaId;
use crate::profile::Limits;
use crate::uri::Pkcs11Uri;
use crate::wrap::WrapOp;

/// Length, kind, id.
const HEADER: usize = 4 + 1 + 8;
/// Longest frame: a 64 KiB message fits many times; anything longer is a broken peer.
const LONGEST: usize = 16 * 1024 * 1024;

/// A number for a key between one supervisor and its workers, so that a request need not carry the public key.
pub type KeyNumber = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To the worker. Body: [`StartOrder`].
    Start = 1,
    /// To the worker. `id` is the key number, body a [`crate::KeyRef`].
    Define = 2,
    /// To the worker. Body: key number, milliseconds left, input.
    Sign = 3,
    /// To the worker. Body: key number. Binds and signs a challenge.
    Prepare = 4,
    /// To the worker. Body: key number or nothing. A real signature, verified, or a look at the token.
    Probe = 5,
    /// To the worker. Body: [`Call`].
    Call = 6,
    /// To the worker. `id` is the number of a wrapping key, body a [`crate::WrapRef`].
    DefineWrap = 7,
    /// To the worker. Body: [`WrapHead`], items.
    Wrap = 8,
    /// To the supervisor. Body: the signature.
    Signed = 16,
    /// To the supervisor. Body: [`Answer`].
    Done = 17,
    /// To the supervisor. Body: [`Error`].
    Failed = 18,
    /// To the supervisor, `id` 0. Body: [`Status`].
    Status = 19,
    /// To the supervisor, `id` 0. Body: [`Event`].
    Event = 20,
    /// To the supervisor. Body: items, see [`put_items`].
    Wrapped = 21,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        use Kind::*;
        [
            Start, Define, Sign, Prepare, Probe, Call, DefineWrap, Wrap, Signed, Done, Failed,
            Status, Event, Wrapped,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// First frame to a worker: everything it must know. The PIN is not in it, only where to read it.
#[derive(Debug, Serialize, Deserialize)]
pub struct StartOrder {
    pub uri: Pkcs11Uri,
    pub profile: Option<String>,
    pub power: Power,
    pub sessions: Option<usize>,
    pub lock_dir: Option<std::path::PathBuf>,
    /// The first start of a service: a PIN that was rejected before may be tried once more.
    pub retry_rejected: bool,
}

/// In front of the items of a [`Kind::Wrap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrapHead {
    pub op: WrapOp,
    pub from: KeyNumber,
    /// The same number where one key is all.
    pub to: KeyNumber,
    pub left_ms: u32,
}

impl WrapHead {
    pub fn bytes(self) -> [u8; 13] {
        let mut bytes = [self.op as u8; 13];
        bytes[1..5].copy_from_slice(&self.from.to_le_bytes());
        bytes[5..9].copy_from_slice(&self.to.to_le_bytes());
        bytes[9..].copy_from_slice(&self.left_ms.to_le_bytes());
        bytes
    }

    /// And the rest of the body.
    pub fn read(body: &[u8]) -> Option<(Self, &[u8])> {
        let (op, rest) = body.split_first()?;
        let (from, rest) = rest.split_first_chunk::<4>()?;
        let (to, rest) = rest.split_first_chunk::<4>()?;
        let (left, rest) = rest.split_first_chunk::<4>()?;
        let head = Self {
            op: WrapOp::from_byte(*op)?,
            from: KeyNumber::from_le_bytes(*from),
            to: KeyNumber::from_le_bytes(*to),
            left_ms: u32::from_le_bytes(*left),
        };
        Some((head, rest))
    }
}

/// One answered item: its bytes, or why there are none.
pub type Item = Result<Zeroizing<Vec<u8>>, Error>;

/// Each item: 0 and its bytes, or 1 and an [`Error`], with a length of four bytes in front.
pub fn put_items(out: &mut Vec<u8>, id: u64, items: &[Item]) {
    let mut body = Zeroizing::new(Vec::with_capacity(items.len() * 64));
    for item in items {
        let error;
        let (tag, bytes): (u8, &[u8]) = match item {
            Ok(bytes) => (0, bytes),
            Err(failure) => {
                error = serde_json::to_vec(failure).unwrap_or_default();
                (1, &error)
            }
        };
        body.push(tag);
        body.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(bytes);
    }
    put(out, Kind::Wrapped, id, &[&body]);
}

/// What [`put_items`] wrote.
pub fn items(mut body: &[u8]) -> io::Result<Vec<Item>> {
    let mut items = Vec::new();
    while let Some((tag, rest)) = body.split_first() {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (bytes, rest) = rest.split_at_checked(length).ok_or_else(broken)?;
        items.push(match tag {
            0 => Ok(Zeroizing::new(bytes.to_vec())),
            1 => Err(serde_json::from_slice(bytes)?),
            _ => return Err(broken()),
        });
        body = rest;
    }
    Ok(items)
}

/// Acts of the executor and of reconciliation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    Generate(GenerateOrder),
    Destroy(DestroyOrder),
    GenerateWrap(GenerateWrapOrder),
    DestroyWrap(DestroyWrapOrder),
    /// And the challenge to wrap.
    ReadBackWrap(CkaId, [u8; 32]),
    /// The serial of the token, and what to look for there.
    RemovePublicHalf(String, CkaId),
    Find(CkaId),
    ReadBack(CkaId),
    List,
    Token,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Nothing,
    Generated(Box<Generated>),
    GeneratedWrap(Box<GeneratedWrap>),
    Objects(Vec<ObjectInfo>),
    Token(TokenIdentity),
}

/// How the worker stands; sent at every change, before the replies that the change caused.
#[derive(Debug, Serialize, Deserialize)]
pub enum Status {
    /// Waits for another worker to finish its start on this token.
    Queued,
    /// Holds the start lock; from here on a hang is a hang.
    Starting,
    Ready {
        generation: u64,
        sessions: usize,
        identity: TokenIdentity,
        limits: Limits,
        /// What the trial of wrapping found.
        wrap: Result<(), String>,
    },
    /// The token does not answer; the worker keeps trying in place.
    Down { error: Error },
    /// A person must act first. The worker ends after this.
    Stopped { error: Error },
}

/// Things worth counting and logging that no caller gets as an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    SessionReopened,
    LoggedIn,
    Reinitialised,
    Mismatch,
    /// A blob that its wrapping key did not wrap.
    WrapIntegrity,
}

/// Appends one frame.
pub fn put(out: &mut Vec<u8>, kind: Kind, id: u64, parts: &[&[u8]]) {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(HEADER - 4 + body).unwrap_or(u32::MAX);
    out.reserve(HEADER + body);
    out.extend_from_slice(&length.to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(&id.to_le_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Appends one frame with a JSON body. Our own types always serialise; should one not, the peer sees an empty body,
/// cannot read it and ends the connection.
pub fn put_json(out: &mut Vec<u8>, kind: Kind, id: u64, body: &impl Serialize) {
    put(
        out,
        kind,
        id,
        &[&serde_json::to_vec(body).unwrap_or_default()],
    );
}

/// One frame, borrowed from the bytes it came in.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: Kind,
    pub id: u64,
    pub body: &'a [u8],
}

impl Frame<'_> {
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> io::Result<T> {
        serde_json::from_slice(self.body).map_err(io::Error::from)
    }
}

/// Bytes read and not yet taken. One read fills it with as many frames as the socket held.
#[derive(Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Where the frame before this one lay, if data keys may have been in it.
    secret: Range<usize>,
}

impl Incoming {
    /// Reads once, blocking. End of file is an error: the peer is gone.
    pub fn fill(&mut self, mut from: impl Read) -> io::Result<()> {
        self.erase();
        if self.start > 0 {
            let kept = self.start..self.end;
            self.bytes.copy_within(kept.clone(), 0);
            self.end = kept.len();
            self.start = 0;
            // Where it lay before, and lies no more.
            self.bytes[kept.start.max(self.end)..kept.end].zeroize();
        }
        if self.bytes.len() - self.end < 16 * 1024 {
            let longer = vec![0; (self.bytes.len() * 2).max(64 * 1024)];
            let mut shorter = std::mem::replace(&mut self.bytes, longer);
            self.bytes[..self.end].copy_from_slice(&shorter[..self.end]);
            shorter[..self.end].zeroize();
        }
        loop {
            match from.read(&mut self.bytes[self.end..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the bytes of a frame that was used from memory.
    fn erase(&mut self) {
        self.bytes[std::mem::take(&mut self.secret)].zeroize();
    }

    /// A length that cannot be is an error at once: waiting for its end would wait for ever.
    /// Length of the complete frame at the front, if there is one.
    fn complete(&self) -> io::Result<Option<usize>> {
        let Some(length) = self.bytes[self.start..self.end].first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize + 4;
        if !(HEADER..=LONGEST).contains(&length) {
            return Err(broken());
        }
        Ok((self.end - self.start >= length).then_some(length))
    }

    /// Whether [`Incoming::next`] would give a frame without reading.
    pub fn has_frame(&self) -> bool {
        matches!(self.complete(), Ok(Some(_)) | Err(_))
    }

    pub fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        self.erase();
        let Some(length) = self.complete()? else {
            return Ok(None);
        };
        let place = self.start..self.start + length;
        let frame = &self.bytes[self.start..self.start + length];
        self.start += length;
        let (kind, rest) = frame[4..].split_first().ok_or_else(broken)?;
        let (id, body) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let kind = Kind::from_byte(*kind).ok_or_else(broken)?;
        if matches!(kind, Kind::Wrap | Kind::Wrapped) {
            self.secret = place;
        }
        Ok(Some(Frame {
            kind,
            id: u64::from_le_bytes(*id),
            body,
        }))
    }
}

/// The one complaint about a peer's bytes.
pub fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed frame")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut_of_the_stream() {
        let mut wire = Vec::new();
        put(&mut wire, Kind::Sign, 7, &[&9u32.to_le_bytes(), b"digest"]);
        put(&mut wire, Kind::Signed, u64::MAX, &[]);
        for cut in 0..wire.len() {
            let mut incoming = Incoming::default();
            let mut seen = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                if part.is_empty() {
                    continue;
                }
                incoming.fill(part).unwrap();
                while let Some(frame) = incoming.next().unwrap() {
                    seen.push((frame.kind, frame.id, frame.body.to_vec()));
                }
            }
            assert_eq!(seen.len(), 2, "cut at {cut}");
            assert_eq!(seen[0], (Kind::Sign, 7, b"\x09\0\0\0digest".to_vec()));
            assert_eq!(seen[1], (Kind::Signed, u64::MAX, Vec::new()));
        }
    }

    #[test]
    fn nonsense_is_an_error_and_not_a_wait() {
        for bytes in [
            &[0xff; 16][..],
            &[0, 0, 0, 0, 1],
            &[9, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let mut incoming = Incoming::default();
            incoming.fill(bytes).unwrap();
            assert!(incoming.next().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn items_survive_and_nonsense_is_refused() {
        let cka_id = CkaId([3; 16]);
        let sent: Vec<Item> = vec![
            Ok(Zeroizing::new(vec![7; 40])),
            Err(Error::WrappedKeyInvalid { cka_id }),
            Ok(Zeroizing::default()),
        ];
        let mut wire = Vec::new();
        put_items(&mut wire, 5, &sent);
        let mut incoming = Incoming::default();
        incoming.fill(wire.as_slice()).unwrap();
        let frame = incoming.next().unwrap().unwrap();
        assert_eq!((frame.kind, frame.id), (Kind::Wrapped, 5));
        assert_eq!(items(frame.body).unwrap(), sent);
        let body = frame.body.to_vec();
        for end in [1, 4, 20, body.len() - 1] {
            assert!(items(&body[..end]).is_err(), "cut at {end}");
        }
        assert!(items(&[2, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_wrap_head_survives() {
        let head = WrapHead {
            op: WrapOp::Rewrap,
            from: 1,
            to: 70_000,
            left_ms: u32::MAX,
        };
        let mut bytes = head.bytes().to_vec();
        bytes.extend_from_slice(b"items");
        assert_eq!(WrapHead::read(&bytes), Some((head, b"items".as_slice())));
        assert_eq!(WrapHead::read(&bytes[..12]), None);
        bytes[0] = 4;
        assert_eq!(WrapHead::read(&bytes), None);
    }

    #[test]
    fn data_keys_do_not_stay_in_the_buffer() {
        let mut wire = Vec::new();
        put(&mut wire, Kind::Wrap, 1, &[&[0xaa; 32]]);
        put(&mut wire, Kind::Sign, 2, &[&[0xbb; 32]]);
        // Cut in the middle of the second, so that its beginning is moved to the front.
        let mut incoming = Incoming::default();
        let cut = wire.len() - 5;
        incoming.fill(&wire[..cut]).unwrap();
        assert_eq!(incoming.next().unwrap().unwrap().body, [0xaa; 32]);
        assert!(incoming.next().unwrap().is_none());
        assert!(!incoming.bytes.contains(&0xaa));
        incoming.fill(&wire[cut..]).unwrap();
        assert_eq!(incoming.next().unwrap().unwrap().body, [0xbb; 32]);
    }
}

//! What stands behind the published leaves: leaves that are held, and between them places that a person gives up.

use std::collections::BTreeMap;

use super::Error;

/// Places that may be taken by leaves that say that what stood there is lost.
const MOST_LOST: u64 = 100_000;

/// The first and the last of some leaves.
pub type Range = (u64, u64);

/// A range that a person gives up, and the first of its places that no leaf has taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    pub from: u64,
    pub range: Range,
}

/// What stands behind the published leaves, in order and without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Kept(Vec<Vec<u8>>),
    /// Places that leaves take which say that what stood there is lost.
    Lost(Lost),
}

impl Piece {
    pub fn len(&self) -> u64 {
        match self {
            Self::Kept(leaves) => leaves.len() as u64,
            Self::Lost(lost) => lost.range.1 + 1 - lost.from,
        }
    }
}

/// The leaves from `from` on: those that are held, and between them what is given up.
pub fn tail(
    from: u64,
    held: &BTreeMap<u64, &Vec<u8>>,
    mut lose: Vec<Lost>,
) -> Result<Vec<Piece>, Error> {
    lose.sort_unstable();
    let mut lose = lose.into_iter().peekable();
    let (mut pieces, mut holes) = (Vec::new(), Vec::new());
    let mut next = from;
    let last = held.last_key_value().map(|(index, _)| *index);
    loop {
        let mut run = Vec::new();
        while let Some(body) = held.get(&next) {
            run.push((*body).clone());
            next += 1;
        }
        if !run.is_empty() {
            pieces.push(Piece::Kept(run));
        }
        let end = held.range(next..).next().map(|(index, _)| index - 1);
        match (end, lose.peek().copied()) {
            (_, Some(lost)) if lost.from == next => {
                let (first, end_of) = lost.range;
                let fits = end_of >= next
                    && end_of - first < MOST_LOST
                    && end.is_none_or(|end| end == end_of);
                if !fits {
                    return Err(Error::WrongRange(lost.range));
                }
                lose.next();
                pieces.push(Piece::Lost(lost));
                next = end_of + 1;
            }
            (Some(end), _) => {
                holes.push((next, end));
                next = end + 1;
            }
            (None, Some(lost)) => return Err(Error::WrongRange(lost.range)),
            (None, None) => break,
        }
        if last.is_none_or(|last| next > last) && lose.peek().is_none() {
            break;
        }
    }
    match holes.is_empty() {
        true => Ok(pieces),
        false => Err(Error::Lost(holes)),
    }
}

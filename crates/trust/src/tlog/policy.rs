//! Which witnesses are enough: the policy file of c2sp.org/tlog-policy.

use super::cosignature;
use super::note::{KeyError, Note, NoteError, VerifierKey};
use super::spelling::decimal;
use crate::time::Time;

#[cfg(test)]
mod tests;

/// The most bytes of a policy that are read.
pub const MAX_LEN: usize = 64 * 1024;

/// The logs that are accepted, the witnesses that are known and the quorum that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessPolicy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    /// In the order of their lines, so that members stand before their groups.
    named: Vec<Named>,
    quorum: Option<usize>,
}

/// A log that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its key, named as its origin.
    pub key: VerifierKey,
    /// Where it is, if the policy says so.
    pub url: Option<String>,
}

/// A witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What the policy calls it. It means nothing elsewhere.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
    /// Where it takes checkpoints, if the policy says so.
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: String,
    /// Whether some group counts it; only one may.
    counted: bool,
    what: What,
}

/// Numbers are places in the lists of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Witness(usize),
    Group {
        threshold: usize,
        members: Vec<usize>,
    },
}

/// Who has cosigned, and whether that is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// The names of the known witnesses' keys, each with the time of its earliest cosignature.
    pub cosigners: Vec<(String, Time)>,
    /// Whether the quorum is complete. Without it no two readers are known to see the same log.
    pub complete: bool,
    /// The earliest instant at which it was complete: of k out of n, the k-th cosignature. `None` if it
    /// is not, and where the policy asks for no witness, whose quorum proves no time.
    pub at: Option<Time>,
}

/// A policy that was refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// More than [`MAX_LEN`] bytes.
    #[error("the witness policy is longer than {MAX_LEN} bytes")]
    TooLong,
    /// A line is wrong.
    #[error("line {line} of the witness policy")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        source: LineError,
    },
    /// The policy does not say what is enough.
    #[error("the witness policy has no quorum")]
    NoQuorum,
}

/// What is wrong with a line of a policy.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Only tabs are allowed.
    #[error("a control character")]
    Control,
    /// Not log, witness, group or quorum.
    #[error("unknown word {0:?}")]
    Word(String),
    /// Too few or too many items for its word.
    #[error("wrong number of items")]
    Items,
    /// A key that cannot be read.
    #[error("unacceptable key")]
    Key(#[from] KeyError),
    /// The key of a log where a witness's belongs, or the reverse.
    #[error("the key has the wrong signature type")]
    Type,
    /// Two lines with the same key would let one count twice.
    #[error("the key occurs on an earlier line")]
    DuplicateKey,
    /// The name is taken, or is `none`.
    #[error("the name {0:?} is taken")]
    Taken(String),
    /// The name is not defined on an earlier line.
    #[error("the name {0:?} is not defined on an earlier line")]
    Undefined(String),
    /// A name is a member of one group at most.
    #[error("{0:?} is already a member of a group")]
    CountedTwice(String),
    /// Not `all`, `any` or a number of 1 to the number of members.
    #[error("the threshold {0:?} is not all, any or a number of 1 to the number of members")]
    Threshold(String),
    /// One quorum only.
    #[error("the quorum is already defined on an earlier line")]
    SecondQuorum,
}

impl WitnessPolicy {
    /// Reads a policy file. The last newline may be missing.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_LEN {
            return Err(PolicyError::TooLong);
        }
        let mut reader = Reader::default();
        for (line, content) in (1..).zip(text.split('\n')) {
            reader
                .line(content)
                .map_err(|source| PolicyError::Line { line, source })?;
        }
        Ok(Self {
            logs: reader.logs,
            witnesses: reader.witnesses,
            named: reader.named,
            quorum: reader.quorum.ok_or(PolicyError::NoQuorum)?,
        })
    }

    /// The policy without logs and witnesses, whose quorum is `none`.
    pub fn none() -> Self {
        Self {
            logs: Vec::new(),
            witnesses: Vec::new(),
            named: Vec::new(),
            quorum: None,
        }
    }

    /// The logs that are accepted. A checkpoint is good if one of them has signed it.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The keys of [`Self::logs`], as [`checkpoint::open`](super::checkpoint::open) takes them.
    pub fn log_keys(&self) -> Vec<VerifierKey> {
        self.logs.iter().map(|log| log.key.clone()).collect()
    }

    /// The witnesses that are known, whether or not the quorum counts them.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Who of the known witnesses has cosigned a note and whether that is enough. A known witness's
    /// signature that does not check refuses the whole note (c2sp.org/signed-note). Whether the log has
    /// signed it is not asked here.
    pub fn satisfied(&self, note: &Note) -> Result<Witnessed, NoteError> {
        let mut cosigners = Vec::new();
        let mut since: Vec<Option<Time>> = Vec::with_capacity(self.named.len());
        for named in &self.named {
            since.push(match &named.what {
                What::Witness(number) => self.cosigned(*number, note, &mut cosigners)?,
                What::Group { threshold, members } => kth(*threshold, members, &since),
            });
        }
        let at = self.quorum.and_then(|quorum| *since.get(quorum)?);
        Ok(Witnessed {
            cosigners,
            complete: self.quorum.is_none() || at.is_some(),
            at,
        })
    }

    /// Whether the quorum would be complete with those witnesses alone of which `has` is true.
    pub fn complete_with(&self, has: impl Fn(&Witness) -> bool) -> bool {
        let mut complete: Vec<bool> = Vec::with_capacity(self.named.len());
        for named in &self.named {
            complete.push(match &named.what {
                What::Witness(number) => self.witnesses.get(*number).is_some_and(&has),
                What::Group { threshold, members } => {
                    let there = |member: &&usize| complete.get(**member) == Some(&true);
                    members.iter().filter(there).count() >= *threshold
                }
            });
        }
        self.quorum
            .is_none_or(|quorum| complete.get(quorum) == Some(&true))
    }

    fn cosigned(
        &self,
        number: usize,
        note: &Note,
        cosigners: &mut Vec<(String, Time)>,
    ) -> Result<Option<Time>, NoteError> {
        let Some(witness) = self.witnesses.get(number) else {
            return Ok(None);
        };
        let name = || witness.key.name().to_owned();
        match cosignature::verify(note, &witness.key) {
            None => Ok(None),
            Some(Err(_)) => Err(NoteError::BadSignature(name())),
            Some(Ok(cosigned)) => {
                cosigners.push((name(), cosigned.at()));
                Ok(Some(cosigned.at()))
            }
        }
    }
}

/// When the k-th of the members was complete.
fn kth(threshold: usize, members: &[usize], since: &[Option<Time>]) -> Option<Time> {
    let mut times: Vec<Time> = members
        .iter()
        .filter_map(|member| *since.get(*member)?)
        .collect();
    times.sort_unstable();
    times.get(threshold.checked_sub(1)?).copied()
}

#[derive(Default)]
struct Reader {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    named: Vec<Named>,
    /// `Some(None)` is `quorum none`.
    quorum: Option<Option<usize>>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), LineError> {
        if line.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err(LineError::Control);
        }
        let items: Vec<&str> = line
            .split([' ', '\t'])
            .filter(|item| !item.is_empty())
            .collect();
        match items.as_slice() {
            [] => Ok(()),
            [word, ..] if word.starts_with('#') => Ok(()),
            ["log", key] => self.log(key, None),
            ["log", key, url] => self.log(key, Some(url)),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, threshold, members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            ["quorum", name] => self.quorum(name),
            ["log" | "witness" | "group" | "quorum", ..] => Err(LineError::Items),
            [word, ..] => Err(LineError::Word((*word).to_owned())),
        }
    }

    fn log(&mut self, key: &str, url: Option<&str>) -> Result<(), LineError> {
        let key: VerifierKey = key.parse()?;
        if !key.kind().is_log() {
            return Err(LineError::Type);
        }
        if self.logs.iter().any(|log| log.key.public() == key.public()) {
            return Err(LineError::DuplicateKey);
        }
        let url = url.map(str::to_owned);
        self.logs.push(Log { key, url });
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Result<(), LineError> {
        let key: VerifierKey = key.parse()?;
        if key.kind().is_log() {
            return Err(LineError::Type);
        }
        let same = |witness: &Witness| witness.key.public() == key.public();
        if self.witnesses.iter().any(same) {
            return Err(LineError::DuplicateKey);
        }
        self.define(name, What::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness {
            name: name.to_owned(),
            key,
            url: url.map(str::to_owned),
        });
        Ok(())
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), LineError> {
        let threshold = match threshold {
            "all" => members.len(),
            "any" => 1,
            number => decimal(number)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=members.len()).contains(number))
                .ok_or_else(|| LineError::Threshold(number.to_owned()))?,
        };
        let mut places = Vec::with_capacity(members.len());
        for member in members {
            let place = self.find(member)?;
            if let Some(named) = self.named.get_mut(place) {
                if named.counted {
                    return Err(LineError::CountedTwice((*member).to_owned()));
                }
                named.counted = true;
            }
            places.push(place);
        }
        let members = places;
        self.define(name, What::Group { threshold, members })
    }

    fn quorum(&mut self, name: &str) -> Result<(), LineError> {
        if self.quorum.is_some() {
            return Err(LineError::SecondQuorum);
        }
        self.quorum = Some(match name {
            "none" => None,
            name => Some(self.find(name)?),
        });
        Ok(())
    }

    fn find(&self, name: &str) -> Result<usize, LineError> {
        self.named
            .iter()
            .position(|named| named.name == name)
            .ok_or_else(|| LineError::Undefined(name.to_owned()))
    }

    fn define(&mut self, name: &str, what: What) -> Result<(), LineError> {
        if name == "none" || self.find(name).is_ok() {
            return Err(LineError::Taken(name.to_owned()));
        }
        self.named.push(Named {
            name: name.to_owned(),
            counted: false,
            what,
        });
        Ok(())
    }
}

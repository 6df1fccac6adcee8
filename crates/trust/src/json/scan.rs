//! One pass over the bytes that refuses what [`super::parse_strict`] promises to refuse, and that
//! knows the path of the member it stands in.

use std::collections::BTreeSet;

use super::{JsonError, MAX_DEPTH, MAX_INTEGER};

/// Refuses everything that is not strict JSON.
pub fn check(bytes: &[u8]) -> Result<(), JsonError> {
    Scanner::new(bytes, None).document()
}

/// The path of the member at `offset`, for error messages about well-formed documents.
pub fn path_at(bytes: &[u8], offset: usize) -> String {
    let mut scanner = Scanner::new(bytes, Some(offset));
    // The document was checked before; what counts is where the scan stood at the offset.
    let _ = scanner.document();
    let here = scanner.path();
    scanner.found.unwrap_or(here)
}

/// The offset in bytes of a line and column as serde_json counts them (from 1, columns in bytes).
pub fn offset_of(bytes: &[u8], line: usize, column: usize) -> usize {
    let before: usize = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before + column.saturating_sub(1)
}

enum Step {
    Member(String),
    Element(usize),
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    steps: Vec<Step>,
    wanted: Option<usize>,
    found: Option<String>,
}

impl<'a> Scanner<'a> {
    fn new(bytes: &'a [u8], wanted: Option<usize>) -> Self {
        Self {
            bytes,
            at: 0,
            steps: Vec::new(),
            wanted,
            found: None,
        }
    }

    fn document(&mut self) -> Result<(), JsonError> {
        self.value()?;
        self.space();
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(JsonError::Trailing { offset: self.at }),
        }
    }

    fn value(&mut self) -> Result<(), JsonError> {
        self.space();
        match self.peek() {
            Some(b'{') => self.object()?,
            Some(b'[') => self.array()?,
            Some(b'"') => drop(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            Some(_) => return Err(self.syntax("unexpected character")),
            None => return Err(self.syntax("unexpected end")),
        }
        self.note();
        Ok(())
    }

    fn object(&mut self) -> Result<(), JsonError> {
        self.descend()?;
        let mut seen = BTreeSet::new();
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.syntax("expected a member name"));
            }
            let name = self.name()?;
            let fresh = seen.insert(name.clone());
            self.steps.push(Step::Member(name));
            if !fresh {
                return Err(JsonError::Duplicate { path: self.path() });
            }
            self.note();
            self.space();
            if !self.take(b':') {
                return Err(self.syntax("expected a colon"));
            }
            self.value()?;
            self.steps.pop();
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.syntax("expected a comma or the object's end"));
            }
        }
    }

    fn array(&mut self) -> Result<(), JsonError> {
        self.descend()?;
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        for index in 0.. {
            self.steps.push(Step::Element(index));
            self.value()?;
            self.steps.pop();
            self.space();
            if self.take(b']') {
                break;
            }
            if !self.take(b',') {
                return Err(self.syntax("expected a comma or the array's end"));
            }
        }
        Ok(())
    }

    /// A member's name, unescaped by the same reader that will read the document, so that two
    /// spellings of one name are one name to both.
    fn name(&mut self) -> Result<String, JsonError> {
        let token = self.string()?;
        serde_json::from_slice(token).map_err(|_| self.syntax("malformed member name"))
    }

    /// A string with its quotes. What is inside is judged by the reader that unescapes it.
    fn string(&mut self) -> Result<&'a [u8], JsonError> {
        let start = self.at;
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let next = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            let Some(next) = next else {
                return Err(self.syntax("unterminated string"));
            };
            self.at += next + 1;
            if rest[next] == b'"' {
                return Ok(&self.bytes[start..self.at]);
            }
            // The character after a backslash, whatever it is, does not end the string.
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let negative = self.take(b'-');
        let digits = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        let text = &self.bytes[digits..self.at];
        if text.is_empty() {
            return Err(self.syntax("expected a digit"));
        }
        if text.len() > 1 && text[0] == b'0' {
            return Err(self.syntax("leading zero"));
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) || (negative && text == b"0") {
            return Err(JsonError::Float { path: self.path() });
        }
        let value = text.iter().try_fold(0u64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        match value {
            Some(value) if value <= MAX_INTEGER => Ok(()),
            _ => Err(JsonError::Integer { path: self.path() }),
        }
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), JsonError> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.syntax("unexpected character"))
    }

    fn descend(&self) -> Result<(), JsonError> {
        if self.steps.len() >= MAX_DEPTH {
            return Err(JsonError::Depth { path: self.path() });
        }
        Ok(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    /// Remembers the path when the scan first passes the wanted offset.
    fn note(&mut self) {
        if self.found.is_none() && self.wanted.is_some_and(|wanted| self.at > wanted) {
            self.found = Some(self.path());
        }
    }

    fn path(&self) -> String {
        let mut out = String::new();
        for step in &self.steps {
            match step {
                Step::Member(name) if out.is_empty() => out.push_str(name),
                Step::Member(name) => {
                    out.push('.');
                    out.push_str(name);
                }
                Step::Element(index) => out.push_str(&format!("[{index}]")),
            }
        }
        if out.is_empty() {
            super::ROOT.to_owned()
        } else {
            out
        }
    }

    fn syntax(&self, what: &'static str) -> JsonError {
        JsonError::Syntax {
            path: self.path(),
            what,
            offset: self.at.min(self.bytes.len()),
        }
    }
}

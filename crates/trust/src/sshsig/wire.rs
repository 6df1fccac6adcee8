//! The SSH wire types that an SSHSIG needs (RFC 4251 section 5).

use super::SshSigError;

const SHORT: SshSigError = SshSigError::Malformed("shorter than its declared lengths");

/// Reads from the front; every byte has to be accounted for.
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], SshSigError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn u32(&mut self) -> Result<u32, SshSigError> {
        let (taken, rest) = self.0.split_first_chunk::<4>().ok_or(SHORT)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*taken))
    }

    pub fn string(&mut self) -> Result<&'a [u8], SshSigError> {
        let len = usize::try_from(self.u32()?).map_err(|_| SHORT)?;
        self.take(len)
    }

    /// A positive multiple-precision integer without its sign byte, in its shortest form.
    pub fn positive(&mut self) -> Result<&'a [u8], SshSigError> {
        const BAD: SshSigError =
            SshSigError::Malformed("integer not positive or not in its shortest form");
        match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => Ok(rest),
            bytes @ [1..=0x7f, ..] => Ok(bytes),
            _ => Err(BAD),
        }
    }

    pub fn end(self) -> Result<(), SshSigError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(SshSigError::Malformed("bytes after the end"))
        }
    }
}

/// Appends a string with its length.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    // A digest or a namespace; nowhere near 4 GiB.
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

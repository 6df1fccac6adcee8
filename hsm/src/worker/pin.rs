//! The PIN: read where it is used, used once, wiped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cryptoki::types::AuthPin;
use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;
use crate::uri::PinSource;

/// Reads the PIN for one C_Login. It lives as long as the returned value, which wipes itself.
pub fn read(source: &PinSource) -> Result<AuthPin, Error> {
    let PinSource::File(path) = source;
    let fail = |reason: String| Error::PinSource {
        path: path.clone(),
        reason,
    };
    let bytes = Zeroizing::new(fs::read(path).map_err(|error| fail(error.to_string()))?);
    let mut text = match String::from_utf8(bytes.to_vec()) {
        Ok(text) => text,
        Err(error) => {
            error.into_bytes().zeroize();
            return Err(fail("not UTF-8".to_owned()));
        }
    };
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    if text.is_empty() {
        return Err(fail("empty".to_owned()));
    }
    // Copied exactly sized, so that turning it into a boxed str does not leave the longer allocation behind.
    let pin = AuthPin::new(text.as_str().into());
    text.zeroize();
    Ok(pin)
}

/// Tells one content of the source from the next without knowing the content. Written to the lock file when a PIN was
/// rejected, so that a service restarted in a loop does not lock the token.
pub fn stamp(source: &PinSource) -> Result<String, Error> {
    let PinSource::File(path) = source;
    stamp_of(path).map_err(|error| Error::PinSource {
        path: path.clone(),
        reason: error.to_string(),
    })
}

/// Device, inode, length and both times: a file written anew differs in at least one.
fn stamp_of(path: &Path) -> std::io::Result<String> {
    let meta = fs::metadata(path)?;
    Ok(format!(
        "{}:{}:{}:{}.{:09}:{}.{:09}",
        meta.dev(),
        meta.ino(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    ))
}

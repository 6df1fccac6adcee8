//! PKCS#11 URIs (RFC 7512), as much as names a token.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where the PIN is read, by the worker and by nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PinSource {
    File(PathBuf),
}

/// A token, its module and its PIN source.
///
/// A slot number is refused: SoftHSM's are random and others' depend on the order of plugging in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pkcs11Uri {
    pub token: Option<String>,
    pub serial: Option<String>,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub module_path: PathBuf,
    pub pin_source: Option<PinSource>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("a PKCS#11 URI begins with \"pkcs11:\"")]
    Scheme,
    #[error("attribute {name:?} appears twice")]
    Repeated { name: String },
    #[error("attribute {name:?} is not supported")]
    Unknown { name: String },
    #[error("attribute {name:?} is refused: {reason}")]
    Refused { name: String, reason: &'static str },
    #[error("attribute {name:?} has an invalid value")]
    Value { name: String },
    #[error("attribute {name:?} is missing")]
    Missing { name: &'static str },
}

impl FromStr for Pkcs11Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let rest = text.strip_prefix("pkcs11:").ok_or(UriError::Scheme)?;
        // Section 2.3: the path names the token, the query says how to reach it. Which is which does not matter to us, since
        // no name occurs in both.
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let attributes = path
            .split(';')
            .chain(query.split('&'))
            .filter(|part| !part.is_empty());
        let mut found = Parts::default();
        for attribute in attributes {
            let (name, value) = attribute.split_once('=').ok_or_else(|| UriError::Value {
                name: attribute.to_owned(),
            })?;
            found.take(name, decode(name, value)?)?;
        }
        // Without either, the first token that somebody plugs in would do.
        if found.token.is_none() && found.serial.is_none() {
            return Err(UriError::Missing {
                name: "token or serial",
            });
        }
        Ok(Pkcs11Uri {
            token: found.token,
            serial: found.serial,
            manufacturer: found.manufacturer,
            model: found.model,
            module_path: found
                .module_path
                .ok_or(UriError::Missing {
                    name: "module-path",
                })?
                .into(),
            pin_source: found.pin_source.map(|path| PinSource::File(path.into())),
        })
    }
}

/// The attributes as they come; each at most once.
#[derive(Default)]
struct Parts {
    token: Option<String>,
    serial: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    module_path: Option<String>,
    pin_source: Option<String>,
}

impl Parts {
    fn take(&mut self, name: &str, value: String) -> Result<(), UriError> {
        let refused = |reason| {
            Err(UriError::Refused {
                name: name.to_owned(),
                reason,
            })
        };
        let (place, value) = match name {
            "token" => (&mut self.token, value),
            "serial" => (&mut self.serial, value),
            // The next two only narrow the choice when two tokens share a label.
            "manufacturer" => (&mut self.manufacturer, value),
            "model" => (&mut self.model, value),
            "module-path" => {
                // A relative path would be looked up on the loader's search path: whoever owns that owns the PIN.
                if !value.starts_with('/') {
                    return refused("the module path must be absolute");
                }
                (&mut self.module_path, value)
            }
            // `|command` of section 2.4 would run a program with the worker's rights.
            "pin-source" => {
                let path = value.strip_prefix("file:").unwrap_or(&value);
                let path = path.strip_prefix("//").unwrap_or(path);
                if !path.starts_with('/') {
                    return refused("expected file:/absolute/path");
                }
                (&mut self.pin_source, path.to_owned())
            }
            "pin-value" => {
                return refused("a PIN in a URI is exposed in service logs; use pin-source");
            }
            "slot-id" | "slot-description" | "slot-manufacturer" => {
                return refused("slot numbers are not stable; name the token by label or serial");
            }
            // A URI that names an object would promise more than is kept.
            "object" | "id" | "type" => {
                return refused("keys are selected by CKA_ID, not by the URI");
            }
            _ => {
                return Err(UriError::Unknown {
                    name: name.to_owned(),
                });
            }
        };
        if value.is_empty() {
            return Err(UriError::Value {
                name: name.to_owned(),
            });
        }
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(UriError::Repeated {
                name: name.to_owned(),
            }),
        }
    }
}

/// Percent-decoding; the result must be UTF-8 without NUL.
fn decode(name: &str, value: &str) -> Result<String, UriError> {
    let bad = || UriError::Value {
        name: name.to_owned(),
    };
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let byte = match first {
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2).ok_or_else(bad)?;
                rest = tail;
                let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return Err(bad());
                }
                u8::from_str_radix(digits, 16).map_err(|_| bad())?
            }
            other => *other,
        };
        if byte == 0 {
            return Err(bad());
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

/// What names the token, for messages: without module and PIN source.
impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pkcs11:")?;
        let parts = [
            ("token", &self.token),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
        ];
        let mut first = true;
        for (name, value) in parts {
            if let Some(value) = value {
                write!(f, "{}{name}={value}", if first { "" } else { ";" })?;
                first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_uri_is_read() {
        let uri: Pkcs11Uri = "pkcs11:token=the%20seal;serial=0a1b?module-path=/usr/lib/m.so&pin-source=file:/run/pin"
            .parse()
            .unwrap();
        assert_eq!(uri.token.as_deref(), Some("the seal"));
        assert_eq!(uri.serial.as_deref(), Some("0a1b"));
        assert_eq!(uri.module_path, PathBuf::from("/usr/lib/m.so"));
        assert_eq!(uri.pin_source, Some(PinSource::File("/run/pin".into())));
        assert_eq!(uri.to_string(), "pkcs11:token=the seal;serial=0a1b");
    }

    #[test]
    fn whatever_is_not_understood_is_refused() {
        for bad in [
            "token=x?module-path=/m",
            "pkcs11:?module-path=/m",
            "pkcs11:token=x",
            "pkcs11:token=?module-path=/m",
            "pkcs11:token=x;token=y?module-path=/m",
            "pkcs11:token=x?module-path=m.so",
            "pkcs11:token=x?module-path=/m&pin-value=1234",
            "pkcs11:token=x?module-path=/m&pin-source=|cat",
            "pkcs11:token=x;slot-id=1?module-path=/m",
            "pkcs11:token=x;object=k?module-path=/m",
            "pkcs11:token=x;colour=red?module-path=/m",
            "pkcs11:token=%4?module-path=/m",
            "pkcs11:token=%zz?module-path=/m",
            "pkcs11:token=%+1?module-path=/m",
            "pkcs11:token=%00?module-path=/m",
            "pkcs11:token=%ff?module-path=/m",
        ] {
            assert!(bad.parse::<Pkcs11Uri>().is_err(), "{bad}");
        }
    }
}

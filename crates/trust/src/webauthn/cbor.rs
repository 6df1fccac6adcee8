//! CBOR as authenticators write it: CTAP2 canonical form (CTAP 2.1 section 8), a subset of RFC 8949 in which no item
//! has two encodings. Definite lengths, the shortest heads, no tags, at most four levels.

/// One more than CTAP2 allows, for the attestation object around an authenticator's map.
const MAX_DEPTH: usize = 5;

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Major types 0 and 1.
    Int(i128),
    /// Major type 2.
    Bytes(Vec<u8>),
    /// Major type 3.
    Text(String),
    /// Major type 4.
    Array(Vec<Value>),
    /// Major type 5, each key once.
    Map(Vec<(Value, Value)>),
    /// Major type 7: a simple value or a float, of which nothing here has a use.
    Simple(u64),
}

/// CBOR that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// It ends in the middle of an item.
    #[error("CBOR: it ends in the middle of an item")]
    Short,
    /// A tag, an indefinite length, or a reserved head.
    #[error("CBOR: tags and indefinite lengths are not allowed")]
    Form,
    /// A number or length in more bytes than it needs.
    #[error("CBOR: a number is not in its shortest form")]
    Long,
    /// Text that is not UTF-8.
    #[error("CBOR: text is not UTF-8")]
    Text,
    /// A key twice in one map.
    #[error("CBOR: duplicate key")]
    Duplicate,
    /// Nested too deep.
    #[error("CBOR: nested too deep")]
    Depth,
}

/// The first item, and the bytes after it.
pub fn read(bytes: &[u8]) -> Result<(Value, &[u8]), CborError> {
    item(bytes, MAX_DEPTH)
}

fn item(bytes: &[u8], depth: usize) -> Result<(Value, &[u8]), CborError> {
    let (head, rest) = bytes.split_first().ok_or(CborError::Short)?;
    let (major, low) = (head >> 5, head & 0x1f);
    let (number, rest) = argument(low, rest, major == 7)?;
    let deeper = || depth.checked_sub(1).ok_or(CborError::Depth);
    Ok(match major {
        0 => (Value::Int(i128::from(number)), rest),
        1 => (Value::Int(-1 - i128::from(number)), rest),
        2 => {
            let (bytes, rest) = taken(number, rest)?;
            (Value::Bytes(bytes.to_vec()), rest)
        }
        3 => {
            let (bytes, rest) = taken(number, rest)?;
            let text = std::str::from_utf8(bytes).map_err(|_| CborError::Text)?;
            (Value::Text(text.to_owned()), rest)
        }
        4 => {
            let (mut all, mut rest) = (Vec::new(), rest);
            let depth = deeper()?;
            // Every item takes a byte, so what is not there ends it.
            for _ in 0..number {
                let (value, after) = item(rest, depth)?;
                all.push(value);
                rest = after;
            }
            (Value::Array(all), rest)
        }
        5 => {
            let (mut all, mut rest) = (Vec::new(), rest);
            let depth = deeper()?;
            for _ in 0..number {
                let (key, after) = item(rest, depth)?;
                let (value, after) = item(after, depth)?;
                if all.iter().any(|(known, _)| *known == key) {
                    return Err(CborError::Duplicate);
                }
                all.push((key, value));
                rest = after;
            }
            (Value::Map(all), rest)
        }
        7 => (Value::Simple(number), rest),
        _ => return Err(CborError::Form),
    })
}

/// The number of a head (RFC 8949 section 3). Of major type 7 it is the bits of a float, which have their own length.
fn argument(low: u8, rest: &[u8], float: bool) -> Result<(u64, &[u8]), CborError> {
    let (length, least) = match low {
        0..24 => return Ok((u64::from(low), rest)),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        _ => return Err(CborError::Form),
    };
    let (bytes, rest) = rest.split_at_checked(length).ok_or(CborError::Short)?;
    let number = bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    // Simple values in two bytes begin at 32 (RFC 8949 section 3.3).
    let least = match (float, low) {
        (true, 24) => 32,
        (true, _) => 0,
        (false, _) => least,
    };
    match number < least {
        true => Err(CborError::Long),
        false => Ok((number, rest)),
    }
}

fn taken(number: u64, rest: &[u8]) -> Result<(&[u8], &[u8]), CborError> {
    let length = usize::try_from(number).map_err(|_| CborError::Short)?;
    rest.split_at_checked(length).ok_or(CborError::Short)
}

impl Value {
    /// The value of a key in a map.
    pub fn get(&self, key: &Self) -> Option<&Self> {
        let Self::Map(all) = self else {
            return None;
        };
        all.iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// The bytes, if it is a byte string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_one_encoding() {
        let good: [(&[u8], Value); 6] = [
            (&[0x17], Value::Int(23)),
            (&[0x18, 24], Value::Int(24)),
            (&[0x38, 24], Value::Int(-25)),
            (&[0x42, 1, 2], Value::Bytes(vec![1, 2])),
            (
                &[0xa1, 0x61, b'a', 0xf5],
                Value::Map(vec![(Value::Text("a".to_owned()), Value::Simple(21))]),
            ),
            (&[0xf9, 0, 0], Value::Simple(0)),
        ];
        for (bytes, value) in good {
            assert_eq!(read(bytes).unwrap(), (value, &[][..]), "{bytes:?}");
        }
        let bad: [(&[u8], CborError); 13] = [
            (&[], CborError::Short),
            (&[0x18], CborError::Short),
            (&[0x42, 1], CborError::Short),
            (&[0x82, 1], CborError::Short),
            (
                &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                CborError::Short,
            ),
            (&[0x18, 23], CborError::Long),
            (&[0x59, 0, 1, 0], CborError::Long),
            (&[0xf8, 31], CborError::Long),
            (&[0x5f, 0xff], CborError::Form),
            (&[0xc0, 0], CborError::Form),
            (&[0x61, 0xff], CborError::Text),
            (&[0xa2, 1, 1, 1, 2], CborError::Duplicate),
            (&[0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0], CborError::Depth),
        ];
        for (bytes, error) in bad {
            assert_eq!(read(bytes).unwrap_err(), error, "{bytes:?}");
        }
        assert!(read(&[0x81, 0x81, 0x81, 0x81, 0x81, 0]).is_ok());
    }
}

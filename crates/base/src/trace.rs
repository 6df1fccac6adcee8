//! Spans for a collector of traces (docs/OPERATION.md, "Tracing"): their target, and what a caller says of its own trace.
//!
//! Spans of this target are made where work is done, and cost nothing where no collector is configured. What they say is bounded and
//! nothing of it is secret: no payload, no token, no PIN, no credential.

use std::sync::Arc;

use tracing::Span;

/// The target of spans that are exported. They are of level `TRACE`, so that the service log does not show them unless asked to.
pub const TARGET: &str = "chancery::trace";

/// The attribute of a request's span that says who called, before anything is done in it: [`KNOWN`], [`STRANGER`] or [`REFUSED`]. How
/// many of the latter two are exported is bounded.
pub const CALLER: &str = "chancery.caller";

/// A caller with credentials who was let in.
pub const KNOWN: &str = "known";

/// A caller without credentials who was let in.
pub const STRANGER: &str = "stranger";

/// Whoever was not let in: too many requests, or credentials that are none.
pub const REFUSED: &str = "refused";

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// The caller's trace and the span in it that called: W3C Trace Context, `traceparent`. Whether the caller exports its own spans is
/// not kept: how much is exported here is not the caller's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Not zero.
    pub trace_id: [u8; 16],
    /// Not zero.
    pub span_id: [u8; 8],
}

/// Makes a caller's span the parent of one of ours that was not entered yet.
pub type SetParent = Arc<dyn Fn(&Span, TraceParent) + Send + Sync>;

/// For a process that exports nothing.
pub fn no_parent() -> SetParent {
    Arc::new(|_, _| {})
}

impl TraceParent {
    /// Reads version 00, and of later versions what version 00 has (W3C Trace Context, 3.2). None where anything is wrong with it.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let rest = match (bytes.len(), bytes.get(..2)?) {
            (_, b"ff") => return None,
            (LENGTH, _) => true,
            (_, b"00") => false,
            (_, _) => bytes.get(LENGTH) == Some(&b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
        if !rest || !dashes {
            return None;
        }
        hex::<1>(bytes.get(..2)?)?;
        hex::<1>(bytes.get(53..55)?)?;
        let trace_id = hex::<16>(bytes.get(3..35)?)?;
        let span_id = hex::<8>(bytes.get(36..52)?)?;
        let is_real = trace_id != [0; 16] && span_id != [0; 8];
        is_real.then_some(Self { trace_id, span_id })
    }
}

/// Lower-case digits only.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_says() {
        let read = TraceParent::read(GOOD).unwrap();
        assert_eq!((read.trace_id[0], read.trace_id[15]), (0x4b, 0x36));
        assert_eq!(read.span_id, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        // Whether the caller exports it is nothing to us.
        let not_sampled = GOOD.replace("-01", "-00");
        assert_eq!(TraceParent::read(&not_sampled), Some(read));
        // A later version may say more.
        let later = format!("{}-more", GOOD.replacen("00", "01", 1));
        assert_eq!(TraceParent::read(&later), Some(read));
    }

    #[test]
    fn threat_a_traceparent_that_is_none_is_left_out() {
        let zero = |from: usize, to: usize| {
            let mut text = GOOD.to_owned();
            text.replace_range(from..to, &"0".repeat(to - from));
            text
        };
        let long = "0".repeat(100_000);
        for bad in [
            "",
            "00",
            "\u{e9}",
            &long,
            &GOOD[..54],
            &format!("{GOOD}0"),
            &format!("{GOOD}-00"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("00", "0g", 1),
            &GOOD.replace("-01", "-0x"),
            &GOOD.replace("4b", "4B"),
            &GOOD.replace('-', "_"),
            &format!("{}more", GOOD.replacen("00", "01", 1)),
            &zero(3, 35),
            &zero(36, 52),
        ] {
            assert_eq!(TraceParent::read(bad), None, "{bad:.80}");
        }
    }
}

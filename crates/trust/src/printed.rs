//! The record of a ceremony for paper: one HTML page, printed on two sheets, without script and without anything from
//! elsewhere. It says what a verified transcript says; what does not fit is cut with its count, and stands in the
//! transcript, which alone is the proof.

mod facts;
mod html;
mod people;

use base64ct::{Base64, Encoding as _};

use crate::attestation::{Attestation, verify_attestations};
use crate::chain::Pin;
use crate::digest::Sha256Digest;
use crate::json::JsonError;
use crate::transcript::{Transcript, TranscriptError, verify_transcript};

use facts::Facts;
use html::Html;

const STYLE: &str = include_str!("printed/page.css");

/// Nothing is loaded and nothing runs; the one style is named by its digest.
pub fn content_security_policy() -> String {
    let style = Base64::encode_string(Sha256Digest::of(STYLE.as_bytes()).as_bytes());
    format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'")
}

/// Verifies a transcript, and writes its record.
pub fn print(
    bytes: &[u8],
    pin: &Pin,
    attestations: &[Attestation],
) -> Result<String, TranscriptError> {
    let verified = verify_transcript(bytes, pin)?;
    let transcript = Transcript::decode(bytes).map_err(TranscriptError::Unreadable)?;
    let attested = verify_attestations(&verified, attestations);
    let facts = Facts {
        bytes,
        transcript: &transcript,
        verified: &verified,
        attested: &attested,
    };
    page(&facts).map_err(TranscriptError::Unreadable)
}

fn page(facts: &Facts<'_>) -> Result<String, JsonError> {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\" dir=\"ltr\">\n<head>\n<meta charset=\"utf-8\">\n")
        .raw("<meta http-equiv=\"Content-Security-Policy\" content=\"")
        .text(&content_security_policy())
        .raw("\">\n<meta name=\"referrer\" content=\"no-referrer\">\n<title>")
        .text(&facts.title())
        .raw("</title>\n<style>")
        .raw(STYLE)
        .raw("</style>\n</head>\n<body>\n<section class=\"sheet\">\n<h1>")
        .text(&facts.title())
        .raw("</h1>\n");
    facts.asked(&mut html)?;
    facts.digests(&mut html);
    facts.done(&mut html);
    facts.log(&mut html);
    people::counted(facts, &mut html);
    facts.foot(&mut html, 1);
    html.raw("</section>\n<section class=\"sheet\">\n");
    people::steps(facts, &mut html);
    people::witnesses(facts, &mut html);
    people::signatures(facts, &mut html);
    facts.check(&mut html);
    facts.foot(&mut html, 2);
    html.raw("</section>\n</body>\n</html>\n");
    Ok(html.finish())
}

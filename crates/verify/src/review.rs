//! What there is to read before a signature: requests and results, rendered from the very bytes.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use trust::review::{File, open_file};

use crate::output::{Code, Failure, Output};

#[derive(Debug, Args)]
pub struct Review {
    /// A file to be signed: a proposal, a request, an acceptance, or a document about whom to trust.
    file: PathBuf,
}

/// What the file says, and its digest to read aloud.
pub fn run(review: &Review, output: &Output) -> Result<(), Failure> {
    let bytes = std::fs::read(&review.file)
        .with_context(|| format!("cannot read {}", review.file.display()))?;
    match open_file(&bytes).map_err(Failure::refused)? {
        File::Request(bytes) => request(&bytes, None, output),
        File::Statement(bytes) => statement(&bytes, output),
        file => document(&file, None, output),
    }
}

/// A request, with what it changes against the last verified one about the same subject.
pub fn request(bytes: &[u8], before: Option<&[u8]>, output: &Output) -> Result<(), Failure> {
    let failed = |e: trust::JsonError| Failure::new(Code::Refused, e);
    let before = before.map(trust::Request::decode).transpose();
    let review = trust::review::review(bytes, before.map_err(failed)?.as_ref()).map_err(failed)?;
    let shown = json!({
        "summary": review.summary, "lines": review.lines, "changes": review.changes,
        "digest": review.digest, "words": review.words,
    });
    output.result(&shown, || review.render());
    Ok(())
}

/// What was done.
pub fn statement(bytes: &[u8], output: &Output) -> Result<(), Failure> {
    let failed = |e: trust::JsonError| Failure::new(Code::Refused, e);
    let review = trust::review::review_statement(bytes).map_err(failed)?;
    let shown = json!({"lines": review.lines, "digest": review.digest, "words": review.words});
    output.result(&shown, || review.render());
    Ok(())
}

/// The next roster or policy, with what it changes against the one that holds; or a suspension.
pub fn document(file: &File, before: Option<&[u8]>, output: &Output) -> Result<(), Failure> {
    let failed = |e: trust::JsonError| Failure::new(Code::Refused, e);
    let review = trust::review::review_document(file, before).map_err(failed)?;
    let shown = json!({
        "lines": review.lines, "changes": review.changes,
        "digest": review.digest, "words": review.words,
    });
    output.result(&shown, || review.render());
    Ok(())
}

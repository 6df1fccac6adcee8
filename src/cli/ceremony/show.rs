//! What there is to read before a signature: requests and results.

use serde_json::json;

use verify::output::{Code, Failure, Output};

pub fn review(request: &[u8], before: Option<&[u8]>, output: &Output) -> Result<(), Failure> {
    let failed = |e: trust::JsonError| Failure::new(Code::Refused, e);
    let before = before
        .map(trust::Request::decode)
        .transpose()
        .map_err(failed)?;
    let review = trust::review::review(request, before.as_ref()).map_err(failed)?;
    let shown = json!({
        "lines": review.lines, "changes": review.changes,
        "digest": review.digest, "words": review.words,
    });
    output.result(&shown, || review.render());
    Ok(())
}

pub fn review_statement(statement: &[u8], output: &Output) -> Result<(), Failure> {
    let failed = |e: trust::JsonError| Failure::new(Code::Refused, e);
    let review = trust::review::review_statement(statement).map_err(failed)?;
    let shown = json!({"lines": review.lines, "digest": review.digest, "words": review.words});
    output.result(&shown, || review.render());
    Ok(())
}

//! What there is to read: ceremonies, requests, results.

use serde_json::json;
use trust::Request;

use super::super::CliContext;
use store::CeremonyRow;
use verify::output::{Code, Failure, Output, table};

pub async fn list(open: &CliContext, output: &Output) -> Result<(), Failure> {
    let rows = open
        .store
        .ceremonies()
        .await
        .map_err(Failure::unavailable)?;
    for row in &rows.unreadable {
        output.remark(row.to_string());
    }
    let rows = rows.read;
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({"ceremony": row.id, "lines": lines(row), "operation": row.operation,
                "ring": row.ring, "state": row.state.to_string(), "created_at": row.created_at})
        })
        .collect();
    output.result(&shown, || {
        table(
            &["ceremony", "operation", "subject", "state", "proposed"],
            rows.iter().map(|row| {
                [
                    row.id.to_string(),
                    row.operation.to_string(),
                    lines(row).join(", "),
                    row.state.to_string(),
                    row.created_at.to_string(),
                ]
            }),
        )
    });
    Ok(())
}

/// The ceremony's places in the lines of its subjects.
fn lines(row: &CeremonyRow) -> Vec<String> {
    let request = Request::decode(&row.request);
    let lines = request.map(|request| request.lines).unwrap_or_default();
    lines
        .iter()
        .map(|line| format!("{} #{}", line.subject, line.sequence))
        .collect()
}

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

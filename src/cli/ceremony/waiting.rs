//! `chancery ceremony list --waiting`: ceremonies and statements that wait for a member, and the commands that come next.

use serde_json::{Value, json};
use trust::Sha256Digest;

use super::super::World;
use super::list::List;
use super::remote::said;
use super::remote_arguments::RemoteReader;
use verify::output::{Failure, Output, table};

/// The list that the service has for the owner of the key. It is repeated and not believed: the commands compare.
pub async fn list(
    reader: &RemoteReader,
    command: &List,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let session = reader.remote.open().await?;
    let bytes = session.read(world, reader.key()?, "/v1/ceremonies/waiting");
    let answer: Value = serde_json::from_slice(&bytes.await?).map_err(Failure::refused)?;
    let mut rows = Vec::new();
    for (all, id) in [("ceremonies", "ceremony"), ("statements", "statement")] {
        for row in answer[all].as_array().into_iter().flatten() {
            rows.push(with_commands(row.clone(), id)?);
        }
    }
    rows.sort_by_key(|row| said(&row["created_at"]));
    let limit = command.limit as usize;
    let left_out = rows.len().saturating_sub(limit);
    let rows = rows.split_off(left_out);
    output.result(&rows, || render(&rows));
    if left_out > 0 || answer["more"] == true {
        output.remark("There are older ones: `chancery ceremony list`, `chancery trust list`");
    }
    Ok(())
}

/// Nobody types what a service says: the id has to be one.
fn with_commands(mut row: Value, id: &str) -> Result<Value, Failure> {
    let named = row[id].as_str().unwrap_or_default();
    let named: Sha256Digest = named
        .parse()
        .map_err(|_| Failure::refused(format!("the service lists a {id} without an id")))?;
    let asked = row["asked"].as_str().unwrap_or_default();
    row["next"] = json!(next(id, asked, &row["operation"], named));
    Ok(row)
}

fn next(of: &str, asked: &str, operation: &Value, id: Sha256Digest) -> Vec<String> {
    match (of, asked) {
        ("ceremony", "approve") => vec![
            format!("chancery ceremony review {id}"),
            format!("chancery ceremony approve {id}"),
        ],
        ("ceremony", "accept") => {
            // It concerns no key.
            let kid = match operation == "clock-correction" || operation == "rotation-policy" {
                true => "",
                false => " --kid KID",
            };
            vec![
                format!("chancery ceremony review {id} --result"),
                format!("chancery ceremony accept {id}{kid}"),
            ]
        }
        ("ceremony", "attest") => vec![
            format!("chancery ceremony show {id}"),
            format!("chancery ceremony attest {id}"),
        ],
        ("statement", "sign") => vec![
            format!("chancery trust review {id}"),
            format!("chancery trust sign {id}"),
        ],
        // The new key reads nothing yet: it signs the file.
        ("statement", "acknowledge") => vec![
            format!("chancery trust review {id} --out FILE"),
            "chancery trust sign FILE --key NEW-KEY".to_owned(),
        ],
        ("statement", "veto") => vec![
            format!("chancery trust review {id}"),
            format!("chancery trust veto {id} --reason WHY"),
        ],
        _ => Vec::new(),
    }
}

fn render(rows: &[Value]) -> String {
    let mut text = table(
        &["id", "what", "asked", "until"],
        rows.iter().map(|row| {
            let (id, what) = match row["statement"].is_null() {
                true => ("ceremony", said(&row["operation"])),
                false => ("statement", said(&row["kind"])),
            };
            let subjects = row["lines"].as_array().into_iter().flatten();
            let subjects = subjects
                .map(|line| format!(" {} #{}", said(&line["subject"]), said(&line["sequence"])));
            let until = match row["asked"].as_str() {
                Some("approve") => &row["approve_by"],
                _ => &row["until"],
            };
            let subjects: String = subjects.collect();
            [
                said(&row[id]),
                format!("{what}{subjects}"),
                said(&row["asked"]),
                said(until),
            ]
        }),
    );
    let commands = rows.iter().flat_map(|row| row["next"].as_array());
    let commands: Vec<_> = commands.flatten().map(said).collect();
    if !commands.is_empty() {
        text.push_str("\n\nNext, with --url, --genesis and --key:\n");
        for command in commands {
            text.push_str(&format!("    {command}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_that_is_asked_for_has_its_commands() {
        let id = Sha256Digest::of(b"one");
        let row = |of: &str, asked: &str| {
            let row = json!({of: id, "asked": asked, "kind": "roster", "operation": "generate"});
            with_commands(row, of).unwrap()
        };
        for (of, asked, command) in [
            ("ceremony", "approve", "chancery ceremony approve"),
            ("ceremony", "accept", "chancery ceremony accept"),
            ("ceremony", "attest", "chancery ceremony attest"),
            ("statement", "sign", "chancery trust sign"),
            ("statement", "acknowledge", "chancery trust sign FILE"),
            ("statement", "veto", "chancery trust veto"),
        ] {
            let row = row(of, asked);
            let all = row["next"].as_array().unwrap();
            assert_eq!(all.len(), 2, "{row}");
            assert!(all[0].as_str().unwrap().contains(&id.to_string()));
            assert!(all[1].as_str().unwrap().starts_with(command), "{row}");
            assert!(render(std::slice::from_ref(&row)).contains(command));
        }
        assert_eq!(row("statement", "something else")["next"], json!([]));
    }

    /// A list that is typed is a list of commands of whoever wrote it.
    #[test]
    fn threat_a_service_puts_words_into_a_command() {
        for id in ["x; rm -rf ~", "", "AB", &"a".repeat(65)] {
            let row = json!({"statement": id, "asked": "sign"});
            assert!(with_commands(row, "statement").is_err(), "{id}");
        }
    }
}

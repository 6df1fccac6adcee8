//! Custodians on machines of their own, and what a part of their story shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::stage::Stage;
use verify::output::{Failure, Output};

/// The verifier that somebody else wrote, in another language; it is part of the sources.
const SECOND_VERIFIER: &str = "deploy/verifier/chancery_verify.py";

/// What a part of the story showed.
pub struct Told {
    /// As it stands in the summary.
    pub shown: Value,
    /// In a line.
    pub words: String,
    pub good: bool,
}

/// Custodians on machines of their own: no database, no configuration but the address and the genesis.
pub struct Far<'a> {
    pub stage: &'a Stage,
    pub output: &'a Output,
    pub url: String,
    pub genesis: String,
}

impl Far<'_> {
    fn words<'w>(&'w self, who: &'w str, words: &[&'w str]) -> Vec<&'w str> {
        let more = ["--key", who, "--url", &self.url, "--genesis", &self.genesis];
        [words, &more].concat()
    }

    pub fn by(&self, who: &str, words: &[&str]) -> Result<Value, Failure> {
        self.stage.chancery(&self.words(who, words))
    }

    /// Both verifiers about a transcript, and about the same with a byte changed; whether it is as it has to be.
    pub fn verified(&self, ceremony: &str, file: &str) -> Result<(Value, bool), Failure> {
        let (stage, genesis) = (self.stage, &self.genesis);
        stage.chancery(&["ceremony", "transcript", ceremony, "--out", file])?;
        stage.chancery(&["ceremony", "verify", file, "--genesis", genesis])?;
        let second = self.second_verifier(file)?;
        let tampered = stage.tampered(file, genesis)?;
        let tampered_second = self.second_verifier("tampered.transcript")?;
        let is = |verdict: &Option<String>, word: &str| {
            verdict.as_deref().is_none_or(|verdict| verdict == word)
        };
        let good =
            is(&second, "verified") && tampered == "refused" && is(&tampered_second, "refused");
        let shown = json!({
            "verifier": "verified", "second_verifier": second,
            "tampered": tampered, "tampered_second_verifier": tampered_second,
        });
        Ok((shown, good))
    }

    /// Why the service refuses it; an error if it does not.
    pub fn refused(&self, who: &str, words: &[&str]) -> Result<String, Failure> {
        let said = self.stage.said(&self.words(who, words))?;
        let why = said["error"]["message"].as_str();
        let why = why.ok_or_else(|| anyhow!("{} was not refused", words.join(" ")))?;
        Ok(why.to_owned())
    }

    /// From the first approval to the key in JWKS.
    pub fn finish(&self, id: &str, voters: &[&str]) -> Result<String, Failure> {
        for voter in voters {
            self.by(voter, &["ceremony", "approve", id])?;
        }
        // As a service it would have done so by now.
        let executed = self.stage.chancery(&["executor", "--once"])?;
        let executed = &executed["executed"][0];
        if executed["ceremony"] != id {
            return Err(anyhow!("the executor did not carry {id} out").into());
        }
        let kid = executed["kids"][0].as_str();
        let kid = kid.ok_or_else(|| anyhow!("no key was made"))?.to_owned();
        for voter in voters {
            self.by(voter, &["ceremony", "accept", id, "--kid", &kid])?;
        }
        Ok(kid)
    }

    /// Its verdict; none where it is not there.
    pub fn second_verifier(&self, file: &str) -> Result<Option<String>, Failure> {
        let script = std::path::absolute(SECOND_VERIFIER)?;
        if !script.is_file() {
            let remark = "  (the second verifier is not installed; it is part of the source tree)";
            self.output.remark(remark);
            return Ok(None);
        }
        let genesis = &self.genesis;
        self.output.remark(format!(
            "$ python3 {SECOND_VERIFIER} {file} --genesis {genesis}"
        ));
        let said = Command::new("python3")
            .arg(script)
            .args([file, "--genesis", genesis, "--output", "json"])
            .current_dir(self.stage.directory())
            .output()?;
        if !Path::new(&self.stage.directory().join(file)).is_file() {
            return Err(anyhow!("{file} is missing").into());
        }
        let _ = fs::write(
            self.stage.directory().join(format!("{file}.second")),
            &said.stdout,
        );
        match said.status.code() {
            Some(0) => Ok(Some("verified".to_owned())),
            _ => {
                let why = String::from_utf8_lossy(&said.stderr);
                self.output.remark(why.trim());
                Ok(Some("refused".to_owned()))
            }
        }
    }
}

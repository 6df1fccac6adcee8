//! What the demonstration acts on: an installation with its service, and files beside it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::ceremony::Held;
use testkit::installation::{Installation, Plan, Service, free_port, text};
use testkit::process::run_in_sight;
use trust::Time;

use super::isolation::isolated;
use base::system::now;
use verify::client::{Client, Connect};
use verify::output::{Failure, Output};

/// What an installation is for.
pub struct Scene {
    pub environment: &'static str,
    /// How long a key is published before it signs.
    pub publish_safety: Duration,
    /// Further lines of the configuration, each with its section.
    pub settings: Vec<(&'static str, String)>,
}

/// Stopped when it is let go of, and removed if it is not to be kept.
pub struct Stage {
    service: Option<Service>,
    pub installation: Installation,
    output: Output,
    _directory: Option<TempDir>,
}

/// A key born here.
pub struct Born {
    pub ceremony: String,
    pub kid: String,
    pub activate_at: Time,
}

impl Stage {
    /// With a token.
    pub fn new(
        directory: Option<PathBuf>,
        keep: bool,
        program: PathBuf,
        scene: Scene,
        output: &Output,
    ) -> Result<Self, Failure> {
        let temporary = match &directory {
            Some(directory) if directory.exists() => {
                return Err(Failure::refused(format!(
                    "{} already exists; the demonstration needs a new directory",
                    directory.display()
                )));
            }
            Some(directory) => {
                fs::create_dir_all(directory)?;
                None
            }
            None => {
                let mut new = tempfile::Builder::new()
                    .prefix("chancery-demo-")
                    .tempdir()?;
                new.disable_cleanup(keep);
                Some(new)
            }
        };
        let directory = directory
            .as_deref()
            .or(temporary.as_ref().map(TempDir::path))
            .context("a directory")?
            .canonicalize()?;
        let (shown, output) = (output.clone(), output.clone());
        let mut settings = vec![
            ("service", format!("history_ring = \"{}\"", super::RING)),
            ("telemetry", "format = \"text\"".to_owned()),
        ];
        settings.extend(scene.settings);
        let installation = Installation::with_token(Plan {
            program: std::path::absolute(program)?,
            token: directory.join("token"),
            directory,
            token_label: "demonstration".to_owned(),
            environment: scene.environment.to_owned(),
            store: "sqlite:chancery.db".to_owned(),
            api: free_port()?,
            operations: free_port()?,
            publish_safety: scene.publish_safety,
            settings,
            narrate: Some(Arc::new(move |command: &str| {
                output.remark(format!("$ {command}"));
            })),
        })
        .map_err(Failure::unavailable)?;
        Ok(Self {
            service: None,
            installation,
            output: shown,
            _directory: temporary,
        })
    }

    pub fn directory(&self) -> &Path {
        &self.installation.plan.directory
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.installation.plan.api)
    }

    /// Runs the program as a person would, in the directory, and returns its JSON.
    pub fn chancery(&self, arguments: &[&str]) -> Result<Value, Failure> {
        Ok(self.installation.chancery(arguments)?)
    }

    /// Runs the program as a person would and shows what it says.
    pub fn shown(&self, arguments: &[&str]) -> Result<(), Failure> {
        let told = self.installation.plan.narrate.iter();
        told.for_each(|narrate| narrate(&format!("chancery {}", arguments.join(" "))));
        let said = run_in_sight(self.installation.command().args(arguments), b"")?;
        match said.code {
            Some(0) => {
                self.output.remark(said.text()?);
                Ok(())
            }
            _ => Err(anyhow!("`chancery {}` failed", arguments.join(" ")).into()),
        }
    }

    /// What somebody who waits asks again and again.
    pub fn quietly(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let mut installation = self.installation.clone();
        installation.plan.narrate = None;
        Ok(installation.chancery(arguments)?)
    }

    /// The same, and without a network if that can be had.
    pub fn offline(&self, without_network: bool, arguments: &[&str]) -> Result<Value, Failure> {
        if !without_network {
            return self.chancery(arguments);
        }
        let program = isolated(&self.installation.plan.program);
        let said = self.installation.run_by(program, arguments)?;
        Ok(self.installation.succeeded(said, arguments)?)
    }

    /// What a command says, also if it says no.
    pub fn said(&self, arguments: &[&str]) -> Result<Value, Failure> {
        Ok(self.installation.run(arguments)?.json()?)
    }

    /// A key under a quorum of two, proposed by the third.
    pub fn ceremony(&self, ring: &str, proposer: &str, reason: &str) -> Result<Born, Failure> {
        let held = self.installation.generate(ring, proposer, reason)?;
        let kid = held.kid()?.to_owned();
        let key = self.chancery(&["key", "show", &kid])?;
        let activate_at = text(&key, "activate_at")?
            .parse()
            .map_err(|e| anyhow!("activate_at: {e}"))?;
        Ok(Born {
            ceremony: held.ceremony,
            kid,
            activate_at,
        })
    }

    /// A key is revoked as compromised under the same quorum.
    pub fn revocation(
        &self,
        ring: &str,
        key: &Born,
        since: &str,
        proposer: &str,
        reason: &str,
    ) -> Result<Held, Failure> {
        let mut words = vec!["ring", "revoke", ring, "--kid", &key.kid, "--apply"];
        words.extend(["--because", "compromised", "--compromised-since", since]);
        Ok(self.installation.hold(&words, proposer, reason)?)
    }

    /// What somebody does who has the PIN: the token signs, and the service never hears of it.
    pub fn pkcs11_sign(&self, kid: &str, digest: &str) -> Result<Vec<u8>, Failure> {
        let key = self.chancery(&["key", "show", kid])?;
        let id = text(&key["location"]["pkcs11"], "cka_id")?;
        let mut words = vec!["--sign", "--mechanism", "ECDSA", "--id", &id];
        words.extend(["--input-file", digest, "--output-file", "loot.signature"]);
        let said = self.installation.token_tool(&words)?;
        if said.code != Some(0) {
            return Err(anyhow!("pkcs11-tool did not sign: {}", said.stderr).into());
        }
        Ok(fs::read(self.installation.file("loot.signature"))?)
    }

    pub fn write(&self, file: &str, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        Ok(fs::write(self.installation.file(file), bytes)?)
    }

    pub fn serve(&mut self) -> Result<(), Failure> {
        let mut service = self.installation.start([("", ""); 0])?;
        service
            .wait_until("/health/ready")
            .map_err(Failure::unavailable)?;
        self.service = Some(service);
        Ok(())
    }

    pub fn access_token(&self, principal: &str, ring: &str) -> Result<(), Failure> {
        let role = format!("signer:{ring}");
        let access_token = self.installation.grant(principal, &[&role])?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.installation.file("access-token"))?;
        file.write_all(access_token.as_bytes())?;
        Ok(())
    }

    pub fn client(&self) -> Result<Client, Failure> {
        Client::with_token_file(
            &self.url(),
            &Connect::default(),
            &self.installation.file("access-token"),
        )
    }

    /// Waits until the key has been published for `publish_safety`.
    pub async fn wait_for_activation(&self, key: &Born, output: &Output) -> Result<(), Failure> {
        let rest = key.activate_at.since(now()) + Duration::from_millis(50);
        output.remark(format!(
            "  {} is published; it may sign in {:.1} s",
            key.kid,
            rest.as_secs_f64()
        ));
        tokio::time::sleep(rest).await;
        Ok(())
    }

    pub fn log_lines(&self, files: &[&str], most: usize) -> Result<(String, usize), Failure> {
        for file in files {
            let Ok(bytes) = fs::read(file) else { continue };
            let lines: Vec<&[u8]> = bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .take(most)
                .collect();
            if !lines.is_empty() {
                fs::write(self.installation.file("lines.txt"), lines.join(&b'\n'))?;
                return Ok(((*file).to_owned(), lines.len()));
            }
        }
        Err(anyhow!("no log file found on this machine to sign").into())
    }

    pub async fn sign_lines(&self, input: &str, out: &str, ring: &str) -> Result<(), Failure> {
        let url = self.url();
        self.chancery(&[
            "sign",
            input,
            "--lines",
            "--format",
            "jws",
            "--ring",
            ring,
            "--url",
            &url,
            "--access-token-file",
            "access-token",
            "--out",
            out,
        ])?;
        Ok(())
    }

    /// By the service, and then with the published JWKS alone; returns how often which verdict.
    pub async fn verify(&self, file: &str) -> Result<Value, Failure> {
        let results = self.chancery(&["verify", file, "--url", &self.url()])?;
        let jwks = self.client()?.get("/.well-known/jwks.json").await?;
        fs::write(self.installation.file("jwks.json"), jwks)?;
        self.chancery(&["verify", file, "--jwks", "jwks.json"])?;
        let mut counts = serde_json::Map::new();
        for result in results.as_array().into_iter().flatten() {
            let verdict = result["verdict"].as_str().unwrap_or("?").to_owned();
            let count = counts.get(&verdict).and_then(Value::as_u64).unwrap_or(0);
            counts.insert(verdict, json!(count + 1));
        }
        Ok(Value::Object(counts))
    }

    /// What becomes of the transcript when one byte in its middle is another.
    pub fn tampered(&self, file: &str, genesis: &str) -> Result<&'static str, Failure> {
        let mut bytes = fs::read(self.installation.file(file))?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(self.installation.file("tampered.transcript"), bytes)?;
        let verdict = self.chancery(&[
            "ceremony",
            "verify",
            "tampered.transcript",
            "--genesis",
            genesis,
        ]);
        Ok(if verdict.is_err() {
            "refused"
        } else {
            "ACCEPTED"
        })
    }
}

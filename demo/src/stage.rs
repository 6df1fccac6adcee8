//! The props: a directory, a token, custodians with SSH keys, and the service as a child process.

use std::fmt::Display;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::value::Index;
use serde_json::{Value, json};
use trust::Time;

use super::PUBLISH_SAFETY;
use base::system::now;
use verify::client::Client;
use verify::output::{Failure, Output};

/// Makes a SoftHSM token; the same script as everywhere else.
const INIT_TOKEN: &str = include_str!("../../softhsm/init-token");

pub struct Stage<'a> {
    directory: PathBuf,
    keep: bool,
    program: PathBuf,
    output: &'a Output,
    port: u16,
    operations_port: u16,
    module: String,
    service: Option<Child>,
}

/// A key born here.
pub struct Born {
    pub ceremony: String,
    pub kid: String,
    pub activate_at: Time,
}

impl<'a> Stage<'a> {
    pub fn new(
        directory: Option<PathBuf>,
        keep: bool,
        program: PathBuf,
        output: &'a Output,
    ) -> Result<Self, Failure> {
        let keep = keep || directory.is_some();
        let directory = match directory {
            Some(directory) if directory.exists() => {
                return Err(Failure::refused(format!(
                    "{} already exists; the demonstration needs a new directory",
                    directory.display()
                )));
            }
            Some(directory) => {
                fs::create_dir_all(&directory)?;
                directory
            }
            None => tempfile::Builder::new()
                .prefix("chancery-demo-")
                .tempdir()?
                .keep(),
        };
        let directory = directory.canonicalize()?;
        Ok(Self {
            directory,
            keep,
            program,
            output,
            port: free_port()?,
            operations_port: free_port()?,
            module: String::new(),
            service: None,
        })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn token(&mut self) -> Result<(), Failure> {
        self.output
            .remark("$ softhsm/init-token token demonstration");
        let mut child = Command::new("sh")
            .args(["-s", "token", "demonstration"])
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(INIT_TOKEN.as_bytes())?;
        }
        let said = child.wait_with_output()?;
        if !said.status.success() {
            return Err(Failure::unavailable(anyhow!(
                "the token could not be initialised"
            )));
        }
        self.module = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        Ok(())
    }

    pub fn custodians(&self, names: &[&str]) -> Result<(), Failure> {
        for name in names {
            self.output
                .remark(format!("$ ssh-keygen -t ed25519 -C {name} -f {name}"));
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name])
                .current_dir(&self.directory)
                .status()
                .context("cannot run ssh-keygen")?;
            if !status.success() {
                return Err(anyhow!("ssh-keygen failed").into());
            }
        }
        Ok(())
    }

    fn ssh_sign(&self, key: &str, namespace: &str, file: &str) -> Result<(), Failure> {
        let status = Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", namespace, "-f", key, file])
            .current_dir(&self.directory)
            .status()
            .context("cannot run ssh-keygen")?;
        match status.success() {
            true => Ok(()),
            false => Err(anyhow!("ssh-keygen did not sign {file} with {key}").into()),
        }
    }

    /// Returns the digest that is pinned, and writes the configuration that pins it.
    pub fn genesis(&self, threshold: usize) -> Result<String, Failure> {
        let threshold = threshold.to_string();
        let members = ["ada", "grace", "mary"].map(|name| format!("{name}={name}.pub"));
        let mut new = vec![
            "ceremony",
            "genesis",
            "new",
            "--service",
            "chancery",
            "--environment",
            "demonstration",
            "--threshold",
            &threshold,
            "--out",
            "genesis.pae",
        ];
        for member in &members {
            new.extend(["--member", member]);
        }
        let said = self.chancery(&new)?;
        let namespace = text(&said, "namespace")?;
        let mut assemble = vec![
            "ceremony",
            "genesis",
            "assemble",
            "genesis.pae",
            "--out",
            "genesis.json",
        ];
        let mut signatures = Vec::new();
        for name in ["ada", "grace", "mary"] {
            self.output.remark(format!(
                "$ ssh-keygen -Y sign -n {namespace} -f {name} genesis.pae"
            ));
            let file = format!("genesis.{name}.sig");
            self.ssh_sign(name, &namespace, "genesis.pae")?;
            fs::rename(
                self.directory.join("genesis.pae.sig"),
                self.directory.join(&file),
            )?;
            signatures.push(file);
        }
        for file in &signatures {
            assemble.extend(["--signature", file]);
        }
        let genesis = text(&self.chancery(&assemble)?, "genesis")?;
        fs::write(
            self.directory.join("chancery.toml"),
            self.configuration(&genesis),
        )?;
        Ok(genesis)
    }

    fn configuration(&self, genesis: &str) -> String {
        let token = self.directory.join("token");
        let uri = format!(
            "pkcs11:token=demonstration?module-path={}&pin-source=file:{}",
            self.module,
            token.join("pin").display()
        );
        let environment = format!(
            "environment = {{ SOFTHSM2_CONF = \"{}\" }}",
            token.join("softhsm2.conf").display()
        );
        format!(
            "profile = \"demonstration\"\n\n\
             [service]\nname = \"chancery\"\nenvironment = \"demonstration\"\nissuer = \"{url}\"\nhistory_ring = \"{ring}\"\n\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\noperations_listen = \"127.0.0.1:{operations}\"\n\n\
             [store]\nurl = \"sqlite:chancery.db\"\n\n\
             [token]\nuri = \"{uri}\"\nprofile = \"softhsm\"\n{environment}\n\n\
             [executor]\nuri = \"{uri}\"\nprofile = \"softhsm\"\n{environment}\n\n\
             [publication]\npublish_safety = \"{safety}s\"\n\n\
             [trust]\ngenesis = \"{genesis}\"\n\n\
             [telemetry]\nformat = \"text\"\n",
            url = self.url(),
            ring = super::RING,
            port = self.port,
            operations = self.operations_port,
            safety = PUBLISH_SAFETY.as_secs(),
        )
    }

    /// Runs this program as a person would, in the directory, and returns its JSON.
    pub fn chancery(&self, arguments: &[&str]) -> Result<Value, Failure> {
        self.run(Command::new(&self.program), arguments)
    }

    /// The same, and without a network if that can be had.
    pub fn offline(&self, without_network: bool, arguments: &[&str]) -> Result<Value, Failure> {
        match without_network {
            true => self.run(super::isolation::isolated(&self.program), arguments),
            false => self.chancery(arguments),
        }
    }

    /// What a command says, also if it says no.
    pub fn said(&self, arguments: &[&str]) -> Result<Value, Failure> {
        self.output
            .remark(format!("$ chancery {}", arguments.join(" ")));
        let said = Command::new(&self.program)
            .args(["--output", "json"])
            .args(arguments)
            .current_dir(&self.directory)
            .stderr(Stdio::inherit())
            .output()?;
        Ok(serde_json::from_slice(&said.stdout).context("its output is not JSON")?)
    }

    fn run(&self, mut program: Command, arguments: &[&str]) -> Result<Value, Failure> {
        self.output
            .remark(format!("$ chancery {}", arguments.join(" ")));
        let said = program
            .args(["--output", "json"])
            .args(arguments)
            .current_dir(&self.directory)
            .stderr(Stdio::inherit())
            .output()?;
        let value: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
        if !said.status.success() {
            let why = value["error"]["message"]
                .as_str()
                .unwrap_or("no reason given");
            return Err(anyhow!("`chancery {}` failed: {why}", arguments.join(" ")).into());
        }
        Ok(value)
    }

    /// Proposed by one, approved by two, executed, accepted by the same two.
    pub fn ceremony(
        &self,
        ring: &str,
        proposer: &str,
        custodians: &[&str],
        reason: &str,
    ) -> Result<Born, Failure> {
        let said = self.chancery(&[
            "ceremony",
            "new",
            "generate",
            "--ring",
            ring,
            "--proposer",
            proposer,
            "--key",
            proposer,
            "--reason",
            reason,
        ])?;
        let ceremony = text(&said, "ceremony")?;
        for custodian in custodians {
            self.chancery(&["ceremony", "approve", &ceremony, "--key", custodian])?;
        }
        let executed = self.chancery(&["ceremony", "execute", &ceremony])?;
        let kid = text(&executed["kids"], 0)?;
        for custodian in custodians {
            self.chancery(&[
                "ceremony", "accept", &ceremony, "--kid", &kid, "--key", custodian,
            ])?;
        }
        let key = self.chancery(&["key", "show", &kid])?;
        let activate_at = text(&key, "activate_at")?
            .parse()
            .map_err(|e| anyhow!("activate_at: {e}"))?;
        Ok(Born {
            ceremony,
            kid,
            activate_at,
        })
    }

    /// A key is revoked as compromised: proposed by one, approved and accepted by two.
    pub fn revocation(
        &self,
        ring: &str,
        key: &Born,
        since: &str,
        proposer: &str,
        custodians: &[&str],
        reason: &str,
    ) -> Result<(), Failure> {
        let said = self.chancery(&[
            "ring",
            "revoke",
            ring,
            "--kid",
            &key.kid,
            "--because",
            "compromised",
            "--compromised-since",
            since,
            "--proposer",
            proposer,
            "--key",
            proposer,
            "--reason",
            reason,
            "--apply",
        ])?;
        let ceremony = text(&said, "ceremony")?;
        for custodian in custodians {
            self.chancery(&["ceremony", "approve", &ceremony, "--key", custodian])?;
        }
        self.chancery(&["ceremony", "execute", &ceremony])?;
        for custodian in custodians {
            self.chancery(&[
                "ceremony", "accept", &ceremony, "--kid", &key.kid, "--key", custodian,
            ])?;
        }
        Ok(())
    }

    /// What somebody does who has the PIN: the token signs, and the service never hears of it.
    pub fn pkcs11_sign(&self, kid: &str, digest: &str) -> Result<Vec<u8>, Failure> {
        let token = self.directory.join("token");
        let key = self.chancery(&["key", "show", kid])?;
        let pin = fs::read_to_string(token.join("pin"))?;
        let status = Command::new("pkcs11-tool")
            .env("SOFTHSM2_CONF", token.join("softhsm2.conf"))
            .env("PIN", pin.trim())
            .args(["--module", &self.module, "--token-label", "demonstration"])
            .args([
                "--login",
                "--pin",
                "env:PIN",
                "--sign",
                "--mechanism",
                "ECDSA",
            ])
            .args(["--id", &text(&key["location"]["pkcs11"], "cka_id")?])
            .args(["--input-file", digest, "--output-file", "loot.signature"])
            .current_dir(&self.directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("cannot run pkcs11-tool")?;
        if !status.success() {
            return Err(anyhow!("pkcs11-tool did not sign").into());
        }
        Ok(fs::read(self.directory.join("loot.signature"))?)
    }

    pub fn now(&self) -> Time {
        now()
    }

    pub fn write(&self, file: &str, text: &str) -> Result<(), Failure> {
        self.write_bytes(file, text.as_bytes())
    }

    pub fn write_bytes(&self, file: &str, bytes: &[u8]) -> Result<(), Failure> {
        Ok(fs::write(self.directory.join(file), bytes)?)
    }

    pub async fn serve(&mut self) -> Result<(), Failure> {
        self.output.remark("$ chancery serve &");
        let log = fs::File::create(self.directory.join("service.log"))?;
        let child = Command::new(&self.program)
            .arg("serve")
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.service = Some(child);
        let client = Client::new(&format!("http://127.0.0.1:{}", self.operations_port), None)?;
        for _ in 0..200 {
            if client.get("/health/ready").await.is_ok() {
                return Ok(());
            }
            let exited = self
                .service
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if exited.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = fs::read_to_string(self.directory.join("service.log")).unwrap_or_default();
        Err(Failure::unavailable(anyhow!(
            "the service did not become ready:\n{log}"
        )))
    }

    pub fn access_token(&self, principal: &str, ring: &str) -> Result<(), Failure> {
        let role = format!("signer:{ring}");
        let said = self.chancery(&["access", "grant", principal, "--role", &role])?;
        let access_token = text(&said, "access_token")?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.directory.join("access-token"))?;
        file.write_all(access_token.as_bytes())?;
        Ok(())
    }

    pub fn client(&self) -> Result<Client, Failure> {
        Client::with_token_file(&self.url(), &self.directory.join("access-token"))
    }

    /// Waits until the key has been published for `publish_safety`.
    pub async fn wait_for_activation(&self, key: &Born, output: &Output) -> Result<(), Failure> {
        let now = now();
        let rest = key.activate_at.since(now) + Duration::from_millis(50);
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
                fs::write(self.directory.join("lines.txt"), lines.join(&b'\n'))?;
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
        fs::write(self.directory.join("jwks.json"), jwks)?;
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
        let mut bytes = fs::read(self.directory.join(file))?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(self.directory.join("tampered.transcript"), bytes)?;
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

    /// Stops the service and removes what is not to be kept.
    pub fn end(&mut self) {
        if let Some(mut child) = self.service.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !self.keep {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

pub fn text(value: &Value, member: impl Index + Display + Copy) -> Result<String, Failure> {
    value[member]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("no {member} in {value}").into())
}

fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

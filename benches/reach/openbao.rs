//! OpenBao's transit engine on loopback, with a key in its own memory, a file audit device and a lean token.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use testkit::http::send;
use testkit::installation::free_port;
use testkit::process::{Running, done};

/// Names the binary; without it there is nothing to compare with.
pub const VARIABLE: &str = "BENCH_OPENBAO";
/// The key that signs.
pub const KEY: &str = "bench";

pub struct OpenBao {
    running: Running,
    pub address: SocketAddr,
    pub token: String,
    pub version: String,
}

pub fn program() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

impl OpenBao {
    /// Initialised, unsealed, with a P-256 key. `directory` is for its files; `audit` says whether it writes one.
    pub fn start(program: &Path, directory: &Path, audit: bool) -> Result<Self> {
        let authority = free_port()?;
        fs::create_dir_all(directory)?;
        let file = directory.join("openbao.hcl");
        fs::write(&file, configuration(directory, &authority, audit))?;
        let version = done(Command::new(program).arg("version"))?;
        let log = fs::File::create(directory.join("openbao.log"))?;
        let child = Command::new(program)
            .args(["server", "-log-level=warn"])
            .arg(format!("-config={}", file.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut running = Running::new(child);
        let end = Instant::now() + Duration::from_secs(30);
        while send(&authority, "GET", "/v1/sys/seal-status", &[], b"").is_err() {
            if !running.is_alive() || Instant::now() > end {
                let said = fs::read_to_string(directory.join("openbao.log")).unwrap_or_default();
                bail!("OpenBao does not answer: {said}");
            }
            sleep(Duration::from_millis(50));
        }
        let ask = |method: &str, path: &str, token: &str, body: Value| -> Result<Value> {
            let headers = [
                ("x-vault-token", token),
                ("content-type", "application/json"),
            ];
            let body = body.to_string();
            let answer = send(&authority, method, path, &headers, body.as_bytes())?;
            if !(200..300).contains(&answer.status) {
                let said = String::from_utf8_lossy(&answer.body);
                bail!("OpenBao, {path}: {} {said}", answer.status);
            }
            Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
        };
        let shares = json!({"secret_shares": 1, "secret_threshold": 1});
        let made = ask("POST", "/v1/sys/init", "", shares)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
        let root = text(&made["root_token"])?;
        let key = json!({"key": text(&made["keys"][0])?});
        ask("POST", "/v1/sys/unseal", "", key)?;
        while ask("GET", "/v1/sys/mounts", &root, Value::Null).is_err() {
            if Instant::now() > end {
                bail!("OpenBao does not become active");
            }
            sleep(Duration::from_millis(50));
        }
        let mount = json!({"type": "transit"});
        ask("POST", "/v1/sys/mounts/transit", &root, mount)?;
        let key = json!({"type": "ecdsa-p256"});
        ask("POST", &format!("/v1/transit/keys/{KEY}"), &root, key)?;
        let policy = json!({"policy": "path \"transit/*\" { capabilities = [\"create\", \"read\", \"update\"] }"});
        ask("POST", "/v1/sys/policies/acl/bench", &root, policy)?;
        // Its ordinary token also evaluates a default policy of many lines at each request.
        let token = json!({"policies": ["bench"], "no_default_policy": true});
        let token = ask("POST", "/v1/auth/token/create", &root, token)?;
        let token = text(&token["auth"]["client_token"])?;
        Ok(Self {
            running,
            address: authority.parse()?,
            token,
            version: version.text()?.trim().to_owned(),
        })
    }

    pub fn id(&self) -> u32 {
        self.running.id()
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        self.running.terminate();
    }
}

/// In-memory storage: there is none in a file any more, and signing does not touch it.
fn configuration(directory: &Path, authority: &str, audit: bool) -> String {
    let at = directory.display();
    let audit = match audit {
        true => format!(
            "audit \"file\" \"file\" {{\n  options {{\n    file_path = \"{at}/audit.log\"\n  }}\n}}\n"
        ),
        false => String::new(),
    };
    format!(
        "storage \"inmem\" {{}}\n\
         listener \"tcp\" {{\n  address = \"{authority}\"\n  tls_disable = true\n}}\n\
         api_addr = \"http://{authority}\"\n{audit}"
    )
}

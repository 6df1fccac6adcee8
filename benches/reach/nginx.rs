//! nginx on loopback, serving one file as fast as it can.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use testkit::http::send;
use testkit::installation::free_port;
use testkit::process::Running;

pub struct Nginx {
    running: Running,
    pub address: SocketAddr,
}

impl Nginx {
    /// Serves `body` at `/jwks.json` out of `directory`, with the headers that the service sends.
    pub fn start(directory: &Path, body: &[u8]) -> Result<Self> {
        let authority = free_port()?;
        let address = authority.parse()?;
        fs::create_dir_all(directory)?;
        fs::write(directory.join("jwks.json"), body)?;
        fs::write(
            directory.join("nginx.conf"),
            configuration(directory, address),
        )?;
        // Workers that give up root have to be able to read the file.
        open_up(directory)?;
        let child = Command::new(program())
            .arg("-p")
            .arg(directory)
            .arg("-c")
            .arg(directory.join("nginx.conf"))
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nginx (Debian: nginx)")?;
        let mut running = Running::new(child);
        let is_served = || {
            let answer = send(&authority, "GET", "/jwks.json", &[], b"");
            answer.is_ok_and(|answer| answer.status == 200 && answer.body == body)
        };
        let end = Instant::now() + Duration::from_secs(10);
        while !is_served() {
            if !running.is_alive() || Instant::now() > end {
                let said = fs::read_to_string(directory.join("error.log")).unwrap_or_default();
                bail!("nginx does not serve the file: {said}");
            }
            sleep(Duration::from_millis(20));
        }
        Ok(Self { running, address })
    }

    pub fn id(&self) -> u32 {
        self.running.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.running.terminate();
    }
}

/// The system's, or the one that setup has unpacked without installing it.
pub fn program() -> PathBuf {
    let installed = PathBuf::from("/usr/sbin/nginx");
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/nginx/usr/sbin/nginx");
    if installed.exists() {
        installed
    } else {
        unpacked
    }
}

fn configuration(directory: &Path, address: SocketAddr) -> String {
    let at = directory.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .concat();
    format!(
        "user root;\nworker_processes auto;\npid {at}/nginx.pid;\nerror_log {at}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\nsendfile on;\ntcp_nopush on;\ntcp_nodelay on;\n\
         keepalive_requests 100000000;\nopen_file_cache max=100 inactive=60s;\nopen_file_cache_valid 60s;\n{temporary}\
         default_type application/jwk-set+json;\n\
         server {{ listen {address}; root {at};\n\
         add_header Cache-Control \"public, max-age=300\";\nadd_header Access-Control-Allow-Origin \"*\"; }} }}\n"
    )
}

fn open_up(directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

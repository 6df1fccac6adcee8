//! A token across a wire that can break: `p11-kit server` in front of SoftHSM.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::installation::{Installation, TOKEN};
use testkit::process::Running;

pub struct Remote {
    module: PathBuf,
    conf: PathBuf,
    socket: PathBuf,
    server: Option<Running>,
}

impl Remote {
    pub fn new(installation: &Installation) -> Self {
        Self {
            module: installation.module().to_owned(),
            conf: installation.token_file("softhsm2.conf"),
            socket: installation.token_file("hsm.sock"),
            server: None,
        }
    }

    /// What makes the service reach the token through the server.
    pub fn environment(&self, installation: &Installation) -> Result<BTreeMap<String, String>> {
        let uri = installation.token_uri(&client_module()?);
        let address = format!(
            "{{ P11_KIT_SERVER_ADDRESS = \"unix:path={}\" }}",
            self.socket.display()
        );
        Ok(BTreeMap::from([
            ("CHANCERY_TOKEN__URI".to_owned(), format!("\"{uri}\"")),
            ("CHANCERY_TOKEN__ENVIRONMENT".to_owned(), address),
        ]))
    }

    /// Starts the server and returns the moment from which it takes connections.
    pub fn up(&mut self) -> Result<Instant> {
        // The socket of a server that was killed is still there.
        let _ = fs::remove_file(&self.socket);
        let child = Command::new("p11-kit")
            .args(["server", "-f", "--provider"])
            .arg(&self.module)
            .arg("-n")
            .arg(&self.socket)
            .arg(format!("pkcs11:token={TOKEN}"))
            .env("SOFTHSM2_CONF", &self.conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // It forks for each connection, and all of them go down together.
            .process_group(0)
            .spawn()
            .context("p11-kit server (Debian: p11-kit)")?;
        let mut server = Running::leader(child);
        let end = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(&self.socket).is_err() {
            if !server.is_alive() || Instant::now() > end {
                bail!("p11-kit server does not come up");
            }
            sleep(Duration::from_micros(500));
        }
        self.server = Some(server);
        Ok(Instant::now())
    }

    /// SIGKILL to the server and to what it forked.
    pub fn down(&mut self) {
        self.server = None;
    }
}

/// Debian keeps it under the name of the architecture.
fn client_module() -> Result<PathBuf> {
    let mut places = vec![
        PathBuf::from("/usr/lib64/pkcs11"),
        PathBuf::from("/usr/lib/pkcs11"),
    ];
    for entry in fs::read_dir("/usr/lib")? {
        places.push(entry?.path().join("pkcs11"));
    }
    places
        .into_iter()
        .map(|place| place.join("p11-kit-client.so"))
        .find(|module| module.exists())
        .context("p11-kit-client.so (Debian: p11-kit-modules)")
}

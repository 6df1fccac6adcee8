//! Witnesses as processes, and a log that a test may lie with.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::Value;
use trust::tlog::checkpoint::{Checkpoint, signature_line};
use trust::tlog::cosignature;
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::tile::{self, Builder, TileId};
use trust::tlog::witness::AddCheckpoint;
use trust::{PublicKey, Sha256Digest};

use super::http::{Answer, send};
use super::installation::{free_port, member, text};
use super::process::{Running, run};

/// A witness's key file, made by the command.
pub struct WitnessKey {
    pub file: PathBuf,
    pub key: VerifierKey,
    /// What the command says to add to a policy.
    pub policy_line: String,
}

impl WitnessKey {
    pub fn new(directory: &Path, name: &str) -> Self {
        let file = directory.join(format!("{}.key", name.replace('/', "-")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command.args(["--output", "json", "log", "witness", "new", "--name", name]);
        let said = run(command.args(["--out", text(&file)]), b"");
        assert_eq!(said.code, Some(0), "{said:?}");
        let made: Value = said.json();
        Self {
            key: member(&made, "vkey").parse().expect("a vkey"),
            policy_line: member(&made, "policy_line"),
            file,
        }
    }
}

/// `chancery log witness serve`; killed when let go of.
pub struct Witness {
    pub child: Running,
    pub address: String,
}

impl Witness {
    pub fn serve(key: &WitnessKey, state: &Path, logs: &[&VerifierKey]) -> Self {
        Self::serve_at(&free_port(), key, state, logs)
    }

    pub fn serve_at(address: &str, key: &WitnessKey, state: &Path, logs: &[&VerifierKey]) -> Self {
        let mut witness = Self {
            child: Running::new(command(address, key, state, logs).spawn().expect("starts")),
            address: address.to_owned(),
        };
        let end = Instant::now() + Duration::from_secs(30);
        while send(address, "GET", "/", &[], b"").is_err() {
            assert!(witness.child.is_alive(), "the witness ended");
            assert!(Instant::now() < end, "the witness does not answer");
            sleep(Duration::from_millis(10));
        }
        witness
    }

    pub fn add(&self, body: &str) -> Answer {
        add(&self.address, body)
    }

    pub fn checkpoint(&self, origin: &str) -> Answer {
        let hash = Sha256Digest::of(origin.as_bytes());
        let path = format!("/{hash}/checkpoint");
        send(&self.address, "GET", &path, &[], b"").expect("the witness answers")
    }
}

pub fn add(address: &str, body: &str) -> Answer {
    send(address, "POST", "/add-checkpoint", &[], body.as_bytes()).expect("the witness answers")
}

/// The command that serves, not started.
pub fn command(address: &str, key: &WitnessKey, state: &Path, logs: &[&VerifierKey]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    command.args(["log", "witness", "serve", "--listen", address]);
    command.args(["--key", text(&key.file), "--state", text(state)]);
    for log in logs {
        command.args(["--log", &log.to_string()]);
    }
    fs::create_dir_all(state).expect("a directory");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let said = fs::File::options()
        .append(true)
        .create(true)
        .open(state.with_extension("log"));
    command.stderr(said.expect("a log file"));
    command
}

/// A log of leaves `<content> <number>`, which signs whatever it is told to.
pub struct FakeLog {
    pub key: VerifierKey,
    pair: Ed25519KeyPair,
    content: String,
    builder: Builder,
    roots: Vec<Sha256Digest>,
    tiles: HashMap<TileId, Vec<u8>>,
}

impl FakeLog {
    /// Logs with the same seed have the same key; with another content, another history.
    pub fn new(origin: &str, seed: u8, content: &str) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
        let public = pair.public_key().as_ref();
        let public = PublicKey::ed25519(public).expect("a key");
        let builder = Builder::new();
        Self {
            key: VerifierKey::for_log(origin, &public).expect("a log's key"),
            pair,
            content: content.to_owned(),
            roots: vec![builder.root()],
            builder,
            tiles: HashMap::new(),
        }
    }

    pub fn grow_to(&mut self, size: u64) {
        while self.builder.size() < size {
            let leaf = format!("{} {}", self.content, self.builder.size());
            self.builder.push(leaf_hash(leaf.as_bytes()));
            self.roots.push(self.builder.root());
            self.tiles.extend(self.builder.take_tiles());
        }
    }

    pub fn root(&self, size: u64) -> Sha256Digest {
        self.roots[usize::try_from(size).expect("small")]
    }

    pub fn proof(&self, old: u64, new: u64) -> Vec<Sha256Digest> {
        let mut get = |tile: TileId| self.tiles.get(&tile).cloned().ok_or("a tile is missing");
        tile::consistency_proof(old, new, &mut get).expect("a proof")
    }

    /// Any root at any size, signed.
    pub fn claim(&self, size: u64, root: Sha256Digest) -> Note {
        let origin = self.key.name().to_owned();
        let text = Checkpoint { origin, size, root }.body();
        let signature = self.pair.sign(text.as_bytes());
        let line = signature_line(&self.key, signature.as_ref()).expect("a line");
        Note {
            text,
            signatures: vec![line],
        }
    }

    pub fn checkpoint(&self, size: u64) -> Note {
        self.claim(size, self.root(size))
    }

    /// The body of a request that a good witness at `old` grants.
    pub fn request(&mut self, old: u64, size: u64) -> String {
        self.grow_to(size);
        let proof = if old == 0 {
            Vec::new()
        } else {
            self.proof(old, size)
        };
        let note = self.checkpoint(size);
        AddCheckpoint { old, proof, note }.to_string()
    }
}

/// A witness's key in the hands of a test.
pub struct Cosigner {
    pub key: VerifierKey,
    pair: Ed25519KeyPair,
}

impl Cosigner {
    pub fn new(name: &str, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
        let public = pair.public_key().as_ref().try_into().expect("32 bytes");
        Self {
            key: VerifierKey::cosigner(name, public).expect("a witness's key"),
            pair,
        }
    }

    pub fn line(&self, text: &str, seconds: u64) -> String {
        let signature = self.pair.sign(&cosignature::message(text, seconds));
        let line = cosignature::build(&self.key, seconds, signature.as_ref());
        line.expect("a line").to_string()
    }
}

/// Answers `add-checkpoint` as it likes, and 404 to everything else. Ends with its test's process.
pub fn liar(answer: impl Fn(AddCheckpoint) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that went away is not waited for.
            let _ = lie(stream, &answer);
        }
    });
    address
}

fn lie(
    mut stream: TcpStream,
    answer: &impl Fn(AddCheckpoint) -> (u16, String),
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap_or(0);
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request = AddCheckpoint::parse(&body).ok();
    let (status, body) = match request.filter(|_| first.starts_with("POST /add-checkpoint ")) {
        Some(request) => answer(request),
        None => (404, String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

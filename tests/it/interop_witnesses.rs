//! Witnesses of others, litewitness and omniwitness, beside a service that is restored from a
//! snapshot of its machine: database and tiles, taken while it runs.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64ct::{Base64, Encoding as _};
use trust::PublicKey;
use trust::tlog::note::VerifierKey;
use trust::tlog::policy::WitnessPolicy;

use crate::support::database::Database;
use crate::support::installation::{Service, free_port, member, text};
use crate::support::process::{Running, done, repository, run, signal, until};
use crate::support::witnessed_log::{House, lines, readiness, stands_still};

const ROUNDS: usize = 5;

/// One of `tests/interop/witnesses`, as `.ci/setup test` built it.
fn built(name: &str) -> PathBuf {
    let program = repository("target/interop/witnesses").join(name);
    assert!(
        program.exists(),
        "{} is missing: run .ci/setup test",
        program.display()
    );
    program
}

/// A witness of others, and what it needs to run.
struct Other {
    key: VerifierKey,
    address: String,
    _running: Vec<Running>,
}

fn begin(command: &mut Command, log: &Path) -> Running {
    let said = || fs::File::options().append(true).create(true).open(log);
    command.stdin(Stdio::null());
    command.stdout(said().expect("a file"));
    command.stderr(said().expect("a file"));
    Running::new(command.spawn().expect("starts"))
}

fn answers(address: &str, log: &Path) {
    until("the witness answers", || {
        TcpStream::connect(address).is_ok()
    });
    assert!(log.exists());
}

/// Registers a log with litewitness, as its `witnessctl` does. That program is not built: it needs
/// a module that not every module proxy serves.
fn register(log: &VerifierKey, database: &Path) {
    let mut database = Database::open(&format!("sqlite://{}", text(database)));
    let (origin, empty) = (
        log.name(),
        Base64::encode_string(digest::digest(&digest::SHA256, b"").as_ref()),
    );
    database.run(&format!(
        "INSERT INTO log (origin, tree_size, tree_hash) VALUES ('{origin}', 0, '{empty}');
         INSERT INTO key (origin, key) VALUES ('{origin}', '{log}')"
    ));
}

/// Its key stands in an SSH agent.
fn litewitness(at: &Path, log: &VerifierKey) -> Other {
    let name = "litewitness.example/w";
    let file = |name: &str| at.join(format!("litewitness.{name}"));
    let (key, socket, database) = (file("key"), file("sock"), file("db"));
    done(
        "ssh-keygen",
        ["-q", "-t", "ed25519", "-N", "", "-f", text(&key)],
    );
    let public = fs::read_to_string(file("key.pub")).expect("a public key");
    let blob = public.split(' ').nth(1).expect("its second word");
    let blob = Base64::decode_vec(blob).expect("base64");
    let raw = blob.last_chunk::<32>().expect("an Ed25519 key");
    let mut agent = Command::new("ssh-agent");
    let agent = begin(agent.args(["-D", "-a", text(&socket)]), &file("agent.log"));
    until("the agent holds the key", || {
        let mut add = Command::new("ssh-add");
        let said = run(add.arg(&key).env("SSH_AUTH_SOCK", &socket), b"");
        said.code == Some(0)
    });
    let mut fingerprint = Command::new("ssh-keygen");
    let said = run(fingerprint.args(["-l", "-f", text(&key)]), b"");
    let fingerprint = said
        .text()
        .split(' ')
        .nth(1)
        .expect("its second word")
        .to_owned();
    let address = free_port();
    let mut serve = Command::new(built("litewitness"));
    serve.args(["-listen", &address, "-name", name, "-key", &fingerprint]);
    serve.args(["-db", text(&database), "-ssh-agent", text(&socket)]);
    let running = begin(&mut serve, &file("log"));
    answers(&address, &file("log"));
    register(log, &database);
    Other {
        key: VerifierKey::cosigner(name, raw).expect("a witness's key"),
        address,
        _running: vec![running, agent],
    }
}

fn omniwitness(at: &Path, log: &VerifierKey) -> Other {
    let name = "omniwitness.example/w";
    let file = |name: &str| at.join(format!("omniwitness.{name}"));
    let seed = [42; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
    let public = pair.public_key().as_ref();
    let signs = VerifierKey::for_log(name, &PublicKey::ed25519(public).expect("a key"));
    let signs = signs.expect("a key").to_string();
    let hash = signs.split('+').nth(1).expect("its hash");
    let secret = Base64::encode_string(&[&[1][..], &seed].concat());
    fs::write(file("key"), format!("PRIVATE+KEY+{name}+{hash}+{secret}")).expect("a file");
    let origin = log.name();
    let logs = format!(
        "Logs:\n  - Origin: {origin}\n    PublicKey: {log}\n    URL: http://127.0.0.1:1/\n"
    );
    fs::write(file("yaml"), logs).expect("a file");
    let address = free_port();
    let mut serve = Command::new(built("omniwitness"));
    serve.args(["--listen", &address, "--metrics_listen", ""]);
    serve.args(["--private_key_path", text(&file("key"))]);
    serve.args(["--additional_logs", text(&file("yaml"))]);
    serve.args(["--db_file", text(&file("db"))]);
    // It is to reach nobody.
    serve
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("HTTPS_PROXY", "http://127.0.0.1:1");
    let running = begin(&mut serve, &file("log"));
    answers(&address, &file("log"));
    Other {
        key: VerifierKey::cosigner(name, public.try_into().expect("32 bytes")).expect("a key"),
        address,
        _running: vec![running],
    }
}

/// Signs, and waits until the checkpoint over it is cosigned by both.
fn cosigned(house: &House, service: &Service, policy: &WitnessPolicy) {
    let index = house.sign(service);
    until("both have cosigned", || {
        house.witnessed(service, index, policy).complete
    });
}

#[test]
fn case_g1_witnesses_of_others_stop_a_restored_snapshot() {
    let house = House::new();
    let others = house.at().join("others");
    fs::create_dir(&others).expect("a directory");
    let one = litewitness(&others, &house.log);
    let two = omniwitness(&others, &house.log);
    let witnesses = [
        ("one", &one.key, one.address.as_str()),
        ("two", &two.key, two.address.as_str()),
    ];
    let policy = WitnessPolicy::parse(&lines(&witnesses, "all")).expect("a policy");
    let mut service = house.serve(&witnesses, "all");
    for round in 0..ROUNDS {
        cosigned(&house, &service, &policy);
        // As the machine below takes one: nothing runs meanwhile.
        signal("STOP", service.child.id());
        house.save(&format!("snapshot {round}"));
        signal("CONT", service.child.id());
        for _ in 0..round {
            house.sign(&service);
        }
        cosigned(&house, &service, &policy);
        house.end(service);
        let now = format!("now {round}");
        house.save(&now);

        house.restore(&format!("snapshot {round}"));
        let url = format!(
            "sqlite:{}",
            house.installation.file("chancery.db").display()
        );
        let signed = || Database::open(&url).one("SELECT CAST(size AS TEXT) FROM log_head");
        let before = signed();
        service = house.serve(&witnesses, "all");
        stands_still(&house, &service, "witnesses");
        until("both contradict", || {
            let said = member(&readiness(&service)["parts"]["log"], "refused");
            said.contains("2 witnesses report a tree of")
        });
        let (_, published) = house.published(&service);
        house.try_sign(&service).problem(503, "log_unavailable");
        assert_eq!(house.published(&service).1, published);
        assert_eq!(signed(), before, "round {round}: nothing was signed");
        house.end(service);

        house.restore(&now);
        service = house.serve(&witnesses, "all");
    }
    cosigned(&house, &service, &policy);
}

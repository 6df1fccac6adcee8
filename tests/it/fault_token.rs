//! The token is absent, gone, back, locked by a wrong PIN, or its processes die: no wrong signature ever leaves, keys and
//! verification stay up, and the service recovers by itself.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Answer, send};
use crate::support::installation::{Installation, Service, member};
use crate::support::load::{Asked, Load, all_in_trail, signed, tally, unexpected};
use crate::support::process::{Running, signal, until};

const RING: &str = "integrity";

struct Case {
    kid: String,
    signer: String,
    auditor: String,
    installation: Installation,
}

impl Case {
    fn new() -> Self {
        let installation = Installation::new();
        Self {
            kid: installation.open_ring(RING),
            signer: installation.grant("integrity-service", &format!("signer:{RING}")),
            auditor: installation.grant("auditor", "auditor"),
            installation,
        }
    }

    fn try_sign(&self, service: &Service) -> Answer {
        let body = json!({"format": "jws", "payload": "AQID"});
        service.post(&format!("/v1/rings/{RING}/sign"), Some(&self.signer), &body)
    }

    fn load(&self, service: &Service) -> Load {
        Load::start(service, RING, &self.signer, 4)
    }

    /// Keys and verdicts need no token.
    fn strangers_are_served(&self, service: &Service, known: Option<&str>) {
        assert_eq!(service.get("/.well-known/jwks.json").status, 200);
        assert_eq!(service.get(&format!("/v1/keys/{}", self.kid)).status, 200);
        assert_eq!(
            service
                .get(&format!("/v1/keys/{}/transcript", self.kid))
                .status,
            200
        );
        if let Some(jws) = known {
            assert_eq!(service.verdict(jws), "VALID");
        }
        let ready = readiness(service);
        assert_eq!(ready["serves"]["publication"], true, "{ready}");
        assert_eq!(ready["serves"]["verification"], true, "{ready}");
    }

    /// Whatever happened: every signature that left is good and has its row, every refusal says when to come back, and
    /// nobody was left without an answer.
    fn nothing_wrong_left(&self, service: &Service, told: &[Asked]) {
        let codes = ["token_unavailable", "deadline_exceeded", "overloaded"];
        assert!(
            unexpected(told, &codes).is_empty(),
            "{:?}",
            unexpected(told, &codes)
        );
        assert!(!tally(told).contains_key("nothing"), "{:?}", tally(told));
        let answers = signed(told);
        assert!(!answers.is_empty(), "{:?}", tally(told));
        all_in_trail(&answers, &service.leaves(&self.auditor, 0));
        for some in answers.chunks(200) {
            let items: Vec<Value> = some
                .iter()
                .map(|answer| json!({"jws": answer["jws"]}))
                .collect();
            let verdicts = service
                .post("/v1/verify-batch", None, &json!({ "items": items }))
                .ok();
            let verdicts = verdicts["items"].as_array().cloned().expect("items");
            assert_eq!(verdicts.len(), some.len());
            assert!(
                verdicts.iter().all(|verdict| verdict["verdict"] == "VALID"),
                "{verdicts:?}"
            );
        }
        assert_eq!(service.metric("chancery_hsm_queue_length"), Some(0.0));
    }
}

fn readiness(service: &Service) -> Value {
    send(&service.operations, "GET", "/health/ready", &[], b"")
        .expect("an answer")
        .json()
}

fn signing_is_ready(service: &Service) -> bool {
    let answer = send(
        &service.operations,
        "GET",
        "/health/ready/signing",
        &[],
        b"",
    );
    answer.is_ok_and(|answer| answer.status == 200)
}

#[test]
fn a_token_absent_at_start_that_appears_is_taken_into_use() {
    let case = Case::new();
    let (tokens, away) = (
        case.installation.file("token/tokens"),
        case.installation.file("away"),
    );
    fs::rename(&tokens, &away).expect("taken away");
    fs::create_dir(&tokens).expect("an empty slot");
    let service = case.installation.serve();
    case.strangers_are_served(&service, None);
    assert!(!signing_is_ready(&service));
    let answer = case.try_sign(&service);
    assert!(
        answer.status == 503 && answer.header("retry-after").is_some(),
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    let code = answer.json()["code"].clone();
    assert!(
        code == "token_unavailable" || code == "deadline_exceeded",
        "{code}"
    );
    fs::remove_dir(&tokens).expect("empty");
    fs::rename(&away, &tokens).expect("brought back");
    until("the token is found", || signing_is_ready(&service));
    let signed = case.try_sign(&service).ok();
    assert_eq!(signed["kid"], case.kid);
    case.strangers_are_served(&service, Some(&member(&signed, "jws")));
}

#[test]
fn token_storage_gone_while_running_and_back() {
    let case = Case::new();
    let service = case.installation.serve();
    let known = service.jws(RING, &case.signer, b"before");
    let (tokens, away) = (
        case.installation.file("token/tokens"),
        case.installation.file("away"),
    );
    let load = case.load(&service);
    load.goes_on(20);
    fs::rename(&tokens, &away).expect("taken away");
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        case.strangers_are_served(&service, Some(&known));
        sleep(Duration::from_millis(200));
    }
    fs::rename(&away, &tokens).expect("brought back");
    until("it signs again by itself", || {
        signing_is_ready(&service) && case.try_sign(&service).status == 200
    });
    load.goes_on(20);
    let told = load.stop();
    case.nothing_wrong_left(&service, &told);
    println!("storage gone for 3 s: {:?}", tally(&told));
}

#[test]
fn case_a1_a_token_without_its_keys_is_not_ready_and_doctor_names_the_ring() {
    let case = Case::new();
    let service = case.installation.serve();
    case.try_sign(&service).ok();
    assert!(signing_is_ready(&service));
    let signing_is_good = || {
        let doctor = case.installation.try_chancery(["doctor"]).json();
        let checks = doctor["checks"].as_array().cloned().unwrap_or_default();
        checks
            .iter()
            .any(|check| check["what"] == "signing" && check["good"] == true)
    };
    assert!(signing_is_good());
    let (tokens, away) = (
        case.installation.file("token/tokens"),
        case.installation.file("away"),
    );
    fs::rename(&tokens, &away).expect("taken away");
    until("it says that it cannot sign", || {
        !signing_is_ready(&service)
    });
    until("it names the ring", || {
        let parts = &readiness(&service)["parts"];
        parts["rings"].as_array().is_some_and(|rings| {
            rings
                .iter()
                .any(|ring| ring["ring"] == RING && ring["ok"] == false && ring["why"].is_string())
        })
    });
    assert!(!signing_is_good());
    fs::rename(&away, &tokens).expect("brought back");
    until("it signs again", || signing_is_ready(&service));
    case.try_sign(&service).ok();
}

#[test]
fn a_wrong_pin_is_tried_once_and_readiness_says_so() {
    let case = Case::new();
    let pin = case.installation.file("token/pin");
    let right = fs::read(&pin).expect("the PIN");
    fs::write(&pin, "77777777").expect("written");
    let service = case.installation.serve();
    until("it has been tried", || {
        readiness(&service)["parts"]["token"]["state"] == "stopped"
    });
    assert!(!signing_is_ready(&service));
    case.try_sign(&service).problem(503, "token_unavailable");
    case.strangers_are_served(&service, None);
    // A real HSM locks after a few: it is not tried again for any number of requests, nor as time passes.
    let tried = service.metric("chancery_hsm_events_total{what=\"logins\"}");
    let started = service.metric("chancery_hsm_events_total{what=\"processes_started\"}");
    for _ in 0..20 {
        assert_eq!(case.try_sign(&service).status, 503);
        sleep(Duration::from_millis(100));
    }
    assert_eq!(
        service.metric("chancery_hsm_events_total{what=\"logins\"}"),
        tried
    );
    assert_eq!(
        service.metric("chancery_hsm_events_total{what=\"processes_started\"}"),
        started
    );
    assert!(!service.log().contains("77777777"), "a PIN is in the log");
    let doctor = case.installation.try_chancery(["doctor"]);
    assert_ne!(doctor.code, Some(0));
    assert!(!String::from_utf8_lossy(&doctor.stdout).contains("77777777"));
    // The right one, and a restart by a person.
    fs::write(&pin, right).expect("written");
    drop(service);
    let service = case.installation.serve();
    until("it signs", || case.try_sign(&service).status == 200);
}

#[test]
fn workers_killed_under_load_cost_no_wrong_answer() {
    let case = Case::new();
    let service = case.installation.serve();
    let known = service.jws(RING, &case.signer, b"before");
    let first = service.workers();
    let load = case.load(&service);
    for _ in 0..4 {
        load.goes_on(40);
        for id in service.workers() {
            signal("KILL", id);
        }
        case.strangers_are_served(&service, Some(&known));
        until("there are others", || signing_is_ready(&service));
    }
    load.goes_on(40);
    let told = load.stop();
    case.nothing_wrong_left(&service, &told);
    println!("all workers killed 4 times: {:?}", tally(&told));
    let now = service.workers();
    assert!(
        !now.is_empty() && now.iter().all(|id| !first.contains(id)),
        "{first:?} {now:?}"
    );
    // Stopped rather than dead: one that hangs is replaced.
    let load = case.load(&service);
    for id in service.workers() {
        signal("STOP", id);
    }
    until("somebody else signs", || {
        case.try_sign(&service).status == 200
    });
    let told = load.stop();
    case.nothing_wrong_left(&service, &told);
    println!("all workers stopped: {:?}", tally(&told));
}

/// `p11-kit server` in front of the token: a listener, and a process for each connection.
struct Network {
    listener: Running,
    socket: PathBuf,
    configuration: PathBuf,
    module: String,
}

impl Network {
    fn start(installation: &Installation) -> Self {
        let mut network = Self {
            listener: Running::new(Command::new("true").spawn().expect("it runs")),
            socket: installation.file("p11.sock"),
            configuration: installation.file("token/softhsm2.conf"),
            module: installation.module.clone(),
        };
        network.resume();
        network
    }

    fn resume(&mut self) {
        let _ = fs::remove_file(&self.socket);
        let mut server = Command::new("p11-kit");
        server
            .args(["server", "-f", "--provider", &self.module, "-n"])
            .arg(&self.socket);
        server
            .arg("pkcs11:token=chancery-test")
            .env("SOFTHSM2_CONF", &self.configuration);
        server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.listener = Running::new(server.spawn().expect("p11-kit server starts"));
        until("p11-kit server listens", || self.socket.exists());
    }

    /// Handlers first: without their listener they could not be found.
    fn signal(&self, name: &str) {
        let id = self.listener.id();
        let children =
            fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            // One that has ended meanwhile needs no signal.
            let mut kill = Command::new("kill");
            let _ = kill
                .args(["-s", name, child])
                .stderr(Stdio::null())
                .status();
        }
    }

    fn kill(&mut self) {
        self.signal("KILL");
        self.listener.kill();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

#[test]
fn p11_kit_server_killed_stopped_and_restarted_under_load() {
    let case = Case::new();
    let mut network = Network::start(&case.installation);
    let client = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib",
        "/usr/lib64",
    ]
    .map(|at| format!("{at}/pkcs11/p11-kit-client.so"));
    let client = client
        .iter()
        .find(|path| fs::exists(path).unwrap_or(false))
        .expect("p11-kit-client.so");
    // The replica reaches the token over the network; the executor stays beside it.
    let file = case.installation.file("chancery.toml");
    let config = fs::read_to_string(&file).expect("the configuration");
    let (head, executor) = config.split_once("[executor]").expect("an executor");
    let address = format!(
        "environment = {{ P11_KIT_SERVER_ADDRESS = \"unix:path={}\" }}",
        network.socket.display()
    );
    let direct = head
        .lines()
        .find(|line| line.starts_with("environment = {"))
        .expect("an environment");
    let head = head
        .replace(&case.installation.module.clone(), client)
        .replace(direct, &address);
    fs::write(&file, format!("{head}[executor]{executor}")).expect("written");

    let service = case.installation.serve();
    until("the token is reached", || signing_is_ready(&service));
    let known = service.jws(RING, &case.signer, b"before");
    let hurried = [("CHANCERY_HTTP__REQUEST_TIMEOUT_MS", "700")];
    let hurried = case.installation.replica(&hurried);
    until("the token is reached", || signing_is_ready(&hurried));
    let load = case.load(&service);
    // Killed, away for a while, and back.
    for _ in 0..2 {
        load.goes_on(20);
        network.kill();
        let end = Instant::now() + Duration::from_millis(1_500);
        while Instant::now() < end {
            case.strangers_are_served(&service, Some(&known));
            sleep(Duration::from_millis(200));
        }
        network.resume();
        until("it signs again", || case.try_sign(&service).status == 200);
    }
    // The processes that serve die under it, the listener stays.
    network.signal("KILL");
    until("it signs again", || case.try_sign(&service).status == 200);
    // It hangs: nothing is refused, nothing answers. Who waits is told when its time is over.
    until("both sign again", || {
        signing_is_ready(&hurried) && signing_is_ready(&service)
    });
    network.signal("STOP");
    signal("STOP", network.listener.id());
    let answer = case.try_sign(&hurried);
    let code = answer.json()["code"].clone();
    assert!(
        answer.status == 503 && answer.header("retry-after").is_some(),
        "{code}"
    );
    assert!(
        code == "deadline_exceeded" || code == "token_unavailable",
        "{code}"
    );
    sleep(Duration::from_millis(1_500));
    case.strangers_are_served(&service, Some(&known));
    signal("CONT", network.listener.id());
    network.signal("CONT");
    until("it signs again", || {
        signing_is_ready(&service) && case.try_sign(&service).status == 200
    });
    load.goes_on(20);
    let told = load.stop();
    case.nothing_wrong_left(&service, &told);
    println!(
        "p11-kit server killed, restarted, stopped: {:?}",
        tally(&told)
    );
}

#[test]
fn several_replicas_start_at_once_on_one_token() {
    let case = Case::new();
    let began = Instant::now();
    let replicas: Vec<Service> = std::thread::scope(|scope| {
        let start = || case.installation.replica(&[]);
        let started: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        started
            .into_iter()
            .map(|one| one.join().expect("a replica"))
            .collect()
    });
    for replica in &replicas {
        until("every replica signs", || {
            case.try_sign(replica).status == 200
        });
    }
    println!("4 replicas started at once in {:?}", began.elapsed());
    drop(replicas);
    // For the report; nothing is asserted about time.
    let began = Instant::now();
    let service = case.installation.serve();
    let published = began.elapsed();
    until("it signs", || case.try_sign(&service).status == 200);
    println!(
        "one replica: publishes after {published:?}, signs after {:?}",
        began.elapsed()
    );
}

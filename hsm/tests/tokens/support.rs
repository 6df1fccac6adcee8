//! Tokens for tests: fresh ones on tmpfs (a key pair takes 1.3 ms there, 188 on disk), and what every test does with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hsm::{
    Administer, CkaId, DestroyOrder, GenerateOrder, Generated, KeyRef, KeySpec, Power,
    PrivateTemplate, Scheme, Sign, Supervisor, TokenConfig, Warrant,
};

pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub const PIN: &str = "12341234";
const SO_PIN: &str = "12345678";

/// A token of a test's own.
pub struct Token {
    pub dir: tempfile::TempDir,
    pub module: PathBuf,
    pub label: String,
    pub env: Vec<(String, String)>,
    pub pin_file: PathBuf,
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn directory() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let base = if shm.is_dir() {
        shm.to_path_buf()
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix("chancery-hsm-")
        .tempdir_in(base)
        .unwrap()
}

impl Token {
    /// The module under test: `CHANCERY_TEST_MODULE`, or SoftHSM.
    pub fn fresh() -> Token {
        match std::env::var_os("CHANCERY_TEST_MODULE") {
            None => Token::softhsm(),
            Some(module) => {
                let module = PathBuf::from(module);
                let name = module.file_name().unwrap().to_string_lossy().into_owned();
                if name.contains("softhsm") {
                    Token::softhsm_with(module)
                } else if name.contains("kryoptic") {
                    Token::kryoptic(module)
                } else {
                    Token::given(module)
                }
            }
        }
    }

    pub fn softhsm() -> Token {
        Token::softhsm_with(PathBuf::from(SOFTHSM))
    }

    fn softhsm_with(module: PathBuf) -> Token {
        let dir = directory();
        let conf = dir.path().join("softhsm2.conf");
        fs::create_dir(dir.path().join("tokens")).unwrap();
        let text = format!(
            "directories.tokendir = {}/tokens\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            dir.path().display()
        );
        fs::write(&conf, text).unwrap();
        let label = "seal".to_owned();
        run(Command::new("softhsm2-util")
            .args([
                "--init-token",
                "--free",
                "--label",
                &label,
                "--so-pin",
                SO_PIN,
                "--pin",
                PIN,
            ])
            .env("SOFTHSM2_CONF", &conf));
        let env = vec![("SOFTHSM2_CONF".to_owned(), conf.display().to_string())];
        Token::with_pin(dir, module, label, env)
    }

    fn kryoptic(module: PathBuf) -> Token {
        let dir = directory();
        let conf = dir.path().join("kryoptic.conf");
        let text = format!(
            "[[slots]]\nslot = 42\ndbtype = \"sqlite\"\ndbargs = \"{}/token.sql\"\n",
            dir.path().display()
        );
        fs::write(&conf, text).unwrap();
        let label = "seal".to_owned();
        let tool = |args: &[&str]| {
            run(Command::new("pkcs11-tool")
                .arg("--module")
                .arg(&module)
                .args(args)
                .env("KRYOPTIC_CONF", &conf));
        };
        tool(&[
            "--init-token",
            "--slot",
            "42",
            "--label",
            &label,
            "--so-pin",
            SO_PIN,
        ]);
        tool(&[
            "--init-pin",
            "--token-label",
            &label,
            "--login",
            "--login-type",
            "so",
            "--so-pin",
            SO_PIN,
            "--new-pin",
            PIN,
        ]);
        let env = vec![("KRYOPTIC_CONF".to_owned(), conf.display().to_string())];
        Token::with_pin(dir, module, label, env)
    }

    /// A token that somebody prepared, e.g. a real HSM's test partition: `CHANCERY_TEST_TOKEN` is its label and
    /// `CHANCERY_TEST_PIN_FILE` holds its PIN.
    fn given(module: PathBuf) -> Token {
        let label = std::env::var("CHANCERY_TEST_TOKEN")
            .expect("CHANCERY_TEST_TOKEN names the prepared token");
        let pin_file = std::env::var_os("CHANCERY_TEST_PIN_FILE")
            .expect("CHANCERY_TEST_PIN_FILE holds its PIN");
        Token {
            dir: directory(),
            module,
            label,
            env: Vec::new(),
            pin_file: pin_file.into(),
        }
    }

    fn with_pin(
        dir: tempfile::TempDir,
        module: PathBuf,
        label: String,
        env: Vec<(String, String)>,
    ) -> Token {
        let pin_file = dir.path().join("pin");
        fs::write(&pin_file, format!("{PIN}\n")).unwrap();
        Token {
            dir,
            module,
            label,
            env,
            pin_file,
        }
    }

    pub fn config(&self) -> TokenConfig {
        let uri = format!(
            "pkcs11:token={}?module-path={}&pin-source=file:{}",
            self.label,
            self.module.display(),
            self.pin_file.display()
        );
        let mut config = TokenConfig::new(
            uri.parse().unwrap(),
            PathBuf::from(env!("CARGO_BIN_EXE_hsm-worker")),
        );
        config.env = self.env.clone();
        config.lock_dir = Some(self.dir.path().join("lock"));
        config
    }

    pub fn signer(&self) -> Supervisor {
        started(self.config(), Power::Use)
    }

    pub fn executor(&self) -> Supervisor {
        started(self.config(), Power::Administer)
    }

    /// Runs `pkcs11-tool` on the token as a stranger.
    pub fn tool(&self, args: &[&str]) -> Output {
        let mut command = Command::new("pkcs11-tool");
        command
            .arg("--module")
            .arg(&self.module)
            .args(["--token-label", &self.label])
            .args(args);
        run(command.envs(self.env.iter().cloned()))
    }
}

pub fn started(config: TokenConfig, power: Power) -> Supervisor {
    let supervisor = Supervisor::start(config, power).unwrap();
    supervisor.wait_ready(soon()).unwrap();
    supervisor
}

/// Waits until so many processes are past their start.
pub fn all_ready(supervisor: &Supervisor, processes: usize) {
    let until = soon();
    loop {
        let health = supervisor.health();
        if health
            .processes
            .iter()
            .filter(|process| process.ready)
            .count()
            >= processes
        {
            return;
        }
        assert!(Instant::now() < until, "{health:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Far enough for a busy machine; nothing here asserts a time.
pub fn soon() -> Instant {
    within(30_000)
}

pub fn within(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

/// Permission without a quorum: tests only.
pub struct Permitted<T>(pub T);

impl<T> Warrant<T> for Permitted<T> {
    fn order(&self) -> &T {
        &self.0
    }
}

pub fn new_id() -> CkaId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id[8..12].copy_from_slice(&std::process::id().to_be_bytes());
    CkaId(id)
}

pub fn scheme_of(spec: KeySpec) -> Scheme {
    match spec {
        KeySpec::P256 => Scheme::EcdsaP256Sha256,
        KeySpec::P384 => Scheme::EcdsaP384Sha384,
        KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096 => Scheme::RsaPssSha256,
        KeySpec::Ed25519 => Scheme::Ed25519,
    }
}

pub fn order_for(executor: &Supervisor, spec: KeySpec) -> GenerateOrder {
    let token = executor.token().unwrap();
    GenerateOrder {
        token_serial: token.serial,
        token_label: token.label,
        cka_id: new_id(),
        label: format!("chancery/test/{spec:?}/1"),
        spec,
        scheme: scheme_of(spec),
        template: PrivateTemplate::SIGNING,
    }
}

pub fn born(executor: &Supervisor, spec: KeySpec) -> Generated {
    let order = order_for(executor, spec);
    executor.generate(Permitted(order)).unwrap()
}

pub fn key_of(born: &Generated, scheme: Scheme) -> Arc<KeyRef> {
    Arc::new(KeyRef {
        cka_id: born.cka_id,
        spki: born.spki.clone(),
        scheme,
    })
}

pub fn new_key(executor: &Supervisor, spec: KeySpec) -> Arc<KeyRef> {
    key_of(&born(executor, spec), scheme_of(spec))
}

pub fn destroy_order(executor: &Supervisor, key: &KeyRef) -> DestroyOrder {
    let token = executor.token().unwrap();
    DestroyOrder {
        token_serial: token.serial,
        token_label: token.label,
        cka_id: key.cka_id,
        spki: key.spki.clone(),
    }
}

/// Something to sign, of the length that the scheme takes.
pub fn input_for(scheme: Scheme, seed: u64) -> Vec<u8> {
    let length = scheme.digest_len().unwrap_or(100);
    (0..length as u64)
        .map(|index| (seed.wrapping_mul(31) + index * 7) as u8)
        .collect()
}

/// Verified once more, here, by code the worker does not share.
pub fn assert_signs(signer: &Supervisor, key: &Arc<KeyRef>, seed: u64) {
    signs(signer, key, seed).unwrap();
}

/// Whether the request was served; panics at a signature that does not verify.
pub fn signs(signer: &Supervisor, key: &Arc<KeyRef>, seed: u64) -> Result<(), hsm::Error> {
    let input = input_for(key.scheme, seed);
    let signature = signer.sign(key, &input, soon())?;
    assert!(verifies(key, &input, signature.as_ref()), "{key:?}");
    Ok(())
}

pub fn verifies(key: &KeyRef, input: &[u8], signature: &[u8]) -> bool {
    use aws_lc_rs::digest::{Digest, SHA256, SHA384};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    };
    let algorithm: &'static dyn VerificationAlgorithm = match key.scheme {
        Scheme::EcdsaP256Sha256 => &ECDSA_P256_SHA256_FIXED,
        Scheme::EcdsaP384Sha384 => &ECDSA_P384_SHA384_FIXED,
        Scheme::RsaPssSha256 => &RSA_PSS_2048_8192_SHA256,
        Scheme::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        Scheme::Ed25519 => {
            return UnparsedPublicKey::new(&ED25519, &key.spki)
                .verify(input, signature)
                .is_ok();
        }
    };
    let hash = if key.scheme == Scheme::EcdsaP384Sha384 {
        &SHA384
    } else {
        &SHA256
    };
    let digest = Digest::import_less_safe(input, hash).unwrap();
    UnparsedPublicKey::new(algorithm, &key.spki)
        .verify_digest(&digest, signature)
        .is_ok()
}

//! An OIDC issuer for tests: keys made on the spot, tokens of any form, and a server of its documents that counts how
//! often it is asked.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};
use trust::{Algorithm, PublicKey, Usage, base64url};

enum Pair {
    Ecdsa(EcdsaKeyPair, &'static digest::Algorithm),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// A key of an issuer.
pub struct IssuerKey {
    pub kid: String,
    pub algorithm: Algorithm,
    pair: Pair,
    public: PublicKey,
}

impl IssuerKey {
    /// A new one; for PS256 and RS256 of 2048 bits.
    pub fn new(kid: &str, algorithm: Algorithm) -> Self {
        let ecdsa = |scheme, hash| Pair::Ecdsa(EcdsaKeyPair::generate(scheme).unwrap(), hash);
        let pair = match algorithm {
            Algorithm::Es256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &digest::SHA256),
            Algorithm::Es384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &digest::SHA384),
            Algorithm::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().unwrap()),
            Algorithm::Ps256 | Algorithm::Rs256 => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
            }
        };
        let spki: PublicKeyX509Der<'_> = match &pair {
            Pair::Ecdsa(pair, _) => pair.public_key().as_der().unwrap(),
            Pair::Ed25519(pair) => pair.public_key().as_der().unwrap(),
            Pair::Rsa(pair) => pair.public_key().as_der().unwrap(),
        };
        let public = PublicKey::from_spki_der(spki.as_ref()).unwrap();
        Self {
            kid: kid.to_owned(),
            algorithm,
            pair,
            public,
        }
    }

    /// As its set has it.
    pub fn jwk(&self) -> Value {
        let kid = self.public.kid();
        let jwk = self.public.to_jwk(self.algorithm, Usage::Structured, &kid);
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk.as_object_mut().unwrap().remove("usage");
        jwk
    }

    /// The public half, as whoever wants to misuse it as a secret has it.
    pub fn public_der(&self) -> Vec<u8> {
        self.public.to_spki_der()
    }

    /// A token with this header and these claims, whatever they say.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// The same of texts that need not be JSON.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let [header, claims] = [header, claims].map(|part| base64url::encode(part.as_bytes()));
        let input = format!("{header}.{claims}");
        let signature = self.signature(input.as_bytes());
        format!("{input}.{}", base64url::encode(&signature))
    }

    /// A token as issuers make them.
    pub fn token(&self, claims: &Value) -> String {
        let alg = self.algorithm.jws_alg();
        self.sign(&json!({"alg": alg, "kid": self.kid, "typ": "JWT"}), claims)
    }

    fn signature(&self, input: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ecdsa(pair, hash) => {
                let digest = Digest::import_less_safe(digest::digest(hash, input).as_ref(), hash);
                let signature = pair.sign_digest(&digest.unwrap()).unwrap();
                signature.as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let hash = digest::digest(&digest::SHA256, input);
                let digest = Digest::import_less_safe(hash.as_ref(), &digest::SHA256).unwrap();
                let padding: &dyn signature::RsaEncoding = match self.algorithm {
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign_digest(padding, &digest, &mut signed).unwrap();
                signed
            }
        }
    }
}

/// The key set of these keys.
pub fn key_set(keys: &[&IssuerKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// What a path answers.
#[derive(Debug, Clone)]
pub struct Page {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

#[derive(Default)]
struct State {
    pages: BTreeMap<String, Page>,
    /// Heads of the requests, in their order.
    asked: Vec<String>,
    away: bool,
    /// Until these end, nobody is answered.
    held: Option<Arc<Mutex<mpsc::Receiver<()>>>>,
}

/// A server of pages on loopback. It ends with the process.
#[derive(Clone)]
pub struct IssuerServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// Where its keys are.
pub const KEYS: &str = "/keys";

/// Where its discovery document is.
pub const DISCOVERY: &str = "/.well-known/openid-configuration";

impl IssuerServer {
    /// With a discovery document and these keys.
    pub fn new(keys: &[&IssuerKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let new = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let url = new.url();
        let document = json!({"issuer": url, "jwks_uri": format!("{url}{KEYS}")});
        new.put(DISCOVERY, &document.to_string());
        new.publish(keys);
        let server = new.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.answer(stream));
            }
        });
        new
    }

    /// Its name, and where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn publish(&self, keys: &[&IssuerKey]) {
        self.put(KEYS, &key_set(keys));
    }

    pub fn put(&self, path: &str, body: &str) {
        let page = Page {
            status: 200,
            headers: String::new(),
            body: body.to_owned(),
        };
        self.put_page(path, page);
    }

    pub fn put_page(&self, path: &str, page: Page) {
        self.state().pages.insert(path.to_owned(), page);
    }

    /// While it is away, connections end without an answer.
    pub fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    /// Requests wait until what is returned is dropped.
    pub fn hold(&self) -> mpsc::Sender<()> {
        let (release, held) = mpsc::channel();
        self.state().held = Some(Arc::new(Mutex::new(held)));
        release
    }

    /// How often a path was asked for, answered or not.
    pub fn count(&self, path: &str) -> usize {
        let line = format!("GET {path} ");
        let state = self.state();
        state
            .asked
            .iter()
            .filter(|head| head.starts_with(&line))
            .count()
    }

    /// The heads of all requests.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, mut stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        let mut head = Vec::new();
        let mut bytes = [0; 1_024];
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read(&mut bytes) {
                Ok(read @ 1..) => head.extend_from_slice(&bytes[..read]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let held = {
            let mut state = self.state();
            state.asked.push(head);
            state.held.clone()
        };
        if let Some(held) = held {
            // Nothing is ever sent: it ends when the other side does.
            let _ = held.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        let page = {
            let state = self.state();
            match state.away {
                true => return,
                false => state.pages.get(&path).cloned(),
            }
        };
        let page = page.unwrap_or(Page {
            status: 404,
            headers: String::new(),
            body: String::new(),
        });
        let Page {
            status,
            headers,
            body,
        } = page;
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body.as_bytes());
    }
}

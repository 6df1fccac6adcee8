//! A time stamp authority made by OpenSSL.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::timestamp::Authorities;

const CONFIG: &str = "
[req]
distinguished_name = nobody
prompt = no
[nobody]
CN = nobody
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[low_root]
basicConstraints = critical,CA:true,pathlen:0
[between]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[no_ca]
basicConstraints = critical,CA:false
[not_for_certificates]
basicConstraints = critical,CA:true
keyUsage = critical,digitalSignature
[client_ca]
basicConstraints = critical,CA:true
extendedKeyUsage = clientAuth
[tsa]
basicConstraints = CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
[not_critical]
extendedKeyUsage = timeStamping
[two_uses]
extendedKeyUsage = critical,timeStamping,clientAuth
[client]
extendedKeyUsage = critical,clientAuth
[any]
basicConstraints = CA:false
[enciphers]
keyUsage = critical,keyEncipherment
extendedKeyUsage = critical,timeStamping
[strange]
extendedKeyUsage = critical,timeStamping
1.2.3.4.5 = critical,ASN1:UTF8String:strange
[ts]
serial = serial
default_policy = 1.2.3.4.1
digests = sha1,sha256,sha384,sha512
signer_digest = sha256
accuracy = secs:1,millisecs:500,microsecs:100
ess_cert_id_alg = sha256
[ts_seconds]
serial = serial
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
ess_cert_id_alg = sha256
[ts_hundredths]
serial = serial
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
clock_precision_digits = 2
ess_cert_id_alg = sha256
[ts_sha1]
serial = serial
default_policy = 1.2.3.4.1
digests = sha1,sha256,sha384,sha512
signer_digest = sha384
ess_cert_id_alg = sha1
";

/// A directory of keys and certificates, each by its name.
pub struct Workshop(TempDir);

impl Workshop {
    pub fn new() -> Self {
        let workshop = Self(TempDir::new().unwrap());
        fs::write(workshop.file("openssl.cnf"), CONFIG).unwrap();
        fs::write(workshop.file("serial"), "1234").unwrap();
        workshop
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.file(name), bytes).unwrap();
    }

    /// Runs `openssl` in the directory; what it wrote to standard output.
    pub fn openssl(&self, arguments: &str) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {said}");
        output.stdout
    }

    fn key(&self, name: &str, kind: &str) {
        let how = match kind {
            "rsa" => "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "pss" => "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
            "pss256" => {
                "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha256 \
                 -pkeyopt rsa_pss_keygen_mgf1_md:sha256 -pkeyopt rsa_pss_keygen_saltlen:32"
            }
            "p256" => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            "p384" => "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            "p521" => "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
            _ => "-algorithm ED25519",
        };
        self.openssl(&format!("genpkey {how} -out {name}.key"));
    }

    /// A certificate that its own key signed.
    pub fn own(&self, name: &str, kind: &str, extensions: &str) {
        self.key(name, kind);
        self.openssl(&format!(
            "req -x509 -config openssl.cnf -subj /CN={name} -extensions {extensions} -key {name}.key -days 3650 -out {name}.pem"
        ));
    }

    /// A certificate that `issuer` signed.
    pub fn issue(&self, issuer: &str, name: &str, kind: &str, extensions: &str) {
        self.issue_by(issuer, name, kind, extensions, "");
    }

    /// The same, signed as `how` says.
    pub fn issue_by(&self, issuer: &str, name: &str, kind: &str, extensions: &str, how: &str) {
        self.key(name, kind);
        self.openssl(&format!(
            "req -new -config openssl.cnf -subj /CN={name} -key {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 3650 -extfile openssl.cnf -extensions {extensions} {how} -out {name}.pem"
        ));
    }

    /// A token by the authority `signer` over `data`, by `openssl ts`. `query` and `reply` are
    /// further options.
    pub fn stamp(&self, signer: &str, data: &[u8], query: &str, reply: &str) -> Vec<u8> {
        self.write("data", data);
        self.openssl(&format!("ts -query -data data {query} -out query"));
        let section = if reply.contains("-section") {
            ""
        } else {
            "-section ts"
        };
        self.openssl(&format!(
            "ts -reply -config openssl.cnf {section} -queryfile query -signer {signer}.pem -inkey {signer}.key {reply} -token_out -out token"
        ));
        self.read("token")
    }

    /// A token around `content` by anybody, by `openssl cms`: what an honest authority does not do.
    pub fn forge(&self, content: &[u8], options: &str) -> Vec<u8> {
        self.write("content", content);
        self.openssl(&format!(
            "cms -sign -nodetach -binary -nosmimecap -in content -outform DER {options} -out forged"
        ));
        self.read("forged")
    }

    pub fn trusting(&self, names: &[&str]) -> Authorities {
        let mut authorities = Authorities::default();
        for name in names {
            let pem = self.read(&format!("{name}.pem"));
            authorities.add_pem(&pem).unwrap();
        }
        authorities
    }
}

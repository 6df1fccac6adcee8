//! A time stamp authority (RFC 3161) made by OpenSSL in the directory of an installation.

use std::fs;

use super::installation::Installation;
use super::process::done_in;

const CONFIG: &str = "
[req]
distinguished_name = nobody
prompt = no
[nobody]
CN = nobody
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[tsa]
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[ts]
serial = tsa.serial
default_policy = 1.2.3.4.1
digests = sha256,sha384,sha512
signer_digest = sha256
ess_cert_id_alg = sha256
";

/// An authority and the root that issued to it, `{name}-root.pem`.
pub struct Authority<'a> {
    installation: &'a Installation,
    name: &'static str,
}

impl<'a> Authority<'a> {
    pub fn new(installation: &'a Installation, name: &'static str) -> Self {
        fs::write(installation.file("tsa.cnf"), CONFIG).expect("the configuration");
        fs::write(installation.file("tsa.serial"), "1000").expect("the serial number");
        let new = Self { installation, name };
        new.openssl(&format!(
            "req -x509 -config tsa.cnf -newkey rsa:2048 -nodes -subj /CN={name}-root -extensions root -days 30 -keyout {name}-root.key -out {name}-root.pem"
        ));
        new.openssl(&format!(
            "req -new -config tsa.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        new.openssl(&format!(
            "x509 -req -in {name}.csr -CA {name}-root.pem -CAkey {name}-root.key -CAcreateserial -days 30 -extfile tsa.cnf -extensions tsa -out {name}.pem"
        ));
        new
    }

    fn openssl(&self, arguments: &str) {
        let directory = self.installation.directory.path();
        done_in(directory, "openssl", arguments.split_whitespace());
    }

    /// A token over these bytes, in DER.
    pub fn stamp(&self, bytes: &[u8]) -> Vec<u8> {
        let name = self.name;
        fs::write(self.installation.file("stamped"), bytes).expect("the bytes");
        self.openssl("ts -query -data stamped -sha256 -cert -out stamped.tsq");
        self.openssl(&format!(
            "ts -reply -config tsa.cnf -section ts -queryfile stamped.tsq -signer {name}.pem -inkey {name}.key -token_out -out stamped.tst"
        ));
        fs::read(self.installation.file("stamped.tst")).expect("a token")
    }
}

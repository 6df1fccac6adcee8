//! An answer that is ready before the request's body was read arrives, over HTTP/2 too.

use std::path::PathBuf;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};

use crate::support::installation::{Installation, text};
use crate::support::process::run;

/// Requests of each kind: what is lost is lost now and then.
const TIMES: usize = 30;

#[test]
fn case_c2_curl_sees_every_early_answer() {
    let installation = Installation::new();
    installation.open_ring("integrity");
    let signer = installation.grant("signer", "signer:integrity");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
    let certificate = params.self_signed(&key).expect("a certificate");
    let file = |name: &str, content: &[u8]| -> PathBuf {
        let path = installation.file(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let certificate = file("server.pem", certificate.pem().as_bytes());
    let key = file("server.key", key.serialize_pem().as_bytes());
    let service = installation.serve_with(&[
        ("CHANCERY_HTTP__TLS__CERTIFICATE", text(&certificate)),
        ("CHANCERY_HTTP__TLS__KEY", text(&key)),
    ]);
    let small = file("small", &vec![b' '; 32 << 10]);
    let large = file("large", &vec![b' '; 2 << 20]);
    let (_, port) = service.api.split_once(':').expect("a port");
    let nobody = "authorization: Bearer nobody".to_owned();
    let known = format!("authorization: Bearer {signer}");
    for version in ["--http2", "--http1.1"] {
        for (who, body, path, status) in [
            (&nobody, &small, "/v1/rings/integrity/sign", "401"),
            (&nobody, &small, "/nothing", "404"),
            (&known, &large, "/v1/rings/integrity/sign", "413"),
        ] {
            for _ in 0..TIMES {
                let mut curl = Command::new("curl");
                curl.args(["-sS", version, "-o", "/dev/null", "-w", "%{http_code}"])
                    .args(["--cacert", text(&certificate)])
                    .args(["-H", who, "-H", "content-type: application/json"])
                    // Without it curl waits to be asked for a large body.
                    .args(["-H", "expect:"])
                    .args(["--data-binary", &format!("@{}", text(body))])
                    .arg(format!("https://localhost:{port}{path}"))
                    .args(["--connect-to", &format!("localhost:{port}:{}", service.api)]);
                let said = run(&mut curl, b"");
                assert_eq!(said.code, Some(0), "{version} {path} {said:?}");
                assert_eq!(said.text(), status, "{version} {path} {said:?}");
            }
        }
    }
}

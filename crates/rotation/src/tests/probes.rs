//! A probe at a server on this machine.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::engine::{HttpProbe, Probe as _, Propagation, Seen};
use crate::settings::{ProbeSettings, Settings};

const KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"KID"}"#;

/// Answers each request so, and says where.
async fn serve(answer: String) -> ProbeSettings {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    ProbeSettings {
        url: format!("http://{address}/.well-known/jwks.json"),
        allow_private: true,
        ca_file: None,
        timeout: Duration::from_secs(5),
    }
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

async fn seen(answer: String, kid: &str) -> Seen {
    let settings = serve(answer).await;
    let probe = HttpProbe::new("outside", &settings).unwrap();
    assert_eq!(probe.name(), "outside");
    probe.look(kid).await
}

#[tokio::test]
async fn a_probe_reads_the_key_set_of_a_url_and_follows_it_nowhere() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let set = |kid: &str| format!(r#"{{"keys":[{}]}}"#, KEY.replace("KID", kid));
    let parsed = trust::jwk::foreign::parse_set(set("x").as_bytes()).unwrap();
    let kid = parsed.keys[0].public.kid().to_string();
    assert_eq!(seen(answer("200 OK", &set(&kid)), &kid).await, Seen::Yes);
    for silent in [
        answer("200 OK", &set("another")),
        answer("200 OK", "<html>"),
        answer("404 Not Found", &set(&kid)),
        answer("302 Found\r\nlocation: http://127.0.0.1:1/", ""),
        answer("200 OK", &" ".repeat(600_000)),
        String::new(),
    ] {
        let seen = seen(silent, &kid).await;
        assert!(matches!(seen, Seen::No(_)), "{seen:?}");
    }
    // A name leads nowhere that an address may not.
    let mut by_name = serve(answer("200 OK", &set(&kid))).await;
    by_name.url = by_name.url.replace("127.0.0.1", "localhost");
    by_name.allow_private = false;
    let by_name = HttpProbe::new("outside", &by_name).unwrap();
    let Seen::No(why) = by_name.look(&kid).await else {
        panic!("a private address was reached")
    };
    assert!(why.contains("allow_private"), "{why}");
    let lies = seen(answer("200 OK", &set("lie")), "lie").await;
    assert!(matches!(lies, Seen::Other(_)), "{lies:?}");
    let settings = Settings {
        probes: BTreeMap::from([("outside".to_owned(), serve(String::new()).await)]),
        ..Settings::default()
    };
    settings.validate("test").unwrap();
    assert!(Propagation::new(&settings).is_ok());
}

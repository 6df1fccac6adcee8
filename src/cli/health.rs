//! Asks a running service on its operations listener, for probes that run a command.

use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::Value;

use super::{World, config};
use crate::config::Config;
use verify::output::{Code, Failure, Output};

/// How long each step of an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer is small.
const MOST_BYTES: u64 = 4 << 20;

#[derive(Debug, Args)]
pub struct Health {
    /// Whether keys are published: what a load balancer asks.
    #[arg(long, conflicts_with = "signing")]
    ready: bool,
    /// Whether this replica can sign.
    #[arg(long)]
    signing: bool,
}

pub async fn run(
    path: &Path,
    command: Health,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let config = config::load(path, world)?;
    let asked = match (command.ready, command.signing) {
        (true, _) => "/health/ready",
        (_, true) => "/health/ready/signing",
        _ => "/health/live",
    };
    let answered = tokio::task::spawn_blocking(move || ask(&config, asked));
    let (good, answer) = answered
        .await
        .context("asking the service")?
        .map_err(Failure::unavailable)?;
    let what = asked.trim_start_matches("/health/");
    if good {
        output.result(&answer, || format!("{what}: yes"));
        return Ok(());
    }
    output.result(&answer, || format!("{what}: no\n{answer:#}"));
    Err(Failure::told(
        Code::Unavailable,
        format_args!("the service is not {what}"),
    ))
}

/// Whether the answer is 200, and its body.
fn ask(config: &Config, path: &str) -> anyhow::Result<(bool, Value)> {
    let address = local(config.http.operations_listen);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("no service at {address} (http.operations_listen)"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let bearer = match &config.http.operations_token_file {
        None => String::new(),
        Some(file) => {
            let token = web::operations_token(file)?;
            format!("authorization: Bearer {token}\r\n")
        }
    };
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{bearer}connection: close\r\n\r\n");
    let answer = match &config.http.operations_tls {
        None => exchange(&mut stream, &request),
        Some(files) => {
            let tls = web::own_certificate(files)?;
            let name = rustls::pki_types::ServerName::from(address.ip());
            let mut connection = rustls::ClientConnection::new(Arc::new(tls), name)?;
            exchange(
                &mut rustls::Stream::new(&mut connection, &mut stream),
                &request,
            )
        }
    };
    let answer = answer.with_context(|| format!("no answer from {address}"))?;
    read(&answer)
}

/// An address that means all of the machine is reached by loopback.
fn local(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(all) if all.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(all) if all.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn exchange(stream: &mut (impl io::Read + io::Write), request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MOST_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

fn read(answer: &str) -> anyhow::Result<(bool, Value)> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| anyhow!("the answer has no end of its head"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    let value = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    match status {
        "200" => Ok((true, value)),
        "503" => Ok((false, value)),
        "401" => bail!("the service does not accept the token of http.operations_token_file"),
        other => bail!("expected the status 200 or 503 from the operations listener, got {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let answer = |status: u16| format!("HTTP/1.1 {status} x\r\na: b\r\n\r\n{{\"ready\":true}}");
        assert!(read(&answer(200)).unwrap().0);
        let (good, body) = read(&answer(503)).unwrap();
        assert!(!good && body["ready"] == true);
        assert!(
            read(&answer(401))
                .unwrap_err()
                .to_string()
                .contains("token")
        );
        assert!(read(&answer(404)).is_err() && read("nothing").is_err());
    }

    #[test]
    fn every_address_is_reached_from_here() {
        let local = |text: &str| local(text.parse().unwrap()).to_string();
        assert_eq!(local("0.0.0.0:9090"), "127.0.0.1:9090");
        assert_eq!(local("[::]:9090"), "[::1]:9090");
        assert_eq!(local("192.0.2.1:9090"), "192.0.2.1:9090");
    }
}

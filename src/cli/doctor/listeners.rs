//! The listeners' addresses and certificate, and the files that `serve` reads at its start.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use keyring::verification::Rules;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use trust::error_chain;

use super::check::{Check, bad, good, note};
use crate::cli::World;
use crate::config::Config;
use crate::telemetry;

/// How long a service that runs may take to say so.
const ANSWER: Duration = Duration::from_secs(2);

/// Both addresses can be had, or the service has them.
pub async fn addresses(config: &Config) -> Vec<Check> {
    let operations = config.http.operations_listen;
    let runs = matches!(timeout(ANSWER, is_alive(operations)).await, Ok(Ok(true)));
    let mut checks = Vec::new();
    for (what, address) in [
        ("API listener", config.http.listen),
        ("operations listener", operations),
    ] {
        checks.push(match TcpListener::bind(address).await {
            Ok(_) => good(what, format!("{address} is free")),
            Err(error) if error.kind() == ErrorKind::AddrInUse && runs => {
                good(what, format!("{address}: the service is running"))
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => bad(
                what,
                format!("{address} is in use by another program"),
                "stop that program, or set another address in [http]",
            ),
            Err(error) => bad(
                what,
                format!("{address}: {error}"),
                "set an address of this machine in [http]",
            ),
        });
    }
    checks
}

async fn is_alive(operations: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(operations).await?;
    let request = "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).contains("{\"live\":true}"))
}

/// Before that a certificate should have been renewed.
const RENEW: Duration = Duration::from_secs(14 * 86_400);

/// The certificates that are trusted to tell the time. One that has expired still vouches for the tokens of its time, so it
/// is not wrong to have it; it is wrong if no other does.
pub fn authorities(config: &Config, world: &World) -> Check {
    let what = "time-stamp authorities";
    let rules = match Rules::read(&config.verification) {
        Ok(rules) => rules,
        Err(error) => {
            let advice =
                "correct verification.timestamp_authorities; `serve` refuses to start with it";
            return bad(what, error_chain(&error), advice);
        }
    };
    let now = world.env.now();
    let (mut certificates, mut valid, mut ending) = (0, 0, Vec::new());
    for (subject, until) in rules.expiries() {
        certificates += 1;
        valid += usize::from(until > now);
        if until <= now {
            ending.push(format!("{subject} expired {until}"));
        } else if until <= now + RENEW {
            ending.push(format!("{subject} expires {until}"));
        }
    }
    let advice = "add the authority's next certificate to verification.timestamp_authorities; keep the old one, which vouches for the tokens of its time";
    if certificates > 0 && valid == 0 {
        let found = format!("no new token counts: {}", ending.join("; "));
        return bad(what, found, advice);
    }
    match ending.is_empty() {
        true => good(what, format!("{certificates} certificate(s)")),
        false => note(what, ending.join("; "), advice),
    }
}

/// The filter of the service log or the collector of traces, if `serve` would not take it.
pub fn filter(config: &Config) -> Option<Check> {
    if let Err(error) = telemetry::check(&config.telemetry.filter) {
        let advice = "correct telemetry.filter; `serve` refuses to start with it";
        return Some(bad("telemetry", error_chain(&error), advice));
    }
    let traces = config.telemetry.traces.as_ref()?;
    let error = telemetry::traces::check(traces).err()?;
    let advice = "correct [telemetry.traces]; `serve` refuses to start with it";
    Some(bad("telemetry", error, advice))
}

pub fn tls(files: &web::Tls, world: &World) -> Check {
    let what = "TLS certificate";
    let now = world.env.now();
    match web::check_tls(files) {
        Err(error) => bad(
            what,
            error_chain(&error),
            "correct the files of [http.tls]; `serve` refuses to start with them",
        ),
        Ok(until) if until <= now => bad(
            what,
            format!("expired {until}"),
            "replace the files; the service reads them again by itself",
        ),
        Ok(until) if until <= now + RENEW => bad(
            what,
            format!("expires {until}"),
            "renew it; the service reads the files again by itself",
        ),
        Ok(until) => good(what, format!("valid until {until}")),
    }
}

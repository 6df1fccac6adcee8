//! As much of HTTP/1.1 as a client that knows its server needs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Longer than the service's own time limit, so that it is the service which gives up first.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The bytes of a request; keep-alive is the default of the version.
pub fn request(method: &str, path: &str, bearer: Option<&str>, body: &str) -> Vec<u8> {
    let authorization = bearer.map_or_else(String::new, |text| {
        format!("authorization: Bearer {text}\r\n")
    });
    let content = if method == "GET" {
        String::new()
    } else {
        format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        )
    };
    format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{authorization}{content}\r\n{body}")
        .into_bytes()
}

/// Status and body of the answer at the front of `bytes`, once it is complete.
pub fn answer(bytes: &[u8]) -> Result<Option<(u16, Range<usize>)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("an answer's head")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .context("no status")?;
    let mut length = 0;
    let mut chunked = false;
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = true;
        }
    }
    if chunked {
        let end = chunks(bytes, end + 4)?;
        return Ok(end.map(|body| (status, body)));
    }
    let body = end + 4..end + 4 + length;
    Ok((bytes.len() >= body.end).then_some((status, body)))
}

/// A body in chunks (RFC 9112, section 7.1), with the lines that frame them, once it is complete.
fn chunks(bytes: &[u8], start: usize) -> Result<Option<Range<usize>>> {
    let mut at = start;
    loop {
        let rest = &bytes[at.min(bytes.len())..];
        let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&rest[..line]).context("the size of a chunk")?;
        let size = usize::from_str_radix(size.trim(), 16).context("the size of a chunk")?;
        at += line + 2 + size + 2;
        if size == 0 {
            return Ok((bytes.len() >= at).then_some(start..at));
        }
    }
}

/// One connection, one request at a time.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(8_192),
        })
    }

    pub fn send(&mut self, request: &[u8]) -> Result<(u16, &[u8])> {
        self.buffer.clear();
        self.stream.write_all(request)?;
        let mut part = [0; 16_384];
        loop {
            let count = self.stream.read(&mut part)?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            self.buffer.extend_from_slice(&part[..count]);
            if let Some((status, body)) = answer(&self.buffer)? {
                return Ok((status, &self.buffer[body]));
            }
        }
    }
}

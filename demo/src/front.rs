//! A cache in front of the service, as somebody else's gateway would keep one: it shows the key set that it fetched last.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use verify::output::Failure;

/// Longest request that is read.
const LONGEST: usize = 8_192;

pub struct Front {
    address: SocketAddr,
    set: Arc<Mutex<Vec<u8>>>,
}

impl Front {
    /// On a port of this machine, without any key.
    pub fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let set = Arc::new(Mutex::new(b"{\"keys\":[]}".to_vec()));
        let shown = set.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let set = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Whoever asked and went away asks again.
                let _ = answer(stream, &set);
            }
        });
        Ok(Self { address, set })
    }

    /// Where it shows the key set.
    pub fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    /// It fetches the set anew.
    pub fn refreshed(&self, set: Vec<u8>) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = set;
    }
}

fn answer(mut stream: TcpStream, set: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut part = [0; 1_024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < LONGEST {
        match stream.read(&mut part)? {
            0 => break,
            count => request.extend_from_slice(&part[..count]),
        }
    }
    let length = set.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(set)
}

//! An HTTP endpoint that answers as a test says, and keeps what it was sent.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone)]
pub enum Answer {
    /// The head's first words behind the version, further lines of it, and a body.
    Status(&'static str, &'static str, &'static str),
    /// It takes the request and never answers.
    Silent,
    /// It closes the connection before it has read anything.
    Closed,
}

pub const OK: Answer = Answer::Status("200 OK", "", "");

#[derive(Debug, Clone)]
pub struct Request {
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> String {
        let lines = self.head.lines();
        let mut values = lines.filter_map(|line| {
            let (found, value) = line.split_once(':')?;
            found
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        });
        values.next().unwrap_or_default()
    }
}

#[derive(Clone)]
pub struct Endpoint {
    pub address: String,
    answer: Arc<Mutex<Answer>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Endpoint {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Self {
            address: listener.local_addr().unwrap().to_string(),
            answer: Arc::new(Mutex::new(OK)),
            seen: Arc::default(),
        };
        let serving = endpoint.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        endpoint
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn serve(self, mut stream: TcpStream) {
        let answer = self.answer.lock().unwrap().clone();
        if let Answer::Closed = answer {
            return;
        }
        let Some(request) = read(&mut stream).await else {
            return;
        };
        self.seen.lock().unwrap().push(request);
        let Answer::Status(status, more, body) = answer else {
            return std::future::pending().await;
        };
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n{body}"
        );
        let _ = stream.write_all(text.as_bytes()).await;
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let request = Request {
                head: head.to_owned(),
                body: body.to_owned(),
            };
            let length: usize = request.header("content-length").parse().unwrap_or(0);
            if body.len() >= length {
                return Some(request);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

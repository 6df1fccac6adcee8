//! A collector of traces: OTLP over HTTP, decoded by the types of the protocol's own definition.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything.
    Takes,
    /// It reads, and answers nothing until its mood changes; then it hangs up.
    Silent,
    /// It says that it was all right, and goes on saying so without end.
    Endless,
    /// It refuses, and wants it again in a hundred years.
    Refuses,
}

struct Moods {
    now: Mutex<Mood>,
    changed: Condvar,
}

impl Moods {
    fn get(&self) -> Mood {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_another_than(&self, mood: Mood) {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let other = self.changed.wait_while(now, |now| *now == mood);
        drop(other.unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Default)]
struct Got {
    requests: Vec<ExportTraceServiceRequest>,
    bytes: Vec<u8>,
}

pub struct Collector {
    pub endpoint: String,
    got: Arc<Mutex<Got>>,
    mood: Arc<Moods>,
}

impl Collector {
    /// Its threads end with this process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let new = Self {
            endpoint: format!("http://{address}/v1/traces"),
            got: Arc::default(),
            mood: Arc::new(Moods {
                now: Mutex::new(Mood::Takes),
                changed: Condvar::new(),
            }),
        };
        let (got, mood) = (new.got.clone(), new.mood.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (got, mood) = (got.clone(), mood.clone());
                thread::spawn(move || serve(&stream, &got, &mood));
            }
        });
        new
    }

    pub fn is(&self, mood: Mood) {
        let now = self.mood.now.lock();
        *now.unwrap_or_else(PoisonError::into_inner) = mood;
        self.mood.changed.notify_all();
    }

    /// Every span that it was sent.
    pub fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        let resources = got.requests.iter().flat_map(|one| &one.resource_spans);
        let scopes = resources.flat_map(|of| &of.scope_spans);
        scopes.flat_map(|of| of.spans.iter().cloned()).collect()
    }

    /// What it was told of the service.
    pub fn resource(&self, name: &str) -> Option<String> {
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        let first = got.requests.first()?.resource_spans.first()?;
        text(&first.resource.as_ref()?.attributes, name)
    }

    /// Whether these bytes were in anything that it was sent.
    pub fn has_seen(&self, bytes: &[u8]) -> bool {
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        got.bytes.windows(bytes.len()).any(|window| window == bytes)
    }
}

fn serve(stream: &TcpStream, got: &Mutex<Got>, mood: &Moods) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(1..) => {}
                _ => return,
            }
        }
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length
            .and_then(|length| length.parse().ok())
            .expect("a length");
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let request = ExportTraceServiceRequest::decode(&*body).expect("OTLP");
        {
            let mut got = got.lock().unwrap_or_else(PoisonError::into_inner);
            got.bytes.extend(body);
            got.requests.push(request);
        }
        let mut stream = stream;
        let answered = match mood.get() {
            Mood::Takes => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            Mood::Silent => {
                mood.wait_for_another_than(Mood::Silent);
                return;
            }
            Mood::Endless => {
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let mut written = stream.write_all(head);
                while written.is_ok() {
                    written = stream.write_all(&[b"400\r\n", &[b'a'; 1_024][..], b"\r\n"].concat());
                }
                written
            }
            Mood::Refuses => stream.write_all(
                b"HTTP/1.1 503 No\r\nretry-after: 3153600000\r\ncontent-length: 0\r\n\r\n",
            ),
        };
        if answered.is_err() {
            return;
        }
    }
}

/// An attribute as text, whatever it is.
pub fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|one| one.key == name)?;
    let AnyValue { value: Some(value) } = found.value.as_ref()? else {
        return None;
    };
    Some(match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::BoolValue(yes) => yes.to_string(),
        other => format!("{other:?}"),
    })
}

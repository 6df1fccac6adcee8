use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::listener::timed::{IDLE_TIMEOUT, Plain, WRITE_TIMEOUT};

/// Longer than a connection may be idle.
const LONG: Duration = Duration::from_secs(100);

const BIG: usize = 1 << 20;

fn router() -> Router {
    let slow = || async {
        tokio::time::sleep(LONG).await;
        "slow"
    };
    Router::new()
        .route("/slow", get(slow))
        .route("/big", get(|| async { vec![0_u8; BIG] }))
}

/// A connection whose client has the other end of it.
fn connect() -> (DuplexStream, JoinHandle<()>, watch::Sender<Option<Instant>>) {
    let (client, server) = tokio::io::duplex(4_096);
    let door = Door::new("test", 1, 1);
    let stop = watch::Sender::new(None);
    let address = IpAddr::from([192, 0, 2, 1]);
    let one = One {
        address,
        activity: Activity::new(),
        stop: stop.subscribe(),
        _entered: door.enter(address).ok().unwrap(),
    };
    let served = tokio::spawn(one.serve(server, Plain(router())));
    (client, served, stop)
}

/// How long the connection went on.
async fn life(served: JoinHandle<()>) -> Duration {
    let begun = Instant::now();
    served.await.unwrap();
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn case_a3_a_silent_connection_ends() {
    for begun in [&b""[..], b"G", b"GET / HTTP/1.1\r\nHost:"] {
        let (mut client, served, _stop) = connect();
        client.write_all(begun).await.unwrap();
        let life = life(served).await;
        assert!(
            (HEAD_TIMEOUT..=HEAD_TIMEOUT + CLOSING).contains(&life),
            "{life:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn case_a3_http2_without_requests_ends() {
    let (mut client, served, _stop) = connect();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    client.write_all(&settings).await.unwrap();
    // It answers pings, so nothing but the lack of requests can end it.
    let (mut from, mut to) = tokio::io::split(client);
    let answering = tokio::spawn(async move {
        let mut head = [0; 9];
        while from.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut body = vec![0; length as usize];
            from.read_exact(&mut body).await.unwrap();
            let (kind, flags) = (head[3], head[4]);
            if kind == 6 && flags == 0 {
                let ack = [&[0, 0, 8, 6, 1, 0, 0, 0, 0][..], &body].concat();
                let _ = to.write_all(&ack).await;
            }
        }
    });
    let life = life(served).await;
    assert!(life <= HEAD_TIMEOUT + CLOSING, "{life:?}");
    answering.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn case_a3_a_client_that_takes_nothing_is_left() {
    let (mut client, served, _stop) = connect();
    let request = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(request).await.unwrap();
    let life = life(served).await;
    assert!(
        (WRITE_TIMEOUT..WRITE_TIMEOUT + CLOSING).contains(&life),
        "{life:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_being_answered_is_not_idle_and_what_was_answered_is() {
    let (mut client, served, _stop) = connect();
    let request = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(request).await.unwrap();
    let begun = Instant::now();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.ends_with("slow"),
        "{text}"
    );
    let life = begun.elapsed();
    assert!((LONG..LONG + IDLE_TIMEOUT).contains(&life), "{life:?}");
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_stops_ends_what_does_not_end() {
    let (mut client, served, stop) = connect();
    let request = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(request).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.send_replace(Some(Instant::now() + CLOSING));
    assert_eq!(life(served).await, CLOSING);
}

#[tokio::test]
async fn case_a3_without_descriptors_a_connection_is_closed_and_said_so() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut descriptors = Descriptors::new("test");
    let mut client = TcpStream::connect(address).await.unwrap();
    let short = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    descriptors.failed(&socket, &short).await;
    let mut nothing = Vec::new();
    assert_eq!(client.read_to_end(&mut nothing).await.unwrap(), 0);
    assert!(descriptors.short_since.is_some() && descriptors.spare.is_some());
    descriptors.accepted();
    assert!(
        descriptors.short_since.is_some(),
        "not at once, or it is said again and again"
    );
}

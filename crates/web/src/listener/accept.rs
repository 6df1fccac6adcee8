//! Accepts connections of one listener within its limits, and serves each in a task of its own
//! until its client leaves, is silent for too long, or the service stops.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use base::names;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use crate::listener::door::{Door, Entered};
use crate::listener::error::Error;
use crate::listener::timed::{Activity, Counted, HEAD_TIMEOUT, Timed};
use crate::listener::tls::{self, TlsFiles};
use crate::middleware::peer::Peer;

/// Most bytes of the names and values of a request's headers over HTTP/2, its path among them: a draft has a whole policy in
/// it.
const LONGEST_HEAD: u32 = 64 * 1024;

/// How long a connection that was idle for too long has to say goodbye.
const CLOSING: Duration = Duration::from_secs(5);

/// After an error that would only come again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long there must be descriptors again until that is said.
const CALM: Duration = Duration::from_secs(10);

/// When to stop: not yet, or all must be done by then.
type Stopping = watch::Receiver<Option<Instant>>;

/// A socket with its limits.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<TlsFiles>>,
    door: Arc<Door>,
    stop: Stopping,
    descriptors: Descriptors,
}

/// Ends a listener.
pub struct Handle {
    stop: watch::Sender<Option<Instant>>,
    door: Arc<Door>,
}

impl Handle {
    /// No new connections; those there are end with their next answer, and after `grace` anyway.
    pub fn close(&self, grace: Duration) {
        self.stop.send_replace(Some(Instant::now() + grace));
    }

    /// Returns when there is no connection.
    pub async fn empty(&self) {
        self.door.empty().await;
    }
}

/// A socket that connections may queue at.
pub fn bind(listener: &'static str, address: SocketAddr) -> Result<std::net::TcpListener, Error> {
    std::net::TcpListener::bind(address).map_err(failed(listener, address))
}

fn failed(listener: &'static str, address: SocketAddr) -> impl Fn(io::Error) -> Error {
    move |source| Error::Listen {
        listener,
        address,
        source,
    }
}

/// A listener on a socket that is bound to `address`; over TLS if there are files for it.
pub fn listen(
    name: &'static str,
    address: SocketAddr,
    socket: std::net::TcpListener,
    tls: Option<Arc<TlsFiles>>,
    door: Arc<Door>,
) -> Result<(Listener, Handle), Error> {
    let failed = failed(name, address);
    socket.set_nonblocking(true).map_err(&failed)?;
    let socket = TcpListener::from_std(socket).map_err(&failed)?;
    let stop = watch::Sender::new(None);
    let listener = Listener {
        socket,
        tls,
        door: Arc::clone(&door),
        stop: stop.subscribe(),
        descriptors: Descriptors::new(name),
    };
    Ok((listener, Handle { stop, door }))
}

impl Listener {
    /// Returns when it was closed and its connections have ended.
    pub async fn run<S>(mut self, make: impl Fn(Peer) -> S + Clone + Send + 'static)
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Unpin + Send,
    {
        let mut stop = self.stop.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped(&mut stop) => break,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.descriptors.failed(&self.socket, &error).await;
                    continue;
                }
            };
            self.descriptors.accepted();
            let Ok(entered) = self.door.enter(from.ip()) else {
                continue;
            };
            let one = One {
                address: from.ip(),
                activity: Activity::new(),
                stop: stop.clone(),
                _entered: entered,
            };
            let (tls, make) = (self.tls.clone(), make.clone());
            tokio::spawn(async move {
                match tls {
                    None => one.plain(stream, make).await,
                    Some(files) => one.over_tls(stream, &files, make).await,
                }
            });
        }
        // Whoever comes now is refused by the system at once.
        drop(self.socket);
        self.door.empty().await;
    }
}

/// When everything must be done, as soon as the listener was told to stop.
async fn stopped(stop: &mut Stopping) -> Instant {
    match stop.wait_for(Option::is_some).await {
        Ok(until) => until.unwrap_or_else(Instant::now),
        Err(_) => Instant::now(),
    }
}

/// One connection.
struct One {
    address: IpAddr,
    activity: Arc<Activity>,
    stop: Stopping,
    _entered: Entered,
}

impl One {
    async fn plain<S>(self, stream: TcpStream, make: impl Fn(Peer) -> S)
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Unpin + Send,
    {
        let _ = stream.set_nodelay(true);
        let peer = Peer {
            address: self.address,
            sans: Vec::new(),
        };
        let service = make(peer);
        self.serve(stream, service).await;
    }

    async fn over_tls<S>(mut self, stream: TcpStream, files: &TlsFiles, make: impl Fn(Peer) -> S)
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Unpin + Send,
    {
        let _ = stream.set_nodelay(true);
        let shaking_hands = TlsAcceptor::from(files.current()).accept(stream);
        let shaken = tokio::select! {
            shaken = shaking_hands => shaken,
            () = sleep_until(self.activity.deadline()) => Err(io::ErrorKind::TimedOut.into()),
            _ = stopped(&mut self.stop) => return,
        };
        let named = shaken.and_then(|stream| {
            let sans = tls::presented(stream.get_ref().1).map_err(io::Error::other)?;
            Ok((stream, sans))
        });
        match named {
            Err(error) => tracing::debug!(%error, address = %self.address, "no handshake"),
            Ok((stream, sans)) => {
                let address = self.address;
                self.serve(stream, make(Peer { address, sans })).await;
            }
        }
    }

    async fn serve<I, S>(mut self, stream: I, service: S)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Unpin + Send,
    {
        let builder = builder();
        let stream = TokioIo::new(Timed::new(stream, Arc::clone(&self.activity)));
        let service = Counted::new(service, Arc::clone(&self.activity));
        let service = TowerToHyperService::new(service);
        let connection = builder.serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        // When it is dropped, whatever it does.
        let mut end = None;
        loop {
            let look = end.unwrap_or_else(|| self.activity.deadline());
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, address = %self.address, "connection ended");
                    }
                    return;
                }
                until = stopped(&mut self.stop), if end.is_none() => {
                    connection.as_mut().graceful_shutdown();
                    end = Some(until);
                }
                () = sleep_until(look) => {
                    if end.is_some() {
                        return;
                    }
                    let now = Instant::now();
                    if self.activity.deadline() <= now {
                        connection.as_mut().graceful_shutdown();
                        end = Some(now + CLOSING);
                    }
                }
            }
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIMEOUT)
        .max_header_list_size(LONGEST_HEAD)
        .max_concurrent_streams(256);
    builder
}

/// What to do when the process has no descriptor for a connection: one is kept, to be given up so
/// that the client is told by a closed connection and does not wait in the queue.
struct Descriptors {
    listener: &'static str,
    spare: Option<File>,
    short_since: Option<Instant>,
}

impl Descriptors {
    fn new(listener: &'static str) -> Self {
        Self {
            listener,
            spare: File::open("/dev/null").ok(),
            short_since: None,
        }
    }

    fn accepted(&mut self) {
        if self
            .short_since
            .is_some_and(|since| since.elapsed() >= CALM)
        {
            self.short_since = None;
            tracing::info!(listener = self.listener, "there are file descriptors again");
        }
    }

    async fn failed(&mut self, socket: &TcpListener, error: &io::Error) {
        if !is_short(error) {
            tracing::debug!(listener = self.listener, %error, "no connection was accepted");
            // A client that left before it was accepted costs the others no time.
            if error.kind() != io::ErrorKind::ConnectionAborted {
                tokio::time::sleep(PAUSE).await;
            }
            return;
        }
        counter!(names::CONNECTIONS_REFUSED, "listener" => self.listener, "why" => "descriptors")
            .increment(1);
        if self.short_since.replace(Instant::now()).is_none() {
            tracing::error!(
                listener = self.listener,
                %error,
                "no file descriptor for a connection; raise the limit of open files \
                 (LimitNOFILE, ulimit -n) or lower http.max_connections"
            );
        }
        if self.spare.take().is_some() {
            let _ = tokio::time::timeout(PAUSE, socket.accept()).await;
            self.spare = File::open("/dev/null").ok();
        } else {
            tokio::time::sleep(PAUSE).await;
            self.spare = File::open("/dev/null").ok();
        }
    }
}

/// EMFILE and ENFILE, and what memory of the kernel does alike.
fn is_short(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|short| error.raw_os_error() == Some(short.raw_os_error()))
}

#[cfg(test)]
mod tests;

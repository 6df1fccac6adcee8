//! What a connection does, and for how long it has done nothing.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tower::Service;

use crate::listener::connection::Answering;

/// A first request that does not come within this time of the connection never will, its
/// handshake included; nor does the rest of a head. It bounds what a silent connection costs.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Without a request and without data for this time a connection is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A client that takes nothing for this time while there is something to send is gone.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Frames of HTTP/2 that only keep a connection alive are smaller.
const DATA: usize = 64;

/// What one connection does.
pub struct Activity {
    requests: AtomicUsize,
    /// When it is idle for too long, unless something happens.
    until: Mutex<Instant>,
}

impl Activity {
    /// Of a connection that was accepted now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            requests: AtomicUsize::new(0),
            until: Mutex::new(Instant::now() + HEAD_TIMEOUT),
        })
    }

    fn seen(&self) {
        let until = Instant::now() + IDLE_TIMEOUT;
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// When to look again; what is not in the future is too long ago.
    pub fn deadline(&self) -> Instant {
        if self.requests.load(Ordering::Relaxed) > 0 {
            // Requests have time limits of their own.
            return Instant::now() + IDLE_TIMEOUT;
        }
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
struct UnderWay(Arc<Activity>);

impl UnderWay {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.seen();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A service that counts the requests of its connection.
#[derive(Clone)]
pub struct Counted<S> {
    service: S,
    activity: Arc<Activity>,
}

impl<S> Counted<S> {
    pub fn new(service: S, activity: Arc<Activity>) -> Self {
        Self { service, activity }
    }
}

impl<R, S: Service<R>> Service<R> for Counted<S>
where
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Counting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        Counting {
            _under_way: UnderWay::new(&self.activity),
            answering: self.service.call(request),
        }
    }
}

pub struct Counting<F> {
    _under_way: UnderWay,
    answering: F,
}

impl<F: Future + Unpin> Future for Counting<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.answering).poll(cx)
    }
}

/// A router as the service of a connection.
#[derive(Clone)]
pub struct Plain(pub Router);

impl<B> Service<Request<B>> for Plain
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        Answering::Later(Box::pin(self.0.call(request.map(Body::new))))
    }
}

/// A stream whose writes end with an error when nobody takes them.
pub struct Timed<S> {
    stream: S,
    activity: Arc<Activity>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            stalled: None,
        }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
        bytes: impl Fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(wrote) = wrote {
            self.stalled = None;
            if wrote.as_ref().is_ok_and(|wrote| bytes(wrote) > DATA) {
                self.activity.seen();
            }
            return Poll::Ready(wrote);
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, wrote, |count| *count)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(cx, wrote, |count| *count)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, shut, |()| 0)
    }
}

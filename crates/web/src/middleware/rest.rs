//! What is left of a request's body when its answer is ready. A client that is still sending while its
//! connection is closed under it loses the answer (RFC 9112 section 9.6), and one whose HTTP/2 stream is
//! reset may too; so the rest is read first, or behind the answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::Version;
use axum::http::header::EXPECT;
use hyper::body::{Frame, SizeHint};

use crate::middleware::limits::Permit;

/// Read before the answer goes out, at most.
const LITTLE: usize = 64 * 1024;

/// The answer waits for it no longer.
const SOON: Duration = Duration::from_millis(500);

/// Read behind the answer, at most; and before it over HTTP/2. Whoever sees the head of an answer there before
/// all was sent may end the body, short of its declared length, which is a malformed request (RFC 9113
/// section 8.1.1): the stream is reset, and what was not written of the answer is lost.
const MUCH: usize = 8 << 20;

/// And for no longer than this.
const LATER: Duration = Duration::from_secs(5);

/// The body of a request that its handler reads through [`Through`].
pub struct Rest {
    shared: Arc<Mutex<Shared>>,
    /// The client sends nothing until it is asked to (`Expect: 100-continue`).
    waits: bool,
    /// An answer before the end of the body may be lost on its way.
    whole: bool,
}

struct Shared {
    body: Body,
    begun: bool,
    ended: bool,
}

/// Lends the body to the handler, which may drop it before its end.
struct Through(Arc<Mutex<Shared>>);

impl Through {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Through {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut shared = self.lock();
        shared.begun = true;
        let polled = Pin::new(&mut shared.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            shared.ended = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}

/// The request with a body that can be read on; none where it has no body.
pub fn of(request: Request) -> (Request, Option<Rest>) {
    if request.body().is_end_stream() {
        return (request, None);
    }
    let waits = request.headers().contains_key(EXPECT);
    let whole = request.version() == Version::HTTP_2;
    let (parts, body) = request.into_parts();
    let shared = Arc::new(Mutex::new(Shared {
        body,
        begun: false,
        ended: false,
    }));
    let through = Body::new(Through(Arc::clone(&shared)));
    (
        Request::from_parts(parts, through),
        Some(Rest {
            shared,
            waits,
            whole,
        }),
    )
}

impl Rest {
    /// Whether all of it was read; what is not read in time is read behind the answer of whoever has a
    /// permit, and is not read otherwise. `wait` is whether the answer may wait at all.
    pub async fn read_on(self, permit: Option<Permit>, wait: bool) -> bool {
        // The work goes on, and the body is its own.
        let Some(shared) = Arc::into_inner(self.shared) else {
            return false;
        };
        let mut shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        if shared.ended || shared.body.is_end_stream() {
            return true;
        }
        if self.waits && !shared.begun {
            return false;
        }
        let soon = if wait { SOON } else { Duration::ZERO };
        let most = if self.whole && permit.is_some() {
            MUCH
        } else {
            LITTLE
        };
        let before = tokio::time::timeout(soon, read(&mut shared.body, most)).await;
        if matches!(before, Ok(true)) {
            return true;
        }
        if let Some(permit) = permit {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(LATER, read(&mut shared.body, MUCH)).await;
                drop(permit);
            });
        }
        false
    }
}

/// Whether the end was found.
async fn read(body: &mut Body, most: usize) -> bool {
    let mut left = most;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return false };
        let size = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(size) else {
            return false;
        };
        left = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::auth::Caller;
    use crate::middleware::limits::Limits;

    fn request(body: Body) -> Request {
        Request::post("/").body(body).unwrap()
    }

    #[tokio::test]
    async fn case_c2_a_small_rest_is_read_and_a_large_one_is_not_waited_for() {
        assert!(of(request(Body::empty())).1.is_none());
        for (size, all) in [(1, true), (LITTLE, true), (LITTLE + 1, false)] {
            let (request, rest) = of(request(Body::from(vec![0; size])));
            drop(request);
            assert_eq!(rest.unwrap().read_on(None, true).await, all, "{size}");
        }
    }

    #[tokio::test]
    async fn case_c2_over_http2_the_rest_is_read_before_the_answer() {
        let limits = Limits::new(1, None);
        for (size, all) in [(LITTLE + 1, true), (MUCH, true), (MUCH + 1, false)] {
            let mut sent = request(Body::from(vec![0; size]));
            *sent.version_mut() = Version::HTTP_2;
            let (sent, rest) = of(sent);
            drop(sent);
            let permit = limits.enter(&Caller::Anonymous).unwrap();
            assert_eq!(
                rest.unwrap().read_on(Some(permit), true).await,
                all,
                "{size}"
            );
            // What is read behind the answer holds the place until its end.
            while limits.enter(&Caller::Anonymous).is_err() {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn what_the_work_still_reads_is_left_to_it() {
        let (request, rest) = of(request(Body::from("rest")));
        assert!(!rest.unwrap().read_on(None, true).await);
        let read = axum::body::to_bytes(request.into_body(), 10).await.unwrap();
        assert_eq!(&read[..], b"rest");
    }

    #[tokio::test]
    async fn who_waits_to_be_asked_is_not_asked() {
        let (mut asking, _) = of(request(Body::from("rest")));
        asking
            .headers_mut()
            .insert(EXPECT, "100-continue".parse().unwrap());
        let (request, rest) = of(asking);
        drop(request);
        assert!(!rest.unwrap().read_on(None, true).await);
    }
}

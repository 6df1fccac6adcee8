//! What stands before the router: the connection's peer, and JWKS straight from memory.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use tower::Service;

use crate::middleware::peer::Peer;
use crate::v1::state::SharedState;

/// The service of one connection.
#[derive(Clone)]
pub struct Connection {
    state: SharedState,
    router: Router,
    peer: Arc<Peer>,
}

impl Connection {
    pub fn new(state: SharedState, router: Router, peer: Peer) -> Self {
        Self {
            state,
            router,
            peer: Arc::new(peer),
        }
    }
}

impl<B> Service<Request<B>> for Connection
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
        let began = Instant::now();
        let known = self.state.jwks.answer(
            || self.state.services.keys.current(),
            request.method(),
            request.uri().path(),
            request.headers(),
        );
        if let Some((route, response)) = known {
            let metrics = &self.state.layer.metrics;
            metrics.answered(route, response.status(), began.elapsed());
            return Answering::Now(Some(response));
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&self.peer));
        Answering::Later(Box::pin(self.router.call(request)))
    }
}

/// The answer, at once or later.
pub enum Answering {
    Now(Option<Response>),
    Later(Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>),
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            Self::Later(future) => future.as_mut().poll(cx),
        }
    }
}

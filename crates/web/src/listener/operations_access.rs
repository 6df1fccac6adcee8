//! Who may use the operations listener. On loopback everybody; on another address its connections are
//! over TLS, or requests carry its access token, or both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use crate::listener::error::Error;
use crate::listener::tls::TlsFiles;
use crate::problem::{self, Code, Problem};
use crate::settings::Tls;

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

/// What the operations listener needs beside its address.
pub struct OperationsAccess {
    pub tls: Option<Arc<TlsFiles>>,
    token: Option<PathBuf>,
}

impl OperationsAccess {
    pub fn open(tls: Option<&Tls>, token: Option<&Path>) -> Result<Self, Error> {
        let tls = match tls {
            None => None,
            Some(tls) => Some(Arc::new(TlsFiles::open(tls.clone())?.0)),
        };
        if let Some(token) = token {
            operations_token(token)?;
        }
        Ok(Self {
            tls,
            token: token.map(Path::to_owned),
        })
    }

    /// Lets through who has the token, if there is one; everybody may ask whether the process is alive.
    pub fn guard(&self, router: Router) -> Router {
        match &self.token {
            None => router,
            Some(file) => router.layer(from_fn_with_state(Arc::<Path>::from(&**file), check)),
        }
    }
}

/// The access token in a file.
pub fn operations_token(file: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::Read {
        path: file.to_owned(),
        source,
    })?;
    let text = text.trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.len() < SHORTEST || !plain {
        return Err(Error::Token {
            path: file.to_owned(),
            shortest: SHORTEST,
        });
    }
    Ok(text.to_owned())
}

async fn check(State(file): State<Arc<Path>>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/health/live" || has_token(&file, &request) {
        return next.run(request).await;
    }
    let problem = Problem::new(
        Code::Unauthenticated,
        "expected the access token of http.operations_token_file",
    );
    let response = problem.clone().into_response();
    problem::finish(&problem, "operations", &response)
}

/// The file is read each time, so another token counts at once.
fn has_token(file: &Path, request: &Request) -> bool {
    let given = request.headers().get(AUTHORIZATION);
    let given = given.and_then(|given| given.as_bytes().strip_prefix(b"Bearer "));
    let Some(given) = given else { return false };
    let expected = match operations_token(file) {
        Ok(expected) => expected,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "nobody may use the operations listener"
            );
            return false;
        }
    };
    // Digests, so that not even the length is told by the time that it takes.
    let [given, expected] = [given, expected.as_bytes()].map(|text| digest(&SHA256, text));
    verify_slices_are_equal(given.as_ref(), expected.as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn without_the_token_there_is_nothing_but_liveness() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "short\n").unwrap();
        let error = OperationsAccess::open(None, Some(&file)).err().unwrap();
        assert!(error.to_string().contains("at least 16"), "{error}");
        std::fs::write(&file, "a-token-of-operations\n").unwrap();
        let access = OperationsAccess::open(None, Some(&file)).unwrap();
        let router = Router::new()
            .route("/health/live", get(|| async { "alive" }))
            .route("/metrics", get(|| async { "metrics" }));
        let router = access.guard(router);
        let ask = async |path: &str, bearer: &str| {
            let request = Request::get(path).header("authorization", bearer);
            let request = request.body(Body::empty()).unwrap();
            let answered = router.clone().oneshot(request).await.unwrap();
            answered.status().as_u16()
        };
        let good = "Bearer a-token-of-operations";
        assert_eq!(ask("/health/live", "").await, 200);
        assert_eq!(ask("/metrics", "").await, 401);
        assert_eq!(ask("/metrics", "Bearer another").await, 401);
        assert_eq!(ask("/metrics", good).await, 200);
        std::fs::write(&file, "another-token-of-them\n").unwrap();
        assert_eq!(ask("/metrics", good).await, 401);
        assert_eq!(ask("/metrics", "Bearer another-token-of-them").await, 200);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(ask("/metrics", good).await, 401);
    }
}

//! What is known of a route before a request comes, and who may ask for it.

use access::{Allowed, Call};
use axum::http::Method;

use crate::middleware::auth::Caller;
use crate::problem::{Code, Problem};

/// What is known of a route before a request comes.
#[derive(Debug, Clone)]
pub struct Route {
    /// As the router writes it.
    pub path: String,
    /// Its methods, each with the kind of call that it is; one without a kind is for nobody.
    pub operations: Vec<(Method, Option<Call>)>,
}

impl Route {
    /// What a request by this method is; none where the route has no such method.
    fn operation(&self, method: &Method) -> Option<Option<Call>> {
        let method = match *method {
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        let mut operations = self.operations.iter();
        let (_, call) = operations.find(|(known, _)| known == method)?;
        Some(*call)
    }

    /// Whether pages of other origins may read what is answered.
    pub fn is_public(&self, method: &Method) -> bool {
        match self.operation(method) {
            Some(call) => call.is_some_and(|call| call.allowed().is_public()),
            // That there is no such method is no secret where another one is public.
            None => {
                let mut calls = self.operations.iter().filter_map(|(_, call)| *call);
                calls.any(|call| call.allowed().is_public())
            }
        }
    }

    /// Asked before a handler sees the request: who lacks the role learns nothing else.
    pub fn permit(&self, method: &Method, caller: &Caller) -> Result<(), Problem> {
        match self.operation(method) {
            // Answered by the router, which says what there is.
            None => Ok(()),
            Some(None) => Err(Problem::new(Code::Internal, "a route that is no call")),
            // Its handler asks, because a member's signature and a closed ceremony do as well.
            Some(Some(call)) if matches!(call.allowed(), Allowed::MembersAndRoles(_)) => Ok(()),
            Some(Some(call)) => permit(call.allowed(), caller),
        }
    }
}

/// A member of the roster is recognised by a signature, which a handler verifies.
pub fn permit(allowed: Allowed, caller: &Caller) -> Result<(), Problem> {
    if allowed.is_public() {
        return Ok(());
    }
    let principal = caller.known()?;
    if allowed.includes(principal) {
        return Ok(());
    }
    let detail = format!(
        "{} does not have the role {}",
        principal.name,
        allowed.text()
    );
    Err(Problem::new(Code::Forbidden, detail))
}

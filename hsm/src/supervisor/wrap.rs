//! Wrapping work on its way to the workers.

use std::sync::Arc;
use std::time::Instant;

use super::Supervisor;
use crate::error::Error;
use crate::wrap::{Wrap, WrapRef, WrapReply, WrapWork};

fn unable() -> Error {
    Error::CannotWrap {
        reason: "not supported".to_owned(),
    }
}

impl Wrap for Supervisor {
    fn submit_wrap(&self, work: WrapWork, _deadline: Instant, reply: WrapReply) {
        reply(0, (0..work.len()).map(|_| Err(unable())).collect());
    }

    fn check_wrap(&self, _key: &Arc<WrapRef>, _deadline: Instant) -> Result<(), Error> {
        Err(unable())
    }
}

//! Who may read what is not published: a principal with the role, or a member who signs what is asked for.

use access::Call;
use axum::http::{HeaderMap, Uri};
use trust::{MemberId, MemberSignature, Sha256Digest, Time, read, sshsig};

use crate::middleware::auth::Caller;
use crate::middleware::context::RequestContext;
use crate::middleware::routes;
use crate::problem::{Code, Problem};
use crate::v1::state::ServerState;

/// The header with the instant that was signed.
pub const TIME: &str = "chancery-time";

/// The header with the armored SSH signature, in base64url.
pub const SIGNATURE: &str = "chancery-signature";

/// Longest header that is decoded: an RSA key of 8192 bits needs half of it.
const LONGEST: usize = 8_192;

/// Who reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    Principal(String),
    Member(MemberId),
}

impl Reader {
    /// Names the reader among the readers.
    pub fn key(&self) -> String {
        match self {
            Self::Principal(name) => format!("principal {name}"),
            Self::Member(member) => format!("member {member}"),
        }
    }
}

fn invalid(why: &str) -> Problem {
    Problem::new(Code::InvalidCredentials, why).about(SIGNATURE)
}

/// Whoever may read open ceremonies.
pub fn reader(
    state: &ServerState,
    context: &RequestContext,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Reader, Problem> {
    let given = (single(headers, TIME)?, single(headers, SIGNATURE)?);
    match (&context.caller, given) {
        (Caller::Anonymous, (Some(time), Some(signature))) => {
            member(state, uri, time, signature).map(Reader::Member)
        }
        (Caller::Anonymous, (None, None)) => Err(Problem::new(
            Code::Unauthenticated,
            "send an access token, use a client certificate, or sign the request as a member of the roster (Chancery-Time, Chancery-Signature)",
        )),
        (Caller::Anonymous, (None, Some(_))) => {
            Err(Problem::new(Code::BadHeader, "a read signature needs Chancery-Time").about(TIME))
        }
        (Caller::Anonymous, (Some(_), None)) => Err(Problem::new(
            Code::BadHeader,
            "an instant of reading needs Chancery-Signature",
        )
        .about(SIGNATURE)),
        (caller, _) => {
            routes::permit(Call::ReadOpenCeremonies.allowed(), caller)?;
            let principal = caller.known()?;
            Ok(Reader::Principal(principal.name.to_string()))
        }
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let bad = |why: &str| Problem::new(Code::BadHeader, why).about(name.to_owned());
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if value.len() <= LONGEST => {
            let text = value.to_str().map_err(|_| bad("expected ASCII"))?;
            Ok(Some(text))
        }
        (Some(_), None) => Err(bad("the header is too long")),
        (Some(_), Some(_)) => Err(bad("the header occurs twice")),
    }
}

fn member(
    state: &ServerState,
    uri: &Uri,
    time: &str,
    signature: &str,
) -> Result<MemberId, Problem> {
    let bad = |name: &str, why: &str| Problem::new(Code::BadHeader, why).about(name.to_owned());
    // One spelling: it is part of what was signed.
    let time: Time = time
        .parse()
        .map_err(|_| bad(TIME, "expected an instant such as 2026-11-22T09:00:00.000Z"))?;
    // Before anything is decoded: what is late costs nothing.
    let now = state.services.env.now();
    read::in_time(time, now).map_err(|error| invalid(&error.to_string()))?;
    let armored =
        trust::base64url::decode(signature).and_then(|bytes| String::from_utf8(bytes).ok());
    let armored =
        armored.ok_or_else(|| bad(SIGNATURE, "expected an armored SSH signature in base64url"))?;
    let armored =
        sshsig::normalize(&armored).map_err(|error| bad(SIGNATURE, &error.to_string()))?;
    let snapshot = state.services.keys.current();
    let trusted = snapshot.trusted().ok_or_else(|| {
        Problem::new(Code::InvalidCredentials, "no roster is installed").about(SIGNATURE)
    })?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let signature = MemberSignature::ssh(armored);
    let member = read::verify_read(trusted, path, time, &signature, now)
        .map_err(|error| invalid(&error.to_string()))?;
    if snapshot.is_suspended(member) {
        return Err(invalid("the member is suspended"));
    }
    // What was signed and not the signature: of many kinds there is more than one over the same bytes.
    let what = Sha256Digest::of(format!("{time} {path}").as_bytes());
    state.reads.take(member, what, now)?;
    Ok(member.clone())
}

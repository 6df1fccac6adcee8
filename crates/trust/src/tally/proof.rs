//! Proof values. The dangerous calls take them, and only the tally makes them.
//!
//! Their fields are private, they are not `Clone` and nothing deserialises them: to have one is to
//! have been through the tally, and to use one is to have it no more.

use crate::alg::Algorithm;
use crate::digest::Sha256Digest;
use crate::jwk::{Kid, PublicKey};
use crate::place::Location;
use crate::request::{
    ClockCorrection, Destroy, EmergencyRotation, Generate, NewOrigin, Operation, Ratification,
    Request, Resume, Revoke, RotationPolicy, StandingOrder,
};
use crate::roster::MemberId;

/// A quorum approved `order`, once.
///
/// ```compile_fail,E0277
/// fn twice<T: Clone>() {}
/// twice::<trust::Approved<trust::Generate>>();
/// ```
#[derive(Debug)]
#[must_use = "an unused approval must be recorded as such"]
pub struct Approved<O> {
    order: O,
    request: Request,
    digest: Sha256Digest,
    by: Vec<MemberId>,
}

impl<O> Approved<O> {
    /// What exactly was approved.
    pub fn order(&self) -> &O {
        &self.order
    }

    /// The whole request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Digest of the request's bytes.
    pub fn request_digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Who approved.
    pub fn approved_by(&self) -> &[MemberId] {
        &self.by
    }
}

/// An approved operation of any kind.
#[derive(Debug)]
#[must_use = "an unused approval must be recorded as such"]
pub enum ApprovedOperation {
    /// Generate.
    Generate(Approved<Generate>),
    /// Destroy.
    Destroy(Approved<Destroy>),
    /// Revoke.
    Revoke(Approved<Revoke>),
    /// Correct the times of leaves.
    ClockCorrection(Approved<ClockCorrection>),
    /// Begin a new log.
    NewOrigin(Approved<NewOrigin>),
    /// Let keys be made in advance.
    Order(Approved<Box<StandingOrder>>),
    /// End a stop of signing.
    Resume(Approved<Resume>),
    /// Rotate onto a standby key at once.
    EmergencyRotation(Approved<Box<EmergencyRotation>>),
    /// Agree with an emergency rotation.
    Ratification(Approved<Ratification>),
    /// Put a rotation policy in force.
    RotationPolicy(Approved<Box<RotationPolicy>>),
}

pub(super) fn approved(
    request: Request,
    digest: Sha256Digest,
    by: Vec<MemberId>,
) -> ApprovedOperation {
    use ApprovedOperation as A;
    fn prove<O>(
        order: O,
        request: Request,
        digest: Sha256Digest,
        by: Vec<MemberId>,
    ) -> Approved<O> {
        Approved {
            order,
            request,
            digest,
            by,
        }
    }
    match request.operation.clone() {
        Operation::Generate(order) => A::Generate(prove(order, request, digest, by)),
        Operation::Destroy(order) => A::Destroy(prove(order, request, digest, by)),
        Operation::Revoke(order) => A::Revoke(prove(order, request, digest, by)),
        Operation::ClockCorrection(order) => A::ClockCorrection(prove(order, request, digest, by)),
        Operation::NewOrigin(order) => A::NewOrigin(prove(order, request, digest, by)),
        Operation::Order(order) => A::Order(prove(order, request, digest, by)),
        Operation::Resume(order) => A::Resume(prove(order, request, digest, by)),
        Operation::EmergencyRotation(order) => {
            A::EmergencyRotation(prove(order, request, digest, by))
        }
        Operation::Ratification(order) => A::Ratification(prove(order, request, digest, by)),
        Operation::RotationPolicy(order) => A::RotationPolicy(prove(order, request, digest, by)),
    }
}

/// A quorum accepted this key: it may be published.
#[derive(Debug)]
#[must_use = "an accepted key must be published"]
pub struct Accepted {
    pub(super) kid: Kid,
    pub(super) public_key: PublicKey,
    pub(super) algorithm: Algorithm,
    pub(super) location: Location,
    pub(super) order: Generate,
    pub(super) transcript_digest: Sha256Digest,
    pub(super) by: Vec<MemberId>,
}

impl Accepted {
    /// The key.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// Its public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Where its private half was made.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// What was ordered.
    pub fn order(&self) -> &Generate {
        &self.order
    }

    /// The digest that names the finished ceremony.
    pub fn transcript_digest(&self) -> Sha256Digest {
        self.transcript_digest
    }

    /// Who accepted.
    pub fn accepted_by(&self) -> &[MemberId] {
        &self.by
    }
}

/// Proofs without a ceremony, for tests of this crate that are about something else.
#[cfg(test)]
impl<O> Approved<O> {
    pub(crate) fn for_test(order: O, request: Request) -> Self {
        Self {
            order,
            digest: Sha256Digest::of(b"test"),
            request,
            by: Vec::new(),
        }
    }
}

#[cfg(test)]
impl Accepted {
    pub(crate) fn for_test(public_key: PublicKey, order: Generate) -> Self {
        let transcript_digest = Sha256Digest::of(b"test");
        Self {
            kid: public_key.kid(),
            public_key,
            algorithm: Algorithm::Es256,
            location: crate::testing::location(),
            order,
            transcript_digest,
            by: Vec::new(),
        }
    }
}

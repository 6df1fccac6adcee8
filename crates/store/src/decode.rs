//! Rows out of columns, by the order of the column lists in [`super::statements`].

use super::engine::Columns;
use super::error::Error;
use super::rows::*;

pub(super) trait FromColumns: Sized {
    fn read(row: &impl Columns) -> Result<Self, Error>;
}

impl FromColumns for RingRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            name: row.text(0)?,
            algorithm: row.text(1)?,
            key_spec: row.text(2)?,
            usage: row.text(3)?,
            created_at: row.int(4)?,
            version: row.int(5)?,
        })
    }
}

impl FromColumns for TreeRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            size: row.int(0)?,
            root: row.text(1)?,
            clock: row.int(2)?,
            origin: row.text(3)?,
            holder: row.text(4)?,
            lease_until: row.int(5)?,
            pruned: row.int(6)?,
        })
    }
}

impl FromColumns for CheckpointRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            size: row.int(0)?,
            root: row.text(1)?,
            time: row.int(2)?,
            clock: row.int(3)?,
            kid: row.text(4)?,
            note: row.text(5)?,
            cosignatures: row.text(6)?,
        })
    }
}

impl FromColumns for KeyRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            kid: row.text(0)?,
            ring: row.text(1)?,
            number: row.int(2)?,
            state: row.text(3)?,
            role: row.maybe_text(4)?,
            spki: row.blob(5)?,
            object: row.text(6)?,
            location: row.maybe_text(7)?.unwrap_or_default(),
            published_at: row.int(8)?,
            activate_at: row.int(9)?,
            retire_at: row.int(10)?,
            activated_at: row.maybe_int(11)?,
            demoted_at: row.maybe_int(12)?,
            retired_at: row.maybe_int(13)?,
            archived_at: row.maybe_int(14)?,
            revoked_at: row.maybe_int(15)?,
            revocation_reason: row.maybe_text(16)?,
            compromised_since: row.maybe_int(17)?,
            ceremony: row.text(18)?,
        })
    }
}

impl FromColumns for LineRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            subject: row.text(0)?,
            seq: row.int(1)?,
        })
    }
}

impl FromColumns for LineHeadRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            seq: row.int(0)?,
            ceremony: row.text(1)?,
            execution: row.blob(2)?,
        })
    }
}

impl FromColumns for CeremonyRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let unknown = Error::Corrupt {
            what: "an unknown state of a ceremony",
            source: None,
        };
        Ok(Self {
            id: row.text(0)?,
            operation: row.text(1)?,
            ring: row.maybe_text(2)?,
            state: CeremonyState::parse(&row.text(3)?).ok_or(unknown)?,
            nonce: row.text(4)?,
            request: row.blob(5)?,
            execution: row.maybe_blob(6)?,
            transcript: row.maybe_blob(7)?,
            created_at: row.int(8)?,
            updated_at: row.int(9)?,
        })
    }
}

impl FromColumns for CeremonySignatureRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            ceremony: row.text(0)?,
            purpose: row.text(1)?,
            body: row.blob(2)?,
            signature: row.text(3)?,
            received_at: row.int(4)?,
        })
    }
}

impl FromColumns for VoteRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            index: row.int(5)?,
            vote: CeremonySignatureRow::read(row)?,
        })
    }
}

impl FromColumns for DocumentRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            place: row.int(0)?,
            kind: row.text(1)?,
            version: row.int(2)?,
            body: row.blob(3)?,
        })
    }
}

impl FromColumns for KeyObjectRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: row.text(0)?,
            kind: row.text(1)?,
            device: row.text(2)?,
            label: row.text(3)?,
            place: row.text(4)?,
            location: row.maybe_text(5)?,
            ring: row.text(6)?,
            number: row.int(7)?,
            ceremony: row.text(8)?,
            state: row.text(9)?,
            kid: row.maybe_text(10)?,
            destruction: row.maybe_text(11)?,
            created_at: row.int(12)?,
            updated_at: row.int(13)?,
        })
    }
}

impl FromColumns for CredentialRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            kind: row.text(0)?,
            value: row.text(1)?,
            principal: row.text(2)?,
            roles: row.text(3)?,
            created_at: row.int(4)?,
            expires_at: row.maybe_int(5)?,
            withdrawn_at: row.maybe_int(6)?,
        })
    }
}

impl FromColumns for LeafRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            index: row.int(0)?,
            time: row.int(1)?,
            kind: row.text(2)?,
            ring: row.maybe_text(3)?,
            kid: row.maybe_text(4)?,
            sig_hash: row.maybe_text(5)?,
            body: row.text(6)?,
        })
    }
}

impl FromColumns for IdempotentAnswer {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            request_hash: row.text(0)?,
            response: row.text(1)?,
            index: row.int(2)?,
            time: row.int(3)?,
        })
    }
}

impl FromColumns for Occurrence {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            sig_hash: row.text(0)?,
            index: row.int(1)?,
            time: row.int(2)?,
            kid: row.text(3)?,
        })
    }
}

//! Leaves in, and later tiles, checkpoints and receipts out. The one place where the audit trail
//! is written: signatures in group commits, every other act in the same transaction as its effect.


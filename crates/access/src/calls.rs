//! Which role may do what: the one table. A role that no row names may do what anybody may. What decides under a
//! quorum has no row, because no role replaces a custodian's signature.

use store::RoleKind;

use crate::Principal;

/// What a caller asks for. Each route of the interface is of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Keys, their history, transcripts of closed ceremonies, the description.
    ReadPublished,
    /// Checkpoints, tiles, receipts, evidence.
    ReadLog,
    /// Verdicts, and what a key signed.
    Verify,
    /// Rings, keys with their places, assets, and the policies by which they rotate.
    ReadInventory,
    /// Assets and policies are changed. No role changes the policy of a critical key type.
    ManageInventory,
    /// Every leaf of the log as the service keeps it.
    ReadAuditTrail,
    /// Signatures by a ring.
    Sign,
    /// Ceremonies that are not closed. A member of the roster may as well, who signs the request; a closed one is public.
    ReadOpenCeremonies,
    /// Proposals and members' signatures: they authenticate themselves.
    SubmitToCeremonies,
    /// Rotations, how well policies are kept, and the scheduler with its jobs.
    ReadRotations,
    /// Alerts, with who looks after each.
    ReadAlerts,
    /// Somebody looks after an alert, or does not want to be told of it for a while.
    AttendToAlerts,
    /// The plan, rotations that are asked for, ended or tried again, and the scheduler's pause. It never replaces a quorum.
    AdministerRotations,
    /// An emergency is declared and what it takes is drafted; members of the roster order it.
    DeclareEmergency,
    /// Somebody says that a rotation that happens elsewhere, or a step of it, is done.
    ReportRotations,
    /// Somebody says that somebody else may have a key. It calls people and changes nothing.
    ReportCompromise,
    /// A verifier says that it has a key.
    AcknowledgeKeys,
}

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    Anybody,
    /// A member of the roster who signs the request, or a principal with one of these roles.
    MembersAndRoles(&'static [RoleKind]),
    /// A principal with one of these roles; for a role that is restricted, within its restriction.
    Roles(&'static [RoleKind]),
}

/// The table.
const TABLE: [(Call, &str, Allowed); 17] = {
    use Allowed::{Anybody, MembersAndRoles, Roles};
    use RoleKind as R;
    [
        (Call::ReadPublished, "read-published", Anybody),
        (Call::ReadLog, "read-log", Anybody),
        (Call::Verify, "verify", Anybody),
        (
            Call::ReadInventory,
            "read-inventory",
            Roles(&[R::Operator, R::Administrator, R::OnCall]),
        ),
        (
            Call::ManageInventory,
            "manage-inventory",
            Roles(&[R::Administrator]),
        ),
        (
            Call::ReadAuditTrail,
            "read-audit-trail",
            Roles(&[R::Auditor]),
        ),
        (Call::Sign, "sign", Roles(&[R::Signer])),
        (
            Call::ReadOpenCeremonies,
            "read-open-ceremonies",
            MembersAndRoles(&[R::Operator, R::Administrator, R::OnCall, R::Auditor]),
        ),
        (Call::SubmitToCeremonies, "submit-to-ceremonies", Anybody),
        (
            Call::ReadRotations,
            "read-rotations",
            Roles(&[R::Operator, R::Administrator, R::OnCall, R::Auditor]),
        ),
        (
            Call::ReadAlerts,
            "read-alerts",
            Roles(&[R::Operator, R::Administrator, R::OnCall, R::Auditor]),
        ),
        (
            Call::AttendToAlerts,
            "attend-to-alerts",
            Roles(&[R::Operator, R::Administrator, R::OnCall]),
        ),
        (
            Call::AdministerRotations,
            "administer-rotations",
            Roles(&[R::Administrator]),
        ),
        (
            Call::DeclareEmergency,
            "declare-emergency",
            Roles(&[R::Administrator, R::OnCall]),
        ),
        (
            Call::ReportRotations,
            "report-rotations",
            Roles(&[R::Reporter, R::Administrator]),
        ),
        (
            Call::ReportCompromise,
            "report-compromise",
            Roles(&[R::Reporter, R::Operator, R::Administrator, R::OnCall]),
        ),
        (
            Call::AcknowledgeKeys,
            "acknowledge-keys",
            Roles(&[R::Prober]),
        ),
    ]
};

impl Call {
    /// A call without a row is for nobody.
    pub fn allowed(self) -> Allowed {
        let row = TABLE.iter().find(|(call, _, _)| *call == self);
        row.map_or(Allowed::Roles(&[]), |(_, _, allowed)| *allowed)
    }

    pub fn name(self) -> &'static str {
        let row = TABLE.iter().find(|(call, _, _)| *call == self);
        row.map_or("", |(_, name, _)| name)
    }
}

impl Allowed {
    pub fn is_public(self) -> bool {
        self == Self::Anybody
    }

    /// As far as the kind of a role says. Whether a restricted role covers the ring or name that is asked for, is
    /// for whoever knows it.
    pub fn includes(self, principal: &Principal) -> bool {
        match self {
            Self::Anybody => true,
            Self::Roles(roles) | Self::MembersAndRoles(roles) => {
                (principal.roles.iter()).any(|role| roles.contains(&role.kind()))
            }
        }
    }

    /// For people: the roles that would do.
    pub fn text(self) -> String {
        match self {
            Self::Anybody => "anybody".to_owned(),
            Self::Roles(roles) | Self::MembersAndRoles(roles) => {
                let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
                names.join(" or ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn the_table_has_each_call_once() {
        for (call, name, allowed) in TABLE {
            assert_eq!(call.allowed(), allowed);
            assert_eq!(call.name(), name);
        }
    }

    #[test]
    fn a_role_alone_does_what_its_rows_say() {
        let holder = |text: &str| Principal {
            name: "a".into(),
            roles: [text.parse::<Role>().unwrap()].into(),
            expires_at: None,
        };
        let may = |text, call: Call| call.allowed().includes(&holder(text));
        assert!(may("auditor", Call::ReadAuditTrail) && !may("auditor", Call::ReadInventory));
        assert!(may("on-call", Call::ReadInventory) && !may("on-call", Call::ReadAuditTrail));
        assert!(may("on-call", Call::AttendToAlerts) && may("operator", Call::AttendToAlerts));
        assert!(may("auditor", Call::ReadAlerts) && !may("auditor", Call::AttendToAlerts));
        assert!(may("prober", Call::AcknowledgeKeys) && !may("prober", Call::ReadRotations));
        for text in ["gateway", "secret-reader:*", "encrypter:records"] {
            for (call, _, allowed) in TABLE {
                assert_eq!(may(text, call), allowed.is_public(), "{text} {call:?}");
            }
        }
        assert!(
            !Allowed::Roles(&[]).includes(&holder("administrator")),
            "a call without a row"
        );
    }

    #[test]
    fn threat_a_reporter_of_one_asset_reports_for_another() {
        let may = |role: &str, asset: &str| {
            let principal = Principal {
                name: "a".into(),
                roles: [role.parse::<Role>().unwrap()].into(),
                expires_at: None,
            };
            principal.may_report(asset)
        };
        assert!(may("reporter:external/a", "external/a"));
        assert!(may("reporter:external/*", "external/a"));
        assert!(may("administrator", "external/a"));
        for role in [
            "reporter:external/b",
            "reporter:external/",
            "reporter:signing/*",
            "operator",
        ] {
            assert!(!may(role, "external/a"), "{role}");
        }
    }
}

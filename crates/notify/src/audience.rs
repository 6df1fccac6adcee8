//! Whom an event concerns.

use trust::{Member, MemberId, Role, Roster};

use crate::event::EventKind;

impl EventKind {
    /// Whom a passkey that may be copied concerns: whose it is, and those on call.
    pub fn of_passkey(roster: &Roster, actor: &str) -> Vec<MemberId> {
        let whose = actor.split_once(':').map(|(_, id)| id);
        let concerned = |member: &&Member| {
            Some(member.id.as_str()) == whose || member.roles.contains(&Role::OnCall)
        };
        let active = roster.members.iter().filter(|member| member.active);
        active
            .filter(concerned)
            .map(|member| member.id.clone())
            .collect()
    }

    /// Whom it concerns: those who are asked, or all who can be. The proposer does not count, and is told of the end.
    pub fn audience(self, roster: &Roster, proposer: Option<&MemberId>) -> Vec<MemberId> {
        if self.is_of_a_rotation() && self != Self::EmergencyDeclared {
            let roles = [Role::Custodian, Role::OnCall, Role::Operator];
            let active = roster.members.iter().filter(|member| member.active);
            let concerned = active.filter(|one| roles.iter().any(|role| one.roles.contains(role)));
            return concerned.map(|member| member.id.clone()).collect();
        }
        if self.is_of_an_alert() {
            let roles = [Role::OnCall, Role::Operator];
            let active = || roster.members.iter().filter(|member| member.active);
            let called = |one: &&Member| roles.iter().any(|role| one.roles.contains(role));
            // Where nobody is on call somebody is told all the same.
            let told: Vec<&Member> = match active().any(|member| called(&member)) {
                true => active().filter(called).collect(),
                false => roster.active(Role::Custodian).collect(),
            };
            return told.into_iter().map(|member| member.id.clone()).collect();
        }
        let everybody = matches!(
            self,
            Self::TrustRecovery
                | Self::EmergencyDeclared
                | Self::EmergencyStopped
                | Self::EmergencyResumed
                | Self::EmergencyRotated
                | Self::EmergencyRatified
                | Self::RatificationDue
                | Self::RatificationMissed
        );
        if everybody {
            let members = roster.members.iter().filter(|member| member.active);
            return members.map(|member| member.id.clone()).collect();
        }
        let custodians = roster.active(Role::Custodian);
        let asked = custodians.filter(|member| !self.asks() || Some(&member.id) != proposer);
        let mut ids: Vec<MemberId> = asked.map(|member| member.id.clone()).collect();
        if let Some(proposer) = proposer.filter(|id| !self.asks() && !ids.contains(id)) {
            ids.push(proposer.clone());
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passkey_that_may_be_copied_concerns_whose_it_is_and_those_on_call() {
        let member = |id: &str, roles: &[&str], active: bool| serde_json::json!({"id": id, "name": id, "roles": roles, "keys": [], "active": active});
        let roster: Roster = serde_json::from_value(serde_json::json!({
            "v": 1, "service": "chancery", "environment": "test", "version": 1, "previous": null,
            "members": [
                member("ada", &["custodian"], true),
                member("berta", &["custodian"], true),
                member("carl", &["on-call"], true),
                member("dora", &["on-call"], false),
            ], "expires_at": null, "passkeys": null,
        }))
        .unwrap();
        let told = |actor| {
            let ids = EventKind::of_passkey(&roster, actor);
            ids.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told("custodian:ada"), ["ada", "carl"]);
        assert_eq!(told("cli:0:root"), ["carl"]);
    }

    #[test]
    fn rotations_concern_those_who_hold_keys_and_those_who_run_the_service() {
        let member = |id: &str, roles: &[&str], active: bool| serde_json::json!({"id": id, "name": id, "roles": roles, "keys": [], "active": active});
        let roster: Roster = serde_json::from_value(serde_json::json!({
            "v": 1, "service": "chancery", "environment": "test", "version": 1, "previous": null,
            "members": [
                member("ada", &["custodian"], true),
                member("carl", &["on-call"], true),
                member("dora", &["operator"], false),
                member("emil", &["operator"], true),
                member("robot", &["executor"], true),
            ], "expires_at": null, "passkeys": null,
        }))
        .unwrap();
        let told = |kind: EventKind| {
            let ids = kind.audience(&roster, None);
            ids.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(EventKind::RotationLate), ["ada", "carl", "emil"]);
        assert_eq!(told(EventKind::AlertFiring), ["carl", "emil"]);
        let all = ["ada", "carl", "emil", "robot"];
        assert_eq!(told(EventKind::EmergencyDeclared), all);
    }
}

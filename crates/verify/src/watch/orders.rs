//! What a monitor tells of standing orders: that one was approved, used or withdrawn; and a use, or a key, outside of its
//! order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trust::acts::Act;
use trust::finding::Findings;
use trust::leaf::{ActKind, ActLeaf};
use trust::order_log::{ACCEPTED, LoggedUse, MAKING, ORDERED, UseFault, UsePlace, check_use};
use trust::withdrawal::{USE, WITHDRAW};

/// Acts about standing orders and the keys under them, in the order of the log. They grow with keys and with rosters, not
/// with what is signed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    acts: Vec<Act>,
    /// Acts before this leaf were read by a program that did not keep them.
    from: u64,
    /// Where acts are that name an order or a ceremony.
    #[serde(skip)]
    about: BTreeMap<String, Vec<usize>>,
    /// Ceremonies that a use proposed, and those that carried an order out.
    #[serde(skip)]
    ceremonies: BTreeMap<String, Of>,
}

/// What a ceremony is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Order,
    Use,
}

impl Orders {
    /// Of a log of which the first leaves were read and not kept.
    pub fn from(first: u64) -> Self {
        Self {
            from: first,
            ..Self::default()
        }
    }

    /// As it is remembered.
    pub fn resume(remembered: &Self) -> Self {
        let mut orders = Self::from(remembered.from);
        let acts = remembered.acts.iter().cloned();
        acts.for_each(|act| orders.keep(act));
        orders
    }

    /// The next act, if it is about an order; and what is to be told of it.
    pub fn note(&mut self, act: &Act, findings: &mut Findings) {
        let leaf = &act.leaf;
        let ceremony = leaf.reference.as_ref();
        let of = ceremony.and_then(|ceremony| self.ceremonies.get(ceremony).copied());
        match (leaf.kind, leaf.action.as_str(), of) {
            (ActKind::Order, USE, _) => self.used(act, findings),
            (ActKind::Order, WITHDRAW, _) => findings.remark(format!(
                "leaf {}: standing order {} was withdrawn by {}",
                act.index,
                named(leaf),
                leaf.actor
            )),
            (ActKind::Ceremony, ACCEPTED, Some(Of::Order)) => findings.remark(format!(
                "leaf {}: a standing order for ring {} was approved in ceremony {}",
                act.index,
                leaf.ring.as_deref().unwrap_or_default(),
                named(leaf)
            )),
            (ActKind::Roster, action, _) if action.starts_with("install-") => {}
            (ActKind::Ceremony, ORDERED, _) | (ActKind::Ceremony, ACCEPTED, Some(Of::Use)) => {}
            (ActKind::Ceremony, action, Some(Of::Use)) if MAKING.contains(&action) => {}
            _ => return,
        }
        self.keep(act.clone());
    }

    fn keep(&mut self, act: Act) {
        let leaf = &act.leaf;
        match (leaf.kind, leaf.action.as_str(), leaf.digest) {
            (ActKind::Order, USE, Some(request)) => {
                self.ceremonies.insert(request.to_string(), Of::Use);
            }
            (ActKind::Ceremony, ORDERED, _) => {
                self.ceremonies.insert(named(leaf).to_owned(), Of::Order);
            }
            _ => {}
        }
        let about = self.about.entry(named(leaf).to_owned()).or_default();
        about.push(self.acts.len());
        self.acts.push(act);
    }

    fn about(&self, named: &str) -> impl Iterator<Item = &Act> {
        let places = self.about.get(named).into_iter().flatten();
        places.filter_map(|place| self.acts.get(*place))
    }

    /// A use is outside of its order whatever comes of it: once more, or after the withdrawal.
    fn used(&self, act: &Act, findings: &mut Findings) {
        let leaf = &act.leaf;
        let (order, number) = (named(leaf), leaf.use_number.unwrap_or_default());
        let mut before = self.about(order);
        let against = before.find_map(|each| match each.leaf.action.as_str() {
            WITHDRAW => Some(format!("it was withdrawn in leaf {}", each.index)),
            USE if each.leaf.use_number == leaf.use_number => {
                Some(format!("leaf {} took this use", each.index))
            }
            _ => None,
        });
        match against {
            None => findings.remark(format!(
                "leaf {}: use {number} of standing order {order} was taken",
                act.index
            )),
            Some(why) => {
                let what =
                    format!("use {number} of standing order {order} is outside of it: {why}");
                findings.add("order", Some(act.index), what);
            }
        }
    }

    /// What the log has against a key under an order; nothing where its beginning was not kept. Whom a suspension
    /// concerns, no leaf tells.
    pub fn fault<'a>(
        &'a self,
        used: &LoggedUse,
        accepted: i64,
        of_keys: impl IntoIterator<Item = &'a Act>,
    ) -> Option<UseFault> {
        if self.from > 0 {
            return None;
        }
        // The genesis is the first document, and not told of in every log.
        let installed = self.acts.iter().filter(|act| {
            let action = act.leaf.action.as_str();
            action.starts_with("install-") && action != "install-genesis"
        });
        let next = usize::try_from(used.order.documents).unwrap_or(usize::MAX);
        let place = UsePlace {
            accepted,
            ended: installed.map(|act| act.index).nth(next.saturating_sub(1)),
            suspensions: &[],
        };
        let names = [
            used.used.id.to_string(),
            used.order.request.to_string(),
            used.request.to_string(),
        ];
        let acts = names.iter().flat_map(|named| self.about(named));
        check_use(used, &place, acts.chain(of_keys)).err()
    }
}

/// The order or the ceremony of a leaf.
fn named(leaf: &ActLeaf) -> &str {
    leaf.reference.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use trust::bytes16::Nonce;
    use trust::logged_quorum::{Decision, Quorum};
    use trust::order_log::LoggedOrder;
    use trust::request::{OrderUse, OrderWindow};
    use trust::{Kid, Sha256Digest, Time};

    use super::*;

    const ORDER: Nonce = Nonce([5; 16]);

    fn digest(text: &str) -> Sha256Digest {
        Sha256Digest::of(text.as_bytes())
    }

    fn kid(letter: &str) -> Kid {
        letter.repeat(43).parse().unwrap()
    }

    fn act(index: i64, kind: ActKind, action: &str, reference: String, told: &str) -> Act {
        Act {
            index,
            leaf: ActLeaf {
                digest: Some(digest(told)),
                reference: Some(reference),
                ring: Some("atp".to_owned()),
                ..ActLeaf::new(kind, action, "custodian:carol", Time::from_millis(index))
            },
        }
    }

    fn of_order(index: i64, action: &str, number: Option<u64>, request: &str) -> Act {
        let mut act = act(index, ActKind::Order, action, ORDER.to_string(), request);
        act.leaf.use_number = number;
        act
    }

    fn of_ceremony(index: i64, action: &str, request: &str, told: &str, key: &str) -> Act {
        let request = digest(request).to_string();
        let mut act = act(index, ActKind::Ceremony, action, request, told);
        act.leaf.kid = (!key.is_empty()).then(|| kid(key));
        act
    }

    /// An order, a use of it, and its key.
    fn story() -> Vec<Act> {
        vec![
            of_ceremony(5, ORDERED, "order", "ordered", ""),
            of_ceremony(6, ACCEPTED, "order", "order's transcript", ""),
            of_order(11, USE, Some(1), "mine"),
            of_ceremony(12, MAKING[0], "mine", "intent", ""),
            of_ceremony(13, MAKING[1], "mine", "made", "A"),
            of_ceremony(15, ACCEPTED, "mine", "transcript", "A"),
        ]
    }

    fn read(acts: &[Act]) -> (Orders, Vec<String>, Vec<String>) {
        let (mut orders, mut findings) = (Orders::default(), Findings::default());
        for act in acts {
            orders.note(act, &mut findings);
        }
        let (found, told) = findings.into_parts();
        let found = found.into_iter().map(|finding| finding.what);
        (orders, found.collect(), told)
    }

    fn nobody() -> Quorum {
        Quorum {
            members: Vec::new(),
            by_passkey: Vec::new(),
            needed: 0,
            keys: 0,
        }
    }

    fn expected() -> LoggedUse {
        LoggedUse {
            used: OrderUse {
                id: ORDER,
                number: std::num::NonZeroU32::MIN,
            },
            request: digest("mine"),
            execution: digest("made"),
            core: digest("transcript"),
            kid: kid("A"),
            ring: "atp".parse().unwrap(),
            predecessor: kid("E"),
            executor: "robot".parse().unwrap(),
            approved: nobody(),
            by_executor: true,
            earliest: Time::from_millis(10),
            window: OrderWindow::always(),
            execute_by: Time::from_millis(20),
            order: LoggedOrder {
                request: digest("order"),
                execution: digest("ordered"),
                core: digest("order's transcript"),
                execute_by: Time::from_millis(8),
                documents: 1,
                decision: Decision {
                    proposer: None,
                    approved: nobody(),
                    accepted: nobody(),
                },
            },
        }
    }

    #[test]
    fn an_order_is_told_of_when_it_is_approved_used_and_withdrawn() {
        let mut acts = story();
        acts.push(of_order(16, WITHDRAW, None, "w"));
        let (_, found, told) = read(&acts);
        assert_eq!(found, [""; 0]);
        let order = ORDER.to_string();
        assert_eq!(told.len(), 3);
        assert!(told[0].starts_with("leaf 6: a standing order for ring atp was approved"));
        assert_eq!(
            told[1],
            format!("leaf 11: use 1 of standing order {order} was taken")
        );
        assert!(
            told[2].ends_with("was withdrawn by custodian:carol"),
            "{}",
            told[2]
        );
        // Of other ceremonies there is nothing to tell here.
        let others = [of_ceremony(1, ACCEPTED, "other", "x", "I")];
        assert_eq!(read(&others).2, [""; 0]);
    }

    #[test]
    fn threat_a_use_outside_of_its_order_is_told() {
        let with = |act: Act| {
            let mut acts = story();
            acts.push(act);
            acts
        };
        let twice = with(of_order(16, USE, Some(1), "other"));
        assert!(read(&twice).1[0].ends_with("leaf 11 took this use"));
        let mut late = with(of_order(16, WITHDRAW, None, "w"));
        late.push(of_order(17, USE, Some(2), "other"));
        assert!(read(&late).1[0].ends_with("it was withdrawn in leaf 16"));
    }

    #[test]
    fn threat_a_published_key_is_outside_of_its_order() {
        let before = of_ceremony(7, ACCEPTED, "another", "another", "E");
        let fault = |acts: &[Act]| {
            let orders = read(acts).0;
            let kept = serde_json::to_vec(&orders).unwrap();
            let kept: Orders = serde_json::from_slice(&kept).unwrap();
            let found = orders.fault(&expected(), 15, [&before]);
            // The same after it was remembered.
            let again = Orders::resume(&kept).fault(&expected(), 15, [&before]);
            assert_eq!(found, again);
            found
        };
        assert_eq!(fault(&story()), None);
        assert_eq!(fault(&story()[1..]), Some(UseFault::OrderUnlogged));
        let mut withdrawn = story();
        withdrawn.insert(5, of_order(14, WITHDRAW, None, "w"));
        assert_eq!(fault(&withdrawn), Some(UseFault::Withdrawn(14)));
        let installed = Act {
            index: 4,
            leaf: ActLeaf::new(ActKind::Roster, "install-roster", "x", Time::from_millis(4)),
        };
        let former = [vec![installed], story()].concat();
        assert_eq!(fault(&former), Some(UseFault::FormerRoster(6)));
        // What an older program read, nobody knows any more.
        let mut orders = Orders::from(9);
        for act in &story()[2..] {
            orders.note(act, &mut Findings::default());
        }
        assert_eq!(orders.fault(&expected(), 15, [&before]), None);
    }
}

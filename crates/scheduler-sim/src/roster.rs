//! What a server has on its disk about the workers that it welcomed, for the next server. The real one's is
//! `distccd-server/src/roster.rs`; this one does the same in the same order.

use std::collections::BTreeSet;
use std::time::Duration;

use model::ids::Incarnation;
use model::time::Timestamp;
use scheduler_core::Input;

/// The workers that may run something, as far as the disk knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    members: BTreeSet<Incarnation>,
    /// Those that this server has not met itself.
    inherited: BTreeSet<Incarnation>,
    /// Without a roster of its own a server knows whoever may run something only when its first lease is over.
    is_complete: bool,
    /// Written when the worker is long welcome: the planted bug.
    late: Option<Vec<(Timestamp, Incarnation)>>,
}

impl Roster {
    /// What a server makes of what it finds, and what its scheduler is told first. `is_late` plants the bug.
    pub(crate) fn take_over(found: Option<Self>, lease: Duration, is_late: bool) -> (Self, Input) {
        let late = is_late.then(Vec::new);
        let Some(before) = found.filter(|roster| roster.is_complete) else {
            return (Self { late, ..Self::default() }, Input::Wake);
        };
        let members = before.members;
        let told = Input::Roster { expected: members.iter().copied().collect(), lease };
        (Self { inherited: members.clone(), members, is_complete: true, late }, told)
    }

    /// Before a worker is welcomed.
    pub(crate) fn enter(&mut self, now: Timestamp, who: Incarnation) {
        self.inherited.remove(&who);
        match &mut self.late {
            Some(late) => late.push((now, who)),
            None => drop(self.members.insert(who)),
        }
    }

    /// It is dead, and whoever runs something is on the roster without it. True if it was there.
    pub(crate) fn leave(&mut self, who: Incarnation) -> bool {
        self.inherited.remove(&who);
        self.members.remove(&who)
    }

    /// After this server's first lease whoever has not come is dead.
    pub(crate) fn on_time(&mut self, now: Timestamp, lease: Duration) {
        if now >= Timestamp::ZERO + lease {
            let dead = std::mem::take(&mut self.inherited);
            self.members.retain(|member| !dead.contains(member));
            self.is_complete = true;
        }
        if let Some(late) = &mut self.late {
            let written: Vec<_> = late.extract_if(.., |(since, _)| now >= *since + lease).collect();
            self.members.extend(written.into_iter().map(|(_, who)| who));
        }
    }
}

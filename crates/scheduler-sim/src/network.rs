//! Links between the server and the others: ordered both ways like TCP, slow now and then, and breakable at any
//! moment with whatever is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::time::Timestamp;

use crate::rng::Rng;

/// One connection; never used again after it broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// Who is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Worker(usize),
    Launcher(usize),
}

#[derive(Debug)]
struct Link {
    peer: Peer,
    /// When the last message of each direction arrives: later ones arrive later.
    last_arrival: [Timestamp; 2],
    /// Something was lost on it, so nothing later can arrive either.
    holed: bool,
}

/// All links that have not broken.
#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<LinkId, Link>,
    /// One way to those that are not near.
    distances: BTreeMap<Peer, Duration>,
    cut_off: BTreeSet<Peer>,
    next: u64,
}

impl Network {
    pub(crate) fn connect(&mut self, peer: Peer) -> LinkId {
        let id = LinkId(self.next);
        self.next += 1;
        self.links.insert(id, Link { peer, last_arrival: [Timestamp::ZERO; 2], holed: false });
        id
    }

    /// From now on messages take so much longer to or from this peer.
    pub(crate) fn move_away(&mut self, peer: Peer, distance: Duration) {
        self.distances.insert(peer, distance);
    }

    pub(crate) fn is_cut_off(&self, peer: Peer) -> bool {
        self.cut_off.contains(&peer)
    }

    /// From now on nothing gets through to or from this peer, and nobody is told.
    pub(crate) fn cut_off(&mut self, peer: Peer) {
        self.cut_off.insert(peer);
    }

    /// Ends a partition; links that lost something meanwhile are to be broken.
    pub(crate) fn heal(&mut self, peer: Peer) -> Vec<LinkId> {
        self.cut_off.remove(&peer);
        self.links.iter().filter(|(_, link)| link.peer == peer && link.holed).map(|(&id, _)| id).collect()
    }

    pub(crate) fn all(&self) -> Vec<LinkId> {
        self.links.keys().copied().collect()
    }

    pub(crate) fn of_peer(&self, peer: Peer) -> Vec<LinkId> {
        self.links.iter().filter(|(_, link)| link.peer == peer).map(|(&id, _)| id).collect()
    }

    /// Who is at the other end of a link that has not broken.
    pub(crate) fn peer(&self, id: LinkId) -> Option<Peer> {
        self.links.get(&id).map(|link| link.peer)
    }

    /// The peer that has to be told, if the link was there.
    pub(crate) fn break_link(&mut self, id: LinkId) -> Option<Peer> {
        self.links.remove(&id).map(|link| link.peer)
    }

    /// When a message sent now arrives, if the link is there.
    pub(crate) fn arrival(&mut self, id: LinkId, to_server: bool, now: Timestamp, rng: &mut Rng) -> Option<Timestamp> {
        let link = self.links.get_mut(&id)?;
        let distance = self.distances.get(&link.peer).copied().unwrap_or_default();
        let delay = distance + if rng.percent(1) { rng.millis(200, 1_500) } else { rng.millis(0, 8) };
        let last = &mut link.last_arrival[usize::from(to_server)];
        *last = (now + delay).max(*last + Duration::from_micros(1));
        Some(*last)
    }

    /// Whether a message arrives, now that it should; and at whom.
    pub(crate) fn deliver(&mut self, id: LinkId) -> Option<Peer> {
        let link = self.links.get_mut(&id)?;
        link.holed |= self.cut_off.contains(&link.peer);
        (!link.holed).then_some(link.peer)
    }
}

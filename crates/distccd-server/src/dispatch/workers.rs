//! Workers: their sessions, who sits where, and the directories that each has touched.

use model::ids::{DirKey, Incarnation, WorkerId};
use proto::convert::dir_keys;
use proto::v1::{self, worker_order};

use super::{Dispatch, Worker, micros};
use crate::SOFTWARE;
use crate::fact::Seat;
use crate::mount_check;
use crate::peer;
use crate::session::outbox::Outbox;

/// Directories remembered per worker between its full reports.
const MAX_DIRS: usize = 4096;

impl Dispatch {
    /// Gives a worker its number: the one that its incarnation has already, or a new one.
    pub fn seat_worker(&mut self, register: &v1::Register, entry: u64, orders: Outbox<v1::WorkerOrder>) -> Seat {
        self.conversations += 1;
        let incarnation = incarnation_of(register);
        let known = self.workers.iter().find(|(_, worker)| incarnation_of(&worker.register) == incarnation);
        let worker = known.map(|(&id, _)| id).unwrap_or_else(|| {
            self.numbers += 1;
            WorkerId::new(self.numbers)
        });
        let name = self.name_for(worker, &register.name);
        tracing::info!(
            worker = worker.number(),
            name,
            slots = register.slots,
            linking = register.linking,
            "worker joined"
        );
        if register.lost_slots > 0 {
            let lost = register.lost_slots;
            tracing::warn!(worker = worker.number(), name, lost, "something there survives SIGKILL, and holds slots");
        }
        for refused in mount_check::refused(register) {
            let mount = String::from_utf8_lossy(&refused.path).into_owned();
            tracing::warn!(worker = worker.number(), name, mount, "no jobs of this mount: it {}", refused.problem);
        }
        let seat = Seat { worker, conversation: self.conversations };
        let dirs = self.workers.remove(&worker).map(|known| known.dirs).unwrap_or_default();
        // Assignments that were on their way may have been lost, with what they told.
        self.directories.forget_told(worker);
        let entry = Worker {
            name,
            register: register.clone(),
            dirs,
            conversation: seat.conversation,
            orders: Some(orders),
            said_goodbye: false,
            dead: false,
            entry,
        };
        self.workers.insert(worker, entry);
        seat
    }

    /// Several workers of one host are told apart by their numbers.
    /// What a worker is called; nothing when it left.
    #[must_use]
    pub fn worker_name(&self, id: WorkerId) -> String {
        self.workers.get(&id).map_or_else(String::new, |worker| worker.name.clone())
    }

    fn name_for(&self, id: WorkerId, wanted: &str) -> String {
        let taken = self.workers.iter().any(|(&other, worker)| other != id && worker.name == wanted);
        if taken { format!("{wanted}#{}", id.number()) } else { wanted.to_owned() }
    }

    /// Tells a worker that it is in.
    pub fn welcome(&mut self, worker: WorkerId) {
        let hello = proto::version::hello(SOFTWARE, *self.incarnation.as_bytes(), &peer::host_name());
        let welcome = v1::Welcome {
            hello: Some(hello),
            worker_id: worker.number(),
            lease_us: micros(self.lease),
            heartbeat_us: micros(self.heartbeat),
            refused_mounts: self.workers.get(&worker).map(|it| mount_check::refused(&it.register)).unwrap_or_default(),
        };
        self.order(worker, worker_order::Message::Welcome(welcome));
    }

    /// Whether this is the worker's present conversation, with a worker that has not been forgotten.
    #[must_use]
    pub fn is_current(&self, seat: Seat) -> bool {
        self.workers.get(&seat.worker).is_some_and(|worker| worker.conversation == seat.conversation)
    }

    /// Closes a worker's conversation; false when it was not the present one.
    pub fn unseat_worker(&mut self, seat: Seat) -> bool {
        let current = self.is_current(seat);
        if let Some(worker) = self.workers.get_mut(&seat.worker).filter(|_| current) {
            worker.orders = None;
            tracing::info!(worker = seat.worker.number(), name = worker.name, "worker disconnected");
        }
        current
    }

    /// Notes that a worker goes by its own will.
    pub fn note_goodbye(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.said_goodbye = true;
        }
    }

    /// Notes that a worker is dead and nothing of it runs any more, if it is the worker's own spawner that says so.
    pub fn note_death(&mut self, obituary: &v1::Obituary) -> Option<WorkerId> {
        let is_it = |worker: &Worker| incarnation_of(&worker.register) == obituary.incarnation;
        let (&id, worker) = self.workers.iter_mut().find(|(_, worker)| is_it(worker))?;
        if obituary.key.is_empty() || worker.register.obituary_key != obituary.key {
            tracing::warn!(worker = id.number(), name = worker.name, "somebody else claims that this worker is dead");
            return None;
        }
        tracing::info!(
            worker = id.number(),
            name = worker.name,
            "the worker was killed, and nothing of it runs any more"
        );
        worker.dead = true;
        Some(id)
    }

    /// Whether the worker's spawner has told its death.
    #[must_use]
    pub fn is_dead(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.dead)
    }

    /// Whether the worker has a conversation.
    #[must_use]
    pub fn is_seated(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.orders.is_some())
    }

    /// Acknowledges a heartbeat, unless the scheduler has meanwhile forgotten the worker.
    pub fn acknowledge_heartbeat(&mut self, seat: Seat, sequence: u64) {
        if self.is_current(seat) {
            self.order(seat.worker, worker_order::Message::HeartbeatAck(v1::HeartbeatAck { sequence }));
        }
    }

    /// Replaces what is known of a worker's warm directories.
    pub fn set_dirs(&mut self, worker: WorkerId, dirs: Vec<DirKey>) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.dirs = dirs;
            worker.dirs.truncate(MAX_DIRS);
        }
    }

    /// Adds directories that a worker touched, the last one most recently; the whole list, warmest first, when it
    /// changed.
    pub fn touch_dirs(&mut self, worker: WorkerId, touched: &[bytes::Bytes]) -> Option<Vec<DirKey>> {
        let keys = dir_keys(touched);
        let worker = self.workers.get_mut(&worker).filter(|_| !keys.is_empty())?;
        for key in keys {
            worker.dirs.retain(|&known| known != key);
            worker.dirs.insert(0, key);
        }
        worker.dirs.truncate(MAX_DIRS);
        Some(worker.dirs.clone())
    }

    /// Queues an order; a worker that does not read is cut off, and comes back by itself.
    pub(super) fn order(&mut self, worker: WorkerId, message: worker_order::Message) {
        let Some(worker) = self.workers.get_mut(&worker) else { return };
        let sent = worker.orders.as_ref().map(|orders| orders.send(v1::WorkerOrder { message: Some(message) }));
        if sent.is_some_and(|sent| sent.is_err()) {
            worker.orders = None;
        }
    }
}

fn incarnation_of(register: &v1::Register) -> &[u8] {
    register.hello.as_ref().map_or(&[], |hello| &hello.incarnation)
}

/// Which run of the daemon a registration is of.
#[must_use]
pub fn worker_incarnation(register: &v1::Register) -> Incarnation {
    Incarnation::from_bytes(incarnation_of(register).try_into().unwrap_or_default())
}

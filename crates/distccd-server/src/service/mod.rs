//! The doors: each translates between the wire and [`crate::fact::Fact`]s, and decides nothing.

pub mod admin;
pub mod fleet;
pub mod obituaries;
pub mod submit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::ids::Incarnation;
use proto::v1;
use scheduler_core::ClientId;
use tokio::sync::mpsc;
use tonic::{Request, Status};

use crate::SOFTWARE;
use crate::fact::Fact;
use crate::peer::{self, Proof};
use crate::roster::Roster;

/// What all doors share: the way to the driver, and who we are.
#[derive(Clone)]
pub struct Gate {
    facts: mpsc::Sender<Fact>,
    incarnation: Incarnation,
    roster: Arc<Roster>,
    insecure: bool,
    numbers: Arc<AtomicU64>,
}

impl Gate {
    /// A gate in front of the driver that reads from `facts`.
    #[must_use]
    pub fn new(facts: mpsc::Sender<Fact>, incarnation: Incarnation, roster: Arc<Roster>, insecure: bool) -> Self {
        Self { facts, incarnation, roster, insecure, numbers: Arc::default() }
    }

    async fn tell(&self, fact: Fact) -> Result<(), Status> {
        self.facts.send(fact).await.map_err(|_| Status::unavailable("the server is stopping"))
    }

    fn hello(&self) -> v1::Hello {
        proto::version::hello(SOFTWARE, *self.incarnation.as_bytes(), &peer::host_name())
    }

    fn next_client(&self) -> ClientId {
        ClientId(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// Who is on the other end, as far as the kernel can prove it.
    fn proof<T>(&self, request: &Request<T>) -> Result<Proof, Status> {
        let addresses = request.remote_addr().zip(request.local_addr());
        let proof = addresses.map_or(Proof::None, |(theirs, ours)| peer::prove(theirs, ours));
        if proof == Proof::None && !self.insecure {
            return Err(Status::unauthenticated(
                "the server cannot tell who you are; it accepts that only with --insecure",
            ));
        }
        Ok(proof)
    }
}

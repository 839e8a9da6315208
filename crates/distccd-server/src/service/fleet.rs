//! The workers' door.

use std::collections::BTreeSet;

use model::ids::Attempt;
use proto::convert::{DecodeError, attempt_from};
use proto::v1::fleet_server::Fleet;
use proto::v1::{self, worker_message};
use proto::version::check_hello;
use scheduler_core::{Commit, HeldAttempt};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::Gate;
use crate::SOFTWARE;
use crate::fact::{Fact, Seat};
use crate::session::outbox::{Outgoing, outbox};
use crate::status;

/// The service.
pub struct FleetService {
    gate: Gate,
}

impl FleetService {
    /// A door to this gate.
    #[must_use]
    pub const fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

#[tonic::async_trait]
impl Fleet for FleetService {
    type AttachStream = Outgoing<v1::WorkerOrder>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let proof = self.gate.proof(&request)?;
        if !proof.may_be_worker() {
            return Err(Status::permission_denied(format!(
                "{proof} may not attach a worker: it must run as root or as the server's user"
            )));
        }
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let Some(worker_message::Message::Register(register)) = first else {
            return Err(status::of_hello(&proto::version::HelloError::Missing));
        };
        check_hello(register.hello.as_ref(), SOFTWARE).map_err(|error| status::of_hello(&error))?;
        let holding = holding(&register).map_err(|error| status::of_decode(&error))?;

        // Before anything can welcome it.
        let entered = self.gate.roster.enter(&register).await;
        let entered = entered.map_err(|error| Status::unavailable(error.to_string()))?;
        let (orders, outgoing) = outbox();
        let (seat, seated) = oneshot::channel();
        self.gate.tell(Fact::WorkerJoined { register: Box::new(register), entered, holding, orders, seat }).await?;
        let seat = seated.await.map_err(|_| Status::unavailable("the server is stopping"))?;
        let gate = self.gate.clone();
        tokio::spawn(listen(gate.clone(), seat, messages));
        Ok(Response::new(outgoing.on_drop(move || leave(gate, seat))))
    }
}

/// What the worker says it holds, if nothing of what it says is beyond all measure.
fn holding(register: &v1::Register) -> Result<Vec<HeldAttempt>, DecodeError> {
    register.check_claims()?;
    let unpermitted = register.unpermitted.iter().map(|attempt| attempt_from(Some(attempt)));
    let unpermitted = unpermitted.collect::<Result<BTreeSet<Attempt>, _>>()?;
    let held = register.holding.iter().map(|attempt| attempt_from(Some(attempt)));
    held.map(|attempt| {
        let attempt = attempt?;
        let waits = unpermitted.contains(&attempt);
        Ok(HeldAttempt { attempt, commit: if waits { Commit::WhenPermitted } else { Commit::WhenDone } })
    })
    .collect()
}

fn leave(gate: Gate, seat: Seat) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move { gate.tell(Fact::WorkerLeft { seat }).await });
    }
}

/// Passes on what the worker says until it stops.
async fn listen(gate: Gate, seat: Seat, mut messages: Streaming<v1::WorkerMessage>) {
    loop {
        match messages.message().await {
            Ok(Some(v1::WorkerMessage { message: Some(message) })) => {
                if gate.tell(Fact::WorkerSaid { seat, message: Box::new(message) }).await.is_err() {
                    return;
                }
            }
            // Something that a newer minor version added.
            Ok(Some(v1::WorkerMessage { message: None })) => {}
            Ok(None) => break,
            Err(status) => {
                tracing::info!(worker = seat.worker.number(), reason = status.message(), "a worker's connection broke");
                break;
            }
        }
    }
    let _ = gate.tell(Fact::WorkerLeft { seat }).await;
}

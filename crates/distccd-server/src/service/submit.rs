//! The launchers' door.

use proto::convert::job_id_from;
use proto::limits::MAX_BATCH_JOBS;
use proto::v1::submission_server::Submission;
use proto::v1::{self, launcher_message, launcher_reply};
use proto::version::{check_hello, knows_waiting};
use tonic::{Request, Response, Status, Streaming};

use super::Gate;
use crate::SOFTWARE;
use crate::fact::{Checked, Fact};
use crate::peer::Proof;
use crate::session::outbox::{Outgoing, Refusal, outbox};
use crate::status;
use scheduler_core::ClientId;

/// The service.
pub struct Submit {
    gate: Gate,
}

impl Submit {
    /// A door to this gate.
    #[must_use]
    pub const fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

#[tonic::async_trait]
impl Submission for Submit {
    type SubmitStream = Outgoing<v1::LauncherReply>;

    async fn submit(
        &self,
        request: Request<Streaming<v1::LauncherMessage>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let proof = self.gate.proof(&request)?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let hello = if let Some(launcher_message::Message::Hello(hello)) = &first { Some(hello) } else { None };
        check_hello(hello, SOFTWARE).map_err(|error| status::of_hello(&error))?;

        let knows_waiting = hello.is_some_and(knows_waiting);
        let client = self.gate.next_client();
        let (replies, outgoing) = outbox();
        let welcome = v1::LauncherReply { message: Some(launcher_reply::Message::Hello(self.gate.hello())) };
        // Nobody has let it fill up yet.
        let _ = replies.send(welcome);
        let refusal = replies.refusal();
        self.gate.tell(Fact::ClientJoined { client, replies, knows_waiting }).await?;
        tokio::spawn(listen(self.gate.clone(), client, proof, messages, refusal));
        let (gate, goes_on) = (self.gate.clone(), self.gate.clone());
        // That the transport has let go of the replies says that the launcher is gone.
        let outgoing = outgoing.on_drop(move || tell_later(gate, Fact::ClientLeft { client }));
        Ok(Response::new(outgoing.on_little(move || tell_later(goes_on.clone(), Fact::LittleWaits { client }))))
    }
}

/// For the transport, which cannot wait.
fn tell_later(gate: Gate, fact: Fact) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move { gate.tell(fact).await });
    }
}

/// Translates what the launcher says until it stops.
async fn listen(
    gate: Gate,
    client: ClientId,
    proof: Proof,
    mut messages: Streaming<v1::LauncherMessage>,
    refusal: Refusal<v1::LauncherReply>,
) {
    let ended = loop {
        let fact = match messages.message().await {
            Ok(Some(message)) => translate(client, proof, message),
            // It has said all it wants; the answers still interest it.
            Ok(None) => return,
            Err(status) => break status,
        };
        match fact {
            Ok(Some(fact)) => {
                if gate.tell(fact).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(status) => break status,
        }
    };
    tracing::debug!(client = client.0, %ended, "a launcher's conversation ended");
    refusal.refuse(ended);
    let _ = gate.tell(Fact::ClientLeft { client }).await;
}

fn translate(client: ClientId, proof: Proof, message: v1::LauncherMessage) -> Result<Option<Fact>, Status> {
    match message.message {
        Some(launcher_message::Message::Submit(batch)) => {
            Ok(Some(Fact::Submitted { client, batch: check(proof, batch)? }))
        }
        Some(launcher_message::Message::Cancel(cancel)) => {
            let jobs = cancel.jobs.iter().map(|id| job_id_from(id)).collect::<Result<_, _>>();
            Ok(Some(Fact::Cancelled { client, jobs: jobs.map_err(|error| status::of_decode(&error))? }))
        }
        Some(launcher_message::Message::Seen(seen)) => Ok(Some(Fact::Seen { seen })),
        // A second hello, or something that a newer minor version added, is passed over.
        Some(launcher_message::Message::Hello(_)) | None => Ok(None),
    }
}

fn check(proof: Proof, batch: v1::SubmitBatch) -> Result<Vec<Checked>, Status> {
    if batch.jobs.len() > MAX_BATCH_JOBS {
        return Err(Status::invalid_argument(format!("a batch holds at most {MAX_BATCH_JOBS} jobs")));
    }
    let hint = batch.hint();
    let checked = batch.jobs.into_iter().map(|job| {
        let facts = job.facts(hint).map_err(|error| status::of_decode(&error))?;
        let id = job_id_from(&job.id).map_err(|error| status::of_decode(&error))?;
        if !proof.allows(facts.user.uid()) {
            return Err(Status::permission_denied(format!("{proof} may not submit jobs of user {}", facts.user.uid())));
        }
        Ok(Checked { id, facts, job })
    });
    checked.collect()
}

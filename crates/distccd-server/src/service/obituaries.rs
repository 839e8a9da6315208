//! The door for what dead workers left behind.
//!
//! An obituary is believed under three conditions: it comes from a user who may attach workers (as far as the kernel can
//! tell, see [`crate::peer`]), it names the worker by its incarnation, and it has the key that the worker gave with its
//! registration and to its spawner alone. Why what it says is true, is written beside the spawner's code
//! (`distccd-worker/src/obituary.rs`).

use proto::v1;
use proto::v1::obituaries_server::Obituaries;
use tonic::{Request, Response, Status};

use super::Gate;
use crate::fact::Fact;

/// The service.
pub struct ObituariesService {
    gate: Gate,
}

impl ObituariesService {
    /// A door to this gate.
    #[must_use]
    pub const fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

#[tonic::async_trait]
impl Obituaries for ObituariesService {
    async fn publish(&self, request: Request<v1::Obituary>) -> Result<Response<v1::ObituaryReceived>, Status> {
        let proof = self.gate.proof(&request)?;
        if !proof.may_be_worker() {
            return Err(Status::permission_denied(format!("{proof} may not speak for a worker")));
        }
        self.gate.tell(Fact::WorkerDied { obituary: request.into_inner() }).await?;
        Ok(Response::new(v1::ObituaryReceived {}))
    }
}

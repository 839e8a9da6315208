//! The door for people and their tools.

use proto::convert::job_id_from;
use proto::v1;
use proto::v1::admin_server::Admin;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::Gate;
use crate::fact::Fact;
use crate::status;

/// The service.
pub struct AdminService {
    gate: Gate,
}

impl AdminService {
    /// A door to this gate.
    #[must_use]
    pub const fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn get_status(&self, _request: Request<v1::GetStatusRequest>) -> Result<Response<v1::Status>, Status> {
        let (answer, asked) = oneshot::channel();
        self.gate.tell(Fact::StatusAsked { answer }).await?;
        let mut status = asked.await.map_err(|_| Status::unavailable("the server is stopping"))?;
        status.server = Some(self.gate.hello());
        Ok(Response::new(status))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::Explanation>, Status> {
        let job = job_id_from(&request.get_ref().job).map_err(|error| status::of_decode(&error))?;
        let (answer, asked) = oneshot::channel();
        self.gate.tell(Fact::ExplanationAsked { job, answer }).await?;
        let told = asked.await.map_err(|_| Status::unavailable("the server is stopping"))?;
        told.map(Response::new).ok_or_else(|| Status::not_found("no such job is known (any more)"))
    }
}

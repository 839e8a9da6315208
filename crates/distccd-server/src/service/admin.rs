//! The door for people and their tools.

use proto::v1;
use proto::v1::admin_server::Admin;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::Gate;
use crate::fact::Fact;

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
}

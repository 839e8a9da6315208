//! The door for people and their tools.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use proto::convert::job_id_from;
use proto::v1;
use proto::v1::admin_server::Admin;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::Gate;
use crate::fact::Fact;
use crate::publication::at_mount;
use crate::status;

/// The service.
pub struct AdminService {
    gate: Gate,
    mounts: Vec<PathBuf>,
    /// A permit for each probe that is on a mount.
    probes: Arc<Semaphore>,
}

/// Probes on the mounts at a time.
const PROBES: usize = 8;
/// How long a probe is to be seen: longer than clients of NFS remember that a name was missing.
const PROBE_LIFE: Duration = Duration::from_secs(40);
/// How long a worker may take to make one; those of an older release never answer.
const WORKER_PATIENCE: Duration = Duration::from_secs(3);

impl AdminService {
    /// A door to this gate, of a server with these mounts.
    #[must_use]
    pub fn new(gate: Gate, mounts: Vec<PathBuf>) -> Self {
        Self { gate, mounts, probes: Arc::new(Semaphore::new(PROBES)) }
    }
}

impl AdminService {
    async fn appear_by(&self, worker: String, appear: v1::Appear) -> Result<Response<v1::AppearReply>, Status> {
        let (answer, asked) = oneshot::channel();
        self.gate.tell(Fact::AppearanceAsked { worker: worker.clone(), appear, answer }).await?;
        let silent = || Status::deadline_exceeded(format!("{worker} did not say that it has made the file"));
        let word = timeout(WORKER_PATIENCE, asked).await.map_err(|_| silent())?;
        let word = word.map_err(|_| Status::not_found(format!("no worker named {worker} is attached")))?;
        match word.problem.as_str() {
            "" => Ok(Response::new(v1::AppearReply {})),
            problem => Err(Status::failed_precondition(format!("{worker} can make nothing there: {problem}"))),
        }
    }
}

fn bytes_of(path: &Path) -> Bytes {
    Bytes::copy_from_slice(path.as_os_str().as_encoded_bytes())
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn get_status(&self, _request: Request<v1::GetStatusRequest>) -> Result<Response<v1::Status>, Status> {
        let (answer, asked) = oneshot::channel();
        self.gate.tell(Fact::StatusAsked { answer }).await?;
        let mut status = asked.await.map_err(|_| Status::unavailable("the server is stopping"))?;
        status.server = Some(self.gate.hello());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        status.time_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Ok(Response::new(status))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::JobList>, Status> {
        const MANY: u32 = 1_000;
        let limit = Some(request.get_ref().limit).filter(|&limit| limit > 0).unwrap_or(MANY).min(MANY) as usize;
        let (answer, asked) = oneshot::channel();
        self.gate.tell(Fact::JobsAsked { limit, answer }).await?;
        Ok(Response::new(asked.await.map_err(|_| Status::unavailable("the server is stopping"))?))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainReply>, Status> {
        let proof = self.gate.proof(&request)?;
        if !proof.may_be_worker() {
            return Err(Status::permission_denied(format!(
                "{proof} may not drain workers: only root and the server's user may"
            )));
        }
        let request = request.into_inner();
        let (answer, asked) = oneshot::channel();
        let (worker, order) = (request.worker, request.order.unwrap_or_default());
        self.gate.tell(Fact::DrainAsked { worker: worker.clone(), order, answer }).await?;
        match asked.await.map_err(|_| Status::unavailable("the server is stopping"))? {
            true => Ok(Response::new(v1::DrainReply {})),
            false => Err(Status::not_found(format!("no worker named {worker} is attached"))),
        }
    }

    async fn appear(&self, request: Request<v1::AppearRequest>) -> Result<Response<v1::AppearReply>, Status> {
        let v1::AppearRequest { mount, name, worker } = request.into_inner();
        let known = self.mounts.iter().find(|known| known.as_os_str().as_encoded_bytes() == mount);
        let mount = known.ok_or_else(|| Status::not_found("the server has no such mount"))?.clone();
        if !worker.is_empty() {
            return self.appear_by(worker, v1::Appear { mount: bytes_of(&mount), name }).await;
        }
        let permit = Arc::clone(&self.probes).try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("many ask at once; ask again in a minute"))?;
        let probe = name.clone();
        let made = at_mount(&mount, move |mount| cluster_file::probe::appear(mount, &probe)).await;
        made.map_err(|error| Status::failed_precondition(format!("nothing can be made there: {error}")))?;
        tokio::spawn(async move {
            tokio::time::sleep(PROBE_LIFE).await;
            if let Err(error) = at_mount(&mount, move |mount| cluster_file::probe::vanish(mount, &name)).await {
                tracing::warn!(mount = %mount.display(), %error, "a probe stays on the mount");
            }
            drop(permit);
        });
        Ok(Response::new(v1::AppearReply {}))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::Explanation>, Status> {
        let job = job_id_from(&request.get_ref().job).map_err(|error| status::of_decode(&error))?;
        let (answer, asked) = oneshot::channel();
        self.gate.tell(Fact::ExplanationAsked { job, answer }).await?;
        let told = asked.await.map_err(|_| Status::unavailable("the server is stopping"))?;
        told.map(Response::new).ok_or_else(|| Status::not_found("no such job is known (any more)"))
    }
}

//! `drain`: a worker finishes what it runs and takes nothing more.

use std::time::Duration;

use proto::v1::{DrainOrder, Status, WorkerStatus};

use crate::cli::Drain;
use crate::server::{Server, Trouble};

/// Between two looks at how far it is.
const PAUSE: Duration = Duration::from_millis(200);

/// Has the worker told, and waits until nothing of it runs any more.
///
/// # Errors
/// When the server does not answer or does not obey.
pub async fn run(server: &mut Server, asked: &Drain) -> Result<u8, Trouble> {
    server.drain(&asked.worker, DrainOrder { stay: asked.stay, undo: asked.undo }).await?;
    if asked.no_wait {
        return Ok(0);
    }
    while !is_over(&server.status().await?, asked) {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(0)
}

fn is_over(status: &Status, asked: &Drain) -> bool {
    let worker = status.workers.iter().find(|worker| worker.name == asked.worker);
    let drains = |worker: &WorkerStatus| worker.state == "draining";
    match worker {
        // Gone for good; or, should it have been killed meanwhile, nothing of it runs either.
        None => true,
        Some(worker) if asked.undo => !drains(worker),
        Some(worker) => asked.stay && drains(worker) && worker.held == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str, held: u32) -> Status {
        let worker = WorkerStatus { name: "ash".to_owned(), state: state.to_owned(), held, ..Default::default() };
        Status { workers: vec![worker], ..Default::default() }
    }

    fn asked(stay: bool, undo: bool) -> Drain {
        Drain { worker: "ash".to_owned(), stay, undo, no_wait: false }
    }

    #[test]
    fn a_drain_is_over_when_the_worker_is_gone_or_idle_if_it_stays() {
        let (leave, stay, undo) = (asked(false, false), asked(true, false), asked(false, true));

        assert!(is_over(&Status::default(), &leave));
        assert!(!is_over(&status("draining", 0), &leave), "it is about to leave");
        assert!(!is_over(&status("draining", 1), &stay) && is_over(&status("draining", 0), &stay));
        assert!(!is_over(&status("up", 0), &stay), "it has not heard of it yet");
        assert!(!is_over(&status("draining", 0), &undo) && is_over(&status("up", 3), &undo));
    }
}

//! Jobs whose user has as many waiting at the server as one user may: they stay here for a while and are submitted
//! again, for the cluster is not full and running them here would only fill this machine as well.

use std::collections::BTreeMap;
use std::time::Duration;

use model::ids::JobId;
use proto::v1;
use tokio::time::Instant;

/// No server makes a job wait longer at a time, whatever it says.
const LONGEST: Duration = Duration::from_secs(60);

/// Nor shorter: a server that says nothing of it must not be asked in a tight loop.
const SHORTEST: Duration = Duration::from_millis(10);

/// How often a job was told to come again, and until when it waits if it does.
#[derive(Debug)]
struct Waiter {
    times: u32,
    until: Option<Instant>,
}

/// The jobs that were told to come again.
#[derive(Debug, Default)]
pub(crate) struct Patience(BTreeMap<JobId, Waiter>);

impl Patience {
    /// The job waits from now on; how long.
    pub(crate) fn note(&mut self, id: JobId, wait: &v1::Wait, now: Instant) -> Duration {
        let waiter = self.0.entry(id).or_insert(Waiter { times: 0, until: None });
        let pause = pause(id, wait, waiter.times);
        waiter.times = waiter.times.saturating_add(1);
        waiter.until = Some(now + pause);
        pause
    }

    /// The job was answered.
    pub(crate) fn forget(&mut self, id: JobId) {
        self.0.remove(&id);
    }

    /// Nobody waits any more: all are being submitted.
    pub(crate) fn end_pauses(&mut self) {
        self.0.values_mut().for_each(|waiter| waiter.until = None);
    }

    /// The jobs that have waited long enough.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<JobId> {
        let due = self.0.iter_mut().filter(|(_, waiter)| waiter.until.is_some_and(|until| until <= now));
        due.map(|(&id, waiter)| {
            waiter.until = None;
            id
        })
        .collect()
    }

    /// Until the first of them has; for ever when nobody waits.
    pub(crate) fn until_next(&self) -> impl Future<Output = ()> + use<> {
        let next = self.0.values().filter_map(|waiter| waiter.until).min();
        async move {
            match next {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }
}

/// Twice as long each time, within what the server said; up to half as long again, by the job's id, which is random.
fn pause(id: JobId, wait: &v1::Wait, times: u32) -> Duration {
    let first = Duration::from_micros(wait.delay_us).clamp(SHORTEST, LONGEST);
    let longest = Duration::from_micros(wait.longest_us).clamp(first, LONGEST);
    let whole = first.saturating_mul(1 << times.min(16)).min(longest);
    let [byte, ..] = *id.as_bytes();
    whole + whole / 2 * u32::from(byte) / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(first_byte: u8) -> JobId {
        let mut bytes = [0; 16];
        bytes[0] = first_byte;
        JobId::from_bytes(bytes)
    }

    fn wait(delay: Duration, longest: Duration) -> v1::Wait {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap();
        v1::Wait { delay_us: micros(delay), longest_us: micros(longest), ..Default::default() }
    }

    const fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn pauses_double_up_to_what_the_server_said() {
        let (mut patience, now) = (Patience::default(), Instant::now());

        let pauses = [(); 5].map(|()| patience.note(job(0), &wait(millis(100), millis(500)), now));

        assert_eq!(pauses, [100, 200, 400, 500, 500].map(millis));
    }

    #[test]
    fn jobs_that_were_sent_away_together_come_back_apart() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        let told = wait(millis(100), millis(100));
        patience.note(job(0), &told, now);
        patience.note(job(255), &told, now);

        assert_eq!(patience.take_due(now + millis(99)), []);
        assert_eq!(patience.take_due(now + millis(149)), [job(0)]);
        assert_eq!(patience.take_due(now + millis(150)), [job(255)]);
        assert_eq!(patience.take_due(now + millis(999)), [], "each comes once");
    }

    #[test]
    fn a_server_that_names_no_pause_or_an_endless_one_is_asked_within_reason() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        let endless = v1::Wait { delay_us: u64::MAX, longest_us: u64::MAX, ..Default::default() };

        assert_eq!(patience.note(job(0), &v1::Wait::default(), now), SHORTEST);
        assert_eq!(patience.note(job(1), &endless, now).as_secs(), LONGEST.as_secs());
    }

    #[test]
    fn a_job_that_was_answered_waits_no_more() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        patience.note(job(0), &wait(millis(100), millis(100)), now);

        patience.forget(job(0));

        assert_eq!(patience.take_due(now + millis(200)), []);
    }
}

//! Who waits for what: nobody tells a server, so it remembers which link or archive read an output, and what follows
//! on that. A command at the start of a long chain goes before a longer one that nobody waits for: the critical path of
//! list scheduling (the "bottom level" of Graham's and Kohler's schedules, the "upward rank" of HEFT), as far as
//! earlier builds showed it.

use core::time::Duration;

use model::job::JobFacts;

use super::{History, keys_of_output, own_key};

/// Links of a chain that are counted. Real ones have three or four; files that are made from each other in turn
/// (`objcopy a b`, `objcopy b a`) have no end.
const LONGEST_CHAIN: usize = 16;
/// Who was not seen while so many others read the output is forgotten: it may have left the project.
const FORGOTTEN_AFTER: u8 = 200;

/// Of those that read an output, the one with the longest way to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reader {
    /// The key of its own output; 0 when there is none.
    pub(super) key: u64,
    /// How many others read the output since it did.
    pub(super) others: u8,
}

impl Reader {
    pub(super) fn new(key: u64) -> Self {
        Self { key, others: 0 }
    }
}

impl History {
    /// This job is going to read its inputs: those that make them are waited for.
    pub(crate) fn learn_readers(&mut self, facts: &JobFacts) {
        // Of most jobs nothing is told that anybody makes.
        let Some(reader) = own_key(facts.into()).filter(|_| !facts.inputs.is_empty()) else { return };
        let way = self.predict(facts).way();
        for &input in &facts.inputs {
            let maker = keys_of_output(input).find(|&key| self.remembered.reader(key).is_some());
            // What updates a file in place reads what it makes.
            if let Some(maker) = maker.filter(|&maker| maker != reader) {
                self.note_reader(maker, reader, way);
            }
        }
    }

    fn note_reader(&mut self, maker: u64, reader: u64, way: Duration) {
        let known = self.remembered.reader(maker).unwrap_or_default();
        let is_known = known.key == reader;
        let is_longer = || known.key == 0 || way > self.way(known.key);
        let now = if is_known || known.others >= FORGOTTEN_AFTER || is_longer() {
            Reader::new(reader)
        } else {
            Reader { others: known.others + 1, ..known }
        };
        self.remembered.set_reader(maker, now);
    }

    /// How long those take that follow on an output that is read by this one.
    pub(super) fn tail(&self, reader: Option<u64>) -> Duration {
        let (mut tail, mut next) = (Duration::ZERO, reader);
        for _ in 0..LONGEST_CHAIN {
            let Some((estimate, reader)) = next.and_then(|reader| self.remembered.get(reader)) else { break };
            tail += estimate.duration().unwrap_or_default();
            next = reader;
        }
        tail
    }

    fn way(&self, key: u64) -> Duration {
        let Some((estimate, reader)) = self.remembered.get(key) else { return Duration::ZERO };
        estimate.duration().unwrap_or_default() + self.tail(reader)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use model::ids::{BuildId, OutputKey, UserId};
    use model::job::JobKind;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn job(kind: JobKind, output: u64, inputs: &[u64]) -> JobFacts {
        let inputs = inputs.iter().map(|&input| OutputKey::new(input)).collect();
        let facts = JobFacts::new(UserId::new(1), BuildId::new(1), kind);
        JobFacts { output: Some(OutputKey::new(output)), inputs, ..facts }
    }

    /// Each of them was run once, in this order, and took so many seconds.
    fn after(jobs: &[(JobFacts, u32)]) -> History {
        let mut history = History::new(1_000, 0);
        for (facts, seconds) in jobs {
            history.learn_readers(facts);
            history.learn(facts, Some(SECOND * *seconds), 0);
        }
        history
    }

    fn tail(history: &History, facts: &JobFacts) -> f64 {
        history.predict(facts).tail.as_secs_f64()
    }

    fn is_about(seconds: f64, expected: f64) -> bool {
        (seconds - expected).abs() < expected / 20.0 + 0.01
    }

    #[test]
    fn the_tail_is_all_that_follows_on_an_output() {
        let object = job(JobKind::Compile, 1, &[]);
        let archive = job(JobKind::Archive, 2, &[1]);
        let history = after(&[(object.clone(), 3), (archive.clone(), 1), (job(JobKind::Link, 3, &[2, 99]), 8)]);

        assert!(is_about(tail(&history, &object), 9.0), "{}", tail(&history, &object));
        assert!(is_about(tail(&history, &archive), 8.0));
        assert!(is_about(tail(&history, &job(JobKind::Link, 3, &[])), 0.0));
        assert!(is_about(history.predict(&object).way().as_secs_f64(), 12.0));
    }

    #[test]
    fn of_several_readers_the_one_with_the_longest_way_counts() {
        let object = job(JobKind::Compile, 1, &[]);
        let readers =
            [(job(JobKind::Link, 2, &[1]), 2), (job(JobKind::Link, 3, &[1]), 7), (job(JobKind::Link, 4, &[1]), 4)];
        let mut history = after(&[&[(object.clone(), 1)][..], &readers[..]].concat());
        // The second build, in which it is known what links take.
        readers.iter().for_each(|(facts, _)| history.learn_readers(facts));

        assert!(is_about(tail(&history, &object), 7.0), "{}", tail(&history, &object));
    }

    #[test]
    fn a_reader_that_has_left_the_project_is_forgotten() {
        let object = job(JobKind::Compile, 1, &[]);
        let (gone, stays) = (job(JobKind::Link, 2, &[1]), job(JobKind::Link, 3, &[1]));
        let mut history = after(&[(object.clone(), 1), (stays.clone(), 2), (gone.clone(), 9)]);
        history.learn_readers(&gone);
        assert!(is_about(tail(&history, &object), 9.0));

        (0..=FORGOTTEN_AFTER).for_each(|_| history.learn_readers(&stays));

        assert!(is_about(tail(&history, &object), 2.0), "{}", tail(&history, &object));
    }

    #[test]
    fn what_is_updated_in_place_does_not_wait_for_itself_and_a_ring_has_an_end() {
        let index = job(JobKind::Archive, 1, &[1]);
        let history = after(&[(index.clone(), 5), (index.clone(), 5)]);
        assert!(is_about(tail(&history, &index), 0.0));

        let (there, back) = (job(JobKind::Archive, 1, &[2]), job(JobKind::Archive, 2, &[1]));
        let mut history = after(&[(there.clone(), 1), (back.clone(), 1)]);
        [&there, &back].into_iter().for_each(|facts| history.learn_readers(facts));

        assert!(tail(&history, &there) <= LONGEST_CHAIN as f64 * 1.05, "{}", tail(&history, &there));
    }

    #[test]
    fn who_reads_what_survives_a_restart() {
        let object = job(JobKind::Compile, 1, &[]);
        let before = after(&[(object.clone(), 1), (job(JobKind::Link, 2, &[1]), 6)]);
        let mut history = History::new(1_000, 1);

        history.import(&before.export());

        assert_eq!(history.predict(&object), before.predict(&object));
        assert!(is_about(tail(&history, &object), 6.0));
    }

    #[test]
    fn inputs_that_nobody_was_seen_to_make_take_no_memory() {
        let sources: Vec<u64> = (100..1_000).collect();
        let history = after(&[(job(JobKind::Link, 2, &sources), 1)]);

        assert_eq!(history.export().len(), 1);
    }
}

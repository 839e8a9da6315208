//! Every type of the scheduler's language as a [`Record`]. Each names all its fields, so a new one that is forgotten
//! here does not compile. Whoever adds one changes the format: raise the version in the header.

use model::ids::{Attempt, BuildId, CpuClass, DirKey, Incarnation, JobId, OutputKey, ToolchainKey, UserId, WorkerId};
use model::job::{BatchHint, JobFacts, JobKind, Priority};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use model::speed::Speed;
use model::time::Timestamp;
use scheduler_core::{
    Action, AuditVerdict, ClientId, Commit, Config, HeldAttempt, HistoryEntry, Input, LocalReason, SubmittedJob,
    WorkerFacts, WorkerLoad,
};

use crate::codec::{Bytes, Record, Undecodable};
use crate::history::FirstEntry;

/// What is written and never read back.
pub(crate) trait Written {
    fn write(&self, out: &mut Vec<u8>);
}

/// A type that is made from one value and gives it back.
macro_rules! wrapper {
    ($($type:ident: $make:expr, $value:expr;)*) => { $(
        impl Record for $type {
            fn put(&self, out: &mut Vec<u8>) {
                $value(self).put(out);
            }

            fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
                Ok($make(Record::get(from)?))
            }
        }
    )* };
}

/// A structure, by all its fields.
macro_rules! structure {
    ($($type:ident { $($field:ident),* $(,)? })*) => { $(
        impl Record for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }

            fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
                Ok(Self { $($field: Record::get(from)?),* })
            }
        }
    )* };
}

/// An enum, by the tags and fields of all its variants. A tag is never used for another variant.
macro_rules! variants {
    ($($type:ident { $($tag:literal $name:ident $(($($item:ident),*))? $({ $($field:ident),* })?,)* })*) => { $(
        impl Record for $type {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name $(($($item),*))? $({ $($field),* })? => {
                        out.push($tag);
                        $($($item.put(out);)*)?
                        $($($field.put(out);)*)?
                    })*
                }
            }

            fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
                match u8::get(from)? {
                    $($tag => {
                        $($(let $item = Record::get(from)?;)*)?
                        $($(let $field = Record::get(from)?;)*)?
                        Ok(Self::$name $(($($item),*))? $({ $($field),* })?)
                    })*
                    _ => Err(Undecodable),
                }
            }
        }
    )* };
}

wrapper! {
    JobId: JobId::from_bytes, |id: &JobId| *id.as_bytes();
    Incarnation: Incarnation::from_bytes, |id: &Incarnation| *id.as_bytes();
    WorkerId: WorkerId::new, |id: &WorkerId| id.number();
    UserId: UserId::new, |id: &UserId| id.uid();
    BuildId: BuildId::new, |id: &BuildId| id.digest();
    DirKey: DirKey::new, |key: &DirKey| key.digest();
    OutputKey: OutputKey::new, |key: &OutputKey| key.digest();
    CpuClass: CpuClass::new, |class: &CpuClass| class.digest();
    Priority: nice, |priority: &Priority| priority.nice().cast_unsigned();
    ToolchainKey: ToolchainKey::new, |key: &ToolchainKey| key.digest();
    ClientId: ClientId, |id: &ClientId| id.0;
    Timestamp: Timestamp::from_micros, |time: &Timestamp| time.as_micros();
}

fn nice(value: u8) -> Priority {
    Priority::from_nice(value.cast_signed().into())
}

impl Record for Speed {
    fn put(&self, out: &mut Vec<u8>) {
        self.per_second().put(out);
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        Self::new(u32::get(from)?).ok_or(Undecodable)
    }
}

structure! {
    Attempt { job, number }
    BatchHint { size, timeout }
    Config {
        lease, max_attempts, max_losses, prefetch, fleet_grace, max_queued, max_queued_per_user, ask_again, retain,
        max_retained, user_weights, urgent_users, interactive_jobs, ageing, look_ahead, cold_directory, gather,
        patience,
        writers_per_dir, history_entries,
        bench_after, bench_time, max_bench_time, speculation, speculation_factor, speculation_after, speculation_share,
        audit_rate, hash_seed,
    }
    FirstEntry { key, duration, memory }
    HeldAttempt { attempt, commit }
    HistoryEntry { key, duration, memory, reader }
    JobFacts { user, build, kind, toolchain, mounts, dirs, input_bytes, batch, repeatable, priority, output, inputs, cpu_class }
    Outcome { exit, usage }
    ResourceUsage { wall, user, system, peak_memory }
    SubmittedJob { id, facts, resubmitted }
    WorkerFacts { incarnation, slots, linking, toolchains, mounts, only_user, memory, cpu_class, isolates, speed }
    WorkerLoad { memory_available, foreign_load_centi }
}

variants! {
    JobKind { 0 Compile, 1 Assemble, 2 Preprocess, 3 Link, 4 Archive, }
    ExitStatus { 0 Code(code), 1 Signal(signal), }
    AttemptFailure {
        0 WorkerLost,
        1 SpawnFailed(why),
        2 InputsNotVisible(what),
        3 NoSpace(why),
        4 OutOfMemory,
        5 KilledByStranger(signal),
        6 Refused(why),
        7 HandedBack,
        8 Cancelled,
        9 CommitFailed(why),
    }
    Commit { 0 WhenDone, 1 WhenPermitted, }
    Input {
        0 JobsSubmitted { client, jobs },
        1 JobsCancelled { client, jobs },
        2 ClientGone { client },
        3 WorkerRegistered { worker, facts, holding },
        4 WorkerAlive { worker, load },
        5 WorkerWarmth { worker, dirs },
        6 WorkerDisconnected { worker },
        7 WorkerDraining { worker },
        8 WorkerGone { worker },
        9 AttemptStarted { worker, attempt },
        10 AttemptEnded { worker, attempt, result },
        11 Stopping,
        12 Wake,
        13 AttemptReady { worker, attempt },
        14 Roster { expected, lease },
        15 RosterDoubted,
        16 WorkerDied { incarnation },
        17 AttemptDigested { worker, attempt, digest },
        18 WorkerResumed { worker },
        19 AttemptInPlace { worker, attempt },
    }
}

/// Only written: what is compared is the digest.
impl Written for Action {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Assign { worker, attempts, commit } => {
                out.push(0);
                worker.put(out);
                attempts.put(out);
                commit.put(out);
            }
            Self::Cancel { worker, attempt } => {
                out.push(1);
                worker.put(out);
                attempt.put(out);
            }
            Self::Recall { worker, attempt } => {
                out.push(2);
                worker.put(out);
                attempt.put(out);
            }
            Self::Complete { client, attempt } => {
                out.push(3);
                client.put(out);
                attempt.put(out);
            }
            Self::RunLocally { client, job, reason } => {
                out.push(4);
                client.put(out);
                job.put(out);
                write_reason(reason, out);
            }
            Self::Wait { client, job, delay } => {
                out.push(5);
                client.put(out);
                job.put(out);
                delay.put(out);
            }
            Self::Forget { job } => {
                out.push(6);
                job.put(out);
            }
            Self::ForgetWorker { worker } => {
                out.push(7);
                worker.put(out);
            }
            Self::PermitCommit { worker, attempt } => {
                out.push(8);
                worker.put(out);
                attempt.put(out);
            }
            Self::KeepForAudit { of } => {
                out.push(9);
                of.put(out);
            }
            Self::Audit { worker, attempt, of } => {
                out.push(10);
                worker.put(out);
                attempt.put(out);
                of.put(out);
            }
            Self::EndAudit { of, verdict } => {
                out.push(11);
                of.put(out);
                match verdict {
                    AuditVerdict::Same => out.push(0),
                    AuditVerdict::NotRepeatable => out.push(1),
                    AuditVerdict::Dropped => out.push(2),
                    AuditVerdict::Differs { first, other } => {
                        out.push(3);
                        first.put(out);
                        other.put(out);
                    }
                }
            }
        }
    }
}

fn write_reason(reason: &LocalReason, out: &mut Vec<u8>) {
    match reason {
        LocalReason::NoEligibleWorker(unmet) => {
            out.push(0);
            // The order of the variants, which is the order of what is told first, is their number.
            out.push(*unmet as u8);
        }
        LocalReason::AttemptsExhausted(failure) => {
            out.push(1);
            failure.put(out);
        }
        LocalReason::QueueFull => out.push(2),
        LocalReason::Unreasonable { what } => {
            out.push(3);
            (*what).to_owned().put(out);
        }
        LocalReason::Stopping => out.push(4),
    }
}

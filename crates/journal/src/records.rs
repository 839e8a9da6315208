//! Every type of the scheduler's language as a [`Record`]. Each names all its fields, so a new one that is forgotten
//! here does not compile. Whoever adds one changes the format: raise the version in the header.

use model::ids::{Attempt, BuildId, DirKey, Incarnation, JobId, ToolchainKey, UserId, WorkerId};
use model::job::{BatchHint, JobFacts, JobKind};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use model::time::Timestamp;
use scheduler_core::{Action, ClientId, Config, Input, LocalReason, SubmittedJob, Unmet, WorkerFacts, WorkerLoad};

use crate::codec::{Bytes, Record, Undecodable};

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
    ToolchainKey: ToolchainKey::new, |key: &ToolchainKey| key.digest();
    ClientId: ClientId, |id: &ClientId| id.0;
    Timestamp: Timestamp::from_micros, |time: &Timestamp| time.as_micros();
}

structure! {
    Attempt { job, number }
    BatchHint { size, timeout }
    Config { lease, max_attempts, prefetch, fleet_grace, max_queued, retain }
    JobFacts { user, build, kind, toolchain, mounts, dirs, input_bytes, batch, repeatable }
    Outcome { exit, usage }
    ResourceUsage { wall, user, system, peak_memory }
    SubmittedJob { id, facts, resubmitted }
    WorkerFacts { incarnation, slots, linking, toolchains, mounts, only_user, memory }
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
    }
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
    }
    Action {
        0 Assign { worker, attempts },
        1 Cancel { worker, attempt },
        2 Recall { worker, attempt },
        3 Complete { client, attempt },
        4 RunLocally { client, job, reason },
        5 Forget { job },
        6 ForgetWorker { worker },
    }
    LocalReason { 0 NoEligibleWorker(unmet), 1 AttemptsExhausted(failure), 2 QueueFull, 3 Stopping, }
    Unmet { 0 NoWorkers, 1 Mount, 2 User, 3 Toolchain, 4 Linking, 5 Exhausted, }
}

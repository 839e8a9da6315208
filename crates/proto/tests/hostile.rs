//! Whatever bytes a peer sends: read, or refused by the name of a field, and what is read keeps its bounds.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

use model::command::{CommandSpec, Identity, ResourceLimit, Terminal};
use model::job::{BatchHint, JobFacts};
use model::outcome::{AttemptFailure, ExitStatus, Outcome};
use proptest::prelude::*;
use prost::Message;
use proto::convert::{DecodeError, Sameness, attempt_from};
use proto::{limits, v1};

/// One fault of the bytes on the wire.
#[derive(Clone, Debug)]
enum Damage {
    /// Another byte there.
    Replace(usize, u8),
    /// A byte more.
    Insert(usize, u8),
    /// A byte less.
    Remove(usize),
    /// Nothing after it.
    Cut(usize),
    /// A piece once more, elsewhere: fields that come twice, or inside each other.
    Copy(usize, usize, usize),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let place = any::<usize>();
        prop_oneof![
            4 => (place, any::<u8>()).prop_map(|(at, byte)| Self::Replace(at, byte)),
            2 => (place, any::<u8>()).prop_map(|(at, byte)| Self::Insert(at, byte)),
            2 => place.prop_map(Self::Remove),
            1 => place.prop_map(Self::Cut),
            1 => (place, place, place).prop_map(|(from, length, to)| Self::Copy(from, length, to)),
        ]
    }

    fn strike(&self, bytes: &mut Vec<u8>) {
        let places = bytes.len() + 1;
        match *self {
            Self::Replace(at, byte) => {
                if let Some(place) = bytes.get_mut(at % places) {
                    *place = byte;
                }
            }
            Self::Insert(at, byte) => bytes.insert(at % places, byte),
            Self::Remove(at) if !bytes.is_empty() => drop(bytes.remove(at % bytes.len())),
            Self::Remove(_) => {}
            Self::Cut(at) => bytes.truncate(at % places),
            Self::Copy(from, length, to) => {
                let from = from % places;
                let piece = bytes[from..(from + length % 32).min(bytes.len())].to_vec();
                let to = to % places;
                bytes.splice(to..to, piece);
            }
        }
    }
}

/// A message as it travels, with up to eight faults.
fn damaged<M: Message>(message: &M) -> impl Strategy<Value = Vec<u8>> + use<M> {
    let sound = message.encode_to_vec();
    proptest::collection::vec(Damage::any(), 0..8).prop_map(move |faults| {
        let mut bytes = sound.clone();
        faults.iter().for_each(|fault| fault.strike(&mut bytes));
        bytes
    })
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1_u8.., 0..12)
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    text().prop_map(|text| [b"/".as_slice(), &text].concat())
}

prop_compose! {
    fn a_command()(
        program in path(),
        argv in proptest::collection::vec(text(), 1..5),
        cwd in path(),
        env in proptest::collection::vec((text(), text()), 0..4),
        umask in any::<u32>(),
        limits in proptest::collection::vec(any::<(u32, u64, u64)>(), 0..3),
        (uid, gid, groups) in any::<(u32, u32, Vec<u32>)>(),
        terminal in any::<Option<(u16, u16)>>(),
        one_output in any::<bool>(),
    ) -> CommandSpec {
        let limits = limits.into_iter().map(|(resource, soft, hard)| ResourceLimit { resource, soft, hard }).collect();
        let terminal = terminal.map(|(columns, rows)| Terminal { columns, rows });
        CommandSpec { program, argv, cwd, env, umask, limits, identity: Identity { uid, gid, groups }, terminal, one_output }
    }
}

fn a_job() -> v1::Job {
    let stamp = |path: &'static str| v1::Stamp { path: path.into(), inode: 1, size: 2, mtime_ns: -3, fresh: true };
    let linker = v1::Toolchain { path: "/usr/bin/ld".into(), version: "2.40".into(), ..Default::default() };
    v1::Job {
        id: vec![7; 16].into(),
        command: Some(v1::Command { identity: Some(v1::Identity::default()), ..Default::default() }),
        kind: v1::JobKind::Link as i32,
        build_dir: "/mnt/build".into(),
        toolchain: Some(v1::Toolchain {
            path: "/usr/bin/g++".into(),
            fingerprint: vec![9; 16].into(),
            linker: Some(Box::new(linker)),
            ..Default::default()
        }),
        mounts: vec!["/mnt".into()],
        dirs: vec!["/mnt/build".into(), "/mnt/source".into()],
        input_bytes: u64::MAX,
        inputs: vec![stamp("a.o"), stamp("../lib/b.a"), stamp("")],
        outputs: vec!["../../../..".into()],
        priority: i32::MIN,
        ..Default::default()
    }
}

fn a_registration() -> v1::Register {
    v1::Register {
        name: "worker".into(),
        slots: u32::MAX,
        toolchains: vec![v1::Toolchain::default()],
        mounts: vec!["/mnt".into()],
        memory: u64::MAX,
        holding: vec![v1::AttemptRef { job: vec![7; 16].into(), number: 1 }],
        ..Default::default()
    }
}

fn an_outcome() -> v1::Outcome {
    let usage = v1::ResourceUsage { wall_us: u64::MAX, user_us: u64::MAX, system_us: 1, peak_memory: u64::MAX };
    v1::Outcome { exit: Some(ExitStatus::Signal(11).into()), usage: Some(usage), ..Default::default() }
}

/// An error says which field, and what about it.
fn by_name<T>(read: Result<T, DecodeError>) -> Result<Option<T>, TestCaseError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            prop_assert!(!error.field.is_empty() && !error.problem.is_empty(), "{error:?}");
            Ok(None)
        }
    }
}

fn keeps_its_bounds(facts: &JobFacts) -> bool {
    facts.dirs.len() <= limits::MAX_DIRS
        && facts.mounts.len() <= limits::MAX_DIRS
        && facts.inputs.len() <= limits::MAX_JOB_INPUTS
}

/// What `execve(2)` can be given.
fn can_be_executed(command: &CommandSpec) -> bool {
    let texts = command.argv.iter().chain(command.env.iter().flat_map(|(name, value)| [name, value]));
    let absolute = command.program.starts_with(b"/") && command.cwd.starts_with(b"/");
    absolute && !command.argv.is_empty() && texts.chain([&command.program, &command.cwd]).all(|text| !text.contains(&0))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_command_that_can_be_executed_survives_the_wire(spec in a_command()) {
        let bytes = v1::Command::from(spec.clone()).encode_to_vec();
        prop_assert_eq!(CommandSpec::try_from(v1::Command::decode(bytes.as_slice()).unwrap()), Ok(spec));
    }

    #[test]
    fn a_damaged_command_can_be_executed_or_is_refused(
        bytes in a_command().prop_flat_map(|spec| damaged(&v1::Command::from(spec)))
    ) {
        let Ok(wire) = v1::Command::decode(bytes.as_slice()) else { return Ok(()) };
        if let Some(command) = by_name(CommandSpec::try_from(wire))? {
            prop_assert!(can_be_executed(&command), "{command:?}");
        }
    }

    #[test]
    fn a_damaged_job_is_scheduled_within_bounds_or_refused(bytes in damaged(&a_job())) {
        let Ok(wire) = v1::Job::decode(bytes.as_slice()) else { return Ok(()) };
        let batch = v1::SubmitBatch { batch_timeout_us: wire.input_bytes, ..Default::default() };
        if let Some(facts) = by_name(wire.facts(batch.hint()))? {
            prop_assert!(keeps_its_bounds(&facts), "{facts:?}");
        }
    }

    #[test]
    fn a_damaged_registration_is_believed_within_bounds_or_refused(bytes in damaged(&a_registration())) {
        let Ok(wire) = v1::Register::decode(bytes.as_slice()) else { return Ok(()) };
        by_name(wire.check_claims())?;
        for held in &wire.holding {
            if let Some(attempt) = by_name(attempt_from(Some(held)))? {
                prop_assert!(attempt.number > 0);
            }
        }
        for toolchain in &wire.toolchains {
            let said = v1::Toolchain { fingerprint: vec![1].into(), version: "other".into(), ..toolchain.clone() };
            prop_assert_eq!(Sameness::Off.key(toolchain), Sameness::Off.key(&said), "the path is enough");
            let elsewhere = v1::Toolchain { path: [&toolchain.path[..], b"x"].concat().into(), ..toolchain.clone() };
            prop_assert_ne!(Sameness::Exact.key(toolchain), Sameness::Exact.key(&elsewhere));
        }
    }

    #[test]
    fn a_damaged_outcome_or_failure_is_read_or_refused(
        outcome in damaged(&an_outcome()),
        failure in damaged(&v1::Failure::from(&AttemptFailure::NoSpace("disk".into()))),
    ) {
        if let Ok(wire) = v1::Outcome::decode(outcome.as_slice()) {
            by_name(Outcome::try_from(&wire))?;
        }
        if let Ok(wire) = v1::Failure::decode(failure.as_slice())
            && let Some(read) = by_name(AttemptFailure::try_from(wire))?
        {
            prop_assert_eq!(AttemptFailure::try_from(v1::Failure::from(&read)), Ok(read));
        }
    }
}

#[test]
fn a_job_with_more_than_anybody_has_is_bounded_or_refused_by_name() {
    let job = |change: fn(&mut v1::Job)| {
        let mut job = a_job();
        change(&mut job);
        job.facts(BatchHint::default())
    };

    let many_dirs = job(|job| job.dirs = vec!["/d".into(); limits::MAX_DIRS + 1]);
    let many_mounts = job(|job| job.mounts = vec!["/m".into(); 1_000_000]);
    let many_inputs = job(|job| job.inputs = vec![v1::Stamp::default(); 100_000]);

    assert_eq!(many_dirs.unwrap_err().field, "job.dirs");
    assert_eq!(many_mounts.unwrap_err().field, "job.mounts");
    assert_eq!(many_inputs.unwrap().inputs.len(), limits::MAX_JOB_INPUTS);
}

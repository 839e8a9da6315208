//! What one job costs the scheduler, from its submission over its assignment to its end, by the size of the fleet and
//! of the queue; and what a queued job costs in memory. `cargo xtask bench scheduler` runs it.
//!
//! A harness of its own: what is measured is a steady state that takes seconds to reach, and a cost that must not
//! grow, which frameworks for microbenchmarks do not tell.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::ids::{BuildId, DirKey, Incarnation, JobId, OutputKey, ToolchainKey, UserId, WorkerId};
use model::job::{JobFacts, JobKind};
use model::outcome::{ExitStatus, Outcome, ResourceUsage};
use model::time::Timestamp;
use scheduler_core::{Action, ClientId, Config, Input, Scheduler, SubmittedJob, WorkerFacts};

/// Counts what is allocated and not freed.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size().wrapping_neg());
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.wrapping_sub(layout.size()));
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// There is one thread: a locked addition would only cost what is measured.
fn count(bytes: usize) {
    IN_USE.store(IN_USE.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Relaxed);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SLOTS: u32 = 16;
const USERS: u64 = 50;
const BUILDS_PER_USER: u64 = 4;

/// A cluster under load, and the attempts that run in it.
struct Cluster {
    scheduler: Scheduler,
    now: Timestamp,
    next: u64,
    running: std::collections::VecDeque<(WorkerId, model::ids::Attempt)>,
    actions: Vec<Action>,
}

impl Cluster {
    fn new(workers: u32, queued: usize) -> Self {
        let config = Config {
            max_queued: usize::MAX,
            max_queued_per_user: usize::MAX,
            // So that jobs are forgotten too: after 25,000 cycles, and their attempts' numbers after as many more.
            retain: Duration::from_millis(50),
            ..Config::default()
        };
        let scheduler = Scheduler::new(config).expect("possible settings");
        let (now, running, actions) = (Timestamp::ZERO, std::collections::VecDeque::new(), Vec::new());
        let mut cluster = Self { scheduler, now, next: 0, running, actions };
        (1..=workers).for_each(|number| cluster.join(WorkerId::new(number)));
        let places = workers as usize * (SLOTS + Config::default().prefetch) as usize;
        (0..places + queued).for_each(|_| cluster.submit());
        cluster
    }

    fn join(&mut self, worker: WorkerId) {
        let facts = WorkerFacts {
            incarnation: Incarnation::from_bytes([1; 16]),
            slots: SLOTS,
            linking: true,
            toolchains: vec![ToolchainKey::new(1), ToolchainKey::new(2)],
            cpu_class: None,
            mounts: vec![DirKey::new(1)],
            only_user: None,
            memory: 64 << 30,
            isolates: true,
            speed: None,
        };
        self.step(Input::WorkerRegistered { worker, facts, holding: vec![] });
    }

    fn step(&mut self, input: Input) {
        // No lease runs out: what is measured is the cost of jobs.
        self.now = self.now + Duration::from_micros(1);
        self.scheduler.step(self.now, input, &mut self.actions);
        for action in self.actions.drain(..) {
            if let Action::Assign { worker, attempts, .. } = action {
                self.running.extend(attempts.into_iter().map(|attempt| (worker, attempt)));
            }
        }
    }

    fn submit(&mut self) {
        self.next += 1;
        let scattered = self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let user = scattered % USERS;
        let build = user * BUILDS_PER_USER + (scattered >> 20) % BUILDS_PER_USER;
        let facts = JobFacts {
            toolchain: Some(ToolchainKey::new(1 + scattered % 2)),
            mounts: vec![DirKey::new(1)],
            dirs: vec![DirKey::new(build * 100 + (scattered >> 30) % 100), DirKey::new(build)],
            input_bytes: scattered % 100_000,
            output: Some(OutputKey::new(scattered % 50_000)),
            ..JobFacts::new(UserId::new(user as u32), BuildId::new(build), JobKind::Compile)
        };
        let id = JobId::from_bytes((u128::from(scattered) << 64 | u128::from(self.next)).to_le_bytes());
        let jobs = vec![SubmittedJob { id, facts, resubmitted: false }];
        self.step(Input::JobsSubmitted { client: ClientId(self.next), jobs });
    }

    /// A build whose link needs the whole memory of a worker: nobody can serve it while no worker is empty. Before any
    /// memory is known, nothing is reserved, and it gets a worker, whose other slots then lack memory.
    fn submit_blocked(&mut self, number: u64) {
        let (user, build) = (UserId::new(1_000 + (number / 10) as u32), BuildId::new(1 << 32 | number));
        let facts = JobFacts { input_bytes: 31 << 30, ..JobFacts::new(user, build, JobKind::Link) };
        let id = JobId::from_bytes((u128::from(number) << 64 | 1 << 63).to_le_bytes());
        let jobs = vec![SubmittedJob { id, facts, resubmitted: false }];
        self.step(Input::JobsSubmitted { client: ClientId(u64::MAX), jobs });
    }

    /// One job more is submitted, and the one that was sent first is done: another takes its place.
    fn cycle(&mut self) {
        self.submit();
        let Some((worker, attempt)) = self.running.pop_front() else { return };
        if is_link(attempt.job) {
            self.running.push_back((worker, attempt));
            return;
        }
        let wall = Duration::from_millis(200 + self.next % 3_000);
        let usage = ResourceUsage { wall, peak_memory: (self.next % 900) << 20, ..ResourceUsage::default() };
        let result = Ok(Outcome { exit: ExitStatus::Code(0), usage });
        self.step(Input::AttemptEnded { worker, attempt, result });
    }
}

/// Of a build that is blocked: it goes on for ever if it starts.
fn is_link(job: JobId) -> bool {
    u128::from_le_bytes(*job.as_bytes()) & u128::from(u64::MAX) == 1 << 63
}

/// For how long this process has had a processor: what others do on the machine does not count.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux keeps schedstat");
    let nanos = text.split_whitespace().next().and_then(|it| it.parse().ok()).expect("its first number is nanoseconds");
    Duration::from_nanos(nanos)
}

/// Microseconds a cycle, of one processor: the median of some rounds.
fn cost(cluster: &mut Cluster, cycles: usize) -> f64 {
    (0..cycles).for_each(|_| cluster.cycle());
    let mut rounds: Vec<f64> = (0..5)
        .map(|_| {
            let begun = on_cpu();
            (0..cycles).for_each(|_| cluster.cycle());
            (on_cpu() - begun).as_secs_f64() * 1e6 / cycles as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[2]
}

fn main() {
    let fleets = [100u32, 1_000, 10_000];
    let queues = [1_000usize, 100_000, 1_000_000];
    // `cargo test` runs it too, to see that it runs.
    let is_test = !std::env::args().any(|arg| arg == "--bench");
    let (fleets, queues, cycles) =
        if is_test { (&fleets[..1], &queues[..1], 500) } else { (&fleets[..], &queues[..], 50_000) };
    // `cargo bench --bench cycles -- blocked` measures only what blocked builds cost.
    if std::env::args().any(|arg| arg == "blocked") {
        return blocked(queues[0], cycles);
    }
    // `cargo bench --bench cycles -- WORKERS QUEUED [CYCLES]` measures one point, of so many cycles a round: fewer where
    // a simulated processor counts them.
    let point: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let cycles = point.get(2).copied().unwrap_or(cycles);
    let wanted = |workers: u32, queued: usize| match point[..] {
        [only_workers, only_queued, ..] => (workers as usize, queued) == (only_workers, only_queued),
        _ => true,
    };
    println!("| workers | queued jobs | µs a cycle | cycles a second | bytes a queued job |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    for &workers in fleets {
        if !queues.iter().any(|&queued| wanted(workers, queued)) {
            continue;
        }
        let idle = {
            let before = IN_USE.load(Ordering::Relaxed);
            let cluster = Cluster::new(workers, 0);
            let used = IN_USE.load(Ordering::Relaxed) - before;
            drop(cluster);
            used
        };
        for &queued in queues.iter().filter(|&&queued| wanted(workers, queued)) {
            let before = IN_USE.load(Ordering::Relaxed);
            let mut cluster = Cluster::new(workers, queued);
            let used = IN_USE.load(Ordering::Relaxed) - before;
            let a_job = used.saturating_sub(idle) / queued;
            let micros = cost(&mut cluster, cycles);
            println!("| {workers} | {queued} | {micros:.2} | {:.0} | {a_job} |", 1e6 / micros);
        }
    }
    if point.is_empty() {
        blocked(queues[0], cycles);
    }
}

/// What builds cost that wait for their turn and cannot be served, for want of memory; and what it costs besides that
/// one worker has idle slots, and memory for nothing that waits.
fn blocked(queued: usize, cycles: usize) {
    println!("\n| blocked builds | µs a cycle | µs beside slots without memory |");
    println!("| ---: | ---: | ---: |");
    for builds in [0, 10, 100, 1_000] {
        let micros = [false, true].map(|lacks_memory| {
            let mut cluster = Cluster::new(100, queued);
            if lacks_memory {
                cluster.submit_blocked(builds);
            }
            // Until the memory is known of what runs everywhere: before, a link would find room.
            (0..20_000.min(cycles * 2)).for_each(|_| cluster.cycle());
            (0..builds).for_each(|number| cluster.submit_blocked(number));
            cost(&mut cluster, cycles / 10)
        });
        println!("| {builds} | {:.2} | {:.2} |", micros[0], micros[1]);
    }
}

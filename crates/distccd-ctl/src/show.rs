//! Answers of the server, for people and for scripts. The names in JSON are those of `admin.proto`.

use std::fmt::Write;

use proto::v1::{Explanation, JobKind, JobLine, JobList, MountReport, Status, Visibility, WorkerStatus};
use serde_json::{Value, json};

use crate::cli::Format;

/// `status`.
#[must_use]
pub fn status(status: &Status, format: Format) -> String {
    let server = status.server.clone().unwrap_or_default();
    let protocol = server.protocol.unwrap_or_default();
    let slots: u32 = status.workers.iter().map(|worker| worker.slots).sum();
    let held: u32 = status.workers.iter().map(|worker| worker.held).sum();
    if format == Format::Json {
        return line(&json!({
            "server": {
                "software": server.software, "host": server.host,
                "protocol": format!("{}.{}", protocol.major, protocol.minor), "incarnation": hex(&server.incarnation),
            },
            "workers": status.workers.len(), "slots": slots, "held": held,
            "jobs_waiting": status.jobs_waiting, "jobs_running": status.jobs_running,
            "visibility": status.visibility.iter().map(visibility_json).collect::<Vec<_>>(),
        }));
    }
    let mut states: Vec<(&str, usize)> = Vec::new();
    for worker in &status.workers {
        match states.iter_mut().find(|(state, _)| *state == worker.state) {
            Some((_, count)) => *count += 1,
            None => states.push((&worker.state, 1)),
        }
    }
    let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let mut text =
        format!("server   {} on {}, protocol {}.{}\n", server.software, server.host, protocol.major, protocol.minor);
    let workers = if states.is_empty() { "none".to_owned() } else { states.join(", ") };
    // Writing into a text cannot fail.
    let _ = writeln!(text, "workers  {workers}; {held} of {slots} slots held");
    let _ = writeln!(text, "jobs     {} waiting, {} with workers", status.jobs_waiting, status.jobs_running);
    for visibility in &status.visibility {
        let _ = writeln!(text, "outputs  {}", seen(visibility));
    }
    text
}

/// Classes of waits that are longer than 100 ms; see admin.proto.
const LONG_FROM: usize = 3;

/// How long launchers waited to see what was written on one mount.
fn seen(visibility: &Visibility) -> String {
    let jobs: u64 = visibility.waits.iter().sum();
    let long: u64 = visibility.waits.iter().skip(LONG_FROM).sum();
    let waited = jobs - visibility.waits.first().copied().unwrap_or(0);
    let mount = String::from_utf8_lossy(&visibility.mount);
    if waited == 0 {
        return format!("on {mount}: all of {jobs} jobs' seen at once");
    }
    let share = |part: u64| format!("{:.1} %", share_of(part, jobs));
    let (filesystem, longest) = (&visibility.filesystem, seconds(visibility.longest_us));
    let lost = visibility.given_up;
    let lost = if lost == 0 { String::new() } else { format!(", {lost} never") };
    let (waited, long) = (share(waited), share(long));
    format!(
        "on {mount} ({filesystem}): of {jobs} jobs {waited} waited, {long} more than 100 ms, at most {longest:.1}s{lost}"
    )
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share_of(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn visibility_json(visibility: &Visibility) -> Value {
    json!({
        "mount": String::from_utf8_lossy(&visibility.mount), "filesystem": visibility.filesystem,
        "waits": visibility.waits, "longest_s": seconds(visibility.longest_us), "given_up": visibility.given_up,
    })
}

/// `workers`.
#[must_use]
pub fn workers(status: &Status, format: Format) -> String {
    if format == Format::Json {
        return line(&Value::Array(status.workers.iter().map(worker_json).collect()));
    }
    let mut rows =
        vec![["NAME", "STATE", "HELD", "SLOTS", "DONE", "LINKS", "SPEED", "PACE", "SOFTWARE"].map(str::to_owned)];
    let mut troubles = String::new();
    for worker in &status.workers {
        let done: u64 = worker.done.iter().map(|count| count.outcomes).sum();
        let links = if worker.linking { "yes" } else { "no" };
        rows.push([
            worker.name.clone(),
            worker.state.clone(),
            worker.held.to_string(),
            worker.slots.to_string(),
            done.to_string(),
            links.to_owned(),
            figure(worker.speed),
            figure(worker.pace),
            worker.software.clone(),
        ]);
        for report in problems(worker) {
            let mount = String::from_utf8_lossy(&report.path);
            let _ = writeln!(troubles, "{}: no jobs of {mount}: it {}", worker.name, report.problem);
        }
        if let Some(off) = clock_trouble(worker) {
            let _ = writeln!(troubles, "{}: {off}", worker.name);
        }
        if worker.lost_slots > 0 {
            let lost = worker.lost_slots;
            let _ = writeln!(troubles, "{}: {lost} more slots are lost to what survives SIGKILL there", worker.name);
        }
        for difference in &worker.differences {
            let _ = writeln!(troubles, "{}: {}", worker.name, difference.text);
        }
    }
    table(&rows) + &troubles
}

/// A speed, which an older worker or server does not say.
fn figure(per_second: u32) -> String {
    if per_second == 0 { "-".to_owned() } else { per_second.to_string() }
}

/// A clock that is off by more is worth a word, in microseconds.
const WRONG_CLOCK_US: u64 = 1_000_000;

/// What is wrong with a worker's clock, if anything.
pub(crate) fn clock_trouble(worker: &WorkerStatus) -> Option<String> {
    let off = worker.clock_skew_us.unsigned_abs();
    let way = if worker.clock_skew_us > 0 { "ahead of" } else { "behind" };
    let consequence = if worker.state == "wrong clock" { ", and it gets no jobs" } else { "" };
    (off > WRONG_CLOCK_US).then(|| format!("its clock is {:.1} s {way} the server's{consequence}", seconds(off)))
}

/// Mounts of which a worker is given no jobs.
pub(crate) fn problems(worker: &WorkerStatus) -> impl Iterator<Item = &MountReport> {
    worker.mounts.iter().filter(|report| !report.problem.is_empty())
}

fn worker_json(worker: &WorkerStatus) -> Value {
    let mounts = worker.mounts.iter().map(|report| {
        json!({ "path": String::from_utf8_lossy(&report.path), "identity": hex(&report.identity), "problem": report.problem })
    });
    let toolchains = worker.toolchains.iter().map(|tool| {
        json!({ "path": String::from_utf8_lossy(&tool.path), "size": tool.size, "version": tool.version, "target": tool.target })
    });
    json!({
        "id": worker.id, "name": worker.name, "host": worker.host, "software": worker.software,
        "state": worker.state, "slots": worker.slots, "lost_slots": worker.lost_slots, "held": worker.held, "linking": worker.linking,
        "warm_dirs": worker.warm_dirs, "speed": worker.speed, "pace": worker.pace, "clock_skew_s": worker.clock_skew_us as f64 / 1e6,
        "differences": worker.differences.iter().map(|difference| &difference.text).collect::<Vec<_>>(),
        "done": worker.done.iter().map(|count| count.outcomes).sum::<u64>(),
        "mounts": mounts.collect::<Vec<_>>(), "toolchains": toolchains.collect::<Vec<_>>(),
    })
}

/// `jobs`.
#[must_use]
pub fn jobs(list: &JobList, format: Format) -> String {
    if format == Format::Json {
        let jobs: Vec<Value> = list.jobs.iter().map(job_json).collect();
        return line(&json!({ "jobs": jobs, "more": list.more }));
    }
    let mut rows = vec![["JOB", "STATE", "AGE", "WORKER", "UID", "KIND", "OUTPUT"].map(str::to_owned)];
    for job in &list.jobs {
        let explanation = job.explanation.clone().unwrap_or_default();
        rows.push([
            hex(&job.id),
            explanation.state.clone(),
            format!("{:.1}s", seconds(explanation.age_us)),
            explanation.placement.map_or_else(|| "-".to_owned(), |placement| placement.worker),
            job.uid.to_string(),
            kind(job).to_owned(),
            String::from_utf8_lossy(&job.output).into_owned(),
        ]);
    }
    let more = if list.more == 0 { String::new() } else { format!("and {} more\n", list.more) };
    table(&rows) + &more
}

fn job_json(job: &JobLine) -> Value {
    let explanation = job.explanation.clone().unwrap_or_default();
    json!({
        "id": hex(&job.id), "state": explanation.state, "age_s": seconds(explanation.age_us),
        "worker": explanation.placement.as_ref().map(|placement| &placement.worker), "uid": job.uid, "kind": kind(job),
        "cwd": String::from_utf8_lossy(&job.cwd), "output": String::from_utf8_lossy(&job.output),
        "text": explanation.text,
    })
}

fn kind(job: &JobLine) -> &'static str {
    match job.kind() {
        JobKind::Compile => "compile",
        JobKind::Assemble => "assemble",
        JobKind::Preprocess => "preprocess",
        JobKind::Link => "link",
        JobKind::Archive => "archive",
        _ => "other",
    }
}

/// `explain`.
#[must_use]
pub fn explanation(explanation: &Explanation, format: Format) -> String {
    if format == Format::Text {
        return format!("{}\n", explanation.text);
    }
    line(&json!({
        "state": explanation.state, "age_s": seconds(explanation.age_us),
        "expected_s": seconds(explanation.expected_us), "basis": explanation.basis,
        "tail_s": seconds(explanation.tail_us),
        "expected_memory": explanation.expected_memory, "failed_attempts": explanation.failed_attempts,
        "worker": explanation.placement.as_ref().map(|placement| &placement.worker), "text": explanation.text,
    }))
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// Columns as wide as their widest word, the last one as it is.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Status {
        let bad =
            MountReport { path: "/shared".into(), problem: "is mounted read-only".to_owned(), ..Default::default() };
        let worker = |name: &str, state: &str| WorkerStatus {
            name: name.to_owned(),
            state: state.to_owned(),
            slots: 4,
            held: 1,
            ..Default::default()
        };
        let birch = WorkerStatus { mounts: vec![bad], speed: 1_040, pace: 980, lost_slots: 2, ..worker("birch", "up") };
        let slow = Visibility {
            mount: "/shared".into(),
            filesystem: "nfs4".to_owned(),
            waits: vec![190, 5, 2, 3, 0, 0],
            longest_us: 740_000,
            given_up: 0,
        };
        let quick = Visibility { mount: "/quick".into(), waits: vec![7, 0, 0, 0, 0, 0], ..Default::default() };
        let visibility = vec![slow, quick];
        Status { workers: vec![worker("ash", "draining"), birch], jobs_waiting: 3, visibility, ..Default::default() }
    }

    #[test]
    fn people_see_states_and_what_is_wrong() {
        assert!(status(&sample(), Format::Text).contains("1 draining, 1 up; 2 of 8 slots held"));
        let text = status(&sample(), Format::Text);
        let slow = "on /shared (nfs4): of 200 jobs 5.0 % waited, 1.5 % more than 100 ms, at most 0.7s\n";
        assert!(text.contains(slow) && text.contains("on /quick: all of 7 jobs' seen at once"), "{text}");
        let text = workers(&sample(), Format::Text);
        assert!(text.starts_with("NAME   STATE     HELD"), "{text}");
        let figures = |name: &str| {
            let row = text.lines().find(|line| line.starts_with(name))?;
            Some(row.split_whitespace().skip(6).take(2).collect::<Vec<_>>().join(" "))
        };
        assert_eq!((figures("ash"), figures("birch")), (Some("- -".to_owned()), Some("1040 980".to_owned())), "{text}");
        assert!(text.contains("birch: no jobs of /shared: it is mounted read-only\n"), "{text}");
        assert!(text.ends_with("birch: 2 more slots are lost to what survives SIGKILL there\n"), "{text}");
    }

    #[test]
    fn scripts_read_json() {
        let parsed: Value = serde_json::from_str(&workers(&sample(), Format::Json)).unwrap();
        assert_eq!((&parsed[1]["speed"], &parsed[1]["pace"]), (&json!(1_040), &json!(980)));
        assert_eq!(parsed[1]["mounts"][0]["problem"], "is mounted read-only");
        let parsed: Value = serde_json::from_str(&status(&sample(), Format::Json)).unwrap();
        assert_eq!(parsed["jobs_waiting"], 3);
        assert_eq!(parsed["visibility"][0]["waits"][3], 3);
        let parsed: Value = serde_json::from_str(&jobs(&JobList::default(), Format::Json)).unwrap();
        assert_eq!(parsed["more"], 0);
    }
}

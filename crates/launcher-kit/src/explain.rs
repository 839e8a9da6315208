//! `--explain`: what would happen and why, on one screen.

use std::fmt::Write;

use proto::v1;

use crate::Launch;
use crate::decide::{Invocation, Stays, Travels};

/// Most names of one sort that are listed.
const LISTED: usize = 8;

/// The explanation of a decision.
#[must_use]
pub fn text(launch: &Launch<'_>, invocation: &Invocation, decision: &Result<Travels, Stays>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<10} {value}");
    };
    let words: Vec<_> = invocation.argv.iter().map(|word| word.to_string_lossy()).collect();
    line("command", &shorten(&words.join(" ")));
    line("program", &invocation.program.to_string_lossy());
    line("directory", &invocation.cwd.to_string_lossy());
    for mount in launch.places.missing() {
        line("mount", &format!("{} is not there: nothing on it can travel", mount.display()));
    }
    if let Some(file) = &launch.discovery.file {
        line("server", &format!("{}, by {}", launch.context.settings.server_addr, file.display()));
    }
    if let Some(doubt) = &launch.discovery.doubt {
        line("server", doubt);
    }
    match decision {
        Err(why) => {
            line("runs", "here");
            line("because", &why.to_string());
        }
        Ok(travels) => {
            line("runs", &format!("on a worker, by {}", launch.context.settings.server_addr));
            line("because", "all that it reads and writes is on a shared mount, or the same on every machine");
            line("kind", travels.kind.name());
            if travels.jobs.len() > 1 {
                line("units", &format!("{}, one per source", travels.jobs.len()));
            }
            travels.jobs.first().into_iter().for_each(|job| describe(job, &mut line));
        }
    }
    text
}

fn describe(job: &v1::Job, line: &mut dyn FnMut(&str, &str)) {
    match &job.toolchain {
        Some(toolchain) => line("toolchain", &identified(toolchain)),
        None => line("toolchain", "on the shared mount"),
    }
    if job.cpu_class != 0 {
        line("cpu", "`native`: only a worker whose CPU compilers would take for this machine's");
    }
    line("mounts", &list(job.mounts.iter().map(|mount| mount.as_ref())));
    line("reads", &list(job.inputs.iter().map(|stamp| stamp.path.as_ref())));
    line("writes", &list(job.outputs.iter().map(|output| output.as_ref())));
    line("repeat", if job.repeatable { "may be tried again elsewhere" } else { "only once: it updates in place" });
}

fn identified(toolchain: &v1::Toolchain) -> String {
    let fingerprint: String = toolchain.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
    let own = format!("{} {fingerprint}", String::from_utf8_lossy(&toolchain.path));
    toolchain.linker.as_ref().map_or(own.clone(), |linker| format!("{own} with {}", identified(linker)))
}

fn list<'a>(names: impl ExactSizeIterator<Item = &'a [u8]>) -> String {
    let count = names.len();
    let mut names: Vec<_> = names.take(LISTED).map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    if count > LISTED {
        names.push(format!("and {} more", count - LISTED));
    }
    if names.is_empty() { "nothing by name".to_owned() } else { names.join(" ") }
}

fn shorten(text: &str) -> String {
    const WIDTH: usize = 400;
    match text.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{} ...", &text[..at]),
        None => text.to_owned(),
    }
}

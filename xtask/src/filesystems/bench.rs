//! Runs single commands through the launchers, and knows what became of each.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::fleet::Introduction;
use super::torture::Score;
use crate::process;

/// So much of what a failed command said is shown.
const SHOWN_LINES: usize = 6;

/// Where commands are run.
pub(super) struct Bench {
    /// The launchers and how they find the fleet; none: commands run directly.
    launcher: Option<(PathBuf, Introduction)>,
    /// Each job has notes of its own there.
    notes: PathBuf,
    next: AtomicU64,
    /// The longest that a job took, in microseconds.
    longest: AtomicU64,
}

impl Bench {
    /// Commands go through the launchers in `binaries`; their notes go to `notes`, a directory.
    pub(super) fn new(binaries: &Path, introduction: Introduction, notes: &Path) -> Self {
        Self {
            launcher: Some((binaries.join("cc-launcher"), introduction)),
            notes: notes.to_owned(),
            next: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        }
    }

    /// Commands run directly.
    #[cfg(test)]
    pub(super) fn direct() -> Self {
        Self { launcher: None, notes: PathBuf::new(), next: AtomicU64::new(0), longest: AtomicU64::new(0) }
    }

    /// The longest that a job took so far.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_micros(self.longest.load(Ordering::Relaxed))
    }

    /// Runs one.
    pub(super) fn run(&self, command: &mut Command) -> anyhow::Result<Score> {
        Ok(self.run_told(command)?.0)
    }

    /// Runs all of them at once.
    pub(super) fn run_all(&self, commands: Vec<Command>) -> anyhow::Result<Score> {
        let scores: Vec<anyhow::Result<Score>> = std::thread::scope(|scope| {
            let start = |mut command: Command| scope.spawn(move || self.run(&mut command));
            let running: Vec<_> = commands.into_iter().map(start).collect();
            running
                .into_iter()
                .map(|running| running.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a command's thread panicked"))))
                .collect()
        });
        let mut sum = Score::default();
        for score in scores {
            sum.add(score?);
        }
        Ok(sum)
    }

    /// Runs one and says which worker ran it, unless none did.
    pub(super) fn run_told(&self, command: &mut Command) -> anyhow::Result<(Score, Option<String>)> {
        let Some((launcher, introduction)) = &self.launcher else {
            let score = self.judge(command);
            return score.map(|score| (Score { handovers: 1, ..score }, None));
        };
        let notes = self.notes.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let mut launched = Command::new(launcher);
        launched.arg("--").arg(command.get_program()).args(command.get_args());
        if let Some(dir) = command.get_current_dir() {
            launched.current_dir(dir);
        }
        introduction.give(&mut launched);
        launched.env("DISTCCD_LOG_FILE", &notes).env("LC_ALL", "C.UTF-8");
        let mut score = self.judge(&mut launched)?;
        let text = std::fs::read(&notes).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let worker = text.lines().find_map(|line| line.split_once("ran on ")?.1.split(' ').next());
        score.here = usize::from(worker.is_none());
        if score.here + score.failed > 0 {
            self.tell(&format!("{}:\n{}", brief(command), text.trim_end()));
        }
        Ok((score, worker.map(str::to_owned)))
    }

    fn judge(&self, command: &mut Command) -> anyhow::Result<Score> {
        let start = Instant::now();
        let result = process::run(command);
        process::check_interrupted()?;
        let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.longest.fetch_max(took, Ordering::Relaxed);
        let failed = result.is_err();
        if let Err(error) = result {
            let text = format!("{error:#}");
            let lines: Vec<&str> = text.lines().skip(1).take(SHOWN_LINES).collect();
            self.tell(&lines.join("\n"));
        }
        Ok(Score { jobs: 1, failed: usize::from(failed), ..Score::default() })
    }

    /// What a program prints; nothing when it fails.
    pub(super) fn print(&self, program: &Path) -> Option<String> {
        let printed = process::capture(&mut Command::new(program));
        printed.inspect_err(|error| self.tell(&format!("{error:#}"))).ok()
    }

    /// Something that a reader wants to know of.
    pub(super) fn tell(&self, what: &str) {
        println!("    {}", what.replace('\n', "\n      "));
    }
}

/// A command without its search path.
fn brief(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|word| word.to_string_lossy()).filter(|word| !word.starts_with("-I")));
    words.join(" ")
}

//! One command line, its surroundings, and where it has to run.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Where a case has to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a worker.
    Worker,
    /// On this machine.
    Here(Why),
}
pub(super) use Place::{Here, Worker};

/// Why a case has to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A question to the tool about itself, or nothing to work on: no file of the mount is touched.
    Question,
    /// It reads or writes what is not on the mount: a file elsewhere, a FIFO, a standard input that holds a source.
    Elsewhere,
    /// The tool is killed by a signal, which a worker takes for its machine's failure: others try, and then this one.
    Killed,
    /// A program that the driver needs is nowhere, so that nothing touches a file; a worker takes that for its machine's
    /// failure, and so do the next ones.
    Missing,
    /// By its name it is no tool that workers run unless configured to (`allowed_tools`).
    NotAllowed,
    /// It adds to a file that every command of the build adds to.
    AddsUp,
    /// What configuration scripts try out: not worth the way.
    Configure,
    /// It lists an archive: not worth the way.
    Listing,
    /// A file on the mount cannot be read, is no regular file where there has to be one, or is in no directory.
    Special,
    /// The tool refuses the command line before it opens a file, and says so best.
    Refused,
    /// The option names a program or directory in a way that is not followed.
    Unfollowed,
}

impl Why {
    /// Whether such a case touches only the shared mount, and so counts as one that could have left.
    #[must_use]
    pub fn counts(self) -> bool {
        !matches!(self, Self::Question | Self::Elsewhere | Self::Missing | Self::Refused)
    }
}

/// Where a command runs whose result goes to standard output.
pub(super) const PRINTED: Place = Worker;
/// Where a command runs that is for this machine's own processor, with a worker of the same class about.
pub(super) const NATIVE: Place = Worker;
/// Where the trials of configuration scripts run.
pub(super) const CONFIGURE: Place = Here(Why::Configure);

/// A command line to be run direct and through a launcher.
///
/// In words, setup and environment `{dir}` is the directory it runs in, which is on the mount, and `{private}` one that
/// is not; both are fresh.
#[derive(Clone, Debug)]
pub struct Case {
    theme: &'static str,
    name: String,
    pub(super) place: Place,
    pub(super) argv: Vec<OsString>,
    pub(super) input: Vec<u8>,
    pub(super) setup: String,
    pub(super) umask: Option<u32>,
    pub(super) env: Vec<(&'static str, String)>,
    pub(super) limits: Vec<(libc::__rlimit_resource_t, u64)>,
    pub(super) below: &'static str,
    pub(super) varies: &'static [&'static str],
    /// What a shell does meanwhile, with the path of this FIFO as its `$0`.
    pub(super) companion: Option<(&'static str, &'static str)>,
    pub(super) as_nobody: bool,
    pub(super) one_stream: bool,
}

/// A case of this name whose command line is `words`, parted by white space.
pub(super) fn case(name: &str, place: Place, words: &str) -> Case {
    Case {
        theme: "",
        name: name.to_owned(),
        place,
        argv: words.split_ascii_whitespace().map(OsString::from).collect(),
        input: Vec::new(),
        setup: String::new(),
        umask: None,
        env: Vec::new(),
        limits: Vec::new(),
        below: "",
        varies: &[],
        companion: None,
        as_nobody: false,
        one_stream: false,
    }
}

impl Case {
    /// Theme and name, as shown and as `--only` looks for it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}: {}", self.theme, self.name)
    }

    pub(super) fn in_theme(mut self, theme: &'static str) -> Self {
        self.theme = theme;
        self
    }

    /// One more word, as it is.
    pub(super) fn arg(mut self, bytes: &[u8]) -> Self {
        self.argv.push(OsString::from_vec(bytes.to_vec()));
        self
    }

    /// Runs there instead.
    pub(super) fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// What its standard input holds.
    pub(super) fn input(mut self, input: &[u8]) -> Self {
        self.input = input.to_vec();
        self
    }

    /// A line of shell to be run in the fresh directory first, after those already there; it must succeed.
    pub(super) fn setup(mut self, line: &str) -> Self {
        self.setup.push_str(line);
        self.setup.push('\n');
        self
    }

    pub(super) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    pub(super) fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// A soft limit, in the unit of `setrlimit(2)`.
    pub(super) fn limit(mut self, resource: libc::__rlimit_resource_t, soft: u64) -> Self {
        self.limits.push((resource, soft));
        self
    }

    /// Runs in this directory below the fresh one.
    pub(super) fn below(mut self, dir: &'static str) -> Self {
        self.below = dir;
        self
    }

    /// Files with these endings differ between two direct runs too: only that they are there is compared.
    pub(super) fn varies(mut self, endings: &'static [&'static str]) -> Self {
        self.varies = endings;
        self
    }

    /// Somebody writes a C source into this FIFO once it is read.
    pub(super) fn fed(mut self, fifo: &'static str) -> Self {
        self.companion = Some(("printf 'int fed(void) { return 1; }\\n' >\"$0\"", fifo));
        self
    }

    /// Somebody reads this FIFO once it is written to.
    pub(super) fn drained(mut self, fifo: &'static str) -> Self {
        self.companion = Some(("cat \"$0\"", fifo));
        self
    }

    /// Runs as the user nobody, who owns nothing.
    pub(super) fn by_nobody(mut self) -> Self {
        self.as_nobody = true;
        self
    }

    /// Standard output and standard error are one pipe, as in `2>&1 |`: their order is compared too.
    pub(super) fn one_stream(mut self) -> Self {
        self.one_stream = true;
        self
    }

    /// The command line as one would read it.
    #[must_use]
    pub fn shown(&self) -> String {
        const LONGEST: usize = 200;
        let mut text = String::new();
        for word in &self.argv {
            if text.len() + word.len() > LONGEST {
                return format!("{text} ... ({} words)", self.argv.len());
            }
            text.push(' ');
            text.push_str(&word.to_string_lossy());
        }
        text.trim_start().to_owned()
    }
}

/// Puts the names of the directories where they are spoken of.
pub(super) fn placed(text: &[u8], dir: &Path, private: &Path) -> OsString {
    let mut placed = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&first) = rest.first() {
        let spoken = [("{dir}", dir), ("{private}", private)];
        match spoken.into_iter().find(|(name, _)| rest.starts_with(name.as_bytes())) {
            Some((name, path)) => {
                placed.extend_from_slice(path.as_os_str().as_bytes());
                rest = &rest[name.len()..];
            }
            None => {
                placed.push(first);
                rest = &rest[1..];
            }
        }
    }
    OsString::from_vec(placed)
}

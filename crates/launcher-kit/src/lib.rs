//! The flow of a launcher: understand the command ([`cli`], [`settings`], [`program`], [`decide`]), submit it
//! ([`session`], [`link`]), wait, print ([`output`]) and end as the compiler ended ([`exit`]); or become the command
//! ([`fallback`]), which then is what it would have been without us.
//!
//! One thread, one way out ([`exit::End::now`]), not a byte on stdout or stderr of its own unless asked or failing.

pub mod answer;
pub mod breaker;
pub mod circumstances;
pub mod cli;
mod configure;
pub mod decide;
pub mod discovery;
mod draft;
pub mod environment;
pub mod exit;
pub mod explain;
pub mod fallback;
pub mod help;
mod identity;
pub mod jobs_from;
mod leftovers;
pub mod link;
mod linked;
pub mod list;
pub mod log;
mod mount_table;
mod not_found;
pub mod output;
mod patience;
pub mod places;
pub mod program;
pub mod session;
pub mod settings;
pub mod signals;
pub mod single;
pub mod slots;
mod survey;
mod system_files;
pub mod times;
mod value;
pub mod visibility;

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cli::Request;
use decide::{Invocation, Judge};
use discovery::Discovery;
use environment::Environment;
use exit::End;
use log::Log;
use places::Places;
use settings::{Given, Settings};
use single::Context;

/// The names under which a launcher is itself.
const OWN_NAMES: [&str; 2] = ["cc-launcher", "ld-launcher"];

/// Name and version, as `--version` and the server's logs show them.
const SOFTWARE: &str = concat!("distccd-launcher ", env!("CARGO_PKG_VERSION"));

/// The argument vector as C's `main` gets it.
///
/// # Safety
/// `words` must point to `count` pointers to NUL-terminated strings.
#[must_use]
pub unsafe fn arguments(count: c_int, words: *const *const c_char) -> Vec<OsString> {
    let count = usize::try_from(count).unwrap_or(0);
    let word = |index| {
        // SAFETY: the caller vouches for all of them.
        let bytes = unsafe { CStr::from_ptr(*words.add(index)) };
        OsStr::from_bytes(bytes.to_bytes()).to_owned()
    };
    (0..count).map(word).collect()
}

/// Does what this process was called for, and never returns.
pub fn main(name: &'static str, argv: &[OsString]) -> ! {
    exit::ignore_sigpipe();
    exit::outlive_file_limit();
    run(name, argv, &Environment::of_process()).now()
}

fn run(name: &'static str, argv: &[OsString], environment: &Environment) -> End {
    match cli::parse(argv, &OWN_NAMES) {
        Err(error) => {
            exit::complain(name, &error.to_string());
            End::Code(exit::USAGE)
        }
        Ok(Request::Help) => say(&help::text(name)),
        Ok(Request::Version) => say(&format!("{name} {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Request::Run { given, explain, command, masquerade }) => {
            with_settings(name, &given, environment, |launch| launch.one(command, masquerade, explain))
        }
        Ok(Request::RunMany { given, explain, from }) => {
            with_settings(name, &given, environment, |launch| jobs_from::run(launch, &from, explain))
        }
    }
}

fn say(text: &str) -> End {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => End::Code(0),
        Err(_) => End::Code(exit::OS_ERROR),
    }
}

/// All that is known before a command is looked at.
pub struct Launch<'a> {
    /// What the flow of a command needs to know.
    pub context: Context<'a>,
    /// The environment.
    pub environment: &'a Environment,
    /// The mounts.
    pub places: Places,
    /// What the mount said of its server.
    pub discovery: Discovery,
    cwd: Option<PathBuf>,
}

fn with_settings(
    name: &'static str,
    given: &[Given],
    environment: &Environment,
    then: impl FnOnce(&Launch<'_>) -> End,
) -> End {
    let mut settings = match settings::load(given, &|name| environment.get(name)) {
        Ok(settings) => settings,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| exit::complain(name, &mistake.to_string()));
            let by_flag = mistakes.iter().any(|mistake| mistake.place == "flag");
            return End::Code(if by_flag { exit::USAGE } else { exit::CONFIG });
        }
    };
    let log = Log::open(name, &settings);
    let places = Places::new(&settings.fs_mounts, &settings.system_dirs);
    let cwd = places.working_directory(environment.get("PWD").as_deref().map(Path::new)).ok();
    let discovery = Discovery::of(&mut settings, &places, cwd.as_deref());
    discovery.doubt.iter().for_each(|doubt| log.note(|| doubt.clone()));
    let runtime_dir = environment.get("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let context = Context { name, software: SOFTWARE, settings: &settings, log: &log, runtime_dir };
    then(&Launch { context, environment, places, discovery, cwd })
}

impl Launch<'_> {
    fn settings(&self) -> &Settings {
        self.context.settings
    }

    /// Runs one command.
    fn one(&self, mut argv: Vec<OsString>, masquerade: bool, explain: bool) -> End {
        let path = self.environment.get("PATH");
        let behind = |path: &OsString| program::path_behind_masquerade(&argv[0], path);
        let path = if masquerade { path.as_ref().map(behind) } else { path };
        let program = match program::find(&argv[0], path.as_deref(), masquerade) {
            Ok(program) => program,
            Err(error) => {
                exit::complain(self.context.name, &error.to_string());
                return End::Code(error.exit_code());
            }
        };
        let cwd = self.working_directory();
        if masquerade && argv[0].as_bytes().contains(&b'/') {
            // A driver called by a path looks for its parts from there on, and beside our link there are none.
            argv[0] = program.clone().into_os_string();
        }
        let path = path.filter(|_| masquerade);
        let environment = path.clone().map(|path| self.environment.with("PATH", path));
        let invocation = Invocation { argv, program, cwd: cwd.clone().unwrap_or_default(), path };
        let judge = Judge { environment: environment.as_ref().unwrap_or(self.environment), ..self.judge() };
        let decision = match cwd {
            Some(_) => judge.decide(&invocation),
            None => Err(decide::Stays("the working directory has vanished; the tool itself shall say so".to_owned())),
        };
        if explain {
            return say(&explain::text(self, &invocation, &decision));
        }
        match decision {
            Ok(travels) => single::run(&self.context, &invocation, travels),
            Err(why) => {
                self.context.log.note(|| format!("runs here: {why}"));
                single::run_here(&self.context, &invocation)
            }
        }
    }

    /// Decides over commands.
    #[must_use]
    pub fn judge(&self) -> Judge<'_> {
        let runtime_dir = self.context.runtime_dir.clone();
        Judge { settings: self.settings(), environment: self.environment, places: &self.places, runtime_dir }
    }

    /// The working directory, unless it has vanished.
    #[must_use]
    pub fn working_directory(&self) -> Option<PathBuf> {
        self.cwd.clone()
    }
}

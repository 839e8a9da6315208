//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use toml::Value;

use crate::config::{Config, FILE, KEYS, Problem, Provenance, Source};
use crate::layers::Layers;

const AFTER_HELP: &str = "\
Each setting is taken from, weakest first: the built-in default, the file (/etc/distccd/worker.toml, or what --config \
names), the environment (DISTCCD_MAX_JOBS for --max-jobs), the flag. The file's keys are the flags' names with \
underscores.

Durations are written as 500ms, 5m or 1m30s.

Signals:
  TERM, INT  drain: take nothing new, hand back what has not started, finish what runs; the second one kills it
  HUP        look for compilers, linkers and archivers again

Exit status:
  0   drained
  64  bad flag
  69  the server refuses this worker (another protocol version)
  70  internal error
  71  the operating system refuses something that no worker can do without
  78  bad configuration, a mount that is not there, no compiler found

Files:
  /etc/distccd/worker.toml  configuration
Environment:
  DISTCCD_LOG               what is logged: error, warn, info, debug, or as in tracing's EnvFilter (default info)";

/// Runs compilers, linkers and archivers for the distccd server, in place, on a filesystem that all machines share.
#[derive(Debug, Parser)]
#[command(name = "distccd-worker", version, after_help = AFTER_HELP, args_override_self = true, max_term_width = 100)]
pub struct Flags {
    /// Where the server is found [default: localhost:50051].
    #[arg(long, value_name = "HOST:PORT")]
    server_addr: Option<String>,
    /// A shared mount; may be repeated or hold a `:`-list [default: /mnt/cephfs].
    #[arg(long, value_name = "PATH")]
    fs_mount: Vec<String>,
    /// Slots: commands run at a time; `auto` is one per CPU of the cpuset and quota [default: 4].
    #[arg(long, value_name = "N|auto")]
    max_jobs: Option<String>,
    /// Takes no link jobs.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_linking: Option<String>,
    /// Directories whose warmth is reported [default: 100].
    #[arg(long, value_name = "N")]
    max_dirs_tracked: Option<String>,
    /// How often they are reported in full; changes also ride on heartbeats [default: 5m].
    #[arg(long, value_name = "DUR")]
    dir_report_interval: Option<String>,
    /// Name of this worker, unique in the fleet [default: the host's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Allows an unencrypted connection to a server on another machine.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    insecure: Option<String>,
    /// How log lines on stderr look [default: text].
    #[arg(long, value_name = "text|json")]
    log_format: Option<String>,
    /// Further program names that may be run, `*` for any characters; may be repeated or hold a `,`-list.
    #[arg(long, value_name = "NAME")]
    allowed_tools: Vec<String>,
    /// Between SIGTERM and SIGKILL of a cancelled command [default: 2s].
    #[arg(long, value_name = "DUR")]
    kill_grace: Option<String>,
    /// How long a drain lets running commands finish [default: 10m].
    #[arg(long, value_name = "DUR")]
    drain_grace: Option<String>,
    /// Where output of commands beyond 1 MiB is kept until the server has it [default: TMPDIR, or /tmp].
    #[arg(long, value_name = "DIR")]
    scratch: Option<String>,
    /// Reads this file instead of /etc/distccd/worker.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints the configuration that would be used, and where each value comes from, and exits.
    #[arg(long)]
    print_config: bool,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Call {
    /// Run.
    Run(Config),
    /// Print this and exit well.
    Print(String),
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum CallError {
    /// The command line is not understood; the text is ready to print.
    Usage(String),
    /// Settings are wrong.
    Settings(Vec<Problem>),
}

impl CallError {
    /// 64 when the command line is at fault, 78 when it is the configuration.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let by_flag = |problem: &Problem| matches!(problem.source, Source::Flag(_));
        match self {
            Self::Usage(_) => 64,
            Self::Settings(problems) if problems.iter().any(by_flag) => 64,
            Self::Settings(_) => 78,
        }
    }
}

/// The command as clap knows it, for the manual page.
#[must_use]
pub fn command() -> clap::Command {
    Flags::command()
}

/// Reads command line, environment and file.
///
/// # Errors
/// All that is wrong with them.
pub fn read(
    args: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Call, CallError> {
    let flags = match Flags::try_parse_from(args) {
        Ok(flags) => flags,
        Err(error) if error.use_stderr() => return Err(CallError::Usage(error.render().to_string())),
        Err(help) => return Ok(Call::Print(help.render().to_string())),
    };
    let mut layers = Layers::default();
    layers.read_file(flags.config.as_deref().unwrap_or(Path::new(FILE)), flags.config.is_some(), &KEYS);
    layers.read_environment(&KEYS, environment);
    let print = flags.print_config;
    flags.lay_over(&mut layers);
    let (config, provenance): (Config, Provenance) = Config::from_layers(layers).map_err(CallError::Settings)?;
    Ok(if print { Call::Print(config.print(&provenance)) } else { Call::Run(config) })
}

impl Flags {
    fn lay_over(self, layers: &mut Layers) {
        let list = |texts: Vec<String>, separator: &str| (!texts.is_empty()).then(|| texts.join(separator));
        let said = [
            ("server_addr", self.server_addr),
            ("fs_mount", list(self.fs_mount, ":")),
            ("max_jobs", self.max_jobs),
            ("disable_linking", self.disable_linking),
            ("max_dirs_tracked", self.max_dirs_tracked),
            ("dir_report_interval", self.dir_report_interval),
            ("name", self.name),
            ("insecure", self.insecure),
            ("log_format", self.log_format),
            ("allowed_tools", list(self.allowed_tools, ",")),
            ("kill_grace", self.kill_grace),
            ("drain_grace", self.drain_grace),
            ("scratch", self.scratch),
        ];
        for (key, text) in said {
            if let Some(text) = text {
                let source = Source::Flag(format!("--{}", key.replace('_', "-")));
                layers.set(key, source, Value::String(text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(args: &[&str], variables: &[(&str, &str)]) -> Result<Call, CallError> {
        let args = ["distccd-worker", "--config=/dev/null"].iter().chain(args).map(OsString::from);
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        read(args, find)
    }

    fn config(args: &[&str], variables: &[(&str, &str)]) -> Config {
        match call(args, variables) {
            Ok(Call::Run(config)) => config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_table_of_flags_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn flags_win_over_the_environment() {
        let config = config(
            &["--max-jobs=3", "--disable-linking", "--fs-mount=/a:/b", "--fs-mount=/c"],
            &[("DISTCCD_MAX_JOBS", "9"), ("DISTCCD_NAME", "ash")],
        );

        assert_eq!((config.slots, config.name.as_str(), config.linking), (3, "ash", false));
        assert_eq!(config.mounts.len(), 3);
    }

    #[test]
    fn a_flag_said_twice_is_what_it_was_last() {
        assert_eq!(config(&["--max-jobs=3", "--max-jobs", "5"], &[]).slots, 5);
    }

    #[test]
    fn who_is_at_fault_decides_the_exit_status() {
        assert_eq!(call(&["--nonsense"], &[]).unwrap_err().exit_code(), 64);
        assert_eq!(call(&["--max-jobs=x"], &[]).unwrap_err().exit_code(), 64);
        assert_eq!(call(&[], &[("DISTCCD_MAX_JOBS", "x")]).unwrap_err().exit_code(), 78);
    }

    #[test]
    fn help_version_and_configuration_are_printed() {
        for args in [["--help"], ["--version"], ["--print-config"]] {
            assert!(matches!(call(&args, &[]), Ok(Call::Print(_))), "{args:?}");
        }
    }
}

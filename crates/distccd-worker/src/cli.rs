//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser};
use daemon_kit::exit;
use daemon_kit::layers::{self, Layers, Mistake};

use crate::config::{self, Config, DEFAULT_FILE, KEYS};

const AFTER_HELP: &str = "\
Each setting is taken from, weakest first: the built-in default, the file (/etc/distccd/worker.toml, or what --config \
names), the environment (DISTCCD_MAX_JOBS for --max-jobs), the flag. The file's keys are the flags' names with \
underscores.

Durations are written as 500ms, 5m or 1m30s, sizes as 64KiB, 100MiB or 1GiB.

Signals:
  TERM, INT  drain: take nothing new, hand back what has not started, finish what runs; the second one kills it
  HUP        look for compilers, linkers and archivers again

Exit status:
  0   drained; with --probe: every mount is isolated
  1   with --probe: some mount is worked on in place
  64  bad flag
  69  the server refuses this worker (another protocol version)
  70  internal error
  71  the operating system refuses what no worker can do without, or the process that starts commands was killed
  78  bad configuration, a mount that is not there, no compiler found

Files:
  /etc/distccd/worker.toml  configuration
Environment:
  DISTCCD_LOG               what is logged: error, warn, info, debug, or as in tracing's EnvFilter (default info)";

/// Runs compilers, linkers and archivers for the distccd server, in place, on a filesystem that all machines share.
// Values stay texts here: they are checked with those of the other layers.
#[derive(Debug, Default, Parser)]
#[command(name = "distccd-worker", version, after_help = AFTER_HELP, args_override_self = true, max_term_width = 100)]
pub struct Cli {
    /// Where the server is found [default: what the mount says, or localhost:50051].
    #[arg(long, value_name = "HOST:PORT")]
    pub server_addr: Option<String>,
    /// Whose .distccd/cluster.toml on the mounts is believed besides root's; it names the server unless this worker is
    /// told otherwise [default: distccd-server].
    #[arg(long, value_name = "USER")]
    pub service_user: Option<String>,
    /// A shared mount; may be repeated or hold a `:`-list [default: /mnt/cephfs].
    #[arg(long, value_name = "PATH")]
    pub fs_mount: Vec<String>,
    /// Slots: commands run at a time; `auto` is one per CPU of the cpuset and quota [default: 4].
    #[arg(long, value_name = "N|auto")]
    pub max_jobs: Option<String>,
    /// Takes no link jobs.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub disable_linking: Option<String>,
    /// Directories whose warmth is reported [default: 100].
    #[arg(long, value_name = "N")]
    pub max_dirs_tracked: Option<String>,
    /// How often they are reported in full; changes also ride on heartbeats [default: 5m].
    #[arg(long, value_name = "DUR")]
    pub dir_report_interval: Option<String>,
    /// Name of this worker, unique in the fleet [default: the host's name].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Allows an unencrypted connection to a server on another machine.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub insecure: Option<String>,
    /// How log lines on stderr look [default: text].
    #[arg(long, value_name = "text|json")]
    pub log_format: Option<String>,
    /// Further program names that may be run, `*` for any characters; may be repeated or hold a `,`-list.
    #[arg(long, value_name = "NAME")]
    pub allowed_tools: Vec<String>,
    /// Between SIGTERM and SIGKILL of a cancelled command [default: 2s].
    #[arg(long, value_name = "DUR")]
    pub kill_grace: Option<String>,
    /// How long a drain lets running commands finish [default: 10m].
    #[arg(long, value_name = "DUR")]
    pub drain_grace: Option<String>,
    /// Where output of commands beyond 1 MiB is kept until the server has it [default: TMPDIR, or /tmp].
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<String>,
    /// Whether attempts have control groups of their own (cgroup v2) [default: auto].
    #[arg(long, value_name = "auto|off")]
    pub cgroups: Option<String>,
    /// What the processes of one attempt may have of memory together, by its control group [default: unlimited].
    #[arg(long, value_name = "SIZE|unlimited")]
    pub attempt_memory: Option<String>,
    /// How what attempts write is kept from others until they have ended [default: auto].
    #[arg(long, value_name = "auto|overlay|redirect|off")]
    pub isolation: Option<String>,
    /// What an isolated attempt may write, in memory, before it is published [default: a quarter of the memory].
    #[arg(long, value_name = "SIZE")]
    pub scratch_limit: Option<String>,
    /// Whether results wait until what was published is on disk [default: none].
    #[arg(long, value_name = "none|fsync")]
    pub durability: Option<String>,
    /// How much one command may print before it is ended [default: 1GiB].
    #[arg(long, value_name = "SIZE")]
    pub max_output: Option<String>,
    /// Reads this file instead of /etc/distccd/worker.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Prints the configuration that would be used, and where each value comes from, and exits.
    #[arg(long)]
    pub print_config: bool,
    /// Tries what isolation this machine allows on each mount, and whether attempts get control groups, prints it, and
    /// exits.
    #[arg(long)]
    pub probe: bool,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Call {
    /// Run.
    Run(Config),
    /// Say what isolation is possible, and exit.
    Probe(Config),
    /// Print this and exit well.
    Print(String),
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum CallError {
    /// The command line is not understood; the text is ready to print.
    Usage(String),
    /// Settings are wrong.
    Settings(Vec<Mistake>),
}

impl CallError {
    /// That of a wrong flag when the command line is at fault, else that of a wrong configuration.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::Settings(mistakes) if mistakes.iter().any(Mistake::is_of_flag) => exit::USAGE,
            Self::Settings(_) => exit::CONFIG,
        }
    }
}

/// The command as clap knows it, for the manual page.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads command line, environment and file.
///
/// # Errors
/// All that is wrong with them.
pub fn read(
    args: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Call, CallError> {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return Err(CallError::Usage(error.render().to_string())),
        Err(help) => return Ok(Call::Print(help.render().to_string())),
    };
    let file = cli.config.clone().map_or((PathBuf::from(DEFAULT_FILE), false), |file| (file, true));
    let layers = Layers { file: Some(file), env: &environment, flags: cli.flags() };
    let (config, origins) = config::load(&layers).map_err(CallError::Settings)?;
    Ok(match cli.print_config {
        true => Call::Print(layers::show_with_origins(&config, KEYS, &origins)),
        false if cli.probe => Call::Probe(config),
        false => Call::Run(config),
    })
}

impl Cli {
    fn flags(&self) -> Vec<(&'static str, String)> {
        let list = |texts: &[String], separator: &str| (!texts.is_empty()).then(|| texts.join(separator));
        let given = [
            ("allowed_tools", list(&self.allowed_tools, ",")),
            ("attempt_memory", self.attempt_memory.clone()),
            ("cgroups", self.cgroups.clone()),
            ("dir_report_interval", self.dir_report_interval.clone()),
            ("disable_linking", self.disable_linking.clone()),
            ("drain_grace", self.drain_grace.clone()),
            ("durability", self.durability.clone()),
            ("isolation", self.isolation.clone()),
            ("scratch_limit", self.scratch_limit.clone()),
            ("fs_mount", list(&self.fs_mount, ":")),
            ("insecure", self.insecure.clone()),
            ("kill_grace", self.kill_grace.clone()),
            ("log_format", self.log_format.clone()),
            ("max_dirs_tracked", self.max_dirs_tracked.clone()),
            ("max_jobs", self.max_jobs.clone()),
            ("max_output", self.max_output.clone()),
            ("name", self.name.clone()),
            ("scratch", self.scratch.clone()),
            ("server_addr", self.server_addr.clone()),
            ("service_user", self.service_user.clone()),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
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
    fn every_flag_is_a_key_and_every_key_a_flag() {
        let own = ["config", "print_config", "probe", "help", "version"];
        let command = command();
        let flags: Vec<&str> = command.get_arguments().map(|arg| arg.get_id().as_str()).collect();

        for flag in flags.iter().filter(|flag| !own.contains(flag)) {
            assert!(KEYS.iter().any(|key| key.name == *flag), "--{flag} is no key");
        }
        for key in KEYS {
            assert!(flags.contains(&key.name), "{} is no flag", key.name);
        }
    }

    /// Every flag with a value that is not the default: one that `Cli::flags` forgets would change nothing.
    #[test]
    fn every_flag_arrives() {
        let args = [
            "--allowed-tools=x",
            "--attempt-memory=unlimited",
            "--cgroups=off",
            "--dir-report-interval=9m",
            "--disable-linking",
            "--drain-grace=9s",
            "--durability=fsync",
            "--isolation=off",
            "--scratch-limit=9MiB",
            "--fs-mount=/x",
            "--insecure",
            "--kill-grace=9s",
            "--log-format=json",
            "--max-dirs-tracked=9",
            "--max-jobs=9",
            "--max-output=9KiB",
            "--name=x",
            "--scratch=/x",
            "--server-addr=localhost:9",
            "--service-user=x",
            "--print-config",
        ];

        let Ok(Call::Print(printed)) = call(&args, &[]) else { panic!("not printed") };

        let by_flag = printed.lines().filter(|line| line.contains("# flag --")).count();
        assert_eq!((by_flag, printed.lines().count()), (KEYS.len(), KEYS.len()), "{printed}");
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

//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const AFTER_HELP: &str = "\
The server is found as launchers find it: --server-addr, DISTCCD_SERVER_ADDR, ~/.config/distccd/launcher.toml, \
/etc/distccd/launcher.toml, .distccd/cluster.toml on the mount (of the working directory, or else the first that has \
one), localhost:50051.

Exit status:
  0   done; of doctor: nothing is wrong
  1   of doctor: something is
  64  bad flag
  66  no such job
  68  no such worker
  69  the server cannot be reached, or speaks another protocol
  71  the system fails
  77  the server does not let this user do that
  78  bad configuration";

/// Asks the distccd server how things are, drains workers, and examines this machine.
#[derive(Debug, Parser)]
#[command(name = "distccd-ctl", version, after_help = AFTER_HELP, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// Where the server is.
    #[arg(long, value_name = "HOST:PORT", global = true)]
    pub server_addr: Option<String>,
    /// A shared mount; may be repeated or hold a `:`-list [default: /mnt/cephfs].
    #[arg(long, value_name = "PATH", global = true)]
    pub fs_mount: Vec<String>,
    /// Whose .distccd/cluster.toml on the mount is believed besides root's and one's own [default: distccd-server].
    #[arg(long, value_name = "USER", global = true)]
    pub service_user: Option<String>,
    /// How answers look.
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    pub format: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How answers look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The server, its workers and jobs in a few lines.
    Status,
    /// Every worker, and what is wrong with it.
    Workers,
    /// The jobs that are not done.
    Jobs {
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: u32,
    },
    /// A worker finishes what it runs, takes nothing more, and ends.
    Drain(Drain),
    /// Why a job waits, or why it went where it is.
    Explain {
        /// Its id, as `jobs` shows it.
        job: String,
    },
    /// Examines this machine: mounts, clock, tools, the way to the server.
    Doctor(Doctor),
    /// What must not hold up the rest.
    #[command(name = "helper-process", hide = true)]
    Helper {
        /// Which.
        task: Task,
        /// Of what.
        subject: String,
    },
}

/// `drain`.
#[derive(Args, Debug)]
pub struct Drain {
    /// The worker's name, as `workers` shows it.
    pub worker: String,
    /// It stays attached, and can be told to take jobs again.
    #[arg(long, conflicts_with = "undo")]
    pub stay: bool,
    /// It takes jobs again, after a drain with --stay.
    #[arg(long)]
    pub undo: bool,
    /// Do not wait until nothing of it runs any more.
    #[arg(long)]
    pub no_wait: bool,
}

/// `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Where to try to write [default: the working directory if it is on a mount, and the mounts themselves].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// A mount table in place of this process's own, in the form of proc(5)'s mountinfo.
    #[arg(long, value_name = "FILE")]
    pub mountinfo: Option<PathBuf>,
    /// How far this machine's clock is taken to be ahead, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0, allow_negative_numbers = true, hide = true)]
    pub clock_offset: i64,
}

/// What a helper process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// Says where the mount's server is.
    Find,
    /// Tries the mount.
    Try,
    /// Looks for a file that the server makes.
    Look,
}

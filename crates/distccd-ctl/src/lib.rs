//! `distccd-ctl`: questions to the server ([`show`]), one order ([`drain`]), and a look at this machine ([`doctor`]).
//!
//! It finds the server as launchers do, and by the same settings ([`server`]). Whatever touches a mount does so in a
//! process of its own ([`helper`]), which is left behind when the mount hangs.

pub mod cli;
pub mod doctor;
pub mod drain;
pub mod helper;
pub mod server;
pub mod show;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;
use daemon_kit::exit;

use cli::{Cli, Command};
use server::{Server, Trouble};

/// Does what the words ask for; the exit code.
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            eprint!("{}", error.render());
            return exit::USAGE;
        }
        Err(help) => return print(&help.render().to_string()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("no event loop: {error}"), exit::OS),
    };
    match runtime.block_on(obey(&cli)) {
        Ok(code) => code,
        Err(trouble) => complain(&trouble.to_string(), trouble.exit_code()),
    }
}

async fn obey(cli: &Cli) -> Result<u8, Trouble> {
    match &cli.command {
        Command::Helper { task, subject } => Ok(print(&helper::serve(*task, subject))),
        Command::Doctor(asked) => doctor::run(cli, asked).await,
        Command::Status => {
            let status = Server::find(cli)?.status().await?;
            Ok(print(&show::status(&status, cli.format)))
        }
        Command::Workers => {
            let status = Server::find(cli)?.status().await?;
            Ok(print(&show::workers(&status, cli.format)))
        }
        Command::Jobs { limit } => {
            let jobs = Server::find(cli)?.jobs(*limit).await?;
            Ok(print(&show::jobs(&jobs, cli.format)))
        }
        Command::Explain { job } => {
            let explanation = Server::find(cli)?.explain(job).await?;
            Ok(print(&show::explanation(&explanation, cli.format)))
        }
        Command::Drain(asked) => drain::run(&mut Server::find(cli)?, asked).await,
    }
}

fn print(text: &str) -> u8 {
    // Whoever reads half of it (`| head`) has what they want.
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => exit::OS,
        _ => 0,
    }
}

fn complain(text: &str, code: u8) -> u8 {
    text.lines().for_each(|line| eprintln!("distccd-ctl: {line}"));
    code
}

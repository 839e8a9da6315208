//! `distccd-worker`: see the library for what it does.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use daemon_kit::layers::variable;
use daemon_kit::shutdown::Stop;
use daemon_kit::{exit, telemetry};
use distccd_worker::cli::{self, Call, CallError};
use distccd_worker::config::Config;
use distccd_worker::spawner::{self, Spawner};
use distccd_worker::{Error, Exit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

fn main() -> ExitCode {
    if spawner::is_spawner(std::env::args_os().next().as_deref()) {
        return spawner::serve();
    }
    match cli::read(std::env::args_os(), variable) {
        Ok(Call::Run(config)) => start(config),
        Ok(Call::Probe(config)) => probe(&config),
        Ok(Call::Print(text)) => print(&text),
        Err(error) => refuse(&error),
    }
}

fn start(config: Config) -> ExitCode {
    let spawner = match Spawner::start() {
        Ok(spawner) => spawner,
        Err(error) => return fail(exit::OS, &format!("cannot start the spawner process: {error}")),
    };
    telemetry::start(config.log_format);
    if config.insecure && !config.server_addr.is_loopback() {
        tracing::warn!("insecure: what travels to {} is neither encrypted nor authenticated", config.server_addr);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(exit::OS, &format!("cannot start: {error}")),
    };
    let result = runtime.block_on(async {
        let deaf = |error| Error::Internal(format!("cannot listen to signals: {error}"));
        let stop = Stop::on_signals().map_err(deaf)?;
        let rescan = rescan_on_hangup().map_err(deaf)?;
        distccd_worker::run(config, spawner, stop, rescan).await
    });
    // A thread that waits for a filesystem that hangs must not hold up the exit.
    runtime.shutdown_background();
    if result == Err(Error::SpawnerGone) {
        spawner::end_orphans();
    }
    match result {
        Ok(Exit::Drained) => ExitCode::SUCCESS,
        Err(error) => fail(error.exit_code(), &error.to_string()),
    }
}

/// Says what this machine can do for attempts.
fn probe(config: &Config) -> ExitCode {
    let spawner = match Spawner::start() {
        Ok(spawner) => spawner,
        Err(error) => return fail(exit::OS, &format!("cannot start the spawner process: {error}")),
    };
    match distccd_worker::probe(config, &spawner) {
        Ok(probe) => {
            let printed = print(&probe.to_string());
            if probe.isolates() || printed != ExitCode::SUCCESS { printed } else { ExitCode::FAILURE }
        }
        Err(error) => fail(error.exit_code(), &error.to_string()),
    }
}

/// SIGHUP looks for toolchains again.
fn rescan_on_hangup() -> std::io::Result<Arc<Notify>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let rescan = Arc::new(Notify::new());
    let told = Arc::clone(&rescan);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            told.notify_one();
        }
    });
    Ok(rescan)
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(error: &CallError) -> ExitCode {
    match error {
        CallError::Usage(text) => eprint!("{text}"),
        CallError::Settings(mistakes) => mistakes.iter().for_each(|mistake| eprintln!("distccd-worker: {mistake}")),
    }
    ExitCode::from(error.exit_code())
}

fn fail(code: u8, text: &str) -> ExitCode {
    text.lines().for_each(|line| eprintln!("distccd-worker: {line}"));
    ExitCode::from(code)
}

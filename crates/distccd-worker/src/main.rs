//! `distccd-worker`: see the library for what it does.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use distccd_worker::cli::{self, Call, CallError};
use distccd_worker::config::{Config, LogFormat};
use distccd_worker::guardian::{self, Guardian};
use distccd_worker::{Error, Exit, Stop};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    if guardian::is_guardian(std::env::args_os().next().as_deref()) {
        return guardian::guard();
    }
    match cli::read(std::env::args_os(), |name| std::env::var(name).ok()) {
        Ok(Call::Run(config)) => start(config),
        Ok(Call::Print(text)) => print(&text),
        Err(error) => refuse(&error),
    }
}

fn start(config: Config) -> ExitCode {
    let guardian = match Guardian::start() {
        Ok(guardian) => guardian,
        Err(error) => return fail(71, &format!("cannot start the guardian process: {error}")),
    };
    start_logging(config.log_format);
    if config.insecure && !config.server_addr.is_loopback() {
        tracing::warn!("insecure: what travels to {} is neither encrypted nor authenticated", config.server_addr);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(71, &format!("cannot start: {error}")),
    };
    let result = runtime.block_on(async {
        let stop = Stop::default();
        listen_to_signals(&stop).map_err(|error| Error::Internal(format!("cannot listen to signals: {error}")))?;
        distccd_worker::run(config, guardian, stop).await
    });
    // A thread that waits for a filesystem that hangs must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(Exit::Drained) => ExitCode::SUCCESS,
        Err(error) => fail(exit_code(&error), &error.to_string()),
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Machine(_) => 78,
        Error::Refused(_) => 69,
        Error::Internal(_) => 70,
    }
}

/// The first TERM or INT drains, the second kills; HUP looks around.
fn listen_to_signals(stop: &Stop) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {
                    stop.rescan.notify_one();
                    continue;
                }
            }
            let token = if stop.drain.is_cancelled() { &stop.kill } else { &stop.drain };
            token.cancel();
        }
    });
    Ok(())
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("DISTCCD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
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
        CallError::Settings(problems) => problems.iter().for_each(|problem| eprintln!("distccd-worker: {problem}")),
    }
    ExitCode::from(error.exit_code())
}

fn fail(code: u8, text: &str) -> ExitCode {
    text.lines().for_each(|line| eprintln!("distccd-worker: {line}"));
    ExitCode::from(code)
}

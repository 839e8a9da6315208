//! `distccd-server`: configuration, logs, and the call of [`distccd_server::run`].

use std::process::ExitCode;

use clap::Parser;
use daemon_kit::layers::Mistake;
use daemon_kit::shutdown::Stop;
use daemon_kit::{exit, telemetry};
use distccd_server::config::{self, Cli, Config};
use distccd_server::descriptors;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let help = !error.use_stderr();
            // A closed stdout or stderr leaves nowhere to say it.
            let _ = error.print();
            return ExitCode::from(if help { 0 } else { exit::USAGE });
        }
    };
    let env = |name: &str| std::env::var(name).ok();
    let config = match config::load(&cli, &env) {
        Ok(config) => config,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| eprintln!("distccd-server: {mistake}"));
            let by_flag = mistakes.iter().any(Mistake::is_of_flag);
            return ExitCode::from(if by_flag { exit::USAGE } else { exit::CONFIG });
        }
    };
    if cli.print_config {
        print!("{}", config::show(&config));
        return ExitCode::SUCCESS;
    }
    telemetry::start(config.log_format);
    if let Err(error) = descriptors::raise_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files, which bounds the connections");
    }
    let state_dir = config.state_dir.settled(rustix::process::geteuid().is_root(), &env);
    match serve(Config { state_dir, ..config }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("distccd-server: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(config: Config) -> Result<(), distccd_server::Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = Stop::on_signals()?;
        distccd_server::publication::check_alone(&config).await?;
        let listener = distccd_server::listen(&config).await?;
        distccd_server::run(config, listener, stop).await
    })
}

//! `distccd-ctl`: see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(distccd_ctl::run(std::env::args_os()))
}

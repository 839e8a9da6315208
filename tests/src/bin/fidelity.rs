//! `cargo xtask fidelity` starts this: every case of the fidelity matrix, or those whose name holds `--only TEXT`.

use std::process::ExitCode;

use e2e::fidelity::{Case, Harness, cases};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let only = match (args.next().as_deref(), args.next()) {
        (None, _) => String::new(),
        (Some("--only"), Some(text)) => text,
        _ => {
            eprintln!("usage: fidelity [--only TEXT]");
            return ExitCode::from(64);
        }
    };
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.name().contains(&only)).collect();
    if cases.is_empty() {
        eprintln!("no case is called anything like `{only}`");
        return ExitCode::from(64);
    }
    let report = Harness::new().run(&cases);
    println!("{report}");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! `cargo xtask fidelity` starts this: every case of the fidelity matrix, or those whose name holds `--only TEXT`; on a
//! worker that isolates as `--isolation HOW` says.

use std::process::ExitCode;

use e2e::fidelity::{Case, Harness, cases};

fn main() -> ExitCode {
    let (mut only, mut isolation) = (String::new(), "auto".to_owned());
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        match (name.as_str(), args.next()) {
            ("--only", Some(text)) => only = text,
            ("--isolation", Some(how)) => isolation = how,
            _ => {
                eprintln!("usage: fidelity [--only TEXT] [--isolation HOW]");
                return ExitCode::from(64);
            }
        }
    }
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.name().contains(&only)).collect();
    if cases.is_empty() {
        eprintln!("no case is called anything like `{only}`");
        return ExitCode::from(64);
    }
    let report = Harness::with(&isolation).run(&cases);
    println!("{report}");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

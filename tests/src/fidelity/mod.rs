//! Indistinguishable from the compiler: command lines, each run direct and through a launcher, one after the other in
//! the same path on a fresh copy. All that can be seen must be equal: exit code or signal, standard output, standard
//! error, and every file's name, kind, mode, owner, links and bytes. Each case also says where it has to run.
//!
//! - [`Case`] is one command line and its surroundings, in a small language of words; the lists are in a file per theme.
//! - [`Harness`] runs cases around a cluster, or through any other command that claims to be faithful.
//! - [`Report`] is what came out of it: what differs, what stayed and why, and the share that ran on workers.
//!
//! Left out, because no two direct runs say the same: what prints times (`-time`, `-ftime-report`, `--stats`) and
//! memory (`-fmem-report`); of `-ftime-trace` and precompiled headers the bytes are not compared, only that they are there.

mod case;
mod harness;
mod material;
mod observation;
mod random;
mod report;

mod archives;
mod bad_input;
mod clang;
mod compiles;
mod dependencies;
mod environment;
mod languages;
mod links;
mod modules;
mod odd_files;
mod peers;
mod side_files;
mod stays_here;

pub use case::{Case, Place, Why};
pub use harness::Harness;
pub use report::{REQUIRED_SHARE, Report};

/// A theme's name and its list.
type Theme = (&'static str, fn() -> Vec<Case>);

/// Every case, theme after theme.
#[must_use]
pub fn cases() -> Vec<Case> {
    let themes: [Theme; 13] = [
        ("compiles", compiles::cases),
        ("dependencies", dependencies::cases),
        ("side files", side_files::cases),
        ("odd files", odd_files::cases),
        ("stays here", stays_here::cases),
        ("links", links::cases),
        ("archives", archives::cases),
        ("clang", clang::cases),
        ("languages", languages::cases),
        ("modules", modules::cases),
        ("environment", environment::cases),
        ("bad input", bad_input::cases),
        ("peers", peers::cases),
    ];
    themes.into_iter().flat_map(|(theme, cases)| cases().into_iter().map(move |case| case.in_theme(theme))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let cases = cases();
        let names: BTreeSet<String> = cases.iter().map(Case::name).collect();

        assert_eq!(names.len(), cases.len());
        assert!(cases.len() >= 320, "{} cases", cases.len());
    }
}

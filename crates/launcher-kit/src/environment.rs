//! The one place that reads the environment: what of it a compiler can see, and what keeps a job at home.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::exit::standard_streams_are_open;

/// Variables that compilers, linkers and archivers are documented to read; kept sorted.
///
/// Sources: GCC manual 3.21 "Environment Variables Affecting GCC" and "Diagnostic Message Formatting Options", clang(1)
/// ENVIRONMENT, ld(1) ENVIRONMENT, ar(1) (`SOURCE_DATE_EPOCH` through binutils' deterministic mode), locale(7),
/// GNU libc manual "TZ Variable" (`__DATE__`, `__TIME__`), reproducible-builds.org's SOURCE_DATE_EPOCH specification.
const PASSED: &[&str] = &[
    "CCC_OVERRIDE_OPTIONS",
    "CC_LOG_DIAGNOSTICS",
    "CC_PRINT_HEADERS",
    "CC_PRINT_INTERNAL_STAT",
    "CC_PRINT_OPTIONS",
    "CC_PRINT_PROC_STAT",
    "COLUMNS",
    "COMPILER_PATH",
    "CPATH",
    "CPLUS_INCLUDE_PATH",
    "C_INCLUDE_PATH",
    "FORCE_COLOR",
    "GFORTRAN_CONVERT_UNIT",
    "GNUTARGET",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LDEMULATION",
    "LD_LIBRARY_PATH",
    "LD_RUN_PATH",
    "LIBRARY_PATH",
    "LLVM_PROFILE_FILE",
    "LPATH",
    "MAKE",
    "NO_COLOR",
    "OBJCPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "PATH",
    "PWD",
    "SDKROOT",
    "SOURCE_DATE_EPOCH",
    "TEMP",
    "TERM",
    "TERM_URLS",
    "TMP",
    "TMPDIR",
    "TZ",
    "ZERO_AR_DATE",
];

/// Families of variables, by prefix.
const PASSED_PREFIXES: &[&str] =
    &["ASAN_", "CLANG_", "COLLECT_", "GCC_", "GCOV_", "LC_", "LLVM_", "LTO_", "MOLD_", "UBSAN_"];

/// Variables that make a program see what only this machine has; a job under them stays here.
const PINNING: &[&str] = &["LD_AUDIT", "LD_PRELOAD"];

/// Variables that name one file to which every command of a build adds a line (GCC manual 3.21; Clang's driver), or into
/// which a linker packs all it read (lld, mold). Adding lines from several machines at once loses some.
const GATHERING: &[&str] = &[
    "CC_LOG_DIAGNOSTICS_FILE",
    "CC_PRINT_HEADERS_FILE",
    "CC_PRINT_INTERNAL_STAT_FILE",
    "CC_PRINT_OPTIONS_FILE",
    "CC_PRINT_PROC_STAT_FILE",
    "DEPENDENCIES_OUTPUT",
    "LLD_REPRODUCE",
    "MOLD_REPRO",
    "SUNPRO_DEPENDENCIES",
];

/// The launcher's environment, read once.
#[derive(Clone)]
pub struct Environment {
    vars: Vec<(OsString, OsString)>,
    has_standard_streams: bool,
}

impl Environment {
    /// Takes the environment of this process, before anything else opens a file.
    #[must_use]
    pub fn of_process() -> Self {
        Self { vars: std::env::vars_os().collect(), has_standard_streams: standard_streams_are_open() }
    }

    /// An environment made elsewhere.
    #[must_use]
    pub fn new(vars: Vec<(OsString, OsString)>) -> Self {
        Self { vars, has_standard_streams: true }
    }

    /// The same environment as a shell would have it after `cd directory`.
    #[must_use]
    pub fn in_directory(&self, directory: &Path) -> Self {
        self.with("PWD", directory.into())
    }

    /// The same environment with this value of a variable.
    #[must_use]
    pub fn with(&self, name: &str, value: OsString) -> Self {
        let mut vars = self.vars.clone();
        match vars.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => vars.push((name.into(), value)),
        }
        Self { vars, ..*self }
    }

    /// The same environment without a variable.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self { vars: self.vars.iter().filter(|(known, _)| known != name).cloned().collect(), ..*self }
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<OsString> {
        self.vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// Whether standard input, output and error were all open at the start.
    #[must_use]
    pub fn has_standard_streams(&self) -> bool {
        self.has_standard_streams
    }

    /// The name of a variable that is set and makes a program see what only this machine has.
    #[must_use]
    pub fn pinning(&self) -> Option<&'static str> {
        self.first_of(PINNING)
    }

    /// The name of a variable that is set and names a file which commands write to besides their own outputs.
    #[must_use]
    pub fn gathering(&self) -> Option<&'static str> {
        self.first_of(GATHERING)
    }

    fn first_of(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.get(name).is_some_and(|value| !value.is_empty()))
    }

    /// What the command gets to see on the worker: what compilers read, and the variables named in `extra`; as bytes,
    /// in the order of this process's environment. Last comes the word that switches launchers off: a driver that
    /// calls a compiler by name (GCC's lto-wrapper) may find us on the PATH, and a job that waits for a slot while it
    /// holds one can wait for ever.
    #[must_use]
    pub fn passed(&self, extra: &[String]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let wanted = self.vars.iter().filter(|(name, _)| is_passed(name.as_bytes(), extra));
        let wanted = wanted.map(|(name, value)| (name.clone().into_vec(), value.clone().into_vec()));
        wanted.chain([(b"DISTCCD_DISABLE".to_vec(), b"1".to_vec())]).collect()
    }
}

fn is_passed(name: &[u8], extra: &[String]) -> bool {
    PASSED.binary_search_by(|known| known.as_bytes().cmp(name)).is_ok()
        || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
        || extra.iter().any(|known| known.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(names: &[&str]) -> Environment {
        Environment::new(names.iter().map(|name| (name.into(), "x".into())).collect())
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(PASSED.is_sorted());
    }

    #[test]
    fn what_compilers_read_is_passed_and_secrets_are_not() {
        let all = environment(&["AWS_SECRET_ACCESS_KEY", "LC_ALL", "PATH", "MY_FLAG", "SSH_AUTH_SOCK", "GCC_COLORS"]);

        let passed = all.passed(&["MY_FLAG".to_owned()]);

        let names: Vec<_> = passed.iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect();
        assert_eq!(names, ["LC_ALL", "PATH", "MY_FLAG", "GCC_COLORS", "DISTCCD_DISABLE"]);
    }

    #[test]
    fn a_file_that_all_commands_add_to_is_told_apart() {
        assert!(GATHERING.iter().all(|name| PASSED.binary_search(name).is_err()));
        assert_eq!(environment(&["SUNPRO_DEPENDENCIES"]).gathering(), Some("SUNPRO_DEPENDENCIES"));
        assert_eq!(environment(&["PATH"]).gathering(), None);
    }

    #[test]
    fn a_preloaded_library_pins_the_job() {
        assert_eq!(environment(&["LD_PRELOAD"]).pinning(), Some("LD_PRELOAD"));
        assert_eq!(environment(&["PATH"]).pinning(), None);
    }
}

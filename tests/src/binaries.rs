//! Where the binaries under test are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What is under test, each binary from the package of its name.
const BINARIES: [&str; 5] = ["cc-launcher", "ld-launcher", "distccd-ctl", "distccd-server", "distccd-worker"];

/// The directory that holds them: `DISTCCD_BIN_DIR`, or else what Cargo builds for the profile of this very test.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| std::env::var_os("DISTCCD_BIN_DIR").map_or_else(build, PathBuf::from))
}

/// The path of one of them.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(path.exists(), "{} is not there: run `cargo build --workspace`", path.display());
    path
}

/// `cargo test` does not build the binaries of other packages.
fn build() -> PathBuf {
    // target/PROFILE/deps/THIS-TEST
    let test = std::env::current_exe().expect("a running test has a path");
    let profile = test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps").to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--bins"]);
    command.args(BINARIES.iter().flat_map(|name| ["--package", name]));
    command.arg("--target-dir");
    command.arg(profile.parent().expect("a profile lies in the target directory"));
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let built = command.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(built.success(), "the binaries do not build");
    profile
}

//! Where things are, as cargo says it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use cargo_metadata::{Metadata, MetadataCommand, Package};
use tempfile::TempDir;

use crate::process;

/// The binaries of the product.
pub(crate) const BINARIES: [&str; 5] =
    ["distccd-server", "distccd-worker", "distccd-ctl", "cc-launcher", "ld-launcher"];

/// This repository.
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks `cargo metadata`.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let metadata = MetadataCommand::new()
            .manifest_path(manifest)
            .no_deps()
            .exec()
            .context("cargo metadata does not describe the workspace")?;
        Ok(Self { metadata })
    }

    /// Its root.
    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// Cargo's target directory, wherever `CARGO_TARGET_DIR` or a configuration puts it.
    pub(crate) fn target(&self) -> &Path {
        self.metadata.target_directory.as_std_path()
    }

    /// Its packages, by name.
    pub(crate) fn packages(&self) -> Vec<&Package> {
        let mut packages = self.metadata.workspace_packages();
        packages.sort_by(|left, right| left.name.cmp(&right.name));
        packages
    }

    /// The version that all packages share.
    pub(crate) fn version(&self) -> String {
        self.packages().first().map(|package| package.version.to_string()).unwrap_or_default()
    }

    /// `cargo`, to be run at the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        cargo.current_dir(self.root());
        cargo
    }

    /// Builds the product's binaries in release, and says where they are.
    pub(crate) fn release_binaries(&self) -> anyhow::Result<PathBuf> {
        let mut cargo = self.cargo();
        cargo.args(["build", "--release", "--quiet"]);
        cargo.args(BINARIES.iter().flat_map(|name| ["--package", name]));
        process::run(&mut cargo)?;
        Ok(self.target().join("release"))
    }

    /// A scratch directory for `task` below the target directory, not in `/tmp`: a build is to see it as shared.
    pub(crate) fn scratch(&self, task: &str) -> anyhow::Result<TempDir> {
        use std::os::unix::fs::PermissionsExt;
        let parent = self.target().join("xtask");
        std::fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
        // By its real name: a build that records its directory resolves links.
        let parent = parent.canonicalize()?;
        // Readable by all, as a shared mount is: peers' daemons run as users of their own.
        let permissions = std::fs::Permissions::from_mode(0o755);
        tempfile::Builder::new()
            .prefix(&format!("{task}-"))
            .permissions(permissions)
            .tempdir_in(&parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))
    }
}

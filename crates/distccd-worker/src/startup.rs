//! What must be true of the machine before the worker starts. Each failure is one line that names the thing and the
//! remedy.

use std::fs;
use std::path::Path;

use daemon_kit::patience::{MOUNT_TIMEOUT, within};

use crate::Error;
use crate::config::Config;
use crate::toolchains::{self, Toolchain};

/// Checks mounts and scratch, and looks for toolchains. Blocks, but never for ever.
pub(crate) fn check(config: &Config) -> Result<Vec<Toolchain>, Error> {
    check_mounts(config)?;
    let tools = toolchains::scan(&config.allowed_tools);
    if !toolchains::has_compiler(&tools) {
        let remedy = "install one (gcc or clang), or add its folder to the PATH of this daemon";
        return Err(Error::Machine(vec![format!(
            "no compiler found in /usr/bin, /usr/local/bin, /opt/*/bin and PATH: {remedy}"
        )]));
    }
    tracing::info!(tools = tools.len(), "found toolchains");
    Ok(tools)
}

/// Checks mounts and scratch.
pub(crate) fn check_mounts(config: &Config) -> Result<(), Error> {
    let mut problems: Vec<String> = config.mounts.iter().filter_map(|mount| problem_of_mount(mount)).collect();
    problems.extend(problem_of_scratch(&config.scratch));
    if problems.is_empty() { Ok(()) } else { Err(Error::Machine(problems)) }
}

fn problem_of_mount(mount: &Path) -> Option<String> {
    let (shown, path) = (mount.display(), mount.to_owned());
    match within(MOUNT_TIMEOUT, move || fs::metadata(path)) {
        Some(Ok(facts)) if facts.is_dir() => None,
        Some(Ok(_)) => Some(format!("mount {shown} is not a directory: name the shared mount with --fs-mount")),
        Some(Err(error)) => {
            Some(format!("mount {shown}: {error}: mount the shared filesystem there, or name another with --fs-mount"))
        }
        None => Some(format!("mount {shown} does not answer within {MOUNT_TIMEOUT:?}: check its servers")),
    }
}

fn problem_of_scratch(scratch: &Path) -> Option<String> {
    let error = tempfile::tempfile_in(scratch).err()?;
    Some(format!("scratch {} cannot hold a file: {error}: name another folder with `scratch`", scratch.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_is_not_there_is_named_with_its_remedy() {
        let problem = problem_of_mount(Path::new("/nonexistent/mount")).unwrap();

        assert!(problem.contains("/nonexistent/mount") && problem.contains("--fs-mount"), "{problem}");
    }

    #[test]
    fn a_file_is_no_mount() {
        let problem = problem_of_mount(Path::new("/etc/passwd")).unwrap();

        assert!(problem.contains("not a directory"), "{problem}");
    }

    #[test]
    fn a_directory_is_enough() {
        assert_eq!(problem_of_mount(Path::new("/")), None);
        assert_eq!(problem_of_scratch(&std::env::temp_dir()), None);
    }
}

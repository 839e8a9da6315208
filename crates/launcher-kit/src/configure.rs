//! Is a command a question that a configure step asks of the compiler?
//!
//! Such questions are tiny, come by the hundred and one after the other, so that the way to a worker costs and the
//! worker's free CPUs gain nothing. Known by where the build tools put their sources.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Directories in which nothing but probes is compiled: CMake's `try_compile` (to 3.24, since 3.25), Meson's `compiles`.
const PROBE_DIRS: [&[u8]; 3] = [b"CMakeTmp", b"CMakeScratch", b"meson-private"];

/// Whether a command in `cwd` that reads `inputs` by name is one.
pub(crate) fn is_probe(cwd: &Path, inputs: &[Vec<u8>]) -> bool {
    let in_probe_dir = |path: &[u8]| path.split(|byte| *byte == b'/').any(|name| PROBE_DIRS.contains(&name));
    in_probe_dir(cwd.as_os_str().as_bytes()) || inputs.iter().any(|input| is_conftest(input) || in_probe_dir(input))
}

/// Autoconf's `conftest.c`, `conftest.o`, also by libtool.
fn is_conftest(input: &[u8]) -> bool {
    let name = input.rsplit(|byte| *byte == b'/').next().unwrap_or(input);
    name.starts_with(b"conftest.") || name.starts_with(b"conftest-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(cwd: &str, inputs: &[&str]) -> bool {
        let inputs: Vec<Vec<u8>> = inputs.iter().map(|input| input.as_bytes().to_vec()).collect();
        is_probe(Path::new(cwd), &inputs)
    }

    #[test]
    fn what_configure_steps_compile_is_known_by_its_place() {
        assert!(is("/b", &["conftest.c"]));
        assert!(is("/b", &["-lm", "./conftest.o"]));
        assert!(is("/b/CMakeFiles/CMakeScratch/TryCompile-x1", &["a.c"]));
        assert!(is("/b", &["/b/CMakeFiles/CMakeTmp/CheckSymbolExists.c"]));
        assert!(is("/b", &["/b/meson-private/tmpx/testfile.c"]));
    }

    #[test]
    fn what_merely_sounds_like_it_is_not() {
        assert!(!is("/b", &["conftests.c", "src/conftest/a.c", "CMakeTmp.c"]));
        assert!(!is("/home/me/CMakeTmpl", &["my-meson-private.c"]));
    }
}

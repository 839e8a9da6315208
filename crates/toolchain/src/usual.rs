//! The directories for all in which compilers and linkers look by themselves: those in which packages beyond the toolchain
//! have their headers and libraries.

use std::path::{Path, PathBuf};

/// Debian's name of this machine's kind, below which it has what other kinds have otherwise.
#[must_use]
pub fn multiarch() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// Those of headers, in the order in which they are searched (GCC manual, "Search Path"; Clang searches them likewise).
#[must_use]
pub fn include_dirs() -> [PathBuf; 3] {
    let multiarch = Path::new("/usr/include").join(multiarch());
    ["/usr/local/include".into(), multiarch, "/usr/include".into()]
}

/// Those of libraries, in the order of GCC and Clang: their drivers name their own first, and those below `/usr/local` are
/// the linker's (`gcc -print-search-dirs`, `ld --verbose`).
#[must_use]
pub fn library_dirs() -> Vec<PathBuf> {
    let of = |root: &str| ["lib", "lib64"].map(|lib| Path::new(root).join(lib));
    let with_multiarch = |root: &str| {
        let [lib, lib64] = of(root);
        [lib.join(multiarch()), lib64, lib]
    };
    ["/", "/usr", "/usr/local"].into_iter().flat_map(with_multiarch).collect()
}

/// The header that a compiler finds there by this name.
#[must_use]
pub fn header(name: &Path) -> Option<PathBuf> {
    include_dirs().into_iter().map(|dir| dir.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_where_compilers_find_it() {
        assert!(header(Path::new("stdio.h")).is_some_and(|path| path.ends_with("stdio.h")));
        assert_eq!(header(Path::new("no/such.h")), None);
        assert_eq!(header(Path::new("/usr/include")), None, "a directory is no header");
    }
}

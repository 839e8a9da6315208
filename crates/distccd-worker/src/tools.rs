//! Which programs this worker executes: compilers, linkers and archivers by the names that they have everywhere, and
//! what the configuration adds. Never an open port that runs commands (design.md section 9).

use std::fmt;

/// What a tool is, as far as asking it for its target goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolKind {
    /// A compiler driver; answers `-dumpmachine`.
    Driver,
    /// Any other tool.
    Other,
}

const DRIVERS: &[&str] = &[
    "c++",
    "c89",
    // Debian's `c89` and `c99` are links to scripts of these names.
    "c89-gcc",
    "c99",
    "c99-gcc",
    "cc",
    "clang",
    "clang++",
    "cpp",
    "clang-cpp",
    "f77",
    "f95",
    "flang",
    "flang-new",
    "g++",
    "g77",
    "gcc",
    "gdc",
    "gfortran",
    "gnat",
];
const OTHERS: &[&str] = &[
    "ar",
    "as",
    "collect2",
    "dwp",
    "gcc-ar",
    "gcc-nm",
    "gcc-ranlib",
    "gold",
    "ld",
    "ld.bfd",
    "ld.gold",
    "ld.lld",
    "ld.mold",
    "ld64.lld",
    "lld",
    "lld-link",
    "llvm-ar",
    "llvm-dwp",
    "llvm-lib",
    "llvm-nm",
    "llvm-objcopy",
    "llvm-ranlib",
    "llvm-strip",
    "mold",
    "nm",
    "objcopy",
    "ranlib",
    "strip",
    "wasm-ld",
];

/// What the first word of a target triple begins with; `sh` and the like need the whole word.
const ARCHITECTURES: &[&str] = &[
    "aarch64",
    "alpha",
    "amdgcn",
    "arm",
    "avr",
    "bpf",
    "csky",
    "hexagon",
    "hppa",
    "i386",
    "i486",
    "i586",
    "i686",
    "ia64",
    "loongarch",
    "m68k",
    "microblaze",
    "mips",
    "msp430",
    "nios2",
    "nvptx",
    "or1k",
    "powerpc",
    "ppc",
    "riscv",
    "s390",
    "sh4",
    "sparc",
    "thumb",
    "tricore",
    "v850",
    "wasm32",
    "wasm64",
    "x86_64",
    "xtensa",
];

/// The kind of tool that this file name says it is: a known name, perhaps with a target triple before it and a version
/// after it (`x86_64-linux-gnu-g++-12`, `clang-14`, `llvm-ar-14`).
#[must_use]
pub fn kind_of(name: &[u8]) -> Option<ToolKind> {
    let name = std::str::from_utf8(name).ok()?;
    known(name).or_else(|| known(without_version(name)?))
}

fn known(name: &str) -> Option<ToolKind> {
    base(name).or_else(|| {
        let (first, _) = name.split_once('-')?;
        if !ARCHITECTURES.iter().any(|architecture| first.starts_with(architecture)) {
            return None;
        }
        // The longest base wins by itself: each dash is tried from the left.
        name.match_indices('-').find_map(|(dash, _)| base(&name[dash + 1..]))
    })
}

fn base(name: &str) -> Option<ToolKind> {
    if DRIVERS.contains(&name) {
        return Some(ToolKind::Driver);
    }
    OTHERS.contains(&name).then_some(ToolKind::Other)
}

/// The name before a version such as `-12` or `-4.9.2`.
fn without_version(name: &str) -> Option<&str> {
    let (base, version) = name.rsplit_once('-')?;
    let numeric = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    numeric.then_some(base)
}

/// A further file name that the configuration allows, `*` standing for any run of characters.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolPattern(String);

impl ToolPattern {
    /// Accepts a file name; a path would look as if it restricted something.
    #[must_use]
    pub fn try_new(pattern: &str) -> Option<Self> {
        (!pattern.is_empty() && !pattern.contains('/')).then(|| Self(pattern.to_owned()))
    }

    fn matches(&self, name: &[u8]) -> bool {
        glob(self.0.as_bytes(), name)
    }
}

impl fmt::Debug for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Shell matching of `*` alone: on a mismatch the last star takes one more character.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut next, mut star) = (0, 0, None);
    while next < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, next));
                at += 1;
            }
            Some(byte) if *byte == name[next] => (at, next) = (at + 1, next + 1),
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    (at, next) = (star_at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Whether the program at `path` may be executed.
#[must_use]
pub fn is_allowed(path: &[u8], further: &[ToolPattern]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    kind_of(name).is_some() || further.iter().any(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_with_prefix_and_version() {
        for name in [
            "gcc",
            "g++",
            "cc",
            "c++",
            "clang",
            "clang++-14",
            "x86_64-linux-gnu-g++-12",
            "arm-none-eabi-gcc-10.3.1",
            "gfortran",
            "c99-gcc",
            // What CMake calls Debian's Fortran compiler.
            "f95",
            "f77",
            "aarch64-linux-gnu-cpp-12",
            "clang-cpp-14",
        ] {
            assert_eq!(kind_of(name.as_bytes()), Some(ToolKind::Driver), "{name}");
        }
        for name in [
            "ld",
            "ld.lld",
            "ld.lld-14",
            "mold",
            "ar",
            "gcc-ar-12",
            "llvm-ranlib-14",
            "x86_64-linux-gnu-ld.bfd",
            "riscv64-unknown-elf-objcopy",
            "x86_64-w64-mingw32-gcc-ar",
            "as",
            "collect2",
            "dwp",
            "strip",
        ] {
            assert_eq!(kind_of(name.as_bytes()), Some(ToolKind::Other), "{name}");
        }
    }

    #[test]
    fn whatever_a_launcher_sends_is_allowed() {
        for name in cmdline::tool_names() {
            for called in [name.to_owned(), format!("x86_64-linux-gnu-{name}"), format!("{name}-12")] {
                assert!(is_allowed(format!("/usr/bin/{called}").as_bytes(), &[]), "{called}");
            }
        }
    }

    #[test]
    fn what_merely_ends_alike_is_no_tool() {
        for name in ["sh", "bash", "run-as", "git-ar", "gcc-hack", "python3", "x86_64", "", "-", "gcc-", "env", "make"]
        {
            assert_eq!(kind_of(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn the_configuration_allows_more() {
        let patterns: Vec<_> = ["nvcc", "my*-cc*"].iter().filter_map(|text| ToolPattern::try_new(text)).collect();

        assert!(is_allowed(b"/opt/cuda/bin/nvcc", &patterns));
        assert!(is_allowed(b"/x/my-site-cc1", &patterns));
        assert!(!is_allowed(b"/x/your-cc", &patterns));
        assert!(!is_allowed(b"/usr/bin/nvcc2", &patterns));
    }

    #[test]
    fn a_pattern_is_a_name_and_no_path() {
        assert_eq!(ToolPattern::try_new("/usr/bin/*"), None);
        assert_eq!(ToolPattern::try_new(""), None);
    }

    #[test]
    fn stars_match_any_run() {
        assert!(glob(b"*", b""));
        assert!(glob(b"a*b*c", b"aXbXbc"));
        assert!(!glob(b"a*b", b"abX"));
        assert!(glob(b"a**", b"a"));
    }
}

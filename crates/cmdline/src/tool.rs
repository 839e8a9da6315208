//! Which tool a program is, by its name: the only thing that a masquerading launcher knows.

/// What a tool's command line has to be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A GCC driver, whatever its language; also `cc`, `c++`, `c89` and `c99`, which may be either vendor's.
    Gcc,
    /// A Clang driver in its GCC-like mode.
    Clang,
    /// LLVM's tools with a command language of their own, MSVC's (`clang-cl`, `lld-link`) or another (`wasm-ld`):
    /// recognised, and left local.
    ClangCl,
    /// A driver that only preprocesses: `cpp`, `clang-cpp`.
    Cpp,
    /// GNU `as`.
    Assembler,
    /// A linker by itself: GNU `ld` in its flavours, lld, mold, and GCC's `collect2`.
    Linker,
    /// `ar`.
    Archiver,
    /// `ranlib`.
    Ranlib,
    /// `strip`.
    Strip,
    /// `objcopy`.
    Objcopy,
    /// A packer of split debug information, `dwp`.
    Dwp,
}

/// A tool recognised by its program's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// How its command line is read.
    pub family: Family,
    /// Its plain name: `g++` of `aarch64-linux-gnu-g++-12`.
    pub name: &'static str,
    /// The cross prefix without its dash: `aarch64-linux-gnu`; empty for a native tool.
    pub prefix: Vec<u8>,
    /// The version suffix without its dash: `12`; empty when there is none.
    pub version: Vec<u8>,
}

/// Names as installed by GCC, LLVM, binutils and mold, sorted.
const NAMES: &[(&str, Family)] = &[
    ("ar", Family::Archiver),
    ("as", Family::Assembler),
    ("c++", Family::Gcc),
    ("c89", Family::Gcc),
    ("c99", Family::Gcc),
    ("cc", Family::Gcc),
    ("clang", Family::Clang),
    ("clang++", Family::Clang),
    ("clang-cl", Family::ClangCl),
    ("clang-cpp", Family::Cpp),
    ("collect2", Family::Linker),
    ("cpp", Family::Cpp),
    ("dwp", Family::Dwp),
    ("f77", Family::Gcc),
    ("f95", Family::Gcc),
    ("g++", Family::Gcc),
    ("g77", Family::Gcc),
    ("gcc", Family::Gcc),
    ("gcc-ar", Family::Archiver),
    ("gcc-ranlib", Family::Ranlib),
    ("gfortran", Family::Gcc),
    ("gold", Family::Linker),
    ("ld", Family::Linker),
    ("ld.bfd", Family::Linker),
    ("ld.gold", Family::Linker),
    ("ld.lld", Family::Linker),
    ("ld.mold", Family::Linker),
    ("lld", Family::Linker),
    ("lld-link", Family::ClangCl),
    ("llvm-ar", Family::Archiver),
    ("llvm-dwp", Family::Dwp),
    ("llvm-objcopy", Family::Objcopy),
    ("llvm-ranlib", Family::Ranlib),
    ("llvm-strip", Family::Strip),
    ("mold", Family::Linker),
    ("objcopy", Family::Objcopy),
    ("ranlib", Family::Ranlib),
    ("strip", Family::Strip),
    ("wasm-ld", Family::ClangCl),
];

/// Packages of several versions have `gcc12` and `clang++14`.
const VERSIONED_WITHOUT_DASH: [&str; 5] = ["clang", "clang++", "g++", "gcc", "gfortran"];

/// The plain names of all tools whose command lines may leave a machine: what a worker has to be willing to run.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().filter(|(_, family)| *family != Family::ClangCl).map(|(name, _)| *name)
}

/// The tool that `program` names, a path or a bare name; `None` for a program that is none of ours.
///
/// A cross prefix (`x86_64-linux-gnu-`) may be anything that ends in a dash, and a version suffix (`-12`, `-4.9`,
/// `14`) anything made of digits and dots.
#[must_use]
pub fn tool_of(program: &[u8]) -> Option<Tool> {
    let name = crate::path::basename(program);
    tool_named(name, b"").or_else(|| {
        let (stem, version) = split_version(name)?;
        match stem.strip_suffix(b"-") {
            Some(dashed) => tool_named(dashed, version),
            // `clang14`, as FreeBSD has it; `ld64` is not version 64 of `ld`, and `cc1` is GCC's compiler proper.
            None => tool_named(stem, version).filter(|tool| VERSIONED_WITHOUT_DASH.contains(&tool.name)),
        }
    })
}

fn tool_named(name: &[u8], version: &[u8]) -> Option<Tool> {
    let (known, family) =
        NAMES.iter().filter(|(known, _)| is_called(name, known)).max_by_key(|(known, _)| known.len())?;
    let prefix = name[..name.len() - known.len()].strip_suffix(b"-").unwrap_or_default();
    Some(Tool { family: *family, name: known, prefix: prefix.to_vec(), version: version.to_vec() })
}

fn is_called(name: &[u8], known: &str) -> bool {
    name.strip_suffix(known.as_bytes())
        .is_some_and(|prefix| prefix.is_empty() || (prefix.len() > 1 && prefix.ends_with(b"-")))
}

/// Splits `gcc-12.2` into `gcc-` and `12.2`, `clang14` into `clang` and `14`.
fn split_version(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let (stem, version) = name.split_at(name.len() - digits);
    version.first()?.is_ascii_digit().then_some((stem, version))
}

impl Tool {
    /// Whether the vendor cannot be told from the name (`cc` may be GCC or Clang): what they do alike is known,
    /// where they differ nothing is promised.
    pub(crate) fn is_of_either_vendor(&self) -> bool {
        matches!(self.name, "cc" | "c++" | "c89" | "c99" | "cpp")
    }

    /// Whether executables get a suffix of their own (`.exe`), which the command does not spell.
    pub(crate) fn makes_suffixed_executables(&self) -> bool {
        [b"mingw".as_slice(), b"cygwin"].iter().any(|target| contains(&self.prefix, target))
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family_of(program: &str) -> Option<Family> {
        tool_of(program.as_bytes()).map(|tool| tool.family)
    }

    #[test]
    fn the_names_are_sorted() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn plain_names_prefixes_and_versions_are_understood() {
        for (program, family) in [
            ("gcc", Family::Gcc),
            ("/usr/bin/g++-12", Family::Gcc),
            ("x86_64-linux-gnu-g++-12", Family::Gcc),
            ("aarch64-linux-gnu-gcc", Family::Gcc),
            ("gcc-4.9", Family::Gcc),
            ("c99", Family::Gcc),
            ("c++", Family::Gcc),
            ("f95", Family::Gcc),
            ("clang-14", Family::Clang),
            ("clang++14", Family::Clang),
            ("clang-cl", Family::ClangCl),
            ("clang-cl-14", Family::ClangCl),
            ("lld-link", Family::ClangCl),
            ("wasm-ld-14", Family::ClangCl),
            ("lld-link-14", Family::ClangCl),
            ("cc", Family::Gcc),
            ("c89", Family::Gcc),
            ("c89-gcc", Family::Gcc),
            ("gfortran-12", Family::Gcc),
            ("f77", Family::Gcc),
            ("g77", Family::Gcc),
            ("x86_64-linux-gnu-g++", Family::Gcc),
            ("aarch64-linux-gnu-gcc-12", Family::Gcc),
            ("clang++-14", Family::Clang),
            ("aarch64-linux-gnu-clang", Family::Clang),
            ("cpp-12", Family::Cpp),
            ("x86_64-linux-gnu-as", Family::Assembler),
            ("ld", Family::Linker),
            ("ld.bfd", Family::Linker),
            ("ld.gold", Family::Linker),
            ("x86_64-linux-gnu-gold", Family::Linker),
            ("ld.mold", Family::Linker),
            ("mold", Family::Linker),
            ("ar", Family::Archiver),
            ("gcc-ar-12", Family::Archiver),
            ("gcc-ranlib-12", Family::Ranlib),
            ("x86_64-linux-gnu-strip", Family::Strip),
            ("llvm-dwp-14", Family::Dwp),
            ("clang-cpp-14", Family::Cpp),
            ("ld.lld-14", Family::Linker),
            ("/usr/libexec/gcc/collect2", Family::Linker),
            ("arm-none-eabi-ld", Family::Linker),
            ("x86_64-linux-gnu-gcc-ar-12", Family::Archiver),
            ("llvm-ar-14", Family::Archiver),
            ("gcc-ranlib", Family::Ranlib),
            ("llvm-strip", Family::Strip),
            ("x86_64-linux-gnu-objcopy", Family::Objcopy),
            ("llvm-dwp", Family::Dwp),
        ] {
            assert_eq!(family_of(program), Some(family), "{program}");
        }
    }

    #[test]
    fn strangers_are_none_of_ours() {
        for program in [
            "make",
            "gcc.exe",
            "cc1",
            "cc1plus",
            "lto1",
            "lto-wrapper",
            "nm",
            "gcc-nm",
            "-gcc",
            "mpicc",
            "clang-format",
            "gcc/",
            "",
            "12",
            "clang-tidy-14",
            "ld64",
        ] {
            assert_eq!(family_of(program), None, "{program}");
        }
    }

    #[test]
    fn a_cross_compiler_says_what_it_is_made_of() {
        let tool = tool_of(b"/opt/aarch64-linux-gnu-g++-12.2").unwrap();

        assert_eq!((tool.name, &tool.prefix[..], &tool.version[..]), ("g++", &b"aarch64-linux-gnu"[..], &b"12.2"[..]));
    }
}

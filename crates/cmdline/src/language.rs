//! What an input file is, by its suffix or by `-x` (GCC manual, "Options Controlling the Kind of Output"; the
//! `default_compilers` of `gcc.cc` and the `lang-specs.h` of the front ends; Clang's `Types.cpp`).

use crate::path;

/// The kind of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// C.
    C,
    /// C++.
    Cxx,
    /// Objective-C.
    ObjC,
    /// Objective-C++.
    ObjCxx,
    /// Fortran.
    Fortran,
    /// Assembly.
    Assembly,
    /// LLVM's intermediate representation.
    Ir,
    /// A language whose products we do not know by name: Ada, D, Go, CUDA, OpenCL, a module interface, ...
    Other,
}

/// What a source needs done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Written in.
    pub(crate) language: Language,
    /// Already preprocessed.
    pub(crate) preprocessed: bool,
    /// To be precompiled.
    pub(crate) header: bool,
}

const fn source(language: Language) -> Kind {
    Kind { language, preprocessed: false, header: false }
}

const fn cooked(language: Language) -> Kind {
    Kind { language, preprocessed: true, header: false }
}

const fn header(language: Language) -> Kind {
    Kind { language, preprocessed: false, header: true }
}

/// The kind that a suffix stands for; `None` for a file that goes to the linker.
pub(crate) fn by_suffix(file: &[u8], clang: bool) -> Option<Kind> {
    let suffix = path::suffix(file)?;
    let row = SUFFIXES.binary_search_by(|(name, _)| name.as_bytes().cmp(suffix)).ok().map(|row| SUFFIXES[row].1);
    row.or_else(|| clangs_own(suffix).filter(|_| clang))
}

fn clangs_own(suffix: &[u8]) -> Option<Kind> {
    match suffix {
        b"ll" | b"bc" => Some(cooked(Language::Ir)),
        b"cl" | b"clcpp" | b"cu" | b"cui" | b"hip" | b"cppm" | b"ccm" | b"cxxm" | b"c++m" | b"iim" | b"pcm"
        | b"ast" => Some(source(Language::Other)),
        _ => None,
    }
}

/// What `-x` says about the inputs that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// `-x none`: suffixes decide again.
    BySuffix,
    /// They are this.
    Kind(Kind),
}

/// The meaning of the value of `-x`; `None` for a language unheard of.
pub(crate) fn by_name(name: &[u8]) -> Option<Spoken> {
    let kind = match name {
        b"none" => return Some(Spoken::BySuffix),
        b"c" => source(Language::C),
        b"c++" => source(Language::Cxx),
        b"objective-c" => source(Language::ObjC),
        b"objective-c++" => source(Language::ObjCxx),
        b"c-header" | b"c-system-header" | b"c-user-header" => header(Language::C),
        b"c++-header" | b"c++-system-header" | b"c++-user-header" => header(Language::Cxx),
        b"objective-c-header" => header(Language::ObjC),
        b"objective-c++-header" => header(Language::ObjCxx),
        b"cpp-output" | b"c-cpp-output" => cooked(Language::C),
        b"c++-cpp-output" => cooked(Language::Cxx),
        b"objective-c-cpp-output" | b"objc-cpp-output" => cooked(Language::ObjC),
        b"objective-c++-cpp-output" | b"objc++-cpp-output" => cooked(Language::ObjCxx),
        b"assembler" => cooked(Language::Assembly),
        b"assembler-with-cpp" => source(Language::Assembly),
        b"f77" | b"f95" => cooked(Language::Fortran),
        b"f77-cpp-input" | b"f95-cpp-input" => source(Language::Fortran),
        b"ir" => cooked(Language::Ir),
        b"ada" | b"d" | b"go" | b"modula-2" | b"rust" | b"cl" | b"clcpp" | b"cuda" | b"hip" | b"c++-module" => {
            source(Language::Other)
        }
        _ => return None,
    };
    Some(Spoken::Kind(kind))
}

/// Sorted by suffix.
#[rustfmt::skip]
const SUFFIXES: &[(&str, Kind)] = &[
    ("C", source(Language::Cxx)),
    ("CPP", source(Language::Cxx)),
    ("F", source(Language::Fortran)),
    ("F03", source(Language::Fortran)),
    ("F08", source(Language::Fortran)),
    ("F90", source(Language::Fortran)),
    ("F95", source(Language::Fortran)),
    ("FOR", source(Language::Fortran)),
    ("FPP", source(Language::Fortran)),
    ("FTN", source(Language::Fortran)),
    ("H", header(Language::Cxx)),
    ("HPP", header(Language::Cxx)),
    ("M", source(Language::ObjCxx)),
    ("S", source(Language::Assembly)),
    ("adb", source(Language::Other)),
    ("ads", source(Language::Other)),
    ("c", source(Language::C)),
    ("c++", source(Language::Cxx)),
    ("cc", source(Language::Cxx)),
    ("cp", source(Language::Cxx)),
    ("cpp", source(Language::Cxx)),
    ("cxx", source(Language::Cxx)),
    ("d", source(Language::Other)),
    ("di", source(Language::Other)),
    ("f", cooked(Language::Fortran)),
    ("f03", cooked(Language::Fortran)),
    ("f08", cooked(Language::Fortran)),
    ("f90", cooked(Language::Fortran)),
    ("f95", cooked(Language::Fortran)),
    ("for", cooked(Language::Fortran)),
    ("fpp", source(Language::Fortran)),
    ("ftn", cooked(Language::Fortran)),
    ("go", source(Language::Other)),
    ("h", header(Language::C)),
    ("h++", header(Language::Cxx)),
    ("hh", header(Language::Cxx)),
    ("hp", header(Language::Cxx)),
    ("hpp", header(Language::Cxx)),
    ("hxx", header(Language::Cxx)),
    ("i", cooked(Language::C)),
    ("ii", cooked(Language::Cxx)),
    ("m", source(Language::ObjC)),
    ("mi", cooked(Language::ObjC)),
    ("mii", cooked(Language::ObjCxx)),
    ("mm", source(Language::ObjCxx)),
    ("mod", source(Language::Other)),
    ("s", cooked(Language::Assembly)),
    ("sx", source(Language::Assembly)),
    ("tcc", header(Language::Cxx)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffixes_are_sorted() {
        assert!(SUFFIXES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn suffixes_are_read_with_their_case() {
        assert_eq!(by_suffix(b"dir.d/a.C", false), Some(source(Language::Cxx)));
        assert_eq!(by_suffix(b"a.s", false), Some(cooked(Language::Assembly)));
        assert_eq!(by_suffix(b"a.S", false), Some(source(Language::Assembly)));
        assert_eq!(by_suffix(b"liba.so.1", false), None);
        assert_eq!(by_suffix(b"Makefile", false), None);
    }

    #[test]
    fn only_clang_compiles_llvms_own() {
        assert_eq!(by_suffix(b"a.bc", true), Some(cooked(Language::Ir)));
        assert_eq!(by_suffix(b"a.bc", false), None);
    }
}

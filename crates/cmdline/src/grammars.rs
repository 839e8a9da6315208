//! Who reads which tables how.

use crate::flags::{binutils, clang, gas, gcc, ld, nested};
use crate::parse::Grammar;

/// GCC's driver. Clang's rows follow, because `cc` may be either, and a flag that GCC does not know is an error of
/// GCC's wherever it runs.
pub(crate) const GCC: Grammar = strict(&[gcc::FLAGS, clang::FLAGS], false);
/// Clang's driver, which reads most of GCC's options.
pub(crate) const CLANG: Grammar = strict(&[clang::FLAGS, gcc::FLAGS], true);
/// Linkers.
pub(crate) const LINKER: Grammar = Grammar { tables: &[ld::FLAGS], single_dash_long: true, double_dash_ends: false };
/// GNU `as`; its `--` is standard input, which the room that reads it decides.
pub(crate) const ASSEMBLER: Grammar = Grammar { tables: &[gas::FLAGS], single_dash_long: true, double_dash_ends: true };
/// What `-Wp,` hands on.
pub(crate) const PREPROCESSOR: Grammar = strict(&[nested::PREPROCESSOR], false);
/// What `-Xclang` hands on.
pub(crate) const FRONT_END: Grammar = strict(&[nested::FRONT_END], false);
/// `ar`, after its letters.
pub(crate) const AR: Grammar = strict(&[binutils::AR], true);
/// `ranlib`.
pub(crate) const RANLIB: Grammar = strict(&[binutils::RANLIB], true);
/// `strip`.
pub(crate) const STRIP: Grammar = strict(&[binutils::STRIP], true);
/// `objcopy`.
pub(crate) const OBJCOPY: Grammar = strict(&[binutils::OBJCOPY], true);
/// `dwp`.
pub(crate) const DWP: Grammar = strict(&[binutils::DWP], true);

const fn strict(tables: &'static [&'static [crate::flags::Flag]], double_dash_ends: bool) -> Grammar {
    Grammar { tables, single_dash_long: false, double_dash_ends }
}

/// All of them, for properties.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) const ALL: &[&Grammar] =
    &[&GCC, &CLANG, &LINKER, &ASSEMBLER, &PREPROCESSOR, &FRONT_END, &AR, &RANLIB, &STRIP, &OBJCOPY, &DWP];

//! As much of ELF as the checks need (gABI 4.1, 64-bit little-endian), read from bytes.

/// What an ELF file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// An object file.
    Relocatable,
    /// An executable at a fixed address.
    Executable,
    /// A shared object, or an executable that can be anywhere.
    Shared,
}

/// What a program needs before it can run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dynamic {
    /// It names a dynamic loader.
    pub(crate) interpreter: bool,
    /// How many shared libraries it names.
    pub(crate) needed: usize,
}

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;

/// The type of an ELF file; `None` when the bytes are no such file.
pub(crate) fn type_of(bytes: &[u8]) -> Option<Type> {
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    match number(bytes, 16, 2)? {
        1 => Some(Type::Relocatable),
        2 => Some(Type::Executable),
        3 => Some(Type::Shared),
        _ => None,
    }
}

/// The dynamic needs of a program; `None` when the bytes are no 64-bit little-endian ELF file, or a torn one.
pub(crate) fn dynamic(bytes: &[u8]) -> Option<Dynamic> {
    type_of(bytes)?;
    if bytes.get(4..6)? != [CLASS_64, LITTLE_ENDIAN] {
        return None;
    }
    let mut found = Dynamic::default();
    let (table, size, count) = (number(bytes, 32, 8)?, number(bytes, 54, 2)?, number(bytes, 56, 2)?);
    for index in 0..count {
        let header = usize::try_from(table.checked_add(index.checked_mul(size)?)?).ok()?;
        match number(bytes, header, 4)? {
            PT_INTERP => found.interpreter = true,
            PT_DYNAMIC => found.needed += needed(bytes, number(bytes, header + 8, 8)?, number(bytes, header + 32, 8)?)?,
            _ => {}
        }
    }
    Some(found)
}

fn needed(bytes: &[u8], offset: u64, size: u64) -> Option<usize> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    let mut count = 0;
    for entry in bytes.get(start..end)?.chunks_exact(16) {
        match number(entry, 0, 8)? {
            DT_NULL => break,
            DT_NEEDED => count += 1,
            _ => {}
        }
    }
    Some(count)
}

fn number(bytes: &[u8], offset: usize, width: usize) -> Option<u64> {
    let field = bytes.get(offset..offset.checked_add(width)?)?;
    Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_elf() {
        assert_eq!(type_of(b"#!/bin/sh"), None);
        assert_eq!(dynamic(b"#!/bin/sh"), None);
    }

    #[test]
    fn a_dynamic_program_is_recognised_and_torn_files_are_survived() {
        // This test itself: the gnu target links dynamically.
        let bytes = std::fs::read("/proc/self/exe").expect("a running program can be read");

        let found = dynamic(&bytes).expect("a running program is ELF");
        assert!(found.interpreter);
        assert!(found.needed > 0);
        for length in 0..1024 {
            let _ = dynamic(&bytes[..length]);
        }
    }
}

//! The shared libraries of a program: what the dynamic loader says that it would load.
//!
//! The loader is asked and not imitated: it alone knows its cache, its configured directories, and which variant of a
//! library it prefers on this CPU (`glibc-hwcaps`, ld.so(8)).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind};

use crate::ask::{Much, Stream, ask};

/// Linkers put the program headers and the interpreter's name right behind the file's header.
const HEAD: u64 = 64 << 10;

/// A library by the name that the program asks for, and where that is found; nowhere, if it is not.
pub(crate) type Library = (Vec<u8>, Option<PathBuf>);

/// All libraries of a program, those of its libraries and the loader too. None for a static program or a script.
///
/// # Errors
/// When the program is dynamic and the loader does not say what it needs.
pub(crate) fn of(program: &Path) -> io::Result<Vec<Library>> {
    let mut head = Vec::new();
    File::open(program)?.take(HEAD).read_to_end(&mut head)?;
    let Some(loader) = interpreter(&head) else { return Ok(Vec::new()) };
    let said = ask(&loader, &["--list".as_ref(), program.as_os_str()], Stream::Out, Much::All)?;
    let libraries = understood(&said);
    if libraries.is_empty() {
        let (loader, program) = (loader.display(), program.display());
        return Err(io::Error::other(format!("`{loader} --list {program}` names no libraries")));
    }
    Ok(libraries)
}

/// The loader that a program names.
fn interpreter(head: &[u8]) -> Option<PathBuf> {
    match FileKind::parse(head).ok()? {
        FileKind::Elf64 => interpreter_of(FileHeader64::<Endianness>::parse(head).ok()?, head),
        FileKind::Elf32 => interpreter_of(FileHeader32::<Endianness>::parse(head).ok()?, head),
        _ => None,
    }
}

fn interpreter_of<Header: FileHeader<Endian = Endianness>>(header: &Header, head: &[u8]) -> Option<PathBuf> {
    let endian = header.endian().ok()?;
    let mut segments = header.program_headers(endian, head).ok()?.iter();
    segments.find_map(|segment| segment.interpreter(endian, head).ok()?).map(|path| OsStr::from_bytes(path).into())
}

/// Lines are `NAME => PATH (ADDRESS)`, `PATH (ADDRESS)` for the loader, `NAME => not found`, and `NAME (ADDRESS)` for what
/// the kernel maps by itself (vdso(7)), which is no file.
fn understood(said: &[u8]) -> Vec<Library> {
    said.split(|&byte| byte == b'\n').filter_map(|line| library(line.trim_ascii())).collect()
}

fn library(line: &[u8]) -> Option<Library> {
    let address = find(line, b" (0x").unwrap_or(line.len());
    let Some(arrow) = find(line, b" => ") else {
        let path = Path::new(OsStr::from_bytes(&line[..address]));
        let name = path.file_name().filter(|_| path.is_absolute())?;
        return Some((name.as_bytes().to_vec(), Some(path.to_owned())));
    };
    let path = Path::new(OsStr::from_bytes(line.get(arrow + 4..address).unwrap_or_default()));
    let name = Path::new(OsStr::from_bytes(&line[..arrow])).file_name()?.as_bytes().to_vec();
    Some((name, path.is_absolute().then(|| path.to_owned())))
}

fn find(line: &[u8], what: &[u8]) -> Option<usize> {
    line.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_glibc_and_musl_are_understood() {
        let said =
            b"\tlinux-vdso.so.1 (0x00007f6cb905a000)\n\tlibisl.so.23 => /lib/x/libisl.so.23 (0x00007f6cb8e00000)\n\
            \tlibgone.so.1 => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f6cb905c000)\n\
            \tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n";

        let shown: Vec<_> = understood(said)
            .into_iter()
            .map(|(name, path)| (String::from_utf8(name).unwrap(), path.map(|path| path.display().to_string())))
            .collect();

        let is = |name: &str, path: Option<&str>| (name.to_owned(), path.map(str::to_owned));
        let expected = [
            is("libisl.so.23", Some("/lib/x/libisl.so.23")),
            is("libgone.so.1", None),
            is("ld-linux-x86-64.so.2", Some("/lib64/ld-linux-x86-64.so.2")),
            is("libc.musl-x86_64.so.1", Some("/lib/ld-musl-x86_64.so.1")),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_dynamic_program_has_libraries_and_a_script_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();

        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        let of_shell = of(&shell).unwrap();

        assert!(of_shell.iter().any(|(name, path)| name.starts_with(b"libc.") && path.is_some()), "{of_shell:?}");
        assert_eq!(of(&script).unwrap(), []);
    }
}

//! Command lines of compilers, linkers and archivers: argv to meaning. Pure: nothing is looked up, and what response
//! files hold is asked of the caller.
//!
//! Three steps, each in rooms of its own. **What was said**: `response_file` opens `@file`s, `flags` holds the tables,
//! `parse` takes a line apart by them. **What it means**: `driver`, `linker`, `archiver` and their helpers listen to the
//! words. **What follows**: `outputs` names the files that will appear, `split` finds the units. In doubt the answer is
//! [`Meaning::Local`], with a reason for people.
//!
//! The command itself is never rewritten: it is passed on as it came, and only its meaning looks inside.
//!
//! ```
//! struct NoFiles;
//! impl cmdline::Files for NoFiles {
//!     fn read(&self, _path: &[u8]) -> Option<Vec<u8>> {
//!         None
//!     }
//! }
//!
//! let tool = cmdline::tool_of(b"/usr/bin/g++").expect("a compiler");
//! let args = ["-MD", "-c", "dir/a.cpp", "-o", "out/a.o"].map(|arg| arg.as_bytes().to_vec());
//! let cmdline::Meaning::Job(job) = cmdline::understand(&tool, &args, &NoFiles) else { panic!("a job") };
//! assert_eq!(job.inputs, [b"dir/a.cpp"]);
//! assert_eq!(job.outputs, [b"out/a.o", b"out/a.d"]);
//! ```

#![forbid(unsafe_code)]

mod archiver;
mod assembler;
mod beside;
mod binutils;
mod driver;
mod flags;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod grammars;
mod handed;
mod language;
mod ledger;
mod linker;
mod meaning;
mod outputs;
mod parse;
mod path;
mod redirect;
mod response_file;
mod split;
#[cfg(test)]
mod testing;
mod tool;

#[cfg(any(test, feature = "fuzzing"))]
pub use fuzzing::check_parse_then_print;
pub use meaning::{Job, LocalReason, Meaning, Unit};
pub use tool::{Family, Tool, names as tool_names, tool_of};

use response_file::Expansion;

/// Where the contents of response files come from, so that this crate stays pure.
pub trait Files {
    /// The contents of the file at `path`, which is relative to the command's working directory unless it is
    /// absolute; `None` when it cannot be read.
    fn read(&self, path: &[u8]) -> Option<Vec<u8>>;
}

/// What `tool` with `args`, which do not hold `argv[0]`, will do.
#[must_use]
pub fn understand(tool: &Tool, args: &[Vec<u8>], files: &dyn Files) -> Meaning {
    if tool.family == Family::ClangCl {
        return Meaning::Local(LocalReason::ToolNotDistributed(tool.name.into()));
    }
    let expansion = response_file::expand(args, files);
    match try_understand(tool, args, &expansion, files) {
        Ok(mut job) => {
            job.native = asks_for_native(&expansion) || specs_ask_for_native(&expansion, files);
            Meaning::Job(job)
        }
        Err(reason) => Meaning::Local(reason),
    }
}

fn try_understand(tool: &Tool, args: &[Vec<u8>], expansion: &Expansion, files: &dyn Files) -> Result<Job, LocalReason> {
    if expansion.endless {
        return Err(LocalReason::ResponseFilesEndless);
    }
    if let Some(path) = &expansion.unreadable {
        return Err(LocalReason::ResponseFileUnreadable(path.clone()));
    }
    match tool.family {
        Family::Gcc | Family::Clang | Family::Cpp => driver::understand(tool, args, expansion, files),
        Family::ClangCl => Err(LocalReason::ToolNotDistributed(tool.name.into())),
        Family::Assembler => assembler::understand(expansion),
        Family::Linker => linker::understand(tool, expansion),
        Family::Archiver => archiver::understand(expansion),
        Family::Ranlib => binutils::ranlib(expansion),
        Family::Strip => binutils::strip(expansion),
        Family::Objcopy => binutils::objcopy(expansion),
        Family::Dwp => binutils::dwp(expansion),
    }
}

/// Whether the machine that runs the command would choose the instruction set: `-march=native` and its kin, also as
/// handed to a linker's code generator (`-Wl,-plugin-opt=mcpu=native`) or to Clang's front end word by word.
fn asks_for_native(expansion: &Expansion) -> bool {
    let words = expansion.args.iter().flat_map(|arg| arg.split(|byte| *byte == b','));
    words.into_iter().any(|word| {
        word == b"native"
            || [&b"march=native"[..], b"mtune=native", b"mcpu=native"].iter().any(|end| word.ends_with(end))
    })
}

/// Whether a specs file named by path speaks of `native` (GCC manual, "Spec Files"): the option may then be passed
/// although the command does not show it. What only the tool's search path leads to is part of the toolchain.
fn specs_ask_for_native(expansion: &Expansion, files: &dyn Files) -> bool {
    let joined = |arg: &'_ Vec<u8>| {
        let name = arg.strip_prefix(b"-specs=").or_else(|| arg.strip_prefix(b"--specs="));
        name.map(<[u8]>::to_vec)
    };
    let separate = expansion.args.windows(2).filter(|pair| pair[0] == b"--specs").map(|pair| pair[1].clone());
    let texts = expansion.args.iter().filter_map(joined).chain(separate).filter_map(|path| files.read(&path));
    texts.into_iter().any(|text| text.windows(b"native".len()).any(|window| window == b"native"))
}

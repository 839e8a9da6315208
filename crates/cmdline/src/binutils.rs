//! `ranlib`, `strip`, `objcopy` and `dwp` (binutils manual, chapters of these names).

use model::job::JobKind;

use crate::assembler::views;
use crate::flags::Role;
use crate::ledger::Ledger;
use crate::parse::{CommandLine, Grammar, Spoken, Word};
use crate::response_file::Expansion;
use crate::{Job, LocalReason, grammars, path};

/// The meaning of a call of `ranlib`, which updates each archive in place.
pub(crate) fn ranlib(expansion: &Expansion) -> Result<Job, LocalReason> {
    let mut said = Said::listen(&grammars::RANLIB, expansion)?;
    said.update_in_place();
    Ok(said.ledger.close(JobKind::Archive))
}

/// The meaning of a call of `strip`, which edits in place unless `-o` says otherwise.
pub(crate) fn strip(expansion: &Expansion) -> Result<Job, LocalReason> {
    let mut said = Said::listen(&grammars::STRIP, expansion)?;
    match said.output.take() {
        Some(output) => {
            said.read_operands();
            said.write_first(output)?;
        }
        None => said.update_in_place(),
    }
    Ok(said.ledger.close(JobKind::Archive))
}

/// The meaning of a call of `objcopy in [out]`.
pub(crate) fn objcopy(expansion: &Expansion) -> Result<Job, LocalReason> {
    let mut said = Said::listen(&grammars::OBJCOPY, expansion)?;
    match &said.operands[..] {
        [_] => said.update_in_place(),
        [_, output] => {
            let output = output.clone();
            said.operands.truncate(1);
            said.read_operands();
            said.write_first(output)?;
        }
        _ => return Err(LocalReason::NoOperation),
    }
    let accumulates = said.accumulates;
    let mut job = said.ledger.close(JobKind::Archive);
    // In place, and by a flag that works on its own result.
    job.repeatable &= !(accumulates && job.in_place);
    Ok(job)
}

/// The meaning of a call of `dwp`. The `.dwo` files that an executable refers to are not named.
pub(crate) fn dwp(expansion: &Expansion) -> Result<Job, LocalReason> {
    let mut said = Said::listen(&grammars::DWP, expansion)?;
    let named_after_executable = said.executable.as_ref().map(|executable| path::join(&[executable, b".dwp"]));
    let output = said.output.take().or(named_after_executable).ok_or(LocalReason::NoOutput)?;
    said.read_operands();
    said.write_first(output)?;
    Ok(said.ledger.close(JobKind::Archive))
}

#[derive(Debug, Default)]
struct Said {
    operands: Vec<Vec<u8>>,
    output: Option<Vec<u8>>,
    /// The value of `dwp -e`.
    executable: Option<Vec<u8>>,
    accumulates: bool,
    ledger: Ledger,
}

impl Said {
    fn listen(grammar: &Grammar, expansion: &Expansion) -> Result<Self, LocalReason> {
        let mut said = Self { ledger: Ledger::open(expansion), ..Self::default() };
        for word in CommandLine::parse(grammar, &views(&expansion.args)).words {
            match word {
                Word::Operand(operand) => said.operands.push(operand.to_vec()),
                Word::Flag(flag) => said.flag(&flag),
                Word::Unknown(_) | Word::Unfinished(_) => said.ledger.hear_nonsense(&word),
                Word::EndOfOptions => {}
            }
        }
        said.ledger.judge(!said.operands.is_empty() || said.executable.is_some())?;
        Ok(said)
    }

    fn flag(&mut self, said: &Spoken) {
        match said.flag.role {
            Role::Output => self.output = Some(said.value().to_vec()),
            Role::Accumulates => self.accumulates = true,
            _ => _ = self.ledger.hear(said),
        }
        match said.flag.name {
            "-e" | "--exec" => self.executable = Some(said.value().to_vec()),
            "--add-section" | "--redefine-syms" | "--add-gnu-debuglink" => self.accumulates = true,
            _ => {}
        }
    }

    fn read_operands(&mut self) {
        self.operands.iter().for_each(|operand| self.ledger.reads(operand));
    }

    fn update_in_place(&mut self) {
        self.read_operands();
        let named = core::mem::replace(&mut self.ledger.outputs, self.operands.clone());
        self.ledger.outputs.extend(named);
    }

    fn write_first(&mut self, output: Vec<u8>) -> Result<(), LocalReason> {
        if path::is_standard_output(&output) {
            return Err(LocalReason::WritesStandardOutput);
        }
        self.ledger.outputs.insert(0, output);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{job, line, reason};

    #[test]
    fn ranlib_updates_archives() {
        let job = job("ranlib -D a.a b.a");

        assert_eq!(job.kind, JobKind::Archive);
        assert_eq!(line(&job.inputs), "a.a b.a");
        assert_eq!(line(&job.outputs), "a.a b.a");
        assert!(job.repeatable);
    }

    #[test]
    fn strip_edits_in_place_unless_told_where_to() {
        let in_place = job("strip -g -R .comment a.o b.o");
        assert_eq!((line(&in_place.inputs), line(&in_place.outputs)), ("a.o b.o".into(), "a.o b.o".into()));
        assert!(in_place.repeatable);

        let elsewhere = job("strip --strip-unneeded -o b a");
        assert_eq!((line(&elsewhere.inputs), line(&elsewhere.outputs)), ("a".into(), "b".into()));
    }

    #[test]
    fn objcopy_copies_or_edits() {
        let copy = job("objcopy --only-keep-debug -O elf64-x86-64 --dump-section .text=t a a.debug");
        assert_eq!((line(&copy.inputs), line(&copy.outputs)), ("a".into(), "a.debug t".into()));

        let edit = job("objcopy --add-gnu-debuglink=a.debug a");
        assert_eq!((line(&edit.inputs), line(&edit.outputs)), ("a.debug a".into(), "a".into()));
    }

    #[test]
    fn objcopy_in_place_is_done_once_where_it_feeds_on_itself() {
        assert!(job("objcopy --strip-debug a.o").repeatable);
        assert!(!job("objcopy --prefix-symbols=x_ a.o").repeatable);
        assert!(!job("objcopy --add-section .x=f a.o").repeatable);
        assert!(job("objcopy --prefix-symbols=x_ a.o b.o").repeatable);
    }

    #[test]
    fn dwp_names_its_output_after_the_executable() {
        let of_executable = job("dwp -e prog");
        assert_eq!((line(&of_executable.inputs), line(&of_executable.outputs)), ("prog".into(), "prog.dwp".into()));

        let of_parts = job("llvm-dwp a.dwo b.dwo -o x.dwp");
        assert_eq!((line(&of_parts.inputs), line(&of_parts.outputs)), ("a.dwo b.dwo".into(), "x.dwp".into()));

        assert_eq!(reason("dwp a.dwo"), LocalReason::NoOutput);
    }

    #[test]
    fn questions_stay() {
        assert_eq!(reason("strip --version"), LocalReason::Probe(b"--version".to_vec()));
        assert_eq!(reason("objcopy -V a"), LocalReason::Probe(b"-V".to_vec()));
        assert_eq!(reason("ranlib"), LocalReason::NoInput);
        assert_eq!(reason("strip --zap a"), LocalReason::UnknownOption(b"--zap".to_vec()));
    }
}

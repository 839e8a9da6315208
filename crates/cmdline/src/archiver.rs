//! `ar`: letters first, then an archive, then members (binutils manual, "ar"; `llvm-ar --help`).

use std::collections::BTreeSet;

use model::job::JobKind;

use crate::assembler::views;
use crate::grammars;
use crate::ledger::Ledger;
use crate::parse::{CommandLine, Word};
use crate::path;
use crate::response_file::Expansion;
use crate::{Job, LocalReason};

/// The meaning of a call of `ar`.
pub(crate) fn understand(expansion: &Expansion) -> Result<Job, LocalReason> {
    let mut ledger = Ledger::open(expansion);
    let said = Said::listen(&expansion.args, &mut ledger);
    if said.letters.contains(&b'M') {
        ledger.object(LocalReason::ReadsStandardInput);
    }
    if said.letters.contains(&b'V') || said.letters.contains(&b'h') {
        return Err(LocalReason::Probe(b"-V".to_vec()));
    }
    ledger.judge(!expansion.args.is_empty())?;
    said.operate(&mut ledger)?;
    Ok(ledger.close(JobKind::Archive))
}

#[derive(Debug, Default)]
struct Said {
    letters: Vec<u8>,
    operands: Vec<Vec<u8>>,
}

impl Said {
    fn listen(args: &[Vec<u8>], ledger: &mut Ledger) -> Self {
        let mut said = Self::default();
        let mut args = views(args);
        // The first word needs no dash: `ar rcs` is `ar -rcs`.
        if args.first().is_some_and(|first| !first.starts_with(b"-")) {
            said.letters.extend(args.remove(0));
        }
        for word in CommandLine::parse(&grammars::AR, &args).words {
            match word {
                Word::Operand(operand) => said.operands.push(operand.to_vec()),
                Word::Flag(flag) => _ = ledger.hear(&flag),
                Word::Unknown(arg) if !arg.starts_with(b"--") => said.letters.extend(&arg[1..]),
                Word::Unknown(_) | Word::Unfinished(_) => ledger.hear_nonsense(&word),
                Word::EndOfOptions => {}
            }
        }
        said
    }

    fn operate(mut self, ledger: &mut Ledger) -> Result<(), LocalReason> {
        let operation = self.operation()?;
        // A member's name for a, b and i, and a count for N, stand before the archive.
        let before = [b'a', b'b', b'i'].iter().any(|letter| self.has(*letter));
        let extra = usize::from(before) + usize::from(self.has(b'N'));
        if self.operands.len() <= extra {
            return Err(LocalReason::NoInput);
        }
        let members = self.operands.split_off(extra + 1);
        let archive = self.operands.remove(extra);
        ledger.reads(&archive);
        match operation {
            b't' | b'p' => return Err(LocalReason::Listing),
            // Members appear under their own names, which only the archive tells.
            b'x' => ledger.writes_unlisted = true,
            _ => ledger.outputs.insert(0, archive),
        }
        if matches!(operation, b'r' | b'q') {
            members.iter().for_each(|member| ledger.reads(member));
        }
        ledger.once_only |= operation == b'q' || self.has(b'N') || !distinct_names(&members) || self.has(b'L');
        Ok(())
    }

    /// The one operation among the letters; `s` alone is one too.
    fn operation(&self) -> Result<u8, LocalReason> {
        let known = b"dmpqrtxabcDfilLNoOPsSTuUvV";
        if let Some(letter) = self.letters.iter().find(|letter| !known.contains(letter)) {
            return Err(LocalReason::UnknownOption(vec![*letter]));
        }
        let operations: Vec<u8> = self.letters.iter().copied().filter(|letter| b"dmpqrtx".contains(letter)).collect();
        match operations[..] {
            [operation] => Ok(operation),
            [] if self.has(b's') => Ok(b's'),
            _ => Err(LocalReason::NoOperation),
        }
    }

    fn has(&self, letter: u8) -> bool {
        self.letters.contains(&letter)
    }
}

/// Members are known by the last component of their path; two of one name are told apart by order alone.
fn distinct_names(members: &[Vec<u8>]) -> bool {
    let mut seen = BTreeSet::new();
    members.iter().all(|member| seen.insert(path::basename(member)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{job, line, reason};

    #[test]
    fn replacing_members_may_be_repeated() {
        for command in ["ar rcs lib.a a.o b.o", "ar -rcs lib.a a.o b.o", "gcc-ar -r -c -s lib.a a.o b.o"] {
            let job = job(command);

            assert_eq!(job.kind, JobKind::Archive, "{command}");
            assert_eq!(line(&job.inputs), "lib.a a.o b.o", "{command}");
            assert_eq!(line(&job.outputs), "lib.a", "{command}");
            assert!(job.repeatable && job.outputs_complete, "{command}");
        }
    }

    #[test]
    fn appending_and_counting_may_not() {
        assert!(!job("ar qc lib.a a.o").repeatable);
        assert!(!job("llvm-ar cq lib.a a.o").repeatable);
        assert!(!job("ar dN 1 lib.a a.o").repeatable);
        assert!(!job("ar r lib.a x/a.o y/a.o").repeatable);
    }

    #[test]
    fn what_changes_an_archive_is_in_place_and_what_reads_it_is_not() {
        for command in
            ["ar rcs lib.a a.o", "ar d lib.a a.o", "ar s lib.a", "ranlib lib.a", "strip a.o", "objcopy -g a.o"]
        {
            assert!(job(command).in_place, "{command}");
        }
        for command in
            ["ar x lib.a", "strip a.o -o b.o", "objcopy -g a.o b.o", "gcc a.o lib.a -o a", "ld -r a.o -o b.o"]
        {
            assert!(!job(command).in_place, "{command}");
        }
        for command in ["ld -r ./a.o -o a.o", "clang -MJ db.json -c a.c"] {
            assert!(job(command).in_place, "{command}");
        }
    }

    #[test]
    fn members_named_for_deletion_are_no_files() {
        let job = job("ar d lib.a a.o");

        assert_eq!(line(&job.inputs), "lib.a");
        assert_eq!(line(&job.outputs), "lib.a");
    }

    #[test]
    fn a_place_in_the_archive_is_named_before_it() {
        let job = job("ar rb where.o lib.a a.o");

        assert_eq!(line(&job.inputs), "lib.a a.o");
    }

    #[test]
    fn an_index_alone_is_an_update() {
        assert_eq!(line(&job("ar s lib.a").outputs), "lib.a");
    }

    #[test]
    fn extraction_writes_what_the_archive_holds() {
        let job = job("ar x lib.a --output dir");

        assert_eq!(line(&job.outputs), "");
        assert_eq!(line(&job.dirs), "dir");
        assert!(!job.outputs_complete);
    }

    #[test]
    fn listings_questions_and_scripts_stay() {
        assert_eq!(reason("ar t lib.a"), LocalReason::Listing);
        assert_eq!(reason("ar p lib.a a.o"), LocalReason::Listing);
        assert_eq!(reason("ar -M"), LocalReason::ReadsStandardInput);
        assert_eq!(reason("ar --version"), LocalReason::Probe(b"--version".to_vec()));
        assert_eq!(reason("ar V"), LocalReason::Probe(b"-V".to_vec()));
        assert_eq!(reason("ar"), LocalReason::NoInput);
        assert_eq!(reason("ar cr"), LocalReason::NoInput);
        assert_eq!(reason("ar c lib.a"), LocalReason::NoOperation);
        assert_eq!(reason("ar rZ lib.a"), LocalReason::UnknownOption(b"Z".to_vec()));
    }
}

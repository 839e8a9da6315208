//! GNU `as`, by itself or behind a driver (as manual, "Overview" and "Command-Line Options").

use model::job::JobKind;

use crate::flags::Role;
use crate::grammars;
use crate::ledger::Ledger;
use crate::parse::{CommandLine, Spoken, Word};
use crate::path;
use crate::response_file::Expansion;
use crate::{Job, LocalReason};

/// The meaning of a call of `as`.
pub(crate) fn understand(expansion: &Expansion) -> Result<Job, LocalReason> {
    let mut ledger = Ledger::open(expansion);
    let heard = listen(&views(&expansion.args), &mut ledger);
    heard.files.iter().for_each(|file| ledger.reads(file));
    if heard.files.is_empty() {
        ledger.object(LocalReason::ReadsStandardInput);
    }
    // Without files `as` reads standard input, so that is never "no input"; `as -v` reads it too.
    ledger.judge(true)?;
    let output = heard.output.unwrap_or_else(|| b"a.out".to_vec());
    if path::is_standard_output(&output) {
        return Err(LocalReason::WritesStandardOutput);
    }
    ledger.outputs.insert(0, output);
    let mut job = ledger.close(JobKind::Assemble);
    job.repeatable &= !job.in_place;
    Ok(job)
}

/// What an assembler was told besides what the ledger takes.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The value of `-o`.
    pub(crate) output: Option<Vec<u8>>,
    /// Its operands.
    pub(crate) files: Vec<Vec<u8>>,
}

/// Listens to an assembler's arguments.
pub(crate) fn listen(args: &[&[u8]], ledger: &mut Ledger) -> Heard {
    let mut heard = Heard::default();
    for word in CommandLine::parse(&grammars::ASSEMBLER, args).words {
        match word {
            Word::Flag(said) if said.flag.role == Role::Output => heard.output = Some(said.value().to_vec()),
            Word::Flag(said) => {
                ledger.hear(&said);
                ledger.outputs.extend(listing(&said));
            }
            Word::Operand(file) => heard.files.push(file.to_vec()),
            // `--` names standard input (as manual, "The Input Files").
            Word::EndOfOptions => ledger.object(LocalReason::ReadsStandardInput),
            Word::Unknown(_) | Word::Unfinished(_) => ledger.hear_nonsense(&word),
        }
    }
    heard
}

/// The file of `-a[cdghlmns]*=file`.
fn listing(said: &Spoken) -> Option<Vec<u8>> {
    let value = Some(said).filter(|said| said.flag.name == "-a")?.value();
    let equals = value.iter().position(|byte| *byte == b'=')?;
    Some(value[equals + 1..].to_vec())
}

/// Arguments as the parser wants them.
pub(crate) fn views(args: &[Vec<u8>]) -> Vec<&[u8]> {
    args.iter().map(Vec::as_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{job, line, reason};

    #[test]
    fn an_assembler_writes_its_output_listing_and_dependencies() {
        let job = job("as -Iinc q.s -o k.o -al=list --MD dd --defsym a=1");

        assert_eq!(job.kind, JobKind::Assemble);
        assert_eq!(line(&job.inputs), "q.s");
        assert_eq!(line(&job.outputs), "k.o list dd");
        assert_eq!(line(&job.dirs), "inc");
        assert!(job.repeatable && job.outputs_complete);
    }

    #[test]
    fn an_assembler_by_default_writes_a_out() {
        assert_eq!(line(&job("x86_64-linux-gnu-as --64 q.s").outputs), "a.out");
    }

    #[test]
    fn an_assembler_without_files_reads_standard_input() {
        assert_eq!(reason("as -o k.o"), LocalReason::ReadsStandardInput);
        assert_eq!(reason("as -o k.o -"), LocalReason::ReadsStandardInput);
        assert_eq!(reason("as -o k.o --"), LocalReason::ReadsStandardInput);
        assert_eq!(reason("as --version"), LocalReason::Probe(b"--version".to_vec()));
    }
}

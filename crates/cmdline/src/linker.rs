//! Linkers: GNU ld, gold, lld and mold by themselves, or behind a driver (ld manual, "Command-line Options").

use model::job::JobKind;

use crate::assembler::views;
use crate::flags::Role;
use crate::grammars;
use crate::ledger::Ledger;
use crate::parse::{CommandLine, Spoken, Word};
use crate::path;
use crate::response_file::Expansion;
use crate::tool::Tool;
use crate::{Job, LocalReason};

/// The meaning of a call of a linker.
pub(crate) fn understand(tool: &Tool, expansion: &Expansion) -> Result<Job, LocalReason> {
    let mut ledger = Ledger::open(expansion);
    let heard = listen(&views(&expansion.args), &mut ledger);
    ledger.judge(heard.has_inputs)?;
    let output = heard.output.unwrap_or_else(|| b"a.out".to_vec());
    if path::is_standard_output(&output) {
        return Err(LocalReason::WritesStandardOutput);
    }
    ledger.outputs.insert(0, output);
    ledger.writes_unlisted |= tool.makes_suffixed_executables();
    let mut job = ledger.close(JobKind::Link);
    job.repeatable &= !job.in_place;
    Ok(job)
}

/// What a linker was told besides what the ledger takes.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The value of `-o`.
    pub(crate) output: Option<Vec<u8>>,
    /// Whether there are files or libraries to link.
    pub(crate) has_inputs: bool,
}

/// Listens to a linker's arguments.
pub(crate) fn listen(args: &[&[u8]], ledger: &mut Ledger) -> Heard {
    let mut heard = Heard::default();
    for word in CommandLine::parse(&grammars::LINKER, args).words {
        match word {
            Word::Flag(said) => heard.flag(&said, ledger),
            Word::Operand(file) => {
                heard.has_inputs = true;
                ledger.reads(file);
            }
            Word::Unknown(_) | Word::Unfinished(_) => ledger.hear_nonsense(&word),
            Word::EndOfOptions => {}
        }
    }
    heard
}

impl Heard {
    fn flag(&mut self, said: &Spoken, ledger: &mut Ledger) {
        match said.flag.role {
            Role::Output => self.output = Some(said.value().to_vec()),
            Role::Library => self.has_inputs = true,
            _ if is_pattern_for_a_map(said) => ledger.writes_near(said.value()),
            _ => _ = ledger.hear(said),
        }
    }
}

/// `-Map=dir/` and `-Map=%.map` name the map after the output (ld 2.40).
fn is_pattern_for_a_map(said: &Spoken) -> bool {
    said.flag.name == "--Map" && (said.value().ends_with(b"/") || said.value().contains(&b'%'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{job, line, reason};

    #[test]
    fn a_bare_linker_reads_objects_and_scripts_and_writes_its_map() {
        let job = job("ld -shared -soname libx.so.1 -o libx.so.1 a.o -Ldir -lm -T s.ld --version-script=v.map \
             -Map x.map --dependency-file=x.d --out-implib imp.lib -z now --as-needed b.a -rpath /x --just-symbols sym");

        assert_eq!(job.kind, JobKind::Link);
        assert_eq!(line(&job.inputs), "a.o s.ld v.map b.a sym");
        assert_eq!(line(&job.outputs), "libx.so.1 x.map x.d imp.lib");
        assert_eq!(line(&job.dirs), "dir");
        assert!(job.outputs_complete && job.repeatable);
    }

    #[test]
    fn a_linker_by_default_writes_a_out() {
        assert_eq!(line(&job("mold a.o").outputs), "a.out");
    }

    #[test]
    fn a_partial_link_onto_its_own_input_is_done_once() {
        assert!(!job("ld -r a.o b.o -o ./a.o").repeatable);
        assert!(job("ld -r a.o b.o -o c.o").repeatable);
    }

    #[test]
    fn questions_and_strange_options_stay() {
        assert_eq!(reason("ld"), LocalReason::NoInput);
        assert_eq!(reason("ld -v"), LocalReason::Probe(b"-v".to_vec()));
        assert_eq!(reason("ld.lld --version a.o"), LocalReason::Probe(b"--version".to_vec()));
        assert_eq!(reason("ld --such-a-thing a.o"), LocalReason::UnknownOption(b"--such-a-thing".to_vec()));
        assert_eq!(reason("mold -run make"), LocalReason::NotFollowed(b"-run".to_vec()));
        assert_eq!(reason("ld a.o -o"), LocalReason::MissingValue(b"-o".to_vec()));
    }

    #[test]
    fn a_map_named_by_a_pattern_is_beyond_us() {
        assert!(!job("ld a.o -Map=maps/ -o x").outputs_complete);
        assert!(job("ld a.o -Map=- -o x").outputs_complete);
    }
}

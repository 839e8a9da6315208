//! What a driver's command will write, by name.
//!
//! The rules are those of the GCC manual, "Overall Options" (`-dumpbase`, `-dumpdir`, `-save-temps`) and "Preprocessor
//! Options" (`-MD`, `-MF`), as GCC 12 (`tests/real_gcc.rs`) and Clang 14 (by hand) were seen to follow them. Where
//! they were not seen, the best guess is entered and the books are marked incomplete.

use crate::beside::Temps;
use crate::driver::{Driver, Source, Stage};
use crate::flags::Emits;
use crate::language::Language;
use crate::path;

/// Enters all outputs of `driver` into its ledger, the primary ones first.
pub(crate) fn enter(driver: &mut Driver) {
    let mut namer = Namer { driver, outputs: Vec::new(), sure: true };
    namer.primaries();
    namer.dependencies();
    namer.besides();
    let (mut outputs, sure) = (namer.outputs, namer.sure);
    outputs.append(&mut driver.ledger.outputs);
    driver.ledger.outputs = outputs;
    driver.ledger.writes_unlisted |= !sure;
}

/// The primary output of `source`, were it alone and without `-o`; for the stages that have one per source.
pub(crate) fn default_output(driver: &Driver, source: &Source) -> Vec<u8> {
    if source.kind.header {
        return path::join(&[&source.path, b".gch"]);
    }
    let suffix: &[u8] = match (driver.emits, driver.stage) {
        (Some(Emits::Ast), _) => b".ast",
        (Some(Emits::Module), _) => b".pcm",
        (Some(Emits::Analysis), _) => b".plist",
        (Some(Emits::Llvm), Stage::Assembly) => b".ll",
        (Some(Emits::Llvm), _) if driver.clang => b".bc",
        (_, Stage::Assembly) => b".s",
        _ => b".o",
    };
    path::join(&[path::stem(&source.path), suffix])
}

struct Namer<'a> {
    driver: &'a Driver,
    outputs: Vec<Vec<u8>>,
    /// Whether every name so far follows a rule that was seen at work.
    sure: bool,
}

impl Namer<'_> {
    fn add(&mut self, pieces: &[&[u8]]) {
        self.outputs.push(path::join(pieces));
    }

    fn primaries(&mut self) {
        let driver = self.driver;
        self.sure &= driver.sources.iter().all(|source| has_one_product(driver, source));
        match (driver.stage, &driver.output) {
            (Stage::Depend, _) => self.dependencies_alone(),
            (Stage::Check, _) => {}
            // What is written beside a printed result is named after it or after the source, by rules not seen.
            _ if driver.prints_its_result() => self.sure &= !driver.depend_beside && !driver.besides.any(),
            (_, Some(output)) => self.outputs.push(output.clone()),
            (Stage::Preprocess, None) => {}
            (Stage::Assembly | Stage::Object, None) => self.one_per_source(),
            (Stage::Link, None) if driver.only_precompiles() => self.one_per_source(),
            (Stage::Link, None) => self.default_executable(),
        }
    }

    /// With `-M`, dependencies are the output; GCC opens that of `-o` besides.
    fn dependencies_alone(&mut self) {
        let driver = self.driver;
        let file = |named: &Option<Vec<u8>>| named.clone().filter(|file| file != b"-");
        self.outputs.extend(file(&driver.depend_file));
        if driver.depend_file.is_none() || !driver.clang {
            self.outputs.extend(file(&driver.output));
        }
        self.sure &= !driver.depend_beside && (driver.depend_file.is_none() || !driver.either_vendor);
    }

    fn one_per_source(&mut self) {
        let driver = self.driver;
        // Assembly is not assembled again: `-S` of it makes nothing, or prints.
        self.sure &= driver.stage != Stage::Assembly || !driver.sources.iter().any(|source| source.kind.header);
        self.outputs.extend(driver.sources.iter().map(|source| default_output(driver, source)));
    }

    fn default_executable(&mut self) {
        self.add(&[b"a.out"]);
        let headers = self.driver.sources.iter().filter(|source| source.kind.header);
        self.outputs.extend(headers.map(|header| default_output(self.driver, header)));
    }

    fn dependencies(&mut self) {
        let driver = self.driver;
        let preprocessed = driver.sources.iter().filter(|source| is_preprocessed_here(source));
        if !driver.depend_beside || driver.stage == Stage::Depend || preprocessed.clone().count() == 0 {
            return;
        }
        if let Some(file) = &driver.depend_file {
            self.outputs.extend(Some(file.clone()).filter(|file| file != b"-"));
            return;
        }
        match &driver.output {
            // `-o /dev/null` would have `/dev/null.d` written, and only root can.
            Some(output) if output.starts_with(b"/dev/") => self.sure = false,
            Some(output) => self.add(&[path::without_suffix(output), b".d"]),
            None => {
                for source in preprocessed {
                    self.add(&[&self.stem(source), b".d"]);
                }
            }
        }
        self.sure &= driver.output.is_some() || driver.stage != Stage::Link || !driver.either_vendor;
    }

    fn besides(&mut self) {
        let driver = self.driver;
        if !driver.besides.any() || matches!(driver.stage, Stage::Depend | Stage::Preprocess) {
            return;
        }
        self.sure &= !driver.either_vendor && !driver.lto && driver.emits.is_none() && driver.stage != Stage::Check;
        // Clang has changed its mind about side files of a link (15 and 16 prefix them, 14 does not).
        self.sure &= !(driver.clang && driver.stage == Stage::Link);
        self.sure &= driver.output.as_ref().is_none_or(|output| !output.starts_with(b"/dev/"));
        for source in &driver.sources {
            self.beside_source(source);
            self.temps(source);
        }
    }

    fn beside_source(&mut self, source: &Source) {
        let (driver, stem) = (self.driver, self.stem(source));
        let (wanted, linked) = (driver.besides, driver.stage == Stage::Link);
        let compiled = source.kind.language != Language::Assembly;
        self.sure &= !source.kind.header;
        if wanted.split_dwarf && driver.stage >= Stage::Object {
            self.add(&[&stem, b".dwo"]);
        }
        self.sure &= !(wanted.split_dwarf && driver.clang && driver.stage == Stage::Assembly);
        for (asked, suffix) in [
            (wanted.coverage_notes, &b".gcno"[..]),
            (wanted.stack_usage, b".su"),
            (wanted.call_graph && !driver.clang, b".ci"),
            (wanted.time_trace && driver.clang, b".json"),
        ] {
            if asked && compiled {
                self.add(&[&stem, suffix]);
            }
        }
        if wanted.optimisation_record && compiled {
            self.optimisation_record(source, &stem);
            self.sure &= !linked;
        }
    }

    fn optimisation_record(&mut self, source: &Source, stem: &[u8]) {
        match path::suffix(&source.path) {
            _ if self.driver.clang => self.add(&[stem, b".opt.yaml"]),
            Some(suffix) => self.add(&[stem, b".", suffix, b".opt-record.json.gz"]),
            None => self.sure = false,
        }
    }

    fn temps(&mut self, source: &Source) {
        let Some(temps) = self.driver.besides.temps else { return };
        let stem = self.temps_stem(source, temps);
        let (language, cooked) = (source.kind.language, source.kind.preprocessed);
        let text: Option<&[u8]> = match language {
            Language::C => Some(b".i"),
            Language::Cxx => Some(b".ii"),
            Language::ObjC => Some(b".mi"),
            Language::ObjCxx => Some(b".mii"),
            Language::Assembly => None,
            Language::Fortran | Language::Ir | Language::Other => {
                self.sure = false;
                None
            }
        };
        if let Some(suffix) = text.filter(|_| !cooked) {
            self.add(&[&stem, suffix]);
            if self.driver.clang {
                self.add(&[&stem, b".bc"]);
            }
        }
        self.sure &= !(self.driver.clang && cooked && text.is_some());
        let assembled = language == Language::Assembly && cooked;
        if self.driver.stage >= Stage::Object && !assembled {
            self.add(&[&stem, b".s"]);
        }
        if self.driver.stage == Stage::Link {
            self.add(&[&stem, b".o"]);
        }
    }

    /// GCC names temporaries as all side files; Clang by the source, and here rather than there.
    fn temps_stem(&self, source: &Source, temps: Temps) -> Vec<u8> {
        let directory = self.driver.output.as_deref().map(path::directory).unwrap_or_default();
        match (self.driver.clang, temps) {
            (true, Temps::ByOutput) => path::join(&[directory, path::stem(&source.path)]),
            (true, Temps::Default | Temps::Here) => path::stem(&source.path).to_vec(),
            (false, Temps::Here) => path::basename(&self.stem(source)).to_vec(),
            (false, Temps::Default | Temps::ByOutput) => self.stem(source),
        }
    }

    /// What the names of side files of `source` begin with.
    fn stem(&self, source: &Source) -> Vec<u8> {
        match (&self.driver.output, self.driver.stage) {
            (_, Stage::Link) if self.driver.clang => path::stem(&source.path).to_vec(),
            (_, Stage::Link) => self.stem_of_link(source),
            (Some(output), _) => path::without_suffix(output).to_vec(),
            (None, _) => path::stem(&source.path).to_vec(),
        }
    }

    /// GCC: `prog-a` for `a.c`, or `prog` when that is `a` and there is no other input.
    fn stem_of_link(&self, source: &Source) -> Vec<u8> {
        let output = self.driver.output.as_deref().unwrap_or(b"a");
        let program = output.strip_suffix(b".exe").unwrap_or(output);
        let program = program.strip_suffix(b"a.out").map_or(program.to_vec(), |directory| [directory, b"a"].concat());
        let stem = path::stem(&source.path);
        if self.driver.sources.len() + self.driver.objects == 1 && path::basename(&program) == stem {
            return program;
        }
        path::join(&[&program, b"-", stem])
    }
}

/// Whether the stage makes exactly its primary output of `source`, and nothing that only reading it would tell.
fn has_one_product(driver: &Driver, source: &Source) -> bool {
    let kind = source.kind;
    let modules = kind.language == Language::Fortran && driver.stage >= Stage::Check;
    let not_preprocessed = kind.preprocessed && driver.stage <= Stage::Preprocess;
    let not_compiled = kind.language == Language::Assembly && driver.stage == Stage::Assembly;
    let elsewhere = matches!(kind.language, Language::Other | Language::Ir);
    let header_linked = kind.header && driver.stage == Stage::Link && !driver.only_precompiles();
    let report = driver.emits == Some(Emits::Analysis);
    let foreign = !driver.clang && driver.emits.is_some();
    !(modules || not_preprocessed || not_compiled || elsewhere || header_linked || report || foreign)
}

fn is_preprocessed_here(source: &Source) -> bool {
    !source.kind.preprocessed && source.kind.language != Language::Ir
}

#[cfg(test)]
mod tests {
    use crate::testing::{job, line};

    #[track_caller]
    fn writes(command: &str, outputs: &str) {
        let job = job(command);
        assert_eq!(line(&job.outputs), outputs, "{command}");
        assert!(job.outputs_complete, "{command}");
    }

    #[test]
    fn default_names_are_in_the_working_directory() {
        writes("gcc -c dir/a.cpp", "a.o");
        writes("gcc -S dir/a.b.c", "a.b.s");
        writes("gcc -c a.c dir/b.c", "a.o b.o");
        writes("gcc a.c", "a.out");
        writes("clang -c -emit-llvm dir/a.c", "a.bc");
        writes("clang -S -emit-llvm dir/a.c", "a.ll");
    }

    #[test]
    fn a_precompiled_header_lies_beside_the_header() {
        writes("gcc -c dir/a.h", "dir/a.h.gch");
        writes("g++ dir/a.hpp", "dir/a.hpp.gch");
        writes("clang++ -x c++-header a -o a.pch", "a.pch");
    }

    #[test]
    fn dependencies_follow_the_output() {
        writes("gcc -MD -c dir/a.c -o out/x.y.o", "out/x.y.o out/x.y.d");
        writes("gcc -MMD -c dir/a.c", "a.o a.d");
        writes("gcc -MD -MF d/q -c a.c", "a.o d/q");
        writes("gcc -MD a.c -o prog.x", "prog.x prog.d");
        writes("gcc -MD b.c", "a.out a-b.d");
        writes("gcc -Wp,-MMD,.a.d -c a.c", "a.o .a.d");
        writes("gcc -MM -MF q.d a.c", "q.d");
        writes("gcc -MD -c a.s", "a.o");
        writes("gcc -fsyntax-only -MD a.c", "a.d");
        writes("gcc -fsyntax-only a.c -o x.o", "");
    }

    #[test]
    fn side_files_of_a_compile_follow_the_output() {
        writes("gcc -gsplit-dwarf --coverage -fstack-usage -c a.c -o o/x.o", "o/x.o o/x.dwo o/x.gcno o/x.su");
        writes("clang -gsplit-dwarf --coverage -c d/a.c", "a.o a.dwo a.gcno");
        writes("clang -ftime-trace -c a.c -o o/x.o", "o/x.o o/x.json");
        writes("gcc -gsplit-dwarf -gno-split-dwarf -c a.c", "a.o");
    }

    #[test]
    fn side_files_of_a_link_are_named_after_the_program() {
        writes("gcc -gsplit-dwarf a.c b.c -o o/prog", "o/prog o/prog-a.dwo o/prog-b.dwo");
        writes("gcc -gsplit-dwarf a.c -lm -o o/a", "o/a o/a.dwo");
        writes("gcc -gsplit-dwarf a.c", "a.out a.dwo");
        writes("gcc -gsplit-dwarf b.c", "a.out a-b.dwo");
    }

    #[test]
    fn what_is_beyond_us_is_admitted() {
        for command in [
            "gcc -c a.c -fdump-tree-all",
            "gcc -c a.c -da",
            "gfortran -c a.f90",
            "g++ -fmodules-ts -c a.cc",
            "gcc -flto -save-temps a.c",
            "clang -Xclang -surprise -c a.c",
            "gcc -dumpdir x/ -c a.c",
            "cc -save-temps -c a.c",
            "x86_64-w64-mingw32-gcc a.c -o a",
        ] {
            assert!(!job(command).outputs_complete, "{command}");
        }
    }
}

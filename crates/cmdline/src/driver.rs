//! Compiler drivers: what a `gcc` or `clang` command says (GCC manual, "Overall Options"; Clang command line reference).

use model::job::JobKind;

use crate::assembler::views;
use crate::beside::Besides;
use crate::flags::{Emits, Role};
use crate::handed::Handed;
use crate::language::{self, Kind, Language};
use crate::ledger::{Ledger, spelled};
use crate::parse::{CommandLine, Spoken, Word};
use crate::response_file::Expansion;
use crate::tool::{Family, Tool};
use crate::{Files, Job, LocalReason, grammars, outputs, path, redirect, split};

/// The meaning of a call of a driver. `args` is the command as given, `expansion` as the tool sees it.
pub(crate) fn understand(
    tool: &Tool,
    args: &[Vec<u8>],
    expansion: &Expansion,
    files: &dyn Files,
) -> Result<Job, LocalReason> {
    let mut driver = Driver::new(tool, expansion);
    let grammar = if driver.clang { grammars::CLANG } else { grammars::GCC };
    let line = CommandLine::parse(&grammar, &views(&expansion.args));
    driver.listen(&line);
    driver.hand_on(files);
    driver.judge()?;
    let units = split::units(&driver, &line, args, expansion);
    let kind = driver.kind();
    outputs::enter(&mut driver);
    let mut job = std::mem::take(&mut driver.ledger).close(kind);
    job.repeatable &= !job.in_place;
    job.units = units;
    if job.outputs_complete && !job.in_place && expansion.files.is_empty() {
        job.redirects = redirect::words(&driver, &line, args, &job.outputs);
    }
    Ok(job)
}

/// How far the work goes, the shortest way first: that is the order in which the drivers' specs look at the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// `-M`, `-MM`.
    Depend,
    /// `-E`.
    Preprocess,
    /// `-fsyntax-only`.
    Check,
    /// `-S`.
    Assembly,
    /// `-c`, and whatever of Clang's replaces it.
    Object,
    /// None of these.
    Link,
}

/// An input that is compiled.
#[derive(Debug)]
pub(crate) struct Source {
    /// As written.
    pub(crate) path: Vec<u8>,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its place among the arguments as the tool sees them.
    pub(crate) place: usize,
}

/// What was said to a driver.
#[derive(Debug)]
pub(crate) struct Driver {
    /// Whether Clang's ways apply, else GCC's.
    pub(crate) clang: bool,
    /// Whether it might be the other vendor after all.
    pub(crate) either_vendor: bool,
    suffixed_executables: bool,
    preprocessor_only: bool,
    pub(crate) stage: Stage,
    pub(crate) sources: Vec<Source>,
    /// How many inputs go straight to the linker.
    pub(crate) objects: usize,
    pub(crate) has_libraries: bool,
    pub(crate) output: Option<Vec<u8>>,
    /// `-MD`, `-MMD`.
    pub(crate) depend_beside: bool,
    pub(crate) depend_file: Option<Vec<u8>>,
    pub(crate) besides: Besides,
    pub(crate) emits: Option<Emits>,
    pub(crate) handed: Handed,
    /// `-dumpbase` and its kin were used.
    pub(crate) renames: bool,
    /// Link-time optimisation has files of its own.
    pub(crate) lto: bool,
    /// It does so with the slots of the `make` that runs it.
    jobserver: bool,
    pub(crate) ledger: Ledger,
    language: Option<Kind>,
}

impl Driver {
    fn new(tool: &Tool, expansion: &Expansion) -> Self {
        let preprocessor_only = tool.family == Family::Cpp;
        Self {
            clang: tool.family == Family::Clang || tool.name == "clang-cpp",
            either_vendor: tool.is_of_either_vendor(),
            suffixed_executables: tool.makes_suffixed_executables(),
            preprocessor_only,
            stage: if preprocessor_only { Stage::Preprocess } else { Stage::Link },
            sources: Vec::new(),
            objects: 0,
            has_libraries: false,
            output: None,
            depend_beside: false,
            depend_file: None,
            besides: Besides::default(),
            emits: None,
            handed: Handed::default(),
            renames: false,
            lto: false,
            jobserver: false,
            ledger: Ledger::open(expansion),
            language: None,
        }
    }

    fn listen(&mut self, line: &CommandLine) {
        let mut place = 0;
        for word in &line.words {
            match word {
                Word::Operand(file) => self.operand(file, place),
                Word::Flag(said) => self.flag(said),
                Word::EndOfOptions => {}
                Word::Unknown(_) | Word::Unfinished(_) => self.ledger.hear_nonsense(word),
            }
            place += word.arguments();
        }
    }

    fn operand(&mut self, file: &[u8], place: usize) {
        // `cpp in out` (cpp manual, "Invocation").
        if self.preprocessor_only && !self.sources.is_empty() && self.output.is_none() {
            self.output = Some(file.to_vec());
            return;
        }
        self.ledger.reads(file);
        let preprocessed_as_c = self.preprocessor_only.then_some(AS_C);
        match self.language.or_else(|| language::by_suffix(file, self.clang)).or(preprocessed_as_c) {
            Some(kind) => self.sources.push(Source { path: file.to_vec(), kind, place }),
            None => self.objects += 1,
        }
    }

    fn flag(&mut self, said: &Spoken) {
        let value = said.value();
        match said.flag.role {
            Role::Output => self.output = Some(value.to_vec()),
            Role::Depend => self.stops_at(Stage::Depend),
            Role::Preprocess => self.stops_at(Stage::Preprocess),
            Role::SyntaxOnly => self.stops_at(Stage::Check),
            Role::ToAssembly => self.stops_at(Stage::Assembly),
            Role::ToObject => self.stops_at(Stage::Object),
            Role::Product(emits) => self.emits(emits),
            Role::DependBeside => self.depend_beside = true,
            Role::DependFile => self.depend_file = Some(value.to_vec()),
            Role::SideFile(beside, wanted) => self.besides.set(beside, wanted),
            Role::Hands(next) => self.handed.one(next, value),
            Role::HandsList(next) => self.handed.list(next, value),
            Role::Language => self.language(value),
            Role::Library => self.has_libraries = true,
            Role::Renames => {
                self.renames = true;
                self.ledger.writes_near(value);
            }
            Role::Plain if said.flag.name == "-f" && value.starts_with(b"lto") => {
                self.lto = true;
                self.jobserver = value == b"lto=jobserver";
            }
            Role::Plain => {}
            _ => _ = self.ledger.hear(said),
        }
        if matches!(said.flag.role, Role::Hands(_)) && value.is_empty() {
            self.ledger.object(LocalReason::MissingValue(spelled(said)));
        }
    }

    fn stops_at(&mut self, stage: Stage) {
        self.stage = self.stage.min(stage);
    }

    fn emits(&mut self, emits: Emits) {
        self.emits = Some(emits);
        if emits != Emits::Llvm {
            self.stops_at(Stage::Object);
        }
    }

    fn language(&mut self, name: &[u8]) {
        match language::by_name(name) {
            Some(language::Spoken::BySuffix) => self.language = None,
            Some(language::Spoken::Kind(kind)) => self.language = Some(kind),
            None => self.ledger.object(LocalReason::UnknownLanguage(name.to_vec())),
        }
    }

    fn hand_on(&mut self, files: &dyn Files) {
        let dependencies = self.handed.to_preprocessor(&mut self.ledger);
        if dependencies.is_some() {
            // The preprocessor hears these last, so they win over `-MF`.
            self.depend_beside = true;
            self.depend_file = dependencies;
        }
        self.handed.to_front_end(&mut self.ledger);
        if self.stage >= Stage::Object {
            self.handed.to_assembler(files, &mut self.ledger);
        }
        if self.stage == Stage::Link {
            self.handed.to_linker(files, &mut self.ledger);
            self.ledger.writes_unlisted |= self.suffixed_executables;
        }
    }

    fn judge(&mut self) -> Result<(), LocalReason> {
        let has_inputs = !self.sources.is_empty() || self.objects > 0 || self.has_libraries;
        if self.preprocessor_only && !has_inputs && self.ledger.probe.is_none() {
            self.ledger.object(LocalReason::ReadsStandardInput);
        }
        self.ledger.judge(has_inputs)?;
        if self.sources.is_empty() && self.stage != Stage::Link {
            return Err(LocalReason::NoOperation);
        }
        if self.jobserver && self.stage == Stage::Link {
            return Err(LocalReason::UsesJobserver);
        }
        if self.opens_standard_output() {
            return Err(LocalReason::WritesStandardOutput);
        }
        if self.output.is_some() && self.stage != Stage::Link && self.sources.len() > 1 {
            return Err(LocalReason::OneOutputForMany);
        }
        Ok(())
    }

    /// Whether the result is printed in place of being written to a file: what the tool prints travels anyway.
    pub(crate) fn prints_its_result(&self) -> bool {
        match self.stage {
            Stage::Depend => self.output.as_ref().or(self.depend_file.as_ref()).is_none_or(|file| file == b"-"),
            Stage::Preprocess => self.output.as_ref().is_none_or(|file| file == b"-"),
            Stage::Assembly => self.output.as_ref().is_some_and(|file| file == b"-"),
            Stage::Check | Stage::Object | Stage::Link => false,
        }
    }

    /// Whether the tool would open its standard output by a name, truncating what is there, or write an object to it.
    /// GCC's `-c -o -` makes a file of that name; Clang's does not.
    fn opens_standard_output(&self) -> bool {
        let by_name =
            |file: &Option<Vec<u8>>| file.as_deref().is_some_and(|f| f != b"-" && path::is_standard_output(f));
        let object = self.stage >= Stage::Object && self.output.as_deref() == Some(b"-");
        object || by_name(&self.output) || by_name(&self.depend_file)
    }

    fn kind(&self) -> JobKind {
        match self.stage {
            Stage::Depend | Stage::Preprocess => JobKind::Preprocess,
            Stage::Object if self.sources.iter().all(is_assembly) => JobKind::Assemble,
            Stage::Link if !self.only_precompiles() => JobKind::Link,
            Stage::Check | Stage::Assembly | Stage::Object | Stage::Link => JobKind::Compile,
        }
    }

    /// Whether there is nothing to link, because all there is are headers: they are precompiled even without `-c`.
    pub(crate) fn only_precompiles(&self) -> bool {
        let only_headers = !self.sources.is_empty() && self.sources.iter().all(|source| source.kind.header);
        only_headers && self.objects == 0 && !self.has_libraries
    }
}

const AS_C: Kind = Kind { language: Language::C, preprocessed: false, header: false };

fn is_assembly(source: &Source) -> bool {
    source.kind.language == Language::Assembly
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meaning;
    use crate::testing::{Shelf, args, job, line, meaning_with, reason};

    #[test]
    fn where_files_of_unlisted_names_go_is_said() {
        for (command, near) in [
            ("gcc -c a.c -g -gsplit-dwarf -dumpdir /off/", "/off/"),
            ("gcc -c a.c -save-temps -dumpbase /off/x.c", "/off/x.c"),
            ("gcc -c a.c -fdump-tree-optimized=/off/t", "/off/t"),
            ("gcc -c a.c -fopt-info-vec=/off/v", "/off/v"),
            ("gcc -c a.c --coverage -fprofile-note=/off/n", "/off/n"),
            ("gfortran -c a.f90 -J mod", "mod/"),
        ] {
            let job = job(command);
            assert_eq!((line(&job.written_near).as_str(), job.outputs_complete), (near, false), "{command}");
        }
        assert!(job("gcc -c a.c -fdump-tree-all -dumpbase x").written_near.is_empty());
        assert!(line(&job("gcc a.o -Wl,-o,/off/a").outputs).contains("/off/a"));
        assert!(line(&job("gcc a.o -Wl,--output=/off/a").outputs).contains("/off/a"));
    }

    #[test]
    fn the_kind_is_what_the_command_is_for() {
        for (command, kind) in [
            ("gcc -c a.c", JobKind::Compile),
            ("gcc -S a.cpp", JobKind::Compile),
            ("gcc -fsyntax-only a.m", JobKind::Compile),
            ("gfortran -c a.f90", JobKind::Compile),
            ("g++ a.hpp", JobKind::Compile),
            ("g++ -x c++-header a.hpp -o a.pch", JobKind::Compile),
            ("clang -emit-llvm -c a.c", JobKind::Compile),
            ("gcc -c a.S", JobKind::Assemble),
            ("gcc -x assembler -c a.c", JobKind::Assemble),
            ("gcc -E a.c -o a.i", JobKind::Preprocess),
            ("gcc -c -E a.c -o a.i", JobKind::Preprocess),
            ("gcc -M a.c -MF a.d", JobKind::Preprocess),
            ("cpp a.h a.i", JobKind::Preprocess),
            ("gcc a.c -o a", JobKind::Link),
            ("gcc a.o -o a", JobKind::Link),
            ("gcc -shared a.o -lm", JobKind::Link),
            ("cc -r a.o b.o -o c.o", JobKind::Link),
        ] {
            assert_eq!(job(command).kind, kind, "{command}");
        }
    }

    #[test]
    fn questions_stay_local() {
        for flag in ["--version", "-dumpmachine", "-print-search-dirs", "-print-file-name=x", "--help", "-###"] {
            assert_eq!(reason(&format!("gcc {flag}")), LocalReason::Probe(flag.into()));
            assert_eq!(reason(&format!("gcc -c a.c {flag}")), LocalReason::Probe(flag.into()));
        }
        assert_eq!(reason("gcc -v"), LocalReason::Probe(b"-v".to_vec()));
        assert_eq!(reason("clang --print-targets"), LocalReason::Probe(b"--print-targets".to_vec()));
        assert_eq!(reason("gcc -Q --help=target"), LocalReason::Probe(b"--help=target".to_vec()));
        assert_eq!(job("gcc -v -c a.c").kind, JobKind::Compile);
    }

    #[test]
    fn standard_streams_stay_local() {
        for command in
            ["gcc -c -", "gcc -x c - -o a", "gcc -c -x c /dev/stdin", "cpp", "gcc -include /dev/stdin -c a.c"]
        {
            assert_eq!(reason(command), LocalReason::ReadsStandardInput, "{command}");
        }
        for command in [
            "gcc -E a.c -o /dev/stdout",
            "gcc -M a.c -MF /dev/fd/1",
            "gcc -c a.c -o -",
            "clang a.c -o -",
            "gcc -S a.c -o /dev/stderr",
        ] {
            assert_eq!(reason(command), LocalReason::WritesStandardOutput, "{command}");
        }
    }

    #[test]
    fn a_link_that_asks_make_for_slots_stays_where_make_is() {
        assert_eq!(reason("gcc -flto=jobserver a.o -o a"), LocalReason::UsesJobserver);
        assert!(job("gcc -flto=jobserver -flto=auto a.o -o a").outputs_complete);
        assert!(job("gcc -flto=jobserver -c a.c").outputs_complete);
    }

    #[test]
    fn what_is_printed_travels_as_diagnostics_do() {
        for (command, kind) in [
            ("gcc -E a.c", JobKind::Preprocess),
            ("gcc -E a.c -o -", JobKind::Preprocess),
            ("gcc -P -E -dM a.c", JobKind::Preprocess),
            ("gcc -M a.c", JobKind::Preprocess),
            ("gcc -MM a.c -MF -", JobKind::Preprocess),
            ("cpp a.c", JobKind::Preprocess),
            ("cpp a.c -", JobKind::Preprocess),
            ("gcc -S a.c -o -", JobKind::Compile),
            ("clang -S -emit-llvm a.c -o -", JobKind::Compile),
        ] {
            let job = job(command);
            assert_eq!((job.kind, line(&job.outputs).as_str()), (kind, ""), "{command}");
            assert!(job.outputs_complete, "{command}");
        }
        let job = job("gcc -MD -MF - -c a.c");
        assert_eq!(line(&job.outputs), "a.o");
    }

    #[test]
    fn what_the_tool_will_complain_about_stays_local() {
        assert_eq!(reason("gcc"), LocalReason::NoInput);
        assert_eq!(reason("gcc -O2 -c"), LocalReason::NoInput);
        assert_eq!(reason("gcc -c a.o"), LocalReason::NoOperation);
        assert_eq!(reason("gcc -c a.c -o"), LocalReason::MissingValue(b"-o".to_vec()));
        assert_eq!(reason("gcc -c a.c b.c -o c.o"), LocalReason::OneOutputForMany);
        assert_eq!(reason("gcc -x klingon -c a.c"), LocalReason::UnknownLanguage(b"klingon".to_vec()));
        assert_eq!(reason("clang-cl /c a.c"), LocalReason::ToolNotDistributed("clang-cl".into()));
        assert_eq!(reason("lld-link /out:a.exe a.obj"), LocalReason::ToolNotDistributed("lld-link".into()));
    }

    #[test]
    fn an_option_of_no_table_stays_local_and_one_of_a_family_does_not() {
        assert_eq!(reason("gcc -c a.c --unheard-of"), LocalReason::UnknownOption(b"--unheard-of".to_vec()));
        assert_eq!(reason("gcc -c a.c -wrapper time,-v"), LocalReason::NotFollowed(b"-wrapper".to_vec()));
        assert_eq!(reason("gcc a.c -Wl,--unheard-of"), LocalReason::UnknownOption(b"--unheard-of".to_vec()));
        assert!(
            job("gcc -c a.c -fno-such-thing -Wbrand-new -mwhatever=3 -g3 -Ofast -pthread -std=gnu2y").outputs_complete
        );
    }

    #[test]
    fn everything_read_by_name_is_an_input() {
        let job = job("clang++ -include pre.h -imacros m.h -fplugin=./p.so -fprofile-use=prof -fmodule-file=M=m.pcm \
             -Xclang -include-pch -Xclang x.pch -ivfsoverlay v.yaml -fsanitize-ignorelist=ig.txt -c a.cpp -o a.o");

        assert_eq!(line(&job.inputs), "pre.h m.h ./p.so prof m.pcm v.yaml ig.txt a.cpp x.pch");
        assert!(job.outputs_complete);
    }

    #[test]
    fn a_link_reads_objects_scripts_and_what_the_linker_is_told() {
        let job =
            job("g++ a.o lib/b.a -T s.ld -Wl,--version-script=v.map,--dynamic-list,d.list -Xlinker --just-symbols \
             -Xlinker sym -Wl,-Map -Wl,out.map -Ldir -lfoo -Wl,-rpath,/x -o prog");

        assert_eq!(line(&job.inputs), "a.o lib/b.a s.ld v.map d.list sym");
        assert_eq!(line(&job.outputs), "prog out.map");
        assert_eq!(line(&job.dirs), "dir");
    }

    #[test]
    fn directories_are_noted_as_written() {
        let job = job("gcc -Iinc -I ../x -isystem /sys -iquote q -idirafter after --sysroot=/root -Btools -c a.c");

        assert_eq!(line(&job.dirs), "inc ../x /sys q after /root tools");
    }

    #[test]
    fn native_is_seen_wherever_it_hides() {
        assert!(job("gcc -march=native -c a.c").native);
        assert!(job("gcc a.o -Wl,-plugin-opt=mcpu=native -o a").native);
        assert!(job("clang -Xclang -target-cpu -Xclang native -c a.c").native);
        assert!(!job("gcc -march=x86-64 -c native.c").native);
        let shelf = Shelf::with([("flags", "-O2 -mtune=native")]);
        let Meaning::Job(job) = meaning_with("gcc -c a.c @flags", &shelf) else { panic!("a job") };
        assert!(job.native);
        let shelf =
            Shelf::with([("fast.specs", "*cc1_options:\n+ -march=native\n"), ("plain.specs", "*cc1:\n+ -O2\n")]);
        for (command, native) in [
            ("gcc -specs=fast.specs -c a.c", true),
            ("gcc --specs fast.specs -c a.c", true),
            ("gcc -specs=plain.specs -c a.c", false),
            ("gcc -specs=nosys.specs -c a.c", false),
        ] {
            let Meaning::Job(job) = meaning_with(command, &shelf) else { panic!("a job") };
            assert_eq!(job.native, native, "{command}");
        }
    }

    #[test]
    fn response_files_are_inputs_and_are_looked_into() {
        let shelf = Shelf::with([("outer", "-c @inner"), ("inner", "'a b.c'")]);
        let Meaning::Job(job) = meaning_with("gcc @outer -o x.o", &shelf) else { panic!("a job") };

        assert_eq!(job.inputs, ["outer", "inner", "a b.c"].map(|name| name.as_bytes().to_vec()));
        assert_eq!(job.outputs, args("x.o"));
        assert_eq!(reason("gcc @nowhere -c a.c"), LocalReason::ResponseFileUnreadable(b"nowhere".to_vec()));
    }

    #[test]
    fn what_build_systems_say_is_understood() {
        for command in [
            // CMake
            "/usr/bin/c++ -DNDEBUG -I/s/include -isystem /x -O3 -DNDEBUG -std=gnu++17 -fPIC -MD -MT a.o -MF a.o.d -o a.o -c /s/a.cpp",
            "/usr/bin/c++ -O3 -rdynamic CMakeFiles/x.dir/a.o -o x -Wl,-rpath,/b/lib: lib/liby.so.1 -lpthread -ldl",
            "/usr/bin/c++ -fPIC -O2 -shared -Wl,-soname,liby.so.1 -Wl,--no-undefined -Wl,-z,defs -o liby.so.1 a.o -Wl,--as-needed",
            "/usr/bin/ar qc liby.a a.o b.o",
            "/usr/bin/clang++ -Winvalid-pch -Xclang -emit-pch -Xclang -include -Xclang /b/cmake_pch.hxx -x c++-header -o p.pch -c p.cxx",
            "clang++ --target=aarch64-linux-gnu -stdlib=libc++ -fcolor-diagnostics -flto=thin -fuse-ld=lld -Wl,--thinlto-jobs=4 a.o -o a",
            "g++ -flto=auto -fno-fat-lto-objects -fdiagnostics-color=always -c a.cc -o a.o",
            // libtool, autotools
            "gcc -DHAVE_CONFIG_H -I. -I.. -g -O2 -MT x.lo -MD -MP -MF .deps/x.Tpo -c x.c -fPIC -DPIC -o .libs/x.o",
            "gcc -shared -fPIC -DPIC .libs/x.o -O2 -Wl,-soname -Wl,libx.so.0 -Wl,-version-script -Wl,x.ver -o .libs/libx.so.0.0.0",
            "gcc -static-libgcc -nostdlib crti.o a.o -Wl,--whole-archive b.a -Wl,--no-whole-archive -Wl,-retain-symbols-file -Wl,e.exp -o l",
            // Debian's and Linux's flags
            "gcc -g -O2 -ffile-prefix-map=/b=. -fstack-protector-strong -Wformat -Werror=format-security -Wdate-time -D_FORTIFY_SOURCE=2 -c a.c",
            "gcc -o a a.o -Wl,-z,relro -Wl,-z,now -Wl,-z -Wl,noexecstack -Wl,--build-id=sha1 -Wl,-O1 -Wl,--hash-style=gnu -Wl,--gc-sections",
            "gcc -Wp,-MMD,k/.a.o.d -nostdinc -I./inc -include ./kconfig.h -D__KERNEL__ -mcmodel=kernel -mno-sse --param=allow-store-data-races=0 -falign-jumps=1 -pg -DKBUILD_BASENAME='\"a\"' -c -o k/a.o k/a.c",
            "ld -m elf_x86_64 -z noexecstack -r -o k/b.o k/a.o --no-warn-rwx-segments -T k/module.lds",
            "ld -m elf_x86_64 --script=vmlinux.lds -o vmlinux --emit-relocs --discard-none --orphan-handling=error --start-group a.a --end-group -Bsymbolic",
            "gcc -D__ASSEMBLY__ -Wa,--divide -Wa,-gdwarf-4 -c -o k/e.o k/e.S",
            // what GCC's driver tells collect2
            "collect2 -plugin /l/liblto_plugin.so -plugin-opt=/l/lto-wrapper -plugin-opt=-pass-through=-lgcc --build-id --eh-frame-hdr -m elf_x86_64 --hash-style=gnu --as-needed -dynamic-linker /lib64/ld.so -pie -o a crt1.o -L/l -L/l/../.. a.o -lgcc --push-state --as-needed -lgcc_s --pop-state -lc crtn.o",
            "ld.lld --icf=all --gdb-index --threads=4 --no-rosegment --pack-dyn-relocs=relr -z keep-text-section-prefix -mllvm -x --lto-O2 a.o -o a",
            "mold --threads=2 --icf=safe --no-fork -z nodelete --print-icf-sections a.o -o a",
            "ld.gold --threads --thread-count 4 --detect-odr-violations --icf=all a.o -o a",
        ] {
            let meaning = meaning_with(command, &Shelf::default());
            assert!(matches!(meaning, Meaning::Job(_)), "{command}: {meaning:?}");
        }
    }

    #[test]
    fn a_database_that_grows_is_written_once() {
        assert!(!job("clang -MJ db.json -c a.c").repeatable);
        assert!(job("clang -c a.c").repeatable);
    }
}

//! Indistinguishable from the compiler: every command line of a matrix is run direct and through the launcher, one
//! after the other in the same path on a fresh copy, and all that can be seen must be equal: exit code or signal,
//! stdout, stderr, and every file's name, kind, mode and bytes. Each case also says where it must have run.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use e2e::cluster::Cluster;
use e2e::run::{Seen, run_with_input};
use e2e::tree::{self, Tree};

/// Where a case must have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Worker,
    Here,
}
use Where::{Here, Worker};

struct Case {
    name: &'static str,
    place: Where,
    argv: Vec<OsString>,
    input: &'static [u8],
    prepare: fn(&Path),
    umask: Option<u32>,
    env: Vec<(&'static str, &'static str)>,
}

fn case(name: &'static str, place: Where, words: &str) -> Case {
    let argv = words.split_ascii_whitespace().map(OsString::from).collect();
    Case { name, place, argv, input: b"", prepare: |_| {}, umask: None, env: Vec::new() }
}

impl Case {
    fn arg(mut self, bytes: &[u8]) -> Self {
        self.argv.push(OsString::from_vec(bytes.to_vec()));
        self
    }

    fn input(mut self, input: &'static [u8]) -> Self {
        self.input = input;
        self
    }

    fn prepare(mut self, prepare: fn(&Path)) -> Self {
        self.prepare = prepare;
        self
    }

    fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }
}

/// The sources that every case finds.
fn sources(dir: &Path) {
    let write = |name: &[u8], text: &str| {
        let path = dir.join(std::ffi::OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(b"a.c", "#include \"inc/h.h\"\nint a(void) { return H; }\n");
    write(b"b.c", "#include <stdio.h>\nint b(void) { return puts(\"b\"); }\n");
    write(b"main.c", "int a(void);\nint b(void);\nint main(void) { return a() + b(); }\n");
    write(b"warn.c", "int f(void) { int unused; return 0; }\n");
    write(b"bad.c", "int f( { return 0 }\nint g(void) { retrun 1; }\n");
    write(b"x.cpp", "#include <string>\nstd::string f(int n) { return std::string(n, 'x'); }\n");
    write(b"s.S", "#define V 7\n\t.globl s\ns:\tmov $V, %eax\n\tret\n\t.section .note.GNU-stack,\"\",@progbits\n");
    write(b"t.s", "\t.globl t\nt:\tret\n\t.section .note.GNU-stack,\"\",@progbits\n");
    write(b"inc/h.h", "#define H 42\n");
    write(b"sp ace/m n.c", "int m(void) { return 1; }\n");
    write(b"caf\xe9.c", "int cafe(void) { return 2; }\n");
    write(b"date.c", "const char *d = __DATE__ __TIME__ __FILE__;\n");
    write(b"args", "-O2 -DQ='\"q r\"' -c a.c\n");
    write(b"nested", "@args -o nested.o\n");
}

fn objects(dir: &Path) {
    let direct = std::process::Command::new("gcc").args(["-c", "a.c", "b.c", "main.c"]).current_dir(dir).status();
    assert!(direct.unwrap().success());
}

fn archive(dir: &Path) {
    objects(dir);
    let direct = std::process::Command::new("ar").args(["rcs", "lib.a", "a.o"]).current_dir(dir).status();
    assert!(direct.unwrap().success());
}

fn cases() -> Vec<Case> {
    let mut cases = compiles();
    cases.extend(odd_files());
    cases.extend(stays_here());
    cases.extend(links_and_archives());
    cases.extend(clang());
    cases
}

fn compiles() -> Vec<Case> {
    vec![
        case("plain -c", Worker, "gcc -c a.c"),
        case("-c -o", Worker, "gcc -c a.c -o out.o"),
        case("joined -o", Worker, "gcc -c a.c -oout.o"),
        case("c++", Worker, "g++ -O2 -g -c x.cpp -o x.o"),
        case("-S", Worker, "gcc -S a.c"),
        case("-S -o", Worker, "gcc -S a.c -o z.s"),
        case("-E -o", Worker, "gcc -E a.c -o a.i"),
        case("-MD", Worker, "gcc -MD -c a.c"),
        case("-MMD -MF", Worker, "gcc -MMD -MF deps/a.d -c a.c -o a.o")
            .prepare(|dir| std::fs::create_dir(dir.join("deps")).unwrap()),
        case("-MT -MP", Worker, "gcc -MD -MP -MT target.o -MF a.dep -c a.c -o a.o"),
        case("-MQ", Worker, "gcc -MD -MQ $x.o -c a.c -o a.o"),
        case("-Wp,-MD", Worker, "gcc -Wp,-MD,kernel.d -c a.c -o a.o"),
        case("-MM -MF", Worker, "gcc -MM -MF only.d a.c"),
        case("several sources", Worker, "gcc -c a.c b.c main.c"),
        case("several sources, one bad", Worker, "gcc -c a.c bad.c main.c"),
        case("several sources, warnings", Worker, "gcc -Wall -c warn.c a.c x.cpp"),
        case("several sources, one missing", Worker, "gcc -c a.c nope.c main.c"),
        case("several sources and -o", Here, "gcc -c a.c b.c -o both.o"),
        case("response file", Worker, "gcc @args"),
        case("nested response file", Worker, "gcc @nested"),
        case("missing response file", Here, "gcc -c @nowhere"),
        case("warning", Worker, "gcc -Wall -Wextra -c warn.c"),
        case("warning in c++", Worker, "g++ -Wall -c warn.c -o w.o"),
        case("error", Worker, "gcc -c bad.c"),
        case("error keeps the old object away", Worker, "gcc -c bad.c -o a.o").prepare(objects),
        case("colour asked for", Worker, "gcc -fdiagnostics-color=always -Wall -c warn.c"),
        case("json diagnostics", Worker, "gcc -fdiagnostics-format=json -Wall -c warn.c"),
        case("missing source", Worker, "gcc -c nope.c"),
        case("missing include", Worker, "gcc -include nope.h -c a.c"),
        case("-include by search path", Worker, "gcc -Iinc -include h.h -c b.c"),
        case("no such include directory", Worker, "gcc -Ino/such/dir -c a.c"),
        case("assembler with cpp", Worker, "gcc -c s.S -o s.o"),
        case("assembler", Worker, "gcc -c t.s"),
        case("bare as", Worker, "as t.s -o t2.o"),
        case("language given", Worker, "gcc -x c++ -c a.c -o ax.o"),
        case("precompiled header", Worker, "gcc -frandom-seed=1 inc/h.h -o inc/h.h.gch"),
        case("save-temps", Worker, "gcc -save-temps -c a.c -o out.o"),
        case("save-temps=obj", Worker, "gcc -save-temps=obj -c a.c -o inc/out.o"),
        case("split dwarf", Worker, "g++ -g -gsplit-dwarf -frandom-seed=x -c x.cpp -o x.o"),
        case("coverage", Worker, "gcc --coverage -frandom-seed=x -c a.c -o a.o"),
        case("stack usage", Worker, "gcc -fstack-usage -c a.c -o a.o"),
        case("lto", Worker, "gcc -flto -frandom-seed=x -c a.c -o a.o"),
        case("debug prefix", Worker, "gcc -g -fdebug-prefix-map=inc=INC -c a.c -o a.o"),
        case("-v says all it does", Worker, "gcc -w -fsyntax-only a.c"),
        case("source date epoch", Worker, "gcc -c date.c").env("SOURCE_DATE_EPOCH", "1000000000"),
        case("another language", Worker, "gcc -Wall -c warn.c").env("LC_ALL", "C"),
        case("umask", Worker, "gcc -c a.c -o a.o").umask(0o077),
        case("group-writable umask", Worker, "gcc a.c b.c main.c -o prog").umask(0o002),
        case("CPATH", Worker, "gcc -include h.h -c b.c").env("CPATH", "inc"),
    ]
}

fn odd_files() -> Vec<Case> {
    vec![
        case("spaces", Worker, "gcc -c").arg(b"sp ace/m n.c"),
        case("spaces in the output", Worker, "gcc -MD -c a.c -o").arg(b"sp ace/o o.o"),
        case("not utf-8", Worker, "gcc -c").arg(b"caf\xe9.c"),
        case("not utf-8 in a define", Worker, "gcc -c a.c").arg(b"-DX=\"\xff\xfe\""),
        case("empty argument", Worker, "gcc -c a.c").arg(b""),
        case("newline in a define", Worker, "gcc -c a.c").arg(b"-DX=1\n+2"),
        case("output is a directory", Here, "gcc -c a.c -o inc"),
        case("output directory missing", Here, "gcc -c a.c -o no/where/a.o"),
        case("output to /dev/null", Worker, "gcc -c a.c -o /dev/null"),
        case("output is a symbolic link to nothing", Here, "gcc -c a.c -o link.o")
            .prepare(|dir| symlink("real.o", dir.join("link.o")).unwrap()),
        case("output is a symbolic link", Worker, "gcc -c a.c -o link.o").prepare(|dir| {
            std::fs::write(dir.join("real.o"), "old").unwrap();
            symlink("real.o", dir.join("link.o")).unwrap();
        }),
        case("output has a second name", Worker, "gcc -c a.c -o one.o").prepare(|dir| {
            std::fs::write(dir.join("one.o"), "old").unwrap();
            std::fs::hard_link(dir.join("one.o"), dir.join("two.o")).unwrap();
        }),
        case("output is read-only", Worker, "gcc -c a.c -o ro.o").prepare(|dir| {
            std::fs::write(dir.join("ro.o"), "old").unwrap();
            std::fs::set_permissions(dir.join("ro.o"), std::fs::Permissions::from_mode(0o444)).unwrap();
        }),
    ]
}

fn stays_here() -> Vec<Case> {
    vec![
        case("no arguments", Here, "gcc"),
        case("version", Here, "gcc --version"),
        case("dumpmachine", Here, "gcc -dumpmachine"),
        case("print", Here, "gcc -print-file-name=libc.so"),
        case("###", Here, "gcc -### -c a.c"),
        case("verbose version", Here, "gcc -v"),
        case("-E", Worker, "gcc -E a.c"),
        case("-M", Worker, "gcc -M a.c"),
        case("-MM", Worker, "gcc -MM a.c"),
        case("-o -", Worker, "gcc -S a.c -o -"),
        case("source on stdin", Here, "gcc -x c - -c -o stdin.o").input(b"int stdin_source;\n"),
        case("source on stdin by name", Here, "gcc -x c /dev/stdin -c -o stdin.o").input(b"int stdin_source;\n"),
        case("preprocess stdin", Here, "gcc -E -x c -").input(b"#define X 1\nX\n"),
        case("native", Worker, "gcc -march=native -c a.c"),
        case("output elsewhere", Here, "gcc -c a.c -o /tmp/distccd-e2e-elsewhere.o"),
        case("unknown option", Here, "gcc --no-such-option -c a.c"),
        case("a configure step's probe", Here, "gcc -c conftest.c")
            .prepare(|dir| std::fs::write(dir.join("conftest.c"), "int main(void) { return 0; }\n").unwrap()),
        case("ar t", Here, "ar t lib.a").prepare(archive),
    ]
}

fn links_and_archives() -> Vec<Case> {
    vec![
        case("link", Worker, "gcc a.o b.o main.o -o prog").prepare(objects),
        case("compile and link", Worker, "gcc a.c b.c main.c -o prog"),
        case("compile and link to a.out", Worker, "gcc a.c b.c main.c"),
        case("shared library", Worker, "gcc -shared -fPIC a.c -Wl,-soname,liba.so.1 -o liba.so"),
        case("map file", Worker, "gcc a.o b.o main.o -Wl,-Map=prog.map -o prog").prepare(objects),
        case("undefined reference", Worker, "gcc a.o main.o -o prog").prepare(objects),
        case("libraries", Worker, "gcc main.o -L. -l:lib.a b.o -o prog").prepare(archive),
        case("relocatable", Worker, "ld -r a.o b.o -o ab.o").prepare(objects),
        case("static", Worker, "gcc -static a.o b.o main.o -o prog").prepare(objects),
        case("new archive", Worker, "ar rcs new.a a.o b.o").prepare(objects),
        case("archive update", Worker, "ar rcs lib.a b.o").prepare(archive),
        case("archive append", Worker, "ar q lib.a b.o a.o").prepare(archive),
        case("archive delete", Worker, "ar d lib.a a.o").prepare(archive),
        case("ranlib", Worker, "ranlib lib.a").prepare(archive),
        case("strip", Worker, "strip main.o").prepare(objects),
        case("objcopy", Worker, "objcopy --only-keep-debug a.o a.debug").prepare(objects),
    ]
}

fn clang() -> Vec<Case> {
    vec![
        case("clang -c", Worker, "clang -c a.c -o a.o"),
        case("clang warning", Worker, "clang -Wall -c warn.c"),
        case("clang error", Worker, "clang -c bad.c"),
        case("clang -MD", Worker, "clang -MD -MF a.d -c a.c -o a.o"),
        case("clang several", Worker, "clang -c a.c b.c"),
        case("clang lld", Worker, "clang -fuse-ld=lld a.o b.o main.o -o prog").prepare(objects),
    ]
}

/// Runs a case on a fresh copy of the sources, always in the same path.
fn observe(case: &Case, dir: &Path, mut command: std::process::Command) -> (Seen, Tree) {
    if dir.exists() {
        std::fs::remove_dir_all(dir).unwrap();
    }
    std::fs::create_dir(dir).unwrap();
    sources(dir);
    (case.prepare)(dir);
    command.current_dir(dir).envs(case.env.iter().copied());
    if let Some(mask) = case.umask {
        use std::os::unix::process::CommandExt;
        // SAFETY: umask(2) is async-signal-safe and touches nothing else.
        unsafe {
            command.pre_exec(move || {
                libc::umask(mask);
                Ok(())
            });
        }
    }
    let seen = run_with_input(&mut command, case.input);
    let mut tree = tree::read(dir);
    // A precompiled header is an image of the compiler's memory and differs between two direct runs (peers.md 3.9).
    for (name, node) in &mut tree {
        if let tree::Node::File { bytes, .. } = node
            && name.as_bytes().ends_with(b".gch")
        {
            bytes.0.clear();
        }
    }
    (seen, tree)
}

/// Temporary names are random even between two direct runs.
fn without_random_names(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(7).position(|window| window == b"/tmp/cc") {
        plain.extend_from_slice(&rest[..at + 7]);
        plain.extend_from_slice(b"XXXXXX");
        rest = rest.get(at + 13..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    plain
}

fn compare(case: &Case, cluster: &Cluster, dir: &Path) -> Vec<String> {
    let mut direct_command = cluster.command(PathBuf::from(&case.argv[0]));
    direct_command.args(&case.argv[1..]);
    let (mut direct, direct_tree) = observe(case, dir, direct_command);
    let _ = cluster.take_notes();
    let mut launched_command = cluster.launcher(dir);
    launched_command.arg("--").args(&case.argv);
    let (mut launched, launched_tree) = observe(case, dir, launched_command);

    let mut problems = tree::differences(&direct_tree, &launched_tree);
    for seen in [&mut direct, &mut launched] {
        seen.stderr = without_random_names(&seen.stderr);
    }
    if direct != launched {
        problems.push(format!("direct: {direct:?}\nlaunched: {launched:?}"));
    }
    let notes = cluster.take_notes();
    let place = if notes.contains("ran on ") && !notes.contains("not at the cluster") { Worker } else { Here };
    if place != case.place {
        problems.push(format!("ran {place:?}, should have run {:?}; notes:\n{notes}", case.place));
    }
    problems
}

/// Both runs have a terminal as their standard error, as under a shell; util-linux's `script` makes it.
#[test]
fn on_a_terminal_the_compiler_colours_what_it_says_as_it_does_directly() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("tree");
    sources(&dir);
    let on_terminal = |prefix: &str, compiler: &str| {
        let call = format!(
            "stty cols 60 rows 20; {prefix} {compiler} -Wall -Wextra -c warn.c bad.c -o /dev/null; {prefix} {compiler} -Wall -c warn.c"
        );
        let mut command = std::process::Command::new("script");
        command.args(["--quiet", "--return", "--command", &call, "/dev/null"]).current_dir(&dir).env_clear();
        let launcher = cluster.launcher(&dir);
        command
            .envs(launcher.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("TERM", "xterm-256color");
        run_with_input(&mut command, b"")
    };

    for compiler in ["gcc", "clang"] {
        let direct = on_terminal("", compiler);
        let launched = on_terminal(&format!("{} --", e2e::binaries::path("cc-launcher").display()), compiler);

        assert!(direct.out().contains("\x1b["), "{direct:?}");
        assert_eq!(direct, launched);
        assert!(cluster.take_notes().contains("ran on ash"));
    }
}

#[test]
fn every_command_line_looks_the_same_through_the_launcher() {
    let cluster = Cluster::start(&[("ash", 2)]);
    let dir = cluster.mount().join("tree");
    let cases = cases();
    let mut differ = 0;
    for case in &cases {
        let problems = compare(case, &cluster, &dir);
        if !problems.is_empty() {
            differ += 1;
            println!("== {}: {:?}\n{}\n", case.name, case.argv, problems.join("\n"));
        }
    }
    println!("{} cases, {differ} differ", cases.len());
    assert_eq!(differ, 0, "see above");
}

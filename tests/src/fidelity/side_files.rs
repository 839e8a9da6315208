//! What a compiler writes besides its output.

use super::case::{Case, Worker, case};
use super::material::OBJECTS;

/// Trains a program of `main.c`, `a.c` and `b.c`; its profile lies in `dir`.
const PROFILE: &str =
    "gcc -O2 -fprofile-generate -fprofile-update=single a.c b.c main.c -o trained; ./trained >/dev/null || true";

pub(super) fn cases() -> Vec<Case> {
    [temporaries(), split_debug(), coverage(), profiles(), dumps(), listings()].concat()
}

fn temporaries() -> Vec<Case> {
    vec![
        case("save-temps", Worker, "gcc -save-temps -c a.c -o out.o"),
        case("save-temps=obj", Worker, "gcc -save-temps=obj -c a.c -o inc/out.o"),
        case("save-temps=cwd", Worker, "gcc -save-temps=cwd -c a.c -o inc/out.o"),
        case("save-temps of a link", Worker, "gcc -save-temps a.c b.c main.c -o prog"),
        case("save-temps=obj of a link", Worker, "gcc -save-temps=obj a.c b.c main.c -o inc/prog"),
        case("save-temps of C++", Worker, "g++ -save-temps -c x.cpp"),
        case("save-temps of assembly", Worker, "gcc -save-temps -c s.S"),
        case("clang save-temps", Worker, "clang -save-temps -c a.c -o out.o"),
        case("clang save-temps=obj", Worker, "clang -save-temps=obj -c a.c -o inc/out.o"),
    ]
}

fn split_debug() -> Vec<Case> {
    vec![
        case("split dwarf", Worker, "g++ -g -gsplit-dwarf -frandom-seed=x -c x.cpp -o x.o"),
        case("split dwarf, default name", Worker, "gcc -g -gsplit-dwarf -c a.c"),
        case("split dwarf of a link", Worker, "gcc -g -gsplit-dwarf a.c b.c main.c -o prog"),
        case("split dwarf 4", Worker, "gcc -g -gdwarf-4 -gsplit-dwarf -c a.c -o inc/a.o"),
        case("clang split dwarf", Worker, "clang -g -gsplit-dwarf -c a.c -o inc/a.o"),
        case("clang split dwarf in one", Worker, "clang -g -gsplit-dwarf=single -c a.c -o a.o"),
        case("dwp", Worker, "dwp -e prog -o prog.dwp").setup("gcc -g -gsplit-dwarf -gdwarf-4 a.c b.c main.c -o prog"),
        case("dwp of named files", Worker, "dwp -o two.dwp a.dwo b.dwo")
            .setup("gcc -g -gsplit-dwarf -gdwarf-4 -c a.c b.c"),
        case("llvm-dwp", Worker, "llvm-dwp a.dwo b.dwo -o two.dwp").setup("clang -g -gsplit-dwarf -c a.c b.c"),
        case("dwp of what is missing", Worker, "dwp -o none.dwp nope.dwo"),
    ]
}

fn coverage() -> Vec<Case> {
    vec![
        case("coverage", Worker, "gcc --coverage -frandom-seed=x -c a.c -o a.o"),
        case("-ftest-coverage alone", Worker, "gcc -ftest-coverage -frandom-seed=x -c a.c -o inc/a.o"),
        case("-fprofile-arcs", Worker, "gcc -fprofile-arcs -frandom-seed=x -c a.c -o a.o"),
        case("-fprofile-note", Worker, "gcc --coverage -fprofile-note=n.gcno -frandom-seed=x -c a.c -o a.o"),
        case(
            "coverage with prefix path",
            Worker,
            "gcc --coverage -fprofile-prefix-path={dir} -frandom-seed=x -c a.c -o a.o",
        ),
        case("coverage of a link", Worker, "gcc --coverage -frandom-seed=x a.c b.c main.c -o prog"),
        case("clang coverage", Worker, "clang --coverage -c a.c -o a.o"),
        case("clang source coverage", Worker, "clang -fprofile-instr-generate -fcoverage-mapping -c a.c -o a.o"),
    ]
}

fn profiles() -> Vec<Case> {
    vec![
        case("-fprofile-generate", Worker, "gcc -O2 -fprofile-generate -frandom-seed=x -c a.c -o a.o"),
        case("-fprofile-generate=dir", Worker, "gcc -O2 -fprofile-generate=inc -frandom-seed=x -c a.c -o a.o"),
        case("-fprofile-dir", Worker, "gcc -O2 -fprofile-dir={dir}/p -fprofile-generate -frandom-seed=x -c a.c -o a.o"),
        case("-fprofile-use", Worker, "gcc -O2 -fprofile-use -c a.c -o trained-a.o").setup(PROFILE),
        case("-fprofile-use=dir", Worker, "gcc -O2 -fprofile-use={dir}/p -c a.c -o a.o").setup(
            "gcc -O2 -fprofile-generate={dir}/p a.c b.c main.c -o trained; ./trained >/dev/null || true; test -d p",
        ),
        case("-fprofile-use=path", Worker, "gcc -O2 -fprofile-use=trained-a.gcda -c a.c -o a.o").setup(PROFILE),
        case("-fprofile-use of nothing", Worker, "gcc -O2 -fprofile-use -Wmissing-profile -c a.c -o a.o"),
        case(
            "-fprofile-use with correction",
            Worker,
            "gcc -O2 -fprofile-use -fprofile-correction -c b.c -o trained-b.o",
        )
        .setup(PROFILE),
        case("a profile of other code", Worker, "gcc -O2 -fprofile-use=trained-a.gcda -c loop.c -o trained-a.o")
            .setup(PROFILE),
        case("clang profile", Worker, "clang -O2 -fprofile-use=m.profdata -c a.c -o a.o")
            .setup("clang -O2 -fprofile-generate={dir}/raw a.c b.c main.c -o t; ./t >/dev/null || true")
            .setup("llvm-profdata merge raw/* -o m.profdata"),
        case("clang instrumented profile", Worker, "clang -O2 -fprofile-instr-use=m.profdata -c a.c -o a.o")
            .setup("clang -fprofile-instr-generate a.c b.c main.c -o t; ./t >/dev/null || true")
            .setup("llvm-profdata merge default.profraw -o m.profdata"),
    ]
}

fn dumps() -> Vec<Case> {
    let mut cases = vec![
        case("stack usage", Worker, "gcc -fstack-usage -c a.c -o a.o"),
        case("call graph", Worker, "gcc -fcallgraph-info=su,da -c b.c -o inc/b.o"),
        case("optimisation record", Worker, "gcc -O2 -fsave-optimization-record -c loop.c -o loop.o").varies(&[".gz"]),
        case("optimisations on standard error", Worker, "gcc -O3 -fopt-info-all -c loop.c -o loop.o"),
        case("optimisations in a file", Worker, "gcc -O3 -fopt-info-vec-all=vec.txt -c loop.c -o loop.o"),
        case("one dump in a file", Worker, "gcc -O2 -fdump-tree-optimized=opt.txt -c loop.c -o loop.o"),
        case("one dump on standard error", Worker, "gcc -O2 -fdump-tree-optimized=stderr -c loop.c -o loop.o"),
        case("one dump on standard output", Worker, "gcc -O2 -fdump-tree-original=stdout -c loop.c -o loop.o"),
        case("class hierarchy", Worker, "g++ -fdump-lang-class -c v.cpp")
            .varies(&[".class"])
            .setup("echo 'struct V { virtual ~V(); } v;' >v.cpp"),
        case("Go declarations", Worker, "gcc -fdump-go-spec=go.txt -c a.c -o a.o"),
        case("prototypes", Worker, "gcc -aux-info protos -c a.c -o a.o"),
        case("dumps of a link", Worker, "gcc -O2 -fdump-tree-optimized a.c b.c main.c -o prog"),
        case(
            "-dumpbase",
            Worker,
            "gcc -dumpbase base.c -dumpbase-ext .c -fdump-tree-original -save-temps -c a.c -o a.o",
        ),
        case("-dumpdir", Worker, "gcc -dumpdir inc/pre- -fdump-tree-original -c a.c -o a.o"),
        case("compare debug", Worker, "gcc -g -O2 -frandom-seed=1 -fcompare-debug -c loop.c -o loop.o"),
        case("clang time trace", Worker, "clang -ftime-trace -c a.c -o inc/a.o").varies(&[".json"]),
        case("clang optimisation record", Worker, "clang -O2 -fsave-optimization-record -c loop.c -o loop.o"),
        case(
            "clang optimisation record in a file",
            Worker,
            "clang -O2 -foptimization-record-file=r.yaml -c loop.c -o loop.o",
        ),
        case("clang serialised diagnostics", Worker, "clang -Wall --serialize-diagnostics w.dia -c warn.c -o w.o"),
        case("clang stack usage", Worker, "clang -fstack-usage -c a.c -o a.o"),
    ];
    for flag in [
        "-fdump-tree-all",
        "-fdump-ipa-all -fdump-noaddr",
        "-fdump-rtl-all",
        "-da",
        "-dr",
        "-dP",
        "-fdump-unnumbered -fdump-rtl-expand",
    ] {
        cases.push(case(flag, Worker, &format!("gcc -O2 {flag} -c loop.c -o loop.o")));
    }
    cases
}

fn listings() -> Vec<Case> {
    vec![
        case("listing on standard output", Worker, "gcc -Wa,-a -c a.c -o a.o"),
        case("listing in a file", Worker, "gcc -Wa,-a=a.lst -c a.c -o a.o"),
        case("listing of much in a file", Worker, "gcc -g -Wa,-adhlns=inc/a.lst -c a.c -o a.o"),
        case("listing of as", Worker, "as -al=t.lst t.s -o t.o"),
        case("listing of as on standard output", Worker, "as -aln t.s -o t.o"),
        case("listings of several", Worker, "gcc -Wa,-al -c a.c b.c"),
        case("map of a link", Worker, "gcc a.o b.o main.o -Wl,-Map=prog.map -o prog").setup(OBJECTS),
    ]
}

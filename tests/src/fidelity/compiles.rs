//! Compiles of C, C++ and assembly: flags of every kind, warnings and errors.

use super::case::{Case, PRINTED, Worker, case};
use super::material::OBJECTS;

pub(super) fn cases() -> Vec<Case> {
    [kinds(), flags(), search_paths(), diagnostics(), several(), preprocessing()].concat()
}

fn kinds() -> Vec<Case> {
    vec![
        case("plain -c", Worker, "gcc -c a.c"),
        case("-c -o", Worker, "gcc -c a.c -o out.o"),
        case("joined -o", Worker, "gcc -c a.c -oout.o"),
        case("-o first", Worker, "gcc -o out.o a.c -c"),
        case("c++", Worker, "g++ -O2 -g -c x.cpp -o x.o"),
        case("-S", Worker, "gcc -S a.c"),
        case("-S -o", Worker, "gcc -S a.c -o z.s"),
        case("-S to standard output", PRINTED, "gcc -S a.c -o -"),
        case("-S -fverbose-asm", Worker, "gcc -S -O2 -fverbose-asm loop.c -o z.s"),
        case("-fsyntax-only", Worker, "gcc -fsyntax-only a.c"),
        case("assembler with cpp", Worker, "gcc -c s.S -o s.o"),
        case("assembler", Worker, "gcc -c t.s"),
        case("assembler with debug info", Worker, "gcc -g -c t.s -o t.o"),
        case("bare as", Worker, "as t.s -o t2.o"),
        case("bare as, default output", Worker, "as t.s"),
        case("assembler error", Worker, "gcc -c t2.s").setup("printf ' nonsense %%eax\\n .foo\\n' >t2.s"),
        case(".incbin", Worker, "gcc -c i.S -o i.o").setup("printf '.globl i\\ni: .incbin \"a.c\"\\n' >i.S"),
        case(".incbin by -I", Worker, "gcc -Iinc -c i.S -o i.o").setup("printf '.incbin \"h.h\"\\n' >i.S"),
        case("preprocessed C", Worker, "gcc -c a.i").setup("gcc -E a.c -o a.i"),
        case("preprocessed C++", Worker, "g++ -c x.ii").setup("g++ -E x.cpp -o x.ii"),
        case("-fpreprocessed", Worker, "gcc -fpreprocessed -x c -c a.pre -o a.o").setup("gcc -E a.c -o a.pre"),
        case("-fdirectives-only", Worker, "gcc -fdirectives-only -c a.c"),
        case("language given", Worker, "gcc -x c++ -c a.c -o ax.o"),
        case("language given and taken back", Worker, "gcc -c -x c text -x none t.s").setup("cp a.c text"),
        case("suffix .C", Worker, "gcc -c x.C").setup("mv x.cpp x.C"),
        case("suffix .cc", Worker, "gcc -c x.cc").setup("mv x.cpp x.cc"),
        case("suffix .c++", Worker, "g++ -c x.c++").setup("mv x.cpp x.c++"),
        case("unity build", Worker, "g++ -c unity.cpp -o unity.o")
            .setup("printf '#include \"a.c\"\\n#include \"b.c\"\\n#include \"x.cpp\"\\n' >unity.cpp"),
        case("compile and link", Worker, "gcc a.c b.c main.c -o prog"),
        case("compile and link to a.out", Worker, "gcc a.c b.c main.c"),
        case("sources and objects", Worker, "gcc main.c a.o b.o -o prog").setup(OBJECTS),
    ]
}

fn flags() -> Vec<Case> {
    let mut cases = vec![
        case("response file", Worker, "gcc @args"),
        case("nested response file", Worker, "gcc @nested"),
        case("response file of 3000 flags", Worker, "gcc @many -c a.c")
            .setup("seq 3000 | sed 's/.*/-DM&=& -Idir&/' >many"),
        case("debug prefix", Worker, "gcc -g -fdebug-prefix-map=inc=INC -c a.c -o a.o"),
        case("file prefix", Worker, "gcc -g -ffile-prefix-map={dir}=/src -c {dir}/date.c -o d.o")
            .env("SOURCE_DATE_EPOCH", "1"),
        case("absolute source", Worker, "gcc -g -c {dir}/a.c -o {dir}/abs.o"),
        case("trigraphs", Worker, "gcc -trigraphs -Wall -c tri.c").setup("printf 'int a??(3??);\\n' >tri.c"),
        case("defines", Worker, "gcc -DX -DY=1 -D Z=2 -UX -c a.c"),
        case("records its switches", Worker, "gcc -frecord-gcc-switches -O2 -c a.c"),
        case("double dash", Worker, "gcc -c --output=dd.o --include=inc/h.h a.c"),
        case("-m32 of what needs no library", Worker, "gcc -m32 -c a.c -o a32.o"),
    ];
    for flags in [
        "-O3 -funroll-loops -ffast-math",
        "-Os -fno-inline",
        "-Og -g3",
        "-g -gdwarf-4",
        "-g -gz",
        "-fPIC -fvisibility=hidden",
        "-fPIE -fstack-protector-strong",
        "-pthread -D_REENTRANT",
        "-fopenmp -O2",
        "-std=c89 -pedantic",
        "-pipe",
        "-mavx2 -mtune=haswell",
        "-march=x86-64-v3",
        "-ffunction-sections -fdata-sections",
        "-Wa,--noexecstack",
        "-Xassembler -mrelax-relocations=no",
        "-finstrument-functions",
        "-fcf-protection=full -fstack-clash-protection",
    ] {
        cases.push(case(flags, Worker, &format!("gcc {flags} -c loop.c -o loop.o")));
    }
    for flags in ["-std=c++20 -fconcepts", "-fno-rtti -fno-exceptions", "-fvisibility-inlines-hidden -Wall -Wextra"] {
        cases.push(case(flags, Worker, &format!("g++ {flags} -c x.cpp -o x.o")));
    }
    cases
}

fn search_paths() -> Vec<Case> {
    vec![
        case("-include by search path", Worker, "gcc -Iinc -include h.h -c b.c"),
        case("-imacros", Worker, "gcc -imacros inc/h.h -DX=H -c b.c"),
        case("-isystem", Worker, "gcc -isystem inc -include h.h -c b.c"),
        case("-iquote and -idirafter", Worker, "gcc -iquote inc -idirafter inc -c a.c"),
        case("-iprefix", Worker, "gcc -iprefix {dir}/ -iwithprefix inc -include h.h -c b.c"),
        case("-nostdinc", Worker, "gcc -nostdinc -c b.c"),
        case("-nostdinc++", Worker, "g++ -nostdinc++ -c x.cpp"),
        case("-I-", Worker, "gcc -Iinc -I- -c a.c"),
        case("no such include directory", Worker, "gcc -Wmissing-include-dirs -Ino/such/dir -c a.c"),
        case("--sysroot on the mount", Worker, "gcc --sysroot={dir}/root -c sys.c")
            .setup("mkdir -p root/usr/include; echo '#define S 5' >root/usr/include/sys.h")
            .setup("printf '#include <sys.h>\\nint s = S;\\n' >sys.c"),
        case("-isysroot", Worker, "gcc -isysroot {dir}/root -c sys.c")
            .setup("mkdir -p root/usr/include; echo '#define S 6' >root/usr/include/sys.h")
            .setup("printf '#include <sys.h>\\nint s = S;\\n' >sys.c"),
        case("-B with a preprocessor's files", Worker, "gcc -B{dir}/inc/ -c a.c"),
        case("-B with an assembler of one's own", Worker, "gcc -Btools/ -c a.c").setup(
            "mkdir tools; printf '#!/bin/sh\\necho own as >&2\\nexec as \"$@\"\\n' >tools/as; chmod +x tools/as",
        ),
        case("include through a symbolic link", Worker, "gcc -Ilinked -include h.h -c b.c").setup("ln -s inc linked"),
        case("source through a symbolic link", Worker, "gcc -g -c linked.c").setup("ln -s a.c linked.c"),
        case("source in the parent", Worker, "gcc -g -c ../a.c -o a.o").below("inc"),
    ]
}

fn diagnostics() -> Vec<Case> {
    let mut cases = vec![
        case("warning", Worker, "gcc -Wall -Wextra -c warn.c"),
        case("warning in c++", Worker, "g++ -Wall -c warn.c -o w.o"),
        case("warning turned error", Worker, "gcc -Wall -Werror -c warn.c"),
        case("error", Worker, "gcc -c bad.c"),
        case("error in c++", Worker, "g++ -c bad.c"),
        case("error keeps the old object away", Worker, "gcc -c bad.c -o a.o").setup(OBJECTS),
        case("missing source", Worker, "gcc -c nope.c"),
        case("missing include", Worker, "gcc -include nope.h -c a.c"),
        case("#error", Worker, "gcc -c e.c").setup("echo '#error no way' >e.c"),
        case("#warning", Worker, "gcc -c e.c").setup("echo '#warning well' >e.c"),
        case("too many errors", Worker, "gcc -fmax-errors=3 -c e.c").setup("seq 9 | sed 's/.*/x&y;;/' >e.c"),
        case("error in a template", Worker, "g++ -c t.cpp")
            .setup("printf '#include <vector>\\nstruct N { N(N&) = delete; };\\nstd::vector<N> v(3, 7);\\n' >t.cpp"),
        case("static assertion", Worker, "g++ -c t.cpp")
            .setup("echo 'static_assert(1 == 2, \"caf\\xc3\\xa9\");' >t.cpp"),
        case("a message that is not UTF-8", Worker, "gcc -c l.c").setup("printf '#error caf\\351 \\377\\n' >l.c"),
        case("a header tree", Worker, "gcc -H -c b.c"),
        case("what it runs", Worker, "gcc -v -c a.c"),
        case("analyser", Worker, "gcc -fanalyzer -c an.c")
            .setup("printf '#include <stdlib.h>\\nint f(void) { int *p = malloc(4); return *p; }\\n' >an.c"),
        case("both streams in one", Worker, "gcc -Wall -Wextra -c warn.c bad.c").one_stream(),
    ];
    for flag in [
        "-fdiagnostics-color=always",
        "-fdiagnostics-format=json",
        "-fdiagnostics-parseable-fixits",
        "-fdiagnostics-generate-patch",
        "-fno-diagnostics-show-caret",
        "-fdiagnostics-urls=always",
        "-fdiagnostics-column-unit=byte",
        "-fmessage-length=40",
        "-Wfatal-errors",
        "-w",
    ] {
        cases.push(case(flag, Worker, &format!("gcc {flag} -Wall -c warn.c bad.c")));
    }
    cases
}

fn several() -> Vec<Case> {
    vec![
        case("several sources", Worker, "gcc -c a.c b.c main.c"),
        case("several sources, one bad", Worker, "gcc -c a.c bad.c main.c"),
        case("several sources, two bad", Worker, "gcc -c bad.c a.c bad.c"),
        case("several sources, warnings", Worker, "gcc -Wall -c warn.c a.c x.cpp"),
        case("several sources, one missing", Worker, "gcc -c a.c nope.c main.c"),
        case("several sources to assembly", Worker, "gcc -S -O2 a.c b.c main.c"),
        case("several languages", Worker, "gcc -c a.c x.cpp s.S t.s"),
        case("a hundred sources", Worker, "gcc -c @sources")
            .setup("for i in $(seq 100); do echo \"int f$i(void) { return $i; }\" >n$i.c; echo n$i.c; done >sources"),
    ]
}

fn preprocessing() -> Vec<Case> {
    let mut cases = vec![
        case("-E", PRINTED, "gcc -E a.c"),
        case("-E -o", Worker, "gcc -E a.c -o a.i"),
        case("-E of what fails", PRINTED, "gcc -E e.c").setup("printf 'int a;\\n#include \"nope.h\"\\nint b;\\n' >e.c"),
        case("-E of several", PRINTED, "gcc -E a.c b.c main.c"),
        case("-E with -MD", PRINTED, "gcc -E -MD -MF e.d a.c"),
        case("cpp to a file", Worker, "cpp a.c out.i"),
        case("cpp to standard output", PRINTED, "cpp a.c"),
        case("g++ -E -dM", PRINTED, "g++ -E -dM x.cpp"),
    ];
    for flags in ["-P", "-C", "-dD", "-dM", "-dU", "-dI", "-fdirectives-only", "-traditional-cpp", "-P -nostdinc"] {
        cases.push(case(&format!("-E {flags} -o"), Worker, &format!("gcc -E {flags} a.c -o a.i")));
    }
    cases
}

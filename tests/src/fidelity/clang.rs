//! Clang: its driver, its products, its diagnostics.

use super::case::{Case, Here, PRINTED, Why, Worker, case};
use super::material::OBJECTS;

pub(super) fn cases() -> Vec<Case> {
    [compiles(), products(), diagnostics(), front_end()].concat()
}

fn compiles() -> Vec<Case> {
    let mut cases = vec![
        case("-c", Worker, "clang -c a.c -o a.o"),
        case("versioned", Worker, "clang-14 -c a.c"),
        case("c++", Worker, "clang++ -O2 -g -c x.cpp -o x.o"),
        case("several", Worker, "clang -c a.c b.c"),
        case("several, one missing", Worker, "clang -c a.c nope.c b.c"),
        case("several, one bad", Worker, "clang -c a.c bad.c b.c"),
        case("compile and link", Worker, "clang a.c b.c main.c -o prog"),
        case("link", Worker, "clang a.o b.o main.o -o prog").setup(OBJECTS),
        case("what it runs", Worker, "clang -v -c a.c -o a.o"),
        case("-S to standard output", PRINTED, "clang -S a.c -o -"),
        case("-E", PRINTED, "clang -E a.c"),
        case("assembler", Worker, "clang -c s.S t.s"),
        case("without its own assembler", Worker, "clang -fno-integrated-as -c a.c -o a.o"),
        case("response file", Worker, "clang @args -o r.o"),
        case("configuration file", Here(Why::Unfollowed), "clang --config ./my.cfg -c a.c -o a.o")
            .setup("echo -O2 >my.cfg"),
        case("working directory", Here(Why::Unfollowed), "clang -working-directory inc -c ../a.c -o a.o"),
        case("debug compilation directory", Worker, "clang -g -fdebug-compilation-dir=/x -c a.c -o a.o"),
        case("another target", Worker, "clang --target=aarch64-linux-gnu -c a.c -o a.o"),
        case("sanitizers", Worker, "clang -fsanitize=address,undefined -c b.c -o b.o"),
        case("sanitizer's list", Worker, "clang -fsanitize=address -fsanitize-ignorelist=ig.txt -c b.c -o b.o")
            .setup("echo 'src:*' >ig.txt"),
        case("record of the command line", Worker, "clang -frecord-command-line -c a.c -o a.o"),
        case("frame of LLVM's options", Worker, "clang -mllvm -inline-threshold=1 -O2 -c loop.c -o loop.o"),
    ];
    for flags in [
        "-O3 -ffast-math",
        "-Oz",
        "-g -gz",
        "-fPIC -fvisibility=hidden",
        "-flto",
        "-flto=thin",
        "-fcoroutines-ts",
        "-gline-tables-only",
    ] {
        cases.push(case(flags, Worker, &format!("clang {flags} -c loop.c -o loop.o")));
    }
    cases
}

fn products() -> Vec<Case> {
    vec![
        case("bitcode", Worker, "clang -emit-llvm -c a.c"),
        case("LLVM's text", Worker, "clang -emit-llvm -S a.c"),
        case("of bitcode", Worker, "clang -c a.bc -o a.o").setup("clang -emit-llvm -c a.c"),
        case("of LLVM's text", Worker, "clang -c a.ll -o a.o").setup("clang -emit-llvm -S a.c"),
        case("syntax tree", Worker, "clang -emit-ast -c a.c").varies(&[".ast"]),
        case("analysis", Worker, "clang --analyze an.c")
            .setup("printf '#include <stdlib.h>\\nint f(void) { int *p = malloc(4); return *p; }\\n' >an.c")
            .varies(&[".plist"]),
        case("analysis as text", Worker, "clang --analyze --analyzer-output text an.c")
            .setup("printf 'int f(int n) { int *p = 0; if (n) return *p; return 1; }\\n' >an.c"),
        case("embedded bitcode", Worker, "clang -fembed-bitcode -c a.c -o a.o"),
        case("dump of the syntax tree", Worker, "clang -fsyntax-only -Xclang -ast-print a.c"),
        case("rewritten Objective-C", Worker, "clang -rewrite-objc r.m -o r.cpp")
            .setup("echo '@interface R @end' >r.m"),
    ]
}

fn diagnostics() -> Vec<Case> {
    let mut cases = vec![
        case("warning", Worker, "clang -Wall -c warn.c"),
        case("error", Worker, "clang -c bad.c"),
        case("missing source", Worker, "clang -c nope.c"),
        case("everything", Worker, "clang -Weverything -c b.c -o b.o"),
        case("unused argument", Worker, "clang -c a.c -o a.o -lm -shared"),
        case("unknown warning", Worker, "clang -Wno-such-warning -c a.c -o a.o"),
        case("unknown option", Here(Why::Refused), "clang --no-such-option -c a.c"),
        case("unknown -f option", Worker, "clang -fno-such-option -c a.c"),
    ];
    for flag in [
        "-fcolor-diagnostics",
        "-fdiagnostics-format=msvc",
        "-fno-caret-diagnostics",
        "-fdiagnostics-print-source-range-info",
        "-fdiagnostics-absolute-paths",
        "-ferror-limit=1",
        "-fdiagnostics-show-note-include-stack",
    ] {
        cases.push(case(flag, Worker, &format!("clang {flag} -Wall -c warn.c bad.c")));
    }
    cases
}

fn front_end() -> Vec<Case> {
    vec![
        case("-Xclang of a plain flag", Worker, "clang -Xclang -disable-O0-optnone -c a.c -o a.o"),
        case("-Xclang -load of what is missing", Worker, "clang -Xclang -load -Xclang ./nope.so -c a.c -o a.o"),
        case("-Xclang of an unknown flag", Worker, "clang -Xclang -no-such-flag -c a.c -o a.o"),
        case("-Xclang for a link", Worker, "clang -Xclang -disable-llvm-passes a.c b.c main.c -o prog"),
        case("overlay of files", Worker, "clang -ivfsoverlay v.yaml -Ivirtual -include v.h -c b.c -o b.o").setup(
            "echo \"{'version': 0, 'roots': [{'name': '$PWD/virtual', 'type': 'directory', 'contents': \
             [{'name': 'v.h', 'type': 'file', 'external-contents': '$PWD/inc/h.h'}]}]}\" >v.yaml",
        ),
        case("precompiled by -Xclang -emit-pch", Worker, "clang -x c-header inc/h.h -Xclang -emit-pch -o h.pch")
            .varies(&[".pch"]),
    ]
}

//! Dependency files.

use super::case::{Case, Here, PRINTED, Why, Worker, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("-MD", Worker, "gcc -MD -c a.c"),
        case("-MMD", Worker, "gcc -MMD -c b.c -o b.obj"),
        case("-MMD -MF", Worker, "gcc -MMD -MF deps/a.d -c a.c -o a.o").setup("mkdir deps"),
        case("-MT -MP", Worker, "gcc -MD -MP -MT target.o -MF a.dep -c a.c -o a.o"),
        case("-MQ", Worker, "gcc -MD -MQ $x.o -c a.c -o a.o"),
        case("-MG", Worker, "gcc -MM -MG -MF g.d g.c").setup("echo '#include \"generated.h\"' >g.c"),
        case("-Wp,-MD", Worker, "gcc -Wp,-MD,kernel.d -c a.c -o a.o"),
        case("-Wp,-MMD,-MT", Worker, "gcc -Wp,-MMD,.a.o.d -Wp,-MT,a.o -c a.c -o a.o"),
        case("-MM -MF", Worker, "gcc -MM -MF only.d a.c"),
        case("-M -MF -MT", Worker, "gcc -M -MF only.d -MT $(OBJ)/a.o a.c"),
        case("-M", PRINTED, "gcc -M a.c"),
        case("-MM", PRINTED, "gcc -MM a.c"),
        case("-MM of several", PRINTED, "gcc -MM a.c b.c x.cpp"),
        case("-MM -o", Worker, "gcc -MM a.c -o a.dep"),
        case("-MD of a link", Worker, "gcc -MD a.c b.c main.c -o prog"),
        case("-MD beside an output elsewhere", Worker, "gcc -MD -c a.c -o inc/a.o"),
        case("-MF of a directory that is missing", Here(Why::Special), "gcc -MD -MF no/such/a.d -c a.c -o a.o"),
        case("-MF to standard output", PRINTED, "gcc -MD -MF - -c a.c -o a.o"),
        case("-MF /dev/null", Worker, "gcc -MD -MF /dev/null -c a.c -o a.o"),
        case("-MD of what fails", Worker, "gcc -MD -c bad.c"),
        case("-MD with spaces", Worker, "gcc -MD -o sp.o -c").arg(b"sp ace/m n.c"),
        case("-MD of several", Worker, "gcc -MD -c a.c b.c"),
        case("assembler --MD", Worker, "as --MD t.d t.s -o t.o"),
        case("-Wa,--MD", Worker, "gcc -Wa,--MD,as.d -c t.s -o t.o"),
        case("clang -MD", Worker, "clang -MD -MF a.d -c a.c -o a.o"),
        case("clang -MMD -MP -MT", Worker, "clang -MMD -MP -MT x -c a.c -o a.o"),
        case("clang -MM", PRINTED, "clang -MM a.c"),
        case("clang -MJ", Worker, "clang -MJ a.json -c a.c -o a.o"),
        case("clang -MV", Worker, "clang -MD -MV -c a.c -o a.o"),
    ]
}

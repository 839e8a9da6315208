//! Commands that have nothing to do on another machine.

use super::case::{CONFIGURE, Case, Here, NATIVE, Why, case};
use super::material::{ARCHIVE, OBJECTS};

const QUESTION: super::Place = Here(Why::Question);
const ELSEWHERE: super::Place = Here(Why::Elsewhere);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("source on stdin", ELSEWHERE, "gcc -x c - -c -o stdin.o").input(b"int stdin_source;\n"),
        case("source on stdin by name", ELSEWHERE, "gcc -x c /dev/stdin -c -o stdin.o").input(b"int stdin_source;\n"),
        case("preprocess stdin", ELSEWHERE, "gcc -E -x c -").input(b"#define X 1\nX\n"),
        case("compile stdin to stdout", ELSEWHERE, "gcc -S -x c - -o -").input(b"int stdin_source;\n"),
        case("clang of stdin", ELSEWHERE, "clang -x c - -c -o stdin.o").input(b"int stdin_source;\n"),
        case("as of stdin", ELSEWHERE, "as -o stdin.o").input(b".globl x\nx: ret\n"),
        case("an archiver's script", ELSEWHERE, "ar -M").input(b"CREATE new.a\nADDMOD a.o\nSAVE\nEND\n").setup(OBJECTS),
        case("error on stdin", ELSEWHERE, "gcc -x c - -c -o stdin.o").input(b"int int;\n"),
        case("output elsewhere", ELSEWHERE, "gcc -c a.c -o {private}/a.o"),
        case("dependencies elsewhere", ELSEWHERE, "gcc -MD -MF {private}/a.d -c a.c -o a.o"),
        case("source elsewhere", ELSEWHERE, "gcc -g -c {private}/p.c -o p.o").setup("cp b.c {private}/p.c"),
        case("include directory elsewhere", ELSEWHERE, "gcc -I{private} -c a.c"),
        case("include elsewhere", ELSEWHERE, "gcc -include {private}/p.h -c a.c").setup("cp inc/h.h {private}/p.h"),
        case("link to elsewhere", ELSEWHERE, "gcc a.o b.o main.o -o {private}/prog").setup(OBJECTS),
        case("archive elsewhere", ELSEWHERE, "ar rcs {private}/lib.a a.o").setup(OBJECTS),
        case("library directory elsewhere", ELSEWHERE, "gcc a.o b.o main.o -L{private} -lp -o prog")
            .setup(OBJECTS)
            .setup("ar rcs {private}/libp.a a.o"),
        case("response file elsewhere", ELSEWHERE, "gcc @{private}/args").setup("cp args {private}/args"),
        case("source linked from elsewhere", ELSEWHERE, "gcc -c linked.c")
            .setup("cp b.c {private}/p.c; ln -s {private}/p.c linked.c"),
        case("output directory linked from elsewhere", ELSEWHERE, "gcc -c a.c -o linked/a.o")
            .setup("ln -s {private} linked"),
        case("CPATH elsewhere", ELSEWHERE, "gcc -c a.c").env("CPATH", "{private}"),
        case("profile elsewhere", ELSEWHERE, "gcc -O2 -fprofile-use={private} -c a.c"),
        case("plugin elsewhere", ELSEWHERE, "gcc -fplugin={private}/p.so -c a.c").setup("echo >{private}/p.so"),
        case("configure's trial", CONFIGURE, "gcc -c conftest.c").setup("cp a.c conftest.c"),
        case("configure's link", CONFIGURE, "gcc conftest.c -o conftest")
            .setup("echo 'int main(void) { return 0; }' >conftest.c"),
        case("native", NATIVE, "gcc -march=native -O2 -c loop.c"),
        case("tuned for this machine", NATIVE, "gcc -mtune=native -c loop.c"),
        case("native in a response file", NATIVE, "gcc @native -c loop.c").setup("echo -march=native >native"),
        case("clang native", NATIVE, "clang -march=native -O2 -c loop.c"),
        case("contents of an archive", Here(Why::Listing), "ar t lib.a").setup(ARCHIVE),
        // Without /Brepro the object bears the second in which it was made.
        case("clang-cl", Here(Why::Unfollowed), "./clang-cl /Brepro /c a.c")
            .setup("ln -s $(command -v clang-14) clang-cl"),
    ];
    for words in [
        "gcc",
        "gcc --version",
        "gcc -v",
        "gcc -dumpmachine",
        "gcc -dumpversion",
        "gcc -dumpspecs",
        "gcc -print-file-name=libc.so",
        "gcc -print-search-dirs",
        "gcc -print-multi-lib",
        "gcc --print-prog-name=ld",
        "gcc --help",
        "gcc --help=warnings",
        "gcc -Q --help=target -O2",
        "gcc -### -c a.c",
        "gcc -E -v",
        "g++ --version",
        "clang --version",
        "clang -### -c a.c -o a.o",
        "clang -print-resource-dir",
        "clang --print-targets",
        "cpp --version",
        "as --version",
        "ld --version",
        "ld -v",
        "ld --verbose",
        "ld.lld --version",
        "mold --version",
        "ar --version",
        "ar",
        "strip --version",
        "gcc --target-help",
    ] {
        cases.push(case(words, QUESTION, words));
    }
    cases
}

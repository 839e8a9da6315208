//! Archives and the rest of binutils: much of it writes into the file that it reads, and has to do so exactly once.

use super::case::{Case, Here, Why, Worker, case};
use super::material::{ARCHIVE, OBJECTS};

pub(super) fn cases() -> Vec<Case> {
    [fresh(), updates(), objects()].concat()
}

fn of_objects(name: &str, words: &str) -> Case {
    case(name, Worker, words).setup(OBJECTS)
}

fn of_archive(name: &str, words: &str) -> Case {
    case(name, Worker, words).setup(ARCHIVE)
}

fn fresh() -> Vec<Case> {
    vec![
        of_objects("new archive", "ar rcs new.a a.o b.o"),
        of_objects("new archive, with a message", "ar rs new.a a.o b.o"),
        of_objects("new archive, verbose", "ar rcsv new.a a.o b.o"),
        of_objects("without index", "ar rcS new.a a.o b.o"),
        of_objects("deterministic", "ar rcsD new.a a.o b.o"),
        of_objects("not deterministic", "ar rcSU new.a a.o b.o"),
        of_objects("thin", "ar rcsT thin.a a.o b.o"),
        of_objects("thin by its long name", "ar --thin -rcs thin.a a.o inc/b.o").setup("mv b.o inc"),
        of_objects("full paths", "ar rcsP new.a inc/a.o b.o").setup("mv a.o inc"),
        of_objects("two members of one name", "ar qcs new.a a.o inc/a.o").setup("cp b.o inc/a.o"),
        of_objects("by a response file", "ar rcs new.a @members").setup("echo a.o b.o >members"),
        of_objects("by a response file of thousands", "ar rcs new.a @members").setup(
            "mkdir o; seq -f o/m%g.o 3000 >members; xargs -n 700 sh -c 'tee \"$@\" <a.o >/dev/null' sh <members",
        ),
        of_objects("dash and letters", "ar -r -c -s new.a a.o b.o"),
        of_objects("gcc-ar", "gcc-ar rcs new.a a.o b.o"),
        case("gcc-ar of lto", Worker, "gcc-ar rcs new.a a.o b.o").setup("gcc -flto -c a.c b.c"),
        of_objects("llvm-ar", "llvm-ar rcs new.a a.o b.o"),
        case("llvm-ar of bitcode", Worker, "llvm-ar rcs new.a a.o b.o").setup("clang -flto -c a.c b.c"),
        of_objects("llvm-ar thin", "llvm-ar rcs --thin new.a a.o b.o"),
        of_objects("a member that is missing", "ar rcs new.a a.o nope.o"),
        of_objects("no members", "ar rc new.a"),
        of_objects("cross archiver", "aarch64-linux-gnu-ar rcs new.a a.o"),
    ]
}

fn updates() -> Vec<Case> {
    vec![
        of_archive("replace", "ar rcs lib.a b.o"),
        of_archive("replace what is newer", "ar ru lib.a a.o b.o"),
        of_archive("append", "ar q lib.a b.o a.o"),
        of_archive("append what is there", "ar qs lib.a a.o"),
        of_archive("delete", "ar d lib.a a.o"),
        of_archive("delete what is not there", "ar dv lib.a nope.o"),
        of_archive("delete the second of a name", "ar dN 2 lib.a a.o").setup("ar q lib.a a.o b.o"),
        of_archive("move", "ar m lib.a a.o").setup("ar q lib.a b.o main.o"),
        of_archive("move before", "ar mb a.o lib.a main.o").setup("ar q lib.a b.o main.o"),
        of_archive("insert after", "ar ra a.o lib.a b.o").setup("ar q lib.a main.o"),
        of_archive("index alone", "ar s lib.a").setup("ar rS lib.a b.o"),
        of_archive("extract", "ar x lib.a").setup("rm a.o"),
        of_archive("extract into a directory", "ar x lib.a --output inc"),
        of_archive("merge archives", "llvm-ar qLs all.a lib.a b.o"),
        of_archive("ranlib", "ranlib lib.a"),
        of_archive("ranlib -D", "ranlib -D lib.a"),
        of_archive("gcc-ranlib", "gcc-ranlib lib.a"),
        of_archive("llvm-ranlib", "llvm-ranlib lib.a"),
        of_archive("not an archive", "ar rcs junk.a a.o").setup("echo junk >junk.a"),
        of_archive("linked archive", "ar rcs linked.a b.o").setup("ln -s lib.a linked.a"),
        of_archive("archive with a second name", "ar rcs lib.a b.o").setup("ln lib.a second.a"),
        of_archive("read-only archive", "ar rcs lib.a b.o").setup("chmod 444 lib.a"),
        case("a member on standard output", Here(Why::Listing), "ar p lib.a a.o").setup(ARCHIVE),
        case("listed in full", Here(Why::Listing), "ar tv lib.a").setup(ARCHIVE),
    ]
}

fn objects() -> Vec<Case> {
    vec![
        of_objects("strip", "strip main.o"),
        of_objects("strip several", "strip a.o b.o main.o"),
        of_objects("strip to another file", "strip -g main.o -o stripped.o"),
        of_objects("strip unneeded", "strip --strip-unneeded --remove-section=.comment main.o"),
        of_objects("strip a program", "strip prog").setup("gcc a.o b.o main.o -o prog"),
        of_objects("strip keeping modes", "strip prog").setup("gcc a.o b.o main.o -o prog; chmod 4711 prog"),
        of_archive("strip an archive", "strip -g lib.a"),
        of_objects("strip junk", "strip junk.o").setup("echo junk >junk.o"),
        of_objects("strip what has a second name", "strip a.o").setup("ln a.o second.o"),
        of_objects("strip a linked file", "strip linked.o").setup("ln -s a.o linked.o"),
        of_objects("llvm-strip", "llvm-strip main.o"),
        of_objects("cross strip", "aarch64-linux-gnu-strip main.o"),
        of_objects("objcopy", "objcopy --only-keep-debug a.o a.debug"),
        of_objects("objcopy in place", "objcopy --prefix-symbols=p_ a.o"),
        of_objects("objcopy to binary", "objcopy -O binary -j .text a.o a.bin"),
        of_objects("objcopy a section", "objcopy --add-section .note=a.c --dump-section .text=text.bin a.o out.o"),
        of_objects("objcopy a debug link", "objcopy --add-gnu-debuglink=a.debug a.o")
            .setup("objcopy --only-keep-debug a.o a.debug"),
        of_objects("objcopy symbols", "objcopy --redefine-syms=syms a.o out.o").setup("echo a renamed >syms"),
        of_objects("objcopy split dwarf", "objcopy --extract-dwo a.o a.dwo"),
        of_objects("objcopy of binary data", "objcopy -I binary -O elf64-x86-64 a.c data.o"),
        of_objects("objcopy of nothing", "objcopy nope.o out.o"),
        of_objects("llvm-objcopy", "llvm-objcopy --strip-debug a.o out.o"),
    ]
}

//! Links: programs, libraries, linkers of every make, and what they write besides.

use super::case::{Case, Worker, case};
use super::material::{ARCHIVE, OBJECTS};

/// A version script and a library with two versions of a symbol's neighbours.
const VERSIONS: &str = "printf 'V1 { global: a; local: *; };\\n' >v.map";

pub(super) fn cases() -> Vec<Case> {
    [programs(), libraries(), maps(), linkers(), optimised(), failures()].concat()
}

fn linked(name: &str, words: &str) -> Case {
    case(name, Worker, words).setup(OBJECTS)
}

fn programs() -> Vec<Case> {
    vec![
        linked("link", "gcc a.o b.o main.o -o prog"),
        linked("link to a.out", "gcc a.o b.o main.o"),
        linked("static", "gcc -static a.o b.o main.o -o prog"),
        linked("static pie", "gcc -static-pie a.o b.o main.o -o prog").setup("gcc -fPIE -c a.c b.c main.c"),
        linked("no pie", "gcc -no-pie a.o b.o main.o -o prog"),
        linked("g++", "g++ a.o b.o main.o -o prog"),
        linked("stripped", "gcc -s a.o b.o main.o -o prog"),
        linked("-nostdlib", "gcc -nostdlib -Wl,-e,a a.o -o prog"),
        linked(
            "-rdynamic and rpath",
            "gcc -rdynamic -Wl,-rpath,$ORIGIN/../lib -Wl,--enable-new-dtags a.o b.o main.o -o prog",
        ),
        linked("gc sections", "gcc -Wl,--gc-sections -Wl,--print-gc-sections a.o b.o main.o -o prog"),
        linked("build id", "gcc -Wl,--build-id=sha1 a.o b.o main.o -o prog"),
        linked("defsym and wrap", "gcc -Wl,--defsym=zz=7 -Wl,--wrap=nothing a.o b.o main.o -o prog"),
        linked("-Xlinker", "gcc -Xlinker -z -Xlinker now -Xlinker -O1 a.o b.o main.o -o prog"),
        linked("trace", "gcc -Wl,--trace a.o b.o main.o -o prog"),
        linked("verbose", "gcc -Wl,--verbose a.o b.o main.o -o prog"),
        linked("all it runs", "gcc -v a.o b.o main.o -o prog"),
        linked("pthread and libraries", "gcc -pthread a.o b.o main.o -lm -ldl -lrt -o prog"),
        linked("response file of 3000 objects", "gcc @objects main.o a.o b.o -o prog")
            .setup("strip --strip-all -o empty.o a.o && objcopy -R .text empty.o; mkdir o; seq -f o/%g.o 3000 >objects")
            .setup("xargs -n 700 sh -c 'tee \"$@\" <empty.o >/dev/null' sh <objects"),
        linked("sanitized", "gcc -fsanitize=address,undefined a.c b.c main.c -o prog"),
        linked("openmp", "gcc -fopenmp a.o b.o main.o -o prog"),
        linked("a linker script", "gcc -nostdlib -Wl,-T,s.ld a.o -o prog")
            .setup("echo 'ENTRY(a) SECTIONS { . = 0x10000; .text : { *(.text) } }' >s.ld"),
        linked("-T", "gcc -nostdlib -T s.ld a.o -o prog")
            .setup("echo 'ENTRY(a) SECTIONS { . = 0x10000; .text : { *(.text) } }' >s.ld"),
        linked("just symbols", "gcc -Wl,--just-symbols=a.o b.o main.o -o prog")
            .setup("ld -e a a.o -o a.exe; mv a.exe a.o"),
    ]
}

fn libraries() -> Vec<Case> {
    vec![
        case("shared library", Worker, "gcc -shared -fPIC a.c -Wl,-soname,liba.so.1 -o liba.so"),
        case(
            "versioned library",
            Worker,
            "gcc -shared -fPIC a.c -Wl,-soname,liba.so.1 -Wl,--version-script=v.map -o liba.so.1.2.3",
        )
        .setup(VERSIONS),
        case("a version script with an error", Worker, "gcc -shared -fPIC a.c -Wl,--version-script=v.map -o liba.so")
            .setup("echo 'V1 { global' >v.map"),
        case("dynamic list", Worker, "gcc -fPIC -shared a.c -Wl,--dynamic-list=d.list -o liba.so")
            .setup("echo '{ a; };' >d.list"),
        case("library over a linked name", Worker, "gcc -shared -fPIC a.c -o liba.so")
            .setup("echo old >liba.so.1; ln -s liba.so.1 liba.so"),
        linked("program of a shared library", "gcc main.o b.o -L. -la -Wl,-rpath,{dir} -o prog")
            .setup("gcc -shared -fPIC a.c -o liba.so"),
        case("libraries", Worker, "gcc main.o -L. -l:lib.a b.o -o prog").setup(ARCHIVE),
        case("whole archive", Worker, "gcc main.o b.o -Wl,--whole-archive lib.a -Wl,--no-whole-archive -o prog")
            .setup(ARCHIVE),
        case("groups", Worker, "gcc main.o -Wl,--start-group lib.a b.o -Wl,--end-group -o prog").setup(ARCHIVE),
        linked("thin archive", "gcc main.o thin.a -o prog").setup("ar rcsT thin.a a.o b.o"),
        linked("import library", "gcc -shared -fPIC a.c -Wl,--out-implib=imp.a -o liba.so"),
        linked("relocatable", "ld -r a.o b.o -o ab.o"),
        linked("relocatable by the driver", "gcc -r a.o b.o -o ab.o"),
        linked("relocatable onto its input", "ld -r a.o b.o -o a.o"),
    ]
}

fn maps() -> Vec<Case> {
    vec![
        linked("map file", "gcc a.o b.o main.o -Wl,-Map,prog.map -o prog"),
        linked("map on standard output", "gcc a.o b.o main.o -Wl,--print-map -o prog"),
        linked("map to -", "gcc a.o b.o main.o -Wl,-Map=- -o prog"),
        linked("cross references", "gcc a.o b.o main.o -Wl,--cref -o prog"),
        linked("cross references in a map", "gcc a.o b.o main.o -Wl,--cref,-Map=prog.map -o prog"),
        linked("dependency file", "gcc a.o b.o main.o -Wl,--dependency-file=prog.d -o prog"),
        linked("bare ld with a dependency file", "ld -e a --dependency-file ab.d a.o -o ab"),
        linked("lld map", "clang -fuse-ld=lld a.o b.o main.o -Wl,-Map=prog.map -o prog"),
        linked("lld dependency file", "clang -fuse-ld=lld a.o b.o main.o -Wl,--dependency-file=prog.d -o prog"),
        linked("lld reproduce", "ld.lld -e a a.o --reproduce=r.tar -o prog").varies(&["r.tar"]),
        linked("mold map", "gcc -fuse-ld=mold a.o b.o main.o -Wl,-Map=prog.map -o prog"),
    ]
}

fn linkers() -> Vec<Case> {
    let mut cases = vec![
        linked("bare ld", "ld -e a a.o -o bare"),
        linked("bare ld to a.out", "ld -e a a.o"),
        linked("bare ld.bfd", "ld.bfd -shared a.o -o bare.so"),
        linked("bare gold", "ld.gold -e a a.o -o bare"),
        linked("bare lld", "ld.lld -e a a.o -o bare"),
        linked("bare mold", "mold -e a a.o -o bare"),
        linked("bare ld.mold -r", "ld.mold -r a.o b.o -o ab.o"),
        linked("ld.lld -r", "ld.lld -r a.o b.o -o ab.o"),
        linked("mold over an old program", "mold -e a a.o -o bare").setup("cp /bin/true bare"),
        linked("gold statistics of symbols", "ld.gold -e a a.o --print-symbol-counts=counts -o bare"),
        linked("ld by its path", "/usr/bin/ld -e a a.o -o bare"),
    ];
    for linker in ["bfd", "gold", "lld", "mold"] {
        cases.push(linked(&format!("gcc with {linker}"), &format!("gcc -fuse-ld={linker} a.o b.o main.o -o prog")));
        cases.push(linked(&format!("clang with {linker}"), &format!("clang -fuse-ld={linker} a.o b.o main.o -o prog")));
        cases.push(linked(&format!("undefined with {linker}"), &format!("gcc -fuse-ld={linker} a.o main.o -o prog")));
    }
    cases
}

fn optimised() -> Vec<Case> {
    vec![
        case("lto link", Worker, "gcc -flto -O2 a.o b.o main.o -o prog").setup("gcc -flto -O2 -c a.c b.c main.c"),
        case("lto of sources", Worker, "gcc -flto=2 -O2 -frandom-seed=1 a.c b.c main.c -o prog"),
        case("lto with fat objects", Worker, "gcc -flto -O2 a.o b.o main.o -o prog")
            .setup("gcc -flto -ffat-lto-objects -O2 -c a.c b.c main.c"),
        case("lto in one partition", Worker, "gcc -flto -flto-partition=one -O2 a.o b.o main.o -o prog")
            .setup("gcc -flto -O2 -c a.c b.c main.c"),
        case("lto of an archive", Worker, "gcc -flto main.o lib.a b.o -o prog")
            .setup("gcc -flto -c a.c b.c main.c; gcc-ar rcs lib.a a.o"),
        case("lto that fails", Worker, "gcc -flto a.o main.o -o prog").setup("gcc -flto -c a.c main.c"),
        case("lto relocatable", Worker, "gcc -flto -r -flinker-output=nolto-rel a.o b.o -o ab.o")
            .setup("gcc -flto -c a.c b.c"),
        case("clang lto link", Worker, "clang -flto -fuse-ld=lld a.o b.o main.o -o prog")
            .setup("clang -flto -c a.c b.c main.c"),
        case("thin lto link", Worker, "clang -flto=thin -fuse-ld=lld a.o b.o main.o -o prog")
            .setup("clang -flto=thin -c a.c b.c main.c"),
        case(
            "thin lto cache",
            Worker,
            "clang -flto=thin -fuse-ld=lld -Wl,--thinlto-cache-dir=cache a.o b.o main.o -o prog",
        )
        .setup("clang -flto=thin -c a.c b.c main.c")
        .varies(&["llvmcache.timestamp"]),
        case(
            "thin lto index only",
            Worker,
            "clang -flto=thin -fuse-ld=lld -Wl,--thinlto-index-only=index a.o b.o main.o -o prog",
        )
        .setup("clang -flto=thin -c a.c b.c main.c"),
    ]
}

fn failures() -> Vec<Case> {
    vec![
        linked("undefined reference", "gcc a.o main.o -o prog"),
        linked("undefined reference keeps the old program away", "gcc a.o main.o -o prog").setup("cp /bin/true prog"),
        linked("duplicate symbol", "gcc a.o a.o b.o main.o -o prog"),
        linked("no such library", "gcc a.o b.o main.o -lnowhere -o prog"),
        linked("no such object", "gcc nope.o main.o -o prog"),
        linked("not an object", "gcc junk.o main.o -o prog").setup("echo junk >junk.o"),
        linked("an empty object", "gcc empty.o main.o -o prog").setup(": >empty.o"),
        linked("truncated archive", "gcc main.o cut.a -o prog")
            .setup("ar rcs whole.a a.o b.o; head -c 700 whole.a >cut.a"),
        linked(
            "unresolved but allowed",
            "gcc -Wl,--unresolved-symbols=ignore-all -Wl,--warn-unresolved-symbols a.o main.o -o prog",
        ),
        linked("clang undefined reference", "clang a.o main.o -o prog"),
    ]
}

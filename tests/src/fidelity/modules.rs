//! Precompiled headers and C++ modules, made and used.

use super::case::{Case, Worker, case};

/// An image of the compiler's memory differs between two direct runs (peers.md 3.9).
const GCH: &[&str] = &[".gch"];
const PCH: &[&str] = &[".pch"];
const PCM: &[&str] = &[".pcm"];

pub(super) fn cases() -> Vec<Case> {
    [precompiled(), gcc_modules(), clang_modules()].concat()
}

fn precompiled() -> Vec<Case> {
    vec![
        case("precompiled header", Worker, "gcc -frandom-seed=1 inc/h.h -o inc/h.h.gch").varies(GCH),
        case("precompiled header, default name", Worker, "g++ -x c++-header inc/h.h").varies(GCH),
        case("precompiled header with -c", Worker, "gcc -c inc/h.h").varies(GCH),
        case("precompiled header with dependencies", Worker, "gcc -MD -MF h.d inc/h.h -o inc/h.h.gch").varies(GCH),
        case("precompiled header used", Worker, "gcc -H -c a.c -o a.o").setup("gcc inc/h.h -o inc/h.h.gch").varies(GCH),
        case("precompiled header by -include", Worker, "gcc -Winvalid-pch -H -include inc/h.h -c b.c")
            .setup("gcc inc/h.h -o inc/h.h.gch")
            .varies(GCH),
        case("precompiled header that does not fit", Worker, "gcc -O2 -g -Winvalid-pch -include inc/h.h -c b.c")
            .setup("gcc inc/h.h -o inc/h.h.gch")
            .varies(GCH),
        case("directory of precompiled headers", Worker, "gcc -H -include inc/h.h -c b.c")
            .setup("mkdir inc/h.h.gch; gcc inc/h.h -o inc/h.h.gch/c.gch; gcc -O2 inc/h.h -o inc/h.h.gch/o2.gch")
            .varies(GCH),
        case("precompiled header with an error", Worker, "gcc inc/e.h").setup("echo 'int int;' >inc/e.h").varies(GCH),
        case("clang precompiled header", Worker, "clang -x c-header inc/h.h -o h.pch").varies(PCH),
        case("clang precompiled header used", Worker, "clang -include-pch h.pch -c b.c -o b.o")
            .setup("clang -x c-header inc/h.h -o h.pch")
            .varies(PCH),
        case("clang precompiled header as .gch", Worker, "clang -include inc/h.h -c b.c -o b.o")
            .setup("clang -x c-header inc/h.h -o inc/h.h.gch")
            .varies(GCH),
        case("clang precompiled header too old", Worker, "clang -include-pch h.pch -c b.c -o b.o")
            .setup("clang -x c-header inc/h.h -o h.pch; echo '#define HH 2' >>inc/h.h")
            .varies(PCH),
        case(
            "clang precompiled header with an object",
            Worker,
            "clang -x c-header inc/h.h -o h.pch -fpch-instantiate-templates -Xclang -building-pch-with-obj",
        )
        .varies(PCH),
    ]
}

fn gcc_modules() -> Vec<Case> {
    const SOURCES: &str = "printf 'export module geo;\\nexport int twice(int i) { return 2 * i; }\\n' >geo.cc; \
         printf 'import geo;\\nint main() { return twice(0); }\\n' >use.cc; \
         printf 'module geo;\\nint thrice(int i) { return i + twice(i); }\\n' >impl.cc";
    const MADE: &str = "g++ -std=c++20 -fmodules-ts -c geo.cc";
    let with_module = |name: &str, words: &str| case(name, Worker, words).setup(SOURCES).varies(&[".gcm"]);
    vec![
        with_module("module interface", "g++ -std=c++20 -fmodules-ts -c geo.cc"),
        with_module("module used", "g++ -std=c++20 -fmodules-ts -c use.cc").setup(MADE),
        with_module("module implementation", "g++ -std=c++20 -fmodules-ts -c impl.cc").setup(MADE),
        with_module("module that is missing", "g++ -std=c++20 -fmodules-ts -c use.cc"),
        with_module("interface and user", "g++ -std=c++20 -fmodules-ts -c geo.cc use.cc"),
        with_module("program of modules", "g++ -std=c++20 -fmodules-ts geo.cc use.cc -o prog"),
        with_module("header unit", "g++ -std=c++20 -fmodules-ts -fmodule-header inc/h.h"),
        with_module("header unit of the system", "g++ -std=c++20 -fmodules-ts -x c++-system-header vector"),
        with_module("header unit used", "g++ -std=c++20 -fmodules-ts -c unit.cc")
            .setup("g++ -std=c++20 -fmodules-ts -fmodule-header inc/h.h; printf 'import \"inc/h.h\";\\nint h = H;\\n' >unit.cc"),
        with_module("module mapper's file", "g++ -std=c++20 -fmodules-ts -fmodule-mapper=map.txt -c geo.cc").setup("echo geo inc/geo.gcm >map.txt"),
        with_module("-Mmodules", "g++ -std=c++20 -fmodules-ts -MD -MF geo.d -c geo.cc -o geo.o"),
        with_module("only the interface", "g++ -std=c++20 -fmodules-ts -fmodule-only -c geo.cc"),
    ]
}

fn clang_modules() -> Vec<Case> {
    const SOURCES: &str = "printf 'export module geo;\\nexport int twice(int i) { return 2 * i; }\\n' >geo.cppm; \
         printf 'import geo;\\nint main() { return twice(0); }\\n' >use.cpp; \
         printf 'module geo { header \"h.h\" }\\n' >inc/module.modulemap";
    const MADE: &str = "clang++ -std=c++20 --precompile geo.cppm -o geo.pcm";
    let with_module = |name: &str, words: &str| case(name, Worker, words).setup(SOURCES).varies(PCM);
    vec![
        with_module("clang module interface", "clang++ -std=c++20 --precompile geo.cppm -o geo.pcm"),
        with_module("clang module interface, default name", "clang++ -std=c++20 --precompile geo.cppm"),
        with_module(
            "clang module by -Xclang",
            "clang++ -std=c++20 -Xclang -emit-module-interface -c geo.cppm -o geo.pcm",
        ),
        with_module("clang module to an object", "clang++ -std=c++20 -c geo.pcm -o geo.o").setup(MADE),
        with_module("clang module used", "clang++ -std=c++20 -fmodule-file=geo.pcm -c use.cpp -o use.o").setup(MADE),
        with_module(
            "clang module used by its name",
            "clang++ -std=c++20 -fmodule-file=geo=geo.pcm -c use.cpp -o use.o",
        )
        .setup(MADE),
        with_module("clang prebuilt modules", "clang++ -std=c++20 -fprebuilt-module-path=. -c use.cpp -o use.o")
            .setup(MADE),
        with_module("clang module that is missing", "clang++ -std=c++20 -c use.cpp -o use.o"),
        with_module(
            "clang implicit modules",
            "clang -fmodules -fmodules-cache-path=cache -fimplicit-module-maps -Iinc -c a.c -o a.o",
        )
        .varies(&[".pcm", ".timestamp", "modules.idx"]),
        with_module(
            "clang module map",
            "clang -fmodules -fmodules-cache-path=cache -fmodule-map-file=inc/module.modulemap -c a.c -o a.o",
        )
        .varies(&[".pcm", ".timestamp", "modules.idx"]),
    ]
}

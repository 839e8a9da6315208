//! What other distributed compilers refuse, keep local or silently do wrong: every row of peers.md 1.D and 1.E.
//!
//! Rows that say the same are one case, under the name of the first; what the other themes show at length is here once
//! more in the spelling of the refusal.

use super::case::{CONFIGURE, Case, Here, NATIVE, PRINTED, Place, Why, Worker, case};
use super::material::OBJECTS;

pub(super) fn cases() -> Vec<Case> {
    [distcc(), icecream(), sccache(), recc(), goma(), others(), holes()].concat()
}

fn rows(peer: &str, rows: &[(&str, Place)]) -> Vec<Case> {
    rows.iter().map(|(words, place)| case(&format!("{peer}: {words}"), *place, words)).collect()
}

fn distcc() -> Vec<Case> {
    let mut cases = rows(
        "distcc",
        &[
            ("gcc -E b.c", PRINTED),
            ("gcc -M b.c", PRINTED),
            ("gcc -MG -M b.c", PRINTED),
            ("gcc -march=native -c a.c -o a.o", NATIVE),
            ("gcc -mtune=native -c a.c -o a.o", NATIVE),
            ("gcc -mcpu=native -c a.c -o a.o", NATIVE),
            ("gcc -Wa,-a,-ad -c a.c -o a.o", Worker),
            ("gcc -Wa,-alh=a.lst,--MD,a.asd -c a.c -o a.o", Worker),
            ("gcc -fprofile-arcs -ftest-coverage -frandom-seed=1 -c a.c -o a.o", Worker),
            ("gcc --coverage -O2 -frandom-seed=1 -c b.c -o b.o", Worker),
            ("gcc -fprofile-generate=prof -frandom-seed=1 -c b.c -o b.o", Worker),
            ("gcc -fprofile-use=prof -c b.c -o b.o", Worker),
            ("gcc -fauto-profile -O2 -c b.c -o b.o", Worker),
            ("gcc -fauto-profile=inc/auto.afdo -O2 -c b.c -o b.o", Worker),
            ("gcc -fprofile-correction -c b.c -o b.o", Worker),
            ("g++ -frepo -c x.cpp -o x.o", Worker),
            ("gcc -drx -c a.c -o a.o", Worker),
            ("gcc -x assembler-with-cpp -c s.S -o s.o", Worker),
            ("gcc -x cpp-output -c loop.c -o loop.o", Worker),
            ("gcc -x f95 -c loop.c -o loop.o", Worker),
            ("gcc -c a.c b.c", Worker),
            ("gcc -c a.c other.o", Worker),
            ("gcc a.c", Worker),
            ("gcc -c", Here(Why::Question)),
            ("gcc -S a.c -o -", PRINTED),
            ("gcc -c conftest.c", CONFIGURE),
            ("gcc -c tmp.conftest.c", Worker),
            ("gcc -c t.s -o t.o", Worker),
            ("gcc -c s.S -o s2.o", Worker),
            ("gcc -fplugin=libcc1plugin -c a.c", Worker),
            ("gcc -fplugin=./nowhere.so -c b.c", Worker),
            ("gcc -specs=nowhere.specs -c a.c", Worker),
            ("tools/my-special-gcc -Wall -c warn.c", Here(Why::NotAllowed)),
        ],
    );
    for case in &mut cases {
        *case = case.clone().setup("cp a.c conftest.c; cp a.c tmp.conftest.c; mkdir tools prof; ln -s /usr/bin/gcc-12 tools/my-special-gcc; gcc -c a.c -o other.o");
    }
    cases
}

fn icecream() -> Vec<Case> {
    let mut cases = rows(
        "icecream",
        &[
            ("gcc -fdump-tree-all -c a.c -o a.o", Worker),
            ("gcc -combine -c a.c b.c", Here(Why::Unfollowed)),
            ("gcc -fsyntax-only warn.c", Worker),
            ("gcc -MD -MQ a b.c -c", Worker),
            ("gcc -B. -c a.c -o a.o", Worker),
            ("gcc -Binc/ -c a.c -o a.o", Worker),
            ("gcc -Wa,-adhl=a.lst -c a.c -o a.o", Worker),
            ("gcc -Wa,@asargs -c a.c -o a.o", Worker),
            ("gcc -Wa,missing.s -c a.c -o a.o", Worker),
            ("gcc -save-temps -c b.c -o b.o", Worker),
            ("gcc --save-temps -c b.c -o b.o", Worker),
            ("gcc -fbranch-probabilities -c b.c -o b.o", Worker),
            ("gcc -x go -c a.c", Here(Why::Missing)),
            ("gcc -fexec-charset=latin1 -c a.c -o a.o", Worker),
            ("gcc -fexec-charset=no-such-charset -c b.c -o b.o", Worker),
            ("gcc -fwide-exec-charset=UTF-16LE -c a.c -o a.o", Worker),
            ("gcc -finput-charset=latin1 -c caf.c -o a.o", Worker),
            ("clang -fsanitize=address -fsanitize-blacklist=nope.txt -c a.c", Worker),
            ("clang -fprofile-sample-use=nope.prof -O2 -c a.c", Worker),
            ("clang -fprofile-instr-use=nope.prof -O2 -c a.c", Worker),
            ("clang -Xclang -load -Xclang nope.so -c a.c", Worker),
            ("clang -Xclang -building-pch-with-obj -c a.c -o a.o", Worker),
            ("gcc -arch x86_64 -arch i386 -c a.c", Worker),
            ("clang -arch x86_64 -arch i386 -c a.c", Worker),
            ("gcc a.adb -c", Here(Why::Missing)),
            ("gcc -c a.unknown", Here(Why::Special)),
            ("gcc -c a.c -o /dev/full", Here(Why::Elsewhere)),
            ("gcc -c CMakeFiles/CMakeTmp/CheckFunctionExists.c", CONFIGURE),
            ("g++ -c big.cpp -o big.o", Worker),
            ("gcc -save-temps=obj -c a.c -o inc/a.o", Worker),
            ("gcc -Wall -fdiagnostics-show-caret -c warn.c bad.c nope.c", Worker),
        ],
    );
    for case in &mut cases {
        *case = case
            .clone()
            .setup("echo --noexecstack >asargs; printf 'char *s = \"caf\\351\";\\n' >caf.c; cp a.c a.unknown; echo 'procedure A is begin null; end A;' >a.adb")
            .setup("mkdir -p CMakeFiles/CMakeTmp; cp b.c CMakeFiles/CMakeTmp/CheckFunctionExists.c; printf '#include <map>\\n#include <string>\\nstd::map<std::string, int> m;\\n' >big.cpp");
    }
    cases.push(case("icecream: source on stdin", Here(Why::Elsewhere), "g++ -x c++ -c - -o s.o").input(b"int s;\n"));
    cases.push(
        case("icecream: output is a FIFO", Here(Why::Elsewhere), "gcc -S a.c -o fifo")
            .setup("mkfifo fifo")
            .drained("fifo"),
    );
    cases
}

fn sccache() -> Vec<Case> {
    let mut cases = rows(
        "sccache",
        &[
            ("gcc -save-temps=cwd -c a.c -o inc/a.o", Worker),
            ("gcc --save-temps=obj -c a.c -o inc/a.o", Worker),
            ("gcc -MM b.c -MF b.d", Worker),
            ("gcc -P -E a.c -o a.i", Worker),
            ("g++ -std=c++20 -fmodules-ts -c x.cpp", Worker),
            ("clang++ -fmodules -fcxx-modules -fmodules-cache-path=cache -c x.cpp", Worker),
            ("clang++ -fprebuilt-implicit-modules -fmodules -fmodules-cache-path=cache -c x.cpp", Worker),
            ("clang++ -std=c++20 -fprebuilt-module-path=inc -c x.cpp", Worker),
            ("gcc -fno-profile-generate -c a.c", Worker),
            ("gcc -fno-profile-use -c a.c", Worker),
            ("clang -fno-profile-instr-generate -fno-profile-instr-use -c a.c", Worker),
            ("clang -index-store-path inc -c a.c", Worker),
            ("gcc @quoted -c a.c", Worker),
            ("clang -Xclang -fno-pch-timestamp -c a.c", Worker),
            ("clang -Xclang -unheard-of -c a.c", Worker),
            ("gcc -x unheard-of -c a.c", Here(Why::Refused)),
            ("gcc -v -c a.c", Worker),
            ("clang --verbose -c a.c -o a.o", Worker),
            ("clang -x cuda -c a.c", Worker),
            ("clang -x cuda --cuda-host-only -nocudainc -nocudalib -c a.c -o a.o", Worker),
        ],
    );
    for case in &mut cases {
        *case = case.clone().setup("printf -- '-DQ=\"a b\" '\\''-DR=x y'\\''' >quoted").varies(&[
            ".pcm",
            ".gcm",
            ".timestamp",
            "modules.idx",
        ]);
    }
    cases
}

fn recc() -> Vec<Case> {
    let mut cases = rows(
        "recc",
        &[
            ("gcc -S b.c", Worker),
            ("gcc -fprofile-use -c b.c -o b.o", Worker),
            ("gcc -specs=my.specs -c b.c", Worker),
            ("gcc -mcpu=native -c b.c", NATIVE),
            ("gcc -c b.c -o {dir}/inc/absolute.o", Worker),
            ("ld --dependency-file=x.d -e a a.o -o x", Worker),
            ("ld --just-symbols=b.o -e a a.o -o x", Worker),
            ("ld -T s.ld a.o -o x", Worker),
            ("ld --script=s.ld a.o -o x", Worker),
            ("ld -dT s.ld -e a a.o -o x", Worker),
            ("ld --default-script=s.ld -e a a.o -o x", Worker),
            ("ld -Y /lib -e a a.o -o x", Worker),
            ("ld --dynamic-list=d.list -shared a.o -o x.so", Worker),
            ("ld -Map=x.map -e a a.o -o x", Worker),
            ("ld -M -e a a.o -o x", Worker),
            ("ld --error-handling-script=/bin/echo -e a main.o -o x", Worker),
            ("ld --out-implib=x.imp -e a a.o -o x", Worker),
            ("ld --retain-symbols-file=keep -e a a.o -o x", Worker),
            ("ld --sysroot=/ -e a a.o -o x", Here(Why::Elsewhere)),
            ("ld --version-script=v.map -shared a.o -o x.so", Worker),
            ("ld -a archive -e a a.o -o x", Worker),
        ],
    );
    for case in &mut cases {
        *case = case
            .clone()
            .setup(OBJECTS)
            .setup("echo 'ENTRY(a) SECTIONS { . = 0x10000; .text : { *(.text) } }' >s.ld; echo '{ a; };' >d.list")
            .setup("echo a >keep; echo '{ global: a; local: *; };' >v.map; printf '*cc1:\\n+ -O2\\n\\n' >my.specs");
    }
    cases
}

fn goma() -> Vec<Case> {
    vec![
        case("goma: no input", Here(Why::Question), "clang -c"),
        case("goma: wrapper", Here(Why::Unfollowed), "gcc -wrapper ./wrap,-x -c a.c")
            .setup("printf '#!/bin/sh\\necho \"$1\" >&2\\nshift\\nexec \"$@\"\\n' >wrap; chmod +x wrap"),
        case("goma: wrapper of the system", Here(Why::Unfollowed), "gcc -wrapper env,-u,NOTHING -c a.c"),
        case("goma: wrapper that is missing", Here(Why::Unfollowed), "gcc -wrapper ./nope -c a.c"),
        case("goma: wrapper that is killed", Here(Why::Unfollowed), "gcc -wrapper ./die -c a.c")
            .setup("printf '#!/bin/sh\\nkill -9 $$\\n' >die; chmod +x die"),
        case("goma: precompiled header", Worker, "clang++ -x c++-header inc/h.h -o h.pch").varies(&[".pch"]),
        case("goma: link", Worker, "clang a.c b.c main.c -lm -o prog"),
        case("goma: input is not regular", Here(Why::Elsewhere), "gcc -c /dev/null -x c -o n.o"),
        case("goma: input is nothing", Worker, "gcc -x c -c /dev/null -o n.o"),
        case("goma: -Wl,", Worker, "gcc -Wl,-z,relro,-z,now,--hash-style=gnu,-O1 a.c b.c main.c -o prog"),
    ]
}

fn others() -> Vec<Case> {
    let mut cases = rows("yadcc", &[("gcc -x c++ -c -o xx.o a.c", Worker), ("gcc -c tiny.c", Worker)]);
    cases.extend(rows("homcc", &[("gcc -S -specs=my.specs a.c", Worker), ("gcc -c a.c b.c loop.c", Worker)]));
    cases.extend(rows(
        "nocc",
        &[
            ("gcc -I- -c a.c", Worker),
            ("gcc -nostdinc -c a.c", Worker),
            ("g++ -nostdinc++ -c loop.c -o loop.o", Worker),
            ("gcc -iprefix inc/ -iwithprefixbefore . -c a.c", Worker),
            ("gcc -idirafterinc -include h.h -c b.c", Worker),
            ("gcc --sysroot=/ -c b.c", Here(Why::Elsewhere)),
            ("gcc -isysroot / -c b.c", Here(Why::Elsewhere)),
            ("gcc -MG -MD -c a.c", Worker),
            ("gcc -c a.c -o a.strange", Worker),
            ("gcc a.c lib.a main.c -o prog", Worker),
        ],
    ));
    cases.extend(rows(
        "FASTBuild",
        &[
            ("gcc -ftest-coverage -frandom-seed=1 -c a.c", Worker),
            ("gcc -c -w oc.m", Worker),
            ("gcc -x c-header inc/h.h -o h.gch", Worker),
        ],
    ));
    cases.extend(rows(
        "distccGo",
        &[
            ("gcc -c -O2 a.c", Worker),
            ("gcc a.c -O2 -c", Worker),
            ("gcc lib.a b.c main.c", Worker),
            ("gcc a.c b.c main.c", Worker),
        ],
    ));
    for case in &mut cases {
        *case = case
            .clone()
            .setup("echo 'int i;' >tiny.c; printf '*cc1:\\n+ -O2\\n\\n' >my.specs; echo '@interface O @end' >oc.m")
            .setup("gcc -c a.c b.c; ar rcs lib.a a.o b.o; rm a.o b.o")
            .varies(&[".gch"]);
    }
    cases
}

fn holes() -> Vec<Case> {
    let trained = "gcc -O2 -fprofile-generate a.c b.c main.c -o t; ./t >/dev/null || true";
    vec![
        case("hole: distcc loses .dwo", Worker, "gcc -g -gsplit-dwarf -c a.c -o inc/a.o"),
        case("hole: distcc's -mcpu=native", NATIVE, "gcc -mcpu=native -O2 -c loop.c -o loop.o"),
        case("hole: distcc's -save-temps vanish", Worker, "g++ -save-temps -c x.cpp -o x.o"),
        case("hole: icecream's -save-temps=obj", Worker, "g++ -save-temps=obj -c x.cpp -o inc/x.o"),
        case("hole: icecream's -fprofile-use=path", Worker, "gcc -O2 -fprofile-use=t-a.gcda -c a.c -o a.o")
            .setup(trained),
        case("hole: yadcc's native", NATIVE, "g++ -march=native -O2 -c x.cpp"),
        case("hole: yadcc's profiles", Worker, "gcc -O2 -fprofile-use -c b.c -o t-b.o").setup(trained),
        case("hole: yadcc's split dwarf", Worker, "g++ -g -gsplit-dwarf -frandom-seed=1 -c x.cpp -o inc/x.o"),
        case("hole: nocc's -mtune=native", NATIVE, "g++ -mtune=native -O2 -c x.cpp"),
        case("hole: nocc's profiles", Worker, "g++ -fprofile-generate -frandom-seed=1 -c x.cpp"),
        case("hole: FASTBuild's objects cut to 800 bytes", Worker, "g++ -g3 -O2 -c x.cpp -o big.o"),
        case("hole: distccGo drops warnings", Worker, "gcc -Wall -Wextra -Wconversion -c warn.c loop.c"),
        case("hole: distccGo's exit code 1", Worker, "./gcc -c a.c")
            .setup("printf '#!/bin/sh\\nexit 42\\n' >gcc; chmod +x gcc"),
        case("hole: distccGo's relative paths", Worker, "gcc -g -MD -c ../../a.c -I ../../inc -o ../o.o")
            .setup("mkdir -p one/two")
            .below("one/two"),
        case("hole: ccache's or sccache's own words", Worker, "gcc -fPIC -shared a.c -o liba.so -Wl,--no-undefined"),
    ]
}

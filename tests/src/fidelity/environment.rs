//! What surrounds a command: variables, modes, limits, directories, and the name that it is called by.

use super::case::{Case, Here, PRINTED, Place, Why, Worker, case};
use super::material::OBJECTS;

const KILLED: Place = Here(Why::Killed);

pub(super) fn cases() -> Vec<Case> {
    [variables(), directories(), limits(), names(), much()].concat()
}

fn variables() -> Vec<Case> {
    let mut cases = vec![
        case("SOURCE_DATE_EPOCH", Worker, "gcc -c date.c").env("SOURCE_DATE_EPOCH", "1000000000"),
        case("SOURCE_DATE_EPOCH that is none", Worker, "gcc -c date.c").env("SOURCE_DATE_EPOCH", "yesterday"),
        case("CPATH", Worker, "gcc -include h.h -c b.c").env("CPATH", "inc"),
        case("C_INCLUDE_PATH", Worker, "gcc -include h.h -c b.c").env("C_INCLUDE_PATH", "{dir}/inc"),
        case("CPLUS_INCLUDE_PATH", Worker, "g++ -include h.h -c x.cpp").env("CPLUS_INCLUDE_PATH", "{dir}/inc"),
        case("LIBRARY_PATH", Worker, "gcc main.o b.o -lmine -o prog").setup(OBJECTS).setup("ar rcs inc/libmine.a a.o").env("LIBRARY_PATH", "{dir}/inc"),
        case("COMPILER_PATH", Worker, "gcc -c a.c").env("COMPILER_PATH", "{dir}/tools")
            .setup("mkdir tools; printf '#!/bin/sh\\necho own as >&2\\nexec /usr/bin/as \"$@\"\\n' >tools/as; chmod +x tools/as"),
        case("LD_RUN_PATH", Worker, "gcc a.o b.o main.o -o prog").setup(OBJECTS).env("LD_RUN_PATH", "/opt/lib"),
        case("DEPENDENCIES_OUTPUT", Here(Why::AddsUp), "gcc -c a.c -o a.o").env("DEPENDENCIES_OUTPUT", "deps.d target.o"),
        case("SUNPRO_DEPENDENCIES", Here(Why::AddsUp), "gcc -c a.c -o a.o").env("SUNPRO_DEPENDENCIES", "sun.d target.o"),
        case("DEPENDENCIES_OUTPUT of several", Here(Why::AddsUp), "gcc -c a.c b.c").env("DEPENDENCIES_OUTPUT", "deps.d"),
        case("GCC_COLORS", Worker, "gcc -fdiagnostics-color=always -Wall -c warn.c").env("GCC_COLORS", "warning=01;36:locus=04"),
        case("COLUMNS", Worker, "clang -Wall -c warn.c").env("COLUMNS", "20"),
        case("COLUMNS of gcc", Worker, "gcc -Wall -fmessage-length=0 -c warn.c").env("COLUMNS", "20"),
        case("LD_PRELOAD", Here(Why::Elsewhere), "gcc -c a.c").env("LD_PRELOAD", "libm.so.6"),
        case("CCC_OVERRIDE_OPTIONS", Worker, "clang -c a.c -o a.o").env("CCC_OVERRIDE_OPTIONS", "+-Wall"),
        case("COLLECT_GCC_OPTIONS", Worker, "gcc a.o b.o main.o -o prog").setup(OBJECTS).env("COLLECT_GCC_OPTIONS", "-v"),
        case("COLLECT_NO_DEMANGLE", Worker, "g++ -fuse-ld=bfd y.cpp -o y").setup("echo 'void f(int); int main() { f(1); }' >y.cpp").env("COLLECT_NO_DEMANGLE", "1"),
        case("TMPDIR on the mount", Worker, "gcc -c a.c").env("TMPDIR", "{dir}/inc"),
        case("TMPDIR that is not there", Worker, "gcc -c a.c").env("TMPDIR", "{dir}/nowhere"),
        case("PATH with compilers of one's own", Worker, "gcc -c a.c").env("PATH", "{dir}/bin:/usr/bin:/bin")
            .setup("mkdir bin; ln -s /usr/bin/gcc-12 bin/gcc"),
        case("PATH without tools", Here(Why::Missing), "/usr/bin/gcc -c a.c").env("PATH", "/nonexistent"),
        case("GCC_EXEC_PREFIX", Worker, "gcc -c a.c").env("GCC_EXEC_PREFIX", "/usr/lib/gcc/"),
        case("EXPERIMENTAL variables", Worker, "gcc -c a.c").env("GCC_COMPARE_DEBUG", "-gtoggle"),
        case("TERM_URLS", Worker, "gcc -Wall -fdiagnostics-color=always -c warn.c").env("TERM_URLS", "st"),
        case("TZ", Worker, "gcc -c date.c").env("TZ", "Pacific/Auckland").env("SOURCE_DATE_EPOCH", "1"),
        case("ar with SOURCE_DATE_EPOCH", Worker, "ar rcs new.a a.o").setup(OBJECTS).env("SOURCE_DATE_EPOCH", "5"),
    ];
    for (name, value) in [
        ("LC_ALL", "C"),
        ("LC_ALL", "C.UTF-8"),
        ("LANG", "C"),
        ("LC_MESSAGES", "POSIX"),
        ("LANGUAGE", "de:fr"),
        ("LC_CTYPE", "no_SUCH"),
    ] {
        cases.push(case(&format!("{name}={value}"), Worker, "gcc -Wall -c warn.c bad.c").env(name, value));
    }
    cases
}

fn directories() -> Vec<Case> {
    vec![
        case("PWD is a symbolic link", Worker, "gcc -g -c ../a.c -o a.o").setup("ln -s inc linked").below("linked"),
        case("clang with a linked PWD", Worker, "clang -g -c ../a.c -o a.o").setup("ln -s inc linked").below("linked"),
        case("PWD is wrong", Worker, "gcc -g -c a.c").env("PWD", "/nonexistent"),
        case("PWD is empty", Worker, "gcc -g -c a.c").env("PWD", ""),
        case("PWD with dots", Worker, "gcc -g -c a.c").env("PWD", "{dir}/inc/.."),
        case("deep directory", Worker, "gcc -g -c a.c")
            .below("d/e/e/p")
            .setup("mkdir -p d/e/e/p; cp a.c d/e/e/p; cp -r inc d/e/e/p"),
        case("relative compiler", Worker, "tools/gcc -c a.c").setup("mkdir tools; ln -s /usr/bin/gcc-12 tools/gcc"),
        case("__FILE__ by another way", Worker, "gcc -c inc/../date.c -o d.o").env("SOURCE_DATE_EPOCH", "1"),
    ]
}

fn limits() -> Vec<Case> {
    let mut cases = vec![
        case("file size", Worker, "gcc -g3 -c x.cpp -o x.o").limit(libc::RLIMIT_FSIZE, 4096),
        case("file size of a link", Worker, "gcc a.o b.o main.o -o prog")
            .setup(OBJECTS)
            .limit(libc::RLIMIT_FSIZE, 4096),
        case("core files allowed", Worker, "gcc -c a.c").limit(libc::RLIMIT_CORE, 1 << 20),
        case("stack", Worker, "gcc -O2 -c loop.c").limit(libc::RLIMIT_STACK, 16 << 20),
        // Less than the compiler is large. Where it runs out later, it says this or that, by where its stack came to lie.
        case("memory", Worker, "g++ -O2 -c x.cpp -o x.o").limit(libc::RLIMIT_AS, 40 << 20),
        case("few descriptors", Worker, "gcc a.o b.o main.o -o prog").setup(OBJECTS).limit(libc::RLIMIT_NOFILE, 40),
    ];
    for mask in [0o000, 0o002, 0o077, 0o777] {
        cases.push(case(&format!("umask {mask:03o}"), Worker, "gcc -MD -c a.c -o a.o").umask(mask));
        cases.push(
            case(&format!("link under umask {mask:03o}"), Worker, "gcc a.o b.o main.o -o prog")
                .setup(OBJECTS)
                .umask(mask),
        );
    }
    cases.push(case("archive under umask 027", Worker, "ar rcs new.a a.o").setup(OBJECTS).umask(0o027));
    cases.push(
        case(
            "side files under umask 027",
            Worker,
            "gcc -g -gsplit-dwarf -save-temps --coverage -frandom-seed=1 -c a.c",
        )
        .umask(0o027),
    );
    cases
}

fn names() -> Vec<Case> {
    vec![
        case("absolute compiler", Worker, "/usr/bin/gcc -Wall -c bad.c"),
        case("a compiler by a long way", Worker, "/usr/bin/../bin/gcc -Wall -c bad.c"),
        case("a linked compiler", Here(Why::Unfollowed), "./mygcc -c bad.c").setup("ln -s /usr/bin/gcc mygcc"),
        case("a linked compiler of its own name", Worker, "./gcc -c bad.c").setup("ln -s /usr/bin/gcc gcc"),
        case("a wrapper script", Worker, "./gcc -c bad.c")
            .setup("printf '#!/bin/sh\\necho wrapped >&2\\nexec gcc -DW=1 \"$@\"\\n' >gcc; chmod +x gcc"),
        case("a wrapper that lists its arguments", Worker, "./gcc -c a.c")
            .arg(b"-DX=\"a b\"\t\n'")
            .setup("printf '#!/bin/sh\\nprintf \"<%%s>\\\\n\" \"$0\" \"$@\"\\nexit 7\\n' >gcc; chmod +x gcc"),
        case("clang in its directory", Worker, "/usr/lib/llvm-14/bin/clang -c bad.c"),
        case("cc of bad", Worker, "cc -Wall -c bad.c warn.c"),
        case("cpp -E of clang", PRINTED, "clang-cpp-14 a.c"),
    ]
}

/// Scripts in a compiler's place that end or print as compilers seldom do.
fn much() -> Vec<Case> {
    const SCRIPT: &str = "chmod +x gcc";
    let script = |name: &str, text: &str| {
        case(name, Worker, "./gcc -c a.c").setup(&format!("cat >gcc <<'END'\n#!/bin/sh\n{text}\nEND\n{SCRIPT}"))
    };
    vec![
        script("100 MB of output", "head -c 100000000 /dev/zero\nhead -c 3000000 /dev/zero | tr '\\0' e >&2"),
        script("output that is not UTF-8", "printf '\\377\\376\\000\\001'\nprintf '\\200\\r\\n\\033[31m' >&2"),
        script("killed by SIGKILL", "kill -KILL $$").at(KILLED),
        script("killed by SIGSEGV", "echo before; kill -SEGV $$"),
        script("killed by SIGTERM", "kill -TERM $$").at(KILLED),
        script("killed by SIGPIPE", "kill -PIPE $$"),
        script("killed by a real-time signal", "kill -40 $$"),
        script("exit code 2", "exit 2"),
        script("exit code 255", "exit 255"),
        script("output without an end of line", "printf out; printf err >&2; exit 1"),
        script("its limits", "ulimit -a; umask"),
        script("its variables", "env | grep -E '^(LANG|LC_|PWD|PATH|HOME|TZ|CPATH|SOURCE_DATE)' | sort"),
        script("its signals", "grep '^SigBlk' /proc/self/status"),
        script("its user", "id -u; id -g; pwd; pwd -P"),
        script("a file of its own", "mkdir -p made/here; echo x >made/here/x; ln -s x made/here/l; exit 3"),
        script("a file less", "rm b.c; mv main.c moved.c"),
        script("leaves a child behind", "sleep 0.2 >/dev/null 2>&1 &\nexit 5"),
    ]
}

//! Bad input: what the compiler itself would say, byte for byte.

use super::case::{Case, Here, Why, Worker, case};
use super::material::OBJECTS;

const REFUSED: super::Place = Here(Why::Refused);
/// The kernel refuses to start it, launcher or not.
const NEVER_STARTED: super::Place = Here(Why::Question);
const SPECIAL: super::Place = Here(Why::Special);

/// The longest single argument that the kernel takes is one byte shorter: `MAX_ARG_STRLEN` (execve(2)).
const TOO_LONG: usize = 128 << 10;

pub(super) fn cases() -> Vec<Case> {
    [response_files(), arguments(), inputs(), refusals()].concat()
}

fn response_files() -> Vec<Case> {
    vec![
        case("missing response file", SPECIAL, "gcc -c @nowhere"),
        case("recursive response file", SPECIAL, "gcc -c @loop").setup("echo @loop >loop"),
        case("response files in a circle", SPECIAL, "gcc -c a.c @one").setup("echo @two >one; echo @one >two"),
        case("unreadable response file", SPECIAL, "gcc -c @secret")
            .setup("cp args secret; chmod 000 secret")
            .by_nobody(),
        case("response file is a directory", SPECIAL, "gcc -c a.c @inc"),
        case("empty response file", Worker, "gcc -c a.c @empty").setup(": >empty"),
        case("response file with an open quote", Worker, "gcc -c a.c @open").setup("printf -- '-DX=\"open -DY' >open"),
        case("response file with a NUL", Worker, "gcc -c a.c @nul").setup("printf -- '-DX\\000 -DY' >nul"),
        case("response file without an end of line", Worker, "gcc @end").setup("printf -- '-c a.c -DX=\\\\' >end"),
        case("missing response file of ar", SPECIAL, "ar rcs new.a @nowhere").setup(OBJECTS),
        case("missing response file of clang", SPECIAL, "clang -c a.c @nowhere"),
        case("missing response file of ld", SPECIAL, "ld -e a a.o @nowhere").setup(OBJECTS),
        case("recursive response file of clang", SPECIAL, "clang -c a.c @loop").setup("echo @loop >loop"),
    ]
}

fn arguments() -> Vec<Case> {
    let long = |length: usize| [&b"-DX="[..], &b"1".repeat(length - 4)].concat();
    let mut many = case("arguments of almost 2 MB", Worker, "ar rcs new.a")
        .setup("mkdir -p o; for i in $(seq 9); do echo $i >o/$i; done");
    for number in 0..140 {
        // Each names one of nine small files by a long way.
        let way = "./".repeat(6000);
        many = many.arg(format!("{way}o/{}", number % 9 + 1).as_bytes());
    }
    let mut defines = case("arguments of almost 2 MB in small ones", Worker, "as t.s -o t.o");
    for number in 0..60_000 {
        defines = defines.arg(b"--defsym").arg(format!("s{number}=1").as_bytes());
    }
    let mut too_many = case("arguments of more than 2 MB", NEVER_STARTED, "ar rcs new.a");
    for _ in 0..200 {
        too_many = too_many.arg(&b"n".repeat(12_000));
    }
    vec![
        many,
        defines,
        too_many,
        case("the longest argument", Worker, "gcc -c a.c").arg(&long(TOO_LONG - 1)),
        case("an argument too long", NEVER_STARTED, "gcc -c a.c").arg(&long(TOO_LONG)),
        case("a long argument to cpp", Worker, "cpp a.c a.i").arg(&long(100_000)),
        case("the longest argument to clang", Worker, "clang -c a.c -o a.o").arg(&long(TOO_LONG - 1)),
        case("the longest argument to as", Worker, "as t.s -o t.o")
            .arg(&[&b"--defsym=x"[..], &b"y".repeat(1000), b"=1"].concat()),
    ]
}

fn inputs() -> Vec<Case> {
    vec![
        case("source is a directory", Worker, "gcc -c dir.c").setup("mkdir dir.c"),
        case("source is a FIFO", Here(Why::Elsewhere), "gcc -c fifo.c -o f.o").setup("mkfifo fifo.c").fed("fifo.c"),
        case("header is a directory", Worker, "gcc -include inc -c a.c"),
        case("object is a directory", Worker, "gcc a.o dir.o -o prog").setup(OBJECTS).setup("mkdir dir.o"),
        case("clang source is a directory", Worker, "clang -c dir.c").setup("mkdir dir.c"),
        case("source is empty", Worker, "gcc -c empty.c").setup(": >empty.c"),
        case("source is binary", Worker, "gcc -c bin.c").setup("head -c 2000 /bin/true >bin.c"),
        case("source without an end of line", Worker, "gcc -Wall -c cut.c").setup("printf 'int a' >cut.c"),
        case("source that includes itself", Worker, "gcc -c self.c").setup("echo '#include \"self.c\"' >self.c"),
        case("source of a megabyte in one line", Worker, "gcc -c line.c")
            .setup("(printf 'char s[] = \"'; head -c 1000000 /dev/zero | tr '\\0' x; echo '\";') >line.c"),
        case("an internal compiler error", Worker, "gcc -c -fno-such-debug-bug a.c"),
        case("output directory missing for several", SPECIAL, "gcc -MD -MF no/such/dir.d -c a.c b.c"),
        case("ld of a script that is none", Worker, "ld -T b.c a.o -o x").setup(OBJECTS),
    ]
}

fn refusals() -> Vec<Case> {
    vec![
        case("several sources and -o", REFUSED, "gcc -c a.c b.c -o both.o"),
        case("unknown option", REFUSED, "gcc --no-such-option -c a.c"),
        case("unknown -f option", Worker, "gcc -fno-such-option -c a.c"),
        case("unknown -W option", Worker, "gcc -Wno-such-warning -Wsuch-warning -c a.c"),
        case("unknown -m option", Worker, "gcc -mno-such-machine -c a.c"),
        case("unknown -std", Worker, "gcc -std=c3000 -c a.c"),
        case("-o without a value", REFUSED, "gcc -c a.c -o"),
        case("unknown language", REFUSED, "gcc -x klingon -c a.c"),
        case("-c of an object", SPECIAL, "gcc -c a.o").setup(OBJECTS),
        case("unknown option of as", REFUSED, "as --such-a-thing t.s"),
        case("unknown option of ld", REFUSED, "ld --such-a-thing a.o").setup(OBJECTS),
        case("unknown letter of ar", REFUSED, "ar rZ lib.a a.o").setup(OBJECTS),
        case("unknown option of strip", REFUSED, "strip --no-such-option a.o").setup(OBJECTS),
    ]
}

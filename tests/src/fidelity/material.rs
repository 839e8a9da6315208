//! The sources that every case finds in its fresh directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Makes `a.o`, `b.o` and `main.o`.
pub(super) const OBJECTS: &str = "gcc -c a.c b.c main.c";
/// Makes the objects, and `lib.a` of `a.o`.
pub(super) const ARCHIVE: &str = "gcc -c a.c b.c main.c && ar rcs lib.a a.o";

const FILES: &[(&[u8], &str)] = &[
    (b"a.c", "#include \"inc/h.h\"\nint a(void) { return H; }\n"),
    (b"b.c", "#include <stdio.h>\nint b(void) { return puts(\"b\"); }\n"),
    (b"main.c", "int a(void);\nint b(void);\nint main(void) { return a() + b(); }\n"),
    (b"warn.c", "int f(void) { int unused; return 0; }\n"),
    (b"bad.c", "int f( { return 0 }\nint g(void) { retrun 1; }\n"),
    (b"x.cpp", "#include <string>\nstd::string f(int n) { return std::string(n, 'x'); }\n"),
    (b"loop.c", "int sum(int *p, int n) { int s = 0; for (int i = 0; i < n; i++) s += p[i]; return s; }\n"),
    (b"s.S", "#define V 7\n\t.globl s\ns:\tmov $V, %eax\n\tret\n\t.section .note.GNU-stack,\"\",@progbits\n"),
    (b"t.s", "\t.globl t\nt:\tret\n\t.section .note.GNU-stack,\"\",@progbits\n"),
    (b"inc/h.h", "#define H 42\n"),
    (b"sp ace/m n.c", "int m(void) { return 1; }\n"),
    (b"caf\xe9.c", "int cafe(void) { return 2; }\n"),
    (b"date.c", "const char *d = __DATE__ __TIME__ __FILE__;\n"),
    (b"args", "-O2 -DQ='\"q r\"' -c a.c\n"),
    (b"nested", "@args -o nested.o\n"),
];

/// Writes them.
pub(super) fn write(dir: &Path) {
    for (name, text) in FILES {
        let path = dir.join(OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

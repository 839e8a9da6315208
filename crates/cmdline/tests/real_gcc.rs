//! The names foretold against the files that appear, with the GCC, assembler, linker and archiver of this machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot lay out its files has failed")]

mod place;

use place::{Place, foretells, job, words};

#[test]
fn compiling() {
    foretells(
        "compile",
        &[],
        &[
            "gcc -c a.c",
            "gcc -c dir/a.c",
            "gcc -c dir/a.c -o out/x.o",
            "gcc -S c.d.c",
            "gcc -c a.c b.c c.d.c",
            "g++ -c n.cc",
            "gcc -x c -c h.h -o out/h.o",
            "gcc -c q.s",
            "gcc -c r.S -o out/r.o",
            "gcc @args",
            "gcc --compile a.c --output=out/z.o",
            "gcc --output out/y.o a.c -c",
            "gcc -c p.i -MD",
            "gcc -fsyntax-only a.c",
            "gcc -fsyntax-only a.c -o x.o",
            "gcc -c h.h",
            "gcc dir/h.h",
            "gcc dir/h.h -o out/h.gch",
            "gcc -aux-info proto.X -c a.c",
            "gcc -c a.c -Wa,-al=list,--MD,asm.d",
            "gcc -c a.c -Wa,-al=list -Xassembler --MD -Xassembler asm.d",
            "gcc -E a.c -o out/a.i",
            "gcc -dM -E a.c -o macros",
            "cpp a.c out/a.i",
            "cpp -MD a.c -o out/a.i",
        ],
    );
}

#[test]
fn dependencies() {
    foretells(
        "depend",
        &[],
        &[
            "gcc -MD -c dir/a.c",
            "gcc -MD -c dir/a.c -o out/x.o",
            "gcc -MMD -c dir/a.c -o out/x.y.tmp",
            "gcc -MD -c dir/a.c -o out/x",
            "gcc -MD -MF out/q -c a.c",
            "gcc -Wp,-MD,out/dd -c a.c",
            "gcc -Wp,-MMD,out/dd -MD -c a.c",
            "gcc -c a.c -MMD -MF x.d -Wp,-MD,y.d",
            "gcc -c a.c -Xpreprocessor -MD -Xpreprocessor x.d",
            "gcc -MD -E a.c -o out/x.i",
            "gcc -M a.c -o out/x.d",
            "gcc -M a.c -MF out/x.d",
            "gcc -MM -MF q.d -o z.o -c a.c",
            "gcc -MD -MT t -MQ u -MP -c a.c b.c",
            "gcc -MD -S a.c -o out/a.s",
            "gcc -MD a.c",
            "gcc -MD a.c -o out/prog",
            "gcc -MD a.c -o out/prog.x",
            "gcc -MD a.c b.c -o out/prog",
            "gcc -MD a.c b.c",
            "gcc -MD dir/h.h -o out/k.gch",
            "gcc -fsyntax-only -MD dir/a.c",
            "gcc -c -MD q.s r.S",
        ],
    );
}

#[test]
fn side_files() {
    foretells(
        "side",
        &["gcc -c b.c -o zz.o"],
        &[
            "gcc -g -gsplit-dwarf -c dir/a.c",
            "gcc -g -gsplit-dwarf -c a.c -o out/y.z.o",
            "gcc -g -gsplit-dwarf a.c",
            "gcc -g -gsplit-dwarf a.c -o out/prog",
            "gcc -g -gsplit-dwarf a.c b.c -o out/prog.x",
            "gcc -g -gsplit-dwarf a.c b.c",
            "gcc -g -gsplit-dwarf a.c -lm -o out/a",
            "gcc -g -gsplit-dwarf a.c -o out/a.exe",
            "gcc -g -gsplit-dwarf a.c zz.o -o out/a",
            "gcc -g -gsplit-dwarf -shared -fPIC b.c",
            "gcc -g -gsplit-dwarf -shared -fPIC b.c -o out/b.so",
            "gcc -g -gsplit-dwarf -S a.c -o out/y.s",
            "gcc --coverage -c dir/a.c -o out/x.o",
            "gcc --coverage a.c b.c -o out/prog",
            "gcc --coverage -S a.c -o out/x.s",
            "gcc -fprofile-arcs -ftest-coverage -c a.c",
            "gcc -fstack-usage -fcallgraph-info -c a.c -o out/x.o",
            "gcc -fstack-usage dir/a.c -o out/prog",
            "gcc -fsave-optimization-record -O2 -c dir/a.c -o out/x.o",
            "gcc -gsplit-dwarf --coverage -fstack-usage -MD -c a.c b.c",
        ],
    );
}

#[test]
fn temporaries() {
    foretells(
        "temps",
        &[],
        &[
            "gcc -save-temps -c dir/a.c -o out/x.o",
            "gcc -save-temps=obj -c dir/a.c -o out/x.o",
            "gcc -save-temps=cwd -c dir/a.c -o out/x.o",
            "gcc -save-temps -c a.c b.c",
            "gcc -save-temps dir/a.c -o out/prog",
            "gcc -save-temps=cwd b.c a.c -o out/prog",
            "gcc -save-temps a.c",
            "gcc -save-temps -S a.c -o out/x.s",
            "gcc -save-temps -E a.c -o out/x.i",
            "g++ -save-temps -c n.cc",
            "gcc -save-temps -c p.i",
            "gcc -save-temps -c q.s -o out/q.o",
            "gcc -save-temps -c r.S",
        ],
    );
}

#[test]
fn linking() {
    foretells(
        "link",
        &["gcc -fPIC -c a.c b.c"],
        &[
            "gcc a.o b.o",
            "gcc a.o b.o -o out/prog -Wl,-Map,out/m.map,--dependency-file=out/dd",
            "gcc a.o -o out/prog -Xlinker -Map=m.map",
            "gcc -shared b.o -o out/libb.so.1 -Wl,-soname,libb.so.1 -Wl,--version-script=v.map",
            "gcc -r b.o -o out/r.o",
            "ld -r a.o b.o",
            "ld -r a.o b.o -o out/r.o -Map=out/m.map",
        ],
    );
}

#[test]
fn binutils() {
    foretells(
        "binutils",
        &["gcc -g -gdwarf-4 -gsplit-dwarf -c a.c b.c", "gcc a.o b.o -o prog", "ar rc old.a a.o"],
        &[
            "as q.s",
            "as q.s -o out/k.o -al=list --MD dd",
            "ar rcs out/l.a a.o b.o",
            "ar qc l.a a.o",
            "gcc-ar -rcs l.a a.o",
            "ar r old.a b.o",
            "ranlib old.a",
            "strip -o out/s prog",
            "strip prog",
            "objcopy --only-keep-debug prog prog.debug",
            "objcopy --dump-section .text=text a.o",
            "objcopy --add-gnu-debuglink=a.o prog out/p",
            "dwp -e prog",
            "dwp a.dwo b.dwo -o out/x.dwp",
        ],
    );
}

#[test]
fn units_make_what_the_whole_makes() {
    let command = "gcc -O2 -MD -gsplit-dwarf -fstack-usage -c a.c c.d.c b.c";
    let (whole, parts) = (Place::new("whole"), Place::new("parts"));

    assert!(whole.run(&words(command)));
    let job = job(&parts, command);
    for unit in &job.units {
        assert!(parts.run(&[vec![b"gcc".to_vec()], unit.args.clone()].concat()));
        assert!(parts.files().contains(std::str::from_utf8(&unit.output).unwrap()));
    }

    assert_eq!(job.units.len(), 3);
    assert_eq!(whole.files(), parts.files());
}

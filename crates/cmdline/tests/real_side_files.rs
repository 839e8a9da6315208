//! What a command writes beside its result, as far as flags of many tools ask for it: foretold by name, or admitted
//! not to be known. With the tools of this machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot lay out its files has failed")]

mod place;

use place::{admits, foretells, has};

#[test]
fn gcc_writes_what_is_foretold() {
    foretells(
        "side-gcc",
        &[],
        &[
            "gcc -fcallgraph-info=su,da -c a.c",
            "gcc -fprofile-dir=pp --coverage -c dir/a.c -o out/x.o",
            "gcc -fprofile-generate=pp -c a.c",
            "gcc -fstats -c a.c",
            "gcc -fmem-report -c a.c",
            "gcc -fdump-passes -c a.c",
            "gcc -fdump-go-spec=go -c a.c",
            "gcc -aux-info=proto -c a.c",
            "gcc -freport-bug -c a.c",
            "gcc -c a.c --write-dependencies",
            "gcc -c --write-user-dependencies a.c -o out/x.o",
            "gcc -Wa,-a=list,--MD,dd -c a.c",
            "gcc -Wa,-acdln=list -c a.c",
            "gcc -Wl,--cref -Wl,-Map,map a.c -o out/p",
            "gcc -Wl,-O,1 -Wl,--compress-debug-sections,zlib a.c -o out/p",
            "gcc -shared -fPIC -Wl,--out-implib,imp b.c -o out/b.so",
        ],
    );
}

#[test]
fn gcc_writes_more_than_is_known() {
    admits(
        "more-gcc",
        &[
            "gcc -fdump-tree-all -c a.c",
            "gcc -fdump-ipa-all -c a.c -o out/x.o",
            "gcc -O2 -fdump-final-insns -c a.c",
            "gcc -O2 -fdump-final-insns=insns -c a.c",
            "gcc -da -c a.c",
            "gcc -fprofile-note=notes.gcno --coverage -c a.c",
            "gcc -O2 -fopt-info-all=info -c a.c",
            "gcc -dumpdir out/ -save-temps -c a.c",
            "gcc -flto -save-temps a.c -o out/p",
            "g++ -fmodules-ts -x c++-header h.h",
        ],
    );
}

#[test]
fn gold_writes_what_is_foretold() {
    if !has("ld.gold") {
        return;
    }
    foretells(
        "side-gold",
        &[],
        &["gcc -fuse-ld=gold a.c -o out/p -Wl,-Map,map,--gdb-index,--icf,all -Wl,--print-symbol-counts,counts"],
    );
}

#[test]
fn mold_writes_what_is_foretold() {
    if !has("mold") {
        return;
    }
    foretells("side-mold", &["gcc -c a.c"], &["mold -m elf_x86_64 -r a.o -o out/a.o -Map=map"]);
}

#[test]
fn clang_writes_what_is_foretold() {
    if !has("clang") {
        return;
    }
    foretells(
        "side-clang",
        &[],
        &[
            "clang -MD -c dir/a.c -o out/x.y.o",
            "clang -MD -MF out/dd -c a.c",
            "clang -M a.c -MF out/dd",
            "clang -g -gsplit-dwarf -c dir/a.c -o out/x.o",
            "clang --coverage -c dir/a.c -o out/x.o",
            "clang -ftime-trace -c a.c -o out/x.o",
            "clang -fstack-usage -c a.c -o out/x.o",
            "clang -O2 -fsave-optimization-record -c a.c -o out/x.o",
            "clang -O2 -foptimization-record-file=out/record -c a.c -o out/x.o",
            "clang -save-temps -c dir/a.c -o out/x.o",
            "clang -save-temps=obj -c dir/a.c -o out/x.o",
            "clang -MJ database -c a.c",
            "clang --serialize-diagnostics notes.dia -c a.c",
            "clang -emit-llvm -c dir/a.c",
            "clang -emit-llvm -S a.c",
            "clang -emit-ast a.c",
            "clang -x c-header h.h -o out/h.pch",
        ],
    );
}

#[test]
fn clang_writes_more_than_is_known() {
    if !has("clang") {
        return;
    }
    admits(
        "more-clang",
        &[
            "clang -save-stats -c a.c -o out/x.o",
            "clang -fproc-stat-report=stats -c a.c",
            "clang --analyze -Xclang -analyzer-output=html -o out/report a.c",
        ],
    );
}

#[test]
fn lld_writes_what_is_foretold() {
    if !has("clang") || !has("ld.lld") {
        return;
    }
    foretells(
        "side-lld",
        &[],
        &[
            "clang -fuse-ld=lld a.c -o out/p -Wl,--reproduce=r.tar,--Map=map,--cref,--gdb-index",
            "clang -fuse-ld=lld a.c -o out/p -Wl,--print-archive-stats=stats,--why-extract=why,--dependency-file=dd",
        ],
    );
}

#[test]
fn lld_writes_more_than_is_known() {
    if !has("clang") || !has("ld.lld") {
        return;
    }
    admits(
        "more-lld",
        &[
            "clang -flto -fuse-ld=lld a.c -o out/p -Wl,--save-temps",
            "clang -flto=thin -fuse-ld=lld a.c -o out/p -Wl,--thinlto-index-only=index",
            "clang -flto -fuse-ld=lld a.c -o out/p -Wl,--lto-obj-path=lto.o",
            "clang -fuse-ld=lld a.c -o out/p -Wl,--time-trace",
            "clang -fuse-ld=lld a.c -o out/p -Wl,--time-trace,--time-trace-file=trace.json",
        ],
    );
}

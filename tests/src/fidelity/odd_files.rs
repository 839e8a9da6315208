//! Odd names, odd outputs, odd modes.

use super::case::{Case, Here, Why, Worker, case};
use super::material::OBJECTS;

const SPECIAL: super::Place = Here(Why::Special);

pub(super) fn cases() -> Vec<Case> {
    [names(), outputs(), shared_files(), permissions()].concat()
}

fn names() -> Vec<Case> {
    vec![
        case("spaces", Worker, "gcc -c").arg(b"sp ace/m n.c"),
        case("spaces in the output", Worker, "gcc -MD -c a.c -o").arg(b"sp ace/o o.o"),
        case("not utf-8", Worker, "gcc -c").arg(b"caf\xe9.c"),
        case("not utf-8 in an error", Worker, "gcc -c").arg(b"nope\xe9.c"),
        case("not utf-8 in a define", Worker, "gcc -c a.c").arg(b"-DX=\"\xff\xfe\""),
        case("empty argument", Worker, "gcc -c a.c").arg(b""),
        case("newline in a define", Worker, "gcc -c a.c").arg(b"-DX=1\n+2"),
        case("newline in a name", Worker, "gcc -MD -c").arg(b"new\nline.c").setup("cp a.c 'new\nline.c'"),
        case("quotes in a name", Worker, "gcc -g -MD -c").arg(b"q'u\"o$t\\e.c").setup("cp a.c 'q'\\''u\"o$t\\e.c'"),
        case("a name that begins with a dash", Here(Why::Refused), "gcc -c -- -dash.c").setup("cp a.c ./-dash.c"),
        case("a name that begins with @", Worker, "gcc -c ./@at.c -o at.o").setup("cp a.c @at.c"),
        case("a name of 255 bytes", Worker, "gcc -c")
            .arg(&[b"n".repeat(253), b".c".to_vec()].concat())
            .setup("cp a.c $(printf 'n%.0s' $(seq 253)).c"),
        case("a name too long", Worker, "gcc -c").arg(&[b"n".repeat(300), b".c".to_vec()].concat()),
        case("the object's name too long", Worker, "gcc -c a.c -o").arg(&[b"n".repeat(300), b".o".to_vec()].concat()),
    ]
}

/// What an overlay and a commit could get wrong: names that share a file, and files that are written into.
fn shared_files() -> Vec<Case> {
    vec![
        case("an archive with another name", Worker, "ar rc two.a b.o")
            .setup(OBJECTS)
            .setup("ar rc one.a a.o; ln one.a two.a"),
        case("a stripped object with another name", Worker, "strip -g two.o").setup(OBJECTS).setup("ln a.o two.o"),
        case("an executable with another name", Worker, "gcc main.c a.c b.c -o two").setup("echo old >one; ln one two"),
        case("a symbolic link to an archive", Worker, "ar rc link.a b.o")
            .setup(OBJECTS)
            .setup("ar rc real.a a.o; ln -s real.a link.a"),
        case("dependencies with another name", Worker, "gcc -MD -c a.c -o a.o").setup("echo old >one.d; ln one.d a.d"),
        case("a copied object with another name", Worker, "objcopy --strip-debug two.o")
            .setup(OBJECTS)
            .setup("ln a.o two.o"),
    ]
}

fn outputs() -> Vec<Case> {
    vec![
        case("output is a directory", SPECIAL, "gcc -c a.c -o inc"),
        case("output directory missing", SPECIAL, "gcc -c a.c -o no/where/a.o"),
        case("output is below a file", SPECIAL, "gcc -c a.c -o b.c/a.o"),
        case("output is a FIFO", Here(Why::Elsewhere), "gcc -E a.c -o fifo").setup("mkfifo fifo").drained("fifo"),
        case("output to /dev/null", Worker, "gcc -c a.c -o /dev/null"),
        case("output is a symbolic link to nothing", SPECIAL, "gcc -c a.c -o link.o").setup("ln -s real.o link.o"),
        case("output is a symbolic link", Worker, "gcc -c a.c -o link.o")
            .setup("echo old >real.o; ln -s real.o link.o"),
        case("output is a symbolic link elsewhere", Here(Why::Elsewhere), "gcc -c a.c -o link.o")
            .setup("echo old >{private}/real.o; ln -s {private}/real.o link.o"),
        case("output is a symbolic link to itself", SPECIAL, "gcc -c a.c -o link.o").setup("ln -s link.o link.o"),
        case("output has a second name", Worker, "gcc -c a.c -o one.o").setup("echo old >one.o; ln one.o two.o"),
        case("assembly with a second name", Worker, "gcc -S a.c -o one.s").setup("echo old >one.s; ln one.s two.s"),
        case("program with a second name", Worker, "gcc a.o b.o main.o -o one")
            .setup(OBJECTS)
            .setup("echo old >one; ln one two"),
        case("output is the source", Worker, "gcc -c a.c -o a.c"),
        case("output in a linked directory", Worker, "gcc -c a.c -o linked/a.o").setup("ln -s inc linked"),
        case("program over a program", Worker, "gcc a.o b.o main.o -o prog").setup(OBJECTS).setup("cp /bin/true prog"),
    ]
}

fn permissions() -> Vec<Case> {
    vec![
        case("output is read-only", Worker, "gcc -c a.c -o ro.o").setup("echo old >ro.o; chmod 444 ro.o"),
        case("output has odd modes", Worker, "gcc -c a.c -o odd.o").setup("echo old >odd.o; chmod 4751 odd.o"),
        case("program over an odd mode", Worker, "gcc a.o b.o main.o -o odd")
            .setup(OBJECTS)
            .setup("echo old >odd; chmod 600 odd"),
        case("assembly over a read-only file", Worker, "gcc -S a.c -o ro.s").setup("echo old >ro.s; chmod 444 ro.s"),
        case("set-group-id directory", Worker, "gcc -MD -c a.c -o sgid/a.o")
            .setup("mkdir sgid; chgrp 65534 sgid || true; chmod 2775 sgid"),
        case("another user", Worker, "gcc -MD -c a.c -o a.o").by_nobody(),
        case("another user's warnings", Worker, "gcc -Wall -c warn.c").by_nobody(),
        case("another user's link", Worker, "gcc a.c b.c main.c -o prog").by_nobody(),
        case("read-only directory", Worker, "gcc -c a.c -o locked/a.o")
            .setup("mkdir locked; chmod 555 locked")
            .by_nobody(),
        case("read-only file of somebody else", Worker, "gcc -c a.c -o ro.o")
            .setup("echo old >ro.o; chmod 444 ro.o")
            .by_nobody(),
        case("unreadable source", Worker, "gcc -c secret.c").setup("cp a.c secret.c; chmod 000 secret.c").by_nobody(),
        case("unreadable include", Worker, "gcc -c a.c").setup("chmod 000 inc/h.h").by_nobody(),
        case("another user's archive", Worker, "ar rcs lib.a a.o").setup(OBJECTS).by_nobody(),
    ]
}

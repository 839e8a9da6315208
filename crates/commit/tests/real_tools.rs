//! Real tools, run in a directory, and in an overlay over a twin of it followed by a commit: both end alike.

#![allow(clippy::unwrap_used, reason = "tests fail by it")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use commit::{Family, Strategy};
use support::{Isolated, Runs, With, assert_same, family, in_namespace, kernel, tree};

/// What lies there before, by a shell: sources, objects, an archive, and names that share a file.
const BEFORE: &str = r#"
    umask 022
    printf 'int f(void){return 1;}\nint g(void){return f();}\n' >a.c
    printf 'int h(void){return 2;}\n' >b.c
    printf 'int main(void){return 0;}\n' >m.c
    gcc -g -c a.c && gcc -c b.c && gcc -g -c m.c
    ar rcD lib.a a.o
    cp lib.a linked.a && ln linked.a other.a
    gcc -g m.o -o prog && cp prog hard && ln hard harder && cp prog target && ln -s target soft
    cp a.o old.o && ln old.o older.o
    mkdir -p d/e && echo 1 >d/e/f && echo 2 >d/g && mkdir empty
    mkdir shared && chmod 2775 shared
    touch -d '2001-01-01' ancient
"#;

/// The commands; each runs on a fresh twin.
const COMMANDS: &[&str] = &[
    "gcc -c a.c",
    "gcc -c a.c -o new/../a2.o || gcc -c a.c -o a2.o",
    "gcc -c a.c -o d/e/a.o -MD -MF d/e/a.d",
    "gcc -c a.c -save-temps -gsplit-dwarf --coverage -frandom-seed=1",
    "gcc -S a.c -o old.o",
    "gcc -c broken.c; gcc -c a.c -o /nowhere/a.o; true",
    "gcc m.o -o prog",
    "gcc m.o -o hard",
    "gcc m.o -o harder",
    "gcc m.o -o soft",
    "ld -r a.o b.o -o old.o",
    "ld -r a.o b.o -o r.o",
    "ar rD lib.a b.o",
    "ar qD lib.a b.o",
    "ar dD lib.a a.o",
    "ar qD linked.a b.o",
    "ar rD other.a b.o && ranlib -D other.a",
    "ar rcD fresh.a a.o b.o",
    "ranlib -D lib.a",
    "ranlib -D linked.a",
    "strip prog",
    "strip -g hard",
    "strip soft",
    "strip -o stripped prog",
    "objcopy --strip-debug old.o",
    "objcopy --only-keep-debug prog prog.debug && objcopy --add-gnu-debuglink=prog.debug prog",
    "objcopy -O binary prog shared/prog.bin",
    "install -m 4755 prog installed",
    "install -m 600 prog hard",
    "cp -p ancient copied",
    "cp -p ancient old.o",
    "cp prog harder",
    "touch a.o",
    "touch old.o",
    "touch -d 1999-12-31 old.o",
    "touch -r ancient new",
    "rm a.o",
    "rm old.o",
    "rm -r d",
    "rm -r d; mkdir d; echo 3 >d/new",
    "rm -r d; echo file >d",
    "rm a.o; mkdir a.o; echo 1 >a.o/x",
    "rmdir empty",
    "mkdir -p x/y/z && touch x/y/z/w",
    "mkdir -m 700 private && echo 1 >private/x && chmod 500 private",
    "mkdir shared/sub && touch shared/sub/f shared/g",
    "mv a.o moved.o",
    "mv old.o moved.o",
    "mv a.o old.o",
    "mv old.o a.o",
    "mv d d2",
    "mv d/g d/e/g",
    "ln a.o again.o",
    "ln old.o oldest.o",
    "ln -f a.o old.o",
    "ln -s nowhere dangling",
    "ln -sf b.c soft",
    "echo x >one; ln one two; ln two d/three",
    "echo more >>old.o",
    "echo more >>soft",
    "echo more >>hard; chmod 700 harder",
    "chmod 400 a.o",
    "chmod 600 old.o",
    "chmod 700 d",
    "chmod 000 b.o",
    "truncate -s 1M sparse && printf end >>sparse",
    "truncate -s 10 lib.a",
    ": >a.o",
    ": >empty/nothing",
    "exec 3<>a.o; true",
    "exec 3>>old.o; true",
    "cp a.o tmp && mv tmp a.o",
    "mkfifo pipe; rm pipe",
    "rm -f none; true",
    "mv soft softer",
    "rm soft; mkdir soft; touch soft/x",
];

/// Those that work on one of several names of a file and leave it the same file. An overlay without root does not say of
/// such a file whether it was written into or made anew, so its names part; where a command's named output has several
/// names, a worker without root runs it in place.
const PARTED_WITHOUT_ROOT: &[&str] = &[
    "gcc -S a.c -o old.o",
    "ar qD linked.a b.o",
    "ar rD other.a b.o && ranlib -D other.a",
    "ranlib -D linked.a",
    "strip -g hard",
    "objcopy --strip-debug old.o",
    "cp -p ancient old.o",
    "cp prog harder",
    "touch old.o",
    "touch -d 1999-12-31 old.o",
    "mv old.o moved.o",
    "mv old.o a.o",
    "ln old.o oldest.o",
    "echo more >>old.o",
    "echo more >>hard; chmod 700 harder",
    "chmod 600 old.o",
    "exec 3>>old.o; true",
];

fn shell(dir: &Path, script: &str) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).current_dir(dir).env("LC_ALL", "C").env("SOURCE_DATE_EPOCH", "1000000000");
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Copies with modes, times and links.
fn twin(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// The same path is worked in twice, since compilers write it into their outputs.
fn compare(strategy: Strategy) {
    let base = tempfile::tempdir().unwrap();
    let before = base.path().join("before");
    fs::create_dir(&before).unwrap();
    shell(&before, BEFORE);
    let mut wrong = Vec::new();
    for command in COMMANDS {
        let compared = std::panic::catch_unwind(|| compare_one(base.path(), &before, command, strategy));
        if compared.is_err() {
            wrong.push(*command);
        }
    }
    let known = if family() == Family::User { PARTED_WITHOUT_ROOT } else { &[] };
    assert_eq!(wrong, known, "the commands that end otherwise");
}

fn compare_one(base: &Path, before: &Path, command: &str, strategy: Strategy) {
    let (work, scratch) = (base.join("work"), base.join("scratch"));
    for dir in [&work, &scratch] {
        support::remove(dir);
    }
    twin(before, &work);
    shell(&work, command);
    let direct = tree(&work);
    let direct_times = newer_pairs(&work, before);
    support::remove(&work);
    fs::create_dir(&scratch).unwrap();
    twin(before, &work);

    in_namespace(|| {
        let isolated = Isolated::over(&work, &scratch);
        shell(&work, command);
        isolated.commit(&With::strategy(strategy), &mut Runs, &mut kernel()).unwrap();
    });

    assert_same(&direct, &tree(&work), command);
    assert_eq!(direct_times, newer_pairs(&work, before), "{command}: which files are newer than before");
}

/// Which names look newer than they did, which older, which the same: by what a build tool decides.
fn newer_pairs(work: &Path, before: &Path) -> Vec<(std::path::PathBuf, std::cmp::Ordering)> {
    let modified = |path: &Path| path.symlink_metadata().unwrap().modified().unwrap();
    let reference = modified(&before.join("a.c"));
    let now = tree(work);
    let files = now.keys().filter(|name| work.join(name).symlink_metadata().unwrap().is_file());
    files
        .map(|name| {
            let old = before.join(name);
            let old =
                if old.symlink_metadata().is_ok_and(|facts| facts.is_file()) { modified(&old) } else { reference };
            (name.clone(), modified(&work.join(name)).cmp(&old))
        })
        .collect()
}

#[test]
fn tools_end_alike_published_by_rename() {
    compare(Strategy::Rename);
}

#[test]
fn tools_end_alike_published_by_linking() {
    compare(Strategy::Link);
}

#[test]
fn all_of_this_holds_without_root() {
    support::hold_without_root();
}

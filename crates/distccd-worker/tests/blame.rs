//! Who is to blame when a command fails: each row of docs/failures.md, produced for real.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

mod kit;
#[path = "kit/story.rs"]
mod story;

use std::fs;

use kit::*;
use proto::v1::{self, FailureKind};
use story::*;

/// Runs `script` where `DIR` holds programs that stand in for those that gcc would run.
async fn judged(script: &str) -> (FailureKind, String) {
    let mut story = Story::isolated().await;
    story.write("a.c", "int answer(void) { return 42; }\n");
    let ended = story.run(script).await;
    assert_eq!(story.names(), ["a.c"], "a failed attempt publishes nothing");
    ended.failure()
}

/// Has gcc run a program of ours as its compiler proper. The story's files appear only with the outcome, so all is made
/// where nobody looks afterwards.
fn with_cc1(source: &str) -> String {
    format!("cat > /tmp/cc1.c <<'END'\n{source}\nEND\ngcc -O1 /tmp/cc1.c -o /tmp/cc1 && gcc -B/tmp -c a.c -o a.o")
}

#[tokio::test]
async fn a_program_that_is_not_there_is_the_machines() {
    let mut story = Story::isolated().await;

    let (kind, detail) =
        story.run_command(command("/usr/bin/gcc-99", &[b"gcc-99"], story.mount.path())).await.failure();

    assert_eq!(kind, FailureKind::SpawnFailed);
    assert!(detail.contains("/usr/bin/gcc-99: No such file"), "{detail}");
}

#[tokio::test]
async fn a_program_that_the_driver_needs_and_that_is_not_there_is_the_machines() {
    let (kind, detail) = judged("PATH=/nonexistent /usr/bin/gcc -c a.c -o a.o").await;

    assert_eq!(kind, FailureKind::SpawnFailed);
    assert!(detail.contains("as") && detail.contains("No such file"), "{detail}");
}

#[tokio::test]
async fn a_program_of_another_kind_of_machine_is_the_machines() {
    let mut story = Story::isolated().await;
    story.write_program("gcc", "\u{7f}ELF of another world");

    let program = story.path("gcc");
    let (kind, detail) =
        story.run_command(command(program.to_str().unwrap(), &[b"gcc"], story.mount.path())).await.failure();

    assert_eq!(kind, FailureKind::SpawnFailed);
    assert!(detail.contains("Exec format error"), "{detail}");
}

#[tokio::test]
async fn an_instruction_that_the_cpu_has_not_is_the_machines() {
    let (kind, _) = judged(&with_cc1(
        "int main(void) {\n#ifdef __x86_64__\n__asm__(\"ud2\");\n#else\n__asm__(\".long 0\");\n#endif\n}",
    ))
    .await;

    assert_eq!(kind, FailureKind::KilledByStranger);
}

#[tokio::test]
async fn a_mapped_file_that_goes_away_is_the_filesystems() {
    let (kind, _) = judged(&with_cc1(
        "#include <fcntl.h>\n#include <sys/mman.h>\n#include <unistd.h>\n\
         int main(void) { int fd = open(\"/tmp/map\", O_RDWR | O_CREAT, 0600); ftruncate(fd, 4096);\n\
         volatile char *map = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0); ftruncate(fd, 0); return *map; }",
    ))
    .await;

    assert_eq!(kind, FailureKind::KilledByStranger);
}

#[tokio::test]
async fn a_compiler_that_somebody_kills_is_tried_elsewhere_though_its_driver_lives() {
    for signal in ["KILL", "TERM", "HUP"] {
        let (kind, _) = judged(&format!(
            "printf '#!/bin/sh\\nkill -{signal} $$\\n' > /tmp/cc1; chmod +x /tmp/cc1; gcc -B/tmp -c a.c"
        ))
        .await;
        assert_eq!(kind, FailureKind::KilledByStranger, "{signal}");
    }
}

#[tokio::test]
async fn a_compiler_that_crashes_is_an_outcome() {
    let mut story = Story::isolated().await;
    story.write("a.c", "int a;\n");

    let crashed =
        story.run("printf '#!/bin/sh\\nkill -SEGV $$\\n' > /tmp/cc1; chmod +x /tmp/cc1; gcc -B/tmp -c a.c").await;

    assert_eq!(crashed.code(), 4);
    assert!(String::from_utf8_lossy(&crashed.stderr).contains("internal compiler error: Segmentation fault"));
}

#[tokio::test]
async fn an_error_in_the_source_is_an_outcome_whatever_it_says() {
    let mut story = Story::isolated().await;
    story.write("a.c", "#error cannot execute: No space left on device\n#error x: Input/output error\n");

    let ended = story.run("gcc -c a.c").await;

    assert_eq!(ended.code(), 1);
}

#[tokio::test]
async fn want_of_memory_is_the_machines_unless_the_users_own_limit_makes_it() {
    let mut story = Story::isolated().await;
    story.write("a.c", "int a;\n");
    let limit = 40_000 << 10;
    let compile = |limits: Vec<v1::ResourceLimit>, story: &Story| v1::Command {
        limits,
        ..shell("ulimit -v 40000; exec gcc -c a.c", story.mount.path())
    };
    let its_own = v1::ResourceLimit { resource: 9, soft: limit, hard: limit };

    let on_the_machine = story.run_command(compile(Vec::new(), &story)).await;
    let by_the_user = story.run_command(compile(vec![its_own], &story)).await;

    assert_eq!(on_the_machine.failure().0, FailureKind::OutOfMemory);
    assert_ne!(by_the_user.code(), 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_the_filesystems() {
    // Address 0 of a process cannot be read: the kernel answers EIO.
    let (kind, detail) = judged("as /proc/self/mem -o a.o").await;

    assert_eq!(kind, FailureKind::InputsNotVisible);
    assert!(detail.contains("Input/output error"), "{detail}");
}

#[tokio::test]
async fn no_space_is_the_machines_in_place_too() {
    let mut story = Story::in_place().await;
    story.write("a.c", "int a;\n");

    let (kind, detail) = story.run("gcc -S a.c -o /dev/full").await.failure();

    assert_eq!(kind, FailureKind::NoSpace);
    assert!(detail.contains("/dev/full"), "{detail}");
}

#[tokio::test]
async fn one_that_writes_where_it_may_only_read_is_better_off_at_home() {
    let mut story = Story::isolated().await;
    let stray = format!("/var/{}.stray", std::process::id());

    let (kind, detail) = story.run(&format!("echo > {stray}")).await.failure();

    assert_eq!(kind, FailureKind::Refused);
    assert!(detail.contains(&stray), "{detail}");
    assert!(!fs::exists(&stray).unwrap());
}

#[tokio::test]
async fn an_attempt_whose_keeper_is_killed_leaves_nothing_and_may_have_begun() {
    for isolated in [true, false] {
        let mut story = if isolated { Story::isolated().await } else { Story::in_place().await };
        let word = format!("3000.{}{}", std::process::id(), u8::from(isolated));
        story.start(&format!("echo started; setsid sleep {word} & wait; echo late > late")).await;
        let mut sleeper = 0;
        eventually("it sleeps", || {
            sleeper = who_says(&word).into_iter().find(|pid| runs(*pid)).unwrap_or_default();
            sleeper != 0 && fs::read_to_string(format!("/proc/{sleeper}/comm")).is_ok_and(|name| name == "sleep\n")
        })
        .await;

        kill(ancestor(sleeper, "distccd-keeper"));

        let (kind, _) = story.session.finished(&attempt(1)).await.failure();
        assert_eq!(kind, FailureKind::KilledByStranger);
        eventually("nothing of it runs", || !runs(sleeper)).await;
        assert!(story.names().is_empty());
        story.session.acknowledge(&attempt(1)).await;
        assert_eq!(story.run("true").await.code(), 0, "the next attempt has a keeper of its own");
    }
}

//! Commands arrive exactly as they were sent, and what they do comes back exactly as they did it.

mod kit;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use kit::*;
use proto::v1::{self, FailureKind};

#[tokio::test]
async fn a_real_compiler_compiles() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.c"), "int main(void) { int unused; return 0; }\n").unwrap();

    let mut gcc = job(1, command("/usr/bin/gcc", &[b"gcc", b"-Wall", b"-c", b"a.c"], dir.path()));
    gcc.outputs = vec!["a.o".into(), "never.o".into()];
    session.assign(vec![gcc]).await;
    let ended = session.finished(&attempt(1)).await;

    assert_eq!(ended.code(), 0);
    assert!(String::from_utf8_lossy(&ended.stderr).contains("unused variable"), "{ended:?}");
    assert!(ended.stdout.is_empty());
    let size = fs::metadata(dir.path().join("a.o")).unwrap().len();
    let outcome = ended.outcome();
    assert_eq!(outcome.worker, "ash");
    assert_eq!(outcome.outputs.len(), 1);
    assert_eq!((outcome.outputs[0].path.as_ref(), outcome.outputs[0].size), (&b"a.o"[..], size));
    let usage = outcome.usage.unwrap();
    assert!(usage.wall_us > 0 && usage.user_us + usage.system_us > 0);
    assert!(usage.peak_memory > 1 << 20, "cc1 needs more than a megabyte: {usage:?}");
}

#[tokio::test]
async fn a_compile_error_is_an_outcome() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.c"), "nonsense\n").unwrap();

    let ended = session.run(command("/usr/bin/gcc", &[b"gcc", b"-c", b"a.c"], dir.path())).await;

    assert_eq!(ended.code(), 1);
    assert!(String::from_utf8_lossy(&ended.stderr).contains("a.c:1:1: error"), "{ended:?}");
}

#[tokio::test]
async fn arguments_environment_and_directory_are_exact_bytes() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let cwd = dir.path().canonicalize().unwrap().join(std::ffi::OsStr::from_bytes(b"caf\xe9 \xff"));
    fs::create_dir(&cwd).unwrap();
    let script = b"tr '\\0' '|' < /proc/$$/cmdline; tr '\\0' '|' < /proc/$$/environ; readlink /proc/$$/cwd";
    let mut odd = command("/bin/sh", &[b"my-sh \xfe", b"-c", script, b"", b"two words\n\x80"], &cwd);
    // Out of order, with a duplicate, an empty value and one that is no text.
    odd.env = vec![variable(b"Z", b"\xff"), variable(b"A", b""), variable(b"Z", b"2"), variable(b"PATH", b"/usr/bin")];

    let ended = session.run(odd).await;

    let mut expected = b"my-sh \xfe|-c|".to_vec();
    expected.extend_from_slice(script);
    expected.extend_from_slice(b"||two words\n\x80|Z=\xff|A=|Z=2|PATH=/usr/bin|");
    expected.extend_from_slice(cwd.as_os_str().as_bytes());
    expected.push(b'\n');
    assert_eq!(String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&expected));
    assert_eq!(ended.stdout, expected);
}

#[tokio::test]
async fn umask_limits_and_standard_input_are_as_asked() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let mut asked =
        shell("touch f; mkdir d; ulimit -Sc; ulimit -Hn; readlink /proc/$$/fd/0; ls /proc/$$/fd", dir.path());
    asked.umask = 0o137;
    asked.limits = vec![
        v1::ResourceLimit { resource: libc::RLIMIT_CORE, soft: 0, hard: 0 },
        v1::ResourceLimit { resource: libc::RLIMIT_NOFILE, soft: 77, hard: 77 },
    ];

    let ended = session.run(asked).await;

    assert_eq!(ended.code(), 0);
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("f"), mode("d")), (0o640, 0o640));
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "0\n77\n/dev/null\n0\n1\n2\n");
}

#[tokio::test]
async fn it_leads_a_process_group_of_its_own_without_new_privileges() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();

    let ended = session.run(shell("cut -d' ' -f5 /proc/$$/stat; echo $$; grep NoNewPrivs /proc/$$/status", dir.path()));
    let ended = ended.await;

    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], lines[1]);
    assert_eq!(lines[2], "NoNewPrivs:\t1");
}

#[tokio::test]
async fn exit_codes_and_signals_of_its_own_doing_are_outcomes() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();

    assert_eq!(session.run(shell("exit 254", dir.path())).await.code(), 254);
    let crashed = session.run(shell("kill -SEGV $$", dir.path())).await;

    let signal = v1::exit_status::How::Signal(libc::SIGSEGV as u32);
    assert_eq!(crashed.outcome().exit.unwrap().how, Some(signal));
}

#[tokio::test]
async fn a_kill_that_nobody_of_ours_sent_is_a_failure() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();

    let killed = session.run(shell("kill -KILL $$", dir.path())).await;

    assert_eq!(killed.failure().0, FailureKind::KilledByStranger);
}

#[tokio::test]
async fn stdout_and_stderr_come_apart_and_in_order() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();

    let ended = session.run(shell("echo a; echo b >&2; echo c; echo d >&2", dir.path())).await;

    assert_eq!((&ended.stdout[..], &ended.stderr[..]), (&b"a\nc\n"[..], &b"b\nd\n"[..]));
}

#[tokio::test]
async fn standard_error_is_a_terminal_where_the_users_is() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let script = "test -t 2 && stty size <&2; seq 100000 >&2; printf 'last\\n\\tword' >&2";
    let mut on_terminal = shell(script, dir.path());
    on_terminal.stderr_terminal = Some(v1::Terminal { columns: 132, rows: 50 });

    let ended = session.run(on_terminal).await;

    assert_eq!((ended.code(), ended.stdout.as_slice()), (0, &b"50 132\n"[..]));
    let numbers: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(ended.stderr == [numbers.as_bytes(), b"last\n\tword"].concat(), "{} bytes", ended.stderr.len());
}

#[tokio::test]
async fn streams_that_are_one_for_the_user_are_one_for_the_command() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let mut together = shell("for i in 1 2 3; do echo o$i; echo e$i >&2; done", dir.path());
    together.one_output = true;

    let ended = session.run(together.clone()).await;
    assert_eq!((&ended.stdout[..], &ended.stderr[..]), (&b"o1\ne1\no2\ne2\no3\ne3\n"[..], &b""[..]));

    together.argv[2] = b"test -t 1 && test -t 2 && echo both".to_vec().into();
    together.stderr_terminal = Some(v1::Terminal { columns: 80, rows: 25 });
    let ended = session.run(together).await;
    assert_eq!((ended.code(), ended.stdout.as_slice()), (0, &b"both\n"[..]));
}

#[tokio::test]
async fn ten_megabytes_arrive_whole() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();

    let noise: Vec<u8> = (0..10_u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(dir.path().join("big"), &noise).unwrap();
    let script = "cat big; head -c 300000 big >&2";
    let ended = session.run(shell(script, dir.path())).await;

    assert_eq!(ended.code(), 0);
    assert_eq!(ended.stdout.len(), 10 << 20);
    assert!(ended.stdout == noise, "stdout is damaged");
    assert!(ended.stderr == noise[..300_000], "stderr is damaged");
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipe_delays_nothing_and_does_not_survive() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();

    let ended = session.run(shell("sleep 1000 & echo $! > pid; echo said; exit 3", dir.path())).await;

    assert_eq!((ended.code(), &ended.stdout[..]), (3, &b"said\n"[..]));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let orphan = pid_in(&dir.path().join("pid")).await;
    eventually("the orphan is gone", || !runs(orphan)).await;
}

#[tokio::test]
async fn a_grandchild_that_prints_for_ever_delays_nothing() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();

    let ended = session.run(shell("yes & exit 0", dir.path())).await;

    assert_eq!(ended.code(), 0);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");

    let (kind, detail) = session.run(shell("true", &gone)).await.failure();
    assert_eq!(kind, FailureKind::InputsNotVisible);
    assert!(detail.contains("gone"), "{detail}");

    let missing = dir.path().join("gcc");
    let (kind, detail) = session.run(command(missing.to_str().unwrap(), &[b"gcc"], dir.path())).await.failure();
    assert_eq!(kind, FailureKind::SpawnFailed);
    assert!(detail.contains("gcc: No such file"), "{detail}");

    fs::write(&missing, "no program").unwrap();
    let (kind, detail) = session.run(command(missing.to_str().unwrap(), &[b"gcc"], dir.path())).await.failure();
    assert_eq!(kind, FailureKind::SpawnFailed);
    assert!(detail.contains("Permission denied"), "{detail}");
}

#[tokio::test]
async fn a_stale_input_sends_the_attempt_elsewhere() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let mut stale = job(1, shell("true", dir.path()));
    stale.inputs = vec![v1::Stamp { path: "a.c".into(), inode: 1, size: 1, mtime_ns: 1, fresh: false }];

    session.assign(vec![stale]).await;
    let (kind, detail) = session.finished(&attempt(1)).await.failure();

    assert_eq!(kind, FailureKind::InputsNotVisible);
    assert!(detail.contains("a.c"), "{detail}");
}

#[tokio::test]
async fn only_tools_are_run() {
    let (_server, _worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();

    let (kind, detail) = session.run(command("/usr/bin/touch", &[b"touch", b"x"], dir.path())).await.failure();

    assert_eq!(kind, FailureKind::Refused);
    assert!(detail.contains("/usr/bin/touch") && detail.contains("allowed_tools"), "{detail}");
    assert!(!dir.path().join("x").exists());
}

#[tokio::test]
async fn links_are_refused_where_they_are_not_wanted() {
    let mut server = Server::start().await;
    let _worker = Worker::start(&server, |config| config.linking = false);
    let mut session = server.registered().await;
    assert!(!session.register.linking);
    let mut link = job(1, shell("true", std::path::Path::new("/")));
    link.kind = v1::JobKind::Link.into();

    session.assign(vec![link]).await;

    assert_eq!(session.finished(&attempt(1)).await.failure().0, FailureKind::Refused);
}

/// What `id` says of who a command runs as: user, group, all groups.
const WHO: &str = "id -u; id -g; id -G; umask";

/// Runs [`WHO`] under this claim on a worker of ours.
async fn who(uid: u32, gid: u32, groups: &[u32]) -> Ended {
    let (_server, _worker, mut session) = pair().await;
    let mut asked = shell(WHO, std::path::Path::new("/"));
    asked.identity = Some(v1::Identity { uid, gid, groups: groups.to_vec() });
    session.run(asked).await
}

/// A root worker runs it as what [`WHO`] then says; another runs what is its own user's, and no other's.
#[track_caller]
fn assert_is(ended: &Ended, said: &str) {
    let uid = |said: &str| said.lines().next().map(str::to_owned);
    if us() == 0 {
        assert_eq!(String::from_utf8_lossy(&ended.stdout), said, "{ended:?}");
    } else if uid(said) == Some(us().to_string()) {
        assert_eq!(uid(&String::from_utf8_lossy(&ended.stdout)), uid(said), "{ended:?}");
    } else {
        let (kind, detail) = ended.failure();
        assert_eq!(kind, FailureKind::Refused);
        assert!(detail.contains("start it as root"), "{detail}");
    }
}

#[tokio::test]
async fn a_root_worker_becomes_the_user_and_another_worker_refuses_strangers() {
    let nobody = who(65534, 65534, &[65534]).await;

    assert_is(&nobody, "65534\n65534\n65534\n0022\n");
}

#[tokio::test]
async fn groups_that_are_not_the_users_own_are_not_granted() {
    let greedy = who(65534, 65534, &[0, 6, 65534, 34567]).await;

    assert_is(&greedy, "65534\n65534\n65534\n0022\n");
}

#[tokio::test]
async fn a_group_for_new_files_that_is_not_the_users_own_is_refused() {
    let (kind, detail) = who(65534, 0, &[0, 65534]).await.failure();

    assert_eq!(kind, FailureKind::Refused, "{detail}");
    let remedy = if us() == 0 { "uid 65534 is not in group 0" } else { "start it as root" };
    assert!(detail.contains(remedy), "{detail}");
}

#[tokio::test]
async fn a_user_that_the_machine_does_not_know_has_its_one_harmless_group() {
    let stranger = who(3_000_000_007, 3_000_000_008, &[0, 34567]).await;

    assert_is(&stranger, "3000000007\n3000000008\n3000000008\n0022\n");
}

#[tokio::test]
async fn a_user_that_the_machine_does_not_know_may_not_claim_roots_group() {
    for gid in [0, u32::MAX] {
        let (kind, detail) = who(3_000_000_007, gid, &[]).await.failure();

        assert_eq!(kind, FailureKind::Refused, "{detail}");
        let remedy = if us() != 0 {
            "start it as root"
        } else if gid == 0 {
            "add the user"
        } else {
            "nobody's"
        };
        assert!(detail.contains("uid 3000000007") && detail.contains(remedy), "{detail}");
    }
}

#[tokio::test]
async fn root_stays_root_with_the_groups_it_claims() {
    let root = who(0, 0, &[34567]).await;

    assert_is(&root, "0\n0\n0 34567\n0022\n");
}

#[tokio::test]
async fn one_who_prints_without_end_is_ended_and_the_setting_named() {
    let mut server = Server::start().await;
    let scratch = tempfile::tempdir().unwrap();
    let _worker = Worker::start(&server, |config| {
        config.max_output = 2 << 20; // beyond what stays in memory
        config.scratch = scratch.path().to_owned();
    });
    let mut session = server.registered().await;
    let dir = tempfile::tempdir().unwrap();

    let endless = session.run(shell("echo $$ > pid; exec yes", dir.path())).await;

    let (kind, detail) = endless.failure();
    assert_eq!(kind, FailureKind::NoSpace);
    assert!(detail.contains("`max_output`") && detail.contains("2MiB"), "{detail}");
    let pid = pid_in(&dir.path().join("pid")).await;
    eventually("it is dead", || !runs(pid)).await;

    let exact = session.run(shell("head -c 2097152 /dev/zero", dir.path())).await;
    assert_eq!((exact.code(), exact.stdout.len()), (0, 2 << 20), "the limit itself may be printed");
}

//! Two servers by mistake on one mount: the second refuses, and whatever a dead one left behind hinders nobody.

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::daemon::{Daemon, eventually};

/// A server that publishes itself on the cluster's mount.
fn cluster() -> Cluster {
    let mut cluster = Cluster::without_server();
    let mount = format!("--fs-mount={}", cluster.mount().display());
    cluster.start_server_with(&[&mount]);
    cluster
}

/// Another server for the same mount.
fn another(cluster: &Cluster, flags: &[&str]) -> Daemon {
    let mut command = cluster.command(binaries::path("distccd-server"));
    command.args(["--server-addr=localhost:0", "--state-dir=off"]).args(flags);
    Daemon::start("another", command.arg(format!("--fs-mount={}", cluster.mount().display())))
}

fn published(cluster: &Cluster) -> Option<String> {
    std::fs::read_to_string(cluster.mount().join(".distccd/cluster.toml")).ok()
}

#[test]
fn a_second_server_for_a_mount_refuses_by_name() {
    let cluster = cluster();
    let before = published(&cluster).expect("the first has published itself");
    assert!(before.contains(&format!("server_addr = \"{}\"", cluster.address())), "{before}");

    let mut second = another(&cluster, &[]);

    assert_eq!(second.wait().code(), Some(69));
    let why = second.wait_for_line("reason", |line| line.contains("another distccd-server serves"));
    assert!(why.contains(&cluster.address()) && why.contains("--take-over"), "{why}");
    assert_eq!(published(&cluster).as_ref(), Some(&before));
}

#[test]
fn who_insists_takes_over_and_each_removes_only_what_is_its_own() {
    let mut cluster = cluster();
    let mut second = another(&cluster, &["--take-over"]);
    let _ = second.wait_for_line("start", |line| line.contains("serving"));
    let now = published(&cluster).expect("the second has published itself");
    assert!(!now.contains(&cluster.address()), "{now}");

    assert_eq!(cluster.server_mut().wait().code(), Some(69), "the one that was there leaves by itself");
    let _ = cluster.server().wait_for_line("reason", |line| line.contains("another distccd-server serves"));
    assert_eq!(published(&cluster), Some(now), "it was the second's");

    second.signal(libc::SIGTERM);
    assert!(second.wait().success());
    assert_eq!(published(&cluster), None);
}

#[test]
fn of_two_that_start_at_the_same_moment_one_stays() {
    let cluster = Cluster::without_server();
    // Each looks, and neither has published yet: at the first moment that is as likely as not.
    for _ in 0..5 {
        let mut both = [another(&cluster, &[]), another(&cluster, &[])];
        let (mut left, mut stays) = (None, None);
        eventually("the end of one of them", || {
            for (place, server) in both.iter_mut().enumerate() {
                match server.has_ended() {
                    Some(status) => left = Some((place, status.code())),
                    None => stays = Some(place),
                }
            }
            left
        });
        let (left, code) = left.unwrap();
        assert_eq!((stays, code), (Some(1 - left), Some(69)));
        let stays = &mut both[1 - left];
        let _ = stays.wait_for_line("start", |line| line.contains("serving"));
        stays.signal(libc::SIGTERM);
        assert!(stays.wait().success());
    }
}

#[test]
fn what_a_killed_server_left_hinders_nobody() {
    let mut cluster = cluster();
    cluster.server_mut().crash();
    assert!(published(&cluster).is_some());

    let mut second = another(&cluster, &[]);

    let _ = second.wait_for_line("start", |line| line.contains("serving"));
    second.signal(libc::SIGTERM);
    assert!(second.wait().success());
}

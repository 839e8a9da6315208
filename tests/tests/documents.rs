//! What the documents say is what the binaries do: samples, manual pages, units and the README.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::run::run;

const DAEMONS: [(&str, &str); 2] = [("distccd-server", "server"), ("distccd-worker", "worker")];
const PAGES: [&str; 5] = ["cc-launcher.1", "ld-launcher.1", "distccd-server.8", "distccd-worker.8", "distccd-ctl.8"];

/// Keys without a default that a sample could show: there it gives an example.
const EXAMPLES: [&str; 5] = ["build_dir", "local_slots", "log_file", "name", "scratch_limit"];

type Settings = BTreeMap<String, String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests have a workspace around them").to_owned()
}

fn document(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sample(name: &str) -> PathBuf {
    root().join(format!("deploy/config/{name}.toml"))
}

fn help(cluster: &Cluster, binary: &str) -> String {
    let seen = run(cluster.command(binaries::path(binary)).arg("--help"));
    assert_eq!(seen.exit, 0, "{seen:?}");
    seen.out()
}

/// A setting that a sample shows behind `#`; prose has a space there.
fn shown_setting(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('#').filter(|text| text.starts_with(|first: char| first.is_ascii_lowercase()))?.split_once(" = ")
}

fn shown_settings(name: &str) -> Settings {
    let text = document(&format!("deploy/config/{name}.toml"));
    let shown = text.lines().filter_map(shown_setting);
    shown.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A copy of a sample in which all that it shows is said, with this directory as the mount and below it what is
/// written.
fn said(cluster: &Cluster, name: &str) -> PathBuf {
    let text = document(&format!("deploy/config/{name}.toml"));
    let lines =
        text.lines().map(|line| shown_setting(line).map_or(line.to_owned(), |(key, value)| format!("{key} = {value}")));
    let text = lines.collect::<Vec<_>>().join("\n");
    let mount = cluster.mount().display().to_string();
    let text = text.replace("/mnt/cephfs", &mount).replace("/tmp/launcher.log", &format!("{mount}/launcher.log"));
    let file = cluster.private_dir().join(format!("{name}.toml"));
    std::fs::write(&file, text).unwrap();
    file
}

/// What a daemon makes of this file and of the cluster's mount.
fn printed(cluster: &Cluster, daemon: &str, file: &Path) -> Settings {
    let mut command = cluster.command(binaries::path(daemon));
    command.arg(format!("--config={}", file.display())).arg("--print-config");
    let seen = run(command.arg(format!("--fs-mount={}", cluster.mount().display())));
    assert_eq!(seen.exit, 0, "{daemon} with {}: {seen:?}", file.display());
    let text = seen.out();
    let settings = text.lines().filter_map(|line| line.split_once(" = "));
    // Behind a value may stand where it comes from.
    let bare = |value: &str| value.rsplit_once(" # ").map_or(value, |(value, _)| value).trim().to_owned();
    settings.map(|(key, value)| (key.to_owned(), bare(value))).collect()
}

#[test]
fn the_daemons_samples_hold_every_key_with_its_default() {
    let cluster = Cluster::without_server();
    let empty = cluster.private_dir().join("empty.toml");
    std::fs::write(&empty, "").unwrap();

    for (daemon, name) in DAEMONS {
        let defaults = printed(&cluster, daemon, &empty);
        assert_eq!(printed(&cluster, daemon, &sample(name)), defaults, "{name}.toml as it is");

        let said = printed(&cluster, daemon, &said(&cluster, name));
        let keys = |settings: &Settings| settings.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&shown_settings(name)), keys(&defaults), "the keys of {name}.toml");
        for (key, value) in said.iter().filter(|(key, _)| !EXAMPLES.contains(&key.as_str())) {
            assert_eq!(value, &defaults[key], "`{key}` of {name}.toml");
        }
    }
}

/// What `cc-launcher --explain` says with this file as the user's configuration.
fn explained(cluster: &Cluster, configuration: &str) -> e2e::run::Seen {
    let dir = cluster.private_dir().join(".config/distccd");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("launcher.toml"), configuration).unwrap();
    let build = cluster.dir("build");
    std::fs::write(build.join("a.c"), "int a;\n").unwrap();
    let mut launcher = cluster.command(binaries::path("cc-launcher"));
    launcher.env("DISTCCD_FS_MOUNT", cluster.mount()).current_dir(&build);
    run(launcher.args(["--explain", "--", "gcc", "-c", "a.c"]))
}

#[test]
fn the_launchers_sample_holds_every_key_with_its_default() {
    let cluster = Cluster::without_server();
    let shown = shown_settings("launcher");

    let complaint = explained(&cluster, "no_such_key = 1").err();
    let known = complaint.trim_end().rsplit_once("launchers know ").expect("the known keys are named").1;
    assert_eq!(known.split(", ").collect::<Vec<_>>(), shown.keys().collect::<Vec<_>>());

    let without = explained(&cluster, "");
    assert!(without.exit == 0 && without.out().contains("on a worker, by localhost:50051"), "{without:?}");
    assert_eq!(explained(&cluster, &document("deploy/config/launcher.toml")), without);
    let said = std::fs::read_to_string(said(&cluster, "launcher")).unwrap();
    assert_eq!(explained(&cluster, &said), without);

    // The defaults that --help names, in brackets at the end of a flag's text.
    let help = help(&cluster, "cc-launcher");
    let mut flag = "";
    for line in help.lines() {
        let first = line.strip_prefix("  --").and_then(|text| text.split(['=', ' ']).next());
        flag = first.unwrap_or(flag);
        let Some((_, default)) = line.strip_suffix(']').and_then(|line| line.rsplit_once('[')) else { continue };
        let key = flag.replace('-', "_");
        if EXAMPLES.contains(&key.as_str()) || default.contains("...") {
            continue;
        }
        assert_eq!(shown[&key].trim_matches(['[', ']', '"']), default, "`{key}` of launcher.toml");
    }
}

/// A manual page, or the one that it stands for.
fn page(name: &str) -> String {
    let text = document(&format!("deploy/man/{name}"));
    match text.strip_prefix(".so ") {
        Some(other) => page(other.trim().rsplit('/').next().expect("a path has a last part")),
        None => text,
    }
}

#[test]
fn help_and_manual_page_name_the_same_flags() {
    let cluster = Cluster::without_server();

    for name in PAGES {
        let (binary, page) = (&name[..name.len() - 2], page(name));
        let help = help(&cluster, binary);
        let words = help.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
        let in_help: BTreeSet<&str> =
            words.filter_map(|word| word.strip_prefix("--")).filter(|flag| !flag.is_empty()).collect();
        let items = page.lines().filter_map(|line| line.strip_prefix(".It Fl Fl "));
        let in_page: BTreeSet<&str> = items.filter_map(|item| item.split(' ').next()).collect();
        assert!(page.contains(binary), "{name} does not name {binary}");
        assert_eq!(in_help, in_page, "--help and {name}");
    }
}

/// The codes of a manual page's section EXIT STATUS.
fn codes_of_page(name: &str) -> BTreeSet<u8> {
    let page = page(name);
    let section = page.split(".Sh ").find(|section| section.starts_with("EXIT STATUS")).expect("a section EXIT STATUS");
    section.lines().filter_map(|line| line.strip_prefix(".It ")?.parse().ok()).collect()
}

/// The rows of the README's table of exit codes: a code, and a cell for each of launchers, server, worker and distccd-ctl.
fn codes_of_readme() -> Vec<(u8, Vec<String>)> {
    let text = document("README.md");
    let section = text.split("\n## ").find(|section| section.starts_with("Exit codes")).expect("a section Exit codes");
    let rows = section.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    cells.filter_map(|mut cells| Some((cells.remove(0).parse().ok()?, cells))).collect()
}

#[test]
fn readme_manual_pages_and_help_name_the_same_exit_codes() {
    let cluster = Cluster::without_server();
    let rows = codes_of_readme();

    for (column, pages) in [&PAGES[..2], &PAGES[2..3], &PAGES[3..4], &PAGES[4..]].iter().enumerate() {
        let in_readme: BTreeSet<u8> =
            rows.iter().filter(|(_, cells)| !cells[column].is_empty()).map(|row| row.0).collect();
        assert!(in_readme.len() > 3, "{in_readme:?}");
        for name in *pages {
            assert_eq!(codes_of_page(name), in_readme, "{name} and README.md");
            let help = help(&cluster, &name[..name.len() - 2]);
            let numbers: BTreeSet<&str> = help.split(|c: char| !c.is_ascii_digit()).collect();
            let missing: Vec<_> =
                in_readme.iter().filter(|code| !numbers.contains(code.to_string().as_str())).collect();
            assert!(missing.is_empty(), "{missing:?} of README.md are not in the --help of {name}");
        }
    }
}

#[test]
fn the_code_map_names_every_room() {
    let text = document("README.md");
    let map = text.split("\n## ").find(|section| section.starts_with("Code map")).expect("a section Code map");

    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    let rooms = crates.map(|entry| format!("crates/{}/", entry.unwrap().file_name().into_string().unwrap()));
    for room in rooms.chain(["tests/", "xtask/", "deploy/", "proto/distccd/v1/"].map(str::to_owned)) {
        assert!(map.contains(&format!("`{room}`")), "{room} is not on the code map");
    }
}

#[test]
fn what_the_readme_links_to_is_there() {
    let text = document("README.md");

    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
        assert!(root().join(link).exists(), "{link}");
    }
}

#[test]
fn systemd_understands_the_units() {
    let dir = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    for (daemon, _) in DAEMONS {
        // It wants to see the program: ours, where it was built.
        let unit = document(&format!("deploy/systemd/{daemon}.service"));
        let installed = format!("ExecStart=/usr/local/bin/{daemon}");
        assert!(unit.contains(&installed), "{daemon}.service");
        let built = format!("ExecStart={}", binaries::path(daemon).display());
        let copy = dir.path().join(format!("{daemon}.service"));
        std::fs::write(&copy, unit.replace(&installed, &built)).unwrap();
        verify.arg(copy);
    }

    let output = verify.output().expect("systemd-analyze is missing: apt-get install systemd");

    // A key that it does not know is only worth a word to it.
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("distccd-")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

/// Seconds of `45s`, `10m` or `11min`.
fn seconds(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).expect("a unit"));
    number.parse::<u64>().expect("a number") * if unit.starts_with('m') { 60 } else { 1 }
}

#[test]
fn systemd_waits_longer_than_the_daemons_graces() {
    let cluster = Cluster::without_server();

    for ((daemon, name), grace) in DAEMONS.into_iter().zip(["stop_grace", "drain_grace"]) {
        let unit = document(&format!("deploy/systemd/{daemon}.service"));
        let timeout = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("a time to stop");
        let settings = printed(&cluster, daemon, &sample(name));
        assert!(seconds(timeout) > seconds(settings[grace].trim_matches('"')) + 5, "{daemon}");
    }
}

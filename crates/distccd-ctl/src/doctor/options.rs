//! What the mount table says of a mount (`/proc/self/mountinfo`, proc(5)), and which of its options matter.

use std::path::Path;

use super::{Finding, Severity};

/// Beyond this, attributes and missing names stay stale for longer than builds wait.
const LONG_CACHE: u64 = 60;

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is mounted.
    pub at: String,
    /// `nfs4`, `ceph`, `fuse.ceph-fuse`, ...
    pub kind: String,
    /// Of this mount and of the filesystem, together.
    pub options: Vec<String>,
}

impl Entry {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
    }

    fn value(&self, option: &str) -> Option<&str> {
        self.options.iter().find_map(|known| known.strip_prefix(option)?.strip_prefix('='))
    }
}

/// The mount that holds a path: of those above it the deepest, and of several at one place the last, which covers the
/// others.
#[must_use]
pub fn holding(table: &str, path: &Path) -> Option<Entry> {
    let entries = table.lines().filter_map(parse);
    entries.filter(|entry| path.starts_with(&entry.at)).fold(None, |best: Option<Entry>, entry| match best {
        Some(best) if best.at.len() > entry.at.len() => Some(best),
        _ => Some(entry),
    })
}

fn parse(line: &str) -> Option<Entry> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let options = left.get(5)?.split(',').chain(right.get(2).into_iter().flat_map(|text| text.split(',')));
    Some(Entry {
        at: unescape(left.get(4)?),
        kind: (*right.first()?).to_owned(),
        options: options.map(str::to_owned).collect(),
    })
}

/// Blanks, tabs, newlines and backslashes are written in octal.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, meaning)| text.replace(code, meaning))
}

/// What is wrong with the options of the mount at `subject`.
#[must_use]
pub fn examine(subject: &str, entry: &Entry) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |severity, text: String, remedy: &str| {
        findings.push(Finding::new(severity, subject, text, remedy));
    };
    if entry.has("ro") {
        found(Severity::Error, "is mounted read-only".to_owned(), "mount it with `rw`: builds write there");
    }
    if entry.has("noexec") {
        let remedy = "mount it with `exec`: builds run what they have built";
        found(Severity::Warning, "is mounted noexec".to_owned(), remedy);
    }
    let is_nfs = entry.kind.starts_with("nfs");
    if entry.has("nocto") {
        let remedy =
            "mount it without `nocto`: a file that another machine has just written must be seen when it is opened";
        found(Severity::Warning, "is mounted with nocto".to_owned(), remedy);
    }
    if is_nfs && entry.has("soft") {
        let remedy = "mount it with `hard`: a busy server makes writes fail and files end early";
        found(Severity::Warning, "is mounted with soft".to_owned(), remedy);
    }
    if is_nfs && matches!(entry.value("lookupcache"), None | Some("all")) {
        let remedy =
            "mount it with `lookupcache=positive`: names that were missing are looked up again, and builds wait less";
        found(Severity::Note, "remembers missing names (lookupcache=all)".to_owned(), remedy);
    }
    for option in ["actimeo", "acregmax", "acdirmax"] {
        let seconds = entry.value(option).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
        if seconds > LONG_CACHE {
            let remedy = "let it be 60 or less: so long may a machine not see what another has written";
            found(Severity::Warning, format!("is mounted with {option}={seconds}"), remedy);
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
40 22 0:50 / /mnt/my\\040share rw,noexec shared:5 - nfs4 srv:/x rw,vers=4.2,soft,nocto,acdirmax=600,lookupcache=all
41 22 0:51 / /mnt/fast ro,relatime - ceph mon:/ rw
42 40 0:52 / /mnt/my\\040share rw - nfs4 srv:/y rw,hard,lookupcache=positive
";

    fn texts(path: &str, table: &str) -> Vec<String> {
        let entry = holding(table, Path::new(path)).unwrap();
        examine(path, &entry).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn the_mount_that_counts_is_the_deepest_and_the_last() {
        assert_eq!(holding(TABLE, Path::new("/home/me")).unwrap().kind, "ext4");
        assert_eq!(holding(TABLE, Path::new("/mnt/fast/x")).unwrap().kind, "ceph");
        assert!(holding(TABLE, Path::new("/mnt/my share/x")).unwrap().has("hard"));
        assert_eq!(holding(TABLE, Path::new("/mnt/fastest")).unwrap().at, "/");
    }

    #[test]
    fn options_that_matter_are_named() {
        assert!(texts("/mnt/my share", TABLE).is_empty());
        assert_eq!(texts("/mnt/fast", TABLE), ["is mounted read-only"]);
        let before = TABLE.lines().take(2).collect::<Vec<_>>().join("\n");
        let stale = texts("/mnt/my share", &before);
        for option in ["noexec", "nocto", "soft", "lookupcache=all", "acdirmax=600"] {
            assert!(stale.iter().any(|text| text.contains(option)), "{option}: {stale:?}");
        }
    }
}

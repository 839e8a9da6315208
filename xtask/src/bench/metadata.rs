//! `bench metadata`: what launcher and worker ask of the shared filesystem for one compile, beside what the compiler
//! itself asks. Counted by strace(1), as calls that name something on the mount or act on a descriptor of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, bail};

use crate::bench::document;
use crate::cluster::{Cluster, Plan};
use crate::flags::Metadata;
use crate::prerequisites::{self, C, STRACE};
use crate::process;
use crate::workspace::Workspace;

/// Calls that reach a filesystem. What only the kernel does (close, lseek, mmap, fcntl, getcwd) is none.
const CALLS: &str = "open,openat,openat2,stat,lstat,fstat,newfstatat,statx,access,faccessat,faccessat2,readlink,readlinkat,\
    rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,chmod,fchmod,fchmodat,\
    chown,fchown,lchown,fchownat,utimensat,getdents64,read,pread64,readv,write,pwrite64,writev,copy_file_range,sendfile,\
    ftruncate,truncate,fallocate,fsync,fdatasync,statfs,fstatfs,getxattr,lgetxattr,fgetxattr,listxattr,llistxattr,\
    flistxattr,setxattr,fsetxattr,removexattr,fremovexattr,name_to_handle_at,open_by_handle_at,chdir,fchdir,flock";

/// Their data may name anything: only the descriptor counts.
const WITH_DATA: [&str; 8] = ["read", "pread64", "readv", "write", "pwrite64", "writev", "sendfile", "copy_file_range"];

/// The project's directory on the mount; nothing else has such a name.
const DIR: &str = "bench-metadata-project";

/// Jobs before the one that counts: first ones find toolchains.
const WARM_UP: usize = 3;

/// Counts by call, of one program.
type Counts = BTreeMap<String, usize>;

/// Prints the table; with `--write`, into the document as well.
pub(crate) fn metadata(workspace: &Workspace, flags: &Metadata) -> anyhow::Result<()> {
    prerequisites::ensure(C)?;
    prerequisites::ensure(STRACE)?;
    let binaries = match &flags.binaries {
        Some(dir) => dir.clone(),
        None => workspace.release_binaries()?,
    };
    let scratch = workspace.scratch("bench-metadata")?;
    let calls = trace(&binaries, scratch.path())?;
    if flags.show {
        calls.iter().for_each(|call| println!("{:<16} {}", call.who, call.line));
    }
    let table = table(&calls);
    print!("{table}");
    if flags.keep {
        println!("kept: {}", scratch.keep().display());
    }
    if flags.write { document::write(workspace, document::FILESYSTEMS, "metadata", &table) } else { Ok(()) }
}

/// One call on the mount.
struct Call {
    who: String,
    name: String,
    line: String,
}

fn trace(binaries: &Path, scratch: &Path) -> anyhow::Result<Vec<Call>> {
    let (mount, logs) = (scratch.join("shared"), scratch.join("logs"));
    let dir = mount.join(DIR);
    for dir in [&dir, &logs] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    std::fs::write(dir.join("a.h"), "#define A 1\n")?;
    std::fs::write(dir.join("a.c"), "#include \"a.h\"\nint a = A;\n")?;
    let (worker_trace, launcher_trace) = (logs.join("worker.trace"), logs.join("launcher.trace"));
    // The worker is to be our child, and its tracer nobody's.
    let under = strace_words(&worker_trace, &["-D"]);
    let plan = Plan { worker_under: &under, ..Plan::new(binaries, &mount, &logs, 1, 1) };
    let mut cluster = Cluster::start(&plan)?;
    let launcher = binaries.join("cc-launcher");
    let compile = |command: &mut Command| {
        command.args(["gcc", "-c", "a.c", "-o", "a.o"]).current_dir(&dir);
        cluster.introduce(command);
        // Nowhere else: a job that stays would be counted as one that costs nothing.
        command.env("DISTCCD_FALLBACK", "never");
        process::run(command)
    };
    for _ in 0..WARM_UP {
        compile(Command::new(&launcher).arg("--"))?;
        // What counts makes its output anew.
        std::fs::remove_file(dir.join("a.o")).context("the compile made nothing")?;
    }
    let words = strace_words(&launcher_trace, &[]);
    let begin = SystemTime::now();
    compile(Command::new(&words[0]).args(&words[1..]).arg(&launcher).arg("--"))?;
    cluster.check_alive()?;
    // What the tracer has not written yet it writes when the worker ends.
    drop(cluster);
    let begin = begin.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut calls = Vec::new();
    for path in [&launcher_trace, &worker_trace] {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8_lossy(&text);
        let mount = mount.to_string_lossy();
        calls.extend(text.lines().filter_map(|line| call(line, &mount, begin)));
    }
    if !["cc-launcher", "distccd-keeper"].iter().all(|who| calls.iter().any(|call| call.who == *who)) {
        bail!("launcher or keeper were not traced");
    }
    Ok(calls)
}

fn strace_words(output: &Path, more: &[&str]) -> Vec<String> {
    let mut words = vec!["strace".to_owned()];
    words.extend(more.iter().map(|word| (*word).to_owned()));
    words.extend(["-f", "-ttt", "-y", "--decode-pids=comm", "-s", "256", "--signal=none"].map(str::to_owned));
    words.push(format!("--trace={}", CALLS.replace(' ', "")));
    words.push("--output".to_owned());
    words.push(output.display().to_string());
    words
}

/// `123<distccd-keeper> 1700000000.123456 openat(3</mnt>, "a.o", ...) = 4</mnt/a.o>`.
fn call(line: &str, mount: &str, begin: f64) -> Option<Call> {
    let (process, rest) = line.split_once('>')?;
    let who = process.split_once('<')?.1;
    let (time, said) = rest.trim_start().split_once(' ')?;
    if time.parse::<f64>().ok()? < begin {
        return None;
    }
    let (name, arguments) = said.trim_start().split_once('(')?;
    let arguments = arguments.rsplit_once(" = ").map_or(arguments, |(arguments, _)| arguments);
    let path = if WITH_DATA.contains(&name) { None } else { quoted(arguments) };
    let mut descriptors = between(arguments, '<', '>');
    let touches = match path {
        Some(path) if path.starts_with('/') => path.starts_with(mount),
        Some(path) => descriptors.next().is_some_and(|dir| is_on(dir, mount) || (dir == "/" && path.starts_with(DIR))),
        // What is read or written may hold anything: it comes behind the first descriptor.
        None if name.starts_with(['s', 'c']) => descriptors.any(|file| is_on(file, mount)),
        None => descriptors.next().is_some_and(|file| is_on(file, mount)),
    };
    touches.then(|| Call { who: program(who), name: name.to_owned(), line: said.replace(mount, "MOUNT") })
}

/// The first text among the arguments.
fn quoted(arguments: &str) -> Option<&str> {
    between(arguments, '"', '"').next()
}

fn between(text: &str, open: char, close: char) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (inside, behind) = rest.split_once(open)?.1.split_once(close)?;
        rest = behind;
        Some(inside)
    })
}

/// Whether a descriptor is of something on the mount. A keeper has a mount of its own, out of sight: there paths begin at
/// its root.
fn is_on(path: &str, mount: &str) -> bool {
    path.starts_with(mount) || path.strip_prefix('/').is_some_and(|path| path.starts_with(DIR))
}

/// Threads of a worker that carry out one job are named by it.
fn program(who: &str) -> String {
    if who.starts_with("run-") || who.starts_with("tokio") { "distccd-worker".to_owned() } else { who.to_owned() }
}

fn is_ours(who: &str) -> bool {
    who.starts_with("distccd") || who == "cc-launcher"
}

fn table(calls: &[Call]) -> String {
    let mut by_who: BTreeMap<&str, Counts> = BTreeMap::new();
    for call in calls {
        let who = if is_ours(&call.who) { call.who.as_str() } else { "the compiler" };
        *by_who.entry(who).or_default().entry(call.name.clone()).or_default() += 1;
    }
    let mut text = "| who | calls on the mount | which |\n| --- | ---: | --- |\n".to_owned();
    let mut ours = 0;
    for (who, counts) in &by_who {
        let sum: usize = counts.values().sum();
        ours += if is_ours(who) { sum } else { 0 };
        let which: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{who}` | {sum} | {} |", which.join(", "));
    }
    let _ = writeln!(text, "| **beyond the compiler** | **{ours}** | |");
    text.replace("`the compiler`", "the compiler")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reaches_the_mount_counts() {
        let counted = |line: &str| call(line, "/m", 10.0).map(|call| (call.who, call.name));
        let keeper = |name: &str| Some(("distccd-keeper".to_owned(), name.to_owned()));

        assert_eq!(counted("1<distccd-keeper> 11.5 openat(3</m>, \"a.o\", O_RDONLY) = 4</m/a.o>"), keeper("openat"));
        assert_eq!(
            counted(
                "1<distccd-keeper> 11.5 newfstatat(7</bench-metadata-project>, \"a.o\", {st_mode=S_IFREG|0644}, 0) = 0"
            ),
            keeper("newfstatat")
        );
        assert_eq!(counted("1<distccd-keeper> 11.5 openat(8</tmp/u4/bench-metadata-project>, \"a.o\", 0) = 9"), None);
        assert_eq!(
            counted("1<run-1234> 11.5 statx(AT_FDCWD</>, \"/m/a.c\", 0, 0, 0x1) = 0"),
            Some(("distccd-worker".to_owned(), "statx".to_owned()))
        );
        assert_eq!(counted("1<distccd-keeper> 11.5 readlink(\"/proc/self/fd/7\", \"/m/a.o\", 256) = 6"), None);
        assert_eq!(counted("1<distccd-keeper> 11.5 write(4</m/a.o>, \"x\", 1) = 1"), keeper("write"));
        assert_eq!(counted("1<distccd-keeper> 11.5 write(4</tmp/log>, \"/m/a\", 1) = 1"), None);
        assert_eq!(counted("1<distccd-keeper> 11.5 openat(AT_FDCWD</m>, \"/etc/passwd\", O_RDONLY) = 4"), None);
        assert_eq!(counted("1<distccd-keeper> 9.5 openat(3</m>, \"a.o\", O_RDONLY) = 4</m/a.o>"), None);
        assert_eq!(counted("1<distccd-keeper> 11.5 <... openat resumed>) = 4</m/a.o>"), None);
    }
}

//! The directories in which a driver looks for headers, and which files in them are the toolchain's.
//!
//! A directory of the compiler's own, or of its C++ library, counts whole. `/usr/include` is everybody's: of it count the C
//! library's headers, by the names that they have in every C library, and the kernel's. Another package in there makes no
//! other toolchain, or a developer's machine would find no worker that is like it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::ask::{Much, Stream, ask};

/// Directories below one for all that are the C library's alone.
const LIBC_DIRS: [&str; 2] = ["bits", "gnu"];
/// And the kernel's.
pub(crate) const KERNEL_DIRS: [&str; 3] = ["asm", "asm-generic", "linux"];
/// In the compiler's own directory, but of a language that has a package of its own.
const OTHER_LANGUAGES: [&str; 2] = ["objc", "finclude"];

/// Headers of glibc and musl (ISO C, POSIX and their extensions) in a directory for all.
const LIBC_HEADERS: &str = "\
    aio.h aliases.h alloca.h a.out.h ar.h argp.h argz.h arpa/ftp.h arpa/inet.h arpa/nameser.h arpa/nameser_compat.h \
    arpa/telnet.h arpa/tftp.h assert.h byteswap.h complex.h cpio.h crypt.h ctype.h dirent.h dlfcn.h elf.h endian.h envz.h \
    err.h errno.h error.h execinfo.h fcntl.h features-time64.h features.h fenv.h float.h fmtmsg.h fnmatch.h fpu_control.h \
    fstab.h fts.h ftw.h gconv.h getopt.h glob.h gnu-versions.h grp.h gshadow.h iconv.h ieee754.h ifaddrs.h inttypes.h \
    iso646.h langinfo.h lastlog.h libgen.h libintl.h limits.h link.h locale.h malloc.h math.h mcheck.h memory.h mntent.h \
    monetary.h mqueue.h net/ethernet.h net/if.h net/if_arp.h net/if_packet.h net/if_ppp.h net/ppp_defs.h net/route.h \
    netdb.h netinet/ether.h netinet/icmp6.h netinet/if_ether.h netinet/igmp.h netinet/in.h netinet/in_systm.h \
    netinet/ip.h netinet/ip6.h netinet/ip_icmp.h netinet/tcp.h netinet/udp.h netpacket/packet.h nl_types.h nss.h \
    obstack.h paths.h poll.h printf.h proc_service.h pthread.h pty.h pwd.h re_comp.h regex.h regexp.h resolv.h \
    rpc/netdb.h sched.h scsi/scsi.h scsi/scsi_ioctl.h scsi/sg.h search.h semaphore.h setjmp.h sgtty.h shadow.h signal.h \
    spawn.h stab.h stdalign.h stdarg.h stdbit.h stdbool.h stdc-predef.h stddef.h stdint.h stdio.h stdio_ext.h stdlib.h \
    stdnoreturn.h string.h strings.h stropts.h sys/acct.h sys/auxv.h sys/bitypes.h sys/cachectl.h sys/cdefs.h \
    sys/debugreg.h sys/dir.h sys/elf.h sys/epoll.h sys/errno.h sys/eventfd.h sys/fanotify.h sys/fcntl.h sys/file.h \
    sys/fsuid.h sys/gmon.h sys/gmon_out.h sys/inotify.h sys/io.h sys/ioctl.h sys/ipc.h sys/kd.h sys/klog.h sys/membarrier.h \
    sys/mman.h sys/mount.h sys/msg.h sys/mtio.h sys/param.h sys/pci.h sys/perm.h sys/personality.h sys/pidfd.h \
    sys/platform/x86.h sys/poll.h sys/prctl.h sys/procfs.h sys/profil.h sys/ptrace.h sys/queue.h sys/quota.h sys/random.h \
    sys/raw.h sys/reboot.h sys/reg.h sys/resource.h sys/rseq.h sys/select.h sys/sem.h sys/sendfile.h sys/shm.h \
    sys/signal.h sys/signalfd.h sys/single_threaded.h sys/socket.h sys/socketvar.h sys/soundcard.h sys/stat.h \
    sys/statfs.h sys/statvfs.h sys/stropts.h sys/swap.h sys/syscall.h sys/sysinfo.h sys/syslog.h sys/sysmacros.h \
    sys/termios.h sys/time.h sys/timeb.h sys/timerfd.h sys/times.h sys/timex.h sys/ttychars.h sys/ttydefaults.h \
    sys/types.h sys/ucontext.h sys/uio.h sys/un.h sys/unistd.h sys/user.h sys/utsname.h sys/vfs.h sys/vlimit.h sys/vm86.h \
    sys/vt.h sys/wait.h sys/xattr.h syscall.h sysexits.h syslog.h tar.h termio.h termios.h tgmath.h thread_db.h threads.h \
    time.h ttyent.h uchar.h ucontext.h ulimit.h unistd.h utime.h utmp.h utmpx.h values.h wait.h wchar.h wctype.h wordexp.h";

/// The directories that a driver searches for headers of C++, or of C if it knows no C++.
///
/// # Errors
/// When it does not answer, or names none: then it lacks a process or memory for its own preprocessor.
pub(crate) fn include_dirs(driver: &Path) -> io::Result<Vec<PathBuf>> {
    let of = |language: &str| {
        let words: [&OsStr; 5] = ["-E".as_ref(), "-v".as_ref(), "-x".as_ref(), language.as_ref(), "/dev/null".as_ref()];
        ask(driver, &words, Stream::Error, Much::All).map(|said| understood(&said))
    };
    let mut dirs = of("c++")?;
    if dirs.is_empty() {
        dirs = of("c")?;
    }
    if dirs.is_empty() {
        return Err(io::Error::other("it names no directories of headers"));
    }
    Ok(dirs)
}

/// The lines between the two that GCC and Clang put around the list.
fn understood(said: &[u8]) -> Vec<PathBuf> {
    let mut lines = said.split(|&byte| byte == b'\n').skip_while(|line| !line.starts_with(b"#include <...>"));
    lines.next();
    let listed = lines.take_while(|line| line.starts_with(b" "));
    listed.map(|line| OsStr::from_bytes(line.trim_ascii()).into()).collect()
}

/// Whose headers a directory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The compiler's.
    Compiler,
    /// The C++ library's.
    Cpp,
    /// Everybody's.
    Everybody,
}

/// `own`: the directories of the compiler itself, resolved.
pub(crate) fn owner_of(dir: &Path, own: &[PathBuf]) -> Owner {
    if own.iter().any(|own| dir.starts_with(own)) {
        return Owner::Compiler;
    }
    let has = |name: &str| dir.components().any(|part| part.as_os_str() == name);
    // `/usr/include/c++/12`, `/usr/include/x86_64-linux-gnu/c++/12`, LLVM's `include/c++/v1`.
    if has("c++") || has("g++") { Owner::Cpp } else { Owner::Everybody }
}

/// What a walk through a directory meets.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Files, by their names below the directory.
    pub(crate) files: Vec<PathBuf>,
    /// Directories, itself included.
    pub(crate) dirs: Vec<PathBuf>,
}

/// More is no directory of headers.
const MOST_FILES: usize = 50_000;
const DEEPEST: usize = 24;

impl Walk {
    /// All below `root`, in an order that does not depend on the filesystem.
    ///
    /// # Errors
    /// When a directory cannot be read, or there is no end to it.
    pub(crate) fn through(root: &Path) -> io::Result<Self> {
        let mut walk = Self::default();
        walk.visit(root, 0)?;
        Ok(walk)
    }

    fn visit(&mut self, dir: &Path, depth: usize) -> io::Result<()> {
        if depth > DEEPEST || self.files.len() > MOST_FILES {
            return Err(io::Error::other(format!("there is no end to {}", dir.display())));
        }
        self.dirs.push(dir.to_owned());
        let names: io::Result<BTreeSet<_>> =
            std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
        for name in names? {
            let path = dir.join(&name);
            // Nothing is behind a dangling link, neither for us nor for a compiler.
            let Ok(facts) = std::fs::metadata(&path) else { continue };
            if facts.is_file() {
                self.files.push(path);
            } else if facts.is_dir() && !OTHER_LANGUAGES.iter().any(|other| name == *other) {
                self.visit(&path, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// The C library's headers in a directory for all, by name, and its directories.
pub(crate) fn of_libc(dir: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let files = LIBC_HEADERS.split_ascii_whitespace().map(|name| dir.join(name)).filter(|path| path.is_file());
    let dirs = LIBC_DIRS.iter().map(|name| dir.join(name)).filter(|path| path.is_dir());
    (files.collect(), dirs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_directories_is_found_between_its_lines() {
        let said =
            b"Using built-in specs.\n#include \"...\" search starts here:\n#include <...> search starts here:\n \
            /usr/include/c++/12\n /usr/lib/gcc/x/12/include\nEnd of search list.\n /no\n";

        assert_eq!(understood(said), ["/usr/include/c++/12", "/usr/lib/gcc/x/12/include"].map(PathBuf::from));
        assert!(understood(b"g++: error").is_empty());
    }

    #[test]
    fn a_directory_is_the_compilers_the_librarys_or_everybodys() {
        let own = [PathBuf::from("/usr/lib/gcc/x/12")];

        assert_eq!(owner_of(Path::new("/usr/lib/gcc/x/12/include"), &own), Owner::Compiler);
        assert_eq!(owner_of(Path::new("/usr/include/x/c++/12"), &own), Owner::Cpp);
        assert_eq!(owner_of(Path::new("/usr/include"), &own), Owner::Everybody);
    }

    #[test]
    fn a_walk_meets_all_in_one_order_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("b/objc")).unwrap();
        for name in ["b/z.h", "a.h", "c.h", "b/objc/o.h"] {
            std::fs::write(root.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("gone", root.join("dangling.h")).unwrap();

        let walk = Walk::through(root).unwrap();

        assert_eq!(walk.files, ["a.h", "b/z.h", "c.h"].map(|name| root.join(name)));
        assert_eq!(walk.dirs, [root.to_owned(), root.join("b")]);
        std::os::unix::fs::symlink(".", root.join("loop")).unwrap();
        assert!(Walk::through(root).is_err());
    }
}

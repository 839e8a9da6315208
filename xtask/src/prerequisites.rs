//! What a fresh machine lacks, installed through apt-get; the one list of it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::process;

/// Something a task needs from the system: there when the program is on the PATH or the file exists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    probe: &'static str,
    package: &'static str,
}

const fn need(probe: &'static str, package: &'static str) -> Need {
    Need { probe, package }
}

const GCC: Need = need("gcc", "gcc");
const GXX: Need = need("g++", "g++");
const LIBC: Need = need("/usr/include/stdio.h", "libc6-dev");
const BINUTILS: Need = need("ar", "binutils");
const MAKE: Need = need("make", "make");

/// To build any C.
pub(crate) const C: &[Need] = &[GCC, LIBC, BINUTILS];

/// To build a CMake project with either generator.
pub(crate) const CMAKE: &[Need] =
    &[GCC, GXX, LIBC, BINUTILS, MAKE, need("cmake", "cmake"), need("ninja", "ninja-build")];

/// To build a project of plain make.
pub(crate) const PLAIN_MAKE: &[Need] = &[GCC, LIBC, BINUTILS, MAKE];

/// To build a project of Meson's.
pub(crate) const MESON: &[Need] =
    &[GCC, GXX, LIBC, BINUTILS, need("meson", "meson"), need("ninja", "ninja-build"), need("pkg-config", "pkgconf")];

/// To build what has a `configure`.
pub(crate) const AUTOTOOLS: &[Need] = &[GCC, GXX, LIBC, BINUTILS, MAKE];

/// To build a project of SCons.
pub(crate) const SCONS: &[Need] = &[GCC, GXX, LIBC, BINUTILS, need("scons", "scons")];

/// To build Fortran.
pub(crate) const FORTRAN: &[Need] = &[need("gfortran", "gfortran")];

/// To make GNU MP's assembler.
pub(crate) const M4: &[Need] = &[need("m4", "m4")];

/// To patch a source as Debian does.
pub(crate) const PATCH: &[Need] = &[need("patch", "patch")];

/// To build with ninja and make, and to have a ninja of the Python Package Index.
pub(crate) const BUILD_TOOLS: &[Need] = &[
    MAKE,
    need("ninja", "ninja-build"),
    need("/usr/bin/python3", "python3"),
    need("/usr/lib/python3.11/ensurepip", "python3-venv"),
];

/// To fetch and unpack Debian's sources.
pub(crate) const SOURCES: &[Need] = &[
    need("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
    need("/etc/ssl/certs/ca-certificates.crt", "ca-certificates"),
    need("tar", "tar"),
    need("xz", "xz-utils"),
    need("sha256sum", "coreutils"),
];

/// To compile GCC's own tests.
pub(crate) const GCC_TESTS: &[Need] =
    &[GCC, GXX, LIBC, BINUTILS, need("/usr/src/gcc-12", "gcc-12-source"), need("tar", "tar"), need("xz", "xz-utils")];

/// To make RE2's Unicode tables, which Debian takes from its source.
pub(crate) const RE2_TABLES: &[Need] = &[
    need("perl", "perl-base"),
    need("/usr/bin/python3", "python3"),
    need("/usr/share/unicode/UnicodeData.txt", "unicode-data"),
];

/// To have hosts and links on this machine.
pub(crate) const NETWORK: &[Need] = &[need("ip", "iproute2"), need("ss", "iproute2")];

/// To compile a filesystem in user space.
pub(crate) const FUSE: &[Need] = &[GCC, LIBC, need("/usr/include/fuse3/fuse_lowlevel.h", "libfuse3-dev")];

/// To have a Ceph cluster and its clients.
pub(crate) const CEPHFS: &[Need] = &[
    need("ceph-mon", "ceph-mon"),
    need("ceph-osd", "ceph-osd"),
    need("ceph-mds", "ceph-mds"),
    need("ceph-fuse", "ceph-fuse"),
    need("ceph", "ceph-common"),
];

/// To have a Gluster volume and its clients.
pub(crate) const GLUSTER: &[Need] = &[need("glusterfsd", "glusterfs-server"), need("glusterfs", "glusterfs-client")];

/// To have virtual machines with a kernel of their own, and its NFS.
pub(crate) const USER_MODE_LINUX: &[Need] = &[
    GCC,
    LIBC,
    need("linux.uml", "user-mode-linux"),
    need("/usr/lib/uml/modules", "user-mode-linux"),
    need("/sbin/modprobe", "kmod"),
    need("/usr/sbin/rpc.nfsd", "nfs-kernel-server"),
    need("/sbin/mount.nfs", "nfs-common"),
    need("/sbin/rpcbind", "rpcbind"),
];

/// To count system calls.
pub(crate) const STRACE: &[Need] = &[need("strace", "strace")];

/// To compare with distcc.
pub(crate) const DISTCC: &[Need] = &[need("distccd", "distcc")];

/// What the workspace's tests run.
pub(crate) const TESTS: &[Need] = &[
    GCC,
    GXX,
    LIBC,
    BINUTILS,
    MAKE,
    need("ninja", "ninja-build"),
    need("ccache", "ccache"),
    need("clang", "clang"),
    // Clang's profiling and sanitizer runtimes; also in the package of Debian's default Clang.
    need("/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.profile-x86_64.a", "libclang-rt-14-dev"),
    need("llvm-ar", "llvm"),
    need("ld.lld", "lld"),
    need("mold", "mold"),
    need("gfortran", "gfortran"),
    need("/usr/lib/gcc/x86_64-linux-gnu/12/cc1obj", "gobjc"),
    need("/usr/lib/gcc/x86_64-linux-gnu/12/cc1objplus", "gobjc++"),
    need("/usr/lib/gcc/x86_64-linux-gnu/12/plugin/include/gcc-plugin.h", "gcc-12-plugin-dev"),
    need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    need("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu"),
    need("script", "bsdutils"),
    need("systemd-analyze", "systemd"),
    need("unshare", "util-linux"),
    need("faketime", "faketime"),
];

impl Need {
    fn is_met(&self) -> bool {
        if self.probe.starts_with('/') { Path::new(self.probe).exists() } else { process::on_path(self.probe) }
    }
}

/// Installs what is missing.
///
/// A private folder for downloads: in Debian's container images any `apt-get update` that runs at the same time
/// deletes every package file in the common one (`/etc/apt/apt.conf.d/docker-clean`).
pub(crate) fn ensure(needs: &[Need]) -> anyhow::Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let list = packages.join(" ");
    // SAFETY: geteuid has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        bail!("missing on this machine; as root: apt-get install {list}");
    }
    eprintln!("xtask: installing {list}");
    let cache = tempfile::Builder::new().prefix("xtask-apt-").tempdir()?;
    std::fs::create_dir(cache.path().join("partial"))?;
    let apt = |arguments: &[&str]| {
        let mut command = apt_get();
        command.arg("-o").arg(format!("Dir::Cache::archives={}", cache.path().display()));
        process::run(command.args(["-o", "DPkg::Lock::Timeout=300", "--yes"]).args(arguments))
    };
    let mut install = vec!["--no-install-recommends", "install"];
    install.extend(&packages);
    if apt(&install).is_err() {
        // Usually there are no package lists yet, or old ones.
        process::check_interrupted()?;
        apt(&["update"])?;
        apt(&install).with_context(|| format!("cannot install {list}"))?;
    }
    match missing.iter().find(|need| !need.is_met()) {
        Some(need) => bail!("{} is still missing after installing {}", need.probe, need.package),
        None => Ok(()),
    }
}

/// `apt-get` that asks nothing.
pub(crate) fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "APT::Sandbox::User=root"]);
    command
}

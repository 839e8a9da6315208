//! A terminal for the command's standard error (and output, where the user has one for both), when the user's is one:
//! compilers ask `isatty(3)` and the window's width, and no flag tells them the same without being recorded somewhere
//! (`-frecord-gcc-switches`).

use std::io;
use std::os::fd::OwnedFd;

use model::command::Terminal;
use rustix::fs::{OFlags, open as open_file};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

/// Opens a pseudo-terminal of this size (pty(7)): the side to read from, and the side for the command. It passes bytes
/// on as they are; the user's own terminal makes of them what it makes.
pub(super) fn open(size: Terminal) -> io::Result<(OwnedFd, OwnedFd)> {
    let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&outer)?;
    unlockpt(&outer)?;
    let name = ptsname(&outer, Vec::new())?;
    let inner = open_file(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    let mut mode = tcgetattr(&inner)?;
    mode.make_raw();
    tcsetattr(&inner, OptionalActions::Now, &mode)?;
    tcsetwinsize(&inner, Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    Ok((outer, inner))
}

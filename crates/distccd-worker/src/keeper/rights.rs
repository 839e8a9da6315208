//! Whose rights a keeper uses. The command itself changes its user for good (`command`); the keeper of a root worker
//! borrows the user's ids for what touches files, and keeps of root's powers what each step needs.

use std::io;

use model::command::Identity;
use rustix::process::Gid;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups};

/// Files are made and looked for as this user from now on, with all of root's powers: the overlay works by the rights of
/// whoever mounts it, and its copies must have their owners, but a server that squashes root knows only the user.
pub(crate) fn act_as(identity: &Identity) -> io::Result<()> {
    let groups: Vec<Gid> = identity.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    set_thread_groups(&groups)?;
    // SAFETY: both concern this thread, the only one, and always answer with the former id.
    unsafe {
        libc::setfsgid(identity.gid);
        libc::setfsuid(identity.uid);
    }
    // To leave root for files takes the powers over files away; they are still permitted.
    use_capabilities(|permitted| permitted)
}

/// From now on files are written by the rights of `uid` alone. What remains to a user is what reading the upper layer
/// takes: its attributes (`trusted.overlay.*`), and directories that only their owner may read. Root keeps it all: it
/// writes into everybody's directories, and so did its command.
pub(crate) fn write_as(uid: u32) -> io::Result<()> {
    if uid == 0 {
        return Ok(());
    }
    use_capabilities(|permitted| permitted & (CapabilitySet::SYS_ADMIN | CapabilitySet::DAC_READ_SEARCH))
}

fn use_capabilities(of: impl Fn(CapabilitySet) -> CapabilitySet) -> io::Result<()> {
    let sets = capabilities(None)?;
    Ok(set_capabilities(None, CapabilitySets { effective: of(sets.permitted), ..sets })?)
}

//! Symbolic links.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::error::CommitError;
use crate::facts::Facts;
use crate::publish::Publisher;
use crate::survey::Left;
use crate::tree::Opened;
use crate::{Strategy, temporary};

impl Publisher<'_> {
    /// Publishes symbolic links. Those that are there as wanted stay, and come first, lest their other names part from
    /// them.
    pub(crate) fn publish_symlinks(&mut self, links: &[&Left]) -> Result<(), CommitError> {
        let mut missing = Vec::new();
        for left in links {
            let target = self.target(left)?;
            let dir = self.real_dir(left.place)?;
            match points_at(&dir, &left.name, &target) {
                true => self.lead(left),
                false => missing.push((left, target)),
            }
        }
        missing.into_iter().try_for_each(|(left, target)| self.publish_symlink(left, &target))
    }

    fn target(&mut self, left: &Left) -> Result<CString, CommitError> {
        let dir = self.upper_dir(left)?;
        let target = rustix::fs::readlinkat(dir.as_fd(), &*left.name, Vec::new());
        target.map_err(|errno| self.unreadable(left, errno))
    }

    fn publish_symlink(&mut self, left: &Left, target: &CStr) -> Result<(), CommitError> {
        let dir = self.real_dir(left.place)?;
        let now = self.make_room(&dir, left)?;
        if self.follow_leader(&dir, left, now.as_ref())? {
            return Ok(());
        }
        let temporary = temporary::name_for(&left.name, self.request.attempt);
        let by_rename = self.layer_of(left.place).strategy == Strategy::Rename;
        let name = if by_rename { &temporary } else { &left.name };
        self.unlink_if_there(&dir, left, name)?;
        self.check("symlink", left.place, &left.name)?;
        match self.calls.symlink(target, dir.as_fd(), name) {
            Ok(()) => {}
            // Done, and the reply was lost.
            Err(Errno::EXIST) if points_at(&dir, name, target) => {}
            Err(errno) => return Err(self.failed("symlink", left.place, &left.name, errno)),
        }
        if by_rename {
            let made = Facts::at(dir.as_fd(), name);
            let made = made.map_err(|errno| self.failed("stat", left.place, &left.name, errno))?;
            self.rename(&dir, left, &temporary, &made)?;
        }
        self.on_name_changed(left.place);
        self.on_made(left, target.to_bytes());
        self.lead(left);
        Ok(())
    }
}

fn points_at(dir: &Opened<'_>, name: &CStr, target: &CStr) -> bool {
    rustix::fs::readlinkat(dir.as_fd(), name, Vec::new()).is_ok_and(|now| now.as_c_str() == target)
}

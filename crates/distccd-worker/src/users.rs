//! The user database of this machine (`passwd`, `group`, LDAP: whatever the system is configured for).
//!
//! A look-up may ask a directory server across the network, so it belongs on an attempt's own thread, and what it found
//! is believed for a minute.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fmt;
use std::io;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the database says of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The primary group.
    pub gid: u32,
    /// All groups of the user, the primary one among them.
    pub groups: Vec<u32>,
}

/// How long an answer is believed, also the one that there is no such user.
const BELIEVED: Duration = Duration::from_secs(60);

type Answer = Option<Arc<User>>;
type Source = dyn Fn(u32) -> io::Result<Option<User>> + Send + Sync;

/// Looks users up, and remembers.
#[derive(Clone)]
pub struct Users {
    source: Arc<Source>,
    known: Arc<Mutex<HashMap<u32, (Instant, Answer)>>>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Users {
    /// The database of this machine.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::asking(user_of)
    }

    fn asking(source: impl Fn(u32) -> io::Result<Option<User>> + Send + Sync + 'static) -> Self {
        Self { source: Arc::new(source), known: Arc::default() }
    }

    /// The user of this number; `None` if there is none. Blocks.
    ///
    /// # Errors
    /// When the database cannot be asked; that is not remembered.
    pub fn look_up(&self, uid: u32) -> io::Result<Option<Arc<User>>> {
        self.look_up_at(uid, Instant::now())
    }

    fn look_up_at(&self, uid: u32, now: Instant) -> io::Result<Answer> {
        let fresh = |asked: Instant| now.saturating_duration_since(asked) < BELIEVED;
        if let Some((asked, answer)) = self.lock().get(&uid)
            && fresh(*asked)
        {
            return Ok(answer.clone());
        }
        // Not under the lock: a slow answer about one user keeps nobody from hearing about another.
        let answer = (self.source)(uid)?.map(Arc::new);
        let mut known = self.lock();
        known.retain(|_, (asked, _)| fresh(*asked));
        known.insert(uid, (now, answer.clone()));
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, (Instant, Answer)>> {
        // What is in there is whole after each statement.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More than an entry or a list of groups ever needs; an answer that wants more is none.
const LARGEST: usize = 1 << 20;

fn user_of(uid: u32) -> io::Result<Option<User>> {
    let Some((name, gid)) = entry_of(uid)? else { return Ok(None) };
    Ok(Some(User { gid, groups: groups_of(&name, gid)? }))
}

/// Name and primary group, by `getpwuid_r(3)`.
fn entry_of(uid: u32) -> io::Result<Option<(CString, u32)>> {
    let mut buffer = vec![0; 1024];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::zeroed();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to live, writable memory, and the length is the buffer's.
        let error = unsafe { libc::getpwuid_r(uid, entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found) };
        match error {
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: success with a result means that `entry` is filled in and its strings lie in `buffer`.
                let (name, gid) = unsafe { (CStr::from_ptr((*found).pw_name).to_owned(), (*found).pw_gid) };
                return Ok(Some((name, gid)));
            }
            // Some systems say so of a user that is not there (getpwuid_r(3), "ERRORS").
            libc::ENOENT | libc::ESRCH => return Ok(None),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < LARGEST => buffer.resize(buffer.len() * 4, 0),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// All groups of a user, the primary one among them, by `getgrouplist(3)`.
fn groups_of(name: &CStr, gid: u32) -> io::Result<Vec<u32>> {
    let mut groups = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: a C string, and room for `count` groups.
        let fits = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &mut count) } >= 0;
        let count = usize::try_from(count).unwrap_or(0);
        if fits {
            groups.truncate(count);
            return Ok(groups);
        }
        if groups.len() >= LARGEST {
            return Err(io::Error::other("the list of groups has no end"));
        }
        groups.resize(count.max(groups.len() * 2).min(LARGEST), 0);
    }
}

/// Whether this machine has a name for a group, by `getgrgid_r(3)`.
///
/// # Errors
/// When the database cannot be asked.
pub(crate) fn group_has_name(gid: u32) -> io::Result<bool> {
    let mut buffer = vec![0; 1024];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::group>::zeroed();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to live, writable memory, and the length is the buffer's.
        let error = unsafe { libc::getgrgid_r(gid, entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found) };
        match error {
            0 => return Ok(!found.is_null()),
            libc::ENOENT | libc::ESRCH => return Ok(false),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < LARGEST => buffer.resize(buffer.len() * 4, 0),
            // An entry that large is one.
            libc::ERANGE => return Ok(true),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn the_system_knows_root_and_nobody_of_an_absurd_number() {
        let users = Users::of_this_machine();

        let root = users.look_up(0).unwrap().expect("root has an entry");
        assert!(root.gid == 0 && root.groups.contains(&0), "{root:?}");
        assert_eq!(users.look_up(3_999_999_999).unwrap(), None);
        assert!(group_has_name(0).unwrap() && !group_has_name(3_999_999_999).unwrap());
    }

    #[test]
    fn an_answer_is_believed_for_a_minute() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let users = Users::asking(move |uid| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok((uid == 7).then(|| User { gid: 1, groups: vec![1] }))
        });
        let start = Instant::now();

        for uid in [7, 8] {
            assert_eq!(users.look_up_at(uid, start).unwrap().is_some(), uid == 7);
            assert_eq!(users.look_up_at(uid, start + BELIEVED / 2).unwrap().is_some(), uid == 7);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        users.look_up_at(7, start + BELIEVED).unwrap();

        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert_eq!(users.lock().len(), 1, "what is stale is let go of");
    }

    #[test]
    fn a_database_that_does_not_answer_is_asked_again() {
        let users = Users::asking(|_| Err(io::ErrorKind::TimedOut.into()));

        assert!(users.look_up(7).is_err());
        assert!(users.lock().is_empty());
    }
}

//! Settings that name users: by number, or by a name that this machine knows.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::ptr;

use daemon_kit::layers::{Raw, quoted, quoted_list};
use model::ids::UserId;

/// The largest weight: a hundred times the usual share.
const MOST_WEIGHT: u64 = 10_000;

/// More than an entry of the user database ever needs.
const LARGEST_ENTRY: usize = 1 << 20;

/// A list of users.
pub(crate) fn users(raw: &Raw) -> Result<BTreeSet<UserId>, String> {
    raw.as_list(',')?.iter().map(|name| user(name)).collect()
}

/// The list as a file would give it.
pub(crate) fn shown_users(users: &BTreeSet<UserId>) -> String {
    quoted_list(users.iter().map(|user| user.uid()))
}

/// Weights of users, in hundredths of the usual share.
pub(crate) fn weights(raw: &Raw) -> Result<BTreeMap<UserId, u32>, String> {
    let weight = |(name, raw): (String, Raw)| {
        let weight =
            raw.as_number_in(1..=MOST_WEIGHT).map_err(|problem| format!("gives {name} a weight that {problem}"))?;
        Ok((user(&name)?, u32::try_from(weight).unwrap_or(u32::MAX)))
    };
    raw.as_table()?.into_iter().map(weight).collect()
}

/// The weights as a file would give them.
pub(crate) fn shown_weights(weights: &BTreeMap<UserId, u32>) -> String {
    if weights.is_empty() {
        return "{}".to_owned();
    }
    let pairs: Vec<String> =
        weights.iter().map(|(user, weight)| format!("{} = {weight}", quoted(user.uid()))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

fn user(name: &str) -> Result<UserId, String> {
    if let Ok(uid) = name.parse() {
        return Ok(UserId::new(uid));
    }
    let unknown =
        || format!("names somebody wrong: `{name}` is no user of this machine; give a name that it knows, or the uid");
    look_up(name).map(UserId::new).ok_or_else(unknown)
}

/// The number of a user, by `getpwnam_r(3)`; none also when the database cannot be asked.
fn look_up(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut buffer = vec![0; 1024];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::zeroed();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to live, writable memory, and the length is the buffer's.
        let error = unsafe {
            libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found)
        };
        match error {
            // SAFETY: success with a result means that `entry` is filled in.
            0 => return (!found.is_null()).then(|| unsafe { (*found).pw_uid }),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < LARGEST_ENTRY => buffer.resize(buffer.len() * 4, 0),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_or_numbered() {
        let root = UserId::new(0);

        assert_eq!(users(&Raw::text("root,12")), Ok(BTreeSet::from([root, UserId::new(12)])));
        assert_eq!(weights(&Raw::text("root=300")), Ok(BTreeMap::from([(root, 300)])));
        assert!(users(&Raw::text("no such user")).unwrap_err().contains("or the uid"));
        assert!(weights(&Raw::text("root")).unwrap_err().contains("`name=value`"));
    }
}

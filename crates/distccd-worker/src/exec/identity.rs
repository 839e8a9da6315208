//! Who a command runs as. The server vouches for the uid alone: the groups are what the launcher claims, and a root
//! worker grants of them what this machine's own user database gives to that user.

use std::collections::BTreeSet;
use std::io;

use model::command::Identity;
use model::outcome::AttemptFailure;

use crate::users::{User, Users, group_has_name};

/// Groups below are the system's own (`SYS_GID_MAX` of login.defs).
const FIRST_ORDINARY_GROUP: u32 = 1000;

/// "Unchanged" to `setresuid(2)` and its like: to become that is to stay root.
const NO_ID: u32 = u32::MAX;

/// The identity to change to, if any; refused when it is another's and we may not, or when it claims what is not its
/// own. May block on the user database.
pub(super) fn change_of_user(claim: &Identity, users: &Users) -> Result<Option<Identity>, AttemptFailure> {
    let us = rustix::process::geteuid();
    if us.is_root() {
        let granted = granted_by_root(claim, users)?;
        return Ok((!is_ours(&granted)).then_some(granted));
    }
    if us.as_raw() == claim.uid {
        return Ok(None);
    }
    let us = us.as_raw();
    Err(AttemptFailure::Refused(format!(
        "this worker runs as uid {us} and so only for uid {us}, not for uid {}: start it as root to serve everybody",
        claim.uid
    )))
}

fn granted_by_root(claim: &Identity, users: &Users) -> Result<Identity, AttemptFailure> {
    if [claim.uid, claim.gid].into_iter().chain(claim.groups.iter().copied()).any(|id| id == NO_ID) {
        return Err(AttemptFailure::Refused(format!("uid {} claims the id {NO_ID}, which is nobody's", claim.uid)));
    }
    if claim.uid == 0 {
        return Ok(claim.clone()); // may have any group anyway
    }
    let unanswered = |error: io::Error| {
        AttemptFailure::SpawnFailed(format!("the user database does not answer about uid {}: {error}", claim.uid))
    };
    match users.look_up(claim.uid).map_err(unanswered)? {
        Some(user) => groups_of_user(claim, &user).ok_or_else(|| {
            // What it writes would belong to another group than the user's own files.
            AttemptFailure::Refused(format!(
                "uid {} is not in group {} by the user database of this machine: add it here, or submit with a group that it has",
                claim.uid, claim.gid
            ))
        }),
        None if is_privileged(claim.gid).map_err(unanswered)? => Err(AttemptFailure::Refused(format!(
            "this machine has no user of uid {}, so nothing proves its group {}: add the user here (passwd, LDAP)",
            claim.uid, claim.gid
        ))),
        None => Ok(Identity { uid: claim.uid, gid: claim.gid, groups: Vec::new() }),
    }
}

/// Whether this process is just that already. A root that is root of a user namespace alone may not even set the groups
/// that it has.
fn is_ours(identity: &Identity) -> bool {
    let all = |gid: u32, groups: &[u32]| groups.iter().copied().chain([gid]).collect::<BTreeSet<u32>>();
    let Ok(groups) = rustix::process::getgroups() else { return false };
    let groups: Vec<u32> = groups.into_iter().map(|group| group.as_raw()).collect();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    (identity.uid, identity.gid) == (uid, gid) && all(identity.gid, &identity.groups) == all(gid, &groups)
}

/// The claim, as far as the database bears it out; `None` when the group that new files get is not among the user's.
fn groups_of_user(claim: &Identity, user: &User) -> Option<Identity> {
    let own = claim.gid == user.gid || user.groups.contains(&claim.gid);
    own.then(|| Identity {
        uid: claim.uid,
        gid: claim.gid,
        groups: user.groups.iter().copied().filter(|group| claim.groups.contains(group)).collect(),
    })
}

/// Whether a group may carry rights that somebody gave away on this machine: the system's own ones, and every one with
/// a name here (`docker`, `wheel`, a project).
fn is_privileged(gid: u32) -> io::Result<bool> {
    Ok(gid < FIRST_ORDINARY_GROUP || group_has_name(gid)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(uid: u32, gid: u32, groups: &[u32]) -> Identity {
        Identity { uid, gid, groups: groups.to_vec() }
    }

    fn granted(claim: &Identity) -> Result<Identity, AttemptFailure> {
        granted_by_root(claim, &Users::of_this_machine())
    }

    #[test]
    fn of_the_claimed_groups_a_user_gets_its_own() {
        let user = User { gid: 100, groups: vec![100, 20, 30] };

        assert_eq!(groups_of_user(&claim(7, 100, &[20, 0, 44]), &user), Some(claim(7, 100, &[20])));
        assert_eq!(
            groups_of_user(&claim(7, 30, &[30, 20, 100]), &user),
            Some(claim(7, 30, &[100, 20, 30])),
            "as newgrp does"
        );
        assert_eq!(groups_of_user(&claim(7, 0, &[]), &user), None, "not root's");
    }

    #[test]
    fn nobody_gets_no_more_than_its_own_group() {
        assert_eq!(granted(&claim(65534, 65534, &[0, 65534, 6])), granted(&claim(65534, 65534, &[65534])));
        let Err(AttemptFailure::Refused(why)) = granted(&claim(65534, 0, &[0])) else { panic!("root's group") };
        assert!(why.contains("uid 65534 is not in group 0"), "{why}");
    }

    #[test]
    fn a_stranger_gets_no_group_that_might_mean_something() {
        assert_eq!(
            granted(&claim(3_000_000_007, 3_000_000_008, &[0, 6])),
            Ok(claim(3_000_000_007, 3_000_000_008, &[]))
        );
        for gid in [0, 6, 999, 65534] {
            let Err(AttemptFailure::Refused(why)) = granted(&claim(3_000_000_007, gid, &[])) else { panic!("{gid}") };
            assert!(why.contains("uid 3000000007") && why.contains("add the user"), "{why}");
        }
    }

    #[test]
    fn the_number_that_means_unchanged_is_refused_everywhere() {
        for odd in
            [claim(NO_ID, 5000, &[]), claim(65534, NO_ID, &[]), claim(65534, 65534, &[NO_ID]), claim(0, NO_ID, &[])]
        {
            assert!(matches!(granted(&odd), Err(AttemptFailure::Refused(_))), "{odd:?}");
        }
    }

    #[test]
    fn root_keeps_what_it_claims() {
        assert_eq!(granted(&claim(0, 5, &[6, 7])), Ok(claim(0, 5, &[6, 7])));
    }

    #[test]
    fn what_we_are_needs_no_change() {
        let groups: Vec<u32> = rustix::process::getgroups().unwrap().into_iter().map(|group| group.as_raw()).collect();
        let us = claim(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw(), &groups);

        assert_eq!(change_of_user(&us, &Users::of_this_machine()), Ok(None));
    }
}

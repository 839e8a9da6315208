use super::*;

fn told(path: &Path, names: &[&'static str], number: u64) -> v1::ChangedDirectory {
    let path = Bytes::copy_from_slice(path.as_os_str().as_bytes());
    let names = names.iter().map(|name| Bytes::from_static(name.as_bytes())).collect();
    v1::ChangedDirectory { path, names, number }
}

/// One of a machine with all its files on NFS.
fn suspicious() -> Revalidation {
    on("nfs4")
}

fn on(filesystem: &str) -> Revalidation {
    let filesystems = Some(Filesystems::only(filesystem));
    Revalidation(Arc::new(Inner {
        filesystems,
        state: Mutex::default(),
        learned: Mutex::default(),
        progress: Condvar::new(),
    }))
}

const ME: u32 = 1000;

fn attempt(arrived: Tick) -> Attempt<'static> {
    Attempt { uid: ME, identity: None, arrived, given_up: &|| false }
}

fn wishes(revalidation: &Revalidation, arrived: Tick) -> Vec<PathBuf> {
    let wishes = revalidation.0.state().told_until(&attempt(arrived));
    wishes.iter().map(|wish| PathBuf::from(OsStr::from_bytes(&wish.place.1))).collect()
}

fn begin(revalidation: &Revalidation, arrived: Tick) -> Look {
    let mut state = revalidation.0.state();
    let wishes = state.told_until(&attempt(arrived));
    state.begin_all(&wishes).remove(0)
}

#[test]
fn what_one_assignment_tells_is_done_once_for_all_that_follow() {
    let (dir, revalidation) = (tempfile::tempdir().unwrap(), suspicious());
    let arrived = revalidation.on_assignment(ME, &[told(dir.path(), &["a.h"], 1)]);
    let later = revalidation.on_assignment(ME, &[]);
    assert_eq!(wishes(&revalidation, later), [dir.path()]);

    revalidation.look_at_told(&attempt(later)).unwrap();

    assert!(wishes(&revalidation, later).is_empty() && wishes(&revalidation, arrived).is_empty());
}

#[test]
fn what_is_told_later_does_not_concern_an_earlier_attempt() {
    let (dir, revalidation) = (tempfile::tempdir().unwrap(), suspicious());
    let arrived = revalidation.on_assignment(ME, &[]);

    let later = revalidation.on_assignment(ME, &[told(dir.path(), &[], 1)]);

    assert!(wishes(&revalidation, arrived).is_empty());
    assert_eq!(wishes(&revalidation, later), [dir.path()]);
}

#[test]
fn an_attempt_that_waited_still_gets_what_it_was_told_when_more_is_told_of_the_same() {
    let (dir, revalidation) = (tempfile::tempdir().unwrap(), suspicious());
    let arrived = revalidation.on_assignment(ME, &[told(dir.path(), &["a.h"], 1)]);

    revalidation.on_assignment(ME, &[told(dir.path(), &["b.h"], 2)]);

    assert_eq!(wishes(&revalidation, arrived), [dir.path()]);
}

#[test]
fn a_look_that_began_before_the_telling_is_not_enough() {
    let (dir, revalidation) = (tempfile::tempdir().unwrap(), suspicious());
    let first = revalidation.on_assignment(ME, &[told(dir.path(), &[], 1)]);
    let look = begin(&revalidation, first);

    let second = revalidation.on_assignment(ME, &[told(dir.path(), &[], 2)]);
    revalidation.0.state().end(&look, true);

    assert_eq!(wishes(&revalidation, second), [dir.path()]);
}

#[test]
fn the_same_number_again_is_no_news_until_another_server_counts() {
    let (dir, revalidation) = (tempfile::tempdir().unwrap(), suspicious());
    let arrived = revalidation.on_assignment(ME, &[told(dir.path(), &[], 5)]);
    revalidation.look_at_told(&attempt(arrived)).unwrap();

    let again = revalidation.on_assignment(ME, &[told(dir.path(), &[], 5)]);
    assert!(wishes(&revalidation, again).is_empty());

    revalidation.on_welcome();
    let after = revalidation.on_assignment(ME, &[told(dir.path(), &[], 5)]);
    assert_eq!(wishes(&revalidation, after), [dir.path()]);
}

#[test]
fn a_look_that_hangs_fails_the_attempt_and_nothing_else() {
    let (dir, revalidation) = (tempfile::tempdir().unwrap(), suspicious());
    let arrived = revalidation.on_assignment(ME, &[told(dir.path(), &[], 1)]);
    // Somebody looks and does not come back.
    begin(&revalidation, arrived);

    let hurried = Attempt { given_up: &|| true, ..attempt(arrived) };
    let error = revalidation.look_at_told(&hurried).unwrap_err();

    assert!(error.contains("does not answer"), "{error}");
    assert_eq!(wishes(&revalidation, arrived), [dir.path()], "it is still to be done");
}

#[test]
fn a_directory_of_the_launchers_time_is_not_looked_at() {
    let (dir, revalidation) = (tempfile::tempdir().unwrap(), suspicious());
    let path = Bytes::copy_from_slice(dir.path().as_os_str().as_bytes());
    let stamp = v1::Stamp { path, mtime_ns: looking::changed_at(dir.path()).unwrap(), ..Default::default() };
    let arrived = revalidation.on_assignment(ME, &[]);

    revalidation.await_searched(std::slice::from_ref(&stamp), &attempt(arrived)).unwrap();
    assert!(revalidation.0.state().looked.is_empty());

    let older = v1::Stamp { mtime_ns: stamp.mtime_ns - 1, ..stamp.clone() };
    revalidation.await_searched(&[older], &attempt(arrived)).unwrap();
    assert_eq!(revalidation.0.state().looked.len(), 1, "it was changed since, and looked at");

    let newer = v1::Stamp { mtime_ns: stamp.mtime_ns + 1, ..stamp };
    let hurried = Attempt { given_up: &|| true, ..attempt(arrived) };
    let error = revalidation.await_searched(&[newer], &hurried).unwrap_err();
    assert!(error.contains("still sees it as it was"), "{error}");
}

#[test]
fn a_directory_of_the_launchers_time_is_looked_at_where_its_names_may_be_old_by_themselves() {
    let (dir, revalidation) = (tempfile::tempdir().unwrap(), on("fuse.glusterfs"));
    let path = Bytes::copy_from_slice(dir.path().as_os_str().as_bytes());
    let stamp = v1::Stamp { path, mtime_ns: looking::changed_at(dir.path()).unwrap(), ..Default::default() };
    let arrived = revalidation.on_assignment(ME, &[]);

    revalidation.await_searched(&[stamp], &attempt(arrived)).unwrap();

    assert_eq!(
        revalidation.0.state().looked.len(),
        1,
        "what was written in place there shows in no time of the directory"
    );
}

#[test]
fn nothing_is_done_where_nothing_is_hidden_or_when_it_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let off = Revalidation::new(false);

    let arrived = off.on_assignment(ME, &[told(dir.path(), &[], 1)]);

    assert!(wishes(&off, arrived).is_empty() && !off.may_hide(dir.path()));
}

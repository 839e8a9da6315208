use super::*;

const HORIZON: Duration = Duration::from_secs(60);
const ME: u32 = 1000;

fn worker(number: u32) -> WorkerId {
    WorkerId::new(number)
}

/// A book whose first doubt is over.
fn book() -> DirectoryBook {
    let mut book = DirectoryBook::new(HORIZON, Timestamp::ZERO);
    book.advance(Timestamp::ZERO + HORIZON);
    book
}

fn tell(book: &mut DirectoryBook, to: u32, user: u32) -> Told {
    book.tell(&Reader { worker: worker(to), user, near: &[], below: b"/mnt/build" })
}

fn commit(book: &mut DirectoryBook, by: u32, user: u32, file: &str) {
    book.note_files(worker(by), Some(user), [file.as_bytes()].into_iter());
}

fn paths(told: &Told) -> Vec<(&[u8], Vec<&[u8]>)> {
    told.changed.iter().map(|dir| (&dir.path[..], dir.names.iter().map(|name| &name[..]).collect())).collect()
}

#[test]
fn a_commit_is_told_once_to_every_other_worker() {
    let mut book = book();

    commit(&mut book, 1, ME, "/mnt/build/gen/a.h");

    assert_eq!(paths(&tell(&mut book, 2, ME)), [(&b"/mnt/build/gen"[..], vec![&b"a.h"[..]])]);
    assert_eq!(tell(&mut book, 2, ME), Told::default());
    assert_eq!(tell(&mut book, 1, ME), Told::default(), "it made it itself");
}

#[test]
fn one_that_comes_back_is_told_again() {
    let mut book = book();
    commit(&mut book, 1, ME, "/mnt/build/a.h");
    tell(&mut book, 2, ME);

    book.forget_told(worker(2));

    assert_eq!(tell(&mut book, 2, ME).changed.len(), 1);
}

#[test]
fn others_are_told_of_where_the_job_reads_only() {
    let mut book = book();
    commit(&mut book, 1, 7, "/mnt/build/gen/a.h");
    commit(&mut book, 1, 7, "/mnt/tools/include/t.h");
    commit(&mut book, 1, 7, "/mnt/elsewhere/e.h");

    let near = [Bytes::from_static(b"/mnt/tools/include")];
    let reader = Reader { worker: worker(2), user: ME, near: &near, below: b"/mnt/build" };

    let told = book.tell(&reader);
    let dirs: Vec<_> = told.changed.iter().map(|dir| &dir.path[..]).collect();
    assert_eq!(dirs, [&b"/mnt/build/gen"[..], b"/mnt/tools/include"]);
    assert_eq!(book.tell(&reader), told, "and again, for the next job may read elsewhere");
}

#[test]
fn what_nobody_knows_the_user_of_is_told_to_all() {
    let mut book = book();

    book.note_directories(None, [&b"/mnt/elsewhere"[..]].into_iter());

    assert_eq!(paths(&tell(&mut book, 2, ME)), [(&b"/mnt/elsewhere"[..], vec![])]);
    assert_eq!(tell(&mut book, 2, 7).changed.len(), 0, "told once to a worker is enough");
}

#[test]
fn many_names_are_all_of_the_directory() {
    let mut book = book();
    for number in 0..=MAX_NAMES {
        commit(&mut book, 1, ME, &format!("/mnt/build/{number}.h"));
    }

    assert_eq!(paths(&tell(&mut book, 2, ME)), [(&b"/mnt/build"[..], vec![])]);

    commit(&mut book, 1, ME, "/mnt/build/last.h");
    assert_eq!(paths(&tell(&mut book, 2, ME)), [(&b"/mnt/build"[..], vec![&b"last.h"[..]])], "those before were told");
}

#[test]
fn what_is_older_than_the_horizon_is_forgotten() {
    let mut book = book();
    commit(&mut book, 1, ME, "/mnt/build/a.h");
    let committed = Timestamp::ZERO + HORIZON;

    book.advance(committed + HORIZON);
    assert_eq!(tell(&mut book, 2, ME).changed.len(), 1);

    book.advance(committed + HORIZON + Duration::from_micros(1));
    assert_eq!(tell(&mut book, 3, ME), Told::default());
    assert!(book.directories.is_empty() && book.logs.is_empty());
}

#[test]
fn a_new_server_is_unsure_for_a_horizon() {
    let mut book = DirectoryBook::new(HORIZON, Timestamp::ZERO);
    assert!(tell(&mut book, 1, ME).is_unsure);

    book.advance(Timestamp::ZERO + HORIZON);

    assert!(!tell(&mut book, 1, ME).is_unsure);
}

#[test]
fn an_overflow_is_a_doubt_of_that_user_for_a_horizon() {
    let mut book = book();
    for number in 0..=MAX_DIRECTORIES {
        commit(&mut book, 1, ME, &format!("/mnt/other/{number}/a.o"));
    }

    let told = tell(&mut book, 2, ME);
    assert!(told.is_unsure && told.changed.len() == MAX_DIRECTORIES);
    assert!(!tell(&mut book, 2, 7).is_unsure);

    book.advance(Timestamp::ZERO + HORIZON * 2);
    assert!(!tell(&mut book, 2, ME).is_unsure);
}

#[test]
fn users_beyond_the_bound_make_everybody_unsure() {
    let mut book = book();
    for user in 0..=MAX_USERS {
        commit(&mut book, 1, u32::try_from(user).unwrap(), "/mnt/other/a.o");
    }

    assert_eq!(book.logs.len(), MAX_USERS);
    assert!(tell(&mut book, 2, 5_000).is_unsure);
}

/// The same small generator as anywhere (xorshift64), so that a seed keeps its meaning.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A commit as the model keeps it, and who has been told of it.
struct Committed {
    at: Timestamp,
    worker: u32,
    user: u32,
    dir: String,
    name: String,
    told: Vec<u32>,
}

/// Against a model that keeps every commit for ever: whatever the history, no job starts on a worker that has not been
/// told of each commit of the last horizon, or told to doubt.
#[test]
fn no_job_runs_without_having_been_told() {
    for seed in 1..=200 {
        let (mut dice, mut book, mut now) = (Dice(seed), book(), Timestamp::ZERO + HORIZON);
        let mut commits: Vec<Committed> = Vec::new();
        for _ in 0..400 {
            now = now + Duration::from_millis(dice.roll(2_000));
            book.advance(now);
            let (by, user) = (u32::try_from(dice.roll(4)).unwrap(), u32::try_from(dice.roll(3)).unwrap());
            match dice.roll(10) {
                0 => {
                    book.forget_told(worker(by));
                    commits.iter_mut().for_each(|commit| commit.told.retain(|told| *told != by));
                }
                1..=5 => {
                    let (dir, name) = (format!("/mnt/{user}/{}", dice.roll(5)), format!("{}.h", dice.roll(30)));
                    commit(&mut book, by, user, &format!("{dir}/{name}"));
                    // The last one to write a file is the one whose version is to be seen.
                    commits.retain(|old| (old.user, &old.dir, &old.name) != (user, &dir, &name));
                    commits.push(Committed { at: now, worker: by, user, dir, name, told: Vec::new() });
                }
                _ => {
                    let told = tell(&mut book, by, user);
                    let known = |commit: &Committed| {
                        told.changed.iter().any(|dir| {
                            let named = dir.names.iter().any(|name| name == commit.name.as_bytes());
                            dir.path == commit.dir.as_bytes() && (dir.names.is_empty() || named)
                        })
                    };
                    for commit in commits.iter_mut().filter(|commit| commit.user == user) {
                        if known(commit) {
                            commit.told.push(by);
                        }
                        let expired = commit.at + HORIZON < now;
                        let fine = expired || commit.worker == by || commit.told.contains(&by) || told.is_unsure;
                        assert!(fine, "seed {seed}: worker {by} was not told of {}/{}", commit.dir, commit.name);
                    }
                }
            }
        }
    }
}

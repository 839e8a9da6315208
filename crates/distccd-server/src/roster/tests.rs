use super::*;

const LEASE: Duration = Duration::from_secs(5);

const fn id(number: u8) -> Incarnation {
    Incarnation::from_bytes([number; 16])
}

/// A worker that was last welcomed by this server.
fn worker(number: u8, last_server: Option<Incarnation>) -> v1::Register {
    v1::Register {
        hello: Some(proto::version::hello("test", [number; 16], "here")),
        obituary_key: vec![number; 16].into(),
        last_server: last_server.map(|server| server.as_bytes().to_vec()).unwrap_or_default().into(),
        ..Default::default()
    }
}

struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("state/roster")
    }

    fn server(&self, number: u8) -> (Arc<Roster>, Option<Inherited>) {
        Roster::open(Some(&self.file()), id(number), LEASE)
    }

    /// A server long after its start, with these workers.
    fn settled(&self, number: u8, workers: &[u8]) -> Arc<Roster> {
        let (roster, _) = self.server(number);
        roster.settle();
        for &number in workers {
            roster.enter_now(&worker(number, None)).unwrap();
        }
        roster
    }

    /// Whom the next server waits for, if it knows.
    fn expected(&self) -> Option<Vec<Incarnation>> {
        self.server(99).1.map(|inherited| inherited.workers.into_keys().collect())
    }
}

#[test]
fn the_next_server_knows_who_was_let_in_and_has_not_left() {
    let machine = Machine::new();
    let roster = machine.settled(101, &[1, 2]);
    let entered = roster.enter_now(&worker(3, None)).unwrap();
    assert!(!entered.is_doubtful);

    roster.leave_now(id(3), entered.entry);

    let inherited = machine.server(102).1.unwrap();
    assert_eq!(inherited.workers, BTreeMap::from([(id(1), vec![1; 16]), (id(2), vec![2; 16])]));
    assert_eq!(inherited.lease, LEASE);
}

#[test]
fn a_server_that_found_nothing_is_believed_once_its_first_lease_is_over() {
    let machine = Machine::new();
    let (roster, inherited) = machine.server(101);
    assert_eq!(inherited, None);
    roster.enter_now(&worker(1, None)).unwrap();
    assert_eq!(Machine::expected(&machine), None, "others may run something");

    let (roster, _) = machine.server(102);
    roster.enter_now(&worker(1, Some(id(101)))).unwrap();
    roster.settle();

    assert_eq!(machine.expected(), Some(vec![id(1)]));
}

#[test]
fn who_has_not_come_back_is_waited_for_until_a_lease_is_over() {
    let machine = Machine::new();
    machine.settled(101, &[1, 2]);

    let (roster, _) = machine.server(102);
    roster.enter_now(&worker(1, Some(id(101)))).unwrap();
    assert_eq!(machine.expected(), Some(vec![id(1), id(2)]));
    let (roster, _) = machine.server(103);
    roster.enter_now(&worker(1, Some(id(102)))).unwrap();
    roster.settle();

    assert_eq!(machine.expected(), Some(vec![id(1)]));
}

#[test]
fn a_worker_that_entered_again_is_not_struck_out_for_its_first_entry() {
    let machine = Machine::new();
    let roster = machine.settled(101, &[]);
    let first = roster.enter_now(&worker(1, None)).unwrap();
    let _second = roster.enter_now(&worker(1, Some(id(101)))).unwrap();

    roster.leave_now(id(1), first.entry);

    assert_eq!(machine.expected(), Some(vec![id(1)]));
}

#[test]
fn a_worker_of_a_server_that_kept_its_roster_elsewhere_is_doubtful() {
    let machine = Machine::new();
    machine.settled(101, &[1]);
    let doubtful = |roster: &Roster, register| roster.enter_now(&register).unwrap().is_doubtful;

    let (roster, _) = machine.server(102);
    assert!(!doubtful(&roster, worker(1, Some(id(101)))));
    assert!(!doubtful(&roster, worker(1, Some(id(102)))), "it only lost its connection");
    assert!(!doubtful(&roster, worker(2, None)), "it has never been welcomed");
    assert!(doubtful(&roster, worker(3, Some(id(55)))));
    assert_eq!(machine.expected(), None, "and the next server is not to believe us");

    let (roster, _) = machine.server(103);
    assert!(doubtful(&roster, worker(1, Some(id(102)))), "nothing was believed");
    roster.settle();
    assert!(!doubtful(&roster, worker(4, Some(id(55)))), "its leases are over");
}

#[test]
fn a_worker_that_cannot_say_who_welcomed_it_is_doubtful() {
    let machine = Machine::new();
    machine.settled(101, &[1]);
    let mut old = worker(1, None);
    old.hello.as_mut().unwrap().protocol = Some(v1::ProtocolVersion { major: 1, minor: 0 });

    assert!(machine.server(102).0.enter_now(&old).unwrap().is_doubtful);
}

#[test]
fn what_was_being_written_when_the_server_died_counts_for_nothing() {
    let machine = Machine::new();
    machine.settled(101, &[1, 2]);
    let whole = std::fs::read_to_string(machine.file()).unwrap();

    let last_line = whole.trim_end().rfind('\n').unwrap() + 1;
    for length in last_line..whole.len() {
        std::fs::write(machine.file(), &whole[..length]).unwrap();
        assert_eq!(machine.expected(), Some(vec![id(1)]), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn what_is_damaged_or_of_another_boot_is_not_believed() {
    let machine = Machine::new();
    machine.settled(101, &[1, 2]);
    let whole = std::fs::read_to_string(machine.file()).unwrap();
    let other_boot = Line::Header("another".to_owned()).encode() + whole.split_once('\n').unwrap().1;
    let gap = whole.replacen("worker 01", "worker 03", 1);

    for text in ["", "something else\n", &other_boot, &gap, &whole[1..], &format!("{whole}{whole}")] {
        std::fs::write(machine.file(), text).unwrap();
        assert_eq!(machine.expected(), None, "{text}");
    }
}

#[test]
fn a_roster_does_not_grow_for_ever() {
    let machine = Machine::new();
    let roster = machine.settled(101, &[1]);

    for _ in 0..3 * SLACK {
        let entered = roster.enter_now(&worker(2, None)).unwrap();
        roster.leave_now(id(2), entered.entry);
    }

    assert!(std::fs::read_to_string(machine.file()).unwrap().lines().count() < SLACK + 10);
    assert_eq!(machine.expected(), Some(vec![id(1)]));
}

#[test]
fn without_a_place_for_it_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a file");
    std::fs::write(&file, "").unwrap();

    let (roster, inherited) = Roster::open(Some(&file.join("below")), id(101), LEASE);
    assert!(inherited.is_none() && roster.enter_now(&worker(1, None)).is_ok());

    assert!(Roster::open(None, id(101), LEASE).0.enter_now(&worker(1, None)).is_ok());
}

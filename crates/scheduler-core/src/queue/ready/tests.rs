//! What the queue of waiting jobs says of who stands in it.

use super::*;
use crate::workers::class_map::ClassIds;

const AGEING: Duration = Duration::from_secs(10);

fn queue() -> ReadyQueue {
    ReadyQueue::new(Sharing { ageing: AGEING, ..Sharing::default() }, 7)
}

fn job(number: u8) -> JobId {
    JobId::from_bytes([number; 16])
}

/// For a job of two seconds.
fn asking() -> Asking {
    Asking {
        user: UserId::new(1),
        build: BuildId::new(1),
        kind: JobKind::Compile,
        priority: Priority::default(),
        class: ClassId::FIRST,
        memory: 0,
        expected: Duration::from_secs(2),
        tail: Duration::ZERO,
        dir: None,
        company: 1,
        timeout: Duration::ZERO,
        since: Timestamp::ZERO,
        in_front: false,
    }
}

fn classes() -> [ClassId; 2] {
    let mut ids = ClassIds::default();
    [ids.make(), ids.make()]
}

fn equals(queue: &ReadyQueue, place: &Place, now: Timestamp) -> Vec<JobId> {
    queue.equals_of(place, 9, now).map(|(job, _)| job).collect()
}

#[test]
fn equals_are_as_urgent_and_have_half_as_long_a_way_at_least() {
    let mut queue = queue();
    let first = queue.push(job(1), asking());
    queue.push(job(2), Asking { expected: Duration::from_secs(1), ..asking() });
    queue.push(job(3), Asking { expected: Duration::from_micros(999_999), ..asking() });
    let alone = queue.push(job(4), Asking { priority: Priority::from_nice(1), ..asking() });
    queue.push(job(5), Asking { priority: Priority::from_nice(2), ..asking() });

    assert_eq!(equals(&queue, &first, Timestamp::ZERO), [job(2)]);
    assert_eq!(equals(&queue, &alone, Timestamp::ZERO), []);
}

#[test]
fn nobody_goes_in_the_place_of_one_who_came_back() {
    let mut queue = queue();
    let back = queue.push(job(1), Asking { in_front: true, ..asking() });
    queue.push(job(2), Asking { in_front: true, expected: Duration::from_secs(1), ..asking() });

    assert_eq!(equals(&queue, &back, Timestamp::ZERO), []);
    assert_eq!(queue.shorter_than(&back, Duration::from_secs(1), Timestamp::ZERO), None);
}

#[test]
fn nobody_goes_in_the_place_of_one_who_has_waited_too_long() {
    let mut queue = queue();
    let old = queue.push(job(1), asking());
    queue.push(job(2), Asking { expected: Duration::from_secs(1), ..asking() });
    let found = |now| (equals(&queue, &old, now), queue.shorter_than(&old, Duration::from_secs(1), now));
    let last = Timestamp::ZERO + AGEING;

    assert_eq!(found(last), (Vec::from([job(2)]), Some(job(2))));
    assert_eq!(found(last + Duration::from_micros(1)), (Vec::new(), None));
}

#[test]
fn who_has_waited_too_long_goes_before_a_longer_job_that_demands_something_else() {
    let mut queue = queue();
    let late = Timestamp::ZERO + AGEING;
    let [class, other] = classes();
    queue.push(job(1), Asking { class, ..asking() });
    queue.push(job(2), Asking { class: other, expected: Duration::from_secs(9), since: late, ..asking() });
    let next = |now| queue.next(Readiness::Any, now, |_, _| true);

    assert_eq!(next(late), Some((job(2), other)));
    assert_eq!(next(late + Duration::from_micros(1)), Some((job(1), class)));
}

#[test]
fn a_class_that_is_shut_when_its_last_job_leaves_is_named_once() {
    let mut queue = queue();
    let places = [1, 2].map(|number| queue.push(job(number), asking()));
    queue.set_shut(ClassId::FIRST, Readiness::Ripe, true);

    let left = places.map(|place| {
        queue.remove(place);
        queue.pop_left_shut()
    });

    assert_eq!((left, queue.pop_left_shut()), ([None, Some(ClassId::FIRST)], None));
}

#[test]
fn a_build_is_forgotten_when_none_of_its_jobs_waits_or_is_at_a_worker() {
    let mut queue = queue();
    let (user, build) = (UserId::new(1), BuildId::new(1));
    let [first, second] = [1, 2].map(|number| queue.push(job(number), asking()));
    let is_known = |queue: &ReadyQueue| queue.users.get(user).is_some_and(|it| it.builds.get(build).is_some());

    let charge = queue.serve(first);
    queue.settle(user, build, charge, Duration::from_secs(2));
    assert!(is_known(&queue), "one waits");
    let charge = queue.serve(second);
    assert!(is_known(&queue), "one is at a worker");
    queue.settle(user, build, charge, Duration::from_secs(2));

    assert!(!is_known(&queue) && queue.users.get(user).is_none());
}

#[test]
fn turns_of_users_of_builds_and_of_jobs_are_counted() {
    let mut queue = queue();
    queue.push(job(1), asking());
    let in_build = |build| Asking { user: UserId::new(2), build: BuildId::new(build), ..asking() };
    queue.push(job(2), in_build(1));
    let places = [3, 4, 5].map(|number| queue.push(job(number), in_build(2)));

    assert_eq!(places.map(|place| queue.ahead_of(&place)), [0, 1, 2].map(|jobs| Some((1, 1, jobs))));
}

#[test]
fn a_turn_costs_by_what_predictions_are_worth_by_weight_and_by_priority() {
    let (ann, bob) = (UserId::new(1), UserId::new(2));
    let sharing = Sharing { user_weights: BTreeMap::from([(ann, 200)]), interactive_jobs: 2, ..Sharing::default() };
    let mut queue = ReadyQueue::new(sharing.clone(), 7);
    let nice = Asking { priority: Priority::from_nice(5), ..asking() };
    let [of_ann, of_bob] = [ann, bob].map(|user| queue.push(job(1), Asking { user, ..nice }));
    let beside = |waiting, held| {
        let mut build = Build::default();
        (build.waiting, build.held) = (waiting, held);
        build
    };

    // Three quarters of two seconds, which count three times at this priority.
    let three = 1_500_000 * 1024 / 335;
    let costs = |place, build| {
        let Charge { user, build, micros, expected } = cost(place, &build, 768, &sharing);
        assert_eq!((micros, expected), (1_500_000, 2_000_000));
        (user, build)
    };
    assert_eq!(costs(&of_ann, beside(2, 1)), (three * 100 / 200, three));
    assert_eq!(costs(&of_ann, beside(1, 1)), (three * 100 / 200, three / 4));
    assert_eq!(costs(&of_bob, beside(3, 0)), (three, three));
}

#[test]
fn only_turns_that_took_some_time_say_how_true_predictions_are() {
    let mut queue = ReadyQueue::new(Sharing::default(), 7);
    let charge = Charge { user: 5_000, build: 5_000, micros: 5_000, expected: 5_000 };
    let mut settle = |used| {
        queue.settle(UserId::new(1), BuildId::new(1), charge, used);
        queue.truth
    };

    assert_eq!(settle(Duration::ZERO), 1024, "it was handed back");
    assert_eq!(settle(Duration::from_micros(10_000)), 1024 - 1024 / 8 + 2048 / 8);
}

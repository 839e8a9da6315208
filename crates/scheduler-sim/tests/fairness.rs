//! Nobody gets less than equals get, and nobody waits for ever, in worlds where all want more than there is.

use std::time::Duration;

use scheduler_sim::market::{Customer, Got, MEMORY, Market, jain};
use scheduler_sim::rng::Rng;

/// Long enough that the jobs under way at its edges do not count.
const WINDOW: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(180));

fn fleet(rng: &mut Rng) -> Vec<usize> {
    (0..rng.between(2, 4)).map(|_| rng.pick(&[2, 4, 8]).expect("three sizes")).collect()
}

fn shares(got: &[Got]) -> Vec<f64> {
    got.iter().map(|got| got.slot_time.as_secs_f64()).collect()
}

#[test]
fn equal_users_get_equal_slot_time() {
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let slots = fleet(&mut rng);
        let backlog = slots.iter().sum::<usize>() * 2;
        let user =
            |uid| Customer { uid, build: 1, backlog, lasting: (200, 2_000), input_bytes: 9, ..Customer::default() };
        let users = (1..=u32::try_from(rng.between(2, 8)).expect("small")).map(user).collect();

        let got = Market::open(&slots, users, WINDOW, seed).close();

        let index = jain(&shares(&got));
        assert!(index >= 0.95, "seed {seed}: Jain's index is {index:.3} for {slots:?} slots: {got:#?}");
    }
}

#[test]
fn users_whose_jobs_differ_in_length_get_equal_slot_time() {
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let slots = fleet(&mut rng);
        let backlog = slots.iter().sum::<usize>() * 2;
        let user = |uid: u32| {
            let usual = 200 * u64::from(uid);
            Customer { uid, build: 1, backlog, lasting: (usual, usual * 2), input_bytes: 9, ..Customer::default() }
        };
        let users = (1..=u32::try_from(rng.between(2, 8)).expect("small")).map(user).collect();

        let got = Market::open(&slots, users, WINDOW, seed).close();

        let index = jain(&shares(&got));
        assert!(index >= 0.95, "seed {seed}: Jain's index is {index:.3} for {slots:?} slots: {got:#?}");
    }
}

#[test]
fn many_builds_of_one_user_take_nothing_from_another_user() {
    let customer =
        |uid, build| Customer { uid, build, backlog: 20, lasting: (500, 1_500), input_bytes: 9, ..Customer::default() };
    let mut customers: Vec<_> = (1..=9).map(|build| customer(1, build)).collect();
    customers.push(customer(2, 1));

    let shares = shares(&Market::open(&[4, 4], customers, WINDOW, 1).close());

    let index = jain(&[shares[..9].iter().sum(), shares[9]]);
    assert!(index >= 0.95, "nine builds of one user got {:?}, one of the other {}", &shares[..9], shares[9]);
}

#[test]
fn builds_of_one_user_get_equal_slot_time_though_their_jobs_differ_in_length() {
    let build = |build| Customer { uid: 1, build, backlog: 30, lasting: (200 * build, 400 * build), ..few() };

    let shares = shares(&Market::open(&[4, 4], (1..=3).map(build).collect(), WINDOW, 1).close());

    let index = jain(&shares);
    assert!(index >= 0.95, "three builds of one user got {shares:?}");
}

#[test]
fn who_has_three_times_the_weight_gets_three_times_the_slot_time() {
    let heavy = Customer { uid: 1, weight: Some(300), ..few() };
    let usual = Customer { uid: 2, ..few() };

    let shares = shares(&Market::open(&[4, 4], vec![heavy, usual], WINDOW, 1).close());

    let times = shares[0] / shares[1];
    assert!((2.5..=3.5).contains(&times), "{times:.2} times as much: {shares:?}");
}

#[test]
fn a_nice_build_gets_what_its_priority_is_worth() {
    let usual = Customer { build: 1, ..few() };
    // 1.25 to the fifth: a third.
    let nice = Customer { build: 2, nice: 5, ..few() };

    let shares = shares(&Market::open(&[4, 4], vec![usual, nice], WINDOW, 1).close());

    let times = shares[0] / shares[1];
    assert!((2.5..=3.6).contains(&times), "{times:.2} times as much: {shares:?}");
}

#[test]
fn who_comes_late_gets_as_much_as_the_others_from_then_on_and_not_what_they_had_before() {
    let window = (Duration::from_secs(120), Duration::from_secs(240));
    let late = Customer { uid: 2, from: window.0, ..few() };

    let shares = shares(&Market::open(&[4, 4], vec![Customer { uid: 1, ..few() }, late], window, 1).close());

    let index = jain(&shares);
    assert!(index >= 0.95, "who was there got {}, the late one {}", shares[0], shares[1]);
}

/// A customer with jobs of a second.
fn few() -> Customer {
    Customer { uid: 1, build: 1, backlog: 30, lasting: (500, 1_500), input_bytes: 9, ..Customer::default() }
}

/// The stated bound: who has waited for memory for as long as `ageing` has a worker kept free within half as long again,
/// and gets it when what runs there has ended.
#[test]
fn a_link_that_needs_most_of_a_worker_does_not_starve_behind_an_endless_stream_of_small_ones() {
    let ageing = scheduler_core::Config::default().ageing;
    let longest = 3_000;
    let small = Customer { lasting: (1_000, longest), memory: MEMORY / 8, ..few() };
    let large = Customer { uid: 2, backlog: 1, lasting: (500, 500), memory: MEMORY / 4 * 3, ..few() };
    let day = (Duration::ZERO, Duration::from_secs(600));

    let got = Market::open(&[8], vec![small, large], day, 1).close();

    let bound = ageing + ageing / 2 + Duration::from_millis(longest) + Duration::from_secs(1);
    assert!(got[1].longest_wait <= bound, "a link waited {:?}, beyond {bound:?}", got[1].longest_wait);
    assert!(got[1].begun >= 5, "the large links hardly ran: {got:?}");
    assert!(got[1].longest_wait > ageing, "nobody had to be kept free: this proves nothing");
}

/// The stated bound: after `ageing` a job goes before all that came to its build after it, so then it waits for what
/// was there before it at the most.
#[test]
fn a_short_job_does_not_starve_behind_an_endless_stream_of_long_ones() {
    let ageing = scheduler_core::Config::default().ageing;
    let (backlog, longest, slots) = (40, 1_500, 2);
    let stream =
        Customer { uid: 1, build: 1, backlog, lasting: (500, longest), input_bytes: 1 << 20, ..Customer::default() };
    let short = Customer { uid: 1, build: 1, backlog: 1, lasting: (50, 50), input_bytes: 1, ..Customer::default() };
    let day = (Duration::ZERO, Duration::from_secs(400));

    let got = Market::open(&[slots], vec![stream, short], day, 1).close();

    let before_it = Duration::from_millis(longest) * u32::try_from(backlog / slots + 1).expect("small");
    let bound = ageing + before_it;
    assert!(got.iter().all(|got| got.longest_wait <= bound), "somebody waited beyond {bound:?}: {got:?}");
    assert!(got[1].begun >= 3, "the short jobs hardly ran: {got:?}");
}

//! Nobody gets less than equals get, and nobody waits for ever, in worlds where all want more than there is.

use std::time::Duration;

use scheduler_sim::market::{Customer, Got, Market, jain};
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
        let user = |uid| Customer { uid, build: 1, backlog, lasting: (200, 2_000), input_bytes: 9 };
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
            Customer { uid, build: 1, backlog, lasting: (usual, usual * 2), input_bytes: 9 }
        };
        let users = (1..=u32::try_from(rng.between(2, 8)).expect("small")).map(user).collect();

        let got = Market::open(&slots, users, WINDOW, seed).close();

        let index = jain(&shares(&got));
        assert!(index >= 0.95, "seed {seed}: Jain's index is {index:.3} for {slots:?} slots: {got:#?}");
    }
}

#[test]
fn many_builds_of_one_user_take_nothing_from_another_user() {
    let customer = |uid, build| Customer { uid, build, backlog: 20, lasting: (500, 1_500), input_bytes: 9 };
    let mut customers: Vec<_> = (1..=9).map(|build| customer(1, build)).collect();
    customers.push(customer(2, 1));

    let shares = shares(&Market::open(&[4, 4], customers, WINDOW, 1).close());

    let index = jain(&[shares[..9].iter().sum(), shares[9]]);
    assert!(index >= 0.95, "nine builds of one user got {:?}, one of the other {}", &shares[..9], shares[9]);
}

/// The stated bound: after `ageing` a job goes before all that came to its build after it, so then it waits for what
/// was there before it at the most.
#[test]
fn a_short_job_does_not_starve_behind_an_endless_stream_of_long_ones() {
    let ageing = scheduler_core::Config::default().ageing;
    let (backlog, longest, slots) = (40, 1_500, 2);
    let stream = Customer { uid: 1, build: 1, backlog, lasting: (500, longest), input_bytes: 1 << 20 };
    let short = Customer { uid: 1, build: 1, backlog: 1, lasting: (50, 50), input_bytes: 1 };
    let day = (Duration::ZERO, Duration::from_secs(400));

    let got = Market::open(&[slots], vec![stream, short], day, 1).close();

    let before_it = Duration::from_millis(longest) * u32::try_from(backlog / slots + 1).expect("small");
    let bound = ageing + before_it;
    assert!(got.iter().all(|got| got.longest_wait <= bound), "somebody waited beyond {bound:?}: {got:?}");
    assert!(got[1].begun >= 3, "the short jobs hardly ran: {got:?}");
}

use super::*;
use proptest::prelude::*;

fn good(_: usize) -> Standing {
    Standing::Good
}

fn counts(picker: &mut Picker, shares: &[u64], rounds: usize, load: impl Fn(usize) -> usize) -> Vec<usize> {
    let random = Random::seeded(7);
    let mut counts = vec![0; shares.len()];
    for _ in 0..rounds {
        counts[picker.pick(shares, || random.next(), &load, good).unwrap()] += 1;
    }
    counts
}

#[test]
fn round_robin_is_exact_and_smooth() {
    let shares = [5, 1, 1];
    let mut picker = Picker::new(Balance::RoundRobin, &shares);
    let row: Vec<_> = (0..7).map(|_| picker.pick(&shares, || 0, |_| 0, good).unwrap()).collect();
    assert_eq!(row.iter().filter(|index| **index == 0).count(), 5);
    assert!(row.windows(3).any(|part| part[0] == 0 && part[1] != 0 && part[2] == 0), "spread: {row:?}");
    let mut picker = Picker::new(Balance::RoundRobin, &[3, 3, 3]);
    assert_eq!(counts(&mut picker, &[3, 3, 3], 300, |_| 0), [100, 100, 100]);
}

#[test]
fn random_keeps_to_the_shares() {
    let shares = [1, 3];
    let counts = counts(&mut Picker::new(Balance::Random, &shares), &shares, 40_000, |_| 0);
    assert!((9_400..10_600).contains(&counts[0]), "{counts:?}");
}

#[test]
fn least_request_prefers_the_lighter_for_its_share() {
    let shares = [1, 1];
    let picked = counts(&mut Picker::new(Balance::LeastRequest, &shares), &shares, 10_000, |index| [10, 0][index]);
    assert_eq!(picked, [0, 10_000]);
    assert_eq!(lighter((0, 4, 2), (1, 1, 1)), 1);
    assert_eq!(lighter((0, 2, 4), (1, 1, 1)), 0);
}

#[test]
fn least_request_keeps_to_the_shares_while_nothing_is_in_flight() {
    let shares = [1, 3];
    let picked = counts(&mut Picker::new(Balance::LeastRequest, &shares), &shares, 40_000, |_| 0);
    assert!((9_400..10_600).contains(&picked[0]), "{picked:?}");
    let shares = [1, 1, 98];
    let picked = counts(&mut Picker::new(Balance::LeastRequest, &shares), &shares, 40_000, |_| 0);
    assert!(picked[..2].iter().all(|count| (300..500).contains(count)), "{picked:?}");
    // Under load it is the requests in flight that are shared.
    let picked = counts(&mut Picker::new(Balance::LeastRequest, &[1, 3]), &[1, 3], 1_000, |index| [2, 5][index]);
    assert_eq!(picked, [0, 1_000]);
}

#[test]
fn a_row_of_none_and_of_one() {
    let mut picker = Picker::new(Balance::Random, &[]);
    assert_eq!(picker.pick(&[], || 0, |_| 0, good), None);
    let mut picker = Picker::new(Balance::LeastRequest, &[9]);
    assert_eq!(picker.pick(&[9], || u64::MAX, |_| 0, |_| Standing::Avoided), Some(0));
}

proptest! {
    #[test]
    fn picks_are_within_the_row_and_avoid_what_they_can(
        shares in prop::collection::vec(1u64..1 << 40, 1..20),
        avoided in any::<u32>(),
        seed in any::<u64>(),
        balance in prop::sample::select(vec![Balance::RoundRobin, Balance::Random, Balance::LeastRequest]),
    ) {
        let random = Random::seeded(seed);
        let mut picker = Picker::new(balance, &shares);
        let standing = |index: usize| if avoided >> index & 1 == 1 { Standing::Avoided } else { Standing::Good };
        let any_good = (0..shares.len()).any(|index| standing(index) == Standing::Good);
        for _ in 0..50 {
            let picked = picker.pick(&shares, || random.next(), |index| index, standing).unwrap();
            prop_assert!(picked < shares.len());
            prop_assert!(shares.len() == 1 || !any_good || standing(picked) == Standing::Good);
        }
    }

    #[test]
    fn every_random_number_has_its_member(shares in prop::collection::vec(1u64..100, 1..8), random in any::<u64>()) {
        let sums: Vec<u64> = shares.iter().scan(0, |sum, share| { *sum += share; Some(*sum) }).collect();
        let index = by_chance(&sums, random);
        let point = ((u128::from(random) * u128::from(*sums.last().unwrap())) >> 64) as u64;
        prop_assert!(point < sums[index] && (index == 0 || sums[index - 1] <= point));
    }
}

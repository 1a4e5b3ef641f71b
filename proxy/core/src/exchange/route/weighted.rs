//! Which of a route's clusters a request goes to.

use pillion_config::model::{ClusterIndex, WeightedCluster};

/// The cluster whose share of the sum of weights `random` (uniform over all of `u64`) falls into.
///
/// `None` only when there is no positive weight, which a valid model rules out.
#[must_use]
pub fn choose(clusters: &[WeightedCluster], random: u64) -> Option<ClusterIndex> {
    if let [only] = clusters {
        return (only.weight > 0).then_some(only.cluster);
    }
    let total: u64 = clusters.iter().map(|held| u64::from(held.weight)).sum();
    // The high half of the product is uniform below `total` but for a bias of total / 2^64.
    let mut point = ((u128::from(random) * u128::from(total)) >> 64) as u64;
    for held in clusters {
        let weight = u64::from(held.weight);
        if point < weight {
            return Some(held.cluster);
        }
        point -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clusters(weights: &[u32]) -> Vec<WeightedCluster> {
        let with = |(at, &weight): (usize, &u32)| WeightedCluster { cluster: ClusterIndex(at), weight };
        weights.iter().enumerate().map(with).collect()
    }

    #[test]
    fn shares_follow_the_weights() {
        let clusters = clusters(&[1, 0, 3]);
        let mut hits = [0u32; 3];
        for step in 0..4000u64 {
            let at = choose(&clusters, step * (u64::MAX / 4000)).expect("a positive weight");
            hits[at.0] += 1;
        }
        assert_eq!(hits[1], 0);
        assert!((995..=1005).contains(&hits[0]), "{hits:?}");
    }

    #[test]
    fn nothing_to_choose_from() {
        assert_eq!(choose(&[], 7), None);
        assert_eq!(choose(&clusters(&[0]), 7), None);
        assert_eq!(choose(&clusters(&[0, 0]), u64::MAX), None);
    }

    proptest! {
        #[test]
        fn a_weight_of_zero_is_never_chosen(weights in prop::collection::vec(any::<u32>(), 1..6), random: u64) {
            let chosen = choose(&clusters(&weights), random);
            match chosen {
                Some(at) => prop_assert!(weights[at.0] > 0),
                None => prop_assert!(weights.iter().all(|&weight| weight == 0)),
            }
        }
    }
}

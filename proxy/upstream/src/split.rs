//! Which of several clusters a request goes to, by their shares.
//!
//! With a key, a client stays where it is while shares change: each cluster bids for the key with a
//! number that follows from both and its share, and the highest bid wins (weighted rendezvous
//! hashing: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005). When a share
//! grows, only clients that this cluster wins over move; everybody else's bids are as they were. The
//! same names and shares divide clients the same way in every process.

use crate::Rng;

/// One of the clusters, by its name's hash, with its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arm {
    /// [`hash`] of the cluster's name.
    pub seed: u64,
    /// Its share among the others.
    pub share: u32,
}

/// 64 bits that follow from some octets: FNV-1a (Fowler, Noll, Vo), mixed as SplitMix64 does.
pub fn hash(octets: &[u8]) -> u64 {
    let step = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
    Rng::new(octets.iter().fold(0xcbf2_9ce4_8422_2325, step)).bits()
}

/// The place of the arm that a key belongs to; none where every share is 0.
pub fn by_key(key: u64, arms: impl Iterator<Item = Arm>) -> Option<usize> {
    let bid = |arm: Arm| {
        // Above 0, so that the logarithm is finite; a share of 0 has no bid.
        let chance = 1.0 - Rng::new(key ^ arm.seed).fraction();
        -chance.ln() / f64::from(arm.share)
    };
    let bids = arms.enumerate().filter(|(_, arm)| arm.share > 0).map(|(place, arm)| (place, bid(arm)));
    bids.min_by(|one, other| one.1.total_cmp(&other.1)).map(|(place, _)| place)
}

/// The place of an arm by chance; none where every share is 0.
pub fn by_chance(rng: &mut Rng, arms: impl Iterator<Item = Arm> + Clone) -> Option<usize> {
    let total: u64 = arms.clone().map(|arm| u64::from(arm.share)).sum();
    let mut left = rng.below(total);
    arms.enumerate().find_map(|(place, arm)| {
        let share = u64::from(arm.share);
        let found = left < share;
        left = left.saturating_sub(share);
        found.then_some(place)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Rng;

    const KEYS: u32 = 20_000;

    fn arms(shares: &[u32]) -> Vec<Arm> {
        let named =
            |(place, share): (usize, &u32)| Arm { seed: hash(format!("cluster-{place}").as_bytes()), share: *share };
        shares.iter().enumerate().map(named).collect()
    }

    fn place(key: u32, arms: &[Arm]) -> usize {
        by_key(hash(&key.to_le_bytes()), arms.iter().copied()).unwrap()
    }

    /// How far from its share an arm is, in standard deviations.
    fn deviation(count: u32, share: u32, total: u32) -> f64 {
        let p = f64::from(share) / f64::from(total);
        (f64::from(count) - p * f64::from(KEYS)).abs() / (p * (1.0 - p) * f64::from(KEYS)).sqrt()
    }

    #[test]
    fn nobody_is_chosen_where_all_shares_are_nothing() {
        assert_eq!(by_key(1, arms(&[0, 0]).into_iter()), None);
        assert_eq!(by_chance(&mut Rng::new(1), arms(&[0, 0]).into_iter()), None);
        assert_eq!(by_key(1, arms(&[]).into_iter()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn shares_are_kept(shares in prop::collection::vec(1_u32..1_000, 2..5), seed: u64) {
            let (arms, total) = (arms(&shares), shares.iter().sum::<u32>());
            let (mut keyed, mut drawn) = (vec![0; shares.len()], vec![0; shares.len()]);
            let mut rng = Rng::new(seed);
            for key in 0..KEYS {
                keyed[place(key ^ seed as u32, &arms)] += 1;
                drawn[by_chance(&mut rng, arms.iter().copied()).unwrap()] += 1;
            }
            for (place, share) in shares.iter().enumerate() {
                prop_assert!(deviation(keyed[place], *share, total) < 6.0, "{keyed:?} of {shares:?}");
                prop_assert!(deviation(drawn[place], *share, total) < 6.0, "{drawn:?} of {shares:?}");
            }
        }

        #[test]
        fn a_share_that_grows_takes_clients_and_moves_nobody_else(
            shares in prop::collection::vec(0_u32..1_000, 2..5), grown: prop::sample::Index, by in 1_u32..1_000,
        ) {
            let grown = grown.index(shares.len());
            let mut larger = shares.clone();
            larger[grown] += by;
            prop_assume!(shares.iter().any(|share| *share > 0));
            let (before, after) = (arms(&shares), arms(&larger));
            for key in 0..2_000 {
                let (was, is) = (place(key, &before), place(key, &after));
                prop_assert!(was == is || is == grown, "{was} -> {is}");
            }
        }

        #[test]
        fn a_share_of_nothing_gets_nothing(key: u64, seed: u64) {
            let arms = arms(&[0, 1, 0]);
            prop_assert_eq!(by_key(key, arms.iter().copied()), Some(1));
            prop_assert_eq!(by_chance(&mut Rng::new(seed), arms.iter().copied()), Some(1));
        }
    }
}

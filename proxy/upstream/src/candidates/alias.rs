//! Draws by weight in constant time: the alias method of Walker (1977) as built by Vose (1991).

use crate::rng::Rng;

/// A table of columns as many as there are weights: a draw takes a column evenly, then its own index
/// or its alias by the column's share.
#[derive(Debug)]
pub(super) struct Alias {
    columns: Box<[Column]>,
    /// What a column holds: the sum of all weights, so that shares are exact integers.
    height: u64,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    /// Part of the height that belongs to the column's own index.
    own: u64,
    alias: u32,
}

impl Alias {
    pub(super) fn new(weights: &[u32]) -> Self {
        let height = weights.iter().copied().map(u64::from).sum();
        let count = weights.len() as u64;
        let mut columns: Box<[Column]> =
            (0_u32..).zip(weights).map(|(alias, &weight)| Column { own: u64::from(weight) * count, alias }).collect();
        level(&mut columns, height);
        Self { columns, height }
    }

    #[inline]
    pub(super) fn draw(&self, rng: &mut Rng) -> Option<usize> {
        let index = rng.index(self.columns.len());
        let column = self.columns.get(index)?;
        if rng.below(self.height) < column.own { Some(index) } else { Some(column.alias as usize) }
    }
}

/// Fill every column that is too low from one that is too high, until all are level.
fn level(columns: &mut [Column], height: u64) {
    let indices = 0..columns.len();
    let (mut low, mut high): (Vec<_>, Vec<_>) =
        indices.partition(|&index| columns.get(index).is_some_and(|column| column.own < height));
    while let (Some(short), Some(&tall)) = (low.pop(), high.last()) {
        let missing = fill(columns, short, tall, height);
        let Some(giver) = columns.get_mut(tall) else {
            return;
        };
        giver.own -= missing;
        if giver.own < height {
            high.pop();
            low.push(tall);
        }
    }
}

fn fill(columns: &mut [Column], short: usize, tall: usize, height: u64) -> u64 {
    let Some(column) = columns.get_mut(short) else {
        return 0;
    };
    column.alias = tall as u32;
    height - column.own
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What each index gets of `height * columns`, exactly.
    fn shares(alias: &Alias) -> Vec<u64> {
        let mut shares = vec![0; alias.columns.len()];
        for (index, column) in alias.columns.iter().enumerate() {
            let own = column.own.min(alias.height);
            shares[index] += own;
            shares[column.alias as usize] += alias.height - own;
        }
        shares
    }

    proptest! {
        #[test]
        fn every_index_gets_exactly_its_weight(weights in prop::collection::vec(1_u32..1_000_000, 1..200)) {
            let count = weights.len() as u64;
            let wanted: Vec<u64> = weights.iter().map(|&weight| u64::from(weight) * count).collect();
            prop_assert_eq!(shares(&Alias::new(&weights)), wanted);
        }
    }
}

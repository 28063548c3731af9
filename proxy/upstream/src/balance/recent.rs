//! What a balancer keeps of the sets of candidates it has met lately.

/// The whole cluster, and subsets by labels.
const MOST: usize = 8;

/// One value for each set, by epoch, the most lately used first.
#[derive(Debug)]
pub(super) struct Recent<T>(Vec<(u64, T)>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Recent<T> {
    /// The value of an epoch, made where it is not known.
    #[inline]
    pub(super) fn of(&mut self, epoch: u64, make: impl FnOnce() -> T) -> Option<&mut T> {
        if self.0.first().is_none_or(|(first, _)| *first != epoch) {
            self.recall(epoch, make);
        }
        self.0.first_mut().map(|(_, value)| value)
    }

    /// Bring it to the front; the least lately used gives way to another.
    fn recall(&mut self, epoch: u64, make: impl FnOnce() -> T) {
        let known = self.0.iter().position(|(kept, _)| *kept == epoch);
        let position = known.unwrap_or_else(|| {
            self.0.truncate(MOST - 1);
            self.0.push((epoch, make()));
            self.0.len() - 1
        });
        if let Some(upto) = self.0.get_mut(..=position) {
            upto.rotate_right(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_lately_used_gives_way() {
        let mut recent = Recent::default();
        for epoch in 0..50 {
            recent.of(epoch, || epoch);
            assert_eq!(recent.of(0, || panic!("0 is in use")), Some(&mut 0));
        }
        assert_eq!(recent.0.len(), MOST);
        assert_eq!(recent.of(49, || 0), Some(&mut 49));
        assert_eq!(recent.of(20, || 7), Some(&mut 7));
    }
}

//! How much memory an instance may take, over all its memories, and whether it wanted more.

use wasmtime::ResourceLimiter;

/// Table elements of an instance over all its tables.
const ELEMENTS: usize = 100_000;

/// The allowance of one instance.
pub(crate) struct Limits {
    memory_left: usize,
    elements_left: usize,
    /// Set when memory was refused; whoever makes a call clears it.
    pub refused: bool,
}

impl Limits {
    pub(crate) fn new(memory: usize) -> Self {
        Self { memory_left: memory, elements_left: ELEMENTS, refused: false }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = maximum.is_none_or(|maximum| desired <= maximum)
            && take(&mut self.memory_left, desired.saturating_sub(current));
        self.refused |= !allowed;
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = maximum.is_none_or(|maximum| desired <= maximum)
            && take(&mut self.elements_left, desired.saturating_sub(current));
        self.refused |= !allowed;
        Ok(allowed)
    }
}

fn take(left: &mut usize, wanted: usize) -> bool {
    match left.checked_sub(wanted) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_share_one_allowance() {
        let mut limits = Limits::new(100);
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(!limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.refused);
        assert!(limits.memory_growing(60, 100, None).unwrap());
    }
}

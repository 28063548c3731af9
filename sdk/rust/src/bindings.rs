//! The bindings of one role: number to object.

/// Objects by binding number, sorted: numbers may be sparse, and a lookup in a thousand takes ten steps.
#[derive(Debug)]
pub struct Bindings<T>(Vec<(u32, Box<T>)>);

impl<T> Default for Bindings<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Bindings<T> {
    /// No binding.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Take up a binding, in place of the one with its number.
    pub fn insert(&mut self, binding: u32, object: T) {
        match self.place(binding) {
            Ok(place) => {
                if let Some(slot) = self.0.get_mut(place) {
                    *slot.1 = object;
                }
            }
            Err(place) => self.0.insert(place, (binding, Box::new(object))),
        }
    }

    /// Forget a binding, if it is there.
    pub fn remove(&mut self, binding: u32) {
        if let Ok(place) = self.place(binding) {
            self.0.remove(place);
        }
    }

    /// The object of a binding.
    pub fn find(&mut self, binding: u32) -> Option<&mut T> {
        let place = self.place(binding).ok()?;
        Some(&mut self.0.get_mut(place)?.1)
    }

    fn place(&self, binding: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&binding, |(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::Bindings;

    #[test]
    fn finds_what_was_taken_up_in_any_order() {
        let mut bindings = Bindings::new();
        for number in [7, 1, 9, 4] {
            bindings.insert(number, number * 10);
        }
        bindings.insert(9, 99);
        bindings.remove(4);
        assert_eq!(bindings.find(1), Some(&mut 10));
        assert_eq!(bindings.find(9), Some(&mut 99));
        assert_eq!(bindings.find(4), None);
    }
}

//! Names that a file declares, in file order, for references to them.

use std::collections::HashSet;

use super::Node;

/// The names of one kind, such as all clusters.
#[derive(Debug, Default)]
pub(crate) struct Known<'a> {
    in_order: Vec<&'a str>,
    all: HashSet<&'a str>,
}

impl<'a> Known<'a> {
    /// The names of these entries of a table.
    pub(crate) fn of(entries: &[Node<'a>]) -> Self {
        let in_order: Vec<&str> = entries.iter().map(Node::name).collect();
        Self { all: in_order.iter().copied().collect(), in_order }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.all.contains(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    /// In file order.
    pub(crate) fn as_slice(&self) -> &[&'a str] {
        &self.in_order
    }
}

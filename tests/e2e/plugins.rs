//! Plugins from outside: what they decide, what happens when they fail, and how they are swapped.

mod compiling;
mod harm;
mod hostile;
mod load;
mod refusals;
mod roles;
mod sessions;
pub(super) mod stage;
mod swaps;
mod versions;

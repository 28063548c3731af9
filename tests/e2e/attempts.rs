//! Attempts as they are configured: how often, how many at once, and who waits.

mod hedged;
mod limited;
mod retried;

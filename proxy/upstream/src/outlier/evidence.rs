//! Whether failures in a row tell of their endpoint, or of what it was asked: pure.
//!
//! A page of the application that is broken fails on every endpoint, and any client can ask for it as often as it
//! likes. So failures count where other endpoints answered the same request well meanwhile, or where they are of
//! many clients and many pages, while the others fare so much better that it can hardly be chance.

use super::peers::Tally;

/// Different clients, and different paths, that are many.
const MANY: u32 = 3;
/// Answers from which on a share of failures is known.
const ENOUGH: u64 = 20;
/// Most that chance may have to do with a row, for the square of the number of answers it is taken from.
const CHANCE: f64 = 1e-3;

/// A row of failures on one endpoint, and how all fared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Row {
    /// How many.
    pub(super) length: u32,
    /// Those that were answers: the endpoint was reached, and has failed all the same.
    pub(super) answers: u32,
    /// Those of requests that another endpoint answered well since the row began, to the same client.
    pub(super) own: u32,
    /// The same to any client.
    pub(super) page: u32,
    /// Different clients, 64 at most.
    pub(super) clients: u32,
    /// Different paths, 64 at most.
    pub(super) paths: u32,
    /// What all endpoints had counted before the row.
    pub(super) began: Tally,
    /// What they have counted now.
    pub(super) now: Tally,
    /// What they had counted some seconds before.
    pub(super) base: Tally,
}

impl Row {
    /// Whether it is reason enough to eject the endpoint, with so many in a row as limit.
    pub(super) fn convicts(&self, limit: u32) -> bool {
        if limit == 0 || self.length < limit {
            return false;
        }
        // The first of a row comes before there is anything to compare it with.
        let enough = (limit - 1).max(1);
        let compared = self.own >= enough || (self.clients >= MANY && self.page >= enough);
        if self.answers == 0 {
            let many = limit.min(MANY);
            return compared || self.clients >= many || self.paths >= many;
        }
        let others = self.others();
        let various =
            self.clients >= MANY && self.paths >= MANY && self.length.min(others.well) >= limit.saturating_mul(2);
        others.well >= enough && (compared || various) && self.is_no_chance(others)
    }

    /// What the others have answered since the row began.
    fn others(&self) -> Tally {
        let all = self.now.since(self.began);
        Tally { failed: all.failed.saturating_sub(self.length), ..all }
    }

    /// Whether the row is longer than it would be if the endpoint failed as often as all do.
    fn is_no_chance(&self, others: Tally) -> bool {
        let before = self.began.since(self.base);
        let usual = if before.all() < ENOUGH { 0.0 } else { before.share() };
        let share = others.share().max(usual);
        let answers = (others.all() + before.all()).max(1) as f64;
        share == 0.0 || f64::from(self.length) * share.ln() <= (CHANCE / (answers * answers)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of answers to one client's requests for one page, each answered well elsewhere after the first.
    fn compared(length: u32, well: u32, failed: u32) -> Row {
        let now = Tally { well, failed: failed + length };
        Row { length, answers: length, own: length - 1, clients: 1, paths: 1, now, ..Row::default() }
    }

    #[test]
    fn what_others_answer_well_counts() {
        assert!(compared(5, 4, 0).convicts(5));
        assert!(!compared(4, 4, 0).convicts(5), "too few");
        assert!(!compared(5, 3, 0).convicts(5), "too little to compare with");
        assert!(!compared(9, 9, 0).convicts(0), "off");
        let unknown = Row { own: 0, ..compared(500, 500, 0) };
        assert!(!unknown.convicts(5), "one client and a page that no endpoint answers well");
    }

    #[test]
    fn a_row_that_chance_makes_is_not_enough() {
        assert!(!compared(5, 5, 5).convicts(5), "every second answer fails");
        assert!(compared(30, 30, 30).convicts(5));
        let attacked = Tally { well: 700, failed: 300 };
        let row =
            |length| Row { began: attacked, now: Tally { well: 710, failed: 300 + length }, ..compared(length, 0, 0) };
        assert!(!row(8).convicts(5), "three in ten have failed before");
        assert!(row(20).convicts(5));
    }

    #[test]
    fn many_clients_tell_more_than_one() {
        let popular = Row { own: 0, page: 4, clients: 3, ..compared(5, 4, 0) };
        assert!(popular.convicts(5));
        assert!(!Row { clients: 2, ..popular }.convicts(5));
        let various = Row { own: 0, clients: 3, paths: 3, ..compared(10, 10, 0) };
        assert!(various.convicts(5));
        assert!(!Row { paths: 2, ..various }.convicts(5), "few pages");
        assert!(!Row { clients: 2, ..various }.convicts(5), "few clients");
        assert!(!Row { length: 9, ..various }.convicts(5), "a longer row is asked for");
    }

    #[test]
    fn an_endpoint_that_does_not_answer_is_known_by_fewer() {
        let silent = Row { length: 5, clients: 1, paths: 1, ..Row::default() };
        assert!(!silent.convicts(5), "one client and one page");
        assert!(Row { paths: 3, ..silent }.convicts(5));
        assert!(Row { clients: 3, ..silent }.convicts(5));
        assert!(Row { own: 4, ..silent }.convicts(5));
        assert!(Row { length: 1, ..silent }.convicts(1), "one is enough where the operator says so");
    }
}

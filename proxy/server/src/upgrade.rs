//! One process takes the place of another: how the former starts the latter, and what they say to each
//! other.
//!
//! They talk over a socket that the new process finds as its standard input. The former says what it hands
//! over, with the descriptors of its sockets beside: also what came to it as it ran, such as plugin versions and
//! certificates. The latter builds everything it needs and says that it is ready; it accepts nothing before it is told
//! to go, and what the former has learnt. Then it says that it serves, and the former drains. Until then the former
//! serves as ever, and whatever goes wrong leaves it at that.

mod belongings;
mod estate;
mod link;
mod predecessor;
mod program;
mod requests;
mod successor;

pub use self::{
    belongings::{Belongings, Octets, PluginVersions, PushedCertificate, TicketSecrets},
    estate::{ClusterEstate, Estate, RolloutEstate, Sessions, Word},
    link::Handover,
    predecessor::Predecessor,
    program::program,
    requests::{Asked, Request, Requests, ask, hear, say},
    successor::Successor,
};

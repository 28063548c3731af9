//! How often requests and connections may come, and how many may be in flight.
//!
//! Rates are of so many in a day: nothing comes back while a test runs, however slow the machine is.

mod answers;
mod connections;
mod in_flight;
mod keys;
mod together;

use std::net::{IpAddr, SocketAddr};

use http::Method;

use super::harness::{Client, Endpoint, Reply, empty, request};

/// A listener `web` and a route `all`, each with more to say, before one endpoint.
fn to(endpoint: &Endpoint, listener: &str, route: &str) -> String {
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n{listener}\n\
         [[routes]]\nname = \"all\"\ncluster = \"a\"\n{route}\n\
         [clusters.a]\nendpoints = [\"{}\"]\n",
        endpoint.address
    )
}

/// Statuses of so many requests, one after another on one connection.
async fn statuses(client: &mut Client, path: &str, fields: &[(&str, &str)], number: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..number {
        statuses.push(ask(client, path, fields).await.status.as_u16());
    }
    statuses
}

async fn ask(client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Reply {
    let asked = fields.iter().fold(request(Method::GET, path), |asked, (name, value)| asked.header(*name, *value));
    client.ask(asked.body(empty()).unwrap()).await
}

/// A client of another address than the usual one.
async fn another(address: SocketAddr) -> Client {
    Client::http1_from(IpAddr::from([127, 0, 0, 2]), address).await
}

/// What passes and what does not, as statuses.
fn passed(good: usize, refused: usize) -> Vec<u16> {
    [vec![200; good], vec![429; refused]].concat()
}

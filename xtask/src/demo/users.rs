//! Which endpoints users meet, asked on one connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use anyhow::{Context, Result, ensure};

use crate::http::{Connection, Request, Response};

/// So many that five percent of them look like five percent: 100, give or take 20.
pub const USERS: usize = 2_000;

/// Marks the requests of these users in the access log.
pub const PATH: &str = "/?users";

/// A sentence that says how many users met each endpoint.
pub fn shares(web: SocketAddr) -> Result<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    for endpoint in endpoints(web)? {
        *counts.entry(endpoint).or_default() += 1;
    }
    let share = |(name, count): (&String, &usize)| format!("{name} {:.1} %", *count as f64 * 100.0 / USERS as f64);
    let shares: Vec<String> = counts.iter().map(share).collect();
    Ok(format!("{USERS} users have just asked once each: {}.", shares.join(", ")))
}

/// Users, by number, that meet the endpoint of version v2.
pub fn of_canary(web: SocketAddr) -> Result<BTreeSet<usize>> {
    let endpoints = endpoints(web)?.into_iter().enumerate();
    Ok(endpoints.filter(|(_, endpoint)| endpoint == "three").map(|(number, _)| number).collect())
}

/// The endpoint that each user meets.
fn endpoints(web: SocketAddr) -> Result<Vec<String>> {
    let mut connection = Connection::open(web)?;
    let mut met = Vec::with_capacity(USERS);
    for number in 0..USERS {
        let user = format!("user-{number}");
        let request = Request { headers: &[("x-user", &user)], ..Request::get(PATH) };
        met.push(endpoint_of(&good(connection.send(&request)?)?)?);
    }
    Ok(met)
}

/// The answer, if it is 200.
pub fn good(response: Response) -> Result<Response> {
    ensure!(response.status == 200, "status {}: {}", response.status, response.text());
    Ok(response)
}

/// The name of the endpoint that answered.
pub fn endpoint_of(response: &Response) -> Result<String> {
    response.header("x-endpoint").map(str::to_owned).context("an answer that names no endpoint")
}

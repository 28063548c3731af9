//! Marks before the value of the application's own cookie.

use super::{ask, before, cookie, found, met, three};

const PREFIX: &str = r#"affinity = { cookie = { name = "SID", mode = "prefix" } }"#;

#[tokio::test]
async fn a_mark_keeps_the_session_and_the_application_never_sees_it() {
    let endpoints = three().await;
    let weir = before(&endpoints, PREFIX).await;
    let first = ask(&weir, "/session/7", &[]).await;
    let set = first.header("set-cookie").to_owned();
    assert!(set.ends_with("~7; Path=/; HttpOnly"), "{set}");
    let marked = cookie(&first);
    for number in 0..6 {
        let path = format!("/again/{number}");
        let reply = ask(&weir, &path, &[("cookie", &format!("a=b; {marked}; c=d"))]).await;
        assert_eq!(met(&reply), met(&first));
        assert_eq!(reply.header("set-cookie"), "", "only the application sets its cookie");
        assert_eq!(found(&weir, &path).await, "hit");
    }
    let served = endpoints.iter().find(|endpoint| endpoint.name == met(&first)).unwrap();
    assert_eq!(served.last().values("cookie"), ["a=b; SID=7; c=d"]);
}

#[tokio::test]
async fn responses_that_set_no_cookie_leave_the_client_as_it_is() {
    let endpoints = three().await;
    let weir = before(&endpoints, PREFIX).await;
    let reply = ask(&weir, "/plain", &[("cookie", "SID=own; x=y")]).await;
    assert_eq!(reply.header("set-cookie"), "");
    let served = endpoints.iter().find(|endpoint| endpoint.name == met(&reply)).unwrap();
    assert_eq!(served.last().values("cookie"), ["SID=own; x=y"]);
    assert_eq!(found(&weir, "/plain").await, "miss");
}

#[tokio::test]
async fn a_mark_counts_beside_others_that_are_not_valid() {
    let endpoints = three().await;
    let weir = before(&endpoints, PREFIX).await;
    let first = ask(&weir, "/session/7", &[]).await;
    let (foreign, good) = ("A".repeat(90), cookie(&first));
    for number in 0..4 {
        let path = format!("/again/{number}");
        let sent = format!("SID=plain; SID={foreign}~5; {good}; x=y; SID={foreign}~6");
        assert_eq!(met(&ask(&weir, &path, &[("cookie", &sent)]).await), met(&first));
        assert_eq!(found(&weir, &path).await, "hit");
    }
    let served = endpoints.iter().find(|endpoint| endpoint.name == met(&first)).unwrap();
    assert_eq!(served.last().values("cookie"), ["SID=plain; SID=5; SID=7; x=y; SID=6"]);
}

#[tokio::test]
async fn a_mark_of_somebody_else_counts_for_nothing_and_is_taken_off() {
    let endpoints = three().await;
    let weir = before(&endpoints, PREFIX).await;
    let foreign = format!("SID={}~7", "A".repeat(90));
    let reply = ask(&weir, "/foreign", &[("cookie", &foreign)]).await;
    assert_eq!(found(&weir, "/foreign").await, "miss");
    let served = endpoints.iter().find(|endpoint| endpoint.name == met(&reply)).unwrap();
    assert_eq!(served.last().values("cookie"), ["SID=7"]);
}

//! What a session is known by.

use std::collections::BTreeSet;

use super::{ask, before, config, found, met, sessions, three};
use crate::e2e::harness::{Client, RawEndpoint, Weir, plain};

#[tokio::test]
async fn a_header_names_a_session() {
    let endpoints = three().await;
    let weir = before(&endpoints, r#"affinity = { header = "X-Session" }"#).await;
    let mut places = BTreeSet::new();
    for user in ["1", "2", "3"] {
        let first = ask(&weir, &format!("/first/{user}"), &[("x-session", user)]).await;
        for _ in 0..4 {
            assert_eq!(met(&ask(&weir, "/", &[("x-session", user)]).await), met(&first));
        }
        places.insert(met(&first).to_owned());
    }
    assert_eq!(places.len(), 3, "sessions begin where the balancer says");
    assert_eq!(found(&weir, "/first/1").await, "miss");
    assert_eq!(weir.metric(r#"weir_affinity_total{cluster="web",result="hit"}"#).await, 12.0);
    assert_eq!(sessions(&weir).await, 3.0);
}

#[tokio::test]
async fn requests_without_the_value_are_balanced() {
    let endpoints = three().await;
    let weir = before(&endpoints, r#"affinity = { header = "x-session" }"#).await;
    let mut places = BTreeSet::new();
    for fields in [&[][..], &[("x-session", "")]] {
        for _ in 0..6 {
            places.insert(met(&ask(&weir, "/", fields).await).to_owned());
        }
    }
    assert_eq!((places.len(), sessions(&weir).await), (3, 0.0));
}

#[tokio::test]
async fn a_query_parameter_names_a_session_however_it_is_encoded() {
    let endpoints = three().await;
    let weir = before(&endpoints, r#"affinity = { query = "sid" }"#).await;
    let first = ask(&weir, "/?x=1&sid=a+b", &[]).await;
    for path in ["/?sid=a%20b", "/other?s%69d=a+b&sid=c", "/?sid=%61%20b"] {
        assert_eq!(met(&ask(&weir, path, &[]).await), met(&first), "{path}");
    }
    assert_eq!(sessions(&weir).await, 1.0);
}

#[tokio::test]
async fn a_clients_address_names_a_session() {
    let endpoints = three().await;
    let weir = before(&endpoints, "affinity = { source-ip = true }").await;
    let mut places = BTreeSet::new();
    for address in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        let from = address.parse().unwrap();
        let first = Client::http1_from(from, weir.web()).await.get("/").await;
        for _ in 0..4 {
            assert_eq!(met(&Client::http1_from(from, weir.web()).await.get("/").await), met(&first));
        }
        places.insert(met(&first).to_owned());
    }
    assert_eq!(places.len(), 3);
}

#[tokio::test]
async fn a_cookie_of_the_application_is_learnt() {
    for affinity in [r#"{ cookie = { name = "SID", mode = "passive" } }"#, r#"{ learn = { cookie = "SID" } }"#] {
        let endpoints = three().await;
        let weir = before(&endpoints, &format!("affinity = {affinity}")).await;
        let first = ask(&weir, "/session/1", &[]).await;
        let second = ask(&weir, "/session/2", &[]).await;
        assert_eq!(first.header("set-cookie"), "SID=1; Path=/; HttpOnly", "it passes as it is");
        assert_ne!(met(&first), met(&second));
        for _ in 0..4 {
            assert_eq!(met(&ask(&weir, "/", &[("cookie", "a=b; SID=1")]).await), met(&first));
            assert_eq!(met(&ask(&weir, "/", &[("cookie", "SID=2")]).await), met(&second));
        }
    }
}

#[tokio::test]
async fn of_several_cookies_the_last_that_sets_a_value_is_learnt() {
    let answer = "HTTP/1.1 200 OK\r\nx-endpoint: a\r\nSet-Cookie: SID=first; Path=/\r\nSet-Cookie: SID=k1; Path=/\r\n\
                  Set-Cookie: SID=gone; Max-Age=0; Path=/old\r\nContent-Length: 0\r\n\r\n";
    let endpoint = RawEndpoint::answering(answer).await;
    for affinity in [r#"{ cookie = { name = "SID", mode = "passive" } }"#, r#"{ learn = { cookie = "SID" } }"#] {
        let weir = Weir::start(&plain(&[endpoint.address], &format!("affinity = {affinity}"))).await;
        ask(&weir, "/begin", &[]).await;
        assert_eq!(sessions(&weir).await, 1.0);
        ask(&weir, "/again", &[("cookie", "SID=k1")]).await;
        assert_eq!(found(&weir, "/again").await, "hit", "{affinity}");
    }
}

#[tokio::test]
async fn a_header_of_a_response_is_learnt_for_a_query_parameter() {
    let endpoints = three().await;
    let affinity = r#"affinity = { learn = { header = "x-session", match = { query = "sid" } } }"#;
    let weir = before(&endpoints, affinity).await;
    let first = ask(&weir, "/session/7", &[]).await;
    for _ in 0..6 {
        assert_eq!(met(&ask(&weir, "/?sid=7", &[]).await), met(&first));
    }
}

#[tokio::test]
async fn a_session_that_gets_another_value_stays_under_it() {
    let endpoints = three().await;
    let weir = before(&endpoints, r#"affinity = { learn = { cookie = "SID" } }"#).await;
    let first = ask(&weir, "/session/1", &[]).await;
    let renamed = ask(&weir, "/session/2", &[("cookie", "SID=1")]).await;
    assert_eq!(met(&renamed), met(&first));
    for _ in 0..6 {
        assert_eq!(met(&ask(&weir, "/", &[("cookie", "SID=2")]).await), met(&first));
    }
}

#[tokio::test]
async fn a_value_nobody_gave_is_bound_where_it_is_served() {
    let endpoints = three().await;
    let weir = before(&endpoints, r#"affinity = { learn = { cookie = "SID" } }"#).await;
    let first = ask(&weir, "/first", &[("cookie", "SID=from-before")]).await;
    for _ in 0..6 {
        assert_eq!(met(&ask(&weir, "/", &[("cookie", "SID=from-before")]).await), met(&first));
    }
    assert_eq!(found(&weir, "/first").await, "miss");
}

#[tokio::test]
async fn sessions_survive_a_reload() {
    let endpoints = three().await;
    let affinity = r#"affinity = { header = "x-session" }"#;
    let mut weir = before(&endpoints, affinity).await;
    let first = ask(&weir, "/", &[("x-session", "1")]).await;
    let text = config(&endpoints.each_ref(), &format!("response-timeout = \"9s\"\n{affinity}"));
    weir.reload(&text).await.unwrap();
    for _ in 0..6 {
        assert_eq!(met(&ask(&weir, "/", &[("x-session", "1")]).await), met(&first));
    }
}

#[tokio::test]
async fn a_full_table_gives_up_the_least_recently_used() {
    let endpoints = three().await;
    let weir = before(&endpoints, r#"affinity = { header = "x-session", capacity = 2 }"#).await;
    for session in ["1", "2", "1", "3"] {
        ask(&weir, "/", &[("x-session", session)]).await;
    }
    assert_eq!(weir.metric(r#"weir_affinity_evicted_total{cluster="web",tenant=""}"#).await, 1.0);
    for (session, wanted) in [("1", "hit"), ("3", "hit"), ("2", "miss")] {
        let path = format!("/after/{session}");
        ask(&weir, &path, &[("x-session", session)]).await;
        assert_eq!(found(&weir, &path).await, wanted, "{session}");
    }
    let status = weir.status().await;
    assert_eq!(status["clusters"][0]["affinity"]["capacity"], 2);
    assert_eq!(status["clusters"][0]["affinity"]["sessions"], 2);
}

#[tokio::test]
async fn all_workers_know_a_session() {
    let endpoints = three().await;
    let text = config(&endpoints.each_ref(), "affinity = { header = \"x-session\" }");
    let weir = Weir::start(&text.replace("workers = 1", "workers = 4")).await;
    let first = ask(&weir, "/", &[("x-session", "1")]).await;
    for _ in 0..24 {
        assert_eq!(met(&ask(&weir, "/", &[("x-session", "1")]).await), met(&first));
    }
}

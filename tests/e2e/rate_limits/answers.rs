//! What clients and operators are told.

use super::{another, ask, passed, statuses, to};
use crate::e2e::harness::{Client, Endpoint, Weir, eventually};

#[tokio::test]
async fn who_asks_too_often_is_refused_and_told_when_to_come_back() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&to(&endpoint, "", "rate-limits = { rate = \"3/1h\" }")).await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(statuses(&mut client, "/", &[], 3).await, passed(3, 0));
    let refused = client.get("/refused").await;
    assert_eq!((refused.status.as_u16(), refused.text()), (429, "429 Too Many Requests\n"));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((600..=1_200).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit-policy"), "\"route:all\";q=3;w=3600");
    assert_eq!(refused.header("ratelimit"), format!("\"route:all\";r=0;t={wait}"));
    assert_eq!(endpoint.requests(), 3);
    // The connection goes on, and so do others.
    assert!(!client.is_closed());
    assert_eq!(statuses(&mut another(weir.web()).await, "/", &[], 1).await, passed(1, 0));
    let line = weir.logged("/refused").await;
    assert_eq!((&line["status"], &line["route"]), (&429.into(), &"all".into()));
    assert_eq!(line["error"], "rate limit route:all is used up");
    for (result, number) in [("allowed", 4.0), ("limited", 1.0), ("busy", 0.0)] {
        let series = format!("weir_rate_limit_requests_total{{limit=\"route:all\",result=\"{result}\"}}");
        assert_eq!(weir.metric(&series).await, number, "{result}");
    }
    assert_eq!(weir.metric("weir_rate_limit_keys{limit=\"route:all\"}").await, 2.0);
    let status = weir.status().await;
    let limit = &status["rate_limits"][0];
    assert_eq!((&limit["name"], &limit["keys"], &limit["refused"]), (&"route:all".into(), &2.into(), &1.into()));
}

#[tokio::test]
async fn an_allowance_comes_back_by_itself() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&to(&endpoint, "", "rate-limits = { rate = \"1/500ms\" }")).await;
    eventually("a request to be refused", || async {
        let mut client = Client::http1(weir.web()).await;
        statuses(&mut client, "/", &[], 2).await.contains(&429).then_some(())
    })
    .await;
    eventually("a request to pass", || async {
        (Client::http1(weir.web()).await.get("/").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_sliding_window_lets_as_many_pass_as_its_rate_says() {
    let endpoint = Endpoint::start("a").await;
    let weir =
        Weir::start(&to(&endpoint, "", "rate-limits = { rate = \"3/1h\", algorithm = \"sliding-window\" }")).await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(statuses(&mut client, "/", &[], 5).await, passed(3, 2));
    let refused = client.get("/").await;
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1_800..=3_900).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit-policy"), "\"route:all\";q=3;w=3600");
}

#[tokio::test]
async fn every_response_may_tell_what_is_left() {
    let endpoint = Endpoint::start("a").await;
    let rates = "[rate-limits.long]\nrate = \"10/1d\"\nheaders = \"always\"\n\
                 [rate-limits.short]\nrate = \"5/1h\"\nmax-in-flight = 7\nheaders = \"always\"\n\
                 [rate-limits.silent]\nrate = \"1/1d\"\nheaders = \"never\"\n\
                 [[routes]]\nname = \"ours\"\nmatch = { path = \"/ours\" }\nrespond = { status = 204 }\nrate-limits = \"long\"\n\
                 [[routes]]\nname = \"silent\"\nmatch = { path = \"/silent\" }\nrespond = {}\nrate-limits = \"silent\"\n\
                 [[routes]]\nname = \"edited\"\nmatch = { path = \"/edited\" }\nrespond = {}\nrate-limits = \"long\"\n\
                 response-headers = { remove = [\"ratelimit-policy\"] }\n";
    let weir = Weir::start(&format!("{rates}{}", to(&endpoint, "", "rate-limits = [\"long\", \"short\"]"))).await;
    let mut client = Client::http1(weir.web()).await;
    let reply = client.get("/").await;
    assert_eq!(reply.header("x-endpoint"), "a");
    let policy = "\"long\";q=10;w=86400, \"short\";q=5;w=3600, \"short:in-flight\";q=7;qu=\"concurrent-requests\"";
    assert_eq!(reply.header("ratelimit-policy"), policy);
    assert_eq!(reply.header("ratelimit"), "\"long\";r=9;t=8640, \"short\";r=4;t=720, \"short:in-flight\";r=6");
    let ours = client.get("/ours").await;
    assert_eq!((ours.status.as_u16(), ours.header("ratelimit-policy")), (204, "\"long\";q=10;w=86400"));
    assert!(ours.header("ratelimit").starts_with("\"long\";r=8;t="), "{ours:?}");
    let edited = client.get("/edited").await;
    assert_eq!(edited.header("ratelimit-policy"), "");
    assert!(edited.header("ratelimit").starts_with("\"long\";r=7;t="), "{edited:?}");
    assert_eq!(client.get("/silent").await.header("ratelimit"), "");
    let refused = client.get("/silent").await;
    assert_eq!((refused.status.as_u16(), refused.header("ratelimit")), (429, ""));
    assert!(!refused.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_limit_may_be_tried_out() {
    let endpoint = Endpoint::start("a").await;
    let limit = "rate-limits = { rate = \"1/1d\", max-in-flight = 5, dry-run = true, headers = \"always\" }";
    let weir = Weir::start(&to(&endpoint, "", limit)).await;
    let mut client = Client::http1(weir.web()).await;
    assert_eq!(statuses(&mut client, "/", &[], 3).await, passed(3, 0));
    for (result, number) in [("allowed", 1.0), ("limited", 2.0)] {
        let series = format!("weir_rate_limit_requests_total{{limit=\"route:all\",result=\"{result}\"}}");
        assert_eq!(weir.metric(&series).await, number, "{result}");
    }
}

#[tokio::test]
async fn http2_is_told_the_same() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&to(&endpoint, "rate-limits = { rate = \"2/1d\" }", "")).await;
    let mut client = Client::http2(weir.web()).await;
    assert_eq!(statuses(&mut client, "/", &[], 3).await, passed(2, 1));
    let refused = ask(&mut client, "/", &[]).await;
    assert_eq!(refused.header("ratelimit-policy"), "\"listener:web\";q=2;w=86400");
    assert!(!client.is_closed());
}

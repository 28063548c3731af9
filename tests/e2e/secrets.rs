//! Secrets are in no log, no answer of the admin interface and no explanation, and need not be in the file.

use http::Method;

use super::harness::{Client, Endpoint, Raw, Setup, Weir, empty, eventually, get, request};

const SECRET: &str = "s3cret-v4lue";

fn answering(log: &str) -> String {
    format!(
        "[access-log]\n{log}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\nrespond = {{ body = \"ok\" }}\n"
    )
}

#[tokio::test]
async fn the_access_log_has_no_values_of_tokens() {
    for format in ["json", "logfmt"] {
        let weir = Weir::start(&answering(&format!("format = \"{format}\""))).await;
        for query in ["token=", "page=2&Access_Token=", "%63ode=", "x=1;password=", "X-Amz-Signature="] {
            assert_eq!(get(weir.web(), &format!("/reset?{query}{SECRET}&last=1")).await.status, 200);
        }
        // Of heads that are refused as well.
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(format!("GET /x?token={SECRET} HTTP/1.1\r\nHost: weir.test\r\nExpect: nothing\r\n\r\n")).await;
        assert!(raw.response().await.0.starts_with("HTTP/1.1 417 "));
        let lines = eventually("the lines", || async {
            let lines: Vec<_> = weir.stdout().into_iter().filter(|line| line.contains("***")).collect();
            (lines.len() == 6).then_some(lines)
        })
        .await;
        assert!(lines.iter().any(|line| line.contains("/reset?page=2&Access_Token=***&last=1")), "{lines:?}");
        assert!(!weir.stdout().concat().contains(SECRET));
    }
}

#[tokio::test]
async fn further_names_are_redacted_and_all_values_can_be_logged() {
    let mut weir = Weir::start(&answering("redact = [\"Invite\"]")).await;
    get(weir.web(), "/x?invite=1&token=2&other=3").await;
    weir.logged("/x?invite=***&token=***&other=3").await;
    weir.reload(&answering("redact = false")).await.unwrap();
    get(weir.web(), "/x?invite=1&token=2").await;
    weir.logged("/x?invite=1&token=2").await;
    let told = String::from_utf8(Setup::new(&answering("redact = false")).check().stderr).unwrap();
    assert!(told.contains("the access log has the values of tokens"), "{told}");
}

/// Configurations with a fault on a line that has a secret.
fn faulty() -> Vec<String> {
    let route = |lines: &str| answering("").replace("respond = {", &format!("{lines}\nrespond = {{"));
    vec![
        route(&format!("request-headers = {{ set = {{ authorization = \"Bearer {SECRET} \" }} }}")),
        route(&format!("request-headers = {{ set = {{ x-any = \"{SECRET}\" }}, nonsense = 1 }}")),
        route(&format!("request-headers = {{ set = {{ x-any = \"{{{SECRET}}}\" }} }}")),
        route(&format!("request-headers = {{ set = [\"x-any\", \"{SECRET}\"] }}")),
        route(&format!("request_headers = {{ set = {{ x-any = \"{SECRET}\" }} }}")),
        route(&format!("request-headers = {{ set = {{ authorization = Bearer {SECRET} }} }}")),
        route(&format!("request-headers = {{ set = {{ x-any = \"{SECRET} }} }}")),
        route(&format!("match = {{ headers = {{ x-any = \"{SECRET}\" }}, cookies = {{ \"a b\" = \"{SECRET}\" }} }}")),
        route(&format!("plugins = [{{ plugin = \"absent\", settings = {{ a = [\"{SECRET}\"] }} }}]")),
        route(&format!("request-headers = \"authorization: Bearer {SECRET}\"")),
        format!("[plugins.a]\npath = \"absent.wasm\"\nsettings = \"{SECRET}\"\n{}", answering("")),
        format!(
            "{}\n[clusters.c]\nendpoints = []\nhealth = {{ tcp = {{ send = {{ hex = \"{SECRET}\" }} }} }}",
            answering("")
        ),
    ]
}

#[tokio::test]
async fn a_refused_reload_tells_the_line_without_its_secrets() {
    let mut weir = Weir::start(&answering("")).await;
    for text in faulty() {
        let told = weir.reload(&text).await.unwrap_err();
        assert!(!told.contains(SECRET) && told.contains("weir.toml:"), "{told}");
        let checked = Setup::new(&text).check();
        assert!(!checked.status.success(), "{text}");
        let told = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
        assert!(!told.contains(SECRET), "{told}");
    }
    assert!(!weir.stderr().contains(SECRET) && weir.stderr().contains("configuration refused"));
    assert!(!weir.status().await.to_string().contains(SECRET));
    let told = weir.reload(&faulty()[0]).await.unwrap_err();
    assert!(told.contains("authorization = \\\"****") || told.contains("authorization = \"****"), "{told}");
}

fn forwarding(endpoint: &Endpoint, headers: &str, health: &str) -> String {
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\ncluster = \"a\"\n\
         request-headers = {{ {headers} }}\n[clusters.a]\nendpoints = [\"{}\"]\n{health}\n",
        endpoint.address
    )
}

#[tokio::test]
async fn header_values_come_from_files_and_from_the_environment() {
    let endpoint = Endpoint::start("a").await;
    let text = forwarding(
        &endpoint,
        "set = { authorization = { file = \"token\" } }, add = { x-key = { env = \"WEIR_TEST_KEY\" } }",
        "",
    );
    let setup = Setup::new(&text).file("token", format!("Bearer {{{SECRET}}}\n")).env("WEIR_TEST_KEY", "from-env");
    let weir = setup.start().await;
    for mut client in [Client::http1(weir.web()).await, Client::http2(weir.web()).await] {
        client.ask(request(Method::GET, "/").header("authorization", "theirs").body(empty()).unwrap()).await;
        let seen = endpoint.last();
        assert_eq!(seen.values("authorization"), [format!("Bearer {{{SECRET}}}")], "braces in it are no variables");
        assert_eq!(seen.values("x-key"), ["from-env"]);
    }
    // A file that is replaced is taken up like the configuration.
    weir.write("token", "Bearer another");
    eventually("the other value", || async {
        get(weir.web(), "/").await;
        (endpoint.last().values("authorization") == ["Bearer another"]).then_some(())
    })
    .await;
    assert!(!weir.stderr().contains(SECRET) && !weir.status().await.to_string().contains(SECRET));
}

#[tokio::test]
async fn a_check_asks_with_a_header_from_a_file() {
    let asked = super::harness::RawEndpoint::start(|mut raw, _| async move {
        let head = raw.head().await.to_ascii_lowercase();
        let status = if head.contains("x-key: from-file\r\n") { "200 OK" } else { "403 Forbidden" };
        raw.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
    })
    .await;
    let text = format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\ncluster = \"a\"\n\
         [clusters.a]\nendpoints = [\"{}\"]\n\
         health = {{ interval = \"50ms\", timeout = \"40ms\", initial = \"checking\", http = {{ headers = {{ x-key = {{ file = \"key\" }} }} }} }}\n",
        asked.address
    );
    let weir = Setup::new(&text).file("key", "from-file\n").start().await;
    weir.endpoint_is("a", asked.address, "healthy").await;
}

#[tokio::test]
async fn a_value_that_is_not_there_is_a_fault() {
    let endpoint = Endpoint::start("a").await;
    let told = |value: &str| {
        let text = forwarding(&endpoint, &format!("set = {{ x-key = {value} }}"), "");
        let checked = Setup::new(&text).file("empty", "\n").file("lines", format!("{SECRET}\nb")).check();
        assert!(!checked.status.success(), "{value}");
        String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap()
    };
    for (value, fault) in [
        ("{ file = \"absent\" }", "cannot open"),
        ("{ file = \"empty\" }", "is empty"),
        ("{ file = \"lines\" }", "is not a header value"),
        ("{ env = \"WEIR_TEST_ABSENT\" }", "there is no environment variable `WEIR_TEST_ABSENT`"),
        ("{ env = \"A\", file = \"empty\" }", "exclude each other"),
        ("{}", "it is not said where the value is"),
    ] {
        let told = told(value);
        assert!(told.contains(fault) && told.contains("set.x-key") && !told.contains(SECRET), "{value}: {told}");
    }
}

#[tokio::test]
async fn an_explanation_hides_what_is_likely_to_be_secret() {
    let endpoint = Endpoint::start("a").await;
    let headers =
        format!("set = {{ authorization = \"Bearer {SECRET}\", x-team = \"blue\", x-plain = {{ file = \"v\" }} }}");
    let text = forwarding(&endpoint, &headers, "").replace(
        "cluster = \"a\"\n",
        &format!("cluster = \"a\"\nmatch = {{ headers = {{ x-api-key = \"{SECRET}\" }}, query = {{ token = \"{SECRET}\" }} }}\n"),
    );
    let checked = Setup::new(&text).file("v", SECRET).check();
    let told = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    assert!(checked.status.success(), "{told}");
    assert!(told.contains("x-team: blue") && told.contains("authorization: ***") && !told.contains(SECRET), "{told}");
}

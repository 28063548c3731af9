//! Sessions of tenants: apart, and kept as each tenant wants.

use super::{ask, to};
use crate::e2e::harness::{Endpoint, Reply, Weir, guest};

const TENANTS: &str = "[tenants.acme]\nmatch = { hosts = [\"acme.test\"] }\n\
                       [tenants.other]\nmatch = { hosts = [\"other.test\"] }\n";

async fn two() -> [Endpoint; 2] {
    [Endpoint::start("a").await, Endpoint::start("b").await]
}

/// A cluster `web` of these endpoints, with more to say on it, and tenants.
async fn before(endpoints: &[Endpoint], cluster: &str, tenants: &str) -> Weir {
    let listed: Vec<String> = endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
    Weir::start(&to("web", &format!("[clusters.web]\nendpoints = {listed:?}\n{cluster}\n{tenants}"))).await
}

fn met(reply: &Reply) -> &str {
    reply.header("x-endpoint")
}

fn cookie(reply: &Reply) -> String {
    reply.header("set-cookie").split(';').next().unwrap().to_owned()
}

async fn found(weir: &Weir, path: &str) -> String {
    weir.logged(path).await["affinity"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_same_value_is_another_session_for_each_tenant() {
    let endpoints = two().await;
    let weir = before(&endpoints, "affinity = { header = \"x-session\" }", TENANTS).await;
    let hosts = ["acme.test", "other.test", "nobody.test"];
    let mut places = Vec::new();
    for host in hosts {
        places.push(met(&ask(&weir, host, "/", &[("x-session", "7")]).await).to_owned());
    }
    // Turns begin anywhere: one session for all would be at one place.
    assert!(
        places[0] != places[1] && places[1] != places[2],
        "each session begins where the balancer says: {places:?}"
    );
    for _ in 0..3 {
        for (host, place) in hosts.iter().zip(&places) {
            assert_eq!(met(&ask(&weir, host, "/", &[("x-session", "7")]).await), place);
        }
    }
    assert_eq!(weir.metric(r#"weir_affinity_sessions{cluster="web",tenant=""}"#).await, 3.0);
}

#[tokio::test]
async fn a_cookie_of_one_tenant_means_nothing_for_another() {
    let endpoints = two().await;
    let own = |name: &str| {
        format!(
            "[tenants.{name}]\nmatch = {{ hosts = [\"{name}.test\"] }}\naffinity = {{ cookie = {{ secret = \"secret\" }} }}\n"
        )
    };
    let listed: Vec<String> = endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
    let cluster =
        format!("[clusters.web]\nendpoints = {listed:?}\naffinity = {{ cookie = {{ secret = \"secret\" }} }}\n");
    for tenants in [TENANTS.to_owned(), own("acme") + &own("other")] {
        let text = to("web", &format!("{cluster}{tenants}"));
        let weir = crate::e2e::harness::Setup::new(&text).file("secret", [7; 32]).start().await;
        let given = cookie(&ask(&weir, "acme.test", "/first", &[]).await);
        for (host, path, wanted) in
            [("acme.test", "/own", "hit"), ("other.test", "/other", "miss"), ("nobody.test", "/nobody", "miss")]
        {
            let reply = ask(&weir, host, path, &[("cookie", &given)]).await;
            assert_eq!(found(&weir, path).await, wanted, "{host}");
            assert_eq!(reply.header("set-cookie").is_empty(), wanted == "hit", "{host}");
        }
    }
}

#[tokio::test]
async fn each_tenant_keeps_sessions_in_its_own_way() {
    let endpoints = two().await;
    let tenants = format!(
        "[plugins.keep]\npath = \"{}\"\nsettings = {{ tenant = \"host\" }}\n\
         [tenants.acme]\nmatch = {{ hosts = [\"acme.test\"] }}\n\
         affinity = {{ plugin = \"keep\", settings = {{ key = {{ header = \"x-user\" }} }} }}\n\
         [tenants.other]\nmatch = {{ hosts = [\"other.test\"] }}\n\
         affinity = {{ plugin = \"keep\", settings = {{ key = {{ header = \"x-account\" }} }} }}\n\
         [tenants.third]\nmatch = {{ hosts = [\"third.test\"] }}\naffinity = {{ cookie = {{ name = \"third\" }} }}\n",
        guest("tenant-affinity").display()
    );
    let weir = before(&endpoints, "affinity = { header = \"x-session\" }", &tenants).await;
    for (host, key) in [("acme.test", "x-user"), ("other.test", "x-account"), ("nobody.test", "x-session")] {
        let first = ask(&weir, host, "/first", &[(key, "1")]).await;
        for _ in 0..3 {
            assert_eq!(met(&ask(&weir, host, "/", &[(key, "1"), ("x-else", "1")]).await), met(&first), "{host}");
        }
    }
    let first = ask(&weir, "third.test", "/first", &[]).await;
    let third = cookie(&first);
    assert!(third.starts_with("third="), "{third}");
    assert_eq!(met(&ask(&weir, "third.test", "/", &[("cookie", &third)]).await), met(&first));
    for (labels, sessions) in [
        (r#"cluster="",tenant="acme""#, 1.0),
        (r#"cluster="",tenant="other""#, 1.0),
        (r#"cluster="web",tenant="""#, 1.0),
    ] {
        assert_eq!(weir.metric(&format!("weir_affinity_sessions{{{labels}}}")).await, sessions, "{labels}");
    }
    ask(&weir, "acme.test", "/by-the-wrong-key", &[("x-account", "1")]).await;
    assert_eq!(found(&weir, "/by-the-wrong-key").await, "miss");
}

#[tokio::test]
async fn a_tenants_sessions_are_apart_for_each_cluster_and_survive_a_reload() {
    let endpoints = [Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await];
    let [a, b, c] = endpoints.each_ref().map(|endpoint| endpoint.address);
    let text = format!(
        "[process]\nworkers = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [tenants.acme]\nmatch = {{ hosts = [\"acme.test\"] }}\naffinity = {{ header = \"x-session\" }}\n\
         [[routes]]\nname = \"one\"\nmatch = {{ path-prefix = \"/one\" }}\ncluster = \"one\"\n\
         [[routes]]\nname = \"two\"\ncluster = \"two\"\n\
         [clusters.one]\nendpoints = [\"{a}\", \"{b}\"]\n[clusters.two]\nendpoints = [\"{b}\", \"{c}\"]\n"
    );
    let mut weir = Weir::start(&text).await;
    let fields = [("x-session", "7")];
    let one = met(&ask(&weir, "acme.test", "/one", &fields).await).to_owned();
    let two = met(&ask(&weir, "acme.test", "/two", &fields).await).to_owned();
    weir.reload(&text.replace("name = \"two\"", "name = \"rest\"")).await.unwrap();
    for _ in 0..3 {
        assert_eq!(met(&ask(&weir, "acme.test", "/one", &fields).await), one);
        assert_eq!(met(&ask(&weir, "acme.test", "/two", &fields).await), two);
    }
}

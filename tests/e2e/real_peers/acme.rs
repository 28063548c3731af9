//! Certificates of Pebble, the authority that authors of ACME clients test with.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::peer::{Peer, command, free_address};
use crate::e2e::harness::{Ca, Client, Endpoint, NameServer, Setup, Weir, eventually, eventually_within, get, run};

/// An order is a dozen exchanges, and the authority looks at every name.
const PATIENCE: Duration = Duration::from_secs(60);

/// An authority with a name server, by which it finds names.
struct Pebble {
    peer: Peer,
    names: NameServer,
    ca: Ca,
    folder: TempDir,
}

impl Pebble {
    /// It looks for names at these ports of 127.0.0.1.
    async fn start(http: u16, tls: u16, more: Value) -> Pebble {
        Self::looking(("PEBBLE_VA_NOSLEEP", "1"), http, tls, more).await
    }

    /// The same; this variable says when it looks.
    async fn looking((when, value): (&str, &str), http: u16, tls: u16, more: Value) -> Pebble {
        let (folder, ca, names) = (tempfile::tempdir().unwrap(), Ca::new(), NameServer::start().await);
        let path = |name: &str| folder.path().join(name);
        let certificate = ca.issue(&["127.0.0.1"]);
        fs::write(path("cert.pem"), &certificate.cert).unwrap();
        fs::write(path("key.pem"), &certificate.key).unwrap();
        let peer = Peer::start(&path("log"), |address| {
            let mut config = json!({
                "listenAddress": address.to_string(), "managementListenAddress": free_address().to_string(),
                "certificate": path("cert.pem"), "privateKey": path("key.pem"), "httpPort": http, "tlsPort": tls,
            });
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            fs::write(path("config.json"), json!({ "pebble": config }).to_string()).unwrap();
            let mut pebble = command("pebble", "pebble");
            pebble.env(when, value).args(["-dnsserver", &names.address.to_string(), "-config"]);
            pebble.arg(path("config.json"));
            pebble
        });
        let pebble = Pebble { peer, names, ca, folder };
        pebble.knows(&["a.test", "b.test"]);
        pebble
    }

    /// These names lead here.
    fn knows(&self, names: &[&str]) {
        let here = |name: &&str| ((*name).to_owned(), vec![Ipv4Addr::LOCALHOST]);
        self.names.change(|zone| zone.addresses.extend(names.iter().map(here)));
    }

    /// `[acme.pebble]` with more keys, for a Weir that has its authority in `pebble.pem`.
    fn section(&self, more: &str) -> String {
        format!(
            "[acme.pebble]\ndirectory = \"https://{}/dir\"\nterms-agreed = true\nca = \"pebble.pem\"\n{more}\n",
            self.peer.address
        )
    }

    /// Where a Weir keeps what it has of this authority.
    fn storage(&self, weir: &Weir) -> PathBuf {
        weir.path("acme").join(format!("127.0.0.1-{}-dir", self.peer.address.port()))
    }

    /// Trusts what it issues.
    async fn client(&self) -> Arc<ClientConfig> {
        let config: Value = serde_json::from_slice(&fs::read(self.folder.path().join("config.json")).unwrap()).unwrap();
        let management: SocketAddr = config["pebble"]["managementListenAddress"].as_str().unwrap().parse().unwrap();
        let reply = Client::tls(management, &self.ca, "127.0.0.1", &["http/1.1"]).await.get("/roots/0").await;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&reply.body).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- Pebble\n{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

/// A plain listener `web` and a TLS listener `secure` with this in its `tls`, which answer everything themselves.
fn text(sections: &str, tls: &str) -> String {
    format!(
        r#"
        {sections}
        [listeners.web]
        address = "127.0.0.1:0"
        [listeners.secure]
        address = "127.0.0.1:0"
        tls = {{ {tls} }}
        [[routes]]
        name = "all"
        respond = {{ body = "here" }}
        "#
    )
}

const FILES: &str = r#"certificates = [{ cert = "files.pem", key = "files.key" }]"#;

/// A Weir that knows no authority yet, so that its ports are known before one starts.
async fn weir(ca: &Ca) -> Weir {
    let setup = Setup::new(&text("", FILES)).certificate("files", &ca.issue(&["files.test"]));
    setup.start().await
}

async fn beside_pebble(ca: &Ca, more: Value) -> (Weir, Pebble) {
    let weir = weir(ca).await;
    let pebble = Pebble::start(weir.web().port(), weir.listener("secure").port(), more).await;
    weir.write("pebble.pem", pebble.ca.pem());
    (weir, pebble)
}

fn wanted(names: &[&str]) -> String {
    format!("acme = {{ use = \"pebble\", names = {names:?} }}")
}

/// The certificate that a name gets; an error where it gets none that is trusted.
async fn shown(weir: &Weir, client: &Arc<ClientConfig>, name: &str) -> std::io::Result<Vec<u8>> {
    let stream = Client::handshake(weir.listener("secure"), Arc::clone(client), name).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

/// What the status page says of the first certificate that is ordered.
async fn ordered(weir: &Weir) -> Value {
    weir.status().await["acme"][0].clone()
}

async fn until(weir: &Weir, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let found = || async { Some(ordered(weir).await).filter(|one| fits(one)) };
    eventually_within(PATIENCE, what, found).await
}

async fn until_valid(weir: &Weir) -> Value {
    until(weir, "a certificate", |one| one["state"] == "valid" && one["failures"] == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_had_by_http_kept_and_shown_again_after_a_restart() {
    let ca = Ca::new();
    let (mut weir, pebble) = beside_pebble(&ca, json!({})).await;
    let section = pebble.section("challenge = \"http-01\"\ncontact = [\"ops@a.test\"]");
    weir.reload(&text(&section, &wanted(&["a.test"]))).await.unwrap();
    let status = until_valid(&weir).await;
    assert_eq!((&status["acme"], &status["certificate"]), (&json!("pebble"), &json!("a.test")), "{status}");
    weir.said("certificate obtained").await;
    let client = pebble.client().await;
    let first = shown(&weir, &client, "a.test").await.unwrap();
    let asked = weir.logged_where("a challenge", |line| {
        line["path"].as_str().is_some_and(|path| path.starts_with("/.well-known/acme-challenge/"))
    });
    assert_eq!(asked.await["status"], 200);
    assert_eq!(get(weir.web(), "/.well-known/acme-challenge/unknown").await.text(), "here", "that is a route's");
    let labels = r#"{acme="pebble",certificate="a.test""#;
    assert_eq!(weir.metric(&format!("weir_acme_orders_total{labels},result=\"ok\"}}")).await, 1.0);
    let next = weir.metric(&format!("weir_acme_next_attempt_timestamp_seconds{labels}}}")).await;
    let last = weir.metric(&format!("weir_acme_last_success_timestamp_seconds{labels}}}")).await;
    assert!(next > last + 86_400.0 && last > 1_000_000_000.0, "{last} {next}");
    for name in ["a.test.pem", "account.json"] {
        let mode = fs::metadata(pebble.storage(&weir).join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // Another one with the same folder, and no authority to ask.
    let folder = weir.path("acme");
    let section = section.replace("contact", &format!("storage = {folder:?}\ncontact"));
    let authority = pebble.ca.pem();
    drop(pebble);
    let setup = Setup::new(&text(&section, &wanted(&["a.test"])));
    let again = setup.file("pebble.pem", authority).start().await;
    assert_eq!(shown(&again, &client, "a.test").await.unwrap(), first);
    assert_eq!(ordered(&again).await["state"], "valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_had_by_a_handshake_beside_one_of_files() {
    let ca = Ca::new();
    let (mut weir, pebble) = beside_pebble(&ca, json!({})).await;
    let tls = format!("{FILES}, {}", wanted(&["a.test", "b.test"]));
    weir.reload(&text(&pebble.section("key-type = \"ecdsa-p384\""), &tls)).await.unwrap();
    // Whatever an authority looks at, clients are served.
    assert_eq!(Client::tls(weir.listener("secure"), &ca, "files.test", &["h2"]).await.get("/").await.text(), "here");
    until_valid(&weir).await;
    let client = pebble.client().await;
    let one = shown(&weir, &client, "a.test").await.unwrap();
    assert_eq!(shown(&weir, &client, "B.test").await.unwrap(), one, "one certificate for both");
    shown(&weir, &ca.client(&[]), "files.test").await.unwrap();
    shown(&weir, &client, "files.test").await.unwrap_err();
    let status = weir.status().await;
    assert_eq!(status["acme"].as_array().unwrap().len(), 1, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_ends_tls_with_certificates_of_authorities_too() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("here").await);
    let plain = |sections: &str, tls: &str| {
        format!(
            "{sections}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n[listeners.secure]\naddress = \"127.0.0.1:0\"\n\
             protocol = \"tls\"\ncluster = \"web\"\ntls = {{ {tls} }}\n\
             [[routes]]\nname = \"all\"\nrespond = {{}}\n[clusters.web]\nendpoints = [\"{}\"]\n",
            endpoint.address
        )
    };
    let setup = Setup::new(&plain("", FILES)).certificate("files", &ca.issue(&["files.test"]));
    let mut weir = setup.start().await;
    let pebble = Pebble::start(weir.web().port(), weir.listener("secure").port(), json!({})).await;
    weir.write("pebble.pem", pebble.ca.pem());
    weir.reload(&plain(&pebble.section(""), &wanted(&["a.test"]))).await.unwrap();
    until_valid(&weir).await;
    shown(&weir, &pebble.client().await, "a.test").await.unwrap();
    assert_eq!(endpoint.requests(), 0, "what authorities want to see is none of the endpoints' business");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_a_makeshift_while_there_is_no_certificate() {
    let ca = Ca::new();
    let (mut weir, pebble) = beside_pebble(&ca, json!({})).await;
    let tls = format!("{FILES}, {}", wanted(&["unknown.test"]));
    weir.reload(&text(&pebble.section(""), &tls)).await.unwrap();
    let status = until(&weir, "a failure", |one| one["failures"] == 1).await;
    assert_eq!(status["state"], "wanted");
    let why = status["why"].as_str().unwrap();
    assert!(why.starts_with("unknown.test: ") && why.contains("urn:ietf:params:acme:error:"), "{why}");
    let said = weir.said("certificate not obtained, it is tried again").await;
    assert_eq!((&said["why"], &said["failures"]), (&json!(why), &json!(1)), "{said}");
    assert!(shown(&weir, &ca.client(&[]), "unknown.test").await.unwrap_err().to_string().contains("alert"));
    shown(&weir, &ca.client(&[]), "files.test").await.unwrap();
    let series = r#"weir_acme_failures{acme="pebble",certificate="unknown.test"}"#;
    assert_eq!(weir.metric(series).await, 1.0);
    let next = weir.metric(&series.replace("failures", "next_attempt_timestamp_seconds")).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(next > now + 120.0, "it is not tried again at once: {next} {now}");
    // Nor is it by another process.
    let (folder, note) = (weir.path("acme"), pebble.storage(&weir).join("unknown.test.failed.json"));
    eventually("a note", || std::future::ready(note.exists().then_some(()))).await;
    let section = pebble.section(&format!("storage = {folder:?}"));
    let setup = Setup::new(&text(&section, &wanted(&["unknown.test"]))).file("pebble.pem", pebble.ca.pem());
    let resumed = ordered(&setup.start().await).await;
    let same = |key: &str| resumed[key] == status[key];
    assert!(same("failures") && same("why") && same("next_attempt"), "{resumed}\n{status}");
}

/// A key with a certificate of so many days of which this many are left.
fn old(names: &[&str], days: u64, left: u64) -> (String, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let day = |days: u64| Duration::from_secs(days * 86_400);
    params.not_before = (SystemTime::now() - day(days - left)).into();
    params.not_after = (SystemTime::now() + day(left)).into();
    let certificate = params.self_signed(&key).unwrap();
    (format!("{}{}", key.serialize_pem(), certificate.pem()), certificate.der().to_vec())
}

/// Trusts this one certificate.
fn trusting(certificate: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_certificate_is_renewed_and_shown_until_it_is() {
    let ca = Ca::new();
    let (mut weir, pebble) = beside_pebble(&ca, json!({})).await;
    let (kept, der) = old(&["old.test"], 90, 10);
    fs::create_dir_all(pebble.storage(&weir)).unwrap();
    fs::write(pebble.storage(&weir).join("old.test.pem"), kept).unwrap();
    weir.reload(&text(&pebble.section(""), &wanted(&["old.test"]))).await.unwrap();
    // The authority cannot find the name.
    let status = until(&weir, "a failure", |one| one["failures"] == 1).await;
    assert_eq!(status["state"], "valid");
    assert_eq!(shown(&weir, &trusting(&der), "old.test").await.unwrap(), der);
    pebble.knows(&["old.test"]);
    let admin = weir.admin.to_string();
    let said = run(&["acme", "renew", "old.test", "--admin", &admin]);
    assert!(said.status.success(), "{said:?}");
    until(&weir, "a renewal", |one| one["not_after"] != status["not_after"]).await;
    let client = pebble.client().await;
    let renewed = shown(&weir, &client, "old.test").await.unwrap();
    assert_ne!(renewed, der);
    // What does not change is not ordered again, and what does when it is due.
    weir.reload(&text(&pebble.section(""), &wanted(&["old.test"]))).await.unwrap();
    let ok = r#"weir_acme_orders_total{acme="pebble",certificate="old.test",result="ok"}"#;
    assert_eq!(weir.metric(ok).await, 1.0);
    weir.reload(&text(&pebble.section("contact = [\"ops@a.test\"]"), &wanted(&["old.test"]))).await.unwrap();
    assert_eq!(shown(&weir, &client, "old.test").await.unwrap(), renewed);
    run(&["acme", "renew", "old.test", "--admin", &admin]);
    eventually_within(PATIENCE, "another", || async { (weir.metric(ok).await == 1.0).then_some(()) }).await;
    assert_ne!(shown(&weir, &client, "old.test").await.unwrap(), renewed);
    let listed = String::from_utf8(run(&["acme", "list", "--admin", &admin]).stdout).unwrap();
    assert!(listed.contains("old.test     pebble     valid"), "{listed}");
    let refused = run(&["acme", "renew", "other.test", "--admin", &admin]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("there is: old.test"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_bound_to_a_customer_and_made_again_when_it_is_forgotten() {
    let ca = Ca::new();
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let bound = json!({ "externalAccountBindingRequired": true, "externalAccountMACKeys": { "kid-1": key } });
    let (mut weir, pebble) = beside_pebble(&ca, bound).await;
    weir.write("eab.key", key);
    weir.reload(&text(&pebble.section(""), &wanted(&["a.test"]))).await.unwrap();
    let status = until(&weir, "a failure", |one| one["failures"] == 1).await;
    assert!(status["why"].as_str().unwrap().contains("externalAccountRequired"), "{status}");
    let eab = "eab = { key-id = \"kid-1\", key = \"eab.key\" }";
    // As one that another life of the authority has made.
    let another = Pebble::start(1, 1, json!({})).await;
    weir.write("pebble.pem", another.ca.pem());
    weir.reload(&text(&another.section(""), &wanted(&["a.test"]))).await.unwrap();
    until(&weir, "a failure", |one| one["failures"] == 1).await;
    let port = |pebble: &Pebble| format!(":{}/", pebble.peer.address.port());
    let account = fs::read_to_string(another.storage(&weir).join("account.json")).unwrap();
    fs::create_dir_all(pebble.storage(&weir)).unwrap();
    let account = account.replace(&port(&another), &port(&pebble));
    fs::write(pebble.storage(&weir).join("account.json"), account).unwrap();
    weir.write("pebble.pem", pebble.ca.pem());
    weir.reload(&text(&pebble.section(eab), &wanted(&["a.test"]))).await.unwrap();
    until_valid(&weir).await;
    shown(&weir, &pebble.client().await, "a.test").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_wants_to_be_left_alone_is() {
    let ca = Ca::new();
    let problem = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many orders"}"#;
    let busy = format!(
        r#"
        [listeners.busy]
        address = "127.0.0.1:0"
        tls = {{ certificates = [{{ cert = "busy.pem", key = "busy.key" }}] }}
        [[routes]]
        name = "all"
        respond = {{ status = 429, body = {problem:?}, headers = {{ retry-after = "36000", content-type = "application/problem+json" }} }}
        "#
    );
    let busy = Setup::new(&busy).certificate("busy", &ca.issue(&["127.0.0.1"])).start().await;
    let mut weir = weir(&ca).await;
    weir.write("pebble.pem", ca.pem());
    let section = format!(
        "[acme.pebble]\ndirectory = \"https://{}/dir\"\nterms-agreed = true\nca = \"pebble.pem\"\n",
        busy.listener("busy")
    );
    weir.reload(&text(&section, &wanted(&["a.test"]))).await.unwrap();
    let status = until(&weir, "a failure", |one| one["failures"] == 1).await;
    assert!(status["why"].as_str().unwrap().contains("too many orders"), "{status}");
    let next = r#"weir_acme_next_attempt_timestamp_seconds{acme="pebble",certificate="a.test"}"#;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(weir.metric(next).await > now + 30_000.0, "{status}");
    busy.logged("/dir").await;
    let refused = run(&["acme", "renew", "a.test", "--admin", &weir.admin.to_string()]);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("pebble wants to be left alone until"), "{why}");
    weir.reload(&text(&section, &wanted(&["a.test"]))).await.unwrap();
    assert_eq!(ordered(&weir).await["failures"], 1, "a reload that changes nothing is no reason to ask again");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_authorities_may_look_at_one_name() {
    let ca = Ca::new();
    let (mut weir, pebble) = beside_pebble(&ca, json!({})).await;
    // It looks when the first would be done with all of its order.
    let when = ("PEBBLE_VA_SLEEPTIME", "3");
    let other = Pebble::looking(when, weir.web().port(), weir.listener("secure").port(), json!({})).await;
    weir.write("other.pem", other.ca.pem());
    let sections = [
        pebble.section(""),
        other.section("").replace("[acme.pebble]", "[acme.other]").replace("pebble.pem", "other.pem"),
        "[listeners.more]\naddress = \"127.0.0.1:0\"\ntls = { acme = { use = \"other\", names = [\"a.test\"] } }\n"
            .to_owned(),
    ];
    weir.reload(&text(&sections.concat(), &wanted(&["a.test"]))).await.unwrap();
    let all = || async {
        let status = weir.status().await;
        let orders = status["acme"].as_array().unwrap();
        assert!(orders.iter().all(|one| one["failures"] == 0), "{status}");
        (orders.len() == 2 && orders.iter().all(|one| one["state"] == "valid")).then_some(())
    };
    eventually_within(PATIENCE, "both certificates", all).await;
}

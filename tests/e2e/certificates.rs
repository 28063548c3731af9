//! Certificates of listeners: which one a client gets, and what happens when they expire.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use http::Method;
use rustls::{
    ClientConfig, NamedGroup,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::harness::{
    Ca, Certificate, Client, Setup,
    TimeFromNow::{self, Ago, In},
    Weir, empty, eventually, request, run, until,
};

const DAY: Duration = Duration::from_secs(86_400);

/// A listener `secure` with this in its `tls`, and a route that answers.
fn secure(tls: &str) -> String {
    format!(
        "[listeners.secure]\naddress = \"127.0.0.1:0\"\ntls = {{ {tls} }}\n\
         [[routes]]\nname = \"all\"\nrespond = {{ body = \"ok\" }}\n"
    )
}

const ONE: &str = r#"certificates = [{ cert = "a.pem", key = "a.key" }]"#;
const TWO: &str = r#"certificates = [{ cert = "a.pem", key = "a.key" }, { cert = "b.pem", key = "b.key" }]"#;

async fn start(tls: &str, certificates: &[(&str, &Certificate)]) -> Weir {
    let setup = Setup::new(&secure(tls));
    certificates.iter().fold(setup, |setup, (name, one)| setup.certificate(name, one)).start().await
}

/// What openssl says of a handshake, and whether it succeeded.
async fn s_client(address: SocketAddr, arguments: &'static [&str]) -> (bool, String) {
    let run = move || {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address.to_string()]).args(arguments);
        command.stdin(Stdio::null()).output().expect("openssl")
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

#[tokio::test]
async fn of_two_keys_each_client_gets_one_that_it_can_verify() {
    let ca = Ca::new();
    let weir = start(TWO, &[("a", &ca.issue_rsa(&["a.test"])), ("b", &ca.issue(&["a.test"]))]).await;
    let address = weir.listener("secure");
    for (arguments, expected) in [
        (&["-servername", "a.test", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"][..], "Peer signature type: RSA"),
        (&["-servername", "a.test", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256", "-tls1_2"], "Peer signature type: RSA"),
        (&["-servername", "a.test", "-sigalgs", "ECDSA+SHA256"], "Peer signature type: ECDSA"),
        (&["-servername", "a.test", "-sigalgs", "ECDSA+SHA256", "-tls1_2"], "Peer signature type: ECDSA"),
        (&["-servername", "a.test"], "Peer signature type: ECDSA"),
        (&["-noservername"], "Peer signature type: ECDSA"),
    ] {
        let (succeeded, said) = s_client(address, arguments).await;
        assert!(succeeded && said.contains(expected), "{arguments:?}\n{said}");
    }
    let (succeeded, _) = s_client(address, &["-sigalgs", "ed25519"]).await;
    assert!(!succeeded, "nothing of ours can be verified so");
}

#[tokio::test]
async fn versions_before_the_oldest_are_not_spoken() {
    let ca = Ca::new();
    let one = ca.issue(&["a.test"]);
    let usual = start(ONE, &[("a", &one)]).await;
    let strict = start(&format!("{ONE}, min-version = \"1.3\""), &[("a", &one)]).await;
    for (weir, version, expected) in [
        (&usual, &["-tls1_3"][..], true),
        (&usual, &["-tls1_2"], true),
        (&usual, &["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"], false),
        (&strict, &["-tls1_3"], true),
        (&strict, &["-tls1_2"], false),
    ] {
        let (succeeded, said) = s_client(weir.listener("secure"), version).await;
        assert_eq!(succeeded, expected, "{version:?}\n{said}");
    }
    let (_, weak) = s_client(usual.listener("secure"), &["-tls1_2", "-cipher", "AES128-SHA:DHE-RSA-AES128-SHA"]).await;
    assert!(weak.contains("handshake failure"), "without forward secrecy nothing is agreed on\n{weak}");
}

#[tokio::test]
async fn keys_are_agreed_on_that_withstand_quantum_computers() {
    let ca = Ca::new();
    let weir = start(ONE, &[("a", &ca.issue(&["a.test"]))]).await;
    let stream = Client::handshake(weir.listener("secure"), ca.client(&[]), "a.test").await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn no_request_is_taken_before_the_handshake_is_over() {
    let ca = Ca::new();
    let weir = start(ONE, &[("a", &ca.issue(&["a.test"]))]).await;
    let mut config = ClientConfig::clone(&ca.client(&["http/1.1"]));
    config.enable_early_data = true;
    let config = std::sync::Arc::new(config);
    for resumed in [false, true] {
        let stream = Client::handshake(weir.listener("secure"), config.clone(), "a.test").await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed), resumed);
        assert!(!connection.is_early_data_accepted());
        let mut client = Client::over(stream).await;
        assert_eq!(client.get("/").await.text(), "ok");
    }
}

fn valid(ca: &Ca, from: TimeFromNow, until: TimeFromNow) -> Certificate {
    ca.issue_valid(&["a.test"], from, until)
}

fn der(certificate: &Certificate) -> Vec<u8> {
    CertificateDer::from_pem_slice(certificate.cert.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn a_certificate_out_of_its_time_does_not_take_the_place_of_another() {
    let ca = Ca::new();
    let good = valid(&ca, Ago(DAY), In(90 * DAY));
    let weir = start(ONE, &[("a", &good)]).await;
    for (faulty, why) in [
        (valid(&ca, Ago(90 * DAY), Ago(DAY)), "a.pem: expired on "),
        (valid(&ca, In(DAY), In(90 * DAY)), "a.pem: is not valid before "),
    ] {
        weir.write("a.key", &faulty.key);
        weir.write("a.pem", &faulty.cert);
        let refused = "configuration refused, the former one goes on";
        weir.said_where(refused, |line| line["faults"].as_str().is_some_and(|faults| faults.contains(why))).await;
        let client = Client::tls(weir.listener("secure"), &ca, "a.test", &[]).await;
        assert_eq!(client.certificate, Some(der(&good)));
    }
}

/// Waits until clients are shown this one.
async fn shows(weir: &Weir, ca: &Ca, certificate: &Certificate) {
    eventually("the other certificate", || async {
        let client = Client::tls(weir.listener("secure"), ca, "a.test", &[]).await;
        (client.certificate == Some(der(certificate))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_is_taken_up_by_whatever_way_it_is_put_in_place() {
    let ca = Ca::new();
    let [first, second, third, fourth, fifth] = std::array::from_fn(|_| ca.issue(&["a.test"]));
    let tls = r#"certificates = [{ cert = "site/current/a.pem", key = "site/current/a.key" }]"#;
    let setup = Setup::new(&secure(tls));
    let release = |folder: &Path, name: &str, one: &Certificate| {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("a.pem"), &one.cert).unwrap();
        fs::write(folder.join(name).join("a.key"), &one.key).unwrap();
    };
    for (name, one) in [("site/1", &first), ("site/2", &second)] {
        release(setup.folder(), name, one);
    }
    symlink("1", setup.folder().join("site/current")).unwrap();
    let weir = setup.start().await;
    let turn = |to: &str| {
        symlink(to, weir.path("site/next")).unwrap();
        fs::rename(weir.path("site/next"), weir.path("site/current")).unwrap();
    };
    shows(&weir, &ca, &first).await;
    turn("2");
    shows(&weir, &ca, &second).await;
    release(weir.folder(), "site/3", &third);
    turn(weir.path("site/3").to_str().unwrap());
    shows(&weir, &ca, &third).await;
    release(weir.folder(), "site/3", &fourth);
    shows(&weir, &ca, &fourth).await;
    for (number, one) in [first, fifth].iter().enumerate() {
        release(weir.folder(), "other/current", one);
        fs::rename(weir.path("site"), weir.path(&format!("former-{number}"))).unwrap();
        fs::rename(weir.path("other"), weir.path("site")).unwrap();
        shows(&weir, &ca, one).await;
    }
    release(weir.folder(), "site/current", &second);
    shows(&weir, &ca, &second).await;
}

#[tokio::test]
async fn one_that_expires_is_told_and_goes_on() {
    let ca = Ca::new();
    let expired = valid(&ca, Ago(90 * DAY), Ago(DAY));
    let mut weir = start(TWO, &[("a", &expired), ("b", &valid(&ca, Ago(80 * DAY), In(10 * DAY)))]).await;
    for (file, why) in [("a.pem", "expired on "), ("b.pem", ", in 9 days")] {
        let fits = |line: &serde_json::Value| {
            line["certificate"].as_str().unwrap().ends_with(file) && line["why"].as_str().unwrap().contains(why)
        };
        assert_eq!(weir.said_where("certificate to be renewed", fits).await["listener"], "secure");
    }
    let (succeeded, said) = s_client(weir.listener("secure"), &[]).await;
    assert!(succeeded && said.contains("certificate has expired"), "a late certificate is better than none\n{said}");
    weir.reload(&(secure(TWO) + "[access-log]\nformat = \"logfmt\"\n")).await.expect("it was served before");
}

#[tokio::test]
async fn what_is_left_of_certificates_is_in_metrics_and_status() {
    let ca = Ca::new();
    let one = valid(&ca, Ago(DAY), In(90 * DAY));
    let weir = start(ONE, &[("a", &one)]).await;
    let path = fs::canonicalize(weir.path("a.pem")).unwrap();
    let series = format!("weir_certificate_expiry_seconds{{listener=\"secure\",certificate=\"{}\"}}", path.display());
    let left = weir.metric(&series).await;
    assert!((89.0 * 86_400.0..=90.0 * 86_400.0).contains(&left), "{left}");
    let status = weir.status().await;
    let shown = &status["listeners"][0]["certificates"][0];
    assert_eq!((&shown["hosts"][0], &shown["key"]), (&"a.test".into(), &"ECDSA".into()), "{status}");
    assert!(shown["not_after"].as_str().unwrap().ends_with('Z') && shown["sha256"].as_str().unwrap().len() == 64);
}

#[test]
fn check_tells_of_certificates_that_expire() {
    let ca = Ca::new();
    let check = |one: &Certificate| {
        let output = Setup::new(&secure(ONE)).certificate("a", one).check();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(check(&valid(&ca, Ago(DAY), In(90 * DAY))), "");
    assert!(check(&valid(&ca, Ago(70 * DAY), In(20 * DAY))).contains("listener secure: "));
    assert!(check(&valid(&ca, Ago(70 * DAY), Ago(DAY))).contains("a start serves it, a reload would refuse it"));
}

#[tokio::test]
async fn a_key_that_everybody_may_read_is_told_and_used() {
    let ca = Ca::new();
    let setup = Setup::new(&secure(ONE)).certificate("a", &ca.issue(&["a.test"]));
    fs::set_permissions(setup.folder().join("a.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let told = "a.key is open to every user of this machine (mode 0644)";
    let checked = setup.check();
    assert!(checked.status.success() && String::from_utf8(checked.stderr).unwrap().contains(told));
    let weir = setup.start().await;
    until("a warning", || weir.stderr().contains(told)).await;
    assert_eq!(Client::tls(weir.listener("secure"), &ca, "a.test", &["h2"]).await.get("/").await.text(), "ok");
}

/// Keys with a passphrase, as `openssl genpkey -aes256` and `openssl genrsa -aes256 -traditional` begin them.
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
const TRADITIONAL: &str = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n";

/// What is wrong with a file is told where the configuration names it: by the check, at a start, at a reload.
#[tokio::test]
async fn a_file_that_cannot_be_used_is_shown_where_it_is_named() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let (one, other) = (ca.issue(&["a.test"]), ca.issue(&["b.test"]));
    let all = r#"certificates = [{ cert = "o.pem", key = "o.key" }, { cert = "a.pem", key = "a.key", ocsp = "a.ocsp" }],
        client-auth = { ca = "clients.pem", crl = "clients.crl" }, ticket-keys = "tickets""#;
    let setup = || {
        let octets = answer(&ca, &numbered(&ca, 7), "07", GOOD);
        let setup = Setup::new(&secure(all)).certificate("o", &other).certificate("a", &numbered(&ca, 7));
        let setup = setup.file("a.ocsp", octets).file("clients.pem", clients.pem());
        setup.file("clients.crl", clients.revoke(&[1])).file("tickets", "ab".repeat(32))
    };
    let checked = setup().check();
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    for (file, content, place, key, why) in [
        ("a.pem", "nothing", ":3:69\n", "certificates[1].cert", "a.pem: holds no certificate"),
        ("a.key", "nothing", ":3:84\n", "certificates[1].key", "a.key: holds no private key"),
        ("a.key", ENCRYPTED, ":3:84\n", "certificates[1].key", "openssl pkey -in"),
        ("a.key", TRADITIONAL, ":3:84\n", "certificates[1].key", "is encrypted with a passphrase"),
        ("a.key", &*one.key, ":3:84\n", "certificates[1].key", "a.key is not the private key of "),
        ("a.ocsp", "nothing", ":3:100\n", "certificates[1].ocsp", "a.ocsp: not an OCSP response"),
        ("clients.pem", "nothing", ":4:30\n", "client-auth.ca", "clients.pem: no certificate in it"),
        ("clients.crl", "nothing", ":4:51\n", "client-auth.crl", "clients.crl: no list of revoked"),
        ("tickets", "nothing", ":4:82\n", "ticket-keys", "tickets: line 1 is no key"),
    ] {
        let checked = setup().file(file, content).check();
        let said = String::from_utf8(checked.stderr).unwrap();
        let wanted = [why, place, &format!("\n  = key: listeners.secure.tls.{key}\n"), "cannot be used: 1 fault"];
        assert_eq!(checked.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error: listener secure: "), "{said}");
        wanted.iter().for_each(|part| assert!(said.contains(part), "{part:?}: {said}"));
    }
    let told = "= key: listeners.secure.tls.ticket-keys";
    let started = setup().file("tickets", "nothing").run();
    assert!(String::from_utf8(started.stderr).unwrap().contains(told));
    let mut weir = setup().start().await;
    weir.write("tickets", "nothing");
    let refused = weir.reload(&secure(all)).await.unwrap_err();
    let refused: serde_json::Value = serde_json::from_str(&refused).unwrap();
    assert!(refused["error"].as_str().unwrap().ends_with(told), "{refused}");
}

/// A request for this host.
async fn status(client: &mut Client, host: &str) -> u16 {
    let asked = request(Method::GET, "/").header("host", host).body(empty()).unwrap();
    client.ask(asked).await.status.as_u16()
}

#[tokio::test]
async fn a_strict_listener_keeps_requests_to_the_certificate() {
    let ca = Ca::new();
    let (a, b) = (ca.issue(&["a.test", "127.0.0.1"]), ca.issue(&["*.b.test"]));
    let strict = start(&format!("{TWO}, strict-host = true"), &[("a", &a), ("b", &b)]).await;
    let usual = start(TWO, &[("a", &a), ("b", &b)]).await;
    for alpn in ["h2", "http/1.1"] {
        for (name, host, expected) in [
            ("a.test", "a.test", 200),
            ("a.test", "A.test:8443", 200),
            ("a.test", "127.0.0.1", 200),
            ("a.test", "x.b.test", 421),
            ("x.b.test", "y.b.test", 200),
            ("x.b.test", "b.test", 421),
            ("x.b.test", "x.y.b.test", 421),
            ("127.0.0.1", "a.test", 200),
        ] {
            let mut client = Client::tls(strict.listener("secure"), &ca, name, &[alpn]).await;
            assert_eq!(status(&mut client, host).await, expected, "{name} {host} {alpn}");
            let mut client = Client::tls(usual.listener("secure"), &ca, name, &[alpn]).await;
            assert_eq!(status(&mut client, host).await, 200, "{name} {host} {alpn}");
        }
    }
    let line = strict.logged_where("421", |line| line["status"] == 421).await;
    assert_eq!(line["error"], "host that the certificate is not for");
}

#[tokio::test]
async fn a_strict_listener_goes_by_the_certificate_that_was_shown() {
    let ca = Ca::new();
    let (one, both) = (&["a.test"][..], &["a.test", "b.test"][..]);
    for (ec, rsa, by_ec, by_rsa) in [(one, both, 421, 200), (both, one, 200, 421)] {
        let served = [("a", &ca.issue(ec)), ("b", &ca.issue_rsa(rsa))];
        let weir = start(&format!("{TWO}, strict-host = true"), &served).await;
        for alpn in ["h2", "http/1.1"] {
            for (config, expected) in [(ca.client(&[alpn]), by_ec), (ca.rsa_client(&[alpn]), by_rsa)] {
                let stream = Client::handshake(weir.listener("secure"), config, "a.test").await.unwrap();
                let mut client = Client::over(stream).await;
                assert_eq!(status(&mut client, "a.test").await, 200, "{alpn}");
                assert_eq!(status(&mut client, "b.test").await, expected, "{alpn}");
            }
        }
    }
}

/// An answer of the authority on the certificate with this serial number, made by openssl.
fn answer(ca: &Ca, certificate: &Certificate, serial: &str, state: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let index = format!("{state}\t{serial}\tunknown\t/CN=a\n");
    for (name, content) in
        [("ca.pem", &ca.pem()), ("ca.key", &ca.key()), ("a.pem", &certificate.cert), ("index", &index)]
    {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").current_dir(folder.path()).args(arguments).output().expect("openssl");
        assert!(output.status.success(), "{output:?}");
    };
    openssl(&["ocsp", "-issuer", "ca.pem", "-cert", "a.pem", "-reqout", "request"]);
    let signed = ["-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-ndays", "7"];
    openssl(&[&["ocsp", "-index", "index", "-reqin", "request", "-respout", "response"], &signed[..]].concat());
    fs::read(folder.path().join("response")).unwrap()
}

const GOOD: &str = "V\t400101000000Z\t";
const REVOKED: &str = "R\t400101000000Z\t250101000000Z";
const STAPLED: &str = r#"certificates = [{ cert = "a.pem", key = "a.key", ocsp = "a.ocsp" }]"#;

fn numbered(ca: &Ca, serial: u8) -> Certificate {
    ca.issue_with(&["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.serial_number = Some(vec![serial].into())
    })
}

#[tokio::test]
async fn the_answer_of_the_authority_is_given_with_the_certificate() {
    let ca = Ca::new();
    let one = numbered(&ca, 7);
    let setup = Setup::new(&secure(STAPLED)).certificate("a", &one).file("a.ocsp", answer(&ca, &one, "07", GOOD));
    let weir = setup.start().await;
    for version in [&["-status", "-tls1_2"], &["-status", "-tls1_3"]] {
        let (_, said) = s_client(weir.listener("secure"), version).await;
        assert!(said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good"), "{said}");
    }
    let status = weir.status().await;
    assert!(status["listeners"][0]["certificates"][0]["ocsp_until"].is_string(), "{status}");
    assert!(weir.metrics().await.contains("weir_ocsp_expiry_seconds{listener=\"secure\""));
}

#[test]
fn an_answer_that_would_keep_clients_away_is_refused() {
    let ca = Ca::new();
    let (one, other) = (numbered(&ca, 7), numbered(&ca, 8));
    for (octets, why) in [
        (answer(&ca, &one, "07", REVOKED), "does not say that the certificate is good"),
        (answer(&ca, &one, "09", GOOD), "does not say that the certificate is good"),
        (answer(&ca, &other, "08", GOOD), "about another certificate"),
        (b"nothing".to_vec(), "not an OCSP response"),
        (vec![0x30, 3, 10, 1, 3], "TryLater"),
    ] {
        let setup = Setup::new(&secure(STAPLED)).certificate("a", &one).file("a.ocsp", octets);
        let output = setup.check();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("a.ocsp: ") && said.contains(why), "{why}: {said}");
    }
}

const NAMED: &str = r#"certificates = [{ name = "shop", cert = "a.pem", key = "a.key" }]"#;

async fn push(weir: &Weir, name: &str, cert: &str, key: &str) -> (u16, serde_json::Value) {
    let reply = weir.command(Method::PUT, &format!("/v1/certificates/{name}"), format!("{cert}{key}")).await;
    (reply.status.as_u16(), reply.json())
}

async fn shown(weir: &Weir, ca: &Ca) -> Option<Vec<u8>> {
    Client::tls(weir.listener("secure"), ca, "a.test", &["h2"]).await.certificate
}

#[tokio::test]
async fn a_certificate_is_pushed_under_open_connections() {
    let ca = Ca::new();
    let [first, second, third] = [(); 3].map(|()| ca.issue(&["a.test"]));
    let mut weir = start(NAMED, &[("a", &first)]).await;
    let mut open = Client::tls(weir.listener("secure"), &ca, "a.test", &["h2"]).await;
    let (code, answer) = push(&weir, "shop", &second.cert, &second.key).await;
    assert!(code == 200 && answer["name"] == "shop" && answer["previous"].is_string(), "{answer}");
    assert_eq!(shown(&weir, &ca).await, Some(der(&second)));
    assert_eq!(open.get("/").await.text(), "ok");
    weir.reload(&(secure(NAMED) + "[access-log]\nformat = \"logfmt\"\n")).await.unwrap();
    assert_eq!(shown(&weir, &ca).await, Some(der(&second)), "it holds over reloads");
    assert_eq!(push(&weir, "shop", &third.cert, &third.key).await.0, 200);
    assert_eq!(shown(&weir, &ca).await, Some(der(&third)));
    let fourth = ca.issue(&["a.test"]);
    weir.write("a.key", &fourth.key);
    weir.write("a.pem", &fourth.cert);
    let files = || async { (shown(&weir, &ca).await == Some(der(&fourth))).then_some(()) };
    eventually("what the file says", files).await;
}

#[tokio::test]
async fn a_pushed_certificate_that_cannot_be_used_changes_nothing() {
    let ca = Ca::new();
    let (first, second) = (ca.issue(&["a.test"]), ca.issue(&["a.test"]));
    let weir = start(NAMED, &[("a", &first)]).await;
    let expired = valid(&ca, Ago(90 * DAY), Ago(DAY));
    for (name, cert, key, code, why) in [
        ("shop", &second.cert, &first.key, 422, "the private key is not the certificate's"),
        ("shop", &expired.cert, &expired.key, 422, "the certificate expired on "),
        ("shop", &first.key, &first.key, 422, "holds no certificate"),
        ("shop", &first.cert, &String::new(), 422, "private key: "),
        ("other", &second.cert, &second.key, 404, "there is no certificate other; there are: shop"),
    ] {
        let (found, answer) = push(&weir, name, cert, key).await;
        assert!(found == code && answer["error"].as_str().unwrap().contains(why), "{why}: {found} {answer}");
    }
    assert_eq!(shown(&weir, &ca).await, Some(der(&first)));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_pushed_and_listed_by_commands() {
    let ca = Ca::new();
    let second = ca.issue(&["a.test", "b.test"]);
    let weir = start(NAMED, &[("a", &ca.issue(&["a.test"]))]).await;
    weir.write("next.pem", &second.cert);
    weir.write("next.key", &second.key);
    let (admin, path) = (weir.admin.to_string(), |name: &str| weir.path(name).display().to_string());
    let output = run(&["certificate", "push", "shop", &path("next.pem"), &path("next.key"), "--admin", &admin]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("shop is now "), "{output:?}");
    assert_eq!(shown(&weir, &ca).await, Some(der(&second)));
    let output = run(&["certificate", "list", "--admin", &admin]);
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(listed.contains("shop") && listed.contains("a.test,b.test") && listed.contains("ECDSA"), "{listed}");
    let output = run(&["certificate", "push", "shop", &path("next.pem"), &path("a.key"), "--admin", &admin]);
    assert_eq!(output.status.code(), Some(1));
}

/// `openssl req -x509` with this key and subject, into `a.pem` and `a.key` of the folder.
fn self_signed(folder: &Path, key: &str) {
    let arguments = ["req", "-x509", "-nodes", "-days", "90", "-subj", "/CN=a.test", "-newkey", key];
    let files = ["-keyout", "a.key", "-out", "a.pem"];
    let made = Command::new("openssl").args(arguments).args(files).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn what_is_odd_about_a_certificate_is_told_with_the_remedy() {
    let one = r#"certificates = [{ cert = "a.pem", key = "a.key" }]"#;
    for (key, code, told) in [
        ("rsa:1024", 2, "a.key: cannot be used: a key is ECDSA, Ed25519, or RSA of 2048 to 8192 bits"),
        ("rsa:2048", 0, "names no host in subjectAltName, so that no client's server name selects it"),
    ] {
        let setup = Setup::new(&secure(one));
        self_signed(setup.folder(), key);
        let checked = setup.check();
        let said = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.code(), Some(code), "{said}");
        assert!(said.contains(told), "{said}");
    }
}

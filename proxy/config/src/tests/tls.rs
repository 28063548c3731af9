//! `tls` of listeners and clusters.

use super::Folder;
use crate::{ClientFact, Fault, ListenerTls};

fn text(protocol: &str, tls: &str) -> String {
    format!(
        "[listeners.l]\naddress = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\n\
         tls = {{ certificates = [{{ cert = \"cert.pem\", key = \"key.pem\" }}], {tls} }}\n\
         [[routes]]\nname = \"r\"\ncluster = \"c\"\n[clusters.c]\nendpoints = [\"127.0.0.1:1\"]\n"
    )
}

fn read(protocol: &str, tls: &str) -> ListenerTls {
    let loaded = Folder::new().parse(&text(protocol, tls)).unwrap_or_else(|faults| panic!("{tls}\n{faults}"));
    loaded.config.listeners[0].tls.clone().unwrap()
}

fn faulty(protocol: &str, tls: &str) -> Fault {
    let mut faults = Folder::new().parse(&text(protocol, tls)).expect_err(tls);
    assert_eq!(faults.len(), 1, "{faults}");
    faults.0.remove(0)
}

#[test]
fn clients_may_have_to_prove_who_they_are() {
    let headers = "headers = { subject = \"X-Subject\", names = \"x-names\" }";
    let tls = read(
        "http",
        &format!("client-auth = {{ mode = \"optional\", ca = \"cert.pem\", crl = \"key.pem\", {headers} }}"),
    );
    let auth = tls.client_auth.as_ref().unwrap();
    assert!(!auth.required && auth.crl.is_some());
    assert_eq!(auth.headers, [(ClientFact::Subject, "x-subject".into()), (ClientFact::Names, "x-names".into())]);
    let files: Vec<_> = tls.files().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(files, ["cert.pem", "key.pem", "cert.pem", "key.pem"]);
    assert!(read("tls", "client-auth = { ca = \"cert.pem\" }").client_auth.unwrap().required);
    for (protocol, auth, key, problem) in [
        ("http", "mode = \"required\"", "", "`ca` is missing"),
        ("http", "mode = \"yes\", ca = \"cert.pem\"", ".mode", "not possible"),
        ("http", "ca = \"absent.pem\"", ".ca", "absent.pem"),
        ("http", "ca = \"cert.pem\", headers = { subject = \"te\" }", ".headers.subject", "not for a route"),
        ("http", "ca = \"cert.pem\", headers = { subject = \"host\" }", ".headers.subject", "`host`"),
        ("http", "ca = \"cert.pem\", headers = { subject = \"x\", issuer = \"X\" }", ".headers.issuer", "already"),
        ("tls", "ca = \"cert.pem\", headers = { subject = \"x\" }", ".headers", "only requests of HTTP"),
    ] {
        let fault = faulty(protocol, &format!("client-auth = {{ {auth} }}"));
        assert_eq!(fault.key, format!("listeners.l.tls.client-auth{key}"), "{fault}");
        assert!(fault.problem.contains(problem) && fault.remedy.is_some(), "{fault}");
    }
}

#[test]
fn hosts_are_for_http() {
    assert!(read("http", "strict-host = true").strict_host && !read("http", "").strict_host);
    assert_eq!(faulty("tls", "strict-host = true").key, "listeners.l.tls.strict-host");
}

#[test]
fn what_endpoints_are_shown_has_both_its_halves() {
    let parse = |tls: &str| {
        Folder::new().parse(&format!(
            "[[routes]]\nname = \"r\"\ncluster = \"c\"\n[clusters.c]\nendpoints = [\"127.0.0.1:1\"]\ntls = {{ {tls} }}\n"
        ))
    };
    let loaded = parse("ca = \"cert.pem\", cert = \"cert.pem\", key = \"key.pem\"").unwrap();
    let tls = loaded.config.clusters[0].tls.clone().unwrap();
    assert!(tls.identity.as_ref().unwrap().key.ends_with("key.pem"));
    assert_eq!(tls.files().count(), 3);
    for (tls, key) in [
        ("cert = \"cert.pem\"", "cert"),
        ("key = \"key.pem\"", "key"),
        ("cert = \"absent.pem\", key = \"key.pem\"", "cert"),
    ] {
        let faults = parse(tls).unwrap_err();
        assert!(faults.len() == 1 && faults.0[0].key == format!("clusters.c.tls.{key}"), "{faults}");
    }
    assert!(read("tls", "ticket-keys = \"key.pem\"").ticket_keys.is_some());
}

#[test]
fn a_name_is_of_one_certificate() {
    let parse = |second: &str| {
        let listener = |name: &str, certificate: &str| {
            format!("[listeners.{name}]\naddress = \"127.0.0.1:0\"\ntls = {{ certificates = [{certificate}] }}\n")
        };
        let first = "{ name = \"shop\", cert = \"cert.pem\", key = \"key.pem\" }";
        Folder::new().parse(&(listener("a", first) + &listener("b", second)))
    };
    let loaded = parse("{ name = \"shop\", cert = \"cert.pem\", key = \"key.pem\" }").unwrap();
    let tls = loaded.config.listeners[1].tls.clone().unwrap();
    assert_eq!(tls.certificates[0].name.as_deref(), Some("shop"));
    let faults = parse("{ name = \"shop\", cert = \"cert.pem\", key = \"cert.pem\" }").unwrap_err();
    assert!(faults.len() == 1 && faults.0[0].key == "listeners.b.tls.certificates[0].name", "{faults}");
    let faults = parse("{ name = \"a/b\", cert = \"cert.pem\", key = \"key.pem\" }").unwrap_err();
    assert!(faults.0[0].problem.contains("not a name"), "{faults}");
}

//! Authorities, and certificates to be had of them.

use std::time::Duration;

use super::Folder;
use crate::{Acme, Challenge, Config, Eab, KeyType};

const LISTENERS: &str = r#"
[listeners.web]
address = "127.0.0.1:8080"
[listeners.secure]
address = "127.0.0.1:8443"
"#;

const ROUTES: &str = r#"
[[routes]]
name = "all"
respond = {}
"#;

/// An authority with these keys, and a listener with this TLS.
fn text(acme: &str, tls: &str) -> String {
    format!("[acme.le]\n{acme}\n{LISTENERS}\ntls = {{ {tls} }}\n{ROUTES}")
}

const AGREED: &str = "directory = \"letsencrypt\"\nterms-agreed = true";
const ONE: &str = r#"acme = { use = "le", names = ["a.example.com"] }"#;

fn read(acme: &str, tls: &str) -> (Folder, Config) {
    let folder = Folder::new();
    let loaded = folder.parse(&text(acme, tls)).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    (folder, loaded.config)
}

#[test]
fn an_authority_needs_a_directory_and_an_agreement_alone() {
    let (folder, config) = read(AGREED, ONE);
    let expected = Acme {
        name: "le".into(),
        directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
        contact: Vec::new(),
        storage: folder.path("acme"),
        challenge: Challenge::TlsAlpn,
        ca: None,
        key_type: KeyType::EcdsaP256,
        renew_before: None,
        eab: None,
    };
    assert_eq!(config.acme, [expected]);
    let tls = config.listeners[1].tls.as_ref().unwrap();
    assert!(tls.certificates.is_empty());
    assert_eq!((&*tls.acme[0].authority, tls.acme[0].names.as_slice()), ("le", &["a.example.com".to_owned()][..]));
}

#[test]
fn everything_of_an_authority_can_be_said() {
    let folder = Folder::new();
    folder.write("eab.key", "c2VjcmV0");
    let acme = r#"
        directory = "https://CA.example.com:14000/acme/dir?tenant=1"
        terms-agreed = true
        contact = ["ops@example.com", "mailto:more@example.com"]
        storage = "/var/lib/weir"
        challenge = "http-01"
        ca = "cert.pem"
        key-type = "rsa-4096"
        renew-before = "30d"
        eab = { key-id = "kid-1", key = "eab.key" }
    "#;
    let tls = r#"
        certificates = [{ cert = "cert.pem", key = "key.pem" }],
        acme = [{ use = "le", names = ["A.example.com", "b.example.com"] }, { use = "le", names = ["c.example.com"] }]
    "#;
    let tls = tls.replace('\n', " ");
    let config = folder.parse(&text(acme, &tls)).unwrap_or_else(|faults| panic!("{faults}")).config;
    let acme = &config.acme[0];
    assert_eq!(acme.directory, "https://CA.example.com:14000/acme/dir?tenant=1");
    assert_eq!(acme.contact, ["mailto:ops@example.com", "mailto:more@example.com"]);
    assert_eq!(acme.storage, std::path::Path::new("/var/lib/weir"));
    assert_eq!((acme.challenge, acme.key_type), (Challenge::Http, KeyType::Rsa4096));
    assert_eq!(acme.renew_before, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(
        (&acme.ca, &acme.eab),
        (&Some(folder.path("cert.pem")), &Some(Eab { key_id: "kid-1".into(), key: folder.path("eab.key") }),)
    );
    let tls = config.listeners[1].tls.as_ref().unwrap();
    assert_eq!((tls.certificates.len(), tls.acme.len()), (1, 2));
    assert_eq!(tls.acme[0].names, ["a.example.com", "b.example.com"]);
}

#[test]
fn a_trial_is_another_directory() {
    let (_folder, config) = read(&AGREED.replace("letsencrypt", "letsencrypt-staging"), ONE);
    assert_eq!(config.acme[0].directory, "https://acme-staging-v02.api.letsencrypt.org/directory");
}

#[test]
fn faults() {
    let directory = |directory: &str| format!("directory = \"{directory}\"\nterms-agreed = true");
    let with = |line: &str| format!("{AGREED}\n{line}");
    let names = |names: &str| format!("acme = {{ use = \"le\", names = {names} }}");
    let many = names(&format!("{:?}", (0..101).map(|n| format!("n{n}.example.com")).collect::<Vec<_>>()));
    for (acme, tls, key, problem, remedy) in [
        ("terms-agreed = true".into(), ONE.into(), "acme.le", "`directory` is missing", "\"letsencrypt\""),
        (directory("letsencypt"), ONE.into(), "acme.le.directory", "no directory", "did you mean `letsencrypt`?"),
        (directory("http://ca.example.com/dir"), ONE.into(), "acme.le.directory", "not encrypted", "https://"),
        (directory("https://"), ONE.into(), "acme.le.directory", "not a host", "name"),
        (directory("https://ca.example.com/a b"), ONE.into(), "acme.le.directory", "not a URL", "documentation"),
        ("directory = \"letsencrypt\"".into(), ONE.into(), "acme.le", "`terms-agreed` is missing", "= true"),
        (AGREED.replace("true", "false"), ONE.into(), "acme.le.terms-agreed", "does not agree", "terms of service"),
        (with("contact = [\"ops\"]"), ONE.into(), "acme.le.contact[0]", "not a mail address", "ops@example.com"),
        (with("challenge = \"dns-01\""), ONE.into(), "acme.le.challenge", "not possible", "`http-01`"),
        (with("storage = \"cert.pem\""), ONE.into(), "acme.le.storage", "not a folder", "it is made"),
        (with("renew-before = \"1s\""), ONE.into(), "acme.le.renew-before", "out of range", "1m to 365d"),
        (with("eab = { key-id = \"a\" }"), ONE.into(), "acme.le.eab", "`key` is missing", "eab.key"),
        (AGREED.into(), "acme = { names = [\"a.b\"] }".into(), "listeners.secure.tls.acme", "`use` is", "letsenc"),
        (AGREED.into(), ONE.replace("\"le\"", "\"lf\""), "listeners.secure.tls.acme.use", "no authority `lf`", "`le`?"),
        (AGREED.into(), names("[]"), "listeners.secure.tls.acme.names", "0 names", "1 to 100"),
        (AGREED.into(), many, "listeners.secure.tls.acme.names", "101 names", "array of certificates"),
        (AGREED.into(), names("[\"*.a.b\"]"), "listeners.secure.tls.acme.names[0]", "cannot be proven", "in files"),
        (AGREED.into(), names("[\"192.0.2.1\"]"), "listeners.secure.tls.acme.names[0]", "no public", "www."),
        (AGREED.into(), names("[\"localhost\"]"), "listeners.secure.tls.acme.names[0]", "no public", "www."),
        (AGREED.into(), names("[\"a.b\", \"A.B\"]"), "listeners.secure.tls.acme.names[1]", "twice", "once"),
        (AGREED.into(), "acme = []".into(), "listeners.secure.tls.acme", "no certificate", "use ="),
        (AGREED.into(), "http2 = true".into(), "listeners.secure.tls", "`certificates` is missing", "cert"),
    ] as [(String, String, &str, &str, &str); 22]
    {
        let faults = Folder::new().parse(&text(&acme, &tls)).expect_err(problem);
        assert_eq!(faults.len(), 1, "{problem}\n{faults}");
        let fault = faults.iter().next().unwrap();
        assert_eq!(fault.key, key, "{fault}");
        assert!(fault.problem.contains(problem), "{problem}?\n{fault}");
        assert!(fault.remedy.as_ref().unwrap().contains(remedy), "{remedy}?\n{fault}");
    }
}

#[test]
fn two_authorities_do_not_share_an_account() {
    let other = |storage: &str| format!("{AGREED}\n[acme.other]\n{AGREED}\n{storage}");
    let two = r#"acme = [{ use = "le", names = ["a.b"] }, { use = "other", names = ["c.d"] }]"#;
    let faults = Folder::new().parse(&text(&other(""), two)).unwrap_err();
    assert_eq!((faults.len(), &*faults.0[0].key), (1, "acme.other"), "{faults}");
    assert!(faults.0[0].problem.contains("`le` has its account"), "{faults}");
    read(&other("storage = \"other\""), two);
}

#[test]
fn what_leads_to_no_certificate_is_told() {
    let folder = Folder::new();
    let warned = |text: &str| folder.parse(text).unwrap().warnings.to_string();
    let by_http = text(&format!("{AGREED}\nchallenge = \"http-01\""), ONE);
    assert_eq!(warned(&by_http), "");
    let alone = by_http.replace("[listeners.web]\naddress = \"127.0.0.1:8080\"", "");
    assert!(warned(&alone).contains("no listener is for that"), "{}", warned(&alone));
    let unused = text(AGREED, r#"certificates = [{ cert = "cert.pem", key = "key.pem" }]"#);
    assert!(warned(&unused).contains("the authority `le` is not used"), "{}", warned(&unused));
}

//! `[admin]`: addresses, tokens and roles.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{EXAMPLE, Folder};
use crate::{Admin, AdminAddress, AdminRole, Faults};

const TOKEN: &str = "0123456789abcdef";

fn text(lines: &str) -> String {
    EXAMPLE.replace("[admin]\naddress = \"127.0.0.1:9901\"", &format!("[admin]\n{lines}"))
}

fn read(folder: &Folder, lines: &str) -> (Admin, Faults) {
    let loaded = folder.parse(&text(lines)).unwrap_or_else(|faults| panic!("{lines}\n{faults}"));
    (loaded.config.admin.unwrap(), loaded.warnings)
}

fn admin(lines: &str) -> Admin {
    let (admin, warnings) = read(&Folder::new(), lines);
    assert!(warnings.is_empty(), "{lines}\n{warnings}");
    admin
}

#[test]
fn an_address_is_a_unix_socket_or_tcp() {
    let folder = Folder::new();
    let (relative, _) = read(&folder, "address = \"unix:admin.sock\"");
    assert_eq!(relative.address, AdminAddress::Unix(folder.path("admin.sock")));
    let full = admin("address = \"unix:/run/a.sock\"\nmode = \"0660\"\ngroup = \"ops\"\nowner = \"0\"");
    assert_eq!(full.address.to_string(), "unix:/run/a.sock");
    assert_eq!(
        (full.socket.mode, full.socket.group.as_deref(), full.socket.owner.as_deref()),
        (0o660, Some("ops"), Some("0"))
    );
    assert_eq!(admin("address = \"unix:a\"").socket.mode, 0o600);
    let second = admin("address = \"unix:a\"\nread-only = \"0.0.0.0:9902\"\nhosts = [\"Weir.Example.com\"]");
    assert_eq!(
        (second.read_only, &*second.hosts),
        (Some("0.0.0.0:9902".parse().unwrap()), &["weir.example.com".to_owned()][..])
    );
}

#[test]
fn tcp_without_proof_shows_and_changes_nothing() {
    let folder = Folder::new();
    folder.write("ci.token", &format!("{TOKEN}\n"));
    let tcp = "address = \"127.0.0.1:9901\"";
    assert_eq!(admin(tcp).unauthenticated, AdminRole::Read);
    assert_eq!(admin(&format!("{tcp}\nunauthenticated = \"deploy\"")).unauthenticated, AdminRole::Deploy);
    let (with_token, _) = read(&folder, &format!("{tcp}\ntokens = [{{ file = \"ci.token\", role = \"operate\" }}]"));
    assert_eq!(with_token.unauthenticated, AdminRole::None);
    let token = &with_token.tokens[0];
    assert_eq!((&*token.name, token.role, &token.file), ("ci", AdminRole::Operate, &folder.path("ci.token")));
    let tls =
        "tls = { certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }], client-auth = { ca = \"cert.pem\" } }";
    let (certified, _) = read(&folder, &format!("{tcp}\n{tls}\nclient-certificate-role = \"deploy\""));
    assert_eq!((certified.unauthenticated, certified.client_certificate_role), (AdminRole::None, AdminRole::Deploy));
    assert!(!certified.tls.unwrap().http2);
}

#[test]
fn what_reaches_too_far_is_told() {
    let folder = Folder::new();
    folder.write("ci.token", TOKEN);
    let told = |lines: &str| {
        read(&folder, lines).1.iter().map(|one| (one.key.clone(), one.problem.clone())).collect::<Vec<_>>()
    };
    let all = "address = \"0.0.0.0:9901\"";
    let tokens = "tokens = [{ file = \"ci.token\", role = \"read\" }]";
    for (lines, part) in [
        (all.to_owned(), "sees the status"),
        (format!("{all}\nunauthenticated = \"operate\""), "may change endpoints"),
        (format!("{all}\n{tokens}"), "clear text"),
    ] {
        let told = told(&lines);
        assert_eq!((told.len(), &*told[0].0), (1, "admin.address"), "{lines}");
        assert!(told[0].1.contains(part), "{told:?}");
    }
    assert_eq!(told("address = \"unix:a\"\nmode = \"0666\"")[0].0, "admin.mode");
    let tls = "tls = { certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }] }";
    assert_eq!(told(&format!("{all}\n{tokens}\n{tls}")), []);
}

#[test]
fn faults_name_the_key_and_the_way_out() {
    let folder = Folder::new();
    for (name, content) in [
        ("good.token", TOKEN),
        ("open.token", "fedcba9876543210"),
        ("short.token", "abc"),
        ("none.token", " \n"),
        ("two.token", "0123456789 abcdef"),
        ("same.token", TOKEN),
    ] {
        folder.write(name, content);
    }
    fs::set_permissions(folder.path("open.token"), fs::Permissions::from_mode(0o644)).unwrap();
    let token =
        |name: &str| format!("address = \"127.0.0.1:1\"\ntokens = [{{ file = \"{name}.token\", role = \"read\" }}]");
    let two = "address = \"127.0.0.1:1\"\ntokens = [{ file = \"good.token\", role = \"read\" }, { file = \"same.token\", role = \"deploy\" }]";
    for (lines, key, problem, remedy) in [
        (token("open"), "admin.tokens[0].file", "open to every user", "chmod o="),
        (token("short"), "admin.tokens[0].file", "fewer than 16", "openssl rand"),
        (token("none"), "admin.tokens[0].file", "is empty", "openssl rand"),
        (token("two"), "admin.tokens[0].file", "something else than one token", "openssl rand"),
        (token("missing"), "admin.tokens[0].file", "cannot open", "existing file"),
        (two.to_owned(), "admin.tokens[1]", "same token", "its own"),
        ("address = \"/run/a.sock\"".into(), "admin.address", "is a path", "unix:/run/a.sock"),
        ("address = \"unix:\"".into(), "admin.address", "no path", "unix:/run"),
        (
            format!("address = \"unix:{}\"", "a".repeat(120)),
            "admin.address",
            "longer than the 107 bytes",
            "a shorter one",
        ),
        ("address = \"unix:a\"\nmode = \"0999\"".into(), "admin.mode", "is not a mode", "octal"),
        ("address = \"unix:a\"\nmode = \"0400\"".into(), "admin.mode", "not even the owner", "0600"),
        ("address = \"127.0.0.1:1\"\nmode = \"0600\"".into(), "admin.mode", "only a Unix socket", "unix:"),
        (
            "address = \"unix:a\"\nunauthenticated = \"read\"".into(),
            "admin.unauthenticated",
            "permissions of the Unix socket",
            "mode",
        ),
        (
            "address = \"127.0.0.1:1\"\nclient-certificate-role = \"read\"".into(),
            "admin.client-certificate-role",
            "no certificate",
            "client-auth",
        ),
        ("address = \"127.0.0.1:1\"\ntokens = []".into(), "admin.tokens", "no token", "leave this out"),
        (
            "address = \"unix:a\"\nread-only = \"127.0.0.1:8080\"".into(),
            "listeners.web.address",
            "already taken",
            "another port",
        ),
    ] {
        let faults = folder.parse(&text(&lines)).unwrap_err();
        let told: Vec<_> =
            faults.iter().map(|fault| (&*fault.key, &*fault.problem, fault.remedy.as_deref().unwrap())).collect();
        let found = told.iter().any(|(at, what, way)| *at == key && what.contains(problem) && way.contains(remedy));
        assert!(found, "{lines}\n{told:?}");
        assert!(!format!("{faults}").contains(TOKEN), "no secret is told");
    }
}

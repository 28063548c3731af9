//! How faults are shown, and that all are.

use super::{EXAMPLE, Folder};

#[test]
fn a_fault_shows_its_line_key_and_remedy() {
    let folder = Folder::new();
    let text = "[listeners.web]\n\tadress = \"127.0.0.1:8080\"\naddress = \"127.0.0.1:0\"\n";
    let faults = folder.parse(text).unwrap_err();
    let wanted = format!(
        "error: unknown key `adress`
 --> {}:2:2
  |
2 | \tadress = \"127.0.0.1:8080\"
  | \t^^^^^^
  = key: listeners.web.adress
  = help: did you mean `address`?
",
        folder.file().display()
    );
    assert_eq!(faults.to_string(), wanted);
}

#[test]
fn what_is_wrong_with_a_file_is_told_where_the_file_is_named() {
    let folder = Folder::new();
    let text = "[listeners.\"a.b\"]\naddress = \"127.0.0.1:0\"\n\
                tls = { certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }] }\n\
                [[routes]]\nname = \"r\"\nrespond = {}\n";
    let places = folder.parse(text).unwrap().config.places;
    let told = |key: &str| places.fault("listeners", "a.b", key, "key.pem: no key".to_owned()).unlabelled();
    let file = folder.file().display().to_string();
    let wanted = format!(
        "key.pem: no key
 --> {file}:3:52
  |
3 | tls = {{ certificates = [{{ cert = \"cert.pem\", key = \"key.pem\" }}] }}
  |                                                    ^^^^^^^^^
  = key: listeners.\"a.b\".tls.certificates[0].key"
    );
    assert_eq!(told("tls.certificates[0].key"), wanted);
    assert_eq!(told("tls"), format!("key.pem: no key\n --> {file}\n  = key: listeners.\"a.b\".tls"));
}

#[test]
fn all_faults_are_told_together_in_file_order() {
    let folder = Folder::new();
    let text = EXAMPLE
        .replace("workers = 2", "workers = -1")
        .replace("127.0.0.1:8443", "localhost:8443")
        .replace("\"5ms\"", "\"fast\"")
        .replace("cluster = \"web\"", "cluster = \"wep\"")
        .replace("weight = 3", "wieght = 3");
    let faults = folder.parse(&text).unwrap_err();
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "process.workers",
            "listeners.secure.address",
            "plugins.canary.deadline",
            "routes[2].cluster",
            "clusters.api.endpoints[1].wieght",
        ]
    );
    assert_eq!(faults.to_string().matches("error: ").count(), 5);
}

#[test]
fn a_plugin_with_a_fault_is_no_second_fault_where_it_is_used() {
    let folder = Folder::new();
    let faults = folder.parse(&EXAMPLE.replace("path = \"canary.wasm\"", "")).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults}");
}

#[test]
fn text_from_the_file_cannot_steer_the_terminal() {
    let folder = Folder::new();
    let faults = folder.parse("\"\\u001b[31m\" = 1\n").unwrap_err();
    assert!(!faults.to_string().contains('\u{1b}'));
}

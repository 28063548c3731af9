//! The command line as people and scripts meet it.

use std::process::Output;

use super::harness::{Endpoint, Reserved, Setup, Weir, guest, run};

const VALID: &str = r#"
[listeners.web]
address = "127.0.0.1:0"

[[routes]]
name = "all"
cluster = "web"

[clusters.web]
endpoints = ["127.0.0.1:9001"]
"#;

const FAULTY: &str = r#"
[listeners.web]
adress = "127.0.0.1:0"

[[routes]]
name = "all"
cluster = "wob"

[clusters.web]
endpoints = ["127.0.0.1:9001"]
health = { http = { path = "/" }, interval = "2 parsecs" }
"#;

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn check_explains_a_valid_file() {
    let output = Setup::new(VALID).check();
    assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""));
    let said = text(&output.stdout);
    assert!(said.contains("weir.toml is valid"), "{said}");
    for part in ["web", "all", "127.0.0.1:9001"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn check_tells_every_fault_at_once_with_its_line_and_remedy() {
    let output = Setup::new(FAULTY).check();
    assert_eq!((code(&output), text(&output.stdout).as_str()), (2, ""));
    let said = text(&output.stderr);
    for part in [
        "weir.toml:3:1",
        "adress = \"127.0.0.1:0\"",
        "did you mean `address`",
        "weir.toml:7:",
        "did you mean `web`",
        "weir.toml:11:",
        "2 parsecs",
        "cannot be used",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn run_refuses_a_faulty_file_before_it_binds() {
    let output = Setup::new(FAULTY).run();
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("did you mean `address`"));
    let missing = run(&["run", "--config", "nowhere/weir.toml"]);
    assert_eq!(code(&missing), 2);
    assert!(text(&missing.stderr).contains("nowhere/weir.toml"));
}

#[test]
fn run_refuses_an_address_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Setup::new(&VALID.replace("127.0.0.1:0", &address)).run();
    assert_eq!(code(&output), 2);
    let said = text(&output.stderr);
    assert!(said.contains("listener web") && said.contains(&address), "{said}");
}

#[test]
fn check_looks_into_certificates_and_plugins_and_tells_of_both() {
    let tls = r#"tls = { certificates = [{ cert = "a.pem", key = "a.key" }] }"#;
    let config = VALID.replace("\n[[routes]]", &format!("{tls}\n[[routes]]"));
    let config = format!("[plugins.broken]\npath = \"broken.wasm\"\n{config}");
    let files = ["a.pem", "a.key", "broken.wasm"];
    let output = files.into_iter().fold(Setup::new(&config), |setup, file| setup.file(file, "nothing")).check();
    assert_eq!(code(&output), 2);
    let said = text(&output.stderr);
    assert!(said.contains("a.pem") && said.contains("broken.wasm"), "{said}");
    assert!(said.contains("weir.toml:2:8\n") && said.contains("= key: plugins.broken.path\n"), "{said}");
}

#[test]
fn check_warns_of_a_route_that_can_never_match() {
    let more = format!("{VALID}\n[[routes]]\nname = \"late\"\nmatch = {{ path = \"/x\" }}\ncluster = \"web\"\n");
    let output = Setup::new(&more).check();
    assert_eq!(code(&output), 0);
    let said = text(&output.stderr);
    assert!(said.contains("warning") && said.contains("late"), "{said}");
}

#[test]
fn help_teaches_by_example() {
    for page in [&["--help"][..], &["run", "--help"], &["check", "--help"], &["plugin", "push", "--help"]] {
        let output = run(page);
        assert_eq!(code(&output), 0);
        assert!(text(&output.stdout).contains("Examples:\n  weir "), "{page:?}");
    }
    assert!(text(&run(&["--version"]).stdout).starts_with("weir "));
}

#[test]
fn a_command_nobody_knows_is_a_usage_error() {
    for line in [&["serve"][..], &["run", "--fast"], &[]] {
        assert_eq!(code(&run(line)), 2, "{line:?}");
    }
}

#[tokio::test]
async fn plugin_commands_need_a_running_weir() {
    let nobody = Reserved::new();
    let output = run(&["plugin", "list", "--admin", &nobody.address.to_string()]);
    assert_eq!(code(&output), 1);
    let said = text(&output.stderr);
    assert!(said.starts_with("error: ") && said.contains(&nobody.address.to_string()), "{said}");
}

#[tokio::test]
async fn plugins_are_listed_pushed_and_brought_back() {
    let endpoint = Endpoint::start("a").await;
    let text_of = format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[plugins.canary]\npath = \"{}\"\n[[routes]]\nname = \"all\"\n\
         cluster = \"web\"\n[clusters.web]\nendpoints = [\"{}\"]\n",
        guest("canary").display(),
        endpoint.address
    );
    let weir = Weir::start(&text_of).await;
    let admin = weir.admin.to_string();
    let list = || text(&run(&["plugin", "list", "--admin", &admin]).stdout);
    assert!(list().contains("canary"), "{}", list());
    let second = guest("canary-v2");
    let pushed = run(&["plugin", "push", "canary", second.to_str().unwrap(), "--admin", &admin]);
    assert_eq!(code(&pushed), 0, "{}", text(&pushed.stderr));
    let back = run(&["plugin", "rollback", "canary", "--admin", &admin]);
    assert_eq!(code(&back), 0, "{}", text(&back.stderr));
    let unknown = run(&["plugin", "push", "other", second.to_str().unwrap(), "--admin", &admin]);
    assert_eq!(code(&unknown), 1);
    assert!(text(&unknown.stderr).contains("there is no plugin other; there is: canary"));
    let no_wasm = run(&["plugin", "push", "canary", weir.path("weir.toml").to_str().unwrap(), "--admin", &admin]);
    assert_eq!(code(&no_wasm), 1);
    assert!(text(&no_wasm.stderr).contains("not a WebAssembly component"));
}

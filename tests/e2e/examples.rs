//! Every example runs as it stands, and whole configurations in the documentation are valid.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::net::TcpStream;

use super::harness::{Endpoint, Setup, Weir, get, run};

/// The repository.
pub fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap()
}

/// `examples/*/weir.toml`
fn examples() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = entries.map(|folder| folder.join("weir.toml")).filter(|file| file.is_file()).collect();
    assert!(!files.is_empty());
    files
}

#[test]
fn every_example_passes_the_check() {
    for file in examples() {
        let checked = run(&["check", "--config", file.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        assert!(checked.status.success(), "{}\n{said}", file.display());
        assert!(!said.contains("warning"), "{}\n{said}", file.display());
    }
}

/// The same where it can run beside others: on free ports, with its files found from elsewhere.
pub fn portable(file: &Path) -> String {
    let (text, folder) = (fs::read_to_string(file).unwrap(), file.parent().unwrap());
    let lines = text.lines().map(|line| match line.split_once(" = \"") {
        Some(("address", value)) if value.starts_with("unix:") => "address = \"127.0.0.1:0\"".to_owned(),
        Some(("read-only", _)) => "read-only = \"127.0.0.1:0\"".to_owned(),
        Some(("address", value)) => format!("address = \"{}:0\"", value.rsplit_once(':').unwrap().0),
        Some(("path", value)) => format!("path = \"{}\"", folder.join(value.trim_end_matches('"')).display()),
        Some(("upgrade-socket", _)) => "upgrade-socket = \"upgrade.sock\"".to_owned(),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_example_runs_and_answers() {
    for file in examples() {
        let weir = Setup::new(&portable(&file)).start().await;
        for listener in weir.status().await["listeners"].as_array().unwrap() {
            let address: SocketAddr = listener["address"].as_str().unwrap().parse().unwrap();
            match listener["protocol"].as_str().unwrap() {
                "http" => {
                    let reply = get(address, "/").await;
                    let answered = reply.status.is_success() || reply.status.is_server_error();
                    assert!(answered, "{}: {reply:?}", file.display());
                }
                "udp" => {}
                _ => drop(TcpStream::connect(address).await.unwrap()),
            }
        }
        if portable(&file).contains("/ping") {
            assert_eq!(get(weir.web(), "/ping").await.status, 200, "{}", file.display());
        }
    }
}

/// TOML blocks with a listener, routes and, where these name one, a cluster.
fn configurations(page: &str) -> Vec<&str> {
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let whole = |block: &&str| block.contains("[listeners.") && block.contains("[[routes]]");
    blocks.map(|(block, _)| block).filter(whole).collect()
}

/// A folder with the files a configuration names; only that they exist is of interest.
fn with_files_of(block: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in block.split('"').filter(|text| text.ends_with(".wasm") || text.ends_with(".pem")) {
        let file = folder.path().join(name.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    folder
}

#[test]
fn configurations_in_the_documentation_are_valid() {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.chain([root().join("README.md")]).filter(|page| page.extension().is_some_and(|end| end == "md"));
    let mut found = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for block in configurations(&text) {
            found += 1;
            let folder = with_files_of(block);
            let parsed = weir_config::parse(block, &folder.path().join("weir.toml"));
            assert!(parsed.is_ok(), "{}\n{block}\n{}", page.display(), parsed.unwrap_err());
        }
    }
    assert!(found > 0, "no whole configuration in the documentation");
}

/// The first configuration of the README is pasted before anything else is read: it needs no other file.
#[tokio::test]
async fn the_first_configuration_of_the_readme_proxies_as_it_stands() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let first = configurations(&readme)[0];
    let endpoint = Endpoint::start("app").await;
    let text = first.replace("0.0.0.0:8080", "127.0.0.1:0").replace("127.0.0.1:3000", &endpoint.address.to_string());
    assert!(text.lines().filter(|line| !line.trim().is_empty()).count() <= 7, "{text}");
    let weir = Weir::start(&text).await;
    let reply = get(weir.web(), "/").await;
    assert_eq!((reply.status.as_u16(), reply.header("x-endpoint")), (200, "app"));
}

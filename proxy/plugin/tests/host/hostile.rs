//! Guests made to do harm, each the sentence in its first line: refused, or its own failure and no more.

use std::{fs, path::Path};

use serde_json::json;
use weir_plugin::{Budget, Guests, Host, HostOptions, Role};

use crate::harness::{Asked, guest, plugin, three};

/// Names of the hostile guests with what their first lines promise: `;; fails: trap`.
fn corpus() -> Vec<(String, String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/hostile");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "wat"));
    let corpus = files.map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let promise = text.lines().next().and_then(|line| line.strip_prefix(";; ")).unwrap();
        let (end, how) = promise.split_once(": ").unwrap();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), end.to_owned(), how.to_owned())
    });
    corpus.collect()
}

/// How far a guest comes: `refused` by the host, `unbound` as it cannot take its settings, `fails` when asked.
fn end_of(host: &Host, name: &str) -> (&'static str, String) {
    let mut words = plugin(name, &[weir_config::Grant::Metrics]);
    words.deadline = std::time::Duration::from_millis(5);
    let program = match host.load(&words, &guest(&format!("hostile/{name}"))) {
        Ok(program) => program,
        Err(refused) => return ("refused", refused.to_string()),
    };
    let role = program.roles()[0];
    let bound = match program.bind(role, &json!({})) {
        Ok(bound) => bound,
        Err(weir_plugin::Refused::Failed(failure)) => return ("unbound", failure.kind().to_owned()),
        Err(refused) => return ("unbound", refused.to_string()),
    };
    let guests = Guests::new();
    let asked = match role {
        Role::Router => guests.route(&bound, &Budget::default(), &Asked::default()).map(|_| ()),
        _ => guests.pick(&bound, &Budget::default(), &Asked::default(), &three()).map(|_| ()),
    };
    match asked {
        Ok(()) => ("answers", "nothing".to_owned()),
        Err(failure) => ("fails", failure.kind().to_owned()),
    }
}

#[test]
fn each_comes_to_its_end_and_the_process_to_none() {
    let (corpus, cache) = (corpus(), tempfile::tempdir().unwrap());
    let host =
        Host::try_new(HostOptions { cache: Some(cache.path().join("cache")), ..HostOptions::default() }).unwrap();
    assert!(corpus.len() > 30);
    let wrong = corpus.into_iter().filter_map(|(name, end, how)| {
        let (found, detail) = end_of(&host, &name);
        let as_promised = found == end && (if end == "refused" { detail.contains(&how) } else { detail == how });
        (!as_promised).then(|| format!("{name}: {end} {how}, and not {found} {detail}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Two components with a memory each, whose encodings of text differ.
fn across(encoding: &str) -> String {
    let realloc = "(func (export \"realloc\") (param i32 i32 i32 i32) (result i32) i32.const 0)";
    format!(
        r#"(component
        (component $callee
            (core module $m (memory (export "memory") 1) {realloc}
                (func (export "take") (param i32 i32 i32 i32) (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (alias core export $i "memory" (core memory $memory))
            (alias core export $i "realloc" (core func $realloc))
            (func (export "take") (param "text" string) (param "list" (list u64)) (result string)
                (canon lift (core func $i "take") (memory $memory) (realloc $realloc) string-encoding={encoding})))
        (component $caller
            (import "take" (func $take (param "text" string) (param "list" (list u64)) (result string)))
            (core module $libc (memory (export "memory") 1) {realloc})
            (core instance $libc (instantiate $libc))
            (alias core export $libc "memory" (core memory $memory))
            (alias core export $libc "realloc" (core func $realloc))
            (core func $take (canon lower (func $take) (memory $memory) (realloc $realloc)))
            (core module $m (import "" "take" (func (param i32 i32 i32 i32 i32))) (func (export "go")))
            (core instance $i (instantiate $m (with "" (instance (export "take" (func $take))))))
            (func (export "go") (canon lift (core func $i "go"))))
        (instance $callee (instantiate $callee))
        (instance $caller (instantiate $caller (with "take" (func $callee "take"))))
        (export "go" (func $caller "go")))"#
    )
}

/// The engine's own code in between takes for granted that the language has what it is written in.
#[test]
fn components_that_talk_from_memory_to_memory_are_compiled() {
    let cache = tempfile::tempdir().unwrap();
    let host =
        Host::try_new(HostOptions { cache: Some(cache.path().join("cache")), ..HostOptions::default() }).unwrap();
    for encoding in ["utf8", "utf16", "latin1+utf16"] {
        let component = wat::parse_str(across(encoding)).unwrap();
        let refused = host.load(&plugin("across", &[]), &component).unwrap_err();
        assert!(refused.to_string().starts_with("exports no role"), "{encoding}: {refused}");
    }
}

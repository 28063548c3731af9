//! Whatever the text, there is an answer.

use proptest::prelude::*;

use super::{EXAMPLE, Folder};

/// The example with a part replaced by something else.
fn mutated() -> impl Strategy<Value = String> {
    let from = 0..EXAMPLE.len();
    let put = prop_oneof![
        Just(String::new()),
        "\\PC{0,8}",
        "[\\[\\]{}=\".,\\n]{1,4}",
        "[0-9]{1,25}",
        Just("\u{0}\u{1b}\u{7f}".to_owned()),
    ];
    (from, 0..40_usize, put).prop_map(|(from, length, put)| {
        let to = (from + length).min(EXAMPLE.len());
        format!("{}{put}{}", &EXAMPLE[..from], &EXAMPLE[to..])
    })
}

/// Parses and shows; faults are in the text.
fn answer(folder: &Folder, text: &str) {
    let faults = match folder.parse(text) {
        Ok(loaded) => loaded.warnings,
        Err(faults) => {
            assert!(!faults.is_empty());
            faults
        }
    };
    let lines = text.split('\n').count();
    assert!(faults.iter().all(|fault| fault.line <= lines), "{text:?}\n{faults}");
    assert!(!faults.to_string().contains('\u{1b}'));
}

/// Answers many texts of a kind.
fn answers(texts: impl Strategy<Value = String>) {
    let folder = Folder::new();
    let config = ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() };
    proptest!(config, |(text in texts)| answer(&folder, &text));
}

#[test]
fn of_any_text() {
    answers("(?s).{0,200}");
}

#[test]
fn of_any_text_made_of_toml() {
    answers("([a-z\\[\\]{}=\".,#'\\-0-9 \\n]|process|routes|clusters|\\[\\[){0,60}");
}

#[test]
fn of_a_mutated_file() {
    answers(mutated());
}

#[test]
fn of_files_deeper_than_any_stack() {
    let folder = Folder::new();
    let deep = 200_000;
    answer(&folder, &format!("{}x = 1", "a.".repeat(deep)));
    answer(&folder, &format!("[{}x]", "a.".repeat(deep)));
    answer(&folder, &format!("a = {}", "[".repeat(deep)));
    answer(&folder, &format!("a = {}", "{a=".repeat(deep)));
    answer(&folder, &format!("a = {{ {}x = 1 }}", "a.".repeat(deep)));
    answer(&folder, &format!("\"=\".{}x = 1", "a.".repeat(deep)));
}

//! Values that stand in a file of their own, or in the environment.

use std::{env, fs, io::Read, path::Path};

use crate::{
    node::{Node, Table},
    secrets::Secret,
    syntax,
};

/// Most of a file that is a header's value.
const LONGEST: u64 = 16 << 10;
const FORMS: &str = "`\"TEXT\"`, `{ file = \"/run/secrets/token\" }` or `{ env = \"TOKEN\" }`";

/// A header's value as `{ file = ".." }` or `{ env = ".." }` tell it.
pub(super) fn secret(node: &Node<'_>) -> Option<Secret> {
    let table = node.table(FORMS)?;
    let (file, env) = (table.get("file"), table.get("env"));
    table.done();
    match (file, env) {
        (Some(file), None) => from_file(&file),
        (None, Some(env)) => from_env(&env),
        (Some(_), Some(env)) => {
            env.key_fault("`file` and `env` exclude each other", "keep one of them");
            None
        }
        (None, None) => nothing(&table),
    }
}

fn nothing(table: &Table<'_>) -> Option<Secret> {
    table.fault("it is not said where the value is", &format!("write {FORMS}"));
    None
}

fn from_file(node: &Node<'_>) -> Option<Secret> {
    let path = node.private_file()?;
    node.follow(&path);
    match read(&path) {
        Ok(text) => fit(node, &path.display().to_string(), text.trim_end_matches(['\n', '\r'])),
        Err(error) => node.fault(format!("cannot read {}: {error}", path.display()), "name a readable file of text"),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let (mut text, file) = (String::new(), fs::File::open(path)?);
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    match text.len() as u64 > LONGEST {
        true => Err(std::io::Error::other(format!("it has more than {LONGEST} bytes"))),
        false => Ok(text),
    }
}

fn from_env(node: &Node<'_>) -> Option<Secret> {
    let name = node.string("the name of an environment variable in quotes")?;
    let usable = !name.is_empty() && !name.contains(['=', '\0']);
    match usable.then(|| env::var(name)) {
        Some(Ok(text)) => fit(node, &format!("the environment variable `{name}`"), text.trim_end_matches(['\n', '\r'])),
        Some(Err(env::VarError::NotUnicode(_))) => node.fault(format!("`{name}` is not text"), "write printable ASCII"),
        _ => {
            let remedy = format!("set `{name}` for the process, or write {FORMS}");
            node.fault(format!("there is no environment variable `{name}`"), remedy)
        }
    }
}

/// A header value, of which nothing is told.
fn fit(node: &Node<'_>, at: &str, text: &str) -> Option<Secret> {
    if text.is_empty() {
        return node.fault(format!("{at} is empty"), "put the header's value there");
    }
    match syntax::header_value(text) {
        Ok(()) => Some(Secret::new(text.to_owned())),
        Err((_, remedy)) => node.fault(format!("what {at} holds is not a header value"), remedy),
    }
}

//! "Did you mean": the known name nearest to what was written.

/// The remedy for `written`, which is none of `known`: the nearest, or all of them.
pub(crate) fn remedy(written: &str, known: &[&str], what: &str) -> String {
    match nearest(written, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {}", list(known)),
    }
}

/// The one of `known` that is few enough typing mistakes away.
pub(crate) fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let written = written.to_lowercase();
    let allowed = match written.chars().count() {
        0..=3 => 1,
        4..=7 => 2,
        _ => 3,
    };
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &name.to_lowercase()), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `a`, `b`, `c`
pub(crate) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_otherwise_all() {
        let known = ["address", "weight", "labels"];
        assert_eq!(remedy("adress", &known, "keys here"), "did you mean `address`?");
        assert_eq!(remedy("colour", &known, "keys here"), "keys here: `address`, `weight`, `labels`");
        assert_eq!(remedy("x", &[], "plugins in this file"), "there are no plugins in this file");
    }

    #[test]
    fn short_names_allow_one_mistake() {
        assert_eq!(nearest("wep", &["api", "web"]), Some("web"));
        assert_eq!(nearest("xyz", &["api", "web"]), None);
    }
}

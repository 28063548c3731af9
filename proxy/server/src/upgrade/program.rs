//! The program that an upgrade starts.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// The program that this process was started as: by its name, not by its file, so that another file under the
/// same name is found.
pub fn program() -> Option<PathBuf> {
    let named = env::args_os().next().and_then(|name| found(Path::new(&name), env::var_os("PATH").as_deref()));
    named.or_else(|| env::current_exe().ok())
}

fn found(name: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return std::path::absolute(name).ok();
    }
    let candidates = env::split_paths(path?).map(|folder| folder.join(name));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_as_it_is_and_a_name_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("weir");
        assert_eq!(found(&program, None), Some(program.clone()));
        let path = env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        assert_eq!(found(Path::new("weir"), Some(&path)), None);
        std::fs::write(&program, "").unwrap();
        assert_eq!(found(Path::new("weir"), Some(&path)), Some(program));
        assert_eq!(found(Path::new("./weir"), None), Some(env::current_dir().unwrap().join("weir")));
    }
}

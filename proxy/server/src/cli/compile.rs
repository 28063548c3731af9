//! `weir compile-plugin`: a process of Weir's own that compiles one plugin.

use std::{env, path::Path, process::ExitCode};

use weir_plugin::{ChildTask, CompilerProgram, compile_for_parent};

use super::{CompilePlugin, FAILED, exit};

/// The file that this process runs, whatever has taken its place on disk.
const OWN: &str = "/proc/self/exe";

/// Compiles what is at standard input.
pub fn compile(task: &CompilePlugin) -> ExitCode {
    let CompilePlugin { memory, cpu, on_demand } = *task;
    match compile_for_parent(ChildTask { memory, cpu, on_demand }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            exit(FAILED)
        }
    }
}

/// This program as one that compiles; none where its file cannot be told.
pub fn compiler() -> Option<CompilerProgram> {
    let own = Path::new(OWN);
    let path = if own.exists() { own.to_owned() } else { env::current_exe().ok()? };
    Some(CompilerProgram { path, command: "compile-plugin".to_owned() })
}

//! Components become machine code in a process of their own: what is compiled is a stranger's, and a few hundred
//! bytes can keep a compiler busy for hours.
//!
//! The process is this program, started again. It bounds itself, reads the component and writes the code with its
//! checksum. So the code that is run later comes from no other compiler than our own.

mod child;
mod process;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime},
};

use wasmtime::Engine;
use weir_config::PluginCompile;

pub use self::child::{ChildTask, compile_for_parent};
use crate::Refused;

/// Between two looks whether a compilation is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// The program that compiles, in a process of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompilerProgram {
    /// The file; `/proc/self/exe` is this process's own, even after it was replaced on disk.
    pub path: PathBuf,
    /// The argument that has it call [`compile_for_parent`].
    pub command: String,
}

/// Under which conditions something is compiled.
#[derive(Debug, Clone, Default)]
pub struct CompileTerms {
    /// What it may take.
    pub limits: PluginCompile,
    /// Whether it is still wanted.
    pub cancel: Cancel,
}

/// Tells a compilation that nothing waits for it any more.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// From now on it is not wanted.
    pub fn cancel(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn check(&self) -> Result<(), Refused> {
        if self.0.load(Relaxed) { Err(Refused::Cancelled) } else { Ok(()) }
    }
}

/// A compilation under way, or one that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiling {
    /// The plugin's name.
    pub plugin: Arc<str>,
    /// Of the component, in hexadecimal.
    pub sha256: String,
    /// Bytes of the component.
    pub size: usize,
    /// When it was asked for.
    pub since: SystemTime,
}

/// Compiles, as much at a time as there are cores.
pub(crate) struct Compiler {
    program: Option<CompilerProgram>,
    /// Whether instances are allocated on demand, which their code has to know.
    on_demand: bool,
    turns: Turns,
    under_way: Mutex<BTreeMap<u64, Compiling>>,
}

impl Compiler {
    /// Without a program, in this process: for tests of libraries.
    pub(crate) fn new(program: Option<CompilerProgram>, on_demand: bool) -> Self {
        Self { program, on_demand, turns: Turns::default(), under_way: Mutex::default() }
    }

    /// Machine code of a component that has been looked at.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        task: Compiling,
        bytes: &[u8],
        terms: &CompileTerms,
    ) -> Result<Vec<u8>, Refused> {
        let _listed = self.list(task);
        let _turn = self.turns.take(&terms.cancel)?;
        match &self.program {
            Some(program) => process::run(program, self.on_demand, bytes, terms),
            None => engine.precompile_component(bytes).map_err(|error| invalid(&format!("{error:#}"))),
        }
    }

    /// What is compiled now, what was asked for first coming first.
    pub(crate) fn under_way(&self) -> Vec<Compiling> {
        self.list_of_all().values().cloned().collect()
    }

    fn list(&self, task: Compiling) -> Listed<'_> {
        let mut all = self.list_of_all();
        let number = all.last_key_value().map_or(0, |(last, _)| last + 1);
        all.insert(number, task);
        Listed { compiler: self, number }
    }

    fn list_of_all(&self) -> MutexGuard<'_, BTreeMap<u64, Compiling>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the list of what is compiled.
struct Listed<'a> {
    compiler: &'a Compiler,
    number: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.compiler.list_of_all().remove(&self.number);
    }
}

fn invalid(why: &str) -> Refused {
    Refused::NotAComponent(format!("is not a valid component: {why}"))
}

/// Compilations at a time.
#[derive(Default)]
struct Turns {
    taken: Mutex<usize>,
    given_back: Condvar,
}

struct Turn<'a>(&'a Turns);

impl Turns {
    fn take(&self, cancel: &Cancel) -> Result<Turn<'_>, Refused> {
        let most = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            cancel.check()?;
            if *taken < most {
                *taken += 1;
                return Ok(Turn(self));
            }
            let waited = self.given_back.wait_timeout(taken, LOOK);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.given_back.notify_one();
    }
}

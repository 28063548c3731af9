//! Lines in the process log, under the plugin's name. Grant `log`. At most 100 lines a second pass.

/// How loud a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One line a decision.
    Debug,
    /// Life of the plugin.
    Info,
    /// The operator should look.
    Warn,
    /// The plugin cannot do its job.
    Error,
}

/// Write a line.
pub fn write(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    {
        use crate::wit::host::log;
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, message);
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::with(|host| host.lines.push((level, message.to_owned())));
}

/// One line a decision.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Life of the plugin.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// The operator should look.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// The plugin cannot do its job.
pub fn error(message: &str) {
    write(Level::Error, message);
}

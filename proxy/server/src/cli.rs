//! The command line: what was asked for, and the commands that talk to a running Weir.
//!
//! `run` belongs to `main`; `check` and `plugin` are whole here.

mod check;
mod client;
mod explain;
mod plugin;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

pub use self::{check::check, explain::explain, plugin::plugin};

/// What was asked for was refused, or failed.
pub const FAILED: u8 = 1;
/// The command line or the configuration cannot be used.
pub const FAULT: u8 = 2;

/// A load balancer and reverse proxy whose decisions are programs.
#[derive(Debug, Parser)]
#[command(name = "weir", version, propagate_version = true, arg_required_else_help = true, after_help = TOP)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve until told to stop
    #[command(after_help = RUN)]
    Run(Configured),
    /// Validate a configuration and explain what it does; binds nothing
    #[command(after_help = CHECK)]
    Check(Configured),
    /// Show, replace and bring back plugins of a running Weir
    #[command(subcommand, arg_required_else_help = true, after_help = PLUGIN)]
    Plugin(PluginCommand),
}

/// A command on a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Configured {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = "weir.toml")]
    pub config: PathBuf,
}

/// `weir plugin ...`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PluginCommand {
    /// Make a component the plugin's current version, under traffic
    #[command(after_help = PUSH)]
    Push {
        /// The plugin, as in `[plugins.NAME]`
        #[arg(value_parser = plugin_name)]
        name: String,
        /// The component: a `.wasm` file
        file: PathBuf,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
    /// Show plugins and their versions
    #[command(after_help = LIST)]
    List {
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
    /// Go back to an earlier version, under traffic
    #[command(after_help = ROLLBACK)]
    Rollback {
        /// The plugin, as in `[plugins.NAME]`
        #[arg(value_parser = plugin_name)]
        name: String,
        /// Start of the version's sha256 [default: the version before]
        #[arg(long, value_name = "VERSION", value_parser = version)]
        to: Option<String>,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
}

/// The admin address of a running Weir.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AdminAddress {
    /// Admin address of the running Weir
    #[arg(long = "admin", value_name = "ADDR", env = "WEIR_ADMIN", default_value = "127.0.0.1:9901")]
    pub address: String,
}

/// Reads the process's arguments. Prints help, the version or a usage error and ends the process
/// where there is nothing to do.
pub fn parse() -> Command {
    Line::parse().command
}

fn plugin_name(text: &str) -> Result<String, &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let valid = !text.is_empty() && text.bytes().all(fits);
    valid.then(|| text.to_owned()).ok_or("a plugin's name has letters, digits, `-`, `_` and `.`")
}

fn version(text: &str) -> Result<String, &'static str> {
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| text.to_ascii_lowercase()).ok_or("a version is the start of a sha256, in hex")
}

/// Prints to standard output. A reader that went away, as in `weir check | head`, is no failure.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn exit(code: u8) -> ExitCode {
    ExitCode::from(code)
}

const TOP: &str = "\
Examples:
  weir check --config weir.toml            what the file does, and what is wrong with it
  weir run --config weir.toml              serve
  weir plugin list                         plugins of the running Weir
  weir plugin push canary canary.wasm      swap one under traffic

Exit codes: 0 done, 1 refused or failed, 2 usage or configuration fault";

const RUN: &str = "\
Examples:
  weir run --config /etc/weir/weir.toml
  WEIR_LOG=debug weir run                  ./weir.toml, and more of what goes wrong

While it runs:
  kill -HUP PID       read the configuration again; a faulty one changes nothing
  kill -TERM PID      drain: finish what is in flight, then end
  WEIR_LOG            info, debug, or by module: info,weir_plugin=debug";

const CHECK: &str = "\
Examples:
  weir check --config weir.toml            explain it
  weir check -c weir.toml && kill -HUP PID reload only what is valid

Every fault is reported at once, with its line. Exit codes: 0 valid, 2 not";

const PLUGIN: &str = "\
Examples:
  weir plugin list
  weir plugin push canary target/canary.wasm
  weir plugin rollback canary
  weir plugin list --admin 10.0.0.5:9901   ask another Weir; or set WEIR_ADMIN";

const PUSH: &str = "\
Examples:
  weir plugin push canary canary.wasm
  WEIR_ADMIN=10.0.0.5:9901 weir plugin push canary canary.wasm

The component is compiled and every binding's settings are checked before anything changes. A refused one
leaves the old version deciding. Exchanges under way keep the version they started with.";

const LIST: &str = "\
Examples:
  weir plugin list
  weir plugin list --json | jq -r '.plugins[].name'";

const ROLLBACK: &str = "\
Examples:
  weir plugin rollback canary                   the version before
  weir plugin rollback canary --to 3f9a21c0     a version that `weir plugin list` shows";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn read(line: &str) -> Result<Command, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|line| line.command)
    }

    fn admin(address: &str) -> AdminAddress {
        AdminAddress { address: address.into() }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Line::command().debug_assert();
    }

    #[test]
    fn commands_are_read() {
        let config = |path: &str| Configured { config: path.into() };
        assert_eq!(read("weir run --config a.toml").unwrap(), Command::Run(config("a.toml")));
        assert_eq!(read("weir check").unwrap(), Command::Check(config("weir.toml")));
        assert_eq!(
            read("weir plugin push canary c.wasm --admin [::1]:1").unwrap(),
            Command::Plugin(PluginCommand::Push {
                name: "canary".into(),
                file: "c.wasm".into(),
                admin: admin("[::1]:1")
            })
        );
        assert_eq!(
            read("weir plugin rollback canary --to 3f --admin a:1").unwrap(),
            Command::Plugin(PluginCommand::Rollback {
                name: "canary".into(),
                to: Some("3f".into()),
                admin: admin("a:1")
            })
        );
    }

    #[test]
    fn what_is_not_understood_is_a_usage_error() {
        for line in [
            "weir serve",
            "weir run --fast",
            "weir plugin push canary",
            "weir plugin push ../canary c.wasm",
            "weir plugin rollback canary --to latest",
        ] {
            assert_eq!(read(line).unwrap_err().exit_code(), i32::from(FAULT), "{line}");
        }
        assert_eq!(read("weir --version").unwrap_err().kind(), ErrorKind::DisplayVersion);
    }

    #[test]
    fn every_help_page_teaches_by_example() {
        let mut pages = vec![Line::command()];
        while let Some(page) = pages.pop() {
            let help = page.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:\n"), "{}", page.get_name());
            assert!(help.lines().all(|line| line.len() <= 110), "{}", page.get_name());
            pages.extend(page.get_subcommands().cloned());
        }
    }
}

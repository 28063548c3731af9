//! The command line: what was asked for, and the commands that talk to a running Weir.
//!
//! `run` belongs to `main`; `check` and `plugin` are whole here.

mod acme;
mod certificate;
mod check;
mod client;
mod compile;
mod connect;
mod endpoint;
mod explain;
mod help;
mod plugin;
mod reload;
mod rollout;
mod status;
mod table;
mod upgrade;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind, parser::ValueSource,
};

pub use self::{
    acme::acme,
    certificate::certificate,
    check::{Found, check},
    compile::{compile, compiler},
    endpoint::endpoint,
    explain::explain,
    plugin::plugin,
    reload::reload,
    rollout::rollout,
    status::status,
    upgrade::upgrade,
};

/// What was asked for was refused, or failed.
pub const FAILED: u8 = 1;
/// The command line or the configuration cannot be used.
pub const FAULT: u8 = 2;

/// A load balancer and reverse proxy whose decisions are programs.
#[derive(Debug, Parser)]
#[command(name = "weir", version, propagate_version = true, arg_required_else_help = true, after_help = help::TOP)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve until told to stop
    #[command(after_help = help::RUN)]
    Run(Run),
    /// Validate a configuration and explain what it does; binds nothing
    #[command(after_help = help::CHECK)]
    Check(Configured),
    /// Put another process in the place of the running one, without losing a request
    #[command(after_help = help::UPGRADE)]
    Upgrade(Upgrade),
    /// Show how a running Weir is: listeners, clusters and what to look at
    #[command(after_help = help::STATUS)]
    Status(Status),
    /// Have a running Weir read its configuration again
    #[command(after_help = help::RELOAD)]
    Reload(Reload),
    /// Show, replace and bring back plugins of a running Weir
    #[command(subcommand, arg_required_else_help = true, after_help = help::PLUGIN)]
    Plugin(PluginCommand),
    /// Show, add, weigh, drain and remove endpoints of a running Weir
    #[command(subcommand, arg_required_else_help = true, after_help = help::ENDPOINT)]
    Endpoint(EndpointCommand),
    /// Show and steer rollouts of a running Weir
    #[command(subcommand, arg_required_else_help = true, after_help = help::ROLLOUT)]
    Rollout(RolloutCommand),
    /// Show and renew certificates that authorities issue to a running Weir
    #[command(subcommand, arg_required_else_help = true, after_help = help::ACME)]
    Acme(AcmeCommand),
    /// Show and replace certificates of a running Weir
    #[command(subcommand, arg_required_else_help = true, after_help = help::CERTIFICATE)]
    Certificate(CertificateCommand),
    /// Compile the plugin at standard input, for the Weir that starts this
    #[command(hide = true, after_help = help::COMPILE)]
    CompilePlugin(CompilePlugin),
}

/// `weir compile-plugin`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CompilePlugin {
    /// Bytes of address space that it may take
    #[arg(long)]
    pub memory: u64,
    /// Seconds of CPU time that it may take
    #[arg(long)]
    pub cpu: u64,
    /// For instances that are allocated on demand
    #[arg(long)]
    pub on_demand: bool,
}

/// A command on a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Configured {
    /// The configuration file [default: weir.toml]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub file: Option<PathBuf>,
    /// The same, by name
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Configured {
    /// The configuration file.
    pub fn path(&self) -> PathBuf {
        self.file.as_ref().or(self.config.as_ref()).cloned().unwrap_or_else(|| "weir.toml".into())
    }
}

/// `weir status`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Status {
    /// Of this cluster only, as in `[clusters.NAME]`
    #[arg(value_parser = name)]
    pub cluster: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
    /// Where the running Weir is asked
    #[command(flatten)]
    pub admin: AdminAddress,
}

/// `weir reload`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Reload {
    /// Where the running Weir is asked
    #[command(flatten)]
    pub admin: AdminAddress,
}

/// `weir run`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Run {
    /// What it serves
    #[command(flatten)]
    pub configured: Configured,
    /// Take the place of the process at standard input
    #[arg(long, hide = true)]
    pub take_over: bool,
}

/// `weir upgrade`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Upgrade {
    /// What names the socket of the running Weir
    #[command(flatten)]
    pub configured: Configured,
    /// Its socket [default: `upgrade-socket` of the configuration]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The program to start [default: the one that the running Weir was started as]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

/// `weir plugin ...`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PluginCommand {
    /// Make a component the plugin's current version, under traffic
    #[command(after_help = help::PUSH)]
    Push {
        /// The plugin, as in `[plugins.NAME]`
        #[arg(value_parser = name)]
        name: String,
        /// The component: a `.wasm` file
        file: PathBuf,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
    /// Show plugins and their versions
    #[command(after_help = help::LIST)]
    List {
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
    /// Go back to an earlier version, under traffic
    #[command(after_help = help::ROLLBACK)]
    Rollback {
        /// The plugin, as in `[plugins.NAME]`
        #[arg(value_parser = name)]
        name: String,
        /// Start of the version's sha256 [default: the version before]
        #[arg(long, value_name = "VERSION", value_parser = version)]
        to: Option<String>,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
}

/// `weir endpoint ...`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum EndpointCommand {
    /// Show endpoints: their state, since when and why
    #[command(after_help = help::ENDPOINT_LIST)]
    List {
        /// Of this cluster only, as in `[clusters.NAME]`
        #[arg(value_parser = name)]
        cluster: Option<String>,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
    /// Add an endpoint, or describe one otherwise
    #[command(after_help = help::ENDPOINT_ADD)]
    Add {
        /// Which one
        #[command(flatten)]
        one: OneEndpoint,
        /// Share among the cluster's endpoints, 0 to 1000
        #[arg(long)]
        weight: Option<u32>,
        /// A label, as in version=v2; may be given several times
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// Those of the lowest number serve first
        #[arg(long)]
        priority: Option<u32>,
        /// The zone it is in
        #[arg(long)]
        zone: Option<String>,
        /// Serves only when no other may be picked
        #[arg(long)]
        backup: bool,
    },
    /// Give an endpoint another weight
    #[command(after_help = help::ENDPOINT_WEIGHT)]
    Weight {
        /// Which one
        #[command(flatten)]
        one: OneEndpoint,
        /// Share among the cluster's endpoints, 0 to 1000
        weight: u32,
    },
    /// Take an endpoint from the cluster: it drains and is then forgotten
    #[command(after_help = help::ENDPOINT_REMOVE)]
    Remove {
        /// Which one
        #[command(flatten)]
        one: OneEndpoint,
    },
    /// Let an endpoint keep its sessions and give it no new ones
    #[command(after_help = help::ENDPOINT_DRAIN)]
    Drain {
        /// Which one
        #[command(flatten)]
        one: OneEndpoint,
    },
    /// Give an endpoint nothing at all: its sessions move
    #[command(after_help = help::ENDPOINT_MAINTENANCE)]
    Maintenance {
        /// Which one
        #[command(flatten)]
        one: OneEndpoint,
    },
    /// Take back a drain or a maintenance
    #[command(after_help = help::ENDPOINT_READY)]
    Ready {
        /// Which one
        #[command(flatten)]
        one: OneEndpoint,
    },
}

/// One endpoint of a running Weir.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct OneEndpoint {
    /// The cluster, as in `[clusters.NAME]`
    #[arg(value_parser = name)]
    pub cluster: String,
    /// The endpoint's address, as in 127.0.0.1:9001
    pub endpoint: std::net::SocketAddr,
    /// Where the running Weir is asked
    #[command(flatten)]
    pub admin: AdminAddress,
}

/// `weir rollout ...`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum RolloutCommand {
    /// Show every rollout: where it is, and why
    #[command(after_help = help::ROLLOUT_LIST)]
    List {
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
    /// Go to the next step now, without waiting for figures
    #[command(after_help = help::ADVANCE)]
    Advance(Steered),
    /// Stay at the present share, whatever the figures say
    #[command(after_help = help::PAUSE)]
    Pause(Steered),
    /// Go on after a pause; the present step begins anew
    #[command(after_help = help::RESUME)]
    Resume(Steered),
    /// Send all traffic back to the old cluster
    #[command(after_help = help::ROLL_BACK)]
    Rollback(Steered),
    /// Begin again with the first step
    #[command(after_help = help::RESTART)]
    Restart(Steered),
}

/// A rollout to steer.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Steered {
    /// The route, as in `name` of `[[routes]]`
    #[arg(value_parser = name)]
    pub route: String,
    /// Where the running Weir is asked
    #[command(flatten)]
    pub admin: AdminAddress,
}

/// `weir certificate ...`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum CertificateCommand {
    /// Show the certificates of every listener: for which hosts, and until when
    #[command(after_help = help::CERTIFICATE_LIST)]
    List {
        /// Print listeners with their certificates as JSON
        #[arg(long)]
        json: bool,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
    /// Show another certificate in place of the one of a name
    #[command(after_help = help::CERTIFICATE_PUSH)]
    Push {
        /// The certificate, as in `name` of `certificates`
        #[arg(value_parser = name)]
        name: String,
        /// The chain, leaf first: a PEM file
        cert: PathBuf,
        /// The private key: a PEM file
        key: PathBuf,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
}

/// `weir acme ...`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AcmeCommand {
    /// Show every certificate that is ordered: whether there is one, until when, and what went wrong
    #[command(after_help = help::ACME_LIST)]
    List {
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
    /// Order a certificate now, without waiting for its time
    #[command(after_help = help::ACME_RENEW)]
    Renew {
        /// The certificate, as `weir acme list` names it
        #[arg(value_parser = name)]
        certificate: String,
        /// Where the running Weir is asked
        #[command(flatten)]
        admin: AdminAddress,
    },
}

/// The admin interface of a running Weir, and what it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Running Weir")]
pub struct AdminAddress {
    /// unix:PATH or HOST:PORT [default: that of --config, /run/weir/admin.sock if it exists, 127.0.0.1:9901]
    #[arg(id = "admin", long = "admin", value_name = "ADDR", env = "WEIR_ADMIN")]
    pub address: Option<String>,
    /// Its configuration file, which names the address
    #[arg(id = "config", long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the token to show
    #[arg(id = "token-file", long, value_name = "FILE", env = "WEIR_ADMIN_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Authorities that its certificate is verified by: a PEM file; it has TLS
    #[arg(id = "admin-ca", long = "ca", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate to show: a PEM file; it has TLS
    #[arg(id = "admin-cert", long = "cert", value_name = "FILE", requires = "admin-key")]
    pub cert: Option<PathBuf>,
    /// Private key of the certificate: a PEM file
    #[arg(id = "admin-key", long = "key", value_name = "FILE", requires = "admin-cert")]
    pub key: Option<PathBuf>,
}

/// Options of [`AdminAddress`] that only commands to a running Weir take.
const ADMIN_ONLY: [&str; 5] = ["admin", "token-file", "admin-ca", "admin-cert", "admin-key"];

/// Reads the process's arguments. Prints help, the version or a usage error and ends the process
/// where there is nothing to do.
pub fn parse() -> Command {
    read(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// The options of the admin interface may stand before a command as well as after it.
fn line() -> clap::Command {
    let admin = AdminAddress::augment_args(clap::Command::new("admin"));
    let before: Vec<_> = admin.get_arguments().map(|arg| arg.clone().global(true).hide(true)).collect();
    Line::command().args(before)
}

fn read<T: Into<std::ffi::OsString> + Clone>(arguments: impl IntoIterator<Item = T>) -> Result<Command, clap::Error> {
    let mut line = line();
    let matches = line.try_get_matches_from_mut(arguments)?;
    let command = Line::from_arg_matches(&matches).map_err(|error| error.format(&mut line))?.command;
    if let (Command::Run(_) | Command::Check(_) | Command::Upgrade(_), Some(option)) =
        (&command, admin_option(&matches))
    {
        let why = format!("`--{}` is for commands to a running Weir", option.trim_start_matches("admin-"));
        return Err(line.error(ErrorKind::ArgumentConflict, why));
    }
    Ok(command)
}

/// An option of the admin interface that was written.
fn admin_option(matches: &ArgMatches) -> Option<&'static str> {
    let (_, of) = matches.subcommand()?;
    ADMIN_ONLY.into_iter().find(|id| of.value_source(id) == Some(ValueSource::CommandLine))
}

fn label(text: &str) -> Result<(String, String), &'static str> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or("a label is written KEY=VALUE")
}

fn name(text: &str) -> Result<String, &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let valid = !text.is_empty() && text.bytes().all(fits);
    valid.then(|| text.to_owned()).ok_or("a name has letters, digits, `-`, `_` and `.`")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, clap::Error> {
        super::read(line.split_whitespace())
    }

    fn admin(address: &str) -> AdminAddress {
        AdminAddress { address: Some(address.into()), ..AdminAddress::default() }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Line::command().debug_assert();
        line().debug_assert();
    }

    #[test]
    fn the_admin_address_stands_before_or_after_the_verb() {
        let wanted = read("weir plugin list --admin a:1").unwrap();
        for line in ["weir --admin a:1 plugin list", "weir plugin --admin a:1 list", "weir --admin=a:1 plugin list"] {
            assert_eq!(read(line).unwrap(), wanted, "{line}");
        }
        let all = "--config w.toml --token-file t --ca ca.pem --cert c.pem --key k.pem";
        let wanted = Command::Reload(Reload {
            admin: AdminAddress {
                address: None,
                config: Some("w.toml".into()),
                token_file: Some("t".into()),
                ca: Some("ca.pem".into()),
                cert: Some("c.pem".into()),
                key: Some("k.pem".into()),
            },
        });
        assert_eq!(read(&format!("weir reload {all}")).unwrap(), wanted);
        assert_eq!(read(&format!("weir {all} reload")).unwrap(), wanted);
        for line in
            ["weir run --admin a:1", "weir --admin a:1 check", "weir --token-file t upgrade", "weir reload --cert c"]
        {
            assert_eq!(read(line).unwrap_err().exit_code(), i32::from(FAULT), "{line}");
        }
    }

    #[test]
    fn a_configuration_is_named_by_place_or_by_option() {
        let path = |line: &str| match read(line).unwrap() {
            Command::Check(configured) => configured.path(),
            Command::Run(run) => run.configured.path(),
            Command::Upgrade(upgrade) => upgrade.configured.path(),
            other => panic!("{other:?}"),
        };
        for line in [
            "weir check a.toml",
            "weir check -c a.toml",
            "weir run a.toml",
            "weir upgrade a.toml",
            "weir --config a.toml check",
        ] {
            assert_eq!(path(line), PathBuf::from("a.toml"), "{line}");
        }
        assert_eq!(path("weir check"), PathBuf::from("weir.toml"));
        assert!(read("weir check a.toml --config b.toml").is_err());
    }

    #[test]
    fn commands_are_read() {
        let config = |path: Option<&str>| Configured { file: None, config: path.map(Into::into) };
        let run = Run { configured: config(Some("a.toml")), take_over: false };
        assert_eq!(read("weir run --config a.toml").unwrap(), Command::Run(run));
        let upgrade = Upgrade { configured: config(None), socket: Some("s".into()), binary: Some("b".into()) };
        assert_eq!(read("weir upgrade --socket s --binary b").unwrap(), Command::Upgrade(upgrade));
        assert_eq!(read("weir check").unwrap(), Command::Check(config(None)));
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
    fn commands_on_endpoints_are_read() {
        let one = || OneEndpoint { cluster: "web".into(), endpoint: "[::1]:80".parse().unwrap(), admin: admin("a:1") };
        let line = "weir endpoint add web [::1]:80 --weight 2 --label v=2 --label w=a=b --backup --admin a:1";
        let labels = vec![("v".into(), "2".into()), ("w".into(), "a=b".into())];
        let add =
            EndpointCommand::Add { one: one(), weight: Some(2), labels, priority: None, zone: None, backup: true };
        assert_eq!(read(line).unwrap(), Command::Endpoint(add));
        let drain = read("weir endpoint drain web [::1]:80 --admin a:1").unwrap();
        assert_eq!(drain, Command::Endpoint(EndpointCommand::Drain { one: one() }));
        for line in
            ["weir endpoint drain web", "weir endpoint drain web host:80", "weir endpoint add web [::1]:80 --label v"]
        {
            assert_eq!(read(line).unwrap_err().exit_code(), i32::from(FAULT), "{line}");
        }
    }

    #[test]
    fn rollouts_are_steered_by_route() {
        let steered = Steered { route: "api".into(), admin: admin("a:1") };
        let wanted = Command::Rollout(RolloutCommand::Advance(steered));
        assert_eq!(read("weir rollout advance api --admin a:1").unwrap(), wanted);
        assert!(read("weir rollout advance").is_err() && read("weir rollout advance a/b").is_err());
    }

    #[test]
    fn certificates_are_renewed_by_name() {
        let wanted = AcmeCommand::Renew { certificate: "a.test_1_0f".to_owned(), admin: admin("a:1") };
        assert_eq!(read("weir acme renew a.test_1_0f --admin a:1").unwrap(), Command::Acme(wanted));
        assert!(read("weir acme renew").is_err() && read("weir acme renew a/b").is_err());
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

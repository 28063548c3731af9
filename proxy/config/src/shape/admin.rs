//! The shape of `[admin]`.

use schemars::JsonSchema;

use super::{
    scalar::{Address, AdminAddress},
    tls::ListenerTls,
};

/// The admin interface.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Admin {
    /// Where it listens: a Unix socket, as in `unix:/run/weir/admin.sock`, or an IP address and a port.
    address: AdminAddress,
    /// Permissions of the Unix socket, in octal.
    #[schemars(regex(pattern = "^[0-7]{3,4}$"), extend("default" = "0600"))]
    mode: Option<String>,
    /// User that owns the Unix socket, by name or number.
    owner: Option<String>,
    /// Group of the Unix socket, by name or number.
    group: Option<String>,
    /// A second address for probes and metrics, on which nothing can be changed.
    read_only: Option<Address>,
    /// Names that requests over TCP may have in `Host`, beside IP addresses and `localhost`.
    #[schemars(extend("default" = []))]
    hosts: Option<Vec<String>>,
    /// Tokens that callers over TCP show in `Authorization: Bearer`.
    tokens: Option<Vec<AdminToken>>,
    /// What a caller over TCP may do that shows neither a token nor a certificate: `read` by default, `none` where
    /// there are tokens or client certificates.
    unauthenticated: Option<OpenRole>,
    /// TLS on the TCP address.
    tls: Option<ListenerTls>,
    /// What a caller may do that shows a client certificate: `read` by default.
    client_certificate_role: Option<AdminRole>,
}

/// A token and what it is good for.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct AdminToken {
    /// Holds the token: one line of at least 16 characters, not readable by other users.
    file: String,
    /// What its holder may do.
    role: AdminRole,
    /// Names its holder in the audit log; without it the file's name.
    name: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(inline, rename_all = "kebab-case")]
enum AdminRole {
    Read,
    Operate,
    Deploy,
}

#[derive(JsonSchema)]
#[schemars(inline, rename_all = "kebab-case")]
enum OpenRole {
    None,
    Read,
    Operate,
    Deploy,
}

//! The admin interface: where it is, and what each caller may do there.

use weir_config::{Admin, AdminAddress, AdminRole, ClientAuth};

/// One line an address, and one for each way to prove oneself.
pub(super) fn of_admin(admin: Option<&Admin>) -> Vec<String> {
    let Some(admin) = admin else { return vec!["none: no metrics, no plugin push".to_owned()] };
    let mut lines = match &admin.address {
        AdminAddress::Unix(path) => {
            let of = |kind: &str, name: &Option<_>| {
                name.as_ref().map(|name: &std::sync::Arc<str>| format!(", {kind} {name}"))
            };
            let owner = of("user", &admin.socket.owner).unwrap_or_default()
                + &of("group", &admin.socket.group).unwrap_or_default();
            vec![format!(
                "unix:{}  mode {:04o}{owner}: those who may connect may do everything",
                path.display(),
                admin.socket.mode
            )]
        }
        AdminAddress::Tcp(address) => of_tcp(admin, &address.to_string()),
    };
    lines.extend(
        admin.read_only.map(|address| format!("http://{address}  health, metrics and status; nothing can be changed")),
    );
    lines
}

fn of_tcp(admin: &Admin, address: &str) -> Vec<String> {
    let scheme = if admin.tls.is_some() { "https" } else { "http" };
    let anybody = match admin.unauthenticated {
        AdminRole::None => "without proof: health and readiness".to_owned(),
        role => format!("without proof: {}", may(role)),
    };
    let mut lines = vec![format!("{scheme}://{address}  {anybody}")];
    lines.extend(admin.tokens.iter().map(|token| format!("token {}: {}", token.name, may(token.role))));
    let auth = admin.tls.as_ref().and_then(|tls| tls.client_auth.as_ref());
    lines.extend(auth.map(|auth: &ClientAuth| {
        format!("client certificate of {}: {}", auth.ca.display(), may(admin.client_certificate_role))
    }));
    lines
}

fn may(role: AdminRole) -> &'static str {
    match role {
        AdminRole::None => "nothing",
        AdminRole::Read => "status and metrics",
        AdminRole::Operate => "status, endpoints, rollouts and certificates",
        AdminRole::Deploy => "everything, plugins and reload too",
    }
}

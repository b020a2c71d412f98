//! The top of the file: every key that belongs to no route.
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::keys::{Key, accept_proxy as accept_proxy_keys, timeouts as timeout_keys};
use super::keys::{
    admin as admin_keys, control as control_keys, limits as limit_keys, logging as log_keys, redirect as redirect_keys,
    root as keys,
};
use super::kinds::{List, Text};
use super::listening::Taken;
use super::read::{Fields, Path, Report, object};
use super::regular_file::{Unreadable, read_regular_file};
use super::route::{Others, ROUTE_TIMEOUTS, RouteDefaults, route, route_timeouts};
use super::syntax::{Fault, fault};
use super::tree::Value;
use super::{
    Admin, Config, CredentialFiles, Error, File, Limits, Log, PerSource, Probe, Route, RouteTimeouts, Timeouts, check,
    defaults,
};

/// Size limit of a configuration file in bytes, room for about 400,000 routes.
const MAX_FILE: usize = 64 << 20;

/// Reads the configuration file at `path`.
///
/// # Errors
/// As [`parse`], or one error that says why the file cannot be read.
pub fn load(path: &std::path::Path) -> Result<File, Vec<Error>> {
    let file_name = path.to_string_lossy();
    match read_regular_file(path, MAX_FILE) {
        Ok(text) => parse(&file_name, &text).map(|config| File { config, text: text.into() }),
        Err(error) => {
            let what = format!("cannot be read: {error}; {}", remedy(&error));
            Err(vec![Error::new(&file_name, &Path::Root, what)])
        }
    }
}

/// What the operator can do about a file that cannot be read.
fn remedy(error: &Unreadable) -> &'static str {
    match error {
        Unreadable::System(error) if error.kind() == ErrorKind::PermissionDenied => {
            "let the user that runs fiscalismia-lb read it, or name another file"
        }
        Unreadable::System(_) => "write the configuration there, or name another file",
        Unreadable::Is(_) => "name a regular file",
        Unreadable::Longer(_) => "name a shorter file",
        Unreadable::NotUtf8(_) => "save it as UTF-8",
    }
}

/// Reads the text of a configuration file. `file_name` appears in errors only.
///
/// # Errors
/// Every error of the file; if it is not JSON, the first place where it is not.
pub fn parse(file_name: &str, text: &str) -> Result<Config, Vec<Error>> {
    let tree = serde_json::from_str::<Value>(text).map_err(|error| vec![not_json(file_name, text, &error)])?;
    let mut report = Report::new(file_name, text);
    let config = object(&tree, &keys::OBJECT, &Path::Root, &mut report, config);
    report.conclude(config)
}

fn not_json(file_name: &str, text: &str, error: &serde_json::Error) -> Error {
    match fault(text) {
        Some(Fault { at: Some(at), what }) => Error::at(file_name, text, at, &what),
        Some(Fault { at: None, what }) => Error::new(file_name, &Path::Root, what),
        // serde_json refuses more than RFC 8259 does, such as half of a surrogate pair.
        None => Error::new(file_name, &Path::Root, format_args!("{error}; write what JSON can hold")),
    }
}

fn config(fields: &mut Fields<'_, '_>) -> Config {
    fields.optional(&keys::SCHEMA);
    fields.refuse_empty(&keys::LISTEN, "list at least one address, like \"0.0.0.0:443\"");
    let mut taken = Taken::default();
    let listen = listeners(fields, &keys::LISTEN, "listen", &mut taken);
    let redirect = fields
        .object(&keys::REDIRECT, |fields| listeners(fields, &redirect_keys::LISTEN, "redirect.listen", &mut taken));
    let admin = fields.object(&keys::ADMIN, |fields| admin(fields, &mut taken));
    let (timeouts, route_timeouts) = timeouts(fields);
    let retries = fields.or(&keys::RETRIES, defaults::RETRIES);
    let health_check =
        check::settings(fields, &keys::HEALTH_CHECK, &check::Settings::default(), defaults::PROXY_PROTOCOL);
    let accept_proxy = accept_proxy(fields);
    let has_balancers = !accept_proxy.is_empty();
    let defaults = RouteDefaults { timeouts: route_timeouts, health_check, has_balancers };
    let routes = routes(fields, &defaults, taken);
    if routes.is_empty() || routes.iter().any(|route| route.listen.is_empty()) {
        fields.require(&keys::LISTEN, "\"listen\": [\"0.0.0.0:443\", \"[::]:443\"]");
    }
    if redirect.as_ref().is_none_or(Vec::is_empty) {
        for route in routes.iter().filter(|route| route.http.is_some()) {
            let what = format!(
                "routes.{} has \"http\", but no address listens for plain HTTP; write \"redirect\": {{ \"listen\": [\"0.0.0.0:80\"] }}",
                route.name
            );
            fields.error_here(what);
        }
    }
    if !routes.iter().any(|route| matches!(route.health_check.probe, Probe::Http { .. })) {
        check::refuse_http_only(fields, &keys::HEALTH_CHECK);
    }
    Config {
        listen,
        routes,
        timeouts,
        retries,
        limits: limits(fields),
        reject: fields.or(&keys::REJECT, defaults::REJECT),
        accept_proxy,
        redirect: redirect.unwrap_or_default(),
        admin: admin.unwrap_or_default(),
        log: log(fields),
        control: fields.object(&keys::CONTROL, |fields| fields.optional(&control_keys::SOCKET)).flatten(),
        zero_copy: fields.or(&keys::ZERO_COPY, defaults::ZERO_COPY),
    }
}

/// The networks of balancers in front.
fn accept_proxy(fields: &mut Fields<'_, '_>) -> Vec<IpNet> {
    let networks = fields.object(&keys::ACCEPT_PROXY, |fields| {
        let networks = fields.list(&accept_proxy_keys::FROM);
        fields.refuse_empty(&accept_proxy_keys::FROM, "list at least one network, like \"10.0.0.0/24\"");
        fields.require(&accept_proxy_keys::FROM, "\"from\": [\"10.0.0.0/24\"]");
        networks.into_iter().flatten().collect()
    });
    networks.unwrap_or_default()
}

/// The addresses under `key`, whose path is `owner`. An address in `taken` is an error.
fn listeners(
    fields: &mut Fields<'_, '_>,
    key: &'static Key<List<Text<SocketAddr>>>,
    owner: &str,
    taken: &mut Taken,
) -> Vec<SocketAddr> {
    let addresses = fields.list(key);
    take(fields, key, &addresses, owner, taken);
    addresses.into_iter().flatten().collect()
}

/// Takes the addresses under `key`, and notes an error for each that was taken before.
pub(super) fn take(
    fields: &mut Fields<'_, '_>,
    key: &'static Key<List<Text<SocketAddr>>>,
    addresses: &[Option<SocketAddr>],
    owner: &str,
    taken: &mut Taken,
) {
    for (index, address) in addresses.iter().enumerate() {
        let Some(address) = *address else { continue };
        if let Some((other, path)) = taken.take(address, format!("{owner}[{index}]")) {
            let what = format!("\"{address}\" is taken by {path}, \"{other}\", already; write another port");
            fields.error_in(key, index, what);
        }
    }
}

fn admin(fields: &mut Fields<'_, '_>, taken: &mut Taken) -> Admin {
    let listen = listeners(fields, &admin_keys::LISTEN, "admin.listen", taken);
    let stats_credentials = fields.object(&admin_keys::STATS_CREDENTIALS, |fields| {
        let username = fields.required(&admin_keys::USERNAME_FILE, "the path of a file that holds the user name");
        let password = fields.required(&admin_keys::PASSWORD_FILE, "the path of a file that holds the password");
        Some(CredentialFiles { username_file: username?, password_file: password? })
    });
    Admin { listen, stats_credentials: stats_credentials.flatten() }
}

fn timeouts(fields: &mut Fields<'_, '_>) -> (Timeouts, RouteTimeouts) {
    let unset =
        Timeouts { client_hello: defaults::CLIENT_HELLO, drain: defaults::DRAIN, keepalive: defaults::KEEPALIVE };
    let timeouts = fields.object(&keys::TIMEOUTS, |fields| {
        let client_hello = fields.or(&timeout_keys::CLIENT_HELLO, unset.client_hello);
        let drain = fields.or(&timeout_keys::DRAIN, unset.drain);
        let keepalive = fields.or(&timeout_keys::KEEPALIVE, unset.keepalive);
        (Timeouts { client_hello, drain, keepalive }, route_timeouts(fields, ROUTE_TIMEOUTS))
    });
    timeouts.unwrap_or((unset, ROUTE_TIMEOUTS))
}

fn routes(fields: &mut Fields<'_, '_>, defaults: &RouteDefaults, taken: Taken) -> Vec<Arc<Route>> {
    const EXAMPLE: &str = "{ \"sni\": [\"a.example\"], \"servers\": [\"172.24.0.3:443\"] }";
    fields.require(&keys::ROUTES, &format!("\"routes\": {{ \"NAME\": {EXAMPLE} }}"));
    let mut others = Others { taken, claims: HashMap::new(), owners: HashMap::new() };
    let wanted = format!("add a route, like \"NAME\": {EXAMPLE}");
    fields.map(&keys::ROUTES, &wanted, |name, fields| Arc::new(route(name, fields, defaults, &mut others)))
}

fn limits(fields: &mut Fields<'_, '_>) -> Limits {
    let limits = fields.object(&keys::LIMITS, |fields| Limits {
        connections: fields.or(&limit_keys::CONNECTIONS, defaults::CONNECTIONS),
        per_source: fields.object(&limit_keys::PER_SOURCE, per_source),
    });
    limits.unwrap_or(Limits { connections: defaults::CONNECTIONS, per_source: None })
}

fn per_source(fields: &mut Fields<'_, '_>) -> PerSource {
    if !fields.has(&limit_keys::RATE) && !fields.has(&limit_keys::CONCURRENT) {
        fields.error_here("sets no limit; write \"rate\" with \"period\", or \"concurrent\"");
    } else if fields.has(&limit_keys::PERIOD) && !fields.has(&limit_keys::RATE) {
        fields.error(
            &limit_keys::PERIOD,
            "has no effect alone; write \"rate\" too, the number of new connections in a period",
        );
    }
    PerSource {
        rate: fields.optional(&limit_keys::RATE),
        period: fields.or(&limit_keys::PERIOD, defaults::PERIOD),
        concurrent: fields.optional(&limit_keys::CONCURRENT),
        ipv6_prefix: fields.or(&limit_keys::IPV6_PREFIX, defaults::IPV6_PREFIX),
        exempt: fields.list(&limit_keys::EXEMPT).into_iter().flatten().collect(),
    }
}

fn log(fields: &mut Fields<'_, '_>) -> Log {
    let unset =
        Log { format: defaults::LOG_FORMAT, connections: defaults::LOG_CONNECTIONS, empty: defaults::LOG_EMPTY };
    let log = fields.object(&keys::LOG, |fields| Log {
        format: fields.or(&log_keys::FORMAT, unset.format),
        connections: fields.or(&log_keys::CONNECTIONS, unset.connections),
        empty: fields.or(&log_keys::EMPTY, unset.empty),
    });
    log.unwrap_or(unset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, an operator whose file cannot be read is told to do what does not help.
    #[test]
    fn each_file_that_cannot_be_read_has_its_remedy() {
        let said = |path: &std::path::Path| load(path).unwrap_err()[0].to_string();
        assert!(said("/nowhere".as_ref()).ends_with("; write the configuration there, or name another file"));
        assert!(said("/".as_ref()).ends_with("; name a regular file"));
        let denied = Unreadable::System(ErrorKind::PermissionDenied.into());
        assert_eq!(remedy(&denied), "let the user that runs fiscalismia-lb read it, or name another file");
        let path = std::env::temp_dir().join(format!("lb-remedy-{}", std::process::id()));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(said(&path).ends_with("; save it as UTF-8"));
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        // 64 MiB, as users are told, and one byte more. The first is read: it is not UTF-8.
        let ends =
            [(64 << 20, "; save it as UTF-8"), ((64 << 20) + 1, "this is longer than 64 MiB; name a shorter file")];
        for (size, end) in ends {
            file.set_len(size).unwrap();
            let said = said(&path);
            assert!(said.ends_with(end), "{said}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}

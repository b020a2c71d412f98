//! The whole file, and all of it that belongs to no route.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use super::addresses::{local_address, network};
use super::read::{Fields, Path, Report, object};
use super::route::{ROUTE_TIMEOUTS, RouteDefaults, route, route_timeouts};
use super::tree::Value;
use super::values::{choice, duration, file, integer};
use super::{
    Admin, Config, CredentialFiles, Error, Limits, Log, LogConnections, LogFormat, PerSource, Reject, Route,
    RouteTimeouts, Timeouts, ZeroCopy, check, defaults,
};

const TLS_PORT: u16 = 443;
const HTTP_PORT: u16 = 80;
const ADMIN_PORT: u16 = 8404;

/// Reads the configuration file at `path`.
///
/// # Errors
/// As `parse`; or the one that the file cannot be read.
pub fn load(path: &std::path::Path) -> Result<Config, Vec<Error>> {
    let file_name = path.to_string_lossy();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file_name, &text),
        Err(error) => {
            let what = format!("cannot be read: {error}; write the configuration there, or name another file");
            Err(vec![Error::new(&file_name, &Path::Root, what)])
        }
    }
}

/// Reads the text of a configuration file. `file_name` is for the errors only.
///
/// # Errors
/// All that is wrong with the file, or the one place where it ceases to be JSON.
pub fn parse(file_name: &str, text: &str) -> Result<Config, Vec<Error>> {
    let mut report = Report::new(file_name);
    match serde_json::from_str::<Value>(text) {
        Ok(tree) => {
            let config = object(&tree, &Path::Root, &mut report, config);
            report.conclude(config)
        }
        Err(error) => {
            let message = error.to_string();
            let what = message.rsplit_once(" at line ").map_or(&*message, |(what, _)| what);
            let (line, column) = (error.line(), error.column());
            report.add(&Path::Root, format_args!("line {line} column {column}: {what}; this must be JSON"));
            report.conclude(None)
        }
    }
}

fn config(fields: &mut Fields<'_, '_>) -> Config {
    fields.require("listen", "\"listen\": [\"0.0.0.0:443\", \"[::]:443\"]");
    fields.refuse_empty("listen", "list at least one address, like \"0.0.0.0:443\"");
    let mut taken = Vec::new();
    let listen = listeners(fields, "listen", TLS_PORT, &mut taken);
    let redirect = fields.object("redirect", |fields| listeners(fields, "redirect.listen", HTTP_PORT, &mut taken));
    let admin = fields.object("admin", |fields| admin(fields, &mut taken));
    let (timeouts, route_timeouts) = timeouts(fields);
    let retries = fields.or("retries", defaults::RETRIES, integer(defaults::RETRIES_RANGE));
    let health_check = check::settings(fields, &check::Settings::default(), defaults::PROXY_PROTOCOL);
    let defaults = RouteDefaults { timeouts: route_timeouts, health_check };
    Config {
        listen,
        routes: routes(fields, &defaults),
        timeouts,
        retries,
        limits: limits(fields),
        reject: fields.or(
            "reject",
            defaults::REJECT,
            choice(&[("drop", Reject::Drop), ("alert", Reject::Alert), ("close", Reject::Close)]),
        ),
        redirect: redirect.unwrap_or_default(),
        admin: admin.unwrap_or_default(),
        log: log(fields),
        zero_copy: fields.or(
            "zero_copy",
            defaults::ZERO_COPY,
            choice(&[("auto", ZeroCopy::Auto), ("off", ZeroCopy::Off)]),
        ),
    }
}

/// The addresses under `listen` of an object; `owner` is their path, none of which `taken` may hold.
fn listeners(
    fields: &mut Fields<'_, '_>,
    owner: &str,
    port: u16,
    taken: &mut Vec<(SocketAddr, String)>,
) -> Vec<SocketAddr> {
    let addresses = fields.list("listen", local_address(port));
    for (index, address) in addresses.iter().enumerate() {
        let Some(address) = *address else { continue };
        if let Some((other, path)) = taken.iter().find(|(other, _)| overlap(address, *other)) {
            let what = format!("\"{address}\" is taken by {path}, \"{other}\", already; write another port");
            fields.error_in("listen", index, what);
        }
        taken.push((address, format!("{owner}[{index}]")));
    }
    addresses.into_iter().flatten().collect()
}

/// Whether the kernel would refuse to listen on both. Families never clash: an IPv6 listener takes IPv6 only.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let (ip, other) = (a.ip(), b.ip());
    let same_port = a.port() == b.port() && a.port() != 0;
    let same_family = a.is_ipv4() == b.is_ipv4();
    same_port && same_family && (ip == other || ip.is_unspecified() || other.is_unspecified())
}

fn admin(fields: &mut Fields<'_, '_>, taken: &mut Vec<(SocketAddr, String)>) -> Admin {
    let listen = listeners(fields, "admin.listen", ADMIN_PORT, taken);
    let stats_credentials = fields.object("stats_credentials", |fields| {
        let username = fields.required("username_file", "the path of a file that holds the user name", file);
        let password = fields.required("password_file", "the path of a file that holds the password", file);
        Some(CredentialFiles { username_file: username?, password_file: password? })
    });
    Admin { listen, stats_credentials: stats_credentials.flatten() }
}

fn timeouts(fields: &mut Fields<'_, '_>) -> (Timeouts, RouteTimeouts) {
    let unset = Timeouts { client_hello: defaults::CLIENT_HELLO, drain: defaults::DRAIN };
    let timeouts = fields.object("timeouts", |fields| {
        let client_hello = fields.or("client_hello", unset.client_hello, duration(defaults::DURATIONS));
        let drain = fields.or("drain", unset.drain, duration(defaults::DURATIONS_OR_ZERO));
        (Timeouts { client_hello, drain }, route_timeouts(fields, ROUTE_TIMEOUTS))
    });
    timeouts.unwrap_or((unset, ROUTE_TIMEOUTS))
}

fn routes(fields: &mut Fields<'_, '_>, defaults: &RouteDefaults) -> Vec<Rc<Route>> {
    const EXAMPLE: &str = "{ \"sni\": [\"a.example\"], \"servers\": [\"172.24.0.3:443\"] }";
    fields.require("routes", &format!("\"routes\": {{ \"NAME\": {EXAMPLE} }}"));
    let mut claims = HashMap::new();
    let wanted = format!("add a route, like \"NAME\": {EXAMPLE}");
    fields.map("routes", &wanted, |name, fields| Rc::new(route(name, fields, defaults, &mut claims)))
}

fn limits(fields: &mut Fields<'_, '_>) -> Limits {
    let limits = fields.object("limits", |fields| Limits {
        connections: fields.or("connections", defaults::CONNECTIONS, integer(defaults::COUNTS)),
        per_source: fields.object("per_source", per_source),
    });
    limits.unwrap_or(Limits { connections: defaults::CONNECTIONS, per_source: None })
}

fn per_source(fields: &mut Fields<'_, '_>) -> PerSource {
    if !fields.has("rate") && !fields.has("concurrent") {
        fields.error_here("limits nothing; write \"rate\" with \"period\", or \"concurrent\"");
    } else if fields.has("period") && !fields.has("rate") {
        fields.error("period", "means nothing alone; write \"rate\" too, the new connections in a period");
    }
    PerSource {
        rate: fields.optional("rate", integer(defaults::COUNTS)),
        period: fields.or("period", defaults::PERIOD, duration(defaults::DURATIONS)),
        concurrent: fields.optional("concurrent", integer(defaults::COUNTS)),
        ipv6_prefix: fields.or("ipv6_prefix", defaults::IPV6_PREFIX, integer(defaults::IPV6_PREFIXES)),
        exempt: fields.list("exempt", network).into_iter().flatten().collect(),
    }
}

fn log(fields: &mut Fields<'_, '_>) -> Log {
    let formats = [("haproxy", LogFormat::Haproxy), ("json", LogFormat::Json)];
    let connections = [("all", LogConnections::All), ("close", LogConnections::Close), ("off", LogConnections::Off)];
    let unset = Log { format: defaults::LOG_FORMAT, connections: defaults::LOG_CONNECTIONS };
    let log = fields.object("log", |fields| Log {
        format: fields.or("format", unset.format, choice(&formats)),
        connections: fields.or("connections", unset.connections, choice(&connections)),
    });
    log.unwrap_or(unset)
}

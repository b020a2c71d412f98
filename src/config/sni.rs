//! Names of `routes.NAME.sni`. No two routes may claim the same name.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use super::SniPattern;
use super::tree::Value;
use super::values::{apart, text};

/// The longest label of a host name in bytes (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;
/// The longest host name in bytes, without a trailing dot (RFC 1035 section 2.3.4: 255 octets on the wire).
pub const MAX_HOST_NAME: usize = 253;

/// A name of `sni`, for the schema.
pub(super) const PATTERN: &str = r"^(\*\.?|(\*\*?\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?)$";

/// A pattern, and the text that the file has for it.
pub(super) type Written = (SniPattern, Box<str>);

/// The route that takes a name, for one protocol, or (`None`) for a hello that offers no protocol of any route.
pub(super) type Claims = HashMap<(SniPattern, Option<Box<str>>), Box<str>>;

/// Claims `pattern` for `route` and hellos that offer one of `alpn`, or for any hello if that is empty. Answers what is
/// wrong with that, if anything. `written` is the text that the file has for the pattern.
pub(super) fn claim(
    claims: &mut Claims,
    route: &str,
    pattern: &SniPattern,
    alpn: &[Box<str>],
    written: &str,
) -> Option<String> {
    let any = alpn.is_empty().then_some(None);
    let mut problem = None;
    for protocol in alpn.iter().cloned().map(Some).chain(any) {
        match claims.entry((pattern.clone(), protocol)) {
            Entry::Vacant(free) => drop(free.insert(route.into())),
            Entry::Occupied(taken) if **taken.get() == *route => {
                problem = Some(format!("{written:?} is in this list already; leave it out"));
            }
            Entry::Occupied(taken) => {
                let with = taken.key().1.as_ref().map(|protocol| format!(" for ALPN {protocol:?}")).unwrap_or_default();
                problem = Some(format!("{written:?} is routed by {:?}{with} already", taken.get()));
            }
        }
    }
    problem
}

/// A pattern, in lower case and without a trailing dot, and the text that the file has for it.
pub(super) fn pattern(value: &Value) -> Result<Written, String> {
    const WANTED: &str = "a name like \"a.example\", \"*.a.example\", \"**.a.example\" or \"*\"";
    let written = text(value, WANTED)?;
    let lower = written.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    let (pattern, labels) = match (name.strip_prefix("*."), name.strip_prefix("**.")) {
        _ if name == "*" => (SniPattern::Default, ""),
        (Some(parent), _) => (SniPattern::Wildcard(parent.into()), parent),
        (_, Some(parent)) => (SniPattern::Subdomains(parent.into()), parent),
        _ => (SniPattern::Exact(name.into()), name),
    };
    let mut parts = name.split([',', ' ']).filter(|part| !part.is_empty()).peekable();
    if name.contains([',', ' ']) && parts.peek().is_some() && parts.all(|part| check(part).is_ok()) {
        return Err(format!("{written:?} is more than one name; write {}", apart(written)));
    }
    if let Some(host) = host_in(name) {
        return Err(format!("{written:?} is more than a name; write {host:?}"));
    }
    if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(format!("{written:?} is an IP address, and SNI carries names only; write a name, or \"*\""));
    }
    if name.len() > MAX_HOST_NAME {
        return Err(format!("{written:?} is {} characters long; write at most {MAX_HOST_NAME}", name.len()));
    }
    if pattern != SniPattern::Default {
        check(labels).map_err(|what| format!("{written:?} {what}"))?;
    }
    Ok((pattern, written.into()))
}

/// The host of `https://a.example/`, `a.example:443`, `a.example/path`.
fn host_in(name: &str) -> Option<&str> {
    let rest = name.split_once("://").map_or(name, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next()?;
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => host,
    };
    (host.len() < name.len() && !host.is_empty() && check(host).is_ok()).then_some(host)
}

/// Whether `name` can be the name or the parent of a pattern.
#[must_use]
pub fn is_host_name(name: &str) -> bool {
    name.len() <= MAX_HOST_NAME && check(name).is_ok()
}

fn check(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("is empty; write a name like \"a.example\", \"*.a.example\", \"**.a.example\" or \"*\"".to_owned());
    }
    if let Some(parent) = name.strip_prefix('.').filter(|parent| !parent.is_empty()) {
        return Err(format!(
            "begins with a dot; write \"**.{parent}\" for all names below, \"*.{parent}\" for one label more"
        ));
    }
    if !name.is_ascii() {
        return Err("is not ASCII; write the form that TLS sends, which starts with \"xn--\"".to_owned());
    }
    if name.contains(['^', '$', '\\', '(', '[', '+']) {
        return Err(
            "is a regular expression; write the names, \"*.a.example\" for one label more, or \"**.a.example\" for all below"
                .to_owned(),
        );
    }
    if name.contains('*') {
        return Err("has a \"*\" that is not all of the first label; write \"*.a.example\", \"**.a.example\" or \"*\""
            .to_owned());
    }
    let good = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    if let Some(char) = name.chars().find(|&char| !good(char)) {
        return Err(format!("has a {char:?}; write a name of letters, digits, \"-\", \"_\" and \".\" only"));
    }
    match name.split('.').find(|label| label.is_empty() || label.len() > MAX_LABEL) {
        Some("") => Err("has an empty label; write one dot between labels".to_owned()),
        Some(label) => Err(format!("has a label of {} characters, {label:?}; write at most {MAX_LABEL}", label.len())),
        None => Ok(()),
    }
}

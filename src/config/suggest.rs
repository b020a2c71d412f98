//! Suggests the key that an unknown one was meant to be.
use super::keys::{self, Object};

/// Two words at least this much alike, from 0 to 1, are taken for a typing error.
const ALIKE: f64 = 0.8;

/// What other programs and operators call the keys of this file.
const SYNONYMS: &[(&str, &str)] = &[
    ("backend", "servers"),
    ("backends", "servers"),
    ("upstream", "servers"),
    ("upstreams", "servers"),
    ("targets", "servers"),
    ("endpoints", "servers"),
    ("nodes", "servers"),
    ("proxy_pass", "servers"),
    ("backend", "routes"),
    ("backends", "routes"),
    ("frontend", "routes"),
    ("frontends", "routes"),
    ("upstreams", "routes"),
    ("services", "routes"),
    ("sites", "routes"),
    ("hosts", "sni"),
    ("host", "sni"),
    ("hostname", "sni"),
    ("hostnames", "sni"),
    ("names", "sni"),
    ("domain", "sni"),
    ("domains", "sni"),
    ("server_name", "sni"),
    ("server_names", "sni"),
    ("bind", "listen"),
    ("port", "listen"),
    ("ports", "listen"),
    ("addresses", "listen"),
    ("algorithm", "balance"),
    ("method", "balance"),
    ("lb_policy", "balance"),
    ("policy", "balance"),
    ("strategy", "balance"),
    ("sticky", "balance"),
    ("stickiness", "balance"),
    ("affinity", "balance"),
    ("session_affinity", "balance"),
    ("send_proxy", "proxy_protocol"),
    ("send-proxy", "proxy_protocol"),
    ("send_proxy_v2", "proxy_protocol"),
    ("send-proxy-v2", "proxy_protocol"),
    ("protocols", "alpn"),
    ("check", "health_check"),
    ("checks", "health_check"),
    ("healthcheck", "health_check"),
    ("probe", "health_check"),
    ("kind", "type"),
    ("every", "interval"),
    ("inter", "interval"),
    ("period", "interval"),
    ("uri", "path"),
    ("url", "path"),
    ("status", "expect"),
    ("maxconn", "connections"),
    ("max_connections", "connections"),
    ("maxconn", "max_connections"),
    ("max_conn", "max_connections"),
    ("state", "weight"),
    ("enabled", "weight"),
    ("disabled", "weight"),
    ("rate_limit", "per_source"),
    ("rate_limits", "per_source"),
    ("ratelimit", "per_source"),
    ("host", "address"),
    ("port", "address"),
    ("ip", "address"),
    ("addr", "address"),
    ("url", "address"),
    ("device", "interface"),
    ("dev", "interface"),
    ("idle", "tunnel"),
    ("idle_timeout", "tunnel"),
    ("client", "tunnel"),
    ("server", "tunnel"),
    ("client_timeout", "tunnel"),
    ("server_timeout", "tunnel"),
    ("hello", "client_hello"),
    ("grace", "drain"),
    ("shutdown", "drain"),
    ("logging", "log"),
    ("logs", "log"),
    ("stats", "admin"),
    ("metrics", "admin"),
    ("https_redirect", "redirect"),
    ("http", "redirect"),
    ("allowlist", "exempt"),
    ("whitelist", "exempt"),
    ("splice", "zero_copy"),
    ("username", "username_file"),
    ("password", "password_file"),
];

/// Keys that only a proxy which terminates TLS can have, and why there is none here.
const INSIDE_TLS: &[(&[&str], &str)] = &[
    (
        &["tls", "ssl", "certificate", "certificates", "cert", "key", "private_key"],
        "TLS is passed through, so certificates and keys belong to the servers; leave it out",
    ),
    (
        &["path", "location", "locations", "headers", "header"],
        "requests are inside TLS, so a route is chosen by SNI alone; paths belong in health_check or routes.NAME.http",
    ),
];

/// The error for a key that `object` does not know.
pub(super) fn remedy(key: &str, object: &'static Object) -> String {
    if let Some(name) = meant_here(key, object) {
        return format!("unknown key; did you mean {name:?}?");
    }
    if let Some((_, why)) = INSIDE_TLS.iter().find(|(keys, _)| keys.contains(&key)) {
        return format!("unknown key; {why}");
    }
    let owners: Vec<_> = keys::all_objects().into_iter().filter(|owner| owner.has(key)).collect();
    match owners.as_slice() {
        [] => {}
        [owner] => return format!("is {}; write it in {}", owner.keys_are, owner.place),
        owners => {
            let places: Vec<_> = owners.iter().map(|owner| owner.place).collect();
            return format!("is not a key here; write it in {}", places.join(" or "));
        }
    }
    if let Some((owner, name)) = meant_elsewhere(key) {
        return format!("unknown key; did you mean {name:?}, in {}?", owner.place);
    }
    let known: Vec<_> = object.names().filter(|name| !name.starts_with('$')).collect();
    format!("unknown key; known here: {}", known.join(", "))
}

/// The key of `object` that an unknown key probably means.
pub(super) fn meant_here(key: &str, object: &'static Object) -> Option<&'static str> {
    if object.has(key) {
        return None;
    }
    let small = key.to_ascii_lowercase();
    let mut ours = SYNONYMS.iter().filter(|(theirs, _)| *theirs == small).map(|(_, ours)| *ours);
    if let Some(ours) = ours.find(|ours| object.has(ours)) {
        return Some(ours);
    }
    if let Some(near) = object.names().find(|name| strsim::levenshtein(name, &small) <= 1) {
        return Some(near);
    }
    // A key that is valid elsewhere is in the wrong place, and not a typing error.
    let is_elsewhere = SYNONYMS.iter().any(|(theirs, _)| *theirs == small)
        || keys::all_objects().into_iter().any(|owner| owner.has(key));
    if is_elsewhere { None } else { alike(&small, object.names()) }
}

/// The key of another object that an unknown key probably means.
fn meant_elsewhere(key: &str) -> Option<(&'static Object, &'static str)> {
    let small = key.to_ascii_lowercase();
    let objects = keys::all_objects();
    let owner_of = |name: &'static str| Some((*objects.iter().find(|owner| owner.has(name))?, name));
    let synonym = SYNONYMS.iter().find(|(theirs, _)| *theirs == small);
    let name = synonym.map(|(_, ours)| *ours);
    name.or_else(|| alike(&small, objects.iter().flat_map(|owner| owner.names()))).and_then(owner_of)
}

/// The name most like `word`, if any is alike enough.
pub(super) fn alike<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let alike = names.map(|name| (strsim::jaro(word, name), name));
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > ALIKE).map(|(_, name)| name)
}

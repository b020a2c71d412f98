//! What was meant by a key that is not known where it stands.
use super::keys::{self, Object};

/// Names this much alike, of 0 to 1, are taken for a slip of the pen; clap's own measure for its arguments.
const ALIKE: f64 = 0.7;
/// The same across objects, where there are more names to be alike by chance.
const ALIKE_ELSEWHERE: f64 = 0.9;

/// What other programs and people call our keys.
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
    ("maxconn", "max_connections"),
    ("max_conn", "max_connections"),
    ("maxconn", "connections"),
    ("max_connections", "connections"),
    ("host", "address"),
    ("ip", "address"),
    ("addr", "address"),
    ("url", "address"),
    ("device", "interface"),
    ("dev", "interface"),
    ("idle", "tunnel"),
    ("idle_timeout", "tunnel"),
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

/// The error for a key that `object` does not know.
pub(super) fn remedy(key: &str, object: &'static Object) -> String {
    let owners: Vec<_> = keys::all_objects().into_iter().filter(|owner| owner.has(key)).collect();
    if let Some(name) = meant_here(key, object) {
        return format!("unknown key; did you mean {name:?}?");
    }
    if let [owner] = owners.as_slice() {
        return format!("is {}; write it in {}", owner.keys_are, owner.place);
    }
    if !owners.is_empty() {
        let mut places: Vec<_> = owners.iter().map(|owner| owner.place).collect();
        places.dedup();
        return format!("is no key here; write it in {}", places.join(" or "));
    }
    let elsewhere = keys::all_objects().into_iter().find_map(|owner| Some((owner, meant_elsewhere(key, owner)?)));
    match elsewhere {
        Some((owner, name)) => format!("unknown key; did you mean {name:?}, in {}?", owner.place),
        None => format!("unknown key; known here: {}", object.names().collect::<Vec<_>>().join(", ")),
    }
}

/// The key of `object` that an unknown key is taken for.
pub(super) fn meant_here(key: &str, object: &'static Object) -> Option<&'static str> {
    if object.has(key) {
        return None;
    }
    // What is spelt right, but of another object, is not a slip of the pen.
    let is_elsewhere = keys::all_objects().into_iter().any(|owner| owner.has(key));
    synonym(key, object).or_else(|| alike(key, object, if is_elsewhere { ALIKE_ELSEWHERE } else { ALIKE }))
}

fn meant_elsewhere(key: &str, object: &'static Object) -> Option<&'static str> {
    synonym(key, object).or_else(|| alike(key, object, ALIKE_ELSEWHERE))
}

fn synonym(key: &str, object: &'static Object) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    SYNONYMS.iter().find(|(other, ours)| *other == key && object.has(ours)).map(|(_, ours)| *ours)
}

fn alike(key: &str, object: &'static Object, enough: f64) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    let alike = object.names().map(|name| (strsim::jaro(&key, name), name));
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > enough).map(|(_, name)| name)
}

//! The difference between two texts of a configuration, key by key.
use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// A line for each key that differs, in the words of the file. Two equal texts give no line.
#[must_use]
pub fn diff(old: &str, new: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let read = |text| serde_json::from_str(text).unwrap_or_default();
    values("", &read(old), &read(new), &mut lines);
    lines
}

/// The most keys that a summary names.
const MAX_NAMED: usize = 6;

/// The keys of these lines in one line, for the log.
#[must_use]
pub fn summary(lines: &[String]) -> String {
    if lines.is_empty() {
        return "no key has changed".to_owned();
    }
    let key = |line: &String| line.split_once(": ").map_or(line.clone(), |(key, _)| key.replacen(' ', "", 1));
    let mut keys: Vec<String> = lines.iter().map(key).collect();
    keys.dedup();
    let more = keys.len().saturating_sub(MAX_NAMED);
    keys.truncate(MAX_NAMED);
    let more = if more > 0 { format!(" and {}", super::count(more, "more change")) } else { String::new() };
    keys.join(", ") + &more
}

fn values(path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Null, new) => lines.push(format!("+ {path}: {new}")),
        (old, Value::Null) => lines.push(format!("- {path}: {old}")),
        (Value::Object(old), Value::Object(new)) => objects(path, old, new, lines),
        (Value::Array(old), Value::Array(new)) => lists(path, old, new, lines),
        (old, new) => lines.push(format!("~ {path}: {old} -> {new}")),
    }
}

fn objects(path: &str, old: &Map<String, Value>, new: &Map<String, Value>, lines: &mut Vec<String>) {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let of = |object: &Map<String, Value>| object.get(key).cloned().unwrap_or_default();
        values(&path, &of(old), &of(new), lines);
    }
}

/// Entries are matched by name or address, so an entry inserted in front does not change all that follow.
fn lists(path: &str, old: &[Value], new: &[Value], lines: &mut Vec<String>) {
    for entry in old {
        match new.iter().find(|other| name(other) == name(entry)) {
            Some(other) => values(&format!("{path}[{}]", name(entry)), entry, other, lines),
            None => lines.push(format!("- {path}: {entry}")),
        }
    }
    for entry in new.iter().filter(|entry| !old.iter().any(|other| name(other) == name(entry))) {
        lines.push(format!("+ {path}: {entry}"));
    }
    // The first backup that is up is used, and the first exact name is probed.
    let kept = |of: &[Value], other: &[Value]| -> Vec<Value> {
        of.iter().map(name).filter(|one| other.iter().any(|entry| name(entry) == *one)).cloned().collect()
    };
    if kept(old, new) != kept(new, old) {
        lines.push(format!("~ {path}: another order"));
    }
}

fn name(entry: &Value) -> &Value {
    entry.get("name").or_else(|| entry.get("address")).unwrap_or(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a reload of thousands of routes is a line of megabytes.
    #[test]
    fn a_summary_is_bounded() {
        let lines: Vec<_> = (0..9).map(|n| format!("+ routes.r{n}: {{}}")).collect();
        assert_eq!(
            summary(&lines),
            "+routes.r0, +routes.r1, +routes.r2, +routes.r3, +routes.r4, +routes.r5 and 3 more changes"
        );
        assert_eq!(summary(&[]), "no key has changed");
    }

    /// Without this, an operator reloads blindly, or is shown a change where there is none.
    #[test]
    fn each_key_that_differs_has_a_line() {
        let old = r#"{ "listen": ["0.0.0.0:443"], "routes": { "a": { "sni": ["a.b"], "servers": ["10.0.0.1:443",
            { "name": "two", "address": "10.0.0.2:443" }] }, "b": { "sni": ["b.c"], "servers": ["10.0.0.3:443"] } } }"#;
        let new = r#"{ "retries": 1, "listen": ["0.0.0.0:443"], "routes": { "a": { "sni": ["a.b"], "servers": [
            "10.0.0.9:443", "10.0.0.1:443", { "name": "two", "address": "10.0.0.2:443", "weight": 3 }],
            "timeouts": { "tunnel": "1h" } } } }"#;
        assert_eq!(
            diff(old, new),
            [
                "+ retries: 1",
                "+ routes.a.servers[\"two\"].weight: 3",
                "+ routes.a.servers: \"10.0.0.9:443\"",
                "+ routes.a.timeouts: {\"tunnel\":\"1h\"}",
                "- routes.b: {\"servers\":[\"10.0.0.3:443\"],\"sni\":[\"b.c\"]}",
            ]
        );
        assert_eq!(
            summary(&diff(old, new)),
            "+retries, +routes.a.servers[\"two\"].weight, +routes.a.servers, +routes.a.timeouts, -routes.b"
        );
        assert_eq!(diff(old, old), Vec::<String>::new());
        assert_eq!(diff("{\"retries\": 1}", "{\n\"retries\": 2}"), ["~ retries: 1 -> 2"]);
    }

    /// Without this, a reload that makes another backup the first is said to change nothing, or one that adds or removes a
    /// server to change the order of the others.
    #[test]
    fn another_order_is_told_and_no_other() {
        let said = |old: &[&str], new: &[&str]| {
            let file = |servers: &[&str]| format!("{{ \"servers\": [{}] }}", servers.join(", "));
            diff(&file(old), &file(new))
        };
        let [a, b, c] = [r#""10.0.0.1:443""#, r#"{ "name": "b", "weight": 1 }"#, r#"{ "address": "10.0.0.3:443" }"#];
        let order = "~ servers: another order";
        assert_eq!(said(&[a, b, c], &[a, c, b]), [order]);
        assert_eq!(said(&[a, b], &[b, a, c]), [r#"+ servers: {"address":"10.0.0.3:443"}"#, order]);
        assert_eq!(
            said(&[a, b], &[r#"{ "name": "b", "weight": 2 }"#, a]),
            ["~ servers[\"b\"].weight: 1 -> 2", order],
            "an entry that changes besides"
        );
        for (old, new) in [(&[b, c][..], &[a, b, c][..]), (&[a, c], &[a, b, c])] {
            assert_eq!(said(old, new).len(), 1, "an insertion: {:?}", said(old, new));
            assert_eq!(said(new, old).len(), 1, "a removal: {:?}", said(new, old));
        }
        assert_eq!(said(&[a, b], &[c, b]).len(), 2, "one in place of another");
    }
}

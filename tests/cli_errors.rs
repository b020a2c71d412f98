//! Every error text of a configuration, word for word: an operator has nothing else to go by.
#![expect(clippy::panic, reason = "a section that is not there is a mistake in the list")]
use std::fmt::Write as _;

use fiscalismia_lb::config::{parse, schema};

const CASES: &str = include_str!("cli_errors.txt");

/// A good file but for `text`, which goes where `section` says.
fn file(section: &str, text: &str) -> String {
    let routes = |routes: &str| format!(r#"{{ "listen": ["0.0.0.0:443"], "routes": {{ {routes} }} }}"#);
    let route = |keys: &str| routes(&format!(r#""r": {{ {keys} }}"#));
    let servers = |servers: &str| route(&format!(r#""sni": ["a.example"], "servers": [{servers}]"#));
    let good = r#""r": { "sni": ["a.example"], "servers": ["172.24.0.3:443"] }"#;
    match section {
        "File" => text.to_owned(),
        "Top" => format!(r#"{{ "listen": ["0.0.0.0:443"], "routes": {{ {good} }}, {text} }}"#),
        "Listen" => format!(r#"{{ "listen": {text}, "routes": {{ {good} }} }}"#),
        "Routes" => routes(text),
        "Route" => route(&format!(r#""sni": ["a.example"], "servers": ["172.24.0.3:443"], {text}"#)),
        "Sni" => route(&format!(r#""servers": ["172.24.0.3:443"], "sni": [{text}]"#)),
        "Servers" => servers(text),
        "Server" => servers(&format!(r#"{{ "address": "172.24.0.3:443", {text} }}"#)),
        other => panic!("no such section: {other}"),
    }
}

/// Without this, an error text that changes may lose its place or its remedy unseen. `BLESS=1` writes the list anew.
#[test]
fn every_error_text() {
    let (mut section, mut said, mut errors_in_list) = ("", String::new(), 0);
    for line in CASES.lines().filter(|line| !line.starts_with("    ")) {
        writeln!(said, "{line}").unwrap();
        if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]  ")) {
            section = name;
        } else if !line.is_empty() && !line.starts_with('#') {
            for error in parse("lb.json", &file(section, line)).err().unwrap_or_default() {
                writeln!(said, "    {}", error.to_string().strip_prefix("lb.json: ").unwrap()).unwrap();
                errors_in_list += 1;
            }
        }
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli_errors.txt"), said).unwrap();
        return;
    }
    for (number, (said, expected)) in said.lines().zip(CASES.lines()).enumerate() {
        assert_eq!(said, expected, "line {} of cli_errors.txt", number + 1);
    }
    assert_eq!(said.len(), CASES.len());
    assert!(errors_in_list > 150, "only {errors_in_list} errors in the list");
}

/// Without this, an editor marks good files as wrong.
#[test]
fn schema_takes_what_is_good() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    let (mut section, mut good, mut refused) = ("", 0, 0);
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with("    ") && !line.starts_with('#')) {
        if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]  ")) {
            section = name;
            continue;
        }
        let text = file(section, line);
        let Ok(json) = serde_json::from_str(&text) else { continue };
        if parse("lb.json", &text).is_ok() {
            assert!(schema.is_valid(&json), "{text}: {:?}", schema.iter_errors(&json).next().map(|e| e.to_string()));
            good += 1;
        } else if !schema.is_valid(&json) {
            refused += 1;
        }
    }
    // Two routes for one name, say, are beyond what a schema can tell.
    assert!(good > 5 && refused > 100, "{good} {refused}");
}

/// Without this, an editor marks the examples as wrong.
#[test]
fn schema_takes_the_examples() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut checked = 0;
    for path in paths.filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let json = serde_json::from_str(&text).unwrap();
        assert!(schema.is_valid(&json), "{}: {:?}", path.display(), schema.validate(&json).map_err(|e| e.to_string()));
        assert!(parse("example", &text).is_ok(), "{}", path.display());
        checked += 1;
    }
    assert!(checked > 0);
}

/// Without this, the longest good value is refused, or one character more is taken. These values are too long for the
/// list of errors.
#[test]
fn longest_names() {
    let name = |label: usize, last: usize| format!("\"{0}.{0}.{0}.{1}\"", "a".repeat(label), "b".repeat(last));
    let said = |section: &str, text: &str| {
        let errors = parse("lb.json", &file(section, text)).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(said("Sni", &name(63, 61)), "");
    let long = name(63, 62);
    assert_eq!(
        said("Sni", &long),
        format!("lb.json: routes.r.sni[0]: {long} is 254 characters long; write at most 253")
    );
    let label = "a".repeat(64);
    assert_eq!(
        said("Sni", &format!("\"{label}.example\"")),
        format!(
            "lb.json: routes.r.sni[0]: \"{label}.example\" has a label of 64 characters, \"{label}\"; write at most 63"
        )
    );
    let longest = format!("\"name\": \"{}\"", "s".repeat(255));
    assert_eq!(
        (said("Server", &longest), said("Route", &format!("\"alpn\": [\"{}\"]", "h".repeat(255)))),
        Default::default()
    );
    let protocol = "h".repeat(256);
    assert_eq!(
        said("Route", &format!("\"alpn\": [\"{protocol}\"]")),
        format!(
            "lb.json: routes.r.alpn[0]: \"{protocol}\" is 256 bytes long; write a protocol of 1 to 255 bytes, \
             like \"h2\" or \"http/1.1\""
        )
    );
    let server = "s".repeat(256);
    assert_eq!(
        said("Server", &format!("\"name\": \"{server}\"")),
        format!("lb.json: routes.r.servers[0].name: \"{server}\" is 256 characters long; write at most 255")
    );
}

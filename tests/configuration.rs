//! The tables of docs/configuration.md against the table of keys. tests/docs.rs checks the rest of the page.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests throughout")]
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use fiscalismia_lb::config::schema;
use serde_json::{Value, json};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");

/// The schema of every object, by its path as people write it.
fn objects() -> BTreeMap<String, Value> {
    let (mut objects, mut open) = (BTreeMap::new(), vec![(String::new(), schema())]);
    while let Some((path, schema)) = open.pop() {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            open.push((below(key), schema.clone()));
        }
        if schema["additionalProperties"].is_object() {
            open.push((below("NAME"), schema["additionalProperties"].clone()));
        }
        if let Some(either) = schema["items"]["anyOf"].as_array() {
            open.push((format!("{path}[]"), either[1].clone()));
        }
        if schema["properties"].is_object() {
            objects.insert(path, schema);
        }
    }
    // Its keys are those of the file's own.
    objects.remove("routes.NAME.health_check");
    objects
}

/// The table of an object's keys, those that have to be there first.
fn table(object: &Value) -> String {
    let is_required = |key: &str| object["required"].as_array().unwrap().contains(&json!(key));
    let mut keys: Vec<_> = object["properties"].as_object().unwrap().iter().collect();
    keys.sort_by_key(|(key, _)| !is_required(key));
    let mut table = "| key | value | meaning | default |\n|---|---|---|---|\n".to_owned();
    for (key, schema) in keys {
        let description = schema["description"].as_str().unwrap();
        let (meaning, words) = description.split_once(" Default: ").unwrap_or((description, ""));
        let default = match (schema.get("default"), is_required(key)) {
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "required".to_owned(),
            (None, false) => words.trim_end_matches('.').to_owned(),
        };
        writeln!(table, "| `{key}` | {} | {meaning} | {default} |", value(schema)).unwrap();
    }
    table
}

/// What may stand there, in a few words.
fn value(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().filter(|word| !word.is_null()).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    let kind = schema["type"][0].as_str().or(schema["type"].as_str()).unwrap_or_default();
    match kind {
        "integer" => format!("{} to {}", schema["minimum"], schema["maximum"]),
        "boolean" => "`true`, `false`".to_owned(),
        "string" if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("[a-zA-Z]+( *")) => {
            "duration".to_owned()
        }
        "array" if schema["items"]["enum"].is_array() => format!("list of {}", value(&schema["items"])),
        "array" => "list".to_owned(),
        other => other.to_owned(),
    }
}

/// Without this, the page lacks a key, or describes it otherwise than the program. `BLESS=1` writes the tables anew.
#[test]
fn tables_are_those_of_the_code() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (mut objects, mut fresh) = (objects(), String::new());
    let mut rest = page.as_str();
    while let Some((before, after)) = rest.split_once("<!-- keys:") {
        let (path, after) = after.split_once("-->\n").unwrap();
        let object = objects.remove(path.trim()).unwrap_or_else(|| panic!("no object is at {path}"));
        writeln!(fresh, "{before}<!-- keys:{path}-->\n\n{}", table(&object)).unwrap();
        rest = after.trim_start_matches('\n');
        while let Some((_, after)) = rest.split_once('\n').filter(|(line, _)| line.starts_with('|')) {
            rest = after;
        }
        rest = rest.trim_start_matches('\n');
    }
    fresh += rest;
    assert!(objects.is_empty(), "the page has no `<!-- keys: PATH -->` for {:?}", objects.keys());
    if std::env::var_os("BLESS").is_some() {
        fs::write(PAGE, fresh).unwrap();
        return;
    }
    for (said, expected) in page.lines().zip(fresh.lines()) {
        assert_eq!(said, expected);
    }
    assert_eq!(page, fresh);
}

//! The JSON Schema against the parser: both come from the table of keys.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests throughout")]
use fiscalismia_lb::config::{Config, parse, schema};
use serde_json::{Value, json};

/// A key of the schema.
struct Key {
    /// Its path in `good_file`.
    path: Vec<String>,
    schema: Value,
    is_required: bool,
}

fn keys() -> Vec<Key> {
    let (mut keys, mut open) = (Vec::new(), vec![(Vec::new(), schema())]);
    while let Some((path, object)) = open.pop() {
        let below = |key: &str| [path.clone(), vec![key.to_owned()]].concat();
        for (key, schema) in object["properties"].as_object().into_iter().flatten() {
            let is_required = object["required"].as_array().unwrap().contains(&json!(key));
            open.push((below(key), schema.clone()));
            keys.push(Key { path: below(key), schema: schema.clone(), is_required });
        }
        if object["additionalProperties"].is_object() {
            open.push((below("r"), object["additionalProperties"].clone()));
        }
        if let Some(either) = object["items"]["anyOf"].as_array() {
            open.push((below("0"), either[1].clone()));
        }
    }
    keys
}

/// A file with a route `r`, and an object wherever a key may stand.
fn good_file() -> Value {
    json!({
        "listen": ["0.0.0.0:443"],
        "redirect": { "listen": ["0.0.0.0:80"] },
        "accept_proxy": { "from": ["10.0.0.0/8"] },
        "limits": { "per_source": { "rate": 1, "concurrent": 1 } },
        "admin": { "stats_credentials": { "username_file": "/u", "password_file": "/p" } },
        "routes": { "r": { "sni": ["a.example"], "servers": [{ "address": "172.24.0.3:443" }],
                           "http": { "paths": ["/x"] }, "health_check": { "type": "http" } } },
    })
}

fn place<'v>(file: &'v mut Value, path: &[String]) -> &'v mut Value {
    path.iter().fold(file, |place, key| match key.parse::<usize>() {
        Ok(index) => &mut place[index],
        Err(_) => &mut place[key],
    })
}

/// What comes of a good file that has `value` at `path`.
fn with(path: &[String], value: Value) -> Result<Config, Vec<String>> {
    let mut file = good_file();
    *place(&mut file, path) = value;
    read(&file)
}

/// Without this, schema and documentation have a key that the parser never reads.
#[test]
fn every_key_is_read() {
    let keys = keys();
    assert!(keys.len() > 50, "only {} keys", keys.len());
    for Key { path, schema, .. } in keys {
        let wrong = if schema["type"][0] == "boolean" { json!(3) } else { json!(true) };
        let path_in_file = path.join(".").replace("$schema", "\"$schema\"").replace(".0.", "[0].");
        let errors = with(&path, wrong).unwrap_err();
        assert!(errors[0].starts_with(&format!("lb.json: {path_in_file}: ")), "{path_in_file} {errors:?}");
    }
}

fn read(file: &Value) -> Result<Config, Vec<String>> {
    let config = parse("lb.json", &file.to_string());
    config.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// Without this, schema and documentation have a default that the program does not use.
#[test]
fn defaults_hold() {
    let with_defaults = keys().into_iter().filter(|key| key.schema.get("default").is_some());
    let mut compared = 0;
    for Key { path, schema, .. } in with_defaults {
        assert_eq!(with(&path, schema["default"].clone()), with(&path, Value::Null), "{path:?}");
        compared += 1;
    }
    assert!(compared > 25, "only {compared} defaults");
}

/// Without this, a configuration written by Nix is refused: Nix writes null for an option that is not set.
#[test]
fn null_counts_as_not_given() {
    for Key { path, is_required, .. } in keys() {
        let mut without = good_file();
        let (key, object) = path.split_last().unwrap();
        place(&mut without, object).as_object_mut().map(|object| object.remove(key));
        let without = read(&without);
        // The good file's route has no addresses of its own, and takes plain HTTP.
        let needed_here = ["listen", "redirect", "redirect.listen", "routes.r.sni"];
        let is_needed = is_required || needed_here.contains(&&*path.join("."));
        assert_eq!(without.is_err(), is_needed, "{path:?}");
        assert_eq!(with(&path, Value::Null), without, "{path:?}");
    }
}

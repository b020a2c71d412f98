//! The one table of keys, from which parser, schema and documentation are made. One file for each object of the
//! configuration.
//!
//! A new key is a static here and a line in its object's list; the reader asks for it by that static. Range and default
//! of a key are written here and nowhere else.
use serde_json::{Map, Value as Json, json};

use super::kinds::{Kind, nullable};
use super::tree::Value;

pub(in crate::config) mod accept_proxy;
pub(in crate::config) mod admin;
pub(in crate::config) mod control;
pub(in crate::config) mod health_check;
pub(in crate::config) mod http;
pub(in crate::config) mod limits;
pub(in crate::config) mod logging;
pub(in crate::config) mod redirect;
pub(in crate::config) mod root;
pub(in crate::config) mod route;
pub(in crate::config) mod server;
pub(in crate::config) mod timeouts;

/// A key of an object.
pub(in crate::config) struct Key<K: Kind> {
    pub(in crate::config) name: &'static str,
    /// Description for operators, a sentence or two. It is shown alone, in schema and docs.
    what: &'static str,
    pub(in crate::config) kind: K,
    absent: Absent<K::Default>,
}

/// What applies where the file does not have the key.
pub(in crate::config) enum Absent<T> {
    /// The key is required.
    Required,
    /// This default.
    Is(T),
    /// What these words say.
    Means(&'static str),
}

/// An object of the file, and what it is called in errors.
pub(in crate::config) struct Object {
    /// The owner of its keys, as an error calls it: "a route's key".
    pub(in crate::config) keys_are: &'static str,
    /// Its place in a file.
    pub(in crate::config) place: &'static str,
    pub(in crate::config) keys: &'static [&'static dyn Entry],
}

/// A key, whatever its kind.
pub(in crate::config) trait Entry: Sync {
    fn name(&self) -> &'static str;

    /// The JSON Schema of the value, with what the key means and its default.
    fn schema(&self) -> Json;

    fn is_required(&self) -> bool;

    /// As [`Kind::adopt`].
    fn adopt(&self, value: &Value) -> Option<String>;

    fn object(&self) -> Option<&'static Object>;
}

impl<K: Kind> Key<K> {
    const fn new(name: &'static str, what: &'static str, kind: K, absent: Absent<K::Default>) -> Key<K> {
        Key { name, what, kind, absent }
    }
}

impl<K: Kind> Entry for Key<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema(&self) -> Json {
        let mut schema = self.kind.schema();
        if !self.is_required() {
            nullable(&mut schema);
        }
        let (description, default) = match &self.absent {
            Absent::Required => (self.what.to_owned(), None),
            Absent::Is(value) => (self.what.to_owned(), Some(self.kind.write(value))),
            Absent::Means(words) => (format!("{} Default: {words}.", self.what), None),
        };
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), json!(description));
            schema.extend(default.map(|default| ("default".to_owned(), default)));
        }
        schema
    }

    fn is_required(&self) -> bool {
        matches!(self.absent, Absent::Required)
    }

    fn adopt(&self, value: &Value) -> Option<String> {
        self.kind.adopt(value)
    }

    fn object(&self) -> Option<&'static Object> {
        self.kind.object()
    }
}

impl Object {
    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known.name() == key)
    }

    pub(in crate::config) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name())
    }

    /// What would be right where `value` stands in place of this object.
    pub(in crate::config) fn in_place_of(&self, value: &Value) -> String {
        let required = self.keys.iter().filter(|key| key.is_required()).map(|key| format!("{:?}", key.name()));
        let required: Vec<_> = required.collect();
        if !required.is_empty() {
            return format!("an object with {}", required.join(" and "));
        }
        let adopted = self.keys.iter().find_map(|key| Some((key.name(), key.adopt(value)?)));
        match (adopted, value) {
            (Some((name, value)), _) => format!("{{ {name:?}: {value} }}"),
            (None, Value::Bool(false)) if self.has("type") => "{ \"type\": \"off\" }".to_owned(),
            _ => {
                let names: Vec<_> = self.names().filter(|name| !name.starts_with('$')).collect();
                let more = if names.len() > 1 { ", ..." } else { "" };
                format!("an object: {{ {:?}: ...{more} }}", names.first().copied().unwrap_or_default())
            }
        }
    }

    /// The JSON Schema of the object.
    pub(in crate::config) fn schema(&self) -> Json {
        let properties: Map<_, _> = self.keys.iter().map(|key| (key.name().to_owned(), key.schema())).collect();
        let required: Vec<_> = self.keys.iter().filter(|key| key.is_required()).map(|key| key.name()).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    /// This object and every object below it, each once.
    fn with_all_below(&'static self) -> Vec<&'static Object> {
        let mut found = vec![self];
        for object in self.keys.iter().filter_map(|key| key.object()).flat_map(Object::with_all_below) {
            if !found.iter().any(|known| std::ptr::eq(*known, object)) {
                found.push(object);
            }
        }
        found
    }
}

/// Every object that a file can hold.
pub(in crate::config) fn all_objects() -> Vec<&'static Object> {
    root::OBJECT.with_all_below()
}

/// The JSON Schema of a configuration file (draft 2020-12).
#[must_use]
pub fn schema() -> Json {
    let mut schema = root::OBJECT.schema();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!("Configuration of fiscalismia-lb"));
    }
    schema
}

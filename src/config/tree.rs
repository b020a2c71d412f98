//! JSON as written. Order and duplicate keys are kept, so that the readers can report duplicates.
//!
//! A derived `Deserialize` stops at the first error, and an operator needs all of them. So serde builds only this tree;
//! the readers walk it and go on after an error.
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A JSON value.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Value>),
    Object(Vec<(KeyText, Value)>),
}

impl fmt::Display for Value {
    /// As JSON, with objects abbreviated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => value.fmt(f),
            Value::Number(value) => value.fmt(f),
            Value::String(value) => write!(f, "{value:?}"),
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Value::Object(_) => f.write_str("{ ... }"),
        }
    }
}

/// A key as written.
#[derive(Debug)]
pub(super) struct KeyText {
    pub(super) name: String,
    /// The address of the key within the text; `None` for a key with escapes, which serde copies.
    address: Option<usize>,
}

impl KeyText {
    /// The offset of the key in `text`, which must be the text it was read from.
    pub(super) fn offset_in(&self, text: &str) -> Option<usize> {
        self.address?.checked_sub(text.as_ptr().addr())
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyText, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = KeyText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<KeyText, E> {
        Ok(KeyText { name: key.to_owned(), address: Some(key.as_ptr().addr()) })
    }

    fn visit_str<E>(self, key: &str) -> Result<KeyText, E> {
        Ok(KeyText { name: key.to_owned(), address: None })
    }
}

impl Value {
    /// Whether the value counts as missing.
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The error for a value of the wrong type; `wanted` completes "write ...".
    pub(super) fn is_not(&self, wanted: impl fmt::Display) -> String {
        let is = match self {
            Value::Null => "this is null".to_owned(),
            Value::Bool(value) => format!("{value} is a boolean"),
            Value::Number(value) => format!("{value} is a number"),
            Value::String(value) => format!("{value:?} is a string"),
            Value::List(_) => "this is a list".to_owned(),
            Value::Object(_) => "this is an object".to_owned(),
        };
        format!("{is}; write {wanted}")
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Object(entries))
    }
}

//! The kinds of values. A kind both reads a value and describes it for the schema, so the two cannot disagree.
use std::convert::Infallible;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::keys::Object;
use super::tree::Value;
use super::values;

/// A kind of value that the file can hold.
pub(super) trait Kind: Sync {
    /// The type of the default; `Infallible` if there is no such value.
    type Default: Sync;

    /// The JSON Schema of a value.
    fn schema(&self) -> Json;

    /// The default as the file would write it.
    fn write(&self, default: &Self::Default) -> Json;

    /// The object that the operator meant by `value`, written in place of an object with a key of this kind; `None` if
    /// that cannot be guessed.
    fn adopt(&self, _value: &Value) -> Option<String> {
        None
    }

    /// Whether a list of this kind may have `value` as an item; false if that cannot be guessed.
    fn would_take(&self, _value: &Value) -> bool {
        false
    }

    /// The object that this kind holds: itself, in a list, or under names.
    fn object(&self) -> Option<&'static Object> {
        None
    }
}

/// A kind that is read from one value. Its error says what is wrong and what would be right.
pub(super) trait Leaf: Kind {
    type Value;

    fn read(&self, value: &Value) -> Result<Self::Value, String>;
}

/// `true` or `false`.
pub(super) struct Boolean;

/// A whole number within a range.
pub(super) struct Integer<T>(pub(super) RangeInclusive<T>);

/// A duration within a range.
pub(super) struct Span(pub(super) RangeInclusive<Duration>);

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

/// A string. `pattern` is a regular expression for the schema, never stricter than `read`.
pub(super) struct Text<T> {
    pub(super) read: fn(&Value) -> Result<T, String>,
    pub(super) pattern: &'static str,
}

/// Two numbers, the lower first.
pub(super) struct Pair(pub(super) RangeInclusive<u16>);

/// A list of items of one kind, at least `least` of them.
pub(super) struct List<K> {
    pub(super) of: K,
    pub(super) least: usize,
}

/// An object with known keys.
pub(super) struct Group(pub(super) &'static Object);

/// An object whose keys are names, at least one, and whose values are objects with known keys.
pub(super) struct Named(pub(super) &'static Object);

/// A single value, or an object with known keys.
pub(super) struct Either<K>(pub(super) K, pub(super) &'static Object);

impl Kind for Boolean {
    type Default = bool;

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }

    fn write(&self, value: &bool) -> Json {
        json!(value)
    }
}

impl Leaf for Boolean {
    type Value = bool;

    fn read(&self, value: &Value) -> Result<bool, String> {
        values::boolean(value)
    }
}

impl<T: Copy + Display + PartialOrd + TryFrom<u64> + Into<u64> + Sync> Kind for Integer<T> {
    type Default = T;

    fn schema(&self) -> Json {
        let (least, most): (u64, u64) = ((*self.0.start()).into(), (*self.0.end()).into());
        json!({ "type": "integer", "minimum": least, "maximum": most })
    }

    fn write(&self, value: &T) -> Json {
        let number: u64 = (*value).into();
        json!(number)
    }
}

impl<T: Copy + Display + PartialOrd + TryFrom<u64> + Into<u64> + Sync> Leaf for Integer<T> {
    type Value = T;

    fn read(&self, value: &Value) -> Result<T, String> {
        values::integer(&self.0, value)
    }
}

impl Kind for Span {
    type Default = Duration;

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+ *[a-zA-Z]+( *[0-9]+ *[a-zA-Z]+)*$" })
    }

    fn write(&self, value: &Duration) -> Json {
        json!(humantime::format_duration(*value).to_string())
    }
}

impl Leaf for Span {
    type Value = Duration;

    fn read(&self, value: &Value) -> Result<Duration, String> {
        values::duration(&self.0, value)
    }
}

impl<T: Copy + PartialEq + Sync> Kind for Choice<T> {
    type Default = T;

    fn schema(&self) -> Json {
        json!({ "enum": self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
    }

    fn adopt(&self, value: &Value) -> Option<String> {
        self.read(value).is_ok().then(|| value.to_string())
    }

    fn write(&self, value: &T) -> Json {
        json!(self.0.iter().find(|(_, choice)| choice == value).map(|(word, _)| *word))
    }
}

impl<T: Copy + PartialEq + Sync> Leaf for Choice<T> {
    type Value = T;

    fn read(&self, value: &Value) -> Result<T, String> {
        values::choice(self.0, value)
    }
}

impl<T> Kind for Text<T> {
    type Default = &'static str;

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": self.pattern })
    }

    fn would_take(&self, value: &Value) -> bool {
        self.read(value).is_ok()
    }

    fn write(&self, value: &&'static str) -> Json {
        json!(value)
    }
}

impl<T> Leaf for Text<T> {
    type Value = T;

    fn read(&self, value: &Value) -> Result<T, String> {
        (self.read)(value)
    }
}

impl Kind for Pair {
    type Default = [u16; 2];

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": Integer(self.0.clone()).schema(), "minItems": 2, "maxItems": 2 })
    }

    fn write(&self, value: &[u16; 2]) -> Json {
        json!(value)
    }
}

impl Leaf for Pair {
    type Value = [u16; 2];

    fn read(&self, value: &Value) -> Result<[u16; 2], String> {
        values::pair(&self.0, value)
    }
}

impl<K: Kind> Kind for List<K> {
    type Default = Infallible;

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": self.of.schema(), "minItems": self.least })
    }

    fn adopt(&self, value: &Value) -> Option<String> {
        match value {
            Value::List(items) => {
                (!items.is_empty() && items.iter().all(|item| self.of.would_take(item))).then(|| value.to_string())
            }
            item => self.of.would_take(item).then(|| format!("[{item}]")),
        }
    }

    fn write(&self, never: &Infallible) -> Json {
        match *never {}
    }

    fn object(&self) -> Option<&'static Object> {
        self.of.object()
    }
}

impl Kind for Group {
    type Default = Infallible;

    fn schema(&self) -> Json {
        self.0.schema()
    }

    fn write(&self, never: &Infallible) -> Json {
        match *never {}
    }

    fn object(&self) -> Option<&'static Object> {
        Some(self.0)
    }
}

impl Kind for Named {
    type Default = Infallible;

    fn schema(&self) -> Json {
        let mut object = self.0.schema();
        nullable(&mut object);
        json!({
            "type": "object",
            "propertyNames": { "pattern": values::NAME_PATTERN, "maxLength": values::MAX_NAME },
            "additionalProperties": object,
            "minProperties": 1,
        })
    }

    fn write(&self, never: &Infallible) -> Json {
        match *never {}
    }

    fn object(&self) -> Option<&'static Object> {
        Some(self.0)
    }
}

impl<K: Leaf> Kind for Either<K> {
    type Default = Infallible;

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.0.schema(), self.1.schema()] })
    }

    fn write(&self, never: &Infallible) -> Json {
        match *never {}
    }

    fn object(&self) -> Option<&'static Object> {
        Some(self.1)
    }
}

/// Allows null beside what the schema allows.
pub(super) fn nullable(schema: &mut Json) {
    if let Some(words) = schema.get_mut("enum").and_then(Json::as_array_mut) {
        words.push(Json::Null);
    } else if let Some(kind) = schema.get_mut("type") {
        *kind = json!([*kind, "null"]);
    }
}

//! Walks the tree and notes every error with its path.
//!
//! After an error a reader goes on with the default, so that all errors are found. The result of a file with errors is
//! thrown away.
use std::collections::HashMap;
use std::fmt;

use super::Error;
use super::keys::{Key, Object};
use super::kinds::{Either, Group, Kind, Leaf, List, Named};
use super::suggest::{meant_here, remedy};
use super::syntax::line_of;
use super::tree::{KeyText, Value};
use super::values::apart;

/// The errors found so far.
#[derive(Debug)]
pub(super) struct Report<'f> {
    file: &'f str,
    text: &'f str,
    errors: Vec<Error>,
}

/// Where a value stands in the file. Borrowed step by step, so that only an error costs an allocation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

/// An object whose keys are known beforehand. A key whose value is null counts as missing.
pub(super) struct Fields<'a, 'f> {
    path: &'a Path<'a>,
    entries: &'a [(KeyText, Value)],
    known: &'static Object,
    report: &'a mut Report<'f>,
}

impl<'f> Report<'f> {
    pub(super) fn new(file: &'f str, text: &'f str) -> Report<'f> {
        Report { file, text, errors: Vec::new() }
    }

    pub(super) fn add(&mut self, path: &Path<'_>, what: impl fmt::Display) {
        self.errors.push(Error::new(self.file, path, what));
    }

    /// `value`, if no error was noted.
    pub(super) fn conclude<T>(self, value: Option<T>) -> Result<T, Vec<Error>> {
        value.filter(|_| self.errors.is_empty()).ok_or(self.errors)
    }

    pub(super) fn take<T>(&mut self, path: &Path<'_>, result: Result<T, String>) -> Option<T> {
        result.map_err(|what| self.add(path, what)).ok()
    }
}

impl fmt::Display for Path<'_> {
    /// `routes.frontend.servers[1]`. A key with other characters is quoted: `routes."a.test".sni`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Path::Root => Ok(()),
            Path::Index(list, index) => write!(f, "{list}[{index}]"),
            Path::Key(object, key) => {
                let dot = if matches!(object, Path::Root) { "" } else { "." };
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
                if !key.is_empty() && key.bytes().all(plain) {
                    write!(f, "{object}{dot}{key}")
                } else {
                    write!(f, "{object}{dot}{key:?}")
                }
            }
        }
    }
}

/// Reads the object at `path`. Duplicate keys and keys that are not in the table are errors.
pub(super) fn object<T>(
    value: &Value,
    known: &'static Object,
    path: &Path<'_>,
    report: &mut Report<'_>,
    read: impl FnOnce(&mut Fields<'_, '_>) -> T,
) -> Option<T> {
    let entries = entries(value, path, report, || known.in_place_of(value))?;
    let mut fields = Fields { path, entries, known, report };
    let result = read(&mut fields);
    fields.refuse_unknown();
    Some(result)
}

fn entries<'v>(
    value: &'v Value,
    path: &Path<'_>,
    report: &mut Report<'_>,
    wanted: impl Fn() -> String,
) -> Option<&'v [(KeyText, Value)]> {
    let Value::Object(entries) = value else {
        report.add(path, value.is_not(wanted()));
        return None;
    };
    let mut seen = HashMap::with_capacity(entries.len());
    for (key, _) in entries {
        if let Some(first) = seen.insert(key.name.as_str(), key) {
            let line = first.offset_in(report.text).map(|at| format!(", first in line {}", line_of(report.text, at)));
            let what = format!("is written twice{}; keep one", line.unwrap_or_default());
            report.add(&Path::Key(path, &key.name), what);
        }
    }
    Some(entries)
}

impl<'f> Fields<'_, 'f> {
    /// The value of `key`, if the file has it and it is valid.
    pub(super) fn optional<K: Leaf>(&mut self, key: &'static Key<K>) -> Option<K::Value> {
        let value = key.kind.read(self.value(key)?);
        self.report.take(&Path::Key(self.path, key.name), value)
    }

    /// The value of `key`, or `default`.
    pub(super) fn or<K: Leaf>(&mut self, key: &'static Key<K>, default: K::Value) -> K::Value {
        self.optional(key).unwrap_or(default)
    }

    /// The value of `key`; a missing key is an error. `wanted` completes "write ...".
    pub(super) fn required<K: Leaf>(&mut self, key: &'static Key<K>, wanted: &str) -> Option<K::Value> {
        self.require(key, wanted);
        self.optional(key)
    }

    /// Notes an error if `key` is missing and no other key was taken for it. `wanted` completes "write ...".
    pub(super) fn require<K: Kind>(&mut self, key: &'static Key<K>, wanted: &str) {
        let misspelt =
            || self.entries.iter().any(|(key_text, _)| meant_here(&key_text.name, self.known) == Some(key.name));
        if !self.has(key) && !misspelt() {
            self.error(key, format_args!("is missing; write {wanted}"));
        }
    }

    /// The list under `key`, or an empty one. An invalid item is `None`, so that positions are those of the file.
    pub(super) fn list<K: Leaf>(&mut self, key: &'static Key<List<K>>) -> Vec<Option<K::Value>> {
        self.items(key, |item, path, report| report.take(path, key.kind.of.read(item)))
    }

    /// The list under `key`, whose items are values or objects.
    pub(super) fn list_of_either<K: Leaf, T>(
        &mut self,
        key: &'static Key<List<Either<K>>>,
        value: impl Fn(K::Value) -> T,
        object_of: impl Fn(&mut Fields<'_, '_>) -> Option<T>,
        wanted: &str,
    ) -> Vec<Option<T>> {
        let Either(leaf, known) = &key.kind.of;
        self.items(key, |item, path, report| match item {
            Value::String(_) => report.take(path, leaf.read(item)).map(&value),
            Value::Object(_) => object(item, known, path, report, &object_of)?,
            other => report.take(path, Err(other.is_not(wanted))),
        })
    }

    fn items<K: Kind, T>(
        &mut self,
        key: &'static Key<List<K>>,
        mut read: impl FnMut(&Value, &Path<'_>, &mut Report<'f>) -> Option<T>,
    ) -> Vec<Option<T>> {
        let path = Path::Key(self.path, key.name);
        match self.value(key) {
            None => Vec::new(),
            Some(Value::List(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| read(item, &Path::Index(&path, index), self.report))
                .collect(),
            Some(other) => {
                let items = if let Value::String(item) = other { apart(item) } else { " ... ".to_owned() };
                self.report.add(&path, other.is_not(format_args!("a list: [{items}]")));
                Vec::new()
            }
        }
    }

    /// Notes an error if the list under `key` is there and empty.
    pub(super) fn refuse_empty<K: Kind>(&mut self, key: &'static Key<List<K>>, wanted: &str) {
        if let Some(Value::List(items)) = self.value(key)
            && items.is_empty()
        {
            self.error(key, format_args!("is empty; {wanted}"));
        }
    }

    /// The object under `key`, if there is one.
    pub(super) fn object<T>(
        &mut self,
        key: &'static Key<Group>,
        read: impl FnOnce(&mut Fields<'_, '_>) -> T,
    ) -> Option<T> {
        object(self.value(key)?, key.kind.0, &Path::Key(self.path, key.name), self.report, read)
    }

    /// The object under `key`, whose keys are names and whose values are objects, in the order of the file. An empty
    /// object is an error; `wanted` says what would be right.
    pub(super) fn map<T>(
        &mut self,
        key: &'static Key<Named>,
        wanted: &str,
        mut read: impl FnMut(&str, &mut Fields<'_, '_>) -> T,
    ) -> Vec<T> {
        let path = Path::Key(self.path, key.name);
        let Some(entries) = self
            .value(key)
            .and_then(|value| entries(value, &path, self.report, || "an object: { \"NAME\": { ... } }".to_owned()))
        else {
            return Vec::new();
        };
        if entries.iter().all(|(_, value)| value.is_null()) {
            self.report.add(&path, format_args!("is empty; {wanted}"));
        }
        let given = entries.iter().filter(|(_, value)| !value.is_null());
        let read_one = |(name, value): &(KeyText, Value)| {
            object(value, key.kind.0, &Path::Key(&path, &name.name), self.report, |fields| read(&name.name, fields))
        };
        given.filter_map(read_one).collect()
    }

    /// Whether the file has `key`.
    pub(super) fn has<K: Kind>(&self, key: &'static Key<K>) -> bool {
        self.value(key).is_some()
    }

    /// Notes an error of this object.
    pub(super) fn error_here(&mut self, what: impl fmt::Display) {
        self.report.add(self.path, what);
    }

    /// Notes an error of `key`.
    pub(super) fn error<K: Kind>(&mut self, key: &'static Key<K>, what: impl fmt::Display) {
        self.report.add(&Path::Key(self.path, key.name), what);
    }

    /// Notes an error if the object under `outer` has `key`.
    pub(super) fn refuse_in<K: Kind>(
        &mut self,
        outer: &'static Key<Group>,
        key: &'static Key<K>,
        what: impl fmt::Display,
    ) {
        let Some(Value::Object(entries)) = self.value(outer) else { return };
        if entries.iter().any(|(text, value)| text.name == key.name && !value.is_null()) {
            self.report.add(&Path::Key(&Path::Key(self.path, outer.name), key.name), what);
        }
    }

    /// Notes an error of an item of the list under `key`.
    pub(super) fn error_in<K: Kind>(&mut self, key: &'static Key<List<K>>, index: usize, what: impl fmt::Display) {
        self.report.add(&Path::Index(&Path::Key(self.path, key.name), index), what);
    }
}

impl<'a> Fields<'a, '_> {
    fn value<K: Kind>(&self, key: &'static Key<K>) -> Option<&'a Value> {
        let found = self.entries.iter().find(|(text, _)| text.name == key.name);
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    fn refuse_unknown(&mut self) {
        for (key, _) in self.entries {
            if !self.known.has(&key.name) {
                self.report.add(&Path::Key(self.path, &key.name), remedy(&key.name, self.known));
            }
        }
    }
}

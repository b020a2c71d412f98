//! Walks the tree and notes every error with its path.
//!
//! A reader that meets an error notes it and goes on with the default; whatever it makes of a file with errors is
//! thrown away in the end.
use std::collections::HashSet;
use std::fmt;

use super::Error;
use super::tree::Value;

/// Names this much alike, of 0 to 1, are taken for a slip of the pen; clap's own measure for its arguments.
const ALIKE: f64 = 0.7;

/// The errors found so far.
#[derive(Debug)]
pub(super) struct Report<'f> {
    file: &'f str,
    errors: Vec<Error>,
}

/// Where a value stands in the file. Borrowed step by step, so that only an error costs an allocation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

/// An object whose keys are known beforehand. A key counts as known once it has been asked for.
pub(super) struct Fields<'a, 'f> {
    path: &'a Path<'a>,
    entries: &'a [(String, Value)],
    known: Vec<&'static str>,
    report: &'a mut Report<'f>,
}

impl<'f> Report<'f> {
    pub(super) fn new(file: &'f str) -> Report<'f> {
        Report { file, errors: Vec::new() }
    }

    pub(super) fn add(&mut self, path: &Path<'_>, what: impl fmt::Display) {
        self.errors.push(Error::new(self.file, path, what));
    }

    /// `value`, where nothing was noted.
    pub(super) fn conclude<T>(self, value: Option<T>) -> Result<T, Vec<Error>> {
        value.filter(|_| self.errors.is_empty()).ok_or(self.errors)
    }

    pub(super) fn take<T>(&mut self, path: &Path<'_>, result: Result<T, String>) -> Option<T> {
        result.map_err(|what| self.add(path, what)).ok()
    }
}

impl fmt::Display for Path<'_> {
    /// `routes.frontend.servers[1]`; a key that would be misread is quoted: `routes."a.test".sni`.
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

/// Reads the object at `path`: duplicate keys and those that `read` does not ask for are errors.
pub(super) fn object<T>(
    value: &Value,
    path: &Path<'_>,
    report: &mut Report<'_>,
    read: impl FnOnce(&mut Fields<'_, '_>) -> T,
) -> Option<T> {
    let entries = entries(value, path, report)?;
    let mut fields = Fields { path, entries, known: Vec::new(), report };
    let result = read(&mut fields);
    fields.refuse_unknown();
    Some(result)
}

fn entries<'v>(value: &'v Value, path: &Path<'_>, report: &mut Report<'_>) -> Option<&'v [(String, Value)]> {
    let Value::Object(entries) = value else {
        report.add(path, value.is_not("an object: { ... }"));
        return None;
    };
    let mut seen = HashSet::with_capacity(entries.len());
    for (key, _) in entries {
        if !seen.insert(key.as_str()) {
            report.add(&Path::Key(path, key), "is written twice; keep one");
        }
    }
    Some(entries)
}

impl<'f> Fields<'_, 'f> {
    /// The value of `key`, where it is there and good.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = parse(self.value(key)?);
        self.report.take(&Path::Key(self.path, key), parsed)
    }

    /// The value of `key`, else `default`.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> T {
        self.optional(key, parse).unwrap_or(default)
    }

    /// The value of `key`, whose absence is an error; `wanted` completes "write ...".
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.require(key, wanted);
        self.optional(key, parse)
    }

    /// Notes an error where `key` is not there; `wanted` completes "write ...".
    pub(super) fn require(&mut self, key: &'static str, wanted: &str) {
        if self.value(key).is_none() {
            self.error(key, format_args!("is missing; write {wanted}"));
        }
    }

    /// The list under `key`, empty where there is none. An item that is no good is `None`: positions are the file's.
    pub(super) fn list<T>(&mut self, key: &'static str, parse: impl Fn(&Value) -> Result<T, String>) -> Vec<Option<T>> {
        self.items(key, |item, path, report| report.take(path, parse(item)))
    }

    /// As `list`, for items that note their errors themselves.
    pub(super) fn items<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&Value, &Path<'_>, &mut Report<'f>) -> Option<T>,
    ) -> Vec<Option<T>> {
        let path = Path::Key(self.path, key);
        match self.value(key) {
            None => Vec::new(),
            Some(Value::List(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| read(item, &Path::Index(&path, index), self.report))
                .collect(),
            Some(other) => {
                let items = if let Value::String(item) = other { format!("{item:?}") } else { " ... ".to_owned() };
                self.report.add(&path, other.is_not(format_args!("a list: [{items}]")));
                Vec::new()
            }
        }
    }

    /// Notes an error where the list under `key` is there, and empty.
    pub(super) fn refuse_empty(&mut self, key: &'static str, wanted: &str) {
        if let Some(Value::List(items)) = self.value(key)
            && items.is_empty()
        {
            self.error(key, format_args!("is empty; {wanted}"));
        }
    }

    /// The object under `key`, where there is one.
    pub(super) fn object<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Fields<'_, '_>) -> T) -> Option<T> {
        object(self.value(key)?, &Path::Key(self.path, key), self.report, read)
    }

    /// The object under `key`, whose keys are names and whose values are objects, in the order of the file. Empty it
    /// is an error; `wanted` says what would be right.
    pub(super) fn map<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        mut read: impl FnMut(&str, &mut Fields<'_, '_>) -> T,
    ) -> Vec<T> {
        let path = Path::Key(self.path, key);
        let Some(entries) = self.value(key).and_then(|value| entries(value, &path, self.report)) else {
            return Vec::new();
        };
        if entries.is_empty() {
            self.report.add(&path, format_args!("is empty; {wanted}"));
        }
        let read_one =
            |(name, value): &(String, Value)| object(value, &Path::Key(&path, name), self.report, |f| read(name, f));
        entries.iter().filter_map(read_one).collect()
    }

    /// Notes an error where `key` is there.
    pub(super) fn refuse(&mut self, key: &'static str, what: impl fmt::Display) {
        if self.entries.iter().any(|(name, _)| name == key) {
            self.known.push(key);
            self.error(key, what);
        }
    }

    /// Whether `key` is there.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// Notes an error of this object.
    pub(super) fn error_here(&mut self, what: impl fmt::Display) {
        self.report.add(self.path, what);
    }

    /// Notes an error of `key`.
    pub(super) fn error(&mut self, key: &'static str, what: impl fmt::Display) {
        self.report.add(&Path::Key(self.path, key), what);
    }

    /// Notes an error of an item of the list under `key`.
    pub(super) fn error_in(&mut self, key: &'static str, index: usize, what: impl fmt::Display) {
        self.report.add(&Path::Index(&Path::Key(self.path, key), index), what);
    }
}

impl<'a> Fields<'a, '_> {
    fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    fn refuse_unknown(&mut self) {
        for (key, _) in self.entries {
            if !self.known.contains(&key.as_str()) {
                let what = format!("unknown key; {}", suggestion(key, &self.known));
                self.report.add(&Path::Key(self.path, key), what);
            }
        }
    }
}

fn suggestion(key: &str, known: &[&str]) -> String {
    let alike = known.iter().map(|name| (strsim::jaro(key, name), name));
    match alike.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, name)) if score > ALIKE => format!("did you mean {name:?}?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}

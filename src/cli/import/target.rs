//! The backend that a `use_backend` line names.
use fiscalismia_lb::config::{SniPattern, is_host_name};

use super::condition::Reader;
use super::lex::Line;
use super::names::{Method, NameSet, names};
use super::values::{entries, read_beside};

/// The backend that a rule names.
#[derive(Debug)]
pub(super) enum Target {
    Fixed(String),
    /// By the hello's name: the names, the backend at each name's position, and the backend of all other names. `None`:
    /// the default backend.
    ByName(NameSet, Vec<Option<String>>, Option<String>),
}

/// The backend of a `use_backend` line: a name, or `%[req.ssl_sni,lower,map(FILE,DEFAULT)]` with text around it.
pub(super) fn target(line: &Line, reader: &mut Reader<'_>, backends: &[&str]) -> Result<Target, String> {
    let word = line.word(1);
    let Some((prefix, rest)) = word.split_once("%[") else { return Ok(Target::Fixed(word.to_owned())) };
    let (expression, suffix) = rest.rsplit_once(']').ok_or("a \"%[\" is not closed")?;
    let mut parts = split(expression).into_iter();
    if !parts.next().is_some_and(|fetch| fetch == "req.ssl_sni" || fetch == "req_ssl_sni") {
        return Err("only the hello's name can choose a backend; write the names".to_owned());
    }
    let mut found = None;
    let mut any_case = false;
    for part in parts {
        match part.split_once('(') {
            None if part == "lower" => any_case = true,
            Some((kind, arguments)) if kind == "map" || kind.starts_with("map_") => {
                found = Some(map(kind, arguments.trim_end_matches(')'), line.number, reader)?);
            }
            _ => return Err(format!("the converter {part:?} changes the name; write the resulting names")),
        }
    }
    if !any_case {
        let why = "names are compared without case here; HAProxy compares them exactly, as \"lower\" is missing";
        reader.report.note(line.number, word, why);
    }
    let around = |name: String| format!("{prefix}{name}{suffix}");
    let mut existing = |name: String| {
        let name = around(name);
        if backends.contains(&name.as_str()) {
            return Some(name);
        }
        reader.report.note(line.number, &name, "no backend has this name, so the default backend takes its place");
        None
    };
    let (names, last) = found.unwrap_or_else(|| by_backend_name(prefix, suffix, backends));
    let (mut all, mut found) = (Vec::new(), Vec::new());
    for (patterns, name) in names {
        let backend = existing(name);
        found.resize(found.len() + patterns.len(), backend);
        all.extend(patterns);
    }
    Ok(Target::ByName(all.into_iter().collect(), found, last.and_then(existing)))
}

type ByName = (Vec<(Vec<SniPattern>, String)>, Option<String>);

fn map(kind: &str, arguments: &str, number: usize, reader: &mut Reader<'_>) -> Result<ByName, String> {
    let method = match kind {
        "map" | "map_str" => Method::Whole,
        other => {
            other.strip_prefix("map_").and_then(Method::of).ok_or_else(|| format!("{kind:?} is not a map of names"))?
        }
    };
    let (file, last) =
        arguments.split_once(',').map_or((arguments, None), |(file, last)| (file, Some(last.to_owned())));
    let text = read_beside(reader.configuration, file)?;
    let mut all = Vec::new();
    for (key, value) in entries(&text) {
        match names(method, key) {
            Ok(names) => {
                if let Some(note) = names.note {
                    reader.report.note(number, key, &note);
                }
                all.push((names.patterns, value.to_owned()));
            }
            Err(why) => reader.report.lost(number, &format!("{file}: {key}"), &why),
        }
    }
    Ok((all, last))
}

/// `use_backend %[req.ssl_sni]`: each backend takes the server name that it is named after.
fn by_backend_name(prefix: &str, suffix: &str, backends: &[&str]) -> ByName {
    let named = backends.iter().filter_map(|backend| backend.strip_prefix(prefix)?.strip_suffix(suffix));
    let entries = named.filter(|name| is_host_name(name) && **name == name.to_ascii_lowercase());
    (entries.map(|name| (vec![SniPattern::Exact(name.into())], name.to_owned())).collect(), None)
}

/// Splits at the commas outside parentheses.
fn split(expression: &str) -> Vec<&str> {
    let mut depth = 0;
    expression
        .split(move |char| {
            match char {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            char == ',' && depth == 0
        })
        .collect()
}

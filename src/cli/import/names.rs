//! Converts HAProxy's comparisons of names to patterns of this program.
//!
//! HAProxy compares characters; the names of a route are made of labels. So `-m end .a.b` becomes `**.a.b`, and `-m sub
//! a` has no equivalent.
use std::collections::HashMap;

use fiscalismia_lb::config::{SniPattern, is_host_name};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// How a list of values is compared, `-m` of an ACL or the end of a map's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Whole,
    End,
    Domain,
    Beginning,
    Part,
    Regex,
}

impl Method {
    pub(super) fn of(word: &str) -> Option<Method> {
        Some(match word {
            "str" => Method::Whole,
            "end" => Method::End,
            "dom" => Method::Domain,
            "beg" => Method::Beginning,
            "sub" => Method::Part,
            "reg" => Method::Regex,
            _ => return None,
        })
    }
}

/// The names that a value matches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) patterns: Vec<SniPattern>,
    /// A small difference from HAProxy, for the operator.
    pub(super) note: Option<String>,
}

/// The names that `value` matches. The error says why they have no equivalent.
pub(super) fn names(method: Method, value: &str) -> Result<Names, String> {
    let lower = value.to_ascii_lowercase();
    match method {
        Method::Whole if is_host_name(&lower) => Ok(of(vec![SniPattern::Exact(lower.into())])),
        Method::Whole => Err(format!("{value:?} is not a name that a hello can carry")),
        Method::End => end(&lower),
        Method::Domain => {
            let name = lower.trim_matches('.');
            let note = format!("the labels {name:?} match only at the end of a name, not at its beginning or inside");
            is_host_name(name)
                .then(|| Names { patterns: below(name, true), note: Some(note) })
                .ok_or_else(|| format!("{value:?} is not a name that a hello can carry"))
        }
        Method::Beginning => {
            Err("names cannot be matched by their beginning; list the names, or write \"*.PARENT\"".to_owned())
        }
        Method::Part => Err("names cannot be matched by a part; list the names, or write \"*.PARENT\"".to_owned()),
        Method::Regex => regex(value),
    }
}

fn of(patterns: Vec<SniPattern>) -> Names {
    Names { patterns, note: None }
}

/// All names below `name`, and perhaps `name` itself.
fn below(name: &str, itself: bool) -> Vec<SniPattern> {
    let exact = itself.then(|| SniPattern::Exact(name.into()));
    exact.into_iter().chain([SniPattern::Subdomains(name.into())]).collect()
}

fn end(value: &str) -> Result<Names, String> {
    let (name, itself) = value.strip_prefix('.').map_or((value, true), |name| (name, false));
    if !is_host_name(name) || name.starts_with('-') {
        return Err(format!("{value:?} does not begin at a label; write \"**.PARENT\""));
    }
    let note = itself.then(|| format!("only whole labels match: a name like \"x{name}\" does not"));
    Ok(Names { patterns: below(name, itself), note })
}

/// Every pattern that takes this name of good labels.
pub(super) fn takers(name: &str) -> impl Iterator<Item = SniPattern> {
    let parents = || name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
    let wildcard = parents().next().map(|parent| SniPattern::Wildcard(parent.into()));
    let below = parents().map(|parent| SniPattern::Subdomains(parent.into()));
    [SniPattern::Exact(name.into()), SniPattern::Default].into_iter().chain(wildcard).chain(below)
}

/// A list of patterns, with an index that finds the first one that takes a name: a list of 100,000 names is searched
/// once for each of them.
#[derive(Clone, Debug, Default)]
pub(super) struct NameSet {
    pub(super) patterns: Vec<SniPattern>,
    first: HashMap<SniPattern, usize>,
}

impl NameSet {
    /// The position of the first pattern that takes `name`.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        takers(name).filter_map(|pattern| self.first.get(&pattern).copied()).min()
    }
}

impl FromIterator<SniPattern> for NameSet {
    fn from_iter<I: IntoIterator<Item = SniPattern>>(patterns: I) -> NameSet {
        let patterns: Vec<SniPattern> = patterns.into_iter().collect();
        let mut first = HashMap::new();
        for (index, pattern) in patterns.iter().enumerate() {
            first.entry(pattern.clone()).or_insert(index);
        }
        NameSet { patterns, first }
    }
}

/// A label, or a continuation of a path, that no rule contains.
pub(super) const FRESH: &str = "0-in-no-rule-0";

/// A name that `pattern` takes and no rule contains. It stands for all names of which the rules know only `pattern`. For
/// `**.` it has two labels more, because `*.` of the same parent may have an entry of its own.
pub(super) fn fresh(pattern: &SniPattern) -> String {
    match pattern {
        SniPattern::Exact(name) => name.to_string(),
        SniPattern::Wildcard(parent) => format!("{FRESH}.{parent}"),
        SniPattern::Subdomains(parent) => format!("{FRESH}.{FRESH}.{parent}"),
        SniPattern::Default => format!("{FRESH}.invalid"),
    }
}

/// An element of a regex that describes names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Start,
    End,
    Text(String),
    /// Any one character: most often a dot that should be escaped.
    AnyChar,
    /// `[^.]+`
    Label,
    /// `.*`, which may be empty, or `.+`.
    Anything {
        empty: bool,
    },
}

const MAX_ALTERNATIVES: usize = 256;
const NO_NAMES: &str = "this regex is not a list of names; write the names, \"*.PARENT\" or \"**.PARENT\"";

fn regex(text: &str) -> Result<Names, String> {
    let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(text);
    let hir = hir.map_err(|_| "this regex cannot be parsed; write the names".to_owned())?;
    let mut names = Names::default();
    for pieces in alternatives(&hir).ok_or(NO_NAMES)? {
        let (pattern, note) = whole(&pieces).ok_or(NO_NAMES)?;
        names.note = names.note.or(note);
        names
            .patterns
            .extend(pattern.into_iter().filter(|pattern| !names.patterns.contains(pattern)).collect::<Vec<_>>());
    }
    Ok(names)
}

/// Each way through the regex, as long as they are few.
fn alternatives(hir: &Hir) -> Option<Vec<Vec<Piece>>> {
    let single = |piece: Piece| Some(vec![vec![piece]]);
    match hir.kind() {
        HirKind::Empty => Some(vec![Vec::new()]),
        HirKind::Literal(literal) => single(Piece::Text(std::str::from_utf8(&literal.0).ok()?.to_ascii_lowercase())),
        HirKind::Look(Look::Start | Look::StartLF) => single(Piece::Start),
        HirKind::Look(Look::End | Look::EndLF) => single(Piece::End),
        HirKind::Look(_) => None,
        HirKind::Class(class) => Some(one_of(class)),
        HirKind::Capture(capture) => alternatives(&capture.sub),
        HirKind::Alternation(options) => {
            let all: Option<Vec<_>> = options.iter().map(alternatives).collect();
            Some(all?.concat()).filter(|all| all.len() <= MAX_ALTERNATIVES)
        }
        HirKind::Concat(parts) => {
            parts.iter().try_fold(vec![Vec::new()], |all, part| product(&all, &alternatives(part)?))
        }
        HirKind::Repetition(repetition) => match (repetition.min, repetition.max) {
            (0, Some(1)) => {
                let mut all = alternatives(&repetition.sub)?;
                all.push(Vec::new());
                Some(all)
            }
            (min @ (0 | 1), None) => repeated(&repetition.sub, min == 0),
            (min, Some(max)) if min == max && max <= 8 => {
                let once = alternatives(&repetition.sub)?;
                (0..max).try_fold(vec![Vec::new()], |all, _| product(&all, &once))
            }
            _ => None,
        },
    }
}

fn product(firsts: &[Vec<Piece>], seconds: &[Vec<Piece>]) -> Option<Vec<Vec<Piece>>> {
    let all = || firsts.iter().flat_map(|first| seconds.iter().map(move |second| [&first[..], second].concat()));
    (firsts.len() * seconds.len() <= MAX_ALTERNATIVES).then(|| all().collect())
}

/// The characters of names that a class has; `None` where it has all of them, dot included.
fn chars(class: &Class) -> Option<Vec<char>> {
    let has = |char: char| match class {
        Class::Bytes(bytes) => bytes.iter().any(|range| (range.start()..=range.end()).contains(&(char as u8))),
        Class::Unicode(chars) => chars.iter().any(|range| (range.start()..=range.end()).contains(&char)),
    };
    let of_names = ('a'..='z').chain('0'..='9').chain(['-', '_', '.']);
    let found: Vec<char> = of_names.filter(|char| has(*char) || has(char.to_ascii_uppercase())).collect();
    (found.len() < 39).then_some(found)
}

fn one_of(class: &Class) -> Vec<Vec<Piece>> {
    match chars(class) {
        None => vec![vec![Piece::AnyChar]],
        Some(chars) => chars.into_iter().map(|char| vec![Piece::Text(char.to_string())]).collect(),
    }
}

/// `X*` or `X+`.
fn repeated(hir: &Hir, empty: bool) -> Option<Vec<Vec<Piece>>> {
    let HirKind::Class(class) = hir.kind() else { return None };
    let piece = match chars(class) {
        None => Piece::Anything { empty },
        Some(chars) => {
            let has_all = ('a'..='z').chain('0'..='9').chain(['-']).all(|char| chars.contains(&char));
            match (has_all, chars.contains(&'.')) {
                (true, true) => Piece::Anything { empty },
                (true, false) if !empty => Piece::Label,
                _ => return None,
            }
        }
    };
    Some(vec![vec![piece]])
}

/// The names of one way through a regex, and a note of a difference.
fn whole(pieces: &[Piece]) -> Option<(Vec<SniPattern>, Option<String>)> {
    // Without a ^, any text may come before.
    let (anchored, pieces) = match pieces {
        [Piece::Start, rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut pieces = pieces.to_vec();
    if !anchored && !matches!(pieces.first(), Some(Piece::Anything { .. })) {
        pieces.insert(0, Piece::Anything { empty: true });
    }
    let mut note = None;
    let mut text = String::new();
    let (first, rest) = match pieces.split_first()? {
        (first @ (Piece::Label | Piece::Anything { .. }), rest) => (Some(first.clone()), rest),
        _ => (None, &pieces[..]),
    };
    if let (Some(Piece::Anything { .. }), [] | [Piece::End]) = (&first, rest) {
        return Some((vec![SniPattern::Default], None));
    }
    let (last, middle) = rest.split_last()?;
    if *last != Piece::End {
        return None;
    }
    for piece in middle {
        match piece {
            Piece::Text(more) => text += more,
            Piece::AnyChar => {
                note = Some("a \".\" that is not escaped is read as a dot".to_owned());
                text.push('.');
            }
            _ => return None,
        }
    }
    let (name, after_dot) = text.strip_prefix('.').map_or((&*text, false), |name| (name, true));
    if !is_host_name(name) {
        return None;
    }
    let patterns = match (first, after_dot) {
        (None, false) => vec![SniPattern::Exact(name.into())],
        (Some(Piece::Label), true) => vec![SniPattern::Wildcard(name.into())],
        (Some(Piece::Anything { .. }), true) => below(name, false),
        (Some(Piece::Anything { empty: true }), false) => {
            note = end(name).ok()?.note;
            below(name, true)
        }
        _ => return None,
    };
    Some((patterns, note))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(method: Method, value: &str) -> String {
        match names(method, value) {
            Ok(names) => names.patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(_) => "-".to_owned(),
        }
    }

    /// Without this, a comparison that is converted too widely sends one tenant's clients to another tenant's server.
    #[test]
    fn what_each_way_to_compare_takes() {
        for (method, value, expected) in [
            (Method::Whole, "A.test", "a.test"),
            (Method::Whole, ".a.test", "-"),
            (Method::End, ".a.test", "**.a.test"),
            (Method::End, "a.test", "a.test **.a.test"),
            (Method::End, "-a..test", "-"),
            (Method::Domain, "a.test", "a.test **.a.test"),
            (Method::Beginning, "www.", "-"),
            (Method::Part, "a", "-"),
            (Method::Regex, r"^a\.test$", "a.test"),
            (Method::Regex, r"^(a|b)\.test$", "a.test b.test"),
            (Method::Regex, r"^(www\.)?A\.test$", "www.a.test a.test"),
            (Method::Regex, r"^web[1-3]\.test$", "web1.test web2.test web3.test"),
            (Method::Regex, r"^[^.]+\.a\.test$", "*.a.test"),
            (Method::Regex, r"^[a-z0-9-]+\.a\.test$", "*.a.test"),
            (Method::Regex, r"^[a-zA-Z0-9_.-]+\.a\.test$", "**.a.test"),
            (Method::Regex, r"^.+\.a\.test$", "**.a.test"),
            (Method::Regex, r"^(.+\.)?a\.test$", "**.a.test a.test"),
            (Method::Regex, r"\.a\.test$", "**.a.test"),
            (Method::Regex, r".*\.a\.test$", "**.a.test"),
            (Method::Regex, r"a\.test$", "a.test **.a.test"),
            (Method::Regex, r"^a.test$", "a.test"),
            (Method::Regex, r".*", "*"),
            (Method::Regex, r"^a\.", "-"),
            (Method::Regex, r"a", "-"),
            (Method::Regex, r"^[a-f]+\.a\.test$", "-"),
            (Method::Regex, r"^(.*)-x\.test$", "-"),
            (Method::Regex, r"^a(?!b)\.test$", "-"),
        ] {
            assert_eq!(said(method, value), expected, "{method:?} {value}");
        }
    }

    /// Without this, a pattern takes a name that merely ends like it, or not the names below it.
    #[test]
    fn takes_by_whole_labels() {
        let pattern = |method, value| names(method, value).unwrap().patterns.remove(0);
        let wildcard = pattern(Method::Regex, r"^[^.]+\.a\.test$");
        let all = pattern(Method::End, ".a.test");
        for (name, one, any) in
            [("x.a.test", true, true), ("y.x.a.test", false, true), ("a.test", false, false), ("xa.test", false, false)]
        {
            let taken = |pattern: &SniPattern| takers(name).any(|taker| taker == *pattern);
            assert_eq!((taken(&wildcard), taken(&all)), (one, any), "{name}");
            let set: NameSet = [wildcard.clone(), all.clone()].into_iter().collect();
            assert_eq!(set.find(name), if one { Some(0) } else { any.then_some(1) }, "{name}");
        }
    }
}

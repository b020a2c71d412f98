//! Prometheus' text format, read strictly.
use std::collections::{BTreeMap, BTreeSet};

/// An exposition: values by series, as `name{labels}`.
#[derive(Clone, Debug)]
pub(crate) struct Exposition {
    /// What each family is.
    pub(crate) kinds: BTreeMap<String, String>,
    pub(crate) values: BTreeMap<String, f64>,
}

impl Exposition {
    pub(crate) fn parse(text: &str) -> Exposition {
        assert!(text.ends_with('\n'));
        let mut exposition = Exposition { kinds: BTreeMap::new(), values: BTreeMap::new() };
        let (mut helped, mut family) = (BTreeSet::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(help.len() > 5 && helped.insert(name), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(
                    helped.contains(name) && ["counter", "gauge", "untyped", "histogram"].contains(&kind),
                    "{line}"
                );
                assert!(exposition.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
                name.clone_into(&mut family);
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let suffixes =
                    if exposition.kinds[&family] == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
                assert!(suffixes.iter().any(|suffix| *name == format!("{family}{suffix}")), "{line} among {family}");
                check_labels(series);
                assert!(exposition.values.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
            }
        }
        exposition
    }

    /// A series' value.
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.values.get(series).unwrap_or_else(|| panic!("no {series}"))
    }

    /// All series of a family, each by its labels.
    pub(crate) fn family<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.values.iter().filter_map(move |(series, value)| {
            let labels = series.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }

    /// The sum of a family.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        assert!(self.kinds.contains_key(name), "no {name}");
        self.family(name).map(|(_, value)| value).sum()
    }

    /// What must never go down: counters, and the counts of histograms.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&String, f64)> {
        let is_counter = |series: &str| {
            let name = series.split('{').next().unwrap();
            let of = |suffix| name.strip_suffix(suffix).and_then(|name| self.kinds.get(name));
            self.kinds.get(name).is_some_and(|kind| kind == "counter")
                || ["_bucket", "_sum", "_count"]
                    .into_iter()
                    .any(|suffix| of(suffix).is_some_and(|kind| kind == "histogram"))
        };
        self.values.iter().filter(move |(series, _)| is_counter(series)).map(|(series, value)| (series, *value))
    }
}

/// `{a="b",c="d"}`, no label twice.
fn check_labels(series: &str) {
    let Some((_, labels)) = series.split_once('{') else { return };
    let labels = labels.strip_suffix("\"}").unwrap_or_else(|| panic!("{series}"));
    let mut names = BTreeSet::new();
    for label in labels.split("\",") {
        let (name, value) = label.split_once("=\"").unwrap();
        assert!(names.insert(name) && !value.contains(['"', '\\', '{']), "{series}");
    }
}

//! Finds the few conditions that a name can meet: with a rule for each of ten thousand names, each name is compared
//! with its own alone.
use std::collections::HashMap;

use fiscalismia_lb::config::SniPattern;

use super::condition::Condition;
use super::names::takers;

/// Conditions, by their index in a list.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_pattern: HashMap<SniPattern, Vec<usize>>,
    /// These may hold for any name, or for none.
    others: Vec<usize>,
}

impl Index {
    pub(super) fn new<'c>(conditions: impl Iterator<Item = &'c Condition>) -> Index {
        let mut index = Index::default();
        for (at, condition) in conditions.enumerate() {
            match condition.names() {
                None => index.others.push(at),
                Some(sets) => {
                    for pattern in sets.iter().flat_map(|set| &set.patterns) {
                        index.by_pattern.entry(pattern.clone()).or_default().push(at);
                    }
                }
            }
        }
        index
    }

    /// The indices, in order, of all conditions that may hold for this name.
    pub(super) fn candidates(&self, name: Option<&str>) -> Vec<usize> {
        let named = name.into_iter().flat_map(takers).filter_map(|pattern| self.by_pattern.get(&pattern)).flatten();
        let mut indices: Vec<usize> = named.chain(&self.others).copied().collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }
}

#[cfg(test)]
mod tests {
    use super::super::condition::{Term, Test};
    use super::*;

    /// Without this, each of 10,000 names is compared with 10,000 rules; or a rule that applies is left out, and
    /// clients reach another server.
    #[test]
    fn a_name_is_asked_about_its_own_rules_alone() {
        let names = |pattern: SniPattern| Test::Names([pattern].into_iter().collect());
        let rule = |unless, negated, test| Condition { unless, any: vec![vec![Term { negated, tests: vec![test] }]] };
        let exact = |number: usize| SniPattern::Exact(format!("h{number}.a.test").into());
        let mut rules: Vec<Condition> = (0..10_000).map(|number| rule(false, false, names(exact(number)))).collect();
        rules.push(rule(false, false, names(SniPattern::Subdomains("a.test".into()))));
        rules.push(rule(true, false, names(exact(3))));
        rules.push(rule(false, true, names(exact(3))));
        rules.push(rule(false, false, Test::HasName));
        let index = Index::new(rules.iter());
        assert_eq!(index.candidates(Some("h3.a.test")), [3, 10_000, 10_001, 10_002, 10_003]);
        assert_eq!(index.candidates(Some("b.test")), [10_001, 10_002, 10_003]);
        assert_eq!(index.candidates(None), [10_001, 10_002, 10_003]);
    }
}

//! `tcp-request connection` rules and stick tables: limits on each client's address.
use std::collections::HashMap;

use super::condition::{Condition, Counter, Reader, Term, Test};
use super::lex::Line;
use super::output::PerSource;
use super::proxy::Proxy;
use super::values::{duration, time};

/// Limits of one frontend.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) per_source: PerSource,
    pub(super) drops_silently: bool,
}

/// Reads the limits of `proxy`. `tables` has the `stick-table` lines by the names of their proxies.
pub(super) fn limits(proxy: &Proxy, reader: &mut Reader<'_>, tables: &HashMap<&str, &Line>) -> Limits {
    let mut limits = Limits::default();
    let mut exempt = Vec::new();
    let tracked = proxy
        .connection_rules
        .iter()
        .chain(&proxy.content_rules)
        .find_map(|line| line.word(2).starts_with("track-sc").then(|| after(line, "table").unwrap_or(&proxy.name)));
    for line in &proxy.connection_rules {
        let condition = reader.condition(line, 3);
        match line.word(2) {
            word if word.starts_with("track-sc") => {
                if line.word(3) != "src" {
                    reader.report.lost(
                        line.number,
                        &line.words.join(" "),
                        "limits count for the client's address only",
                    );
                }
            }
            "accept" if networks(&condition, false).is_some() => {
                exempt.extend(networks(&condition, false).unwrap_or_default());
            }
            "reject" | "silent-drop"
                if limits.limit(line, &condition, reader, tables, tracked.unwrap_or(&proxy.name)) => {}
            "reject" | "silent-drop" => {
                let why = match networks(&condition, true) {
                    Some(_) => "who may connect is for the firewall, or for \"allow_from\" of each route",
                    None => "who may not connect is for the firewall",
                };
                reader.report.lost(line.number, &line.words.join(" "), why);
            }
            "expect-proxy" => {
                let why = "the balancers in front, by their networks: accept_proxy.from";
                reader.report.lost(line.number, &line.words.join(" "), why);
            }
            _ => reader.report.lost(line.number, &line.words.join(" "), "there is nothing like it"),
        }
    }
    for line in &proxy.content_rules {
        let condition = reader.condition(line, 3);
        if condition.tests().any(|test| matches!(test, Test::Rate { .. }))
            && !limits.limit(line, &condition, reader, tables, tracked.unwrap_or(&proxy.name))
        {
            reader.report.lost(
                line.number,
                &line.words.join(" "),
                "limits.per_source has \"rate\", \"concurrent\" and \"exempt\"",
            );
        }
    }
    if limits.per_source != PerSource::default() {
        limits.per_source.exempt.extend(exempt);
    }
    limits
}

impl Limits {
    /// Follows a rule that refuses those who come too often: a rate, and perhaps who is exempt. False: it is none.
    fn limit(
        &mut self,
        line: &Line,
        condition: &Condition,
        reader: &mut Reader<'_>,
        tables: &HashMap<&str, &Line>,
        tracked: &str,
    ) -> bool {
        let (false, [terms]) = (condition.unless, &condition.any[..]) else { return false };
        let mut limit = None;
        let mut exempt = Vec::new();
        for Term { negated, tests } in terms {
            match (negated, &tests[..]) {
                (false, [Test::Rate { what, table, most }]) => limit = Some((*what, table, *most)),
                (true, [Test::Source(networks)]) => exempt.extend(networks.iter().map(|network| cidr(network))),
                _ => return false,
            }
        }
        let Some((what, table, most)) = limit else { return false };
        let table = tables.get(table.as_deref().unwrap_or(tracked));
        match what {
            Counter::OpenConnections => self.per_source.concurrent = Some(most),
            Counter::NewConnections => {
                let Some(period) = table.and_then(|table| period(table)) else {
                    reader.report.lost(line.number, &line.words.join(" "), "its table stores no conn_rate(PERIOD)");
                    return true;
                };
                self.per_source.rate = Some(most);
                self.per_source.period = Some(period).filter(|period| period != "5s");
            }
        }
        self.per_source.exempt.extend(exempt);
        self.drops_silently |= line.word(2) == "silent-drop";
        true
    }
}

/// The time of `store conn_rate(5s)`.
fn period(table: &Line) -> Option<String> {
    let stored = after(table, "store")?.split(',').find_map(|part| part.strip_prefix("conn_rate("))?;
    time(stored.trim_end_matches(')')).map(duration)
}

fn after<'l>(line: &'l Line, word: &str) -> Option<&'l str> {
    line.words.iter().skip_while(|w| *w != word).nth(1).map(String::as_str)
}

/// The networks of a condition that asks for nothing but the client's address; `others`: it holds for all others.
fn networks(condition: &Condition, others: bool) -> Option<Vec<String>> {
    let [terms] = &condition.any[..] else { return None };
    let [Term { negated, tests }] = &terms[..] else { return None };
    if (*negated != condition.unless) != others {
        return None;
    }
    let mut all = Vec::new();
    for test in tests {
        let Test::Source(networks) = test else { return None };
        all.extend(networks.iter().map(|network| cidr(network)));
    }
    Some(all)
}

/// With its prefix, as our own file wants it.
fn cidr(network: &str) -> String {
    match network.parse::<std::net::IpAddr>() {
        Ok(ip) => ipnet::IpNet::from(ip).to_string(),
        Err(_) => network.to_owned(),
    }
}

//! `tcp-request connection` rules and stick tables: limits on each client's address.
use std::collections::HashMap;

use super::condition::{Condition, Counter, Reader, Term, Test};
use super::lex::Line;
use super::networks::Networks;
use super::output::PerSource;
use super::proxy::Proxy;
use super::report::NO_EQUIVALENT;
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
    let mut exempt = Networks::none();
    let tracked = proxy
        .decisions
        .connection_rules
        .iter()
        .chain(&proxy.decisions.content_rules)
        .find_map(|line| is_track(line).then(|| after(line, "table").unwrap_or(&proxy.name)));
    for line in &proxy.decisions.connection_rules {
        if is_track(line) {
            track(line, reader);
            if line.word(3) == "src" && proxy.expects_header() && line.word(1) == "connection" {
                let why = "HAProxy counts by the balancer's address here; limits.per_source counts by the client's, from the PROXY header";
                reader.report.note_line(line, why);
            }
            continue;
        }
        let condition = reader.condition(line, 3);
        match line.word(2) {
            "accept" if condition.is_by_source() => exempt = exempt.or(&condition.sources()),
            "reject" | "silent-drop" => {
                limits.refusal(line, &condition, reader, (tables, tracked.unwrap_or(&proxy.name), &exempt));
            }
            // `Balancers` reads these.
            "expect-proxy" => {}
            _ => reader.report.lost_line(line, NO_EQUIVALENT),
        }
    }
    for line in &proxy.decisions.content_rules {
        if is_track(line) {
            track(line, reader);
            continue;
        }
        let condition = reader.condition(line, 3);
        if condition.tests().any(|test| matches!(test, Test::Rate { .. }))
            && !limits.limit(line, &condition, reader, (tables, tracked.unwrap_or(&proxy.name), &Networks::none()))
        {
            reader
                .report
                .lost_line(line, "limits.per_source has only \"rate\", \"period\", \"concurrent\" and \"exempt\"");
        }
    }
    limits
}

fn is_track(line: &Line) -> bool {
    line.word(2).starts_with("track-sc")
}

/// Reports what a `track-sc` rule counts that `limits.per_source` cannot.
fn track(line: &Line, reader: &mut Reader<'_>) {
    // Behind its key and its table.
    let at = line.words.iter().position(|word| word == "if" || word == "unless").unwrap_or(line.words.len());
    let condition = reader.condition(line, at);
    if line.word(3) != "src" {
        reader.report.lost_line(line, "limits count by the client's address only");
    } else if condition.unless || !condition.tests().all(|test| matches!(test, Test::Always(true))) {
        let why = "every client is counted; write the networks that are not under limits.per_source.exempt";
        reader.report.lost_line(line, why);
    }
}

/// The stick tables, the one that is tracked, and the clients that were accepted before.
type Tables<'a> = (&'a HashMap<&'a str, &'a Line>, &'a str, &'a Networks);

impl Limits {
    /// Follows a rule that refuses clients before any byte is read. A rule by address alone is not a limit.
    fn refusal(&mut self, line: &Line, condition: &Condition, reader: &mut Reader<'_>, tables: Tables<'_>) {
        if condition.is_by_source() || self.limit(line, condition, reader, tables) {
            return;
        }
        let why = condition.obstacle().unwrap_or_else(|| "use the firewall to refuse these clients".to_owned());
        reader.report.lost_line(line, &why);
    }

    /// Follows a rule that refuses clients over a rate, perhaps with exempt networks. False: it is another rule.
    fn limit(
        &mut self,
        line: &Line,
        condition: &Condition,
        reader: &mut Reader<'_>,
        (tables, tracked, accepted): Tables<'_>,
    ) -> bool {
        let (false, [terms]) = (condition.unless, &condition.any[..]) else { return false };
        let mut limit = None;
        let mut exempt = accepted.clone();
        for Term { negated, tests } in terms {
            match (negated, &tests[..]) {
                (false, [Test::Rate { what, table, most }]) => limit = Some((*what, table, *most)),
                (true, [Test::Source(networks)]) => exempt = exempt.or(networks),
                _ => return false,
            }
        }
        let Some((what, table, most)) = limit else { return false };
        let table = tables.get(table.as_deref().unwrap_or(tracked));
        let mut limited = PerSource { exempt: exempt.cidrs(), ..self.per_source.clone() };
        match what {
            Counter::OpenConnections => limited.concurrent = Some(most),
            Counter::NewConnections => {
                let Some(period) = table.and_then(|table| period(table)) else {
                    reader.report.lost_line(line, "its stick table stores no conn_rate(PERIOD)");
                    return true;
                };
                limited.rate = Some(most);
                limited.period = Some(period).filter(|period| period != "5s");
            }
        }
        let first = &self.per_source;
        let is_new = match what {
            Counter::OpenConnections => first.concurrent.is_none(),
            Counter::NewConnections => first.rate.is_none(),
        };
        let goes_with = *first == PerSource::default() || is_new && first.exempt == limited.exempt;
        if !goes_with && *first != limited {
            let why = "there is one rate, one number of open connections and one list of exempt networks; those of the first rule are taken";
            reader.report.lost_line(line, why);
            return true;
        }
        self.per_source = limited;
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

//! Balancers in front: `bind … accept-proxy` and `tcp-request connection expect-proxy` as `accept_proxy`.
use super::condition::Reader;
use super::lex::Line;
use super::networks::Networks;
use super::output::Output;
use super::proxy::Proxy;
use super::report::Report;

/// The networks from which clients come with a header, for each frontend so far.
#[derive(Default)]
pub(super) struct Balancers(Vec<(usize, String, Networks)>);

impl Balancers {
    /// Notes those of one frontend.
    pub(super) fn frontend(&mut self, proxy: &Proxy, reader: &mut Reader<'_>) {
        let with_header = proxy.bound.binds.iter().filter(|bind| bind.accepts_proxy).count();
        let mut from = Networks::none();
        let let_in = if proxy.expects_header() { let_in(proxy, reader) } else { Networks::all() };
        if with_header > 0 && with_header == proxy.bound.binds.len() {
            from = let_in.clone();
        } else {
            for bind in proxy.bound.binds.iter().filter(|bind| bind.accepts_proxy) {
                let why = "only the client's address decides whether a PROXY header must come, at all listeners alike: accept_proxy.from";
                reader.report.lost(bind.number, "bind … accept-proxy", why);
            }
        }
        for line in proxy.decisions.connection_rules.iter().filter(|line| line.word(2) == "expect-proxy") {
            let condition = reader.condition(line, 4);
            if line.word(3) == "layer4" && condition.is_by_source() {
                from = from.or(&condition.sources().and(&let_in));
            } else {
                let why =
                    condition.obstacle().unwrap_or_else(|| "only \"expect-proxy layer4\" has an equivalent".to_owned());
                reader.report.lost_line(line, &why);
            }
        }
        self.0.push((proxy.number, proxy.name.clone(), from));
    }

    /// The networks for all listeners.
    pub(super) fn conclude(self, output: &mut Output, report: &mut Report) {
        let all = self.0.iter().fold(Networks::none(), |all, (.., from)| all.or(from));
        let is_anyone = all == Networks::all();
        for (number, name, _) in self.0.iter().filter(|(.., from)| *from != all) {
            let why = if is_anyone {
                "it expects no PROXY header, but another frontend expects one from every client; write the balancers' networks in accept_proxy.from"
            } else {
                "accept_proxy.from applies to all listeners: the balancers of other frontends must send a PROXY header here too"
            };
            report.lost(*number, name, why);
        }
        if is_anyone && self.0.iter().any(|(.., from)| *from != all) {
            return;
        }
        if let Some((number, ..)) = self.0.first().filter(|_| is_anyone) {
            let why = "every client can send a PROXY header and so claim any address; write only the networks of the balancers";
            report.note(*number, "accept_proxy.from", why);
        }
        output.accept_proxy.from = all.cidrs();
    }
}

/// The networks that the rules on the balancer's address admit: if all clients must send a header, these are the
/// balancers.
fn let_in(proxy: &Proxy, reader: &mut Reader<'_>) -> Networks {
    let (mut undecided, mut let_in) = (Networks::all(), Networks::none());
    let refuses = |line: &Line| ["reject", "silent-drop"].contains(&line.word(2));
    let rules = proxy.decisions.connection_rules.iter().filter(|line| line.word(1) == "connection");
    for line in rules.filter(|line| refuses(line) || line.word(2) == "accept") {
        let condition = reader.condition(line, 3);
        if !condition.is_by_source() {
            continue;
        }
        let sources = condition.sources();
        if refuses(line) {
            let why = "HAProxy applies this rule to the balancer's address; here rules apply to the client's address from the \
                       PROXY header; use the firewall";
            reader.report.lost_line(line, why);
        } else {
            let_in = let_in.or(&undecided.and(&sources));
        }
        undecided = undecided.and(&sources.not());
    }
    let_in.or(&undecided)
}

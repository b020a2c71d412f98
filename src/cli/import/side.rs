//! Frontends that read HTTP: the redirect to https, requests for servers, and the pages of the proxy itself.
use std::net::SocketAddr;

use super::condition::Reader;
use super::handed_on;
use super::lex::Line;
use super::output::Output;
use super::proxy::Proxy;
use super::report::Report;
use super::routes::Assembly;

/// Converts a proxy that reads HTTP, after the routes exist. Returns whether its addresses went to `redirect.listen`.
pub(super) fn http(
    proxy: &Proxy,
    assembly: &Assembly<'_>,
    reader: &mut Reader<'_>,
    rules: &handed_on::Rules,
    output: &mut Output,
) -> bool {
    let redirects = proxy.decisions.http_rules.iter().any(is_redirect);
    let hands_on = rules.hand_on(proxy, assembly, output, reader.report);
    let has_pages = proxy.is_admin || proxy.decisions.http_rules.iter().any(is_admin);
    let addresses: Vec<String> = proxy.bound.addresses().iter().map(SocketAddr::to_string).collect();
    if redirects || hands_on {
        output.redirect.listen.extend(addresses);
    } else if has_pages {
        output.admin.listen.extend(addresses);
    } else {
        let why =
            "plain HTTP is only redirected, or passed on by routes.NAME.http; a web server can take these addresses";
        reader.report.lost(proxy.number, &format!("{} of mode http", proxy.name), why);
        return false;
    }
    if hands_on && !redirects {
        let why = "a request that no route takes is redirected to https";
        reader.report.note(proxy.number, &proxy.name, why);
    }
    for line in &proxy.decisions.http_rules {
        if (redirects || hands_on) && is_admin(line) {
            let why = "redirect.listen has no pages of its own: /health, /stats and /metrics are at admin.listen, which needs another \
                       address";
            // Without a password.
            let what = line.words.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(" ");
            reader.report.lost(line.number, &what, why);
        } else {
            follow(line, redirects || hands_on, reader.report);
        }
    }
    for line in proxy.decisions.connection_rules.iter().chain(&proxy.decisions.content_rules) {
        refusal(line, reader);
    }
    redirects || hands_on
}

fn refusal(line: &Line, reader: &mut Reader<'_>) {
    let condition = reader.condition(line, 3);
    let why = match line.word(2) {
        "accept" | "expect-proxy" => return,
        _ if condition.is_by_source() => "use the firewall to decide which clients may connect here",
        _ => "the limit here is fixed: 128 new clients a second; more wait in the backlog",
    };
    reader.report.lost_line(line, why);
}

pub(super) fn is_redirect(line: &Line) -> bool {
    let at = usize::from(line.word(0) == "http-request");
    line.word(at) == "redirect" && line.word(at + 1) == "scheme" && line.word(at + 2) == "https"
}

fn is_admin(line: &Line) -> bool {
    line.word(0) == "monitor-uri"
        || line.word(1) == "use-service" && line.word(2) == "prometheus-exporter"
        || line.word(0) == "stats"
}

fn follow(line: &Line, redirects: bool, report: &mut Report) {
    let after = |word: &str| line.words.iter().skip_while(|w| *w != word).nth(1).map(String::as_str);
    match line.word(0) {
        _ if is_redirect(line) => {
            if after("code").is_some_and(|code| code != "301") {
                report.note_line(line, "the status of the redirect is always 301");
            }
        }
        "stats" if line.word(1) == "auth" => {
            let why = "the configuration holds no password; name two files in admin.stats_credentials, or set STATS_USERNAME \
                       and STATS_PASSWORD";
            report.lost(line.number, "stats auth", why);
        }
        "stats" if line.word(1) == "uri" && line.word(2) != "/stats" => {
            report.note_line(line, "the statistics page is at /stats");
        }
        "stats" if line.word(1) == "admin" => {
            report
                .lost_line(line, "the statistics page is read-only; the command fiscalismia-lb server changes servers");
        }
        "option" if line.word(1) == "forwardfor" => {
            report.note_line(line, "requests are passed on unchanged; the PROXY header tells the client's address");
        }
        "stats" | "option" => {}
        "monitor-uri" if line.word(1) != "/health" => {
            report.note_line(line, "the health of the load balancer is at /health");
        }
        "http-request" if line.word(1) == "use-service" => {
            let path = line.words.iter().find(|word| word.starts_with('/'));
            if path.is_some_and(|path| path != "/metrics") {
                report.note_line(line, "the metrics are at /metrics");
            }
        }
        _ if is_admin(line) => {}
        _ if redirects => report.lost_line(line, "a request is redirected, or passed on unchanged"),
        _ => report.lost_line(line, "the addresses of admin.listen serve fixed pages only"),
    }
}

//! Frontends that read HTTP: of them, the redirect to https and the pages of the proxy itself are here too.
use std::net::SocketAddr;

use super::lex::Line;
use super::output::Output;
use super::proxy::Proxy;
use super::report::Report;

/// Follows a proxy of mode http.
pub(super) fn http(proxy: &Proxy, output: &mut Output, report: &mut Report) {
    let redirects = proxy.http_rules.iter().any(is_redirect);
    let is_admin = proxy.is_admin || proxy.http_rules.iter().any(is_admin);
    let addresses: Vec<String> = proxy.addresses().iter().map(SocketAddr::to_string).collect();
    if redirects {
        output.redirect.listen.extend(addresses);
    } else if is_admin {
        output.admin.listen.extend(addresses);
    } else {
        let why = "HTTP is not read: a server of its own can take these addresses";
        report.lost(proxy.number, &format!("{} of mode http", proxy.name), why);
        return;
    }
    for line in &proxy.http_rules {
        follow(line, redirects, report);
    }
    for line in proxy.use_backend.iter().chain(&proxy.default_backend) {
        report.lost(line.number, &line.words.join(" "), "all plain HTTP is answered with the redirect");
    }
    for line in proxy.connection_rules.iter().chain(&proxy.content_rules) {
        report.lost(line.number, &line.words.join(" "), "128 clients a second are answered, the rest waits");
    }
}

fn is_redirect(line: &Line) -> bool {
    let at = usize::from(line.word(0) == "http-request");
    line.word(at) == "redirect" && line.word(at + 1) == "scheme" && line.word(at + 2) == "https"
}

fn is_admin(line: &Line) -> bool {
    line.word(0) == "monitor-uri"
        || line.word(1) == "use-service" && line.word(2) == "prometheus-exporter"
        || line.word(0) == "stats"
}

fn follow(line: &Line, redirects: bool, report: &mut Report) {
    let what = line.words.join(" ");
    let after = |word: &str| line.words.iter().skip_while(|w| *w != word).nth(1).map(String::as_str);
    match line.word(0) {
        _ if is_redirect(line) => {
            if after("code").is_some_and(|code| code != "301") {
                report.note(line.number, &what, "the status is 301");
            }
        }
        "stats" if line.word(1) == "auth" => {
            let why = "a password is in no configuration: admin.stats_credentials names two files, or STATS_USERNAME and \
                       STATS_PASSWORD are set";
            report.lost(line.number, "stats auth", why);
        }
        "stats" if line.word(1) == "uri" && line.word(2) != "/stats" => {
            report.note(line.number, &what, "the page is at /stats");
        }
        "stats" if line.word(1) == "admin" => {
            report.lost(line.number, &what, "the page shows and changes nothing");
        }
        "stats" | "option" => {}
        "monitor-uri" if line.word(1) != "/health" => report.note(line.number, &what, "the answer is at /health"),
        "http-request" if line.word(1) == "use-service" => {
            let path = line.words.iter().find(|word| word.starts_with('/'));
            if path.is_some_and(|path| path != "/metrics") {
                report.note(line.number, &what, "the metrics are at /metrics");
            }
        }
        _ if is_admin(line) => {}
        _ if redirects => report.lost(line.number, &what, "all plain HTTP is answered with the redirect"),
        _ => report.lost(line.number, &what, "HTTP is not read"),
    }
}

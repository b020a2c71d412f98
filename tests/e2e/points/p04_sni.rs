//! 4. SNI: compared without case and one trailing dot, refused where it is ambiguous, escaped in logs.
use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use serde_json::json;

use crate::kit::client::End;
use crate::kit::lines::From;
use crate::kit::origin::Origin;
use crate::kit::proxy::Proxy;

/// Without this, a name in other case or with a trailing dot is not found, or a name with `_` is refused.
#[test]
fn case_and_one_trailing_dot_do_not_count_and_underscores_do() {
    let origin = Origin::echo("a");
    let proxy = proxy(&origin);
    for name in ["_a.test", "_A.TeSt", "_a.test.", "_A.TEST."] {
        assert_eq!(proxy.connect().hello(name).greeting(), "a", "{name}");
    }
    for name in ["_a.test..", "._a.test", "a.test", "_a"] {
        assert_refused(&proxy, HelloBuilder::new().sni(name), name);
    }
}

/// Without this, proxy and server may read different names from one hello.
#[test]
fn a_name_that_is_there_twice_or_has_a_nul_or_is_too_long_is_refused() {
    let origin = Origin::echo("a");
    let proxy = proxy(&origin);
    assert_refused(&proxy, HelloBuilder::new().sni("_a.test").sni("_a.test"), "two names");
    assert_refused(&proxy, HelloBuilder::new().sni("_a.test\0"), "a NUL");
    assert_refused(&proxy, HelloBuilder::new().sni("_a.test\0.evil"), "a NUL within");
    let long = format!("{}.wild.test", ["x"; 123].join("."));
    assert_eq!(long.len(), 255);
    assert_refused(&proxy, HelloBuilder::new().sni(&long), "255 bytes");
}

/// Without this, a client's name forges a log line, or sends control characters to a terminal.
#[test]
fn hostile_names_are_escaped_in_the_log() {
    let origin = Origin::echo("a");
    let proxy = proxy(&origin);
    let forged = "1.2.3.4:5 [22/Nov/2026:18:00:00.000] https_ingress ACCEPT ac=1 fc=1";
    for name in [format!("x\n{forged}\n"), "\x1b[31mred".to_owned(), "a b/c=d".to_owned(), "\r\u{9b}\"".to_owned()] {
        assert_refused(&proxy, HelloBuilder::new().sni(&name), &name);
    }
    let lines = proxy.lines.of(From::Stdout);
    assert!(!lines.iter().any(|line| line.starts_with("1.2.3.4") || line.contains(char::is_control)), "{lines:#?}");
    assert!(proxy.entries().len() >= 8, "{lines:#?}");
}

fn proxy(origin: &Origin) -> Proxy {
    Proxy::start(json!({
        "routes": { "a": { "sni": ["_a.test"], "servers": [origin.server()] } },
        "reject": "close"
    }))
}

fn assert_refused(proxy: &Proxy, hello: HelloBuilder, what: &str) {
    let mut client = proxy.connect();
    assert_eq!(client.send(&hello.build()).rest(), (Vec::new(), End::Fin), "{what}");
    let close = proxy.close_of(client.address);
    assert_eq!((close.field("drop"), close.ts()), ("SNI_REJECTED", "PR"), "{what}");
}

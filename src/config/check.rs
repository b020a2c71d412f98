//! `health_check`, the file's own and a route's.
use super::read::Fields;
use super::tree::Value;
use super::values::{boolean, choice, duration, http_path, integer, port};
use super::{HealthCheck, Probe, ProxyProtocol, SniPattern, defaults};
use std::time::Duration;

/// What the keys say, before a route's names and protocol make a check of it.
#[derive(Clone)]
pub(super) struct Settings {
    kind: Kind,
    interval: Duration,
    timeout: Duration,
    fall: u32,
    rise: u32,
    port: Option<u16>,
    path: Box<str>,
    expect: [u16; 2],
    proxy_header: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Off,
    Tcp,
    Tls,
    Http,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            kind: Kind::Tcp,
            interval: defaults::CHECK_INTERVAL,
            timeout: defaults::CHECK_TIMEOUT,
            fall: defaults::CHECK_FALL,
            rise: defaults::CHECK_RISE,
            port: None,
            path: defaults::CHECK_PATH.into(),
            expect: defaults::CHECK_EXPECT,
            proxy_header: defaults::CHECK_PROXY_HEADER,
        }
    }
}

/// The settings under `health_check`, those of `base` where it says nothing. `protocol` is the route's; the file's own
/// `proxy_header` means the routes that can have one.
pub(super) fn settings(fields: &mut Fields<'_, '_>, base: &Settings, protocol: ProxyProtocol) -> Settings {
    let kinds = [("tcp", Kind::Tcp), ("tls", Kind::Tls), ("http", Kind::Http), ("off", Kind::Off)];
    let settings = fields.object("health_check", |fields| Settings {
        kind: fields.or("type", base.kind, choice(&kinds)),
        interval: fields.or("interval", base.interval, duration(defaults::DURATIONS)),
        timeout: fields.or("timeout", base.timeout, duration(defaults::DURATIONS)),
        fall: fields.or("fall", base.fall, integer(defaults::CHECK_COUNTS)),
        rise: fields.or("rise", base.rise, integer(defaults::CHECK_COUNTS)),
        port: fields.optional("port", port).or(base.port),
        path: fields.optional("path", http_path).unwrap_or_else(|| base.path.clone()),
        expect: fields.or("expect", base.expect, expect),
        proxy_header: proxy_header(fields, protocol).unwrap_or(base.proxy_header),
    });
    settings.unwrap_or_else(|| base.clone())
}

fn proxy_header(fields: &mut Fields<'_, '_>, protocol: ProxyProtocol) -> Option<bool> {
    let proxy_header = fields.optional("proxy_header", boolean);
    if proxy_header == Some(true) && protocol != ProxyProtocol::V2 {
        fields.error("proxy_header", "needs proxy_protocol \"v2\"; leave it out or write false");
    }
    proxy_header
}

/// Lowest and highest status.
fn expect(value: &Value) -> Result<[u16; 2], String> {
    const WANTED: &str = "the lowest and the highest status, like [200, 399]";
    let Value::List(items) = value else { return Err(value.is_not(WANTED)) };
    let [low, high] = items.as_slice() else {
        return Err(format!("this is a list of {}; write {WANTED}", items.len()));
    };
    let status = integer(defaults::STATUSES);
    let pair = [status(low)?, status(high)?];
    if pair[0] > pair[1] {
        return Err(format!("{pair:?} is upside down; write {WANTED}"));
    }
    Ok(pair)
}

impl Settings {
    /// The check of a route with these names.
    pub(super) fn resolve(self, sni: &[SniPattern], protocol: ProxyProtocol) -> HealthCheck {
        let exact = || {
            sni.iter().find_map(|pattern| match pattern {
                SniPattern::Exact(name) => Some(name.clone()),
                _ => None,
            })
        };
        let probe = match self.kind {
            Kind::Off => Probe::Off,
            Kind::Tcp => Probe::Tcp,
            Kind::Tls => Probe::Tls { sni: exact() },
            Kind::Http => Probe::Http { path: self.path, expect: self.expect, host: exact() },
        };
        HealthCheck {
            probe,
            interval: self.interval,
            timeout: self.timeout,
            fall: self.fall,
            rise: self.rise,
            port: self.port,
            proxy_header: self.proxy_header && protocol == ProxyProtocol::V2,
        }
    }
}

//! `health_check`, at the top of the file and in a route.
use std::time::Duration;

use super::keys::{Key, health_check as keys};
use super::kinds::Group;
use super::read::Fields;
use super::{HealthCheck, Probe, ProxyProtocol, SniPattern, defaults};

/// What the keys of `health_check` say. A route's names and PROXY protocol complete it.
#[derive(Clone)]
pub(super) struct Settings {
    kind: Kind,
    interval: Duration,
    fast_interval: Option<Duration>,
    timeout: Duration,
    fall: u32,
    rise: u32,
    port: Option<u16>,
    path: Box<str>,
    expect: [u16; 2],
    proxy_header: bool,
}

/// The kind of probe.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Off,
    Tcp,
    Tls,
    Http,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            kind: defaults::CHECK_TYPE,
            interval: defaults::CHECK_INTERVAL,
            fast_interval: None,
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

/// The settings under `key`, with those of `base` for missing keys. `protocol` is the route's; at the top of the file
/// there is none, and `proxy_header` then applies to every route that has a PROXY header.
pub(super) fn settings(
    fields: &mut Fields<'_, '_>,
    key: &'static Key<Group>,
    base: &Settings,
    protocol: ProxyProtocol,
) -> Settings {
    let settings = fields.object(key, |fields| Settings {
        kind: fields.or(&keys::TYPE, base.kind),
        interval: fields.or(&keys::INTERVAL, base.interval),
        fast_interval: fields.optional(&keys::FAST_INTERVAL).or(base.fast_interval),
        timeout: fields.or(&keys::TIMEOUT, base.timeout),
        fall: fields.or(&keys::FALL, base.fall),
        rise: fields.or(&keys::RISE, base.rise),
        port: fields.optional(&keys::PORT).or(base.port),
        path: fields.optional(&keys::PATH).unwrap_or_else(|| base.path.clone()),
        expect: fields.or(&keys::EXPECT, base.expect),
        proxy_header: proxy_header(fields, protocol).unwrap_or(base.proxy_header),
    });
    settings.unwrap_or_else(|| base.clone())
}

/// Notes an error for each key that only a check of type `http` has, where the type is another.
pub(super) fn refuse_http_only(fields: &mut Fields<'_, '_>, key: &'static Key<Group>) {
    let what = "has no effect without \"type\": \"http\"; write that too, or leave this out";
    fields.refuse_in(key, &keys::PATH, what);
    fields.refuse_in(key, &keys::EXPECT, what);
}

fn proxy_header(fields: &mut Fields<'_, '_>, protocol: ProxyProtocol) -> Option<bool> {
    let proxy_header = fields.optional(&keys::PROXY_HEADER);
    if proxy_header == Some(true) && protocol == ProxyProtocol::Off {
        fields.error(&keys::PROXY_HEADER, "needs proxy_protocol \"v2\" or \"v1\"; leave it out or write false");
    }
    proxy_header
}

impl Settings {
    pub(super) fn is_http(&self) -> bool {
        self.kind == Kind::Http
    }

    /// The check of a route with these names and this PROXY protocol.
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
            fast_interval: self.fast_interval.unwrap_or(self.interval),
            timeout: self.timeout,
            fall: self.fall,
            rise: self.rise,
            port: self.port,
            proxy_header: if self.proxy_header { protocol } else { ProxyProtocol::Off },
        }
    }
}

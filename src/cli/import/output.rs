//! Writes the configuration file, in the order of the documentation.
use serde::{Serialize, Serializer};

#[derive(Debug, Default, Serialize)]
pub(super) struct Output {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) listen: Vec<String>,
    #[serde(serialize_with = "in_order")]
    pub(super) routes: Vec<(String, Route)>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) timeouts: Timeouts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retries: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) health_check: HealthCheck,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) limits: Limits,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reject: Option<&'static str>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) redirect: Listen,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) accept_proxy: Balancers,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) admin: Listen,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) log: Log,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) control: Control,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Route {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) listen: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sni: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) alpn: Vec<String>,
    #[serde(flatten)]
    pub(super) body: RouteBody,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct RouteBody {
    pub(super) servers: Vec<Server>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) balance: Option<&'static str>,
    /// Always told where it is not v2, which is our own default.
    #[serde(skip_serializing_if = "is_v2")]
    pub(super) proxy_protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) proxy_tlvs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on_down: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) allow_from: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<Http>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) timeouts: Timeouts,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) health_check: HealthCheck,
    #[serde(skip)]
    pub(super) retries: Option<u32>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Server {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<u16>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) backup: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_connections: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Timeouts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_hello: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tunnel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) half_closed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) drain: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct HealthCheck {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fast_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fall: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rise: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expect: Option<[u16; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proxy_header: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connections: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_source: Option<PerSource>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct PerSource {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) period: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) concurrent: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) exempt: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Listen {
    pub(super) listen: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Http {
    pub(super) port: u16,
    pub(super) paths: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Balancers {
    pub(super) from: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Log {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) empty: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Control {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) socket: Option<&'static str>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::ref_option_ref, reason = "serde passes the field itself")]
fn is_v2(protocol: &Option<&'static str>) -> bool {
    *protocol == Some("v2")
}

/// As an object whose keys keep their order.
fn in_order<S: Serializer>(routes: &[(String, Route)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(routes.iter().map(|(name, route)| (name, route)))
}

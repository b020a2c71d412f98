//! Addresses as the file writes them. Host names are refused, so a start or reload never waits for a name server.
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::defaults::PORTS;
use super::tree::Value;
use super::values::text;

const TLS_PORT: u16 = 443;
const HTTP_PORT: u16 = 80;
const ADMIN_PORT: u16 = 8404;

/// An address with its port, for the schema.
pub(super) const ADDRESS_PATTERN: &str = r"^([0-9.]+|\[[0-9A-Fa-f.:]+(%[0-9]+)?\]):[0-9]{1,5}$";
/// A CIDR, for the schema.
pub(super) const NETWORK_PATTERN: &str = "^[0-9A-Fa-f.:]+/[0-9]{1,3}$";

/// An address to listen on for TLS.
pub(super) fn tls_address(value: &Value) -> Result<SocketAddr, String> {
    local_address(TLS_PORT, value)
}

/// An address to listen on for plain HTTP.
pub(super) fn http_address(value: &Value) -> Result<SocketAddr, String> {
    local_address(HTTP_PORT, value)
}

/// An address to listen on for the admin endpoints.
pub(super) fn admin_address(value: &Value) -> Result<SocketAddr, String> {
    local_address(ADMIN_PORT, value)
}

/// An address to listen on. Port 0 lets the kernel choose. `port` is the port that an error suggests.
fn local_address(port: u16, value: &Value) -> Result<SocketAddr, String> {
    let example = SocketAddr::from(([0, 0, 0, 0], port));
    let text = text(value, &wanted(example))?;
    let after_colon = text.strip_prefix('*').unwrap_or(text).strip_prefix(':');
    if let Some(port) = after_colon.and_then(|port| port.parse::<u16>().ok()) {
        return Err(format!("{text:?} has no address; write \"0.0.0.0:{port}\" and \"[::]:{port}\""));
    }
    let address = address(text, example)?;
    if needs_link(address) {
        let ip = address.ip();
        let port = address.port();
        return Err(format!(
            "{text:?} is link-local and names no device; write \"[{ip}%2]:{port}\", where 2 is the device's index"
        ));
    }
    Ok(address)
}

/// An address to connect to, and the text that the file has for it.
pub(super) fn written_server_address(value: &Value) -> Result<(SocketAddr, Box<str>), String> {
    let address = server_address(value)?;
    Ok((address, text(value, "")?.into()))
}

/// An address to connect to.
fn server_address(value: &Value) -> Result<SocketAddr, String> {
    let example = SocketAddr::from(([172, 24, 0, 3], 443));
    let text = text(value, &wanted(example))?;
    let address = address(text, example)?;
    let ip = address.ip();
    if address.port() == 0 {
        return Err(format!("{text:?} has port 0; write a port from {} to {}", PORTS.start(), PORTS.end()));
    }
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4]) {
        return Err(format!("{text:?} is not the address of one host; write the server's own address"));
    }
    Ok(address)
}

fn wanted(example: SocketAddr) -> String {
    format!("an address with its port, like \"{example}\"")
}

fn address(text: &str, example: SocketAddr) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| no_address(text, example))?;
    match address.ip().to_canonical() {
        IpAddr::V4(v4) if address.is_ipv6() => {
            Err(format!("{text:?} is an IPv4 address in IPv6 form; write \"{v4}:{}\"", address.port()))
        }
        _ => Ok(address),
    }
}

/// Says why `text` is not an address with a port. The suggestion may take its port from `example`.
fn no_address(text: &str, example: SocketAddr) -> String {
    if let Some((scheme, rest)) = text.split_once("://") {
        return url(text, scheme, rest, example);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_bracketed = text.starts_with('[');
    if let (Ok(ip @ IpAddr::V6(_)), Ok(number), false) = (host.parse::<IpAddr>(), port.parse::<u16>(), is_bracketed) {
        let with_port = SocketAddr::new(ip, number);
        return match bare_ip(text) {
            Some(ip) => format!(
                "{text:?} does not show where its port begins; write \"{with_port}\", or \"{}\" if all of it is the address",
                SocketAddr::new(ip, example.port())
            ),
            None => format!("{text:?} has no brackets around its address; write \"{with_port}\""),
        };
    }
    if let Some(ip) = bare_ip(text) {
        return format!("{text:?} has no port; write \"{}\"", SocketAddr::new(ip, example.port()));
    }
    let begin = text.split(['/', ' ', ',']).next().unwrap_or_default();
    if begin.parse::<SocketAddr>().is_ok() {
        return format!("{text:?} has text after its port; write \"{begin}\"");
    }
    if bare_ip(host).is_some() {
        return format!(
            "{text:?} has no usable port, {port:?}; write a port from {} to {}",
            PORTS.start(),
            PORTS.end()
        );
    }
    let wanted = wanted(example);
    if text.contains('%') {
        return format!(
            "{text:?} gives its device by name; write the device's index, as \"[fe80::1%2]:{}\"",
            example.port()
        );
    }
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if host.bytes().any(|byte| byte.is_ascii_alphabetic()) && host.bytes().all(name) && !port.contains('/') {
        return format!("{text:?} is a host name, and host names are not resolved; write {wanted}");
    }
    format!("{text:?} is not an address; write {wanted} or \"[2001:db8::3]:{}\"", example.port())
}

/// Reads a URL as its host and its port, or the port of its scheme.
fn url(text: &str, scheme: &str, rest: &str, example: SocketAddr) -> String {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = match scheme {
        "http" => HTTP_PORT,
        "https" => TLS_PORT,
        _ => example.port(),
    };
    let address = host.parse().ok().or_else(|| Some(SocketAddr::new(bare_ip(host)?, port)));
    match address {
        Some(address) => format!("{text:?} is a URL; write \"{address}\""),
        None => format!("{text:?} is a URL, and host names are not resolved; write {}", wanted(example)),
    }
}

/// An address without a port, in brackets or not.
fn bare_ip(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    Some(bare.parse::<IpAddr>().ok()?.to_canonical())
}

/// Whether `address` is link-local (RFC 4291 section 2.5.6) and names no device: it would be another host on every link.
pub(super) fn needs_link(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0)
}

pub(super) fn ip(value: &Value) -> Result<IpAddr, String> {
    const WANTED: &str = "an address without a port, like \"172.24.1.3\"";
    let text = text(value, WANTED)?;
    text.parse().map_err(|_| format!("{text:?} is not an address; write {WANTED}, or a device as \"interface\""))
}

/// A CIDR. Bits beyond the prefix are cleared.
pub(super) fn network(value: &Value) -> Result<IpNet, String> {
    const WANTED: &str = "a network, like \"172.24.0.0/23\"";
    let text = text(value, WANTED)?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Err(format!("{text:?} has no prefix length; write \"{}\"", IpNet::from(ip.to_canonical())));
    }
    let net: IpNet = text.parse().map_err(|_| format!("{text:?} is not a network; write {WANTED}"))?;
    let net = net.trunc();
    // No client has such an address: accept turns a v4-mapped one into IPv4.
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(v4), Some(prefix)) => {
            Err(format!("{text:?} is an IPv4 network in IPv6 form; write \"{v4}/{prefix}\""))
        }
        _ => Ok(net),
    }
}

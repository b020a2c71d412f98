//! Reads the heads of plain HTTP requests to the redirect and the admin endpoints.
//!
//! RFC 9112 sections 3 to 5. Refuses a request that two readers could understand differently, and one whose parts could
//! not be repeated safely in a header.
use std::net::Ipv6Addr;

use httparse::{EMPTY_HEADER, Error, Header, Request, Status};

#[cfg(test)]
mod tests;

/// The longest request head, in bytes.
pub const MAX_LEN: usize = 8 * 1024;
/// The most fields of a request head.
pub const MAX_FIELDS: usize = 64;
/// RFC 1035 section 2.3.4, as text with its trailing dot.
const MAX_HOST: usize = 254;

/// What the bytes of a request received so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Nothing is wrong yet, and more bytes are needed.
    Incomplete,
    /// The head has more than [`MAX_LEN`] bytes: status 431.
    TooLong,
    /// The head has more than [`MAX_FIELDS`] fields: status 431.
    TooManyFields,
    /// The head is malformed: status 400. A sentence.
    Malformed(&'static str),
    /// A whole head.
    Head(Head<'a>),
}

/// A request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Any token.
    pub method: &'a str,
    /// Path and query as sent, also of an absolute target; `*`, or `HOST:PORT` with CONNECT. Printable ASCII without
    /// `"`, `<`, `>` and `#`.
    pub path: &'a str,
    /// A domain name, an IPv4 address, or an IPv6 address in brackets, without a port. It comes from an absolute
    /// target, else from the field Host unless that is empty.
    pub host: Option<&'a str>,
    /// The value of the field Authorization.
    pub authorization: Option<&'a [u8]>,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// Length of the head in bytes.
    pub len: usize,
}

/// Judges `bytes`: all bytes of a request received so far.
#[must_use]
pub fn read(bytes: &[u8]) -> Verdict<'_> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut request = Request::new(&mut fields);
    match request.parse(bytes.get(..MAX_LEN).unwrap_or(bytes)) {
        Ok(Status::Complete(len)) => Head::check(&request, len).map_or_else(Verdict::Malformed, Verdict::Head),
        Ok(Status::Partial) if bytes.len() < MAX_LEN => Verdict::Incomplete,
        Ok(Status::Partial) => Verdict::TooLong,
        Err(Error::TooManyHeaders) => Verdict::TooManyFields,
        Err(_) => Verdict::Malformed("not a request of HTTP/1.0 or 1.1"),
    }
}

/// The address over TLS: `https://HOST PATH`. `None` if the request names no host or no path.
#[must_use]
pub fn redirect_location(head: &Head<'_>) -> Option<String> {
    let host = head.host?;
    head.path.starts_with(['/', '?']).then(|| format!("https://{host}{}", head.path))
}

impl<'a> Head<'a> {
    fn check(request: &Request<'_, 'a>, len: usize) -> Result<Head<'a>, &'static str> {
        let method = request.method.ok_or("the method is missing")?;
        let target = request.path.ok_or("the target is missing")?;
        let minor_version = request.version.ok_or("the version is missing")?;
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && !br#""<>#"#.contains(&byte)) {
            return Err("the target has a byte that no target can have");
        }
        let (authority, path) = match split_absolute(target) {
            Some((authority, path)) => (Some(authority), path),
            None if target.starts_with('/') || target == "*" || method == "CONNECT" => (None, target),
            None => return Err("the target is malformed"),
        };
        let field = single(request.headers, "host").map_err(|()| "more than one Host")?;
        if field.is_none() && minor_version == 1 {
            return Err("no Host");
        }
        // RFC 9112 section 3.2.2: the host of an absolute target takes precedence over the field Host.
        let host = match (authority, field) {
            (Some(authority), _) => Some(without_port(authority).ok_or("the target's host is malformed")?),
            (None, None | Some(b"")) => None,
            (None, Some(field)) => {
                Some(str::from_utf8(field).ok().and_then(without_port).ok_or("the Host is malformed")?)
            }
        };
        let authorization = single(request.headers, "authorization").map_err(|()| "more than one Authorization")?;
        Ok(Head { method, path, host, authorization, minor_version, len })
    }
}

/// The value of the field `name`; an error if the request has it more than once.
fn single<'a>(fields: &[Header<'a>], name: &str) -> Result<Option<&'a [u8]>, ()> {
    let mut values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(()),
        (value, None) => Ok(value),
    }
}

/// The authority and the path of `http://AUTHORITY/PATH`.
fn split_absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // RFC 9112 section 3.2.1: an empty path is sent as "/".
    Some((authority, if path.is_empty() { "/" } else { path }))
}

/// The host of `HOST` or `HOST:PORT`, if a client can connect to it.
///
/// Of RFC 3986's `reg-name` only the characters of domain names are accepted.
fn without_port(authority: &str) -> Option<&str> {
    let address_end = authority.find(']').unwrap_or_default();
    let end = authority.get(address_end..)?.find(':').map_or(authority.len(), |at| address_end + at);
    let (host, port) = authority.split_at_checked(end)?;
    let valid = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
    };
    let port_is_digits = port.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    (valid && port_is_digits && (1..=MAX_HOST).contains(&host.len())).then_some(host)
}

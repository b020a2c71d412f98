//! Times, addresses and lists as haproxy.cfg writes them.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fiscalismia_lb::config::read_regular_file;

use super::MAX_FILE;
use super::lex::Environment;

/// A time; a number alone is milliseconds.
pub(super) fn time(text: &str) -> Option<Duration> {
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "us" => Duration::from_micros(number),
        "ms" | "" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        "d" => Duration::from_secs(number.checked_mul(86_400)?),
        _ => return None,
    })
}

/// A time in the form of this program's file, which has none below a millisecond or beyond 30 days.
pub(super) fn duration(time: Duration) -> String {
    let time = time.clamp(Duration::from_millis(1), Duration::from_hours(30 * 24));
    let seconds = time.as_secs();
    if time.subsec_millis() > 0 || seconds == 0 {
        format!("{}ms", time.as_millis())
    } else if !seconds.is_multiple_of(60) {
        format!("{seconds}s")
    } else if !seconds.is_multiple_of(3600) {
        format!("{}m", seconds / 60)
    } else {
        format!("{}h", seconds / 3600)
    }
}

/// An address of a `bind` or `server` line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    /// First and last port; `None` where the line has no port.
    pub(super) ports: Option<(u16, u16)>,
    /// The port is an offset, added to the listener's port.
    pub(super) is_offset: bool,
}

const MAX_PORTS: u16 = 100;

impl Address {
    /// Reads an address. The error says what is wrong.
    pub(super) fn read(word: &str, environment: &Environment) -> Result<Address, String> {
        let word = environment
            .in_address(word)
            .map_err(|name| format!("the variable {name} is not set; set it and import again"))?;
        let (family, word) = match word.split_once('@') {
            Some((family @ ("ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6"), rest)) => (family, rest),
            Some(("unix" | "abns" | "abnsz" | "uxst" | "uxdg", _)) => return Err(UNIX.to_owned()),
            Some(("quic4" | "quic6" | "udp" | "udp4" | "udp6", _)) => {
                return Err("only TCP is supported, not UDP or QUIC".to_owned());
            }
            Some(("fd" | "sockpair", _)) => {
                return Err("systemd passes sockets by name; write an address".to_owned());
            }
            Some((family, _)) => return Err(format!("\"{family}@\" is not supported; write an address with its port")),
            None => ("", &*word),
        };
        if word.starts_with('/') {
            return Err(UNIX.to_owned());
        }
        let is_v6 = family.ends_with('6');
        let (host, port) = match word.rsplit_once(':') {
            Some((host, port)) if !(port.is_empty() && host.ends_with(':')) || host.starts_with('[') => (host, port),
            _ => (word, ""),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let ip = match host {
            "" | "*" if is_v6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "" | "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().map_err(|_| {
                format!("{host:?} is a host name, and host names are not resolved; write its address, from which the firewall rules follow too")
            })?,
        };
        let (is_offset, port) = port.strip_prefix('+').map_or((false, port), |offset| (true, offset));
        Ok(Address { ip, ports: ports(port)?, is_offset })
    }

    /// All its addresses.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let (first, last) = self.ports.unwrap_or((0, 0));
        (first..=last).map(|port| SocketAddr::new(self.ip, port)).collect()
    }
}

pub(super) const UNIX: &str = "unix sockets are not supported; write a loopback address with a port";

fn ports(text: &str) -> Result<Option<(u16, u16)>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last && last - first < MAX_PORTS => Ok(Some((first, last))),
        (Ok(_), Ok(_)) => {
            Err(format!("{text:?} is not a range of at most {MAX_PORTS} ports; a firewall can redirect more to one"))
        }
        _ => Err(format!("{text:?} is not a port; write a number")),
    }
}

/// Reads a file that the haproxy.cfg names: at its path, or beside the haproxy.cfg.
pub(super) fn read_beside(configuration: &Path, name: &str) -> Result<String, String> {
    let beside = configuration.parent().map(|folder| folder.join(name));
    let by_name = configuration.parent().zip(Path::new(name).file_name()).map(|(folder, name)| folder.join(name));
    let paths = [Some(PathBuf::from(name)), beside, by_name];
    let found = paths.into_iter().flatten().find_map(|path| read_regular_file(&path, MAX_FILE).ok());
    found.ok_or_else(|| format!("{name:?} cannot be read; put the file beside the haproxy.cfg and import again"))
}

/// The lines of a list file or a map: key, and value where there is one.
pub(super) fn entries(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(|char: char| char.is_ascii_whitespace()).map_or((line, ""), |(k, v)| (k, v.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a time is read in another unit.
    #[test]
    fn times() {
        for (text, expected) in [
            ("5000", "5s"),
            ("30s", "30s"),
            ("250ms", "250ms"),
            ("5m", "5m"),
            ("90s", "90s"),
            ("60s", "1m"),
            ("1d", "24h"),
        ] {
            assert_eq!(time(text).map(duration).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(time("5x"), None);
    }

    /// Without this, a `bind` line becomes another listener, or none.
    #[test]
    fn addresses() {
        let read = |text: &str| Address::read(text, &Environment::default());
        for (text, expected) in [
            (":443", &["0.0.0.0:443"][..]),
            ("*:443", &["0.0.0.0:443"]),
            ("ipv4@:443", &["0.0.0.0:443"]),
            ("ipv6@:443", &["[::]:443"]),
            ("[::]:443", &["[::]:443"]),
            (":::443", &["[::]:443"]),
            ("[::1]:443", &["[::1]:443"]),
            ("192.0.2.1:8443-8445", &["192.0.2.1:8443", "192.0.2.1:8444", "192.0.2.1:8445"]),
            ("localhost:80", &["127.0.0.1:80"]),
            ("10.0.0.1", &["10.0.0.1:0"]),
        ] {
            let addresses: Vec<_> = read(text).unwrap().addresses().iter().map(ToString::to_string).collect();
            assert_eq!(addresses, expected, "{text}");
        }
        assert!(read("10.0.0.1:+100").unwrap().is_offset);
        for bad in ["unix@/run/x", "/run/x.sock", "abns@x", "fd@3", "quic4@:443", "web.internal:443", ":1-60000", ":x"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

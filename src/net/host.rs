//! Devices and addresses of this host.
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};

/// Whether there is a network device of that name, by proc(5), as a build's sandbox has no /sys. True if that cannot be
/// told.
#[must_use]
pub fn has_device(name: &str) -> bool {
    let is_it = |line: &str| line.split_once(':').is_some_and(|(device, _)| device.trim() == name);
    std::fs::read_to_string("/proc/self/net/dev").map_or(true, |devices| devices.lines().any(is_it))
}

/// Whether a socket can be bound to that address. True if the error is another than a missing address.
#[must_use]
pub fn has_address(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).map_or_else(|error| error.kind() != ErrorKind::AddrNotAvailable, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a server that no connection can reach has no warning.
    #[test]
    fn what_is_not_there_is_told() {
        assert!(has_device("lo") && !has_device("nowhere0"));
        assert!(has_address([127, 0, 0, 1].into()) && !has_address([203, 0, 113, 9].into()));
    }
}

//! Fatal TLS alerts, which a refused client gets where `reject` is `alert`.

/// Why a client is refused (RFC 8446 section 6.2, RFC 6066 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// No route has the name that the client asked for.
    UnrecognizedName = 0x70,
    /// The client's first bytes are not a valid hello.
    DecodeError = 0x32,
    /// The fault is not the client's: no server is up, or a limit was reached.
    InternalError = 0x50,
}

impl Alert {
    /// The whole record. Its version is TLS 1.2, as RFC 8446 section 5.1 requires.
    #[must_use]
    pub const fn record(self) -> [u8; 7] {
        const FATAL: u8 = 0x02;
        [0x15, 0x03, 0x03, 0x00, 0x02, FATAL, self as u8]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, clients report another error: they name it by IANA's numbers.
    #[test]
    fn records_are_as_specified() {
        assert_eq!(Alert::UnrecognizedName.record(), [21, 3, 3, 0, 2, 2, 112]);
        assert_eq!(Alert::DecodeError.record(), [21, 3, 3, 0, 2, 2, 50]);
        assert_eq!(Alert::InternalError.record(), [21, 3, 3, 0, 2, 2, 80]);
    }
}

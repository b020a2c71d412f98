//! Choices of the configuration that are named elsewhere as well.

/// How a server is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// The fewest open connections for its weight.
    LeastConnections,
    /// Consistent hash of the client's address.
    Source,
}

/// The PROXY header that a server gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Version 2, binary.
    V2,
    /// Version 1, text.
    V1,
    /// None.
    Off,
}

/// What a client that is not let in gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Neither FIN nor RST, beyond the client's first router.
    Drop,
    /// A fatal TLS alert.
    Alert,
    /// FIN.
    Close,
}

/// A choice as the file has it, and as others have it.
struct Words(&'static str, &'static str);

impl Balance {
    /// Every choice, by the file's word.
    pub const CHOICES: &[(&str, Balance)] =
        &[Balance::RoundRobin.choice(), Balance::LeastConnections.choice(), Balance::Source.choice()];

    const fn words(self) -> Words {
        match self {
            Balance::RoundRobin => Words("round_robin", "roundrobin"),
            Balance::LeastConnections => Words("least_connections", "leastconn"),
            Balance::Source => Words("source", "source"),
        }
    }

    const fn choice(self) -> (&'static str, Balance) {
        (self.word(), self)
    }

    /// The file's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.words().0
    }

    /// HAProxy's word.
    #[must_use]
    pub const fn haproxy(self) -> &'static str {
        self.words().1
    }
}

impl ProxyProtocol {
    /// Every choice, by the file's word.
    pub const CHOICES: &[(&str, ProxyProtocol)] =
        &[ProxyProtocol::V2.choice(), ProxyProtocol::V1.choice(), ProxyProtocol::Off.choice()];

    const fn words(self) -> Words {
        match self {
            ProxyProtocol::V2 => Words("v2", "PROXY v2"),
            ProxyProtocol::V1 => Words("v1", "PROXY v1"),
            ProxyProtocol::Off => Words("off", "no PROXY header"),
        }
    }

    const fn choice(self) -> (&'static str, ProxyProtocol) {
        (self.words().0, self)
    }

    /// The header's name.
    #[must_use]
    pub const fn header(self) -> &'static str {
        self.words().1
    }
}

impl Reject {
    /// Every choice, by the file's word.
    pub const CHOICES: &[(&str, Reject)] = &[Reject::Drop.choice(), Reject::Alert.choice(), Reject::Close.choice()];

    const fn words(self) -> Words {
        match self {
            Reject::Drop => Words("drop", "no FIN or RST gets beyond the client's first router"),
            Reject::Alert => Words("alert", "the client gets the TLS alert unrecognized_name"),
            Reject::Close => Words("close", "the connection is closed"),
        }
    }

    const fn choice(self) -> (&'static str, Reject) {
        (self.word(), self)
    }

    /// The file's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.words().0
    }

    /// What a client sees whose name no route has.
    #[must_use]
    pub const fn effect(self) -> &'static str {
        self.words().1
    }
}

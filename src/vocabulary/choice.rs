//! Choices of the configuration whose names are shown elsewhere too.

/// How a server is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// The fewest open connections in proportion to weight.
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

/// What a refused client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// No FIN and no RST beyond the client's first router.
    Drop,
    /// A fatal TLS alert.
    Alert,
    /// FIN.
    Close,
}

/// The file's word for a choice, and the word that others have for it.
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
            Reject::Drop => Words("drop", "the client gets no answer, and no FIN or RST beyond its first router"),
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

    /// What a client whose name has no route sees.
    #[must_use]
    pub const fn effect(self) -> &'static str {
        self.words().1
    }
}

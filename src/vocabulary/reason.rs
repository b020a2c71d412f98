//! Why a client was refused, and why a connection ended: the two vocabularies of log, metrics and page.

/// Why a client was refused before it had a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Too many new connections from its address.
    RateLimited,
    /// Too many open connections from its address.
    TooManyConnections,
    /// No route for the name.
    UnknownSni,
    /// No SNI, and no route with `*`.
    NoSni,
    /// Its address is not in the route's `allow_from`.
    NotAllowed,
    /// The first bytes are not TLS.
    NotTls,
    /// The hello is broken.
    MalformedHello,
    /// No whole hello in time.
    HelloTimeout,
    /// The client left before its hello was whole.
    ClosedEarly,
    /// A balancer in front did not begin the connection with a PROXY header.
    NoProxyHeader,
    /// The PROXY header of a balancer in front is malformed.
    MalformedProxyHeader,
    /// The PROXY header of a balancer in front has no client address.
    NoClientAddress,
}

struct DropWords {
    name: &'static str,
    in_log: &'static str,
    explained: &'static str,
}

impl DropWords {
    const fn new(name: &'static str, in_log: &'static str, explained: &'static str) -> DropWords {
        DropWords { name, in_log, explained }
    }
}

/// The two words that HAProxy's log of this deployment had; its readers look for them.
const RATE: &str = "RATE_LIMITED";
const SNI: &str = "SNI_REJECTED";

impl DropReason {
    /// Every reason, in the order of [`DropReason::index`].
    pub const ALL: [DropReason; 12] = [
        DropReason::RateLimited,
        DropReason::TooManyConnections,
        DropReason::UnknownSni,
        DropReason::NoSni,
        DropReason::NotAllowed,
        DropReason::NotTls,
        DropReason::MalformedHello,
        DropReason::HelloTimeout,
        DropReason::ClosedEarly,
        DropReason::NoProxyHeader,
        DropReason::MalformedProxyHeader,
        DropReason::NoClientAddress,
    ];

    /// Its place in [`DropReason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    const fn words(self) -> DropWords {
        match self {
            DropReason::RateLimited => {
                DropWords::new("rate_limited", RATE, "too many new connections from one address")
            }
            DropReason::TooManyConnections => {
                DropWords::new("too_many_connections", RATE, "too many open connections from one address")
            }
            DropReason::UnknownSni => DropWords::new("unknown_sni", SNI, "no route for the name"),
            DropReason::NoSni => DropWords::new("no_sni", SNI, "no name"),
            DropReason::NotAllowed => {
                DropWords::new("not_allowed", SNI, "from an address that the route does not take")
            }
            DropReason::NotTls => DropWords::new("not_tls", SNI, "not TLS"),
            DropReason::MalformedHello => DropWords::new("malformed_hello", SNI, "broken hello"),
            DropReason::HelloTimeout => DropWords::new("hello_timeout", SNI, "no whole hello in time"),
            DropReason::ClosedEarly => DropWords::new("closed_early", SNI, "left before the hello was whole"),
            DropReason::NoProxyHeader => DropWords::new("no_proxy_header", SNI, "no PROXY header from a balancer"),
            DropReason::MalformedProxyHeader => DropWords::new("malformed_proxy_header", SNI, "broken PROXY header"),
            DropReason::NoClientAddress => DropWords::new("no_client_address", SNI, "PROXY header without an address"),
        }
    }

    /// The name in metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.words().name
    }

    /// What the log's `drop=` says.
    #[must_use]
    pub const fn in_log(self) -> &'static str {
        self.words().in_log
    }

    /// What the page says.
    #[must_use]
    pub const fn explained(self) -> &'static str {
        self.words().explained
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Both sides ended their direction.
    Done,
    /// The client was refused before it had a route.
    Dropped(DropReason),
    /// The client left while a server was being connected to.
    ClientLeft,
    /// Every attempt to connect failed, or no server is up.
    ServerRefused,
    /// The last attempt to connect took too long.
    ConnectTimeout,
    /// The client reset the connection.
    ClientBroke,
    /// The server reset the connection.
    ServerBroke,
    /// No byte for too long, and the client was the last to have been sent one.
    ClientSilent,
    /// No byte for too long, and the server was the last to have been sent one.
    ServerSilent,
    /// Every server stayed at its limit of connections until the time was up.
    ServersFull,
    /// The proxy is out of fds or memory.
    OutOfResources,
    /// Ended by an operator, by `on_down` or by the drain deadline.
    Killed,
    /// The proxy answered itself: a client of the redirect, or the health check of a balancer in front.
    Answered,
}

struct CloseWords {
    index: usize,
    name: &'static str,
    letters: &'static str,
    explained: &'static str,
}

impl CloseWords {
    const fn new(index: usize, name: &'static str, letters: &'static str, explained: &'static str) -> CloseWords {
        CloseWords { index, name, letters, explained }
    }
}

impl CloseReason {
    /// Every reason, in the order of [`CloseReason::index`]. All drops are one reason here.
    pub const ALL: [CloseReason; 13] = [
        CloseReason::Done,
        CloseReason::Dropped(DropReason::RateLimited),
        CloseReason::ClientLeft,
        CloseReason::ServerRefused,
        CloseReason::ConnectTimeout,
        CloseReason::ClientBroke,
        CloseReason::ServerBroke,
        CloseReason::ClientSilent,
        CloseReason::ServerSilent,
        CloseReason::ServersFull,
        CloseReason::OutOfResources,
        CloseReason::Killed,
        CloseReason::Answered,
    ];

    const fn words(self) -> CloseWords {
        match self {
            CloseReason::Done => CloseWords::new(0, "done", "--", "in order"),
            CloseReason::Dropped(_) => CloseWords::new(1, "dropped", "PR", "dropped"),
            CloseReason::ClientLeft => CloseWords::new(2, "client_left", "CC", "client left before a server answered"),
            CloseReason::ServerRefused => CloseWords::new(3, "server_refused", "SC", "no server took it"),
            CloseReason::ConnectTimeout => CloseWords::new(4, "connect_timeout", "sC", "no server answered in time"),
            CloseReason::ClientBroke => CloseWords::new(5, "client_broke", "CD", "client broke off"),
            CloseReason::ServerBroke => CloseWords::new(6, "server_broke", "SD", "server broke off"),
            CloseReason::ClientSilent => CloseWords::new(7, "client_silent", "cD", "client silent too long"),
            CloseReason::ServerSilent => CloseWords::new(8, "server_silent", "sD", "server silent too long"),
            CloseReason::ServersFull => CloseWords::new(9, "servers_full", "PC", "every server stayed full"),
            CloseReason::OutOfResources => CloseWords::new(10, "out_of_resources", "RC", "out of memory or fds"),
            CloseReason::Killed => CloseWords::new(11, "killed", "KD", "ended by an operator"),
            CloseReason::Answered => CloseWords::new(12, "answered", "LR", "answered by the proxy"),
        }
    }

    /// Its place in [`CloseReason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.words().index
    }

    /// The name in metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.words().name
    }

    /// The log's `ts=`: HAProxy's termination state.
    #[must_use]
    pub const fn letters(self) -> &'static str {
        self.words().letters
    }

    /// What the page says.
    #[must_use]
    pub const fn explained(self) -> &'static str {
        self.words().explained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, drops are counted under another reason's name.
    #[test]
    fn every_drop_reason_is_at_its_index() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }

    /// Without this, ends are counted under another reason's name.
    #[test]
    fn every_close_reason_is_at_its_index() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}

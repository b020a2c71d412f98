//! Why a client was not let in, and why a connection ended: the two vocabularies of log, metrics and page.

/// Why a client was refused before it had a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Too many new connections from its address.
    RateLimited,
    /// Too many open connections from its address.
    TooManyConnections,
    /// No route for the name.
    UnknownSni,
    /// No name, and no route for that.
    NoSni,
    /// The first bytes are no TLS.
    NotTls,
    /// The hello is broken.
    MalformedHello,
    /// No whole hello in time.
    HelloTimeout,
    /// The client left before its hello was whole.
    ClosedEarly,
}

impl DropReason {
    /// Every reason, in the order of [`DropReason::index`].
    pub const ALL: [DropReason; 8] = [
        DropReason::RateLimited,
        DropReason::TooManyConnections,
        DropReason::UnknownSni,
        DropReason::NoSni,
        DropReason::NotTls,
        DropReason::MalformedHello,
        DropReason::HelloTimeout,
        DropReason::ClosedEarly,
    ];

    /// Its place in [`DropReason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in metrics, JSON and on the page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DropReason::RateLimited => "rate_limited",
            DropReason::TooManyConnections => "too_many_connections",
            DropReason::UnknownSni => "unknown_sni",
            DropReason::NoSni => "no_sni",
            DropReason::NotTls => "not_tls",
            DropReason::MalformedHello => "malformed_hello",
            DropReason::HelloTimeout => "hello_timeout",
            DropReason::ClosedEarly => "closed_early",
        }
    }

    /// What the log's `drop=` says.
    #[must_use]
    pub const fn in_log(self) -> &'static str {
        match self {
            DropReason::RateLimited | DropReason::TooManyConnections => "RATE_LIMITED",
            _ => "SNI_REJECTED",
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Both sides ended their direction.
    Done,
    /// It was refused before it had a route.
    Dropped(DropReason),
    /// The client left while a server was being connected to.
    ClientLeft,
    /// Every try to connect was refused, or no server is up.
    ServerRefused,
    /// The last try to connect took too long.
    ConnectTimeout,
    /// The client broke off.
    ClientBroke,
    /// The server broke off.
    ServerBroke,
    /// No byte for too long; the client had the word.
    ClientSilent,
    /// No byte for too long; the server had the word.
    ServerSilent,
    /// Every server stayed at its limit of connections.
    ServersFull,
    /// Out of fds or memory.
    OutOfResources,
    /// Ended by an operator, by `on_down` or by the drain deadline.
    Killed,
    /// The proxy itself has answered: a client of the redirect.
    Answered,
}

impl CloseReason {
    /// Every reason, in the order of [`CloseReason::index`]; drops count as one.
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

    /// Its place in [`CloseReason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            CloseReason::Done => 0,
            CloseReason::Dropped(_) => 1,
            CloseReason::ClientLeft => 2,
            CloseReason::ServerRefused => 3,
            CloseReason::ConnectTimeout => 4,
            CloseReason::ClientBroke => 5,
            CloseReason::ServerBroke => 6,
            CloseReason::ClientSilent => 7,
            CloseReason::ServerSilent => 8,
            CloseReason::ServersFull => 9,
            CloseReason::OutOfResources => 10,
            CloseReason::Killed => 11,
            CloseReason::Answered => 12,
        }
    }

    /// The name in metrics, JSON and on the page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CloseReason::Done => "done",
            CloseReason::Dropped(_) => "dropped",
            CloseReason::ClientLeft => "client_left",
            CloseReason::ServerRefused => "server_refused",
            CloseReason::ConnectTimeout => "connect_timeout",
            CloseReason::ClientBroke => "client_broke",
            CloseReason::ServerBroke => "server_broke",
            CloseReason::ClientSilent => "client_silent",
            CloseReason::ServerSilent => "server_silent",
            CloseReason::ServersFull => "servers_full",
            CloseReason::OutOfResources => "out_of_resources",
            CloseReason::Killed => "killed",
            CloseReason::Answered => "answered",
        }
    }

    /// The log's `ts=`: HAProxy's termination state.
    #[must_use]
    pub const fn letters(self) -> &'static str {
        match self {
            CloseReason::Done => "--",
            CloseReason::Dropped(_) => "PR",
            CloseReason::ClientLeft => "CC",
            CloseReason::ServerRefused => "SC",
            CloseReason::ConnectTimeout => "sC",
            CloseReason::ClientBroke => "CD",
            CloseReason::ServerBroke => "SD",
            CloseReason::ClientSilent => "cD",
            CloseReason::ServerSilent => "sD",
            CloseReason::ServersFull => "PC",
            CloseReason::OutOfResources => "RC",
            CloseReason::Killed => "KD",
            CloseReason::Answered => "LR",
        }
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

//! How the fd limit is shared out: one formula for `check`, the start and the door.
use crate::config::{Config, ZeroCopy};

/// Most clients of the redirect at once, with an fd each.
pub const MAX_REDIRECT_CLIENTS: usize = 128;
/// Most clients of the admin endpoints at once, with an fd each.
pub const MAX_ADMIN_CLIENTS: usize = 32;

/// Most clients of the control socket at once, with an fd each.
pub const MAX_CONTROL_CLIENTS: usize = 8;

/// Fds of the process itself: stdin, stdout twice, stderr, poll, registry, timer, signals, systemd's socket, the spare
/// one, and a few for the files that a reload reads.
const OWN: u64 = 20;
/// The control socket and its clients.
const CONTROL: u64 = 1 + MAX_CONTROL_CLIENTS as u64;
/// The fds for files that a reload reads, which are not open yet at start.
const RELOAD_FILES: u64 = 4;
/// Side clients and probes together get at most one in so many fds.
const SIDE_SHARE: u64 = 8;
/// One pipe is reserved for so many connections.
const CONNECTIONS_PER_PIPE: u64 = 64;
/// The most pipes that bulk transfers may hold at once.
const MAX_PIPES: u64 = 1024;

/// The fds that a configuration asks for, by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// TLS clients, each with an fd for its server too.
    connections: u64,
    /// The process itself and its listeners.
    own: u64,
    /// Clients of redirect and admin endpoints, and probes.
    side: u64,
    /// Whether bulk transfers use pipes.
    is_spliced: bool,
}

/// How many there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// TLS clients.
    pub connections: u64,
    /// Pipes, two fds each.
    pub pipes: u64,
}

impl Demand {
    /// The demand of `config`.
    #[must_use]
    pub fn of(config: &Config) -> Demand {
        let (redirect, admin) = (&config.redirect, &config.admin.listen);
        let listeners = config.addresses().count() + redirect.len() + admin.len();
        let most = |listeners: usize, clients: usize| if listeners == 0 { 0 } else { clients };
        let side =
            most(redirect.len(), MAX_REDIRECT_CLIENTS) + most(admin.len(), MAX_ADMIN_CLIENTS) + config.server_count();
        Demand {
            connections: config.limits.connections.into(),
            own: OWN + listeners as u64 + config.control.as_ref().map_or(0, |_| CONTROL),
            side: side as u64,
            is_spliced: config.zero_copy == ZeroCopy::Auto,
        }
    }

    /// The same for a process that has `used` fds open before its first client. That number is larger than the estimate
    /// only if the process was started with open fds, such as sockets from systemd.
    #[must_use]
    pub fn with_used(self, used: u64) -> Demand {
        Demand { own: self.own.max(used + RELOAD_FILES), ..self }
    }

    /// Shares out `limit` fds; `None`: they do not suffice for a single client.
    #[must_use]
    pub fn share_out(self, limit: u64) -> Option<Shares> {
        let free = limit.saturating_sub(self.own + self.side.min(limit / SIDE_SHARE)) / 2;
        let pipes_kept = u64::from(self.is_spliced) * (1 + free / (CONNECTIONS_PER_PIPE + 1)).min(MAX_PIPES);
        let connections = free.saturating_sub(pipes_kept).min(self.connections);
        let pipes = u64::from(self.is_spliced) * (free - connections).min(MAX_PIPES);
        (connections > 0).then_some(Shares { connections, pipes })
    }

    /// The number of fds that suffices for so many connections.
    fn needed_for(self, connections: u64) -> u64 {
        let pipes = u64::from(self.is_spliced) * (2 + connections / CONNECTIONS_PER_PIPE).min(MAX_PIPES);
        self.own + self.side + 2 * (connections + pipes)
    }

    /// Why a process with `limit` fds cannot serve a single client.
    ///
    /// # Errors
    /// A sentence with what to do.
    pub fn check(self, limit: u64) -> Result<Shares, String> {
        self.share_out(limit).ok_or_else(|| {
            let needed = (limit..self.needed_for(1))
                .find(|limit| self.share_out(*limit).is_some())
                .unwrap_or(self.needed_for(1));
            format!(
                "the limit of file descriptors is {limit}, and {needed} are needed to serve one client; raise it \
                 (LimitNOFILE= in systemd)"
            )
        })
    }

    /// The warning for an operator whose `limit` is too low for all connections; `None`: it suffices.
    #[must_use]
    pub fn warning(self, limit: u64) -> Option<String> {
        let connections = self.connections;
        match self.check(limit) {
            Err(error) => Some(error),
            Ok(shares) if shares.connections < connections => Some(format!(
                "limits.connections: {connections} need {} file descriptors, and the limit is {limit}; raise that \
                 (LimitNOFILE= in systemd), or more clients than it holds wait in the backlog",
                self.needed_for(connections)
            )),
            Ok(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const LIMITS: [u64; 8] = [32, 64, 256, 1024, 4096, 20_000, 524_288, u64::MAX];

    fn demand(connections: u64, side: u64) -> Demand {
        Demand { connections, own: OWN + 1, side, is_spliced: true }
    }

    /// Without this, clients are accepted without an fd for their servers.
    #[test]
    fn every_client_has_two_fds() {
        for limit in LIMITS {
            for (wanted, side) in [(1, 0), (10, 160), (4096, 32), (1_000_000, 160), (65_535, 20_000)] {
                let demand = demand(wanted, side);
                let Some(Shares { connections, pipes }) = demand.share_out(limit) else { panic!("{limit} {wanted}") };
                assert!((1..=wanted).contains(&connections) && pipes >= 1);
                assert!(demand.own + side.min(limit / 8) + 2 * (connections + pipes) <= limit, "{limit} {wanted}");
            }
        }
    }

    /// Without this, `check` does not warn of an fd limit with which `run` serves fewer clients, or names one that does
    /// not suffice.
    #[test]
    fn what_check_says_is_what_is_served() {
        for limit in LIMITS.into_iter().chain((0..30_000).step_by(7)) {
            for (connections, side) in [(1, 0), (100, 160), (9900, 161), (9900, 0)] {
                let demand = demand(connections, side);
                let is_silent = demand.warning(limit).is_none();
                assert_eq!(is_silent, demand.share_out(limit).is_some_and(|shares| shares.connections == connections));
                assert_eq!(demand.share_out(demand.needed_for(connections)).unwrap().connections, connections);
            }
        }
        let warned = demand(9900, 161).warning(20_000).unwrap();
        assert!(warned.starts_with("limits.connections: 9900 need 20"), "{warned}");
    }

    /// Without this, a process says that it is ready with an fd limit that allows no client.
    #[test]
    fn a_limit_that_holds_nobody_is_an_error() {
        for limit in 0..26 {
            let error = demand(4096, 32).check(limit).unwrap_err();
            assert!(error.contains(&format!("is {limit}, and ")), "{error}");
        }
        let off = Demand { is_spliced: false, ..demand(4096, 0) };
        assert_eq!(off.check(OWN + 3), Ok(Shares { connections: 1, pipes: 0 }));
        let error = off.check(OWN + 2).unwrap_err();
        assert!(error.contains("and 23 are needed to serve one client"), "{error}");
    }

    /// Without this, admin clients or sockets from systemd take the fds of clients.
    #[test]
    fn everything_that_the_configuration_opens_is_counted() {
        let config = |more: &str| {
            let text = format!(
                r#"{{ "listen": ["127.0.0.1:0"], {more}
                    "routes": {{ "a": {{ "sni": ["*"], "servers": ["127.0.0.1:1", "127.0.0.1:2"] }} }} }}"#
            );
            Demand::of(&config::parse("test", &text).unwrap())
        };
        let plain = config("");
        assert_eq!((plain.own, plain.side, plain.is_spliced), (OWN + 1, 2, true));
        let full = config(r#""redirect": { "listen": ["127.0.0.1:0"] }, "admin": { "listen": ["127.0.0.1:0"] },"#);
        assert_eq!((full.own, full.side), (OWN + 3, 162));
        assert_eq!(plain.with_used(12), plain);
        assert_eq!(plain.with_used(100).own, 104);
        assert_eq!(config(r#""control": { "socket": "/run/lb.sock" },"#).own, OWN + 1 + 1 + 8);
        let copied = config(r#""zero_copy": "off","#);
        assert!(!copied.is_spliced);
        assert_eq!(copied.needed_for(100), OWN + 1 + 2 + 200, "no pipe is asked for where none is used");
    }
}

//! How file descriptors are shared out: one formula for `check`, for start and for the door.
use crate::config::{Config, ZeroCopy};

/// Clients of the redirect at once, with a file descriptor each.
pub const REDIRECT_CLIENTS: usize = 128;
/// Clients of the admin endpoints at once, with a file descriptor each.
pub const ADMIN_CLIENTS: usize = 32;

/// Clients of the control socket at once, with a file descriptor each.
pub const CONTROL_CLIENTS: usize = 8;

/// What the process itself has open: stdin, stdout twice, stderr, poll, registry, timer, signals, systemd's socket, the
/// spare one, and a few for the files that a reload reads.
const OWN: u64 = 20;
/// The control socket and its clients.
const CONTROL: u64 = 1 + CONTROL_CLIENTS as u64;
/// Of what is open at start, so many more are needed for the files that a reload reads.
const RELOAD_FILES: u64 = 4;
/// Side clients and probes together get no more than this part of all.
const SIDE_SHARE: u64 = 8;
/// One pipe is kept free for so many connections.
const CONNECTIONS_PER_PIPE: u64 = 64;
/// Most pipes that bulk transfers may hold at once.
const PIPES_MAX: u64 = 1024;

/// File descriptors that a configuration asks for, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// TLS clients, each with a descriptor for its server too.
    connections: u64,
    /// The process itself and its listeners.
    own: u64,
    /// Clients of redirect and admin endpoints, and probes.
    side: u64,
    /// Whether bulk transfers want pipes.
    is_spliced: bool,
}

/// What there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// TLS clients.
    pub connections: u64,
    /// Pipes, two descriptors each.
    pub pipes: u64,
}

impl Demand {
    /// What `config` asks for.
    #[must_use]
    pub fn of(config: &Config) -> Demand {
        let (redirect, admin) = (&config.redirect, &config.admin.listen);
        let listeners = config.addresses().count() + redirect.len() + admin.len();
        let most = |listeners: usize, clients: usize| if listeners == 0 { 0 } else { clients };
        let side = most(redirect.len(), REDIRECT_CLIENTS) + most(admin.len(), ADMIN_CLIENTS) + config.server_count();
        Demand {
            connections: config.limits.connections.into(),
            own: OWN + listeners as u64 + config.control.as_ref().map_or(0, |_| CONTROL),
            side: side as u64,
            is_spliced: config.zero_copy == ZeroCopy::Auto,
        }
    }

    /// The same for a process that has `used` descriptors open before its first client. Only where it was started with
    /// some open, for instance sockets from systemd, is that more than is reckoned with.
    #[must_use]
    pub fn with_used(self, used: u64) -> Demand {
        Demand { own: self.own.max(used + RELOAD_FILES), ..self }
    }

    /// Shares out `limit` descriptors; `None`: they do not suffice for a single client.
    #[must_use]
    pub fn share_out(self, limit: u64) -> Option<Shares> {
        let free = limit.saturating_sub(self.own + self.side.min(limit / SIDE_SHARE)) / 2;
        let pipes_kept = u64::from(self.is_spliced) * (1 + free / (CONNECTIONS_PER_PIPE + 1)).min(PIPES_MAX);
        let connections = free.saturating_sub(pipes_kept).min(self.connections);
        let pipes = u64::from(self.is_spliced) * (free - connections).min(PIPES_MAX);
        (connections > 0).then_some(Shares { connections, pipes })
    }

    /// Descriptors that suffice for so many connections.
    fn needed_for(self, connections: u64) -> u64 {
        let pipes = u64::from(self.is_spliced) * (2 + connections / CONNECTIONS_PER_PIPE).min(PIPES_MAX);
        self.own + self.side + 2 * (connections + pipes)
    }

    /// Why a process with `limit` descriptors could not serve a single client.
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

    /// What to tell an operator whose `limit` does not hold all connections; `None`: it does.
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

    /// Without this, clients are let in whose servers then cannot be connected to.
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

    /// Without this, `check` is silent about a limit with which `run` serves fewer, or asks for one that does not help.
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

    /// Without this, a process says that it is ready and serves nobody.
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

    /// Without this, clients of the endpoints or sockets from systemd take the descriptors of clients.
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
        assert!(!config(r#""zero_copy": "off","#).is_spliced);
    }
}

//! The kinds of listeners.

/// The kind of clients that a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// TLS clients, which are routed.
    Https,
    /// Plain HTTP clients, which are sent to https.
    Http,
    /// The operator and monitoring.
    Admin,
}

/// The name of a control socket that systemd passes.
pub const CONTROL_SOCKET: &str = "control";

struct Words {
    frontend: &'static str,
    key: &'static str,
    socket: &'static str,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Https, Role::Http, Role::Admin];

    const fn words(self) -> Words {
        match self {
            Role::Https => Words { frontend: "https_ingress", key: "listen", socket: "https" },
            Role::Http => Words { frontend: "http_ingress", key: "redirect.listen", socket: "http" },
            Role::Admin => Words { frontend: "admin", key: "admin.listen", socket: "admin" },
        }
    }

    /// The name of its frontend, in log and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.words().frontend
    }

    /// The key of the configuration that holds its addresses.
    #[must_use]
    pub const fn key(self) -> &'static str {
        self.words().key
    }

    /// The name of a socket of this role that systemd passes.
    #[must_use]
    pub const fn socket_name(self) -> &'static str {
        self.words().socket
    }
}

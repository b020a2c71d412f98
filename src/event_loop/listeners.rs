//! Opening listeners, and keeping them over reloads.
use mio::Registry;

use super::EventLoop;
use crate::config::Config;
use crate::net::{Key, Listener, Role, Slots, Token};
use std::net::{SocketAddr, TcpListener};

/// Opens what `config` asks for and is not open yet. A socket that was passed is used in place of binding its address.
///
/// # Errors
/// A sentence that names the address which cannot be bound; nothing is open then that was not before.
pub(super) fn open(
    config: &Config,
    already: &[(SocketAddr, Role)],
    mut passed: Vec<(SocketAddr, TcpListener)>,
) -> Result<Vec<Listener>, String> {
    wanted(config)
        .filter(|listener| !already.contains(listener))
        .map(|(address, role)| {
            let listener = match passed.iter().position(|(at, _)| *at == address) {
                Some(index) => Listener::adopt(passed.swap_remove(index).1.into(), address, role),
                None => Listener::bind(address, role),
            };
            listener.map_err(|error| format!("cannot listen on {address}: {error}"))
        })
        .collect()
}

/// Puts a listener under the poll.
pub(super) fn keep(listener: Listener, listeners: &mut Slots<Listener>, registry: &Registry) -> Result<(), String> {
    let key = listeners.reserve();
    let watched = listener.watch(registry, Token::Listener(key));
    let address = listener.bound;
    listeners.put(key, listener);
    watched.map_err(|error| format!("cannot listen on {address}: {error}"))
}

fn wanted(config: &Config) -> impl Iterator<Item = (SocketAddr, Role)> {
    let https = config.listen.iter().map(|address| (*address, Role::Https));
    let http = config.redirect.iter().map(|address| (*address, Role::Http));
    let admin = config.admin.listen.iter().map(|address| (*address, Role::Admin));
    https.chain(http).chain(admin)
}

impl EventLoop {
    /// The listeners there are.
    pub(super) fn listening(&self) -> Vec<(SocketAddr, Role)> {
        self.listeners.iter().map(|(_, listener)| (listener.configured, listener.role)).collect()
    }

    /// Closes the listeners that `config` does not ask for; without one, all but the admin endpoints, which tell how a
    /// drain goes on. Who waits in their backlog is let in first: closing would send them RST.
    pub(super) fn close_unwanted(&mut self, config: Option<&Config>) {
        let unwanted = |listener: &Listener| {
            config.map_or(listener.role != Role::Admin, |config| {
                !wanted(config).any(|wanted| wanted == (listener.configured, listener.role))
            })
        };
        let keys: Vec<Key> =
            self.listeners.iter().filter(|(_, listener)| unwanted(listener)).map(|(key, _)| key).collect();
        for key in keys {
            self.empty_backlog(key);
            self.listeners.take(key);
            self.listeners.vacate(key);
        }
    }
}

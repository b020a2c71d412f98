//! Opening listeners, and keeping them over reloads.
use std::io::ErrorKind;
use std::net::SocketAddr;

use mio::Registry;

use super::EventLoop;
use crate::access_log::Level;
use crate::config::Config;
use crate::net::{Inherited, Key, Listener, Role, Slots, Token};

/// Where a listener is, and for whom.
type Place = (SocketAddr, Role);

/// Opens what `config` asks for and is not open yet, and puts it under the poll. A socket that the service manager passes is
/// used in place of binding its address.
///
/// # Errors
/// A sentence for each address where nobody can listen, its key in front; nothing is open then that was not before.
pub(super) fn open(
    config: &Config,
    inherited: &Inherited,
    listeners: &mut Slots<Listener>,
    registry: &Registry,
) -> Result<(), Vec<String>> {
    let already: Vec<Place> = listeners.iter().map(|(_, listener)| place(listener)).collect();
    let fresh = wanted(config, inherited).into_iter().filter(|place| !already.contains(place));
    let (mut opened, mut errors) = (Vec::new(), Vec::new());
    for place in fresh {
        match open_one(place, inherited) {
            Ok(listener) => opened.push(listener),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut watched = Vec::new();
    for listener in opened {
        let key = listeners.reserve();
        let result = listener.watch(registry, Token::Listener(key));
        let address = listener.bound;
        listeners.put(key, listener);
        watched.push(key);
        if let Err(error) = result {
            for key in watched {
                close(key, listeners, registry);
            }
            return Err(vec![format!("cannot listen on {address}: {error}")]);
        }
    }
    Ok(())
}

fn open_one((address, role): Place, inherited: &Inherited) -> Result<Listener, String> {
    let listener = inherited.listener(address, role).unwrap_or_else(|| Listener::bind(address, role));
    listener.map_err(|error| {
        let taken = inherited.places().find(|(bound, _)| bound.port() == address.port());
        let what_to_do = match (taken, error.kind()) {
            (Some((bound, role)), _) => format!("; {bound} is passed for {}", role.socket_name()),
            (None, kind) => remedy(kind).to_owned(),
        };
        format!("{}: cannot listen on {address}: {error}{what_to_do}", role.key())
    })
}

fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrInUse => "; stop what listens there, or write another port",
        ErrorKind::AddrNotAvailable => "; write an address that this machine has",
        ErrorKind::PermissionDenied => "; grant CAP_NET_BIND_SERVICE, or write a port that needs no privilege",
        _ => "",
    }
}

fn close(key: Key, listeners: &mut Slots<Listener>, registry: &Registry) {
    if let Some(listener) = listeners.take(key) {
        listener.close(registry);
    }
    listeners.vacate(key);
}

/// Where the configuration wants listeners: at the addresses of the sockets that serve its own, where there are such.
fn wanted(config: &Config, inherited: &Inherited) -> Vec<Place> {
    let mut wanted = Vec::new();
    let (https, http, admin) = (&config.listen, &config.redirect, &config.admin.listen);
    for (addresses, role) in [(https, Role::Https), (http, Role::Http), (admin, Role::Admin)] {
        for address in addresses {
            let place = (inherited.serving(*address, role).unwrap_or(*address), role);
            // One socket may serve an address of each family.
            if !wanted.contains(&place) {
                wanted.push(place);
            }
        }
    }
    wanted
}

fn place(listener: &Listener) -> Place {
    (listener.configured, listener.role)
}

impl EventLoop {
    /// Closes the listeners that `config` does not ask for; without one, all but the admin endpoints, which tell how a
    /// drain goes on. Who waits in the backlog is let in first, for closing would send them RST: unless the socket stays
    /// open for whoever comes next.
    pub(super) fn close_unwanted(&mut self, config: Option<&Config>) {
        let wanted = config.map(|config| wanted(config, &self.inherited));
        let is_wanted = |listener: &Listener| match &wanted {
            Some(wanted) => wanted.contains(&place(listener)),
            None => listener.role == Role::Admin,
        };
        let unwanted = self.listeners.iter().filter(|(_, listener)| !is_wanted(listener));
        let keys: Vec<(Key, bool)> = unwanted.map(|(key, listener)| (key, listener.inherited)).collect();
        for (key, inherited) in keys {
            if config.is_some() || !inherited {
                self.empty_backlog(key);
            }
            close(key, &mut self.listeners, &self.context.registry);
        }
    }

    /// Says of which sockets nobody lets clients in.
    pub(super) fn name_unused_sockets(&mut self) {
        let wanted = wanted(&self.context.config, &self.inherited);
        for (address, role) in self.inherited.places().filter(|place| !wanted.contains(place)) {
            let (name, key) = (role.socket_name(), role.key());
            let words = format_args!(
                "Warning: the socket {name} that is passed at {address} is not used, for {key} does not have that \
                 address: who connects there waits in vain."
            );
            self.context.log.say(self.context.now, Level::Warning, words);
        }
    }
}

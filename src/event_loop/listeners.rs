//! The listening sockets, over reloads and restarts.
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mio::Registry;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::config::{Config, Route, plain};
use crate::context::Context;
use crate::net::{Key, Listener, Slots, Token};
use crate::systemd::Inherited;
use crate::vocabulary::Role;

/// The address of a listener, and its role.
pub(super) type Place = (SocketAddr, Role);

/// The routes with their own addresses, by address.
type Owners = HashMap<SocketAddr, Box<str>>;

/// The listeners of the process.
pub(super) struct Listeners {
    slots: Slots<Listener<Role>>,
    /// Listeners that may have a client in their backlog. A turn looks at these alone, as there may be thousands of
    /// others.
    ready: Vec<Key>,
    inherited: Inherited,
    /// Sockets of the previous process, until the first [`open`](Listeners::open).
    left: Vec<(Place, OwnedFd)>,
    owners: Owners,
}

/// A listener that is to be closed.
pub(super) struct Unwanted {
    pub(super) key: Key,
    /// Whether the service manager keeps its socket open for the next process.
    pub(super) is_inherited: bool,
}

impl Listeners {
    /// No listeners yet. `inherited` sockets, and those that the previous process `left`, are used instead of binding
    /// their addresses.
    pub(super) fn new(inherited: Inherited, left: Vec<(Place, OwnedFd)>, config: &Config) -> Listeners {
        let (slots, ready) = (Slots::new(), Vec::new());
        let mut listeners = Listeners { slots, ready, inherited, left: Vec::new(), owners: HashMap::new() };
        let wanted = listeners.wanted(config);
        let (kept, unwanted): (Vec<_>, Vec<_>) = left.into_iter().partition(|(place, _)| wanted.contains(place));
        for (_, socket) in unwanted {
            // Closing does not suffice: its fd may be in flight, and the address would stay in use.
            let _ = shutdown(&socket, Shutdown::Both);
        }
        listeners.left = kept;
        listeners
    }

    /// Opens the listeners of `config` that are not open yet, and registers them.
    ///
    /// # Errors
    /// A sentence for each address that cannot be listened on, with its key in front. No new listener is open then.
    pub(super) fn open(&mut self, config: &Config, registry: &Registry) -> Result<(), Vec<String>> {
        let already: HashSet<Place> = self.iter().map(place).collect();
        let fresh = self.wanted(config).into_iter().filter(|place| !already.contains(place));
        let owners = self.owners_in(config);
        let (mut opened, mut errors) = (Vec::new(), Vec::new());
        for place in fresh {
            match self.open_one(place, &owners) {
                Ok(listener) => opened.push(listener),
                Err(error) => errors.push(error),
            }
        }
        self.left.clear();
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut watched = Vec::new();
        for listener in opened {
            let key = self.slots.reserve();
            let result = listener.watch(registry, Token::Listener(key));
            let address = listener.bound;
            self.slots.put(key, listener);
            self.ready.push(key);
            watched.push(key);
            if let Err(error) = result {
                for key in watched {
                    self.close(key, registry);
                }
                return Err(vec![format!("cannot listen on {address}: {}", plain(&error))]);
            }
        }
        for listener in self.iter() {
            listener.keep_alive(config.timeouts.keepalive);
        }
        Ok(())
    }

    fn open_one(&mut self, place: Place, owners: &Owners) -> Result<Listener<Role>, String> {
        let (address, role) = place;
        if let Some(index) = self.left.iter().position(|(left, _)| *left == place)
            && let Some(listener) = Listener::take_up(self.left.swap_remove(index).1, address, role)
        {
            return Ok(listener);
        }
        let inherited = self.inherited.listener(address, role);
        inherited.unwrap_or_else(|| Listener::bind(address, role)).map_err(|error| {
            let taken = self.inherited.sockets().find(|(bound, ..)| bound.port() == address.port());
            let what_to_do = match (taken, self.in_the_way(address)) {
                (Some((bound, _, name)), _) => format!("; systemd passes {bound} as {name}"),
                (None, Some(own)) => {
                    format!(
                        "; this process listens on {own}, and a reload cannot replace that by this address, so restart it"
                    )
                }
                (None, None) => remedy(&error, address),
            };
            let key = match owners.get(&address).filter(|_| role == Role::Https) {
                Some(owner) => Cow::Owned(format!("routes.{owner}.listen")),
                None => Cow::Borrowed(role.key()),
            };
            format!("{key}: cannot listen on {address}: {}{what_to_do}", plain(&error))
        })
    }

    /// A listener of this process that makes the kernel refuse `address`: same port and family, and one of the two is
    /// the wildcard.
    fn in_the_way(&self, address: SocketAddr) -> Option<SocketAddr> {
        let same = |own: SocketAddr| own.port() == address.port() && own.is_ipv4() == address.is_ipv4();
        let either = |own: SocketAddr| own.ip().is_unspecified() || address.ip().is_unspecified();
        self.iter().map(|listener| listener.bound).find(|own| same(*own) && either(*own))
    }

    /// Listeners that `config` does not have. Without `config`: all but those of the admin endpoints, which show how a
    /// drain goes on.
    pub(super) fn unwanted(&self, config: Option<&Config>) -> Vec<Unwanted> {
        let wanted: Option<HashSet<Place>> = config.map(|config| self.wanted(config).into_iter().collect());
        let is_wanted = |listener: &Listener<Role>| match &wanted {
            Some(wanted) => wanted.contains(&place(listener)),
            None => listener.role == Role::Admin,
        };
        let unwanted = self.slots.iter().filter(|(_, listener)| !is_wanted(listener));
        unwanted.map(|(key, listener)| Unwanted { key, is_inherited: listener.inherited }).collect()
    }

    pub(super) fn close(&mut self, key: Key, registry: &Registry) {
        if let Some(listener) = self.slots.take(key) {
            listener.close(registry);
        }
        self.slots.vacate(key);
    }

    /// Notes which routes `config` gives the addresses to. New clients belong to these.
    pub(super) fn note_owners(&mut self, config: &Config) {
        self.owners = self.owners_in(config);
    }

    fn owners_in(&self, config: &Config) -> Owners {
        let served = |address: SocketAddr| self.inherited.serving(address, Role::Https).unwrap_or(address);
        let of = |owner: &Arc<Route>| {
            owner.listen.iter().map(|address| (served(*address), owner.name.clone())).collect::<Vec<_>>()
        };
        config.owners().flat_map(of).collect()
    }

    /// The route that owns the address of a listener; `None`: the file does.
    pub(super) fn owner(&self, key: Key) -> Option<&str> {
        if self.owners.is_empty() {
            return None;
        }
        self.owner_of(self.slots.get(key)?)
    }

    fn owner_of(&self, listener: &Listener<Role>) -> Option<&str> {
        self.owners.get(&listener.configured).map(|name| &**name)
    }

    /// The routes whose listeners are open; `None` stands for the file's.
    pub(super) fn open_at(&self) -> HashSet<Option<&str>> {
        self.iter().filter(|listener| listener.role == Role::Https).map(|listener| self.owner_of(listener)).collect()
    }

    /// The role of a listener, or its route's name.
    pub(super) fn purpose<'a>(&'a self, listener: &'a Listener<Role>) -> &'a str {
        self.owner_of(listener).unwrap_or(listener.role.socket_name())
    }

    /// The places where `config` wants listeners. An address that a passed socket serves is replaced by that socket's
    /// address.
    fn wanted(&self, config: &Config) -> Vec<Place> {
        let (mut wanted, mut seen) = (Vec::new(), HashSet::new());
        let https: Vec<SocketAddr> = config.addresses().collect();
        let (http, admin) = (&config.redirect, &config.admin.listen);
        for (addresses, role) in [(&https, Role::Https), (http, Role::Http), (admin, Role::Admin)] {
            for address in addresses {
                let place = (self.inherited.serving(*address, role).unwrap_or(*address), role);
                // One socket may serve an address of each family.
                if seen.insert(place) {
                    wanted.push(place);
                }
            }
        }
        wanted
    }

    /// Whether systemd passes sockets. One of them may serve both families.
    pub(super) fn are_passed(&self) -> bool {
        self.inherited.sockets().next().is_some()
    }

    /// Warns of passed sockets that no key uses.
    pub(super) fn name_unused_sockets(&self, context: &mut Context) {
        let wanted = self.wanted(&context.config);
        for (address, role, name) in self.inherited.sockets().filter(|(at, role, _)| !wanted.contains(&(*at, *role))) {
            let is_of_role = role.socket_name() == name;
            let key = if is_of_role { Cow::Borrowed(role.key()) } else { Cow::Owned(format!("routes.{name}.listen")) };
            log::warn!(
                "Warning: systemd socket {name} ({address}) is unused: `{key}` has no such address, so clients connecting \
                 to it hang."
            );
        }
    }

    /// The listeners whose sockets this process alone holds.
    pub(super) fn own(&self) -> Vec<&Listener<Role>> {
        self.iter().filter(|listener| !listener.inherited).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Listener<Role>> {
        self.slots.iter().map(|(_, listener)| listener)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Listener<Role>> {
        self.slots.get_mut(key)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Listener<Role>> {
        self.slots.get(key)
    }

    /// Notes that the backlog of a listener is not empty.
    pub(super) fn note_readable(&mut self, key: Key) {
        if let Some(listener) = self.slots.get_mut(key).filter(|listener| !listener.is_readable()) {
            listener.note_readable();
            self.ready.push(key);
        }
    }

    /// Listeners that may have a client in their backlog, and some whose backlog has been found empty since
    /// [`forget_empty`](Listeners::forget_empty).
    pub(super) fn ready(&self) -> &[Key] {
        &self.ready
    }

    /// Removes the listeners with an empty backlog, and closed ones, from those that are ready.
    pub(super) fn forget_empty(&mut self) {
        self.ready.retain(|key| self.slots.get(*key).is_some_and(Listener::is_readable));
    }

    /// Makes the slots of closed listeners free for reuse.
    pub(super) fn free(&mut self) {
        self.slots.free();
    }
}

fn remedy(error: &io::Error, address: SocketAddr) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::AFNOSUPPORT) => return format!("; this machine has no IPv6, so leave \"{address}\" out"),
        // bind(2) gives EPERM only if a filter such as systemd's SystemCallFilter= forbids it. A port without its
        // capability is EACCES.
        Some(Errno::PERM) => {
            return "; systemd forbids it (SystemCallFilter=): start a socket unit for this address".to_owned();
        }
        _ => {}
    }
    let what_to_do = match error.kind() {
        ErrorKind::AddrInUse => "; stop what listens there, or write another port",
        ErrorKind::AddrNotAvailable => "; write an address that this machine has",
        ErrorKind::PermissionDenied => "; grant CAP_NET_BIND_SERVICE, or write a port that needs no privilege",
        _ => "",
    };
    what_to_do.to_owned()
}

fn place(listener: &Listener<Role>) -> Place {
    (listener.configured, listener.role)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a host without IPv6 is told to write another address instead of leaving `[::]` out.
    #[test]
    fn without_ipv6_its_address_is_to_be_left_out() {
        let any = "[::]:443".parse().unwrap();
        let remedy_for = |error: Errno, address| remedy(&error.into(), address);
        assert_eq!(remedy_for(Errno::AFNOSUPPORT, any), "; this machine has no IPv6, so leave \"[::]:443\" out");
        let other = remedy_for(Errno::ADDRNOTAVAIL, "192.0.2.1:443".parse().unwrap());
        assert_eq!(other, "; write an address that this machine has");
    }

    /// Without this, the error under the units of examples/systemd names a capability that does not help.
    #[test]
    fn what_systemd_forbids_is_not_blamed_on_a_capability() {
        let remedy_for = |error: Errno| remedy(&error.into(), "127.0.0.1:8404".parse().unwrap());
        assert!(remedy_for(Errno::PERM).contains("socket unit"), "{}", remedy_for(Errno::PERM));
        assert!(remedy_for(Errno::ACCESS).contains("CAP_NET_BIND_SERVICE"), "{}", remedy_for(Errno::ACCESS));
    }
}

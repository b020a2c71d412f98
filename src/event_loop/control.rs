//! The control socket, its clients, and the effects of their requests.
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use mio::Registry;
use mio::event::Event;

use super::EventLoop;
use crate::admin;
use crate::config::plain;
use crate::context::{Context, Timer};
use crate::control::{Body, Change, Command, Connection, servers};
use crate::fleet::ServerId;
use crate::http::{Answer, Asked, Clients, Outcome, Status, Way};
use crate::net::{Accepted, Key, LocalListener, Token};
use crate::policy::fds::MAX_CONTROL_CLIENTS;
use crate::policy::health::Change as HealthChange;
use crate::policy::servers::{Mode, Override, Rise};
use crate::policy::time::Time;
use crate::probe;

/// The control socket and its clients.
pub(super) struct Control {
    listener: Option<LocalListener>,
    /// The socket that the service manager passed.
    passed: Option<(std::os::unix::net::UnixListener, PathBuf)>,
    clients: Clients<Body>,
}

/// A client that has asked; it is to be answered in this turn.
#[must_use]
pub(super) struct Question {
    key: Key,
    asked: Asked,
}

/// Where the process is to listen next.
#[must_use]
pub(super) enum Opened {
    /// Where it does.
    Same,
    Nowhere,
    At(LocalListener),
}

impl Opened {
    /// Closes the listener.
    pub(super) fn give_up(self, registry: &Registry) {
        if let Opened::At(listener) = self {
            listener.close(registry);
        }
    }
}

impl Control {
    pub(super) fn new(passed: Option<std::os::unix::net::UnixListener>) -> Control {
        let path = |listener: &std::os::unix::net::UnixListener| {
            listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_path_buf))
        };
        let passed = passed.and_then(|listener| path(&listener).map(|path| (listener, path)));
        Control { listener: None, passed, clients: Clients::new(Token::Control) }
    }

    /// Opens a listener at `path`, or none, to be [put](Control::put) in place of the present one or to be
    /// [given up](Opened::give_up).
    ///
    /// # Errors
    /// A sentence, the key in front.
    pub(super) fn open(&self, path: Option<&Path>, registry: &Registry) -> Result<Opened, String> {
        if self.listener.as_ref().map(LocalListener::path) == path {
            return Ok(Opened::Same);
        }
        let opened = path.map(|path| self.listen(path, registry)).transpose().map_err(|error| {
            let path = path.unwrap_or(Path::new("")).display();
            format!("control.socket: cannot listen on {path}: {}; {}", plain(&error), remedy(&error))
        })?;
        Ok(opened.map_or(Opened::Nowhere, Opened::At))
    }

    /// Listens there, and no longer elsewhere.
    pub(super) fn put(&mut self, opened: Opened, registry: &Registry) {
        let listener = match opened {
            Opened::Same => return,
            Opened::Nowhere => None,
            Opened::At(listener) => Some(listener),
        };
        if let Some(before) = std::mem::replace(&mut self.listener, listener) {
            before.close(registry);
        }
    }

    fn listen(&self, path: &Path, registry: &Registry) -> io::Result<LocalListener> {
        let listener = match &self.passed {
            Some((socket, at)) if at == path => LocalListener::inherit(socket.try_clone()?, path)?,
            _ => LocalListener::bind(path)?,
        };
        listener.watch(registry, Token::ControlListener)?;
        Ok(listener)
    }

    /// A warning if no key uses the socket that the service manager passed.
    pub(super) fn warning(&self) -> Option<String> {
        let (_, passed) = self.passed.as_ref()?;
        let is_used = self.listener.as_ref().is_some_and(|listener| listener.path() == passed);
        let path = passed.display();
        let words = "is unused: `control.socket` has no such path, so commands sent to it hang.";
        (!is_used).then(|| format!("systemd socket control ({path}) {words}"))
    }

    /// Takes the socket's file away: the process ends.
    pub(super) fn close(&mut self, registry: &Registry) {
        if let Some(listener) = self.listener.take() {
            listener.close(registry);
        }
    }

    /// Lets clients in.
    pub(super) fn accept(&mut self, context: &Context) -> Vec<Question> {
        let mut asked = Vec::new();
        while let Some(Ok(Some(stream))) = self.listener.as_ref().map(LocalListener::accept) {
            if self.clients.len() >= MAX_CONTROL_CLIENTS {
                self.clients.evict();
            }
            // A client on this machine has no address.
            let source = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let outcome = self.clients.accept(Accepted { stream, source }, Way::Direct, context.now, &context.registry);
            asked.extend(question(outcome));
        }
        asked
    }

    pub(super) fn hear(&mut self, key: Key, event: &Event, context: &Context) -> Option<Question> {
        question(self.clients.hear(key, event, context.now, &context.registry))
    }

    pub(super) fn has_unfinished(&self) -> bool {
        self.clients.has_unfinished()
    }

    /// Goes on with clients that are being answered.
    pub(super) fn go_on(&mut self, context: &Context) {
        for key in self.clients.unfinished() {
            let _ = self.clients.resume(key, context.now, &context.registry);
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.clients.deadline()
    }

    /// Ends what has lasted too long. A client that was too slow to ask is to be told so.
    pub(super) fn expire(&mut self, context: &Context) -> Vec<Question> {
        let mut asked = Vec::new();
        while let Some(outcome) = self.clients.expire(context.now, &context.registry) {
            asked.extend(question(outcome));
        }
        asked
    }

    /// Makes the slots of ended clients free for reuse: the turn is over.
    pub(super) fn free(&mut self) {
        self.clients.free();
    }
}

fn question(outcome: Outcome) -> Option<Question> {
    match outcome {
        Outcome::Asked(key, asked) => Some(Question { key, asked }),
        Outcome::Waits | Outcome::Ended(_) => None,
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, move what else has that name, or write another path",
        io::ErrorKind::NotFound => "make the directory, or write another path",
        io::ErrorKind::PermissionDenied => "write a path in a directory that this user may write to",
        _ => "write another path",
    }
}

/// Answers clients that have asked.
pub(super) fn answer(event_loop: &mut EventLoop, questions: impl IntoIterator<Item = Question>) {
    for Question { key, asked } in questions {
        let command = asked.request().and_then(|head| Command::read(&head));
        let uid = asked.peer_uid();
        let answer = match command {
            Ok(command) => carry_out(event_loop, command, uid),
            Err(refusal) => refusal.into(),
        };
        let EventLoop { control, context, .. } = event_loop;
        let _ = control.clients.answer(key, asked, answer, context.now, &context.registry);
    }
}

fn carry_out(event_loop: &mut EventLoop, command: Command, uid: u32) -> Answer<Body> {
    let json = |text| Answer::text(Status::Ok, "", text);
    match command {
        Command::Servers => json(servers(&event_loop.context.fleet, None, event_loop.context.now)),
        Command::Config => json(event_loop.operator.text.to_string()),
        Command::Connections => Answer::made(String::new(), Body::Connections(connections(event_loop))),
        Command::Stats => Answer::made(String::new(), Body::Report(admin::Report::json(event_loop.snapshot()))),
        Command::Set(change) => set(event_loop, &change, uid),
        Command::Drain => {
            if event_loop.operator.is_serving() {
                note(uid, "drain");
                event_loop.drain_at_leisure();
            }
            let at_most = event_loop.context.config.timeouts.drain.as_millis();
            json(format!("{{\"at_most_ms\":{at_most}}}\n"))
        }
    }
}

fn note(uid: u32, what: &str) {
    log::info!("Control socket: uid {uid} asks for {what}.");
}

fn set(event_loop: &mut EventLoop, change: &Change, uid: u32) -> Answer<Body> {
    let Change { route, server, mode, weight, kills, until } = change;
    let now = event_loop.context.now;
    let Some(id) = event_loop.context.fleet.named(route, server) else {
        return Answer::text(Status::NotFound, "", format!("no route has a server {route}/{server}\n"));
    };
    let before = event_loop.context.fleet.listed(id).map(|member| *member.set()).unwrap_or_default();
    // A setting has one end.
    if mode.is_none() && until.is_some() && before.mode != Mode::Ready {
        let why =
            format!("{route}/{server} is set to {}, which would end too: leave --until out\n", before.mode.word());
        return Answer::text(Status::BadRequest, "", why);
    }
    let set = match mode {
        // Back to what the file says, but for a weight that comes with it.
        Some(Mode::Ready) => Override { weight: *weight, ..Override::default() },
        // What is set without an end has none.
        Some(mode) => Override { mode: *mode, weight: weight.or(before.weight), until: None, ..before },
        // But a weight leaves the mode's end alone.
        None => {
            let until = before.until.filter(|_| before.mode != Mode::Ready);
            Override { weight: weight.or(before.weight), until, ..before }
        }
    };
    let set = Override { since: now, until: until.map(|until| now + until).or(set.until), uid, ..set };
    let words = words(change);
    note(uid, &words);
    apply(event_loop, id, set);
    if *kills {
        event_loop.sessions.end_of(id, &mut event_loop.context);
    }
    Answer::text(Status::Ok, "", servers(&event_loop.context.fleet, Some(id.route), now))
}

fn words(change: &Change) -> String {
    let Change { route, server, mode, weight, kills, until } = change;
    let mut words = format!("server {route}/{server}");
    if let Some(mode) = mode {
        words = format!("{words} {}", mode.word());
    }
    if let Some(weight) = weight {
        words = format!("{words} weight {weight}");
    }
    if *kills {
        words.push_str(" and the end of its connections");
    }
    match until {
        Some(until) => format!("{words} for {}", humantime::format_duration(*until)),
        None => words,
    }
}

fn apply(event_loop: &mut EventLoop, id: ServerId, set: Override) {
    let EventLoop { context, probes, .. } = event_loop;
    probes.end_of(&[id]);
    if let Some(change) = context.fleet.set(id, set, context.now) {
        debug_assert_eq!(change, HealthChange::Up, "an operator takes no server down");
        probe::risen(id, Rise::Ready, context);
    }
    probe::tell_route_changes(context);
    if let Some(until) = set.until {
        context.timers.push(until, Timer::Override(id));
    }
    probe::schedule(context);
    probes.note_changed();
}

/// The time of something that was set may be over.
pub(super) fn expire_override(event_loop: &mut EventLoop, id: ServerId) {
    let Context { fleet, now, .. } = &event_loop.context;
    let Some(member) = fleet.listed(id) else { return };
    if member.set().until.is_none_or(|until| until > *now) {
        return;
    }
    let server = &member.server().name;
    let route = fleet.route(id.route).map(|route| route.name().to_string()).unwrap_or_default();
    log::info!("Server {route}/{server}: the operator's setting has expired, and the file's applies again.");
    apply(event_loop, id, Override::default());
}

/// The open connections, the oldest last.
fn connections(event_loop: &EventLoop) -> Vec<Connection> {
    let EventLoop { sessions, context, .. } = event_loop;
    let mut all: Vec<_> = sessions.iter().collect();
    all.sort_by_key(|session| std::cmp::Reverse(session.accepted()));
    let of = |session: &&crate::session::Session| {
        let (moved, id) = (session.moved(), session.server());
        let route = id.and_then(|id| context.fleet.route(id.route));
        let server = id.zip(route).and_then(|(id, route)| route.server(id.server));
        Connection {
            client: session.source(),
            sni: session.sni().map(|sni| sni.escape_ascii().to_string()),
            phase: session.phase().name(),
            route: route.map(|route| (**route.name()).into()),
            server: server.map(|server| (**server.name()).into()),
            age: context.now.since(session.accepted()).as_secs_f64(),
            bytes_up: moved.up,
            bytes_down: moved.down,
        }
    };
    all.iter().map(of).collect()
}

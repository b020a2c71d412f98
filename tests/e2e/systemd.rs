//! Messages to the service manager, and sockets from it.
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::kit::client::{Client, End};
use crate::kit::lines::From;
use crate::kit::namespace::{in_namespace, sh, skip};
use crate::kit::origin::Origin;
use crate::kit::places::{Folder, free_address, free_address_of};
use crate::kit::program::program;
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::wait_until;

/// A shell's words that ask for a word every 200 ms.
const WATCHED: &str = "export WATCHDOG_USEC=400000 WATCHDOG_PID=$$";
const ALIVE: &str = "WATCHDOG=1";

/// Without this, systemd kills an idle program.
#[test]
fn the_watchdog_is_fed_while_idle() {
    let origin = Origin::echo("a");
    let proxy = Proxy::launch(config(&origin), Launch { before: WATCHED, ..Launch::default() });
    let (start, began) = (proxy.lines.len(), Instant::now());
    let fed = || notifications(&proxy, start).iter().filter(|line| *line == ALIVE).count();
    wait_until("it is fed again and again", || fed() >= 8);
    let most = began.elapsed().as_millis() as usize / 200 + 2;
    assert!(fed() <= most, "{} times where {most} would do", fed());
    assert!(proxy.busy_during(Duration::from_secs(1)) < Duration::from_millis(20));

    let other = Launch { before: "export WATCHDOG_USEC=400000 WATCHDOG_PID=1", ..Launch::default() };
    let proxies = [Proxy::launch(config(&origin), other), Proxy::start(config(&origin))];
    sleep(Duration::from_millis(600));
    assert!(!proxies.iter().any(|proxy| notifications(proxy, 0).contains(&ALIVE.to_owned())), "nobody asked for it");
}

/// Without this, systemd does not notice a stuck loop, or a file that would block the loop is opened.
#[test]
fn a_stuck_loop_does_not_feed_the_watchdog() {
    let origin = Origin::echo("a");
    let proxy = Proxy::launch(config(&origin), Launch { before: WATCHED, ..Launch::default() });
    proxy.wait_for_notification(0, ALIVE);
    proxy.halt();
    // What it said before it stopped.
    sleep(Duration::from_millis(300));
    let stuck = proxy.lines.len();
    sleep(Duration::from_secs(1));
    assert!(!notifications(&proxy, stuck).contains(&ALIVE.to_owned()));
    proxy.signal(Signal::CONT);
    proxy.wait_for_notification(stuck, ALIVE);

    let cmdline = proxy.proc("cmdline");
    let file = cmdline.trim_end_matches('\0').rsplit('\0').next().unwrap();
    sh(&format!("rm {file}; mkfifo {file}"));
    proxy.signal(Signal::HUP);
    proxy.wait_for_notice("this is a FIFO or pipe, not a regular file");
    proxy.wait_for_notification(proxy.lines.len(), ALIVE);
}

/// Without this, systemd kills a program that is out of fds.
#[test]
fn the_watchdog_needs_no_fd() {
    let origin = Origin::echo("a");
    let proxy = Proxy::launch(config(&origin), Launch { before: WATCHED, ..Launch::default() });
    let limit = Rlimit { current: Some(3), maximum: Some(3) };
    prlimit(Some(proxy.pid()), Resource::Nofile, limit).unwrap();
    let start = proxy.lines.len();
    proxy.wait_for_notification(start, ALIVE);
}

/// Without this, `systemctl status` shows old figures.
#[test]
fn the_status_is_kept_up_to_date() {
    let mut origin = Origin::echo("a");
    let mut config = config(&origin);
    config["health_check"] = json!({ "interval": "100ms", "fall": 1 });
    let proxy = Proxy::start(config);
    let status = |wanted: &str| proxy.wait_for_notification(0, &format!("STATUS={wanted}"));
    status("1/1 servers up, 0 connections");
    let mut clients: Vec<Client> = (0..3).map(|_| guest(&proxy)).collect();
    status("1/1 servers up, 3 connections");
    origin.stop_listening();
    status("0/1 servers up, 3 connections");
    // However much happens, it is told every 5 s.
    let (start, began) = (proxy.lines.len(), Instant::now());
    while began.elapsed() < Duration::from_secs(6) {
        clients.push(proxy.connect());
        sleep(Duration::from_millis(20));
    }
    let told = || notifications(&proxy, start).iter().filter(|line| line.starts_with("STATUS=")).count();
    wait_until("the status is told", || told() > 0);
    let most = began.elapsed().as_secs() as usize / 5 + 1;
    assert!(told() <= most, "told {} times where {most} would do", told());
    drop(clients);
    proxy.lines.wait(start, |_, line| (line == "STATUS=0/1 servers up, 0 connections").then_some(()));
    // Nothing changes any more, and nothing is told, for all the probes.
    let start = proxy.lines.len();
    sleep(Duration::from_secs(6));
    assert_eq!(notifications(&proxy, start), Vec::<String>::new());
}

/// Without this, systemd gets messages in a wrong order, or one message in two parts.
#[test]
fn from_start_to_stop() {
    let origin = Origin::echo("a");
    let folder = Folder::new();
    // A name of the abstract namespace, as a manager in a container of its own may have.
    let name = format!("lb-e2e-{}-notify", std::process::id());
    let ear = UnixDatagram::bind_addr(&std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    ear.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hear = || {
        loop {
            let mut buffer = [0; 1000];
            let n = ear.recv(&mut buffer).unwrap();
            let told = String::from_utf8_lossy(&buffer[..n]).into_owned();
            // One that is told every 5 s, on a machine that takes as long for the rest.
            if !told.starts_with("STATUS=") {
                return told;
            }
        }
    };
    let address = free_address();
    let mut config = config(&origin);
    config["listen"] = json!([address]);
    config["timeouts"] = json!({ "drain": "7s" });
    let mut child = Command::new(program())
        .args(["run", "--config"])
        .arg(folder.write("lb.json", &config.to_string()))
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(hear(), format!("READY=1\nMAINPID={}\nSTATUS=1/1 servers up, 0 connections\n", child.id()));
    // Ready means that clients are let in.
    let mut client = Client::connect(address);
    assert_eq!(client.hello("a.test").greeting(), "a");
    let pid = rustix::process::Pid::from_child(&child);
    for (text, refused) in [(config.to_string(), ""), ("{".to_owned(), ", last reload refused")] {
        folder.write("lb.json", &text);
        rustix::process::kill_process(pid, Signal::HUP).unwrap();
        let reloading = hear();
        let (_, usec) = reloading.split_once("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(usec.trim_end().parse::<u64>().is_ok(), "{reloading}");
        assert!(hear().ends_with(&format!("\nSTATUS=1/1 servers up, 1 connection{refused}\n")));
    }
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(hear(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=8000000\nSTATUS=draining, 1 connection\n");
    drop(client);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Without this, a service manager that reads nothing stops the loop.
#[test]
fn a_deaf_manager() {
    let origin = Origin::echo("a");
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let ear = UnixDatagram::bind(&path).unwrap();
    let (address, mut config) = (free_address(), config(&origin));
    config["listen"] = json!([address]);
    let mut child = Command::new(program())
        .args(["run", "--config"])
        .arg(folder.write("lb.json", &config.to_string()))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "1000")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    ear.recv(&mut [0; 1000]).unwrap();
    // Its queue is full for the program, too.
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"x", &path).is_ok() {}
    // Longer than between two words for the watchdog.
    sleep(Duration::from_millis(100));
    for _ in 0..20 {
        assert_eq!(Client::connect(address).hello("a.test").greeting(), "a");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Without this, a client that connects between two processes, or during a drain, is refused.
#[test]
fn a_restart_refuses_nobody() {
    let origin = Origin::echo("a");
    let listener = TcpListener::bind(free_address()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = config(&origin);
    config["listen"] = json!([address]);
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let proxy = Proxy::launch(config.clone(), passing("https", &listener));
        for mut client in waiting.drain(..) {
            assert_eq!(Client::hello(&mut client, "a.test").greeting(), "a");
        }
        let mut open = guest(&proxy);
        proxy.signal(Signal::TERM);
        proxy.wait_for_notification(0, "STOPPING=1");
        waiting.extend((0..20).map(|_| Client::connect(address)));
        // Nobody who knocks meanwhile keeps it busy.
        assert!(proxy.busy_during(Duration::from_millis(500)) < Duration::from_millis(20));
        open.finish().end();
        assert_eq!(proxy.wait_for_exit().0.code(), Some(0));
        waiting.extend((0..20).map(|_| Client::connect(address)));
    }
    assert_eq!(origin.clients().len(), 3 + 2 * 40);
}

/// Without this, clients in the backlog of a killed process are refused.
#[test]
fn a_crash_refuses_nobody() {
    let origin = Origin::echo("a");
    let listener = TcpListener::bind(free_address()).unwrap();
    let mut config = config(&origin);
    config["listen"] = json!([listener.local_addr().unwrap()]);
    let proxy = Proxy::launch(config.clone(), passing("https", &listener));
    let _open = guest(&proxy);
    proxy.signal(Signal::KILL);
    drop(proxy.wait_for_exit());
    let mut client = Client::connect(listener.local_addr().unwrap());
    let _proxy = Proxy::launch(config, passing("https", &listener));
    assert_eq!(client.hello("a.test").greeting(), "a");
}

/// Without this, socket activation does not start the program, or mixes its two sockets up. systemd-socket-activate is
/// the manager.
#[test]
fn started_by_the_first_client() {
    let program = "systemd-socket-activate";
    if Command::new(program).arg("--version").output().is_err() {
        return skip("started_by_the_first_client", "systemd-socket-activate is not installed");
    }
    let origin = Origin::echo("a");
    let (https, http, admin) = (free_address(), free_address(), free_address());
    let mut config = config(&origin);
    config["listen"] = json!([https]);
    config["redirect"] = json!({ "listen": [http] });
    config["admin"] = json!({ "listen": [admin] });
    let within = format!("{program} -E NOTIFY_SOCKET -l {https} -l {http} -l {admin} --fdname=https:http:admin");
    let first = thread::spawn(move || {
        let mut first = connect_at_last(https);
        first.hello("a.test").greeting()
    });
    let proxy = Proxy::launch(config, Launch { within: within.leak(), ..Launch::default() });
    assert_eq!(first.join().unwrap(), "a");
    for (address, request, status) in [(http, "GET / HTTP/1.1", "301"), (admin, "GET /health HTTP/1.1", "200")] {
        let mut client = Client::connect(address);
        let (answer, end) = client.send(format!("{request}\r\nHost: a.b\r\n\r\n").as_bytes()).rest();
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()) && end == End::Fin);
    }
    let told = proxy.other_lines();
    for (address, role) in [(https, "https"), (http, "http"), (admin, "admin")] {
        let wanted = format!("Listening on {address} for {role}, on a socket from systemd.");
        assert!(told.iter().any(|line| line.ends_with(&wanted)), "{told:#?}");
    }
}

/// Without this, a unit with `ListenStream=443` does not serve both families, for which the configuration has two
/// addresses.
#[test]
fn a_socket_for_both_families_serves_both() {
    in_namespace(concat!(module_path!(), "::a_socket_for_both_families_serves_both"), || {
        let both = free_address_of("::".parse().unwrap());
        let v4 = SocketAddr::from(([0, 0, 0, 0], both.port()));
        let origin = Origin::echo("a");
        for listen in [json!([both]), json!([v4]), json!([v4, both])] {
            let mut config = config(&origin);
            config["listen"] = listen.clone();
            let proxy = Proxy::launch(config, Launch::with_socket(both));
            for to in ["127.0.0.1", "::1"] {
                let mut client = Client::connect(SocketAddr::new(to.parse().unwrap(), both.port()));
                assert_eq!(client.hello("a.test").greeting(), "a", "{listen}");
                assert_eq!(origin.header_of(client.address).source, Some(client.address));
            }
            let told = proxy.other_lines();
            assert_eq!(told.iter().filter(|line| line.contains("Listening on")).count(), 1, "{told:#?}");
            assert!(!told.iter().any(|line| line.contains("Warning")), "{told:#?}");
        }
    });
}

/// Without this, commands sent to a control socket that the configuration does not name hang, and nothing says so.
#[test]
fn a_control_socket_of_no_use_is_named() {
    let (origin, folder) = (Origin::echo("a"), Folder::new());
    let path = folder.path().join("control.sock");
    let stdin = Some(UnixListener::bind(&path).unwrap().into());
    let proxy = Proxy::launch(config(&origin), Launch { before: passing_words("control"), stdin, ..Launch::default() });
    let warning = proxy.wait_for_notice("Warning: systemd socket control");
    assert!(
        warning.contains(&format!("({}) is unused: `control.socket` has no such path", path.display())),
        "{warning}"
    );
}

/// Without this, a stored fd that is no hand-over, such as that of another program or version, keeps the service down.
#[test]
fn a_stored_fd_of_another_kind_is_left_alone() {
    let origin = Origin::echo("a");
    let stdin = Some(std::io::pipe().unwrap().0.into());
    let proxy = Proxy::launch(config(&origin), Launch { before: passing_words("parked"), stdin, ..Launch::default() });
    proxy.wait_for_notice("The hand-over of the previous process cannot be read");
    assert_eq!(proxy.connect().hello("a.test").greeting(), "a");
}

/// Without this, a reload closes a passed socket that it does not need, or cannot use it again later.
#[test]
fn a_reload_leaves_a_socket_and_comes_back_to_it() {
    let origin = Origin::echo("a");
    let listener = TcpListener::bind(free_address()).unwrap();
    let (passed, own) = (listener.local_addr().unwrap(), free_address());
    let config = |listen: &[SocketAddr]| {
        let mut config = config(&origin);
        config["listen"] = json!(listen);
        config
    };
    let proxy = Proxy::launch(config(&[passed, own]), passing("https", &listener));
    assert!(!proxy.other_lines().iter().any(|line| line.contains("Warning")));
    for _ in 0..3 {
        proxy.reload(config(&[own]));
        let warning = proxy.wait_for_notice("Warning: systemd socket https");
        assert!(
            warning.contains(&format!(
                "({passed}) is unused: `listen` has no such address, so clients connecting to it hang."
            )),
            "{warning}"
        );
        let mut waits = Client::connect(passed);
        waits.hello("a.test");
        assert_eq!(waits.end_within(Duration::from_millis(200)), End::Silence);
        assert!(proxy.busy_during(Duration::from_millis(200)) < Duration::from_millis(20));
        assert_eq!(Client::connect(own).hello("a.test").greeting(), "a");
        proxy.reload(config(&[passed, own]));
        waits.stream.set_read_timeout(Some(crate::kit::PATIENCE)).unwrap();
        assert_eq!(waits.greeting(), "a");
    }
}

/// Without this, the program starts with passed sockets that cannot work.
#[test]
fn sockets_that_are_of_no_use() {
    let listener = TcpListener::bind(free_address()).unwrap();
    let idle = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    idle.bind(&free_address().into()).unwrap();
    let udp = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    for (socket, name, words) in [
        (
            listener.try_clone().unwrap().into(),
            "web.socket",
            "FileDescriptorName= must be https, http, admin, control, or the",
        ),
        (idle, "https", "does not listen; Accept= must be no"),
        (udp, "https", "is not for TCP"),
    ] {
        let error = refusal(&socket, name, free_address());
        assert!(error.contains(words), "{error}");
    }
    // Taken by a socket that was passed for something else.
    let taken = listener.local_addr().unwrap();
    let error = refusal(&listener.try_clone().unwrap().into(), "http", taken);
    assert!(error.contains(&format!("cannot listen on {taken}")), "{error}");
    assert!(error.contains(&format!("systemd passes {taken} as http")), "{error}");
    let everywhere = SocketAddr::from(([0, 0, 0, 0], taken.port()));
    let error = refusal(&listener.try_clone().unwrap().into(), "https", everywhere);
    assert!(error.contains(&format!("cannot listen on {everywhere}")), "{error}");
    assert!(error.contains(&format!("systemd passes {taken} as https")), "{error}");
    // Meant for another process.
    let before = "export LISTEN_FDS=1 LISTEN_FDNAMES=nonsense LISTEN_PID=1";
    drop(Proxy::launch(config_of(free_address()), Launch { before, ..Launch::default() }));
}

/// What the program says on stderr when it is passed a socket that it cannot use.
fn refusal(socket: &Socket, name: &str, listen: SocketAddr) -> String {
    let folder = Folder::new();
    let mut config = config_of(free_address());
    config["listen"] = json!([listen]);
    let output = Command::new("sh")
        .args(["-c", passing_shell(name)])
        .arg(program())
        .args(["run", "--config"])
        .arg(folder.write("lb.json", &config.to_string()))
        .stdin(std::os::fd::OwnedFd::from(socket.try_clone().unwrap()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

fn passing_shell(name: &str) -> &'static str {
    format!("{}; exec \"$0\" \"$@\"", passing_words(name)).leak()
}

fn passing_words(name: &str) -> &'static str {
    format!("exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_FDNAMES={name} LISTEN_PID=$$").leak()
}

/// Passes a socket as systemd does, and like systemd keeps it.
fn passing(name: &str, listener: &TcpListener) -> Launch {
    let stdin = Some(listener.try_clone().unwrap().into());
    Launch { before: passing_words(name), stdin, ..Launch::default() }
}

fn connect_at_last(to: SocketAddr) -> Client {
    loop {
        match TcpStream::connect(to) {
            Ok(stream) => return Client::new(stream),
            Err(_) => sleep(Duration::from_millis(10)),
        }
    }
}

fn notifications(proxy: &Proxy, start: usize) -> Vec<String> {
    proxy.lines.since(start, From::Notify)
}

fn guest(proxy: &Proxy) -> Client {
    let mut client = proxy.connect();
    assert_eq!(client.hello("a.test").greeting(), "a");
    client
}

fn config(origin: &Origin) -> Value {
    config_of(origin.address)
}

fn config_of(server: SocketAddr) -> Value {
    json!({ "routes": { "a": { "sni": ["a.test"], "servers": [server] } } })
}

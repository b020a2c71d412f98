//! A shortage or a missing feature of this host does not count against a server or a client.
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::kit::client::{Client, End};
use crate::kit::hello::hello;
use crate::kit::lines::From;
use crate::kit::log::Entry;
use crate::kit::namespace::{ON_LB, in_namespace, inside, sh, skip, two_networks};
use crate::kit::origin::{Expect, Origin, Visit, echo, hold};
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::stream;
use crate::kit::wait_until;

/// Without this, a host without free local ports takes its servers for down, and ends working connections.
#[test]
fn local_ports_used_up_take_no_server_down() {
    in_namespace(concat!(module_path!(), "::local_ports_used_up_take_no_server_down"), || {
        let origin = Origin::serve(Expect::Header, hold());
        let proxy = Proxy::start(json!({
            "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()], "on_down": "close" } },
            "health_check": { "interval": "50ms", "fall": 1 },
            "timeouts": { "connect": "2s", "tunnel": "5m" },
            "retries": 0,
        }));
        let _few = FewPorts::new();
        let mut first: Vec<Client> = (0..30).map(|n| guest(n, proxy.address)).collect();
        wait_until("they are served", || origin.clients().len() == 30);
        let second: Vec<Client> = (30..60).map(|n| guest(n, proxy.address)).collect();
        proxy.wait_for_notice("has no free local port");
        // Probes go on, and find none either.
        sleep(Duration::from_millis(300));
        let server_is_down = |line: &String| line.contains(" is DOWN");
        assert!(!proxy.other_lines().iter().any(server_is_down), "{:?}", proxy.lines);
        // Who waits in vain is told that it is this host's fault.
        wait_until("the rest is ended", || {
            proxy.entries().iter().any(|line| line.step == "CLOSE" && line.ts() == "RC")
        });
        assert!(!proxy.other_lines().iter().any(server_is_down), "{:?}", proxy.lines);
        assert!(first.iter_mut().all(|client| client.end_within(Duration::from_millis(1)) == End::Silence));
        let said = proxy.other_lines().iter().filter(|line| line.contains("has no free local port")).count();
        assert_eq!(said, 1, "once a minute");
        drop(second);
    });
}

/// Forty local ports, until dropped: what ends the servers of a test connects as well.
struct FewPorts;

impl FewPorts {
    fn new() -> FewPorts {
        sh("echo 40000 40039 >/proc/sys/net/ipv4/ip_local_port_range");
        FewPorts
    }
}

impl Drop for FewPorts {
    fn drop(&mut self) {
        sh("echo 32768 60999 >/proc/sys/net/ipv4/ip_local_port_range");
    }
}

/// A client of its own port, outside the range from which the kernel takes those of sockets that connect: one that is
/// bound there is missing for everybody.
fn guest(number: u16, to: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 20_000 + number)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut client = Client::new(socket.into());
    client.hello("a.test");
    client
}

/// Without this, connections to all servers share the ports of one `source` address, instead of each server having all
/// of them.
#[test]
fn a_source_address_has_its_ports_for_each_server() {
    in_namespace(concat!(module_path!(), "::a_source_address_has_its_ports_for_each_server"), || {
        let origins: Vec<Origin> = (0..3).map(|_| Origin::serve(Expect::Header, hold())).collect();
        let servers: Vec<_> =
            origins.iter().map(|origin| origin.server_with(json!({ "source": "127.0.0.9" }))).collect();
        let proxy = Proxy::start(json!({
            "routes": { "a": { "sni": ["a.test"], "servers": servers } },
            "health_check": { "type": "off" },
            "timeouts": { "connect": "1s" },
        }));
        let _few = FewPorts::new();
        let _guests: Vec<Client> = (0..90).map(|n| guest(n, proxy.address)).collect();
        wait_until("all are served", || origins.iter().map(|origin| origin.clients().len()).sum::<usize>() == 90);
    });
}

/// Without this, bulk transfers break on a kernel without splice (gVisor, some seccomp profiles).
#[test]
fn where_splice_is_refused_bytes_are_copied() {
    const BYTES: usize = 8 << 20;
    if Command::new("strace").arg("--version").output().is_err() {
        return skip("where_splice_is_refused_bytes_are_copied", "there is no strace");
    }
    for error in ["ENOSYS", "EINVAL", "EPERM"] {
        // Into a pipe only, where the refusal comes late: then there are bytes in the pipe.
        for when in ["", ":when=2+"] {
            let within: &'static str = format!(
                "strace -D -qqq -f --seccomp-bpf -o /dev/null -e trace=splice -e inject=splice:error={error}{when}"
            )
            .leak();
            let origin = Origin::serve(Expect::Header, |visit| {
                let mut stream = visit.stream;
                stream.read_to_end(&mut Vec::new()).unwrap();
                stream::send(&mut stream, 7, BYTES).unwrap();
            });
            let config = json!({ "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } } });
            let proxy = Proxy::launch(config, Launch { within, ..Launch::default() });
            for _ in 0..2 {
                let mut client = proxy.connect();
                let peer = client.stream.local_addr().unwrap();
                client.hello("a.test").finish();
                assert_eq!(stream::receive(&mut client.stream, 7, |_| {}).unwrap(), BYTES);
                assert_eq!(proxy.close_of(peer).ts(), "--", "{error}{when}");
            }
        }
    }
}

/// Without this, a peer whose link is cut holds its connection until the tunnel's timeout.
#[test]
fn both_sides_are_asked_whether_they_are_there() {
    for (keepalive, wanted) in [(json!({}), true), (json!({ "keepalive": "0s" }), false)] {
        let origin = Origin::echo("a");
        let proxy = Proxy::start(json!({
            "routes": { "a": { "sni": ["a.test"], "servers": [origin.server()] } },
            "timeouts": keepalive,
        }));
        let mut client = proxy.connect();
        assert_eq!(client.hello("a.test").greeting(), "a");
        client.expect(&hello("a.test"));
        let asked = |local: &str| timers(proxy.pid().as_raw_pid(), local);
        let of_client = proxy.address.port().to_string();
        if wanted {
            wait_until("the client is asked", || asked(&of_client) == 1);
            wait_until("and the server", || asked("") == 2);
        } else {
            sleep(Duration::from_millis(1500));
            assert_eq!(asked(""), 0);
        }
        client.send(b"still here").expect(b"still here");
    }
}

/// Without this, connections over a cut link stay open for a day with a long tunnel timeout.
#[test]
fn a_link_that_is_cut_ends_the_connections_over_it() {
    in_namespace(concat!(module_path!(), "::a_link_that_is_cut_ends_the_connections_over_it"), || {
        two_networks();
        let patient = |name| {
            let echo = echo(name);
            move |visit: Visit| {
                visit.stream.set_read_timeout(None).unwrap();
                echo(visit);
            }
        };
        let serve = |at: &str, name| Origin::serve_at(at.parse().unwrap(), Expect::Header, patient(name));
        let far = serve("198.51.100.2:7443", "far");
        // Its end would knock at its address, from here: the process ends without.
        let near: &Origin = Box::leak(Box::new(inside("lb", || serve("127.0.0.1:7443", "near"))));
        let config = json!({
            "listen": ["0.0.0.0:443"],
            "routes": {
                "far": { "sni": ["far.test"], "servers": [far.server()] },
                "near": { "sni": ["near.test"], "servers": [near.server()] }
            },
            "health_check": { "type": "off" },
            "timeouts": { "tunnel": "24h", "keepalive": "1s" },
        });
        let proxy = Proxy::launch_as(
            &config,
            "203.0.113.2:443".parse().unwrap(),
            Launch { within: ON_LB, ..Launch::default() },
        );
        let mut clients = [(proxy.connect(), "near", "CD"), (inside("lb", || proxy.connect()), "far", "SD")];
        for (client, name, _) in &mut clients {
            assert_eq!(client.hello(&format!("{name}.test")).greeting(), *name);
            client.expect(&hello(&format!("{name}.test")));
        }
        sh("at router sh -c 'echo 0 >/proc/sys/net/ipv4/ip_forward'");
        // A second of silence, and four questions, one each 15 seconds.
        let ends = |client: &Client| {
            let end = |from, line: &str| {
                let entry = (from == From::Stdout).then(|| Entry::parse(line))??;
                (entry.client == client.address && entry.step == "CLOSE").then_some(entry)
            };
            proxy.lines.wait_for(0, Duration::from_mins(3), end).unwrap()
        };
        for (client, _, state) in &clients {
            let close = ends(client);
            assert_eq!(close.ts(), *state, "{close:?}");
        }
    });
}

/// Sockets of a process with a keepalive of two minutes at most, those with this local port, as `ss` shows them.
fn timers(process: i32, port: &str) -> usize {
    let output = Command::new("ss").args(["-tnopH", "state", "established"]).output().unwrap();
    let mark = format!("pid={process},");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains(&mark) && line.contains("timer:(keepalive,1min"))
        .filter(|line| line.split_whitespace().nth(2).unwrap().ends_with(port))
        .count()
}

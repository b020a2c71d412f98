//! The control socket as an operator uses it, through the program's own commands.
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;

use serde_json::{Value, json};

use crate::kit::client::{Client, End};
use crate::kit::origin::Origin;
use crate::kit::places::{Folder, free_address};
use crate::kit::program::program;
use crate::kit::proxy::Proxy;

struct Rig {
    folder: Folder,
    proxy: Proxy,
    config: Value,
    _origins: [Origin; 2],
}

impl Rig {
    fn start() -> Rig {
        let (folder, origins) = (Folder::new(), [Origin::echo("one"), Origin::echo("two")]);
        let servers =
            [origins[0].server_with(json!({ "name": "one" })), origins[1].server_with(json!({ "name": "two" }))];
        let config = json!({
            "routes": { "a": { "sni": ["a.test"], "servers": servers } },
            "control": { "socket": folder.path().join("control.sock") },
        });
        Rig { proxy: Proxy::start(config.clone()), folder, config, _origins: origins }
    }

    /// Runs a command over the socket.
    fn command(&self, arguments: &[&str]) -> Output {
        let socket = self.folder.path().join("control.sock");
        Command::new(program()).args(arguments).arg("--socket").arg(socket).output().unwrap()
    }

    /// What a command that succeeds says.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn greeting(&self) -> (Client, String) {
        let mut client = self.proxy.connect();
        let name = client.hello("a.test").greeting();
        (client, name)
    }
}

/// Without this, a deploy script that drains a server first cuts its clients off, or goes on too early.
#[test]
fn a_drained_server_finishes_what_it_has() {
    let rig = Rig::start();
    let mut held = loop {
        let (client, name) = rig.greeting();
        if name == "one" {
            break client;
        }
    };
    assert_eq!(rig.says(&["server", "a/one", "drain"]), "a/one is DRAIN; 1 connection open. two takes the new ones.\n");
    let waited = rig.command(&["server", "a/one", "drain", "--wait", "100ms"]);
    assert_eq!(waited.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&waited.stderr), "a/one still has 1 connection\n");
    assert!((0..10).all(|_| rig.greeting().1 == "two"));
    // What was set holds beside the file's word.
    rig.proxy.reload(rig.config.clone());
    assert!((0..10).all(|_| rig.greeting().1 == "two"));
    held.finish();
    assert_eq!(held.end(), End::Fin);
    assert!(rig.says(&["server", "a/one", "drain", "--wait", "30s"]).ends_with("a/one has no connections.\n"));
    rig.says(&["server", "a/one", "ready"]);
    while rig.greeting().1 != "one" {}
}

/// Without this, taking a server out and back under load costs connections.
#[test]
fn servers_come_and_go_under_load() {
    let rig = Rig::start();
    let over = AtomicBool::new(false);
    scope(|scope| {
        let load = scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                rig.greeting();
                count += 1;
            }
            count
        });
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for name in ["a/one", "a/two", "a/one", "a/two"] {
                rig.says(&["server", name, "drain", "--wait", "30s"]);
                rig.says(&["server", name, "ready"]);
            }
        }));
        over.store(true, Ordering::Relaxed);
        rounds.unwrap();
        assert!(load.join().unwrap() > 0);
    });
}

/// Without this, `maint` goes on probing, `kill` leaves clients connected, or `--until` does not end.
#[test]
fn kill_ends_what_is_open_and_until_gives_it_back() {
    let rig = Rig::start();
    let (mut one, mut two) = (rig.greeting(), rig.greeting());
    if one.1 == "two" {
        std::mem::swap(&mut one, &mut two);
    }
    rig.says(&["server", "a/one", "kill", "--until", "1s"]);
    assert_ne!(one.0.end(), End::Silence);
    assert_eq!(rig.proxy.close_of(one.0.address).ts(), "KD");
    assert!(rig.says(&["server"]).contains("MAINT"));
    rig.proxy.wait_for_notice("Server a/one: the operator's setting has expired, and the file's applies again.");
    assert!(!rig.says(&["server"]).contains("MAINT"));
    rig.says(&["server", "a/two", "weight", "0"]);
    assert!((0..5).all(|_| rig.greeting().1 == "one"));
}

/// Without this, a drain that an operator makes lasting ends with the time of an earlier one, or of a weight.
#[test]
fn a_state_without_until_holds_until_the_next_change() {
    let rig = Rig::start();
    let has_end = |rig: &Rig| rig.says(&["server", "a/one"]).contains(", for another ");
    rig.says(&["server", "a/one", "drain", "--until", "1h"]);
    rig.says(&["server", "a/one", "weight", "2"]);
    assert!(has_end(&rig), "a weight is no state");
    rig.says(&["server", "a/one", "drain"]);
    assert!(!has_end(&rig));
    let refused = rig.command(&["server", "a/one", "weight", "3", "--until", "1h"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("a/one is set to drain, which would end too"), "{said}");
    assert!(!has_end(&rig));
    rig.says(&["server", "a/one", "maint", "--until", "1h"]);
    rig.says(&["server", "a/one", "kill"]);
    assert!(!has_end(&rig));
    rig.says(&["server", "a/one", "ready"]);
    rig.says(&["server", "a/one", "weight", "3", "--until", "1h"]);
    assert!(has_end(&rig));
    rig.says(&["server", "a/one", "weight", "2"]);
    assert!(!has_end(&rig));
}

/// Without this, every user of the machine can drain servers, or one stalled reader locks an operator out.
#[test]
fn the_socket_is_for_its_group_and_one_slow_client_holds_up_nobody() {
    let rig = Rig::start();
    let path = rig.folder.path().join("control.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut stalled: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for (n, client) in stalled.iter_mut().enumerate() {
        // Some may have been sent away for others already.
        let _ = client.write_all(if n % 2 == 0 { b"GET /connections HTTP/1.1\r\nHost: a\r\n\r\n" } else { b"GET" });
    }
    assert!(rig.says(&["server"]).contains("a/two"));
    assert_eq!(rig.greeting().0.finish().end(), End::Fin);
    let unknown = rig.command(&["server", "a/three", "drain"]);
    assert_eq!((unknown.status.code(), &*unknown.stderr), (Some(1), &b"no route has a server a/three\n"[..]));
}

/// Without this, an operator reloads blindly.
#[test]
fn diff_tells_what_a_reload_changes() {
    let rig = Rig::start();
    let mut config = rig.config.clone();
    config["listen"] = json!([rig.proxy.address]);
    let file = rig.folder.write("new.json", &config.to_string());
    assert_eq!(rig.says(&["diff", "--config", file.to_str().unwrap()]), "A reload changes nothing.\n");
    config["retries"] = json!(1);
    config["routes"]["a"]["servers"].as_array_mut().unwrap().remove(0);
    let (held, other) = (rig.greeting(), rig.greeting());
    let file = rig.folder.write("new.json", &config.to_string());
    let said = rig.says(&["diff", "--config", file.to_str().unwrap()]);
    assert!(said.starts_with("+ retries: 1\n- routes.a.servers: "), "{said}");
    assert!(said.ends_with("1 connection has its server taken out of the file, and may finish.\n"), "{said}");
    drop((held, other));
}

/// Without this, a reload that is refused leaves a listener or a control socket behind that no configuration has.
#[test]
fn a_reload_that_is_refused_opens_nothing() {
    let rig = Rig::start();
    let (more, moved) = (free_address(), rig.folder.path().join("moved.sock"));
    let taken = std::net::TcpListener::bind(free_address()).unwrap();
    let none = rig.folder.path().join("none/control.sock");
    let refused = [(json!(none), more), (json!(moved), taken.local_addr().unwrap())];
    for (socket, listen) in refused {
        let mut config = rig.config.clone();
        config["control"]["socket"] = socket;
        config["routes"]["b"] = json!({ "listen": [listen], "servers": ["127.0.0.1:9"] });
        rig.proxy.reload(config);
        assert!(std::net::TcpStream::connect(more).is_err());
        assert!(!moved.exists());
    }
    assert!(rig.says(&["server"]).contains("a/one"));
}

/// Without this, `drain --wait` ends while clients are connected, and a host is taken down under them.
#[test]
fn drain_waits_for_the_last_connection() {
    let rig = Rig::start();
    let (mut client, _) = rig.greeting();
    assert_eq!(rig.command(&["drain", "--wait", "100ms"]).status.code(), Some(1));
    assert!(rig.says(&["server"]).contains("a/one"), "the commands go on working");
    client.finish();
    assert_eq!(client.end(), End::Fin);
    rig.proxy.wait_for_exit();
    assert!(!rig.folder.path().join("control.sock").exists());
}

/// Without this, a balancer in front takes the host for crashed, or sees nothing at all before it is started anew.
#[test]
fn drain_is_seen_on_health_though_nothing_is_open() {
    let mut rig = Rig::start();
    let admin = free_address();
    rig.config["admin"] = json!({ "listen": [admin] });
    rig.proxy.reload(rig.config.clone());
    let drained = rig.says(&["drain", "--wait", "1s"]);
    assert!(drained.ends_with("after 30s at the latest.\nNo connection is open.\n"), "{drained}");
    let health = Command::new(program()).args(["health", &format!("http://{admin}/health")]).output().unwrap();
    assert!(String::from_utf8_lossy(&health.stderr).contains(" 503 "), "{health:?}");
    assert!(rig.says(&["server"]).contains("a/one"), "the commands go on working");
    assert!(rig.proxy.wait_for_exit().0.success());
}

/// What docs/operate.md shows beneath a command, the first time.
fn shown(page: &str, command: &str) -> Vec<String> {
    let (_, after) = page.split_once(&format!("    $ fiscalismia-lb {command}\n")).unwrap();
    let lines = after.lines().map_while(|line| line.strip_prefix("    ")).take_while(|line| !line.starts_with("$ "));
    lines.map(str::to_owned).collect()
}

/// With the rig's names, and without what differs from one run to the next.
fn shape(line: &str) -> String {
    let line = line.replace("web/web01", "a/one").replace("web02", "two").replace("connections", "connection");
    line.split_whitespace()
        .map(|word| if word.starts_with(|c: char| c.is_ascii_digit()) { "0" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Without this, docs/operate.md shows columns and sentences that the program no longer prints.
#[test]
fn the_page_shows_what_the_program_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operate.md")).unwrap();
    let rig = Rig::start();
    let held = std::iter::repeat_with(|| rig.greeting()).find(|(_, name)| name == "one").unwrap();
    let first = |lines: &str| shape(lines.lines().next().unwrap());
    for command in [&["server"][..], &["connections"], &["top", "--once"]] {
        assert_eq!(first(&rig.says(command)), shape(&shown(&page, &command.join(" "))[0]), "{command:?}");
    }
    let titles = |line: &&str| line.starts_with("NAME ");
    let top = rig.says(&["top", "--once"]);
    assert_eq!(top.lines().find(titles).unwrap().split_whitespace().collect::<Vec<_>>(), {
        let shown = page.lines().map(str::trim_start).find(titles).unwrap();
        shown.split_whitespace().collect::<Vec<_>>()
    });
    let drained = rig.command(&["server", "a/one", "drain", "--until", "30m", "--wait", "1ms"]);
    let drained = String::from_utf8([drained.stdout, drained.stderr].concat()).unwrap();
    let wanted = shown(&page, "server web/web01 drain --until 30m --wait 2s");
    assert_eq!(
        drained.lines().map(shape).collect::<Vec<_>>(),
        wanted.iter().map(|line| shape(line)).collect::<Vec<_>>()
    );
    let weighed = rig.says(&["server", "a/one", "weight", "3"]);
    assert_eq!(shape(weighed.trim_end()), shape(&shown(&page, "server web/web01 weight 3")[0]));
    let draining = rig.command(&["drain", "--wait", "1ms"]);
    let draining = String::from_utf8([draining.stdout, draining.stderr].concat()).unwrap();
    let wanted = shown(&page, "drain --wait 2s");
    assert_eq!(
        draining.lines().map(shape).collect::<Vec<_>>(),
        wanted.iter().map(|line| shape(line)).collect::<Vec<_>>()
    );
    // The drained process ends with its last connection.
    drop(held);
    assert!(rig.proxy.wait_for_exit().0.success());
}

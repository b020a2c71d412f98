//! Log lines about servers, routes and reloads: as text, as JSON fields, and for the journal.
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::kit::client::Client;
use crate::kit::lines::{From, Lines};
use crate::kit::origin::Origin;
use crate::kit::places::{Folder, free_address};
use crate::kit::program::program;
use crate::kit::proxy::Proxy;

fn config(server: SocketAddr) -> Value {
    json!({
        "routes": { "a": { "sni": ["a.test"], "servers": [{ "name": "s", "address": server }] } },
        "health_check": { "interval": "60s" },
        "log": { "format": "json" }
    })
}

/// Without this, a program that reads the log has to parse sentences to learn which server is down.
#[test]
fn events_in_json() {
    let dead = free_address();
    let proxy = Proxy::start(config(dead));
    let down = event(&proxy, 0, "server_down");
    let name = |object: &Value| [&object["route"], &object["server"], &object["check_status"]].map(Clone::clone);
    assert_eq!(name(&down), [json!("a"), json!("s"), json!("L4CON")]);
    assert!(
        down["lasted_ms"].is_u64() && down["message"].as_str().unwrap().starts_with("Server a/s is DOWN, "),
        "{down}"
    );
    let down = event(&proxy, 0, "route_down");
    assert_eq!((&down["route"], &down["level"]), (&json!("a"), &json!("critical")));

    let origin = Origin::echo("a");
    let mark = proxy.lines.len();
    proxy.reload(config(origin.address));
    let up = event(&proxy, mark, "server_up");
    assert_eq!((&up["reason"], up["lasted_ms"].is_u64()), (&json!("its address has changed"), true));
    assert_eq!(event(&proxy, mark, "route_up")["route"], "a");
    let reloaded = event(&proxy, mark, "reloaded");
    assert_eq!(
        [&reloaded["routes"], &reloaded["servers"], &reloaded["connections_of_gone_servers"]],
        [&json!(1), &json!(1), &json!(0)]
    );
    assert_eq!(reloaded["changes"], r#"~routes.a.servers["s"].address"#);

    // A connection that stays on a server that left the file is told of.
    let mut client = proxy.connect();
    client.hello("a.test").greeting();
    let mut other = config(origin.address);
    other["routes"]["a"]["servers"] = json!([{ "name": "new", "address": origin.address }]);
    let mark = proxy.lines.len();
    proxy.reload(other);
    assert_eq!(event(&proxy, mark, "reloaded")["connections_of_gone_servers"], 1);
}

/// Without this, `journalctl --priority warning` shows nothing, or everything.
#[test]
fn the_journal_learns_how_grave_a_line_is() {
    for names_it in [true, false] {
        let (address, folder, lines) = (free_address(), Folder::new(), Lines::default());
        let mut config = config(free_address());
        config["log"] = json!({});
        config["listen"] = json!([address]);
        let file = folder.write("lb.json", &config.to_string());
        let (reader, writer) = UnixStream::pair().unwrap();
        let writer = OwnedFd::from(writer);
        let status = rustix::fs::fstat(&writer).unwrap();
        let inode = status.st_ino + u64::from(!names_it);
        let mut child = Command::new(program())
            .args(["run", "--config"])
            .arg(&file)
            .env("JOURNAL_STREAM", format!("{}:{inode}", status.st_dev))
            .stdout(Stdio::from(writer))
            .spawn()
            .unwrap();
        lines.follow(From::Stdout, File::from(OwnedFd::from(reader)));
        let wait = |words: &str| lines.wait(0, |_, line| line.contains(words).then(|| line.to_owned()));
        wait("has no server available!");
        Client::connect(address).hello("nobody.test").end();
        wait(" CLOSE ");
        folder.write("lb.json", "{");
        kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
        for (words, priority) in [
            ("Limits:", "<6>["),
            ("Server a/s is DOWN", "<4>["),
            ("has no server available!", "<2>["),
            (" ACCEPT ", "<6>127"),
            (" TCP-REQ-CONT ", "<6>127"),
            (" CLOSE ", "<6>127"),
            ("Reload refused", "<3>["),
        ] {
            let line = wait(words);
            let wanted = if names_it { priority } else { &priority[3..] };
            assert!(line.starts_with(wanted), "{line}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// The first event of that name after `start`, waiting for it.
fn event(proxy: &Proxy, start: usize, name: &str) -> Value {
    proxy.lines.wait(start, |from, line| {
        let object: Value = (from == From::Stdout).then(|| serde_json::from_str(line).ok())??;
        (object["event"] == name).then_some(object)
    })
}

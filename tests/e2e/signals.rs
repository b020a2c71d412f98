//! The effect of each signal. None ends the program in silence.
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::inotify;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

use crate::kit::client::{Client, End};
use crate::kit::lines::{From, Lines};
use crate::kit::origin::Origin;
use crate::kit::places::{Folder, free_address};
use crate::kit::program::program;
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::wait_until;

/// Without this, HAProxy's signal for a soft stop cuts every connection off.
#[test]
fn sigusr1_drains_and_a_second_signal_ends_at_once() {
    for second in [Signal::USR1, Signal::TERM, Signal::INT] {
        let origin = Origin::echo("a");
        let (proxy, mut open) = serve(&origin);
        proxy.signal(Signal::USR1);
        proxy.wait_for_notification(0, "STOPPING=1");
        open.send(b"still here").expect(b"still here");
        proxy.signal(second);
        assert_ne!(open.end(), End::Silence);
        let (status, lines) = proxy.wait_for_exit();
        assert_eq!(status.code(), Some(0));
        assert!(lines.of(From::Stdout).last().unwrap().ends_with("] Stopped; ended 1 open connection."), "{lines:?}");
    }
}

/// Without this, SIGUSR2 (HAProxy's reload), SIGQUIT (nginx's soft stop) or SIGALRM ends the program without a line.
#[test]
fn signals_that_ask_for_nothing_leave_a_line_and_nothing_else() {
    let origin = Origin::echo("a");
    let (proxy, mut open) = serve(&origin);
    for (signal, name) in [(Signal::USR2, "SIGUSR2"), (Signal::QUIT, "SIGQUIT"), (Signal::ALARM, "SIGALRM")] {
        proxy.signal(signal);
        proxy.wait_for_notice(&format!("{name} changes nothing"));
        open.send(b"still here").expect(b"still here");
    }
}

/// Without this, a reload that is asked for during a drain is ignored without a line.
#[test]
fn sighup_during_a_drain_leaves_a_line() {
    let origin = Origin::echo("a");
    let (proxy, mut open) = serve(&origin);
    proxy.signal(Signal::TERM);
    proxy.wait_for_notification(0, "STOPPING=1");
    proxy.signal(Signal::HUP);
    proxy.wait_for_notice("SIGHUP changes nothing, as the process is draining");
    open.send(b"still here").expect(b"still here");
}

/// Without this, a signal during the start ends the program, or is lost.
#[test]
fn a_signal_before_ready_is_neither_deadly_nor_lost() {
    let folder = Folder::new();
    let routes: Map<String, Value> = (0..5000)
        .map(|n| (format!("r{n}"), json!({ "sni": [format!("r{n}.test")], "servers": ["127.0.0.1:9"] })))
        .collect();
    let config = json!({ "listen": [free_address()], "health_check": { "type": "off" }, "routes": routes });
    let file = folder.write("lb.json", &config.to_string());
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, &file, inotify::WatchFlags::OPEN).unwrap();
    let mut child = Command::new(program())
        .args(["run", "--config"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(fs::File::from(watch).read(&mut [0; 1024]).unwrap() > 0, "it has opened the file");
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let signals = [Signal::HUP, Signal::USR2, Signal::QUIT, Signal::ALARM, Signal::USR1];
    let deadly: Vec<Signal> = signals.into_iter().filter(|signal| !catches(&status, *signal)).collect();
    for signal in signals {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    let lines = Lines::default();
    let reader = lines.follow(From::Stdout, child.stdout.take().unwrap());
    let mut exit = None;
    wait_until("the program ends", || {
        exit = child.try_wait().unwrap();
        exit.is_some()
    });
    reader.join().unwrap();
    assert!(deadly.is_empty(), "{deadly:?} would end it while it reads");
    assert_eq!(exit.unwrap().code(), Some(0), "SIGUSR1 drains, and nothing is open");
    let said = lines.of(From::Stdout);
    for words in ["SIGUSR2 changes", "SIGQUIT changes", "SIGALRM changes", "Draining: ", "Stopped; "] {
        assert!(said.iter().any(|line| line.contains(words)), "{words} is missing: {:?}", said.last());
    }
}

/// Without this, signals that a launcher has blocked never reach the program.
#[test]
fn signals_that_a_launcher_blocks_come_through() {
    let within = "env --block-signal=TERM,USR2 sh -c 'kill -USR2 $$; exec \"$0\" \"$@\"'";
    let launch = Launch { within, ..Launch::default() };
    let origin = Origin::echo("a");
    let route = json!({ "sni": ["a.test"], "servers": [origin.server()] });
    let proxy = Proxy::launch(json!({ "routes": { "a": route } }), launch);
    proxy.wait_for_notice("SIGUSR2 changes nothing");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait_for_exit().0.code(), Some(0));
}

/// Whether a process with this /proc/PID/status has a handler for the signal.
fn catches(status: &str, signal: Signal) -> bool {
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap();
    u64::from_str_radix(caught, 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
}

fn serve(origin: &Origin) -> (Proxy, Client) {
    let route = json!({ "sni": ["a.test"], "servers": [origin.server()] });
    let proxy = Proxy::start(json!({ "routes": { "a": route }, "timeouts": { "drain": "5m" } }));
    let mut client = proxy.connect();
    client.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(client.hello("a.test").greeting(), "a");
    client.expect(&crate::kit::hello::hello("a.test"));
    (proxy, client)
}

/// Without this, close lines are lost if all connections end at once, and so is the line that the program stopped.
#[test]
fn every_connection_has_its_last_line_when_all_end_at_once() {
    const CONNECTIONS: usize = 2_500;
    let origin = Origin::echo("a");
    let route = json!({ "sni": ["a.test"], "servers": [origin.server()] });
    let proxy = Proxy::start(json!({
        "routes": { "a": route }, "log": { "format": "json", "connections": "close" }, "timeouts": { "client_hello": "5m" },
    }));
    let open: Vec<Client> = (0..CONNECTIONS).map(|_| proxy.connect()).collect();
    wait_until("all are let in", || proxy.open_fds() >= CONNECTIONS);
    proxy.signal(Signal::INT);
    let (status, lines) = proxy.wait_for_exit();
    assert_eq!(status.code(), Some(0));
    let said = lines.of(From::Stdout);
    let closed = said.iter().filter(|line| line.contains("\"close\"")).count();
    assert!(closed > CONNECTIONS / 2, "{closed}");
    let last = format!("Stopped; ended {closed} open connections.");
    assert!(said.last().unwrap().contains(&last), "{closed}: {:?}", said.last());
    drop(open);
}

//! Imported configurations: HAProxy and this program, side by side, send every name to the same server.
//!
//! A table of names is determined by its names and their neighbours, so a test of each of those covers all names.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use serde_json::{Value, json};

use crate::kit::client::Client;
use crate::kit::namespace::{in_namespace, inside, sh, skip};
use crate::kit::origin::{Expect, Origin, Visit};
use crate::kit::places::Folder;
use crate::kit::program::program;
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::wait_until;

/// What differs from HAProxy by design, for a file.
#[derive(Default)]
struct Known {
    /// A rule compares names as they are written, without `-i`; here case never counts.
    case_counts: bool,
    /// Names that get something else; `import` says so of each. "-" is a hello without one.
    differ: &'static [&'static str],
    /// The networks 127.N.0.0/16 where clients come from; none: one that is in no rule.
    places: &'static [u8],
    /// Those of them where a balancer is, which sends a header.
    balancers: &'static [u8],
    /// A request over plain HTTP that HAProxy refuses is redirected.
    redirects_rest: bool,
}

macro_rules! side_by_side {
    ($($name:ident: $known:expr;)*) => { $(
        /// Without this, clients of a name reach another server after moving over.
        #[test]
        fn $name() {
            compare(concat!(module_path!(), "::", stringify!($name)), stringify!($name), &$known);
        }
    )* };
}

side_by_side! {
    acls: Known::default();
    named_acls: Known { case_counts: true, ..Known::default() };
    map: Known { differ: &["-", "three.example.com"], ..Known::default() };
    maps: Known { differ: &["-", "xweb.example", "regex.example"], ..Known::default() };
    wildcards: Known { differ: &["xwhole.example"], ..Known::default() };
    ssh_default: Known::default();
    nixos: Known::default();
    alpn: Known::default();
    rate_limit: Known::default();
    environment: Known::default();
    named_defaults: Known::default();
    backend_names: Known::default();
    two_frontends: Known::default();
    plain_tcp: Known::default();
    listen: Known::default();
    allow_from: Known { places: &[7, 8, 9], ..Known::default() };
    balancers: Known { balancers: &[9], ..Known::default() };
    expect_proxy: Known { places: &[8, 9], balancers: &[8], ..Known::default() };
    plain_http: Known::default();
    port_80: Known { redirects_rest: true, ..Known::default() };
    limits: Known::default();
    old_tls: Known::default();
}

/// Without this, a message about a lost line may lose its reason or its remedy unseen. `BLESS=1` writes the files anew.
#[test]
fn what_is_lost_line_by_line() {
    let mut files = 0;
    for entry in inputs().read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "cfg") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let output = import(name);
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = path.with_extension("said");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &said).unwrap();
        }
        assert_eq!(said, std::fs::read_to_string(&expected).unwrap(), "{name}");
        let code = if said.contains(": lost: ") { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{name}");
        files += 1;
    }
    assert!(files > 12, "only {files} files");
}

/// Without this, a disabled server with a weight gets clients, or a health check asks for another path or status than
/// HAProxy's.
#[test]
fn what_servers_and_their_checks_become() {
    let config: Value = serde_json::from_slice(&import("checks.cfg").stdout).unwrap();
    let routes = &config["routes"];
    let weights: Vec<&Value> =
        routes["web"]["servers"].as_array().unwrap().iter().map(|server| &server["weight"]).collect();
    assert_eq!(weights, [10, 0, 10]);
    let check = |route: &str| ["path", "expect"].map(|key| routes[route]["health_check"][key].clone());
    assert_eq!(check("web"), [json!("/health"), json!([200, 299])]);
    assert_eq!(check("api"), [json!("/ready"), Value::Null]);
    assert_eq!(check("old"), [json!("/old"), Value::Null]);
}

/// Without this, a rule whose limit cannot be kept takes the place of one that can.
#[test]
fn the_first_limits_are_kept() {
    let config: Value = serde_json::from_slice(&import("limits.cfg").stdout).unwrap();
    let kept = json!({ "connections": 4000,
                       "per_source": { "rate": 20, "period": "10s", "exempt": ["10.9.1.0/24"] } });
    assert_eq!(config["limits"], kept);
}

/// Without this, a file that is broken, or has no route, does not exit with 1 and the line of the mistake.
#[test]
fn what_is_no_haproxy_cfg() {
    let folder = Folder::new();
    for (text, expected) in [
        ("bind :443\n", ":1: \"bind\" is outside any section; this is not a haproxy.cfg\n"),
        ("global\nfrontend a\n  bind ':443\n", ":3: a ' is not closed\n"),
        ("frontend\n", ":1: \"frontend\" has no name\n"),
        ("backend a from b\n", ":1: no \"defaults b\" comes before this line\n"),
        ("global\n", ": no section passes TLS or TCP on, so there is no route to write\n"),
    ] {
        let path = folder.write("haproxy.cfg", text);
        let output = Command::new(program()).arg("import").arg(&path).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said), (Some(1), format!("{}{expected}", path.display())));
        assert!(output.stdout.is_empty(), "{text}");
    }
    let output = Command::new(program()).args(["import", "/nonexistent"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

fn inputs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

fn import(name: &str) -> std::process::Output {
    Command::new(program()).current_dir(inputs()).args(["import", name]).output().unwrap()
}

fn compare(test: &str, name: &str, known: &Known) {
    if !Command::new("sh").args(["-c", "command -v haproxy"]).stdout(Stdio::null()).status().unwrap().success() {
        return skip(test, "haproxy is not installed");
    }
    in_namespace(test, || {
        let imported = import(&format!("{name}.cfg"));
        let config: Value = serde_json::from_slice(&imported.stdout).unwrap();
        check(&imported.stdout);
        let _servers = servers(&config);
        let questions = questions(name, &config, known);
        let theirs = {
            let _haproxy = Haproxy::start(name, &questions);
            answers(&questions)
        };
        let ours = {
            let mut config = config;
            config["health_check"] = json!({ "type": "off" });
            config.as_object_mut().unwrap().remove("control");
            for route in config["routes"].as_object_mut().unwrap().values_mut() {
                route.as_object_mut().unwrap().remove("health_check");
            }
            let _proxy = Proxy::launch(config, Launch::default());
            answers(&questions)
        };
        let answered = theirs.values().filter(|answer| *answer != REFUSED).count();
        assert!(answered >= 3, "HAProxy refused nearly all: {theirs:?}");
        hold(known, &theirs, &ours);
    });
}

/// Equal but for what is known to differ, all of which differs.
fn hold(known: &Known, theirs: &BTreeMap<Question, String>, ours: &BTreeMap<Question, String>) {
    let mut differ = BTreeSet::new();
    for (question, answer) in ours {
        let name = question.name.as_str();
        let lower = name.to_ascii_lowercase();
        // RFC 6066 section 3 has names without a dot at their end; HAProxy takes one for another name, ours does not.
        let plain = lower.strip_suffix('.').unwrap_or(&lower).to_owned();
        let asked = if name.ends_with('.') || known.case_counts { plain } else { name.to_owned() };
        let same = Question { name: asked, ..question.clone() };
        let expected = theirs.get(&same).unwrap_or_else(|| panic!("HAProxy was not asked for {same:?}"));
        if known.redirects_rest && expected == REFUSED && answer == REDIRECTED {
            continue;
        }
        if answer != expected {
            assert!(
                known.differ.iter().any(|part| *part == name || lower.trim_end_matches('.').ends_with(part)),
                "{question:?}: HAProxy {expected}, ours {answer}"
            );
            differ.insert(lower);
        }
    }
    for name in known.differ {
        assert!(
            differ.contains(*name) || differ.iter().any(|other| other.ends_with(name)),
            "{name} does not differ: {differ:?}"
        );
    }
}

/// A hello, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    to: SocketAddr,
    /// "-": none.
    name: String,
    alpn: Vec<&'static str>,
    /// Nothing is sent before the server has spoken.
    is_plain: bool,
    /// A request over plain HTTP with this path, and the name as its Host.
    path: Option<String>,
    /// The client comes from 127.N.0.0/16.
    place: u8,
    /// What comes first.
    header: String,
}

const REFUSED: &str = "refused";
const REDIRECTED: &str = "redirected";

impl Question {
    fn of_nothing() -> Question {
        let (to, name, header) = (SocketAddr::from(([0; 4], 0)), String::new(), String::new());
        Question { to, name, alpn: Vec::new(), is_plain: false, path: None, place: 0, header }
    }
}

/// Each name that the file has, its neighbours, and a hello without a name; on every port of the configuration.
fn questions(name: &str, config: &Value, known: &Known) -> Vec<Question> {
    let mut text = std::fs::read_to_string(inputs().join(format!("{name}.cfg"))).unwrap();
    for entry in inputs().join("maps").read_dir().unwrap() {
        let path = entry.unwrap().path();
        if text.contains(path.file_name().unwrap().to_str().unwrap()) {
            text += &std::fs::read_to_string(path).unwrap();
        }
    }
    text += &config.to_string();
    let of_name = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    let words = text.split(|char| !of_name(char)).map(|word| word.trim_matches('.').to_owned());
    let is_name = |word: &String| {
        let bytes = word.as_bytes();
        word.contains('.')
            && !word.contains("..")
            && !word.contains("ssl")
            && bytes.iter().any(u8::is_ascii_alphabetic)
            && !["haproxy.config", "named.cfg"].contains(&word.as_str())
            && word.ends_with(|char: char| char.is_ascii_alphabetic())
    };
    let names: BTreeSet<String> = words.filter(is_name).collect();
    assert!(!names.is_empty(), "no names in {name}");
    let mut all = BTreeSet::from(["-".to_owned()]);
    for name in names {
        let parent = name.split_once('.').unwrap().1.to_owned();
        for near in [format!("x.{name}"), format!("x.y.{name}"), format!("x{name}"), format!("{name}x"), parent, name] {
            all.insert(near.to_ascii_uppercase());
            all.insert(format!("{near}."));
            all.insert(near);
        }
    }
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().map(|all| all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()).unwrap_or_default()
    };
    let mut listeners: Vec<(String, bool)> = strings(&config["listen"]).into_iter().map(|to| (to, false)).collect();
    for route in config["routes"].as_object().unwrap().values() {
        listeners.extend(strings(&route["listen"]).into_iter().map(|to| (to, route["sni"].is_null())));
    }
    let mut questions = BTreeSet::new();
    for (to, is_plain) in listeners {
        let to = reachable(&to);
        let nothing = Question { to, name: "-".to_owned(), is_plain, ..Question::of_nothing() };
        if is_plain {
            questions.insert(nothing);
            continue;
        }
        for name in &all {
            for alpn in [&[][..], &["h2"], &["http/1.1"], &["acme-tls/1"]] {
                // Only a file that asks for protocols tells them apart.
                if alpn.is_empty() || text.contains("alpn") || name == "-" {
                    questions.insert(Question { name: name.clone(), alpn: alpn.to_vec(), ..nothing.clone() });
                }
            }
        }
    }
    for to in strings(&config["redirect"]["listen"]) {
        for name in all.iter().filter(|name| *name != "-") {
            for path in ["/", "/x", "/.well-known/acme-challenge", "/.well-known/acme-challenge/x", "/x/.well-known/"] {
                let (name, path) = (name.clone(), Some(path.to_owned()));
                questions.insert(Question { to: reachable(&to), name, path, ..Question::of_nothing() });
            }
        }
    }
    let places = if known.places.is_empty() { &[9] } else { known.places };
    let at_places = |question: Question| {
        places.iter().map(move |place| {
            let is_balancer = known.balancers.contains(place);
            let header = if is_balancer { "PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n" } else { "" }.to_owned();
            Question { place: *place, header, ..question.clone() }
        })
    };
    questions.into_iter().flat_map(at_places).collect()
}

/// Where clients reach a listener.
fn reachable(listener: &str) -> SocketAddr {
    let address: SocketAddr = listener.parse().unwrap();
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

/// The server that each gets. Each comes from an address of its own, so that limits on addresses hold for none.
fn answers(questions: &[Question]) -> BTreeMap<Question, String> {
    let mut answers = BTreeMap::new();
    for (batch, questions) in questions.chunks(64).enumerate() {
        let asked: Vec<_> = questions
            .iter()
            .enumerate()
            .map(|(index, question)| {
                let question = question.clone();
                let from = Ipv4Addr::new(127, question.place, (batch % 250) as u8, index as u8 + 1);
                thread::spawn(move || (question.clone(), answer(&question, from)))
            })
            .collect();
        answers.extend(asked.into_iter().map(|asked| asked.join().unwrap()));
    }
    answers
}

fn answer(question: &Question, from: Ipv4Addr) -> String {
    // A client has another address for each question.
    let itself = |told: &str| told.replace(&from.to_string(), "itself");
    let mut client = Client::connect_from(from.into(), question.to);
    client.stream.set_read_timeout(Some(Duration::from_secs(6))).unwrap();
    let mut hello = HelloBuilder::new();
    if question.name != "-" {
        hello = hello.sni(&question.name);
    }
    if !question.alpn.is_empty() {
        hello = hello.alpn(&question.alpn);
    }
    let hello = hello.build();
    let first = match &question.path {
        Some(path) => format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", question.name).into(),
        None if question.is_plain => Vec::new(),
        None => hello.clone(),
    };
    // Whoever may not come from there has the connection closed before, perhaps.
    if client.stream.write_all(&[question.header.as_bytes(), &first].concat()).is_err() {
        return REFUSED.to_owned();
    }
    if question.path.is_some() {
        return itself(&answer_over_http(&String::from_utf8(client.rest().0).unwrap()));
    }
    match client.try_greeting() {
        Ok(greeting) => {
            if question.is_plain {
                client.send(&hello);
            }
            client.expect(&hello);
            itself(&greeting)
        }
        Err(error) => {
            let ends = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::WouldBlock];
            assert!(ends.contains(&error.kind()), "{question:?}: {error}");
            REFUSED.to_owned()
        }
    }
}

/// The server's words, or the status of the proxy's own answer.
fn answer_over_http(answer: &str) -> String {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    match (status, answer.split_once("\r\n\r\n")) {
        ("200", Some((_, body))) => body.to_owned(),
        // Which of the two it is, `import` tells.
        ("301" | "302", _) => REDIRECTED.to_owned(),
        // HAProxy has no backend for it, and says so where it reads HTTP.
        _ => {
            assert!(["", "503"].contains(&status), "{answer}");
            REFUSED.to_owned()
        }
    }
}

/// Every server of the configuration, which says its address and the kind of header that it got. They are behind a
/// link, as a listener of all addresses would clash with theirs.
fn servers(config: &Value) -> Vec<Origin> {
    sh("new servers; ip link add to-servers type veth peer name eth0 netns $LB_E2E_HOSTS/servers
        ip addr add 10.0.255.1/24 dev to-servers; ip link set to-servers up; ip route add 10.1.0.0/24 via 10.0.255.2
        at servers ip addr add 10.0.255.2/24 dev eth0; at servers ip link set eth0 up
        at servers ip route add default via 10.0.255.1");
    let mut origins: BTreeMap<SocketAddr, Origin> = BTreeMap::new();
    for route in config["routes"].as_object().unwrap().values() {
        // Whichever of them answers, it is the same.
        let first = route["servers"][0]["address"].as_str().unwrap().to_owned();
        let expect = if route["proxy_protocol"] == "off" { Expect::Nothing } else { Expect::Header };
        for server in route["servers"].as_array().unwrap() {
            let address: SocketAddr = server["address"].as_str().unwrap().parse().unwrap();
            sh(&format!("at servers ip addr replace {}/32 dev lo", address.ip()));
            if let Some(source) = server["source"].as_str() {
                sh(&format!("ip addr replace {source}/32 dev lo"));
            }
            let serve = || inside("servers", || Origin::serve_at(address, expect, greet(&first)));
            origins.entry(address).or_insert_with(serve);
            if let Some(port) = route["http"]["port"].as_u64() {
                let address = SocketAddr::new(address.ip(), port as u16);
                let serve = || inside("servers", || Origin::serve_at(address, expect, greet_over_http(&first)));
                origins.entry(address).or_insert_with(serve);
            }
        }
    }
    origins.into_values().collect()
}

/// The kind of header that it got, and the client in it.
fn told(visit: &Visit) -> String {
    visit.header.as_ref().map_or("none".to_owned(), |header| {
        let kind = if header.raw.starts_with(b"PROXY ") { "v1" } else { "v2" };
        format!("{kind} {}", header.source.unwrap().ip())
    })
}

fn greet(first: &str) -> impl Fn(Visit) + Send + Sync + use<> {
    let first = first.to_owned();
    move |visit| crate::kit::origin::echo(&format!("{first} {}", told(&visit)))(visit)
}

fn greet_over_http(first: &str) -> impl Fn(Visit) + Send + Sync + use<> {
    let first = first.to_owned();
    move |mut visit| {
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") && visit.stream.read(&mut byte).is_ok_and(|n| n == 1) {
            request.extend(byte);
        }
        let body = format!("{first} over HTTP {}", told(&visit));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        // Whether the proxy still listens is the test's business.
        drop(visit.stream.write_all(format!("{head}{body}").as_bytes()));
    }
}

fn check(config: &[u8]) {
    let folder = Folder::new();
    let path = folder.write("imported.json", std::str::from_utf8(config).unwrap());
    let output = Command::new(program()).args(["check", "--config"]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

struct Haproxy(std::process::Child);

impl Haproxy {
    /// With the file as it is, but for the lines that only root of the host can follow.
    fn start(name: &str, questions: &[Question]) -> Haproxy {
        let text = std::fs::read_to_string(inputs().join(format!("{name}.cfg"))).unwrap();
        let of_root = ["user ", "group ", "chroot ", "daemon", "stats socket /"];
        let lines = text.lines().filter(|line| !of_root.iter().any(|word| line.trim_start().starts_with(word)));
        // The servers here pass no check.
        let unchecked = |word| if word == "check" { "no-check" } else { word };
        let lines = lines.map(|line| line.split(' ').map(unchecked).collect::<Vec<_>>().join(" "));
        let folder = Folder::new();
        let path = folder.write("haproxy.cfg", &(lines.collect::<Vec<_>>().join("\n") + "\n"));
        let mut child = Command::new("haproxy")
            .current_dir(inputs())
            .args(["-db", "-f"])
            .arg(path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // One after the other.
        for to in questions.iter().map(|question| question.to).collect::<BTreeSet<_>>() {
            wait_until("HAProxy listens", || {
                assert!(child.try_wait().unwrap().is_none(), "HAProxy has ended");
                TcpStream::connect(to).is_ok()
            });
        }
        Haproxy(child)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

//! The command line: what it prints, where, and its exit codes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

#[path = "e2e/kit/program.rs"]
mod program;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use program::program;

const FIVE_ROUTES: &str = include_str!("../examples/fiscalismia.json");

/// Servers with names, a wildcard, ALPN, and what has to be rejected.
const DEMO: &str = r#"{
  "listen": ["127.0.0.1:0"],
  "limits": { "connections": 1 },
  "routes": {
    "demo": { "sni": ["demo.example", "*.demo.example", "**.example", "**.demo.example"], "balance": "source",
              "servers": [{ "name": "demo01", "address": "172.20.0.2:443", "weight": 2 },
                          { "name": "demo02", "address": "172.20.0.3:443", "backup": true }] },
    "web": { "sni": ["demo.test"], "alpn": ["h2"], "servers": ["172.20.0.5:443"] },
    "grpc": { "sni": ["demo.example"], "alpn": ["h3", "h2"], "servers": ["172.20.0.4:443"] }
  }
}"#;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs in a directory, made for `test`, that holds `config` as lb.json.
fn run(test: &str, config: &[u8], arguments: &[&str]) -> Output {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("lb.json"), config).unwrap();
    command(arguments).current_dir(directory).output().unwrap()
}

/// Exit code, stdout and stderr.
fn told(output: &Output) -> (Option<i32>, &str, &str) {
    (output.status.code(), str::from_utf8(&output.stdout).unwrap(), str::from_utf8(&output.stderr).unwrap())
}

/// Without this, scripts and operators miss the line that says that a file is good.
#[test]
fn check_says_ok() {
    let output = run("check_says_ok", FIVE_ROUTES.as_bytes(), &["check", "--config", "lb.json"]);
    let (code, stdout, stderr) = told(&output);
    assert_eq!((code, stderr), (Some(0), ""));
    // A warning may follow where the machine's own fd limit is low.
    assert_eq!(stdout.lines().next(), Some("lb.json: ok, 5 routes, 5 servers, 2 listeners"));
}

/// Without this, a process without a file descriptor for any client says that it is ready.
#[test]
fn too_few_fds_for_one_client() {
    for command in ["run", "check"] {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("too_few_fds_for_one_client");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("lb.json"), DEMO).unwrap();
        let script = format!("ulimit -n 14; exec {} {command} --config lb.json", program().display());
        let output = Command::new("sh").args(["-c", &script]).current_dir(directory).output().unwrap();
        let (code, stdout, stderr) = told(&output);
        let (said, other) = if command == "run" { (stderr, stdout) } else { (stdout, stderr) };
        assert_eq!((code, other), (Some(i32::from(command == "run")), ""), "{command}: {said}");
        assert!(said.contains("the limit of file descriptors is 14, and 28 are needed to serve one client"), "{said}");
    }
}

/// Without this, `check` says "1 routes", or a warning fails a good file.
#[test]
fn check_counts_and_warns() {
    let config = r#"{ "listen": ["127.0.0.1:1443"], "limits": { "connections": 1 }, "routes": {
        "r": { "sni": ["*"], "servers": [{ "address": "127.0.0.1:1", "weight": 0 }] } } }"#;
    let output = run("check_counts_and_warns", config.as_bytes(), &["check", "--config", "lb.json"]);
    let expected = "lb.json: ok, 1 route, 1 server, 1 listener\n\
                    lb.json: warning: routes.r: every server has weight 0, so the route takes no new connections\n";
    assert_eq!(told(&output), (Some(0), expected, ""));
}

/// Without this, a wrong path of a password file shows only at run time. A credential of systemd exists only then, so
/// it is no error.
#[test]
fn credentials_that_are_not_there() {
    let config = r#"{ "listen": ["127.0.0.1:1443"], "limits": { "connections": 1 },
        "routes": { "r": { "sni": ["*"], "servers": ["127.0.0.1:1"] } },
        "admin": { "listen": ["127.0.0.1:8404"],
                   "stats_credentials": { "username_file": "no/user", "password_file": "/run/credentials/x/password" } } }"#;
    let output = run("credentials_that_are_not_there", config.as_bytes(), &["check", "lb.json"]);
    let expected = "lb.json: ok, 1 route, 1 server, 1 listener\n\
                    lb.json: warning: admin.stats_credentials.username_file: no/user is not there, so /stats answers \
                    403\n";
    assert_eq!(told(&output), (Some(0), expected, ""));
}

/// Without this, an operator sees only the first error, or a command that reads the file exits with another code than
/// 1.
#[test]
fn all_errors_on_stderr() {
    let config = r#"{ "listen": ["0.0.0.0:443"], "routes": {
        "frontend": { "sni": ["demo.fiscalismia.com"], "servers": ["172.24.0.4:443", { "address": "172.24.0.3" }] },
        "demo": { "sni": ["demo.fiscalismia.com"], "servers": ["172.20.0.2:443"] } } }"#;
    let expected = "lb.json: routes.frontend.servers[1].address: \"172.24.0.3\" has no port; write \"172.24.0.3:443\"\n\
                    lb.json: routes.demo.sni[0]: \"demo.fiscalismia.com\" is routed by \"frontend\" already\n";
    for arguments in [
        &["check", "--config", "lb.json"][..],
        &["check", "-c", "lb.json"],
        &["check", "lb.json"],
        &["route", "-c", "lb.json", "a.example"],
        &["route", "--config", "lb.json", "a.example"],
        &["run", "--config", "lb.json"],
    ] {
        let output = run("all_errors_on_stderr", config.as_bytes(), arguments);
        assert_eq!(told(&output), (Some(1), "", expected), "{arguments:?}");
    }
}

/// Without this, a missing, empty or binary file ends the program with a panic instead of an error.
#[test]
fn unreadable_files() {
    let output = run("unreadable_files", b"", &["check", "--config", "nowhere/lb.json"]);
    let expected = "nowhere/lb.json: cannot be read: No such file or directory; \
                    write the configuration there, or name another file\n";
    assert_eq!(told(&output), (Some(1), "", expected));
    for (bytes, expected) in [
        (&b"{ \"\xff\" }"[..], "lb.json: cannot be read: this is not UTF-8, from byte 3 on; save it as UTF-8\n"),
        (b"", "lb.json: is empty; write { \"listen\": [ ... ], \"routes\": { ... } }\n"),
        (
            b"{\n  \"listen\": [\"0.0.0.0:443\",]\n}",
            "lb.json: line 2: a comma may not follow the last item; leave it out\n      \"listen\": [\"0.0.0.0:443\",]\n                              ^\n",
        ),
    ] {
        let output = run("unreadable_files", bytes, &["check", "--config", "lb.json"]);
        assert_eq!(told(&output), (Some(1), "", expected));
    }
}

/// Without this, scripts cannot tell wrong arguments (2) from a rejected file (1).
#[test]
fn wrong_arguments() {
    let long = "a".repeat(254);
    for arguments in [
        &[][..],
        &["serve"],
        &["check", "--config"],
        &["check", "--config", "a", "b"],
        &["check", "a", "b"],
        &["run", "lb.json"],
        &["route", "--config", "lb.json"],
        &["route", "--config", "lb.json", "a.example", "--alpn"],
        &["route", "--config", "lb.json", &long],
        &["route", "--config", "lb.json", "münchen.example"],
        &["route", "--config", "lb.json", "."],
        &["route", "--config", "lb.json", "a.example", "--from", "somewhere"],
        &["server", "web", "drain"],
        &["server", "web/web01", "drain", "5"],
        &["server", "web/web01", "drain", "--until", "2y"],
        &["server", "web/web01", "drain", "--until", "366d"],
        &["health", "https://127.0.0.1/health"],
        &["health", "127.0.0.1:8404"],
        &["health", "http:///health"],
        &["health", "http://127.0.0.1/a b"],
        &["health", "http://127.0.0.1:99999/"],
        &["health", "http://[::1]:/"],
    ] {
        let output = command(arguments).output().unwrap();
        let (code, stdout, stderr) = told(&output);
        assert_eq!((code, stdout), (Some(2), ""), "{arguments:?}");
        assert!(!stderr.is_empty(), "{arguments:?}");
    }
}

/// Without this, an operator finds obstacles to a start one at a time.
#[test]
fn run_names_all_that_is_in_the_way() {
    let taken = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [https, admin] = [0, 1].map(|i| taken[i].local_addr().unwrap());
    let config = format!(
        r#"{{ "listen": ["{https}", "203.0.113.9:443"], "routes": {{ "r": {{ "sni": ["*"], "servers": ["127.0.0.1:1"] }} }},
             "admin": {{ "listen": ["{admin}"],
                         "stats_credentials": {{ "username_file": ".", "password_file": "lb.json" }} }} }}"#
    );
    let output = run("run_names_all", config.as_bytes(), &["run", "--config", "lb.json"]);
    let expected = format!(
        "lb.json: listen: cannot listen on {https}: Address already in use; stop what listens there, or write \
         another port\n\
         lb.json: listen: cannot listen on 203.0.113.9:443: Cannot assign requested address; write an \
         address that this machine has\n\
         lb.json: admin.listen: cannot listen on {admin}: Address already in use; stop what listens there, or \
         write another port\n\
         lb.json: admin.stats_credentials.username_file: .: this is a directory, not a regular file\n\
         lb.json: admin.stats_credentials.password_file: lb.json: has more than one line, or a control character\n"
    );
    assert_eq!(told(&output), (Some(1), "", expected.as_str()));
}

/// Without this, help and version go to stderr, or exit with an error.
#[test]
fn help_and_version() {
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["route", "--help"],
        &["import", "--help"],
        &["health", "--help"],
        &["schema", "--help"],
    ] {
        let output = command(arguments).output().unwrap();
        let (code, stdout, stderr) = told(&output);
        assert_eq!((code, stderr), (Some(0), ""), "{arguments:?}");
        assert!(stdout.contains("Usage: fiscalismia-lb"), "{arguments:?}: {stdout}");
    }
    for reads in ["run", "check", "route"] {
        let output = command(&[reads, "--help"]).output().unwrap();
        assert!(told(&output).1.contains("[default: /etc/fiscalismia-lb/config.json]"), "{reads}");
    }
    let output = command(&["--help"]).output().unwrap();
    for told_of in ["/etc/fiscalismia-lb/config.json", "SIGHUP", "SIGTERM", "Exit codes", "Documentation: https://"] {
        assert!(told(&output).1.contains(told_of), "{told_of}");
    }
    let output = command(&["--version"]).output().unwrap();
    assert_eq!(told(&output), (Some(0), concat!("fiscalismia-lb ", env!("CARGO_PKG_VERSION"), "\n"), ""));
}

/// Without this, editors and validators cannot read the schema.
#[test]
fn schema_is_json() {
    let output = command(&["schema"]).output().unwrap();
    let (code, stdout, stderr) = told(&output);
    assert_eq!((code, stderr), (Some(0), ""));
    let schema: serde_json::Value = serde_json::from_str(stdout).unwrap();
    assert_eq!(schema, fiscalismia_lb::config::schema());
}

/// Without this, a reader that stops reading, such as `head`, makes the program panic.
#[test]
fn full_stdout() {
    let output = command(&["check", "--config", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/fiscalismia.json")])
        .stdout(File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(told(&output), (Some(1), "", "cannot write to stdout: No space left on device\n"));
}

/// Without this, a full disk or a reader of errors that has gone turns the exit code into that of a crash.
#[test]
fn full_stderr() {
    for arguments in [&["check", "no/such/file"][..], &["import", "no/such/file"], &["health", "http://127.0.0.1:1/"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let status = command(arguments).stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(1), "{arguments:?}");
    }
    let lossy = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/import/lossy.cfg");
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(command(&["import", lossy]).stderr(full).output().unwrap().status.code(), Some(3));
}

/// Without this, `route` names another route than a hello gets, or another reason.
#[test]
fn route_explains() {
    const DEMO_SERVERS: &str = "balance source over 2 servers\n  \
                                demo01 172.20.0.2:443, weight 2\n  \
                                demo02 172.20.0.3:443, weight 1, backup\n";
    const NONE: &str = "reject drop: the client gets no answer, and no FIN or RST beyond its first router\n";
    for (hello, expected) in [
        (&["DEMO.example."][..], format!("route demo: exact name demo.example\n{DEMO_SERVERS}")),
        (&["a.demo.example"], format!("route demo: wildcard *.demo.example\n{DEMO_SERVERS}")),
        (
            &["b.a.Demo.example."],
            format!("route demo: wildcard **.demo.example, the longest that fits\n{DEMO_SERVERS}"),
        ),
        (&["x.example"], format!("route demo: wildcard **.example, the longest that fits\n{DEMO_SERVERS}")),
        (
            &["demo.example", "--alpn", "x", "--alpn", "h2"],
            "route grpc: exact name demo.example, ALPN h2\nbalance round_robin over 1 server\n  \
             172.20.0.4:443, weight 1\n"
                .to_owned(),
        ),
        (
            &["DEMO.test", "--alpn", "h3"],
            format!(
                "no route takes \"DEMO.test\" with ALPN h3, not even by \"*\"\n{NONE}route web would take it with ALPN h2\n"
            ),
        ),
        (&["example"], format!("no route takes \"example\", not even by \"*\"\n{NONE}")),
        (
            &["", "--alpn", "h2", "--alpn", "h3"],
            format!("no route takes a hello without a name with ALPN h2, h3, not even by \"*\"\n{NONE}"),
        ),
    ] {
        let arguments = [&["route", "--config", "lb.json"], hello].concat();
        let output = run("route_explains", DEMO.as_bytes(), &arguments);
        assert_eq!(told(&output), (Some(0), expected.as_str(), ""), "{hello:?}");
    }
}

/// Without this, `route --from` ignores `allow_from`, or names another server than the client's hash gives.
#[test]
fn route_from_an_address() {
    let inner = DEMO.replace(r#""balance": "source","#, r#""balance": "source", "allow_from": ["10.0.0.0/8"],"#);
    for (arguments, expected) in [
        (&["demo.example", "--from", "10.1.2.3"][..], "from 10.1.2.3: demo01, while all of them are up"),
        (&["demo.example", "--from", "::ffff:10.1.2.3"], "from 10.1.2.3: demo01, while all of them are up"),
        (&["demo.example", "--from", "192.0.2.1"], "from 192.0.2.1: refused, as it is not in allow_from"),
        (&["demo.test", "--alpn", "h2", "--from", "192.0.2.1"], "from 192.0.2.1: any of them, by round_robin"),
    ] {
        let arguments = [&["route", "-c", "lb.json"], arguments].concat();
        let output = run("route_from_an_address", inner.as_bytes(), &arguments);
        let (code, stdout, stderr) = told(&output);
        assert_eq!((code, stdout.lines().last(), stderr), (Some(0), Some(expected), ""));
    }
}

/// Without this, `route` does not name the default route, or tells `drop`, `alert` and `close` apart wrongly.
#[test]
fn route_default_and_reject() {
    let default = r#"{ "listen": ["127.0.0.1:0"], "routes": { "r": { "sni": ["*"], "servers": ["127.0.0.1:1"] } } }"#;
    let output = run("route_default_and_reject", default.as_bytes(), &["route", "--config", "lb.json", ""]);
    let expected = "route r: default *, as no other route takes this hello\nbalance round_robin over 1 server\n  127.0.0.1:1, weight 1\n";
    assert_eq!(told(&output), (Some(0), expected, ""));
    for (reject, expected) in [
        ("alert", "reject alert: the client gets the TLS alert unrecognized_name"),
        ("close", "reject close: the connection is closed"),
    ] {
        let config = DEMO.replacen('{', &format!("{{ \"reject\": \"{reject}\","), 1);
        let output = run("route_default_and_reject", config.as_bytes(), &["route", "--config", "lb.json", "x.test"]);
        let (code, stdout, _) = told(&output);
        assert_eq!((code, stdout.lines().nth(1)), (Some(0), Some(expected)));
    }
}

/// Answers one request with `answer`; the result is the server's port, and the request.
fn serve_once(answer: &'static str) -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut chunk = [0; 1024];
        while !request.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut chunk).unwrap();
            assert!(length > 0, "the request ended early");
            request.extend_from_slice(&chunk[..length]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    });
    (port, server)
}

/// Without this, a container that is not healthy passes for healthy.
#[test]
fn health_by_answer() {
    for (answer, code, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, "HTTP/1.1 200 OK"),
        ("HTTP/1.0 200\r\n\r\n", 0, "HTTP/1.0 200"),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", 1, "answered \"HTTP/1.1 503 Service Unavailable\", not 200"),
        ("HTTP/1.1 2000 OK\r\n\r\n", 1, "answered \"HTTP/1.1 2000 OK\", not 200"),
        ("SSH-2.0-x 200\r\n", 1, "answered \"SSH-2.0-x 200\", which is not HTTP"),
        ("", 1, "answered \"\", which is not HTTP"),
    ] {
        let (port, server) = serve_once(answer);
        let url = format!("http://127.0.0.1:{port}/health?x");
        let output = command(&["health", &url]).output().unwrap();
        let line = format!("{url}: {expected}\n");
        let expected = if code == 0 { (Some(0), line.as_str(), "") } else { (Some(1), "", line.as_str()) };
        assert_eq!(told(&output), expected);
        let request = server.join().unwrap();
        assert_eq!(request, format!("GET /health?x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"));
    }
}

/// Without this, `health` passes although nothing listens. The port stays bound, so that no other test gets it.
#[test]
fn health_refused() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let output = command(&["health", &url]).output().unwrap();
    let expected =
        format!("{url}: nothing listens there; write \"127.0.0.1:{port}\" under admin.listen, or name another URL\n");
    assert_eq!(told(&output), (Some(1), "", expected.as_str()));
}

/// Without this, a program that hangs, at any step, makes its health check hang too.
#[test]
fn health_does_not_wait_for_ever() {
    for drips in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if drips {
                while stream.write_all(b"H").is_ok() {
                    thread::sleep(Duration::from_millis(200));
                }
            }
            // Until the other end closes.
            drop(stream.read_to_end(&mut Vec::new()));
        });
        let output = command(&["health", &url]).output().unwrap();
        assert_eq!(told(&output), (Some(1), "", format!("{url}: no answer within 5 seconds\n").as_str()));
        server.join().unwrap();
    }
}

/// Without this, a file of 10,000 routes does not load, or a name in it is not found. The time is printed, and fails
/// nothing.
#[test]
fn ten_thousand_routes() {
    let routes: Vec<_> = (0..10_000)
        .map(|n| {
            format!(r#""r{n}": {{ "sni": ["host{n}.example"], "servers": ["10.0.{}.{}:443"] }}"#, n / 250, n % 250)
        })
        .collect();
    let config = format!(r#"{{ "listen": ["127.0.0.1:0"], "routes": {{ {} }} }}"#, routes.join(", "));
    let start = Instant::now();
    let output = run("ten_thousand_routes", config.as_bytes(), &["check", "--config", "lb.json"]);
    println!("10,000 routes: {:?} for the whole process", start.elapsed());
    let (code, stdout, stderr) = told(&output);
    assert_eq!((code, stderr), (Some(0), ""));
    assert_eq!(stdout.lines().next(), Some("lb.json: ok, 10000 routes, 10000 servers, 1 listener"));
    let output = run("ten_thousand_routes", config.as_bytes(), &["route", "--config", "lb.json", "host9999.example"]);
    assert!(told(&output).1.starts_with("route r9999: exact name host9999.example\n"));
}

/// Without this, scripts cannot tell a whole import (0) from one with losses (3) and from none (1).
#[test]
fn import_tells_by_its_exit_code_what_is_lost() {
    let frontend = "frontend tls\n  bind :443\n  tcp-request inspect-delay 5s\n  \
                    tcp-request content accept if { req.ssl_hello_type 1 }\n  \
                    tcp-request connection reject unless { src 10.0.0.0/8 }\n  \
                    use_backend web if { req.ssl_sni -i a.test }\n";
    let backend = "backend web\n  server web 10.0.0.2:443 send-proxy-v2\n";
    for (rest, code, said) in [
        ("", 0, ""),
        ("  balance uri\n", 3, "lost: balance uri: "),
        ("  option nolinger\n", 0, ""),
        (
            "  server web 10.0.0.3:443 send-proxy-v2\n",
            3,
            "lost: check refuses the output: routes.web.servers[1]: \"web\" is the name",
        ),
        ("  server 'web", 1, "a ' is not closed"),
    ] {
        let output = run("import", format!("{frontend}{backend}{rest}").as_bytes(), &["import", "lb.json"]);
        let (found, stdout, stderr) = told(&output);
        assert_eq!((found, stdout.is_empty()), (Some(code), code == 1), "{rest}{stderr}");
        assert!(if said.is_empty() { stderr.is_empty() } else { stderr.contains(said) }, "{rest}{stderr}");
        if code != 1 {
            assert!(stdout.contains("\"allow_from\": [\n        \"10.0.0.0/8\""), "{stdout}");
        }
    }
}

/// Without this, `import` writes a route that `check` refuses, for its name is one of the program's own.
#[test]
fn import_gives_no_route_a_name_of_the_program() {
    let cfg = b"listen control\n  bind :5432\n  mode tcp\n  server a 10.0.0.2:5432\n";
    let output = run("import_reserved", cfg, &["import", "lb.json"]);
    let (code, stdout, stderr) = told(&output);
    assert!(code == Some(0) && stdout.contains("\"control-control\": {"), "{stdout}{stderr}");
}

/// Without this, a reload whose work grows with the square of the listeners stops the loop for minutes. The limit is on
/// CPU time, which other programs do not lengthen: 1 second suffices, and the square of 40,000 takes 500.
#[test]
fn forty_thousand_routes_with_listeners_of_their_own() {
    let routes: Vec<_> = (0..40_000)
        .map(|n| {
            let (high, low) = (n / 200, n % 200);
            format!(r#""r{n}": {{ "listen": ["10.1.{high}.{low}:5432"], "servers": ["10.0.{high}.{low}:5432"] }}"#)
        })
        .collect();
    let config = format!(r#"{{ "routes": {{ {} }} }}"#, routes.join(", "));
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("forty_thousand_routes");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("lb.json"), config).unwrap();
    let limited = "ulimit -t 60; exec \"$0\" check --config lb.json";
    let output = Command::new("sh").args(["-c", limited]).arg(program()).current_dir(directory).output().unwrap();
    let (code, stdout, stderr) = told(&output);
    assert_eq!((code, stderr), (Some(0), ""));
    assert_eq!(stdout.lines().next(), Some("lb.json: ok, 40000 routes, 40000 servers, 40000 listeners"));
}

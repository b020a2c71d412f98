//! `/stats;csv` against HAProxy's own, and against the other forms.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::http::{ask, get, json as stats, start};
use crate::kit::namespace::skip;
use crate::kit::origin::Origin;
use crate::kit::places::{Folder, free_address};
use crate::kit::wait_until;
use crate::prometheus::Exposition;

fn ask_haproxy(stats: SocketAddr) -> String {
    ask(stats, "GET /stats;csv HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n").body
}

type Row = HashMap<String, String>;

/// Lines by `proxy/server`, with the names of the columns.
fn rows(text: &str) -> (Vec<String>, HashMap<String, Row>) {
    let mut lines = text.lines();
    let names: Vec<String> = lines.next().unwrap().strip_prefix("# ").unwrap().split(',').map(str::to_owned).collect();
    let rows = lines.filter(|line| !line.is_empty()).map(|line| {
        let fields = fields(line);
        assert_eq!(fields.len(), names.len(), "{line}");
        let row: Row = names.iter().cloned().zip(fields).collect();
        (format!("{}/{}", row["pxname"], row["svname"]), row)
    });
    let rows = rows.collect();
    (names, rows)
}

/// Splits at commas outside of quotes.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    for char in line.chars() {
        match char {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            _ => field.push(char),
        }
    }
    assert!(!quoted);
    fields.push(field);
    fields
}

/// Without this, tools that take columns by position read another one. HAProxy's own header line is the yardstick,
/// where HAProxy is installed.
#[test]
fn columns_stand_where_haproxys_do() {
    let server = json!({ "name": "s", "address": free_address() });
    let off = json!({ "type": "off" });
    let (_proxy, admin) = start(json!({ "routes": {
        "r": { "sni": ["*"], "servers": [server] },
        "unchecked": { "sni": ["u.test"], "servers": [server], "health_check": off } } }));
    wait_until("a probe has failed", || get(admin, "/stats;csv").body.contains("L4CON"));
    let (names, _) = rows(&get(admin, "/stats;csv").body);
    // HAProxy 3.2's management guide, section 9.1.
    for (position, name) in
        [(0, "pxname"), (17, "status"), (36, "check_status"), (73, "addr"), (84, "connect"), (99, "uweight")]
    {
        assert_eq!(names[position], name);
    }
    assert_eq!((names.len(), &*names[112], &*names[113]), (115, "proto", "-"));
    let Some(haproxy) = Haproxy::start() else {
        return skip("the comparison with HAProxy's CSV", "there is no haproxy");
    };
    let (theirs, their_rows) = rows(&ask_haproxy(haproxy.stats));
    let fixed = theirs.iter().position(|name| name == "-").unwrap();
    assert!(fixed > 95);
    assert_eq!(names[..fixed], theirs[..fixed]);
    let (_, our_rows) = rows(&get(admin, "/stats;csv").body);
    for (place, same) in [
        ("tls/FRONTEND", "https_ingress/FRONTEND"),
        ("r/BACKEND", "r/BACKEND"),
        ("r/s", "r/s"),
        ("unchecked/BACKEND", "unchecked/BACKEND"),
        ("unchecked/s", "unchecked/s"),
    ] {
        for name in &theirs[..fixed] {
            let (theirs, ours) = (&their_rows[place][name], &our_rows[same][name]);
            let expected = match &**name {
                // HAProxy shows these two only with `stats show-legends`.
                "addr" | "algo" => continue,
                // HTTP, caches, compression, HAProxy's `fullconn`: there is no such thing here.
                _ if NOT_HERE.contains(&&**name) || (name == "slim" && place.ends_with("/BACKEND")) => true,
                _ => theirs.is_empty(),
            };
            assert_eq!(ours.is_empty(), expected, "{name} of {place}: {ours:?}, HAProxy {theirs:?}");
        }
    }
}

/// Without this, a server that is not probed shows 0 failures instead of no figure. HAProxy has NaN.
#[test]
fn what_no_check_has_found_is_not_a_number() {
    let server = json!({ "name": "s", "address": free_address() });
    let (_proxy, admin) =
        start(json!({ "health_check": { "type": "off" }, "routes": { "r": { "sni": ["*"], "servers": [server] } } }));
    let metrics = Exposition::parse(&get(admin, "/metrics").body);
    for name in [
        "check_failures_total",
        "check_up_down_total",
        "downtime_seconds_total",
        "check_duration_seconds",
        "check_code",
    ] {
        let series = format!("haproxy_server_{name}{{proxy=\"r\",server=\"s\"}}");
        assert!(metrics.value(&series).is_nan(), "{series}");
    }
    let server = &stats(admin)["routes"][0]["servers"][0];
    assert!(server["downs"].is_null() && server["downtime"].is_null(), "{server}");
}

/// Columns in which HAProxy has a figure for TCP too, always 0.
const NOT_HERE: &[&str] = &[
    "req_rate",
    "req_rate_max",
    "req_tot",
    "comp_in",
    "comp_out",
    "comp_byp",
    "comp_rsp",
    "wrew",
    "need_conn_est",
    "agg_server_status",
    "agg_server_check_status",
    "agg_check_status",
    // HAProxy 2.6 leaves these empty, 3.0 does not.
    "sess_other",
    "h1sess",
    "h2sess",
    "h3sess",
    "req_other",
    "h1req",
    "h2req",
    "h3req",
    "srid",
];

/// An HAProxy with a frontend, a backend and a server, and its statistics.
struct Haproxy {
    process: Child,
    stats: SocketAddr,
    _folder: Folder,
}

impl Haproxy {
    fn start() -> Option<Haproxy> {
        let (folder, stats) = (Folder::new(), free_address());
        let config = format!(
            "defaults\n timeout client 1m\n timeout server 1m\n timeout connect 1s\n\
             listen stats\n mode http\n bind {stats}\n stats enable\n stats uri /stats\n\
             frontend tls\n mode tcp\n bind {}\n default_backend r\n\
             backend r\n mode tcp\n server s {} check inter 100ms\n\
             backend unchecked\n mode tcp\n server s {}\n",
            free_address(),
            free_address(),
            free_address()
        );
        let file = folder.write("haproxy.cfg", &config);
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        let haproxy = Haproxy { process: command.spawn().ok()?, stats, _folder: folder };
        wait_until("HAProxy has probed", || {
            let is_up = std::net::TcpStream::connect(stats).is_ok();
            is_up && ask_haproxy(stats).contains("L4CON")
        });
        Some(haproxy)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Without this, the CSV shows other figures than JSON and page.
#[test]
fn figures_are_those_of_json() {
    let origin = Origin::echo("here");
    let (proxy, admin) = start(json!({
        "routes": { "r": { "sni": ["*"], "servers": [
            origin.server_with(json!({ "name": "s", "weight": 7 })),
            { "name": "backup", "address": free_address(), "backup": true, "max_connections": 3 }] } } }));
    for _ in 0..5 {
        let mut client = proxy.connect();
        client.hello("a.test");
        assert_eq!(client.greeting(), "here");
    }
    wait_until("all have gone", || stats(admin)["connections"] == 0);
    wait_until("the backup is down", || stats(admin)["routes"][0]["servers"][1]["state"] == "DOWN");
    let (_, rows) = rows(&get(admin, "/stats;csv").body);
    let json = stats(admin);
    let route = &json["routes"][0];
    for (row, place) in [("r/BACKEND", route), ("r/s", &route["servers"][0]), ("r/backup", &route["servers"][1])] {
        let row = &rows[row];
        for (column, value) in [
            ("scur", &place["sessions"]["now"]),
            ("smax", &place["sessions"]["peak"]),
            ("stot", &place["sessions"]["total"]),
            ("bin", &place["bytes"]["up"]),
            ("bout", &place["bytes"]["down"]),
            ("connect", &place["connects"]),
            ("econ", &place["connect_errors"]),
            ("chkdown", &place["downs"]),
        ] {
            assert_eq!(row[column], value.to_string(), "{column}");
        }
    }
    let of = |row: &str, column: &str| rows[row][column].clone();
    assert_eq!((of("r/s", "stot"), of("r/s", "status"), of("r/s", "weight")), ("5".into(), "UP".into(), "7".into()));
    assert_eq!((of("r/backup", "status"), of("r/backup", "slim")), ("DOWN".into(), "3".into()));
    assert_eq!(
        (of("r/backup", "act"), of("r/backup", "bck"), of("r/backup", "type")),
        ("0".into(), "1".into(), "2".into())
    );
    assert_eq!(
        (of("r/backup", "last_chk"), of("r/backup", "check_status")),
        ("Connection refused".into(), "L4CON".into())
    );
    assert_eq!(
        (of("r/BACKEND", "act"), of("r/BACKEND", "bck"), of("r/BACKEND", "algo")),
        ("1".into(), "0".into(), "roundrobin".into())
    );
    assert_eq!(
        (of("https_ingress/FRONTEND", "conn_tot"), of("https_ingress/FRONTEND", "status")),
        ("5".into(), "OPEN".into())
    );
}

use serde_json::{Value, json};

use super::*;
use crate::policy::health::Checked;
use crate::vocabulary::{CheckResult, DropReason};

fn whose() -> Whose<'static> {
    Whose {
        frontend: "https_ingress",
        source: "[2001:db8::1]:50000".parse().unwrap(),
        accepted: Time::ZERO,
        route: None,
        server: None,
        unique_id: None,
        sni: None,
        alpn: &[],
    }
}

fn counts() -> Counts {
    Counts { process: 5, frontend: 4, route: 3, server: 2, ahead: 1 }
}

fn haproxy(whose: &Whose<'_>, step: &Step<'_>, in_colour: bool) -> String {
    let mut buffer = Vec::new();
    haproxy::write(&mut buffer, b"DATE", whose, step, in_colour);
    String::from_utf8(buffer).unwrap()
}

/// The object that a line is; it must be ASCII without a control character, on one line.
fn json(whose: &Whose<'_>, step: &Step<'_>) -> Value {
    let mut buffer = Vec::new();
    json::write(&mut buffer, b"NOW", b"THEN", whose, step);
    assert!(buffer.iter().all(|byte| (0x20..0x7F).contains(byte)), "{}", String::from_utf8_lossy(&buffer));
    serde_json::from_slice(&buffer).unwrap()
}

/// Without this, a field has another field's value, or is missing.
#[test]
fn every_step_in_both_forms() {
    let begin = json!({
        "time": "NOW", "level": "info", "frontend": "https_ingress", "client_address": "2001:db8::1", "client_port": 50000, "accepted": "THEN"
    });
    let with = |more: Value| {
        let mut whole = begin.clone();
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        whole
    };
    let named = Whose { sni: Some(b"a.b"), alpn: b"\x02h2\x08http/1.1", ..whose() };
    let placed = Whose { route: Some("demo"), server: Some("demo01"), unique_id: Some([0xA5; 16]), ..named };
    let timing = Timing {
        queued: Some(Duration::from_millis(7)),
        connect: Some(Duration::from_micros(8_999)),
        total: Duration::from_secs(9),
    };
    let never = Timing { total: Duration::from_millis(3), ..Timing::default() };
    let dropped = CloseReason::Dropped(DropReason::TooManyConnections);
    for (whose, step, haproxy_wanted, json_wanted) in [
        (
            whose(),
            Step::Accept(counts()),
            "ACCEPT ac=5 fc=4",
            json!({
                "event": "accept", "process_connections": 5, "frontend_connections": 4, "route_connections": 3,
                "server_connections": 2, "queued_ahead": 1
            }),
        ),
        (
            named,
            Step::Refuse { why: &"why" },
            "TCP-REQ-CONT => sni=\"a.b\" reason=\"why\"",
            json!({ "event": "hello_refused", "sni": "a.b", "alpn": "h2,http/1.1", "reason": "why" }),
        ),
        (
            whose(),
            Step::Refuse { why: &"why" },
            "TCP-REQ-CONT => sni=\"-\" reason=\"why\"",
            json!({ "event": "hello_refused", "reason": "why" }),
        ),
        (
            placed,
            Step::ConnectFailed { why: &"refused", tries_left: 2 },
            "demo/demo01 ERROR connect=\"refused\" retries_left=2 id=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
            json!({
                "event": "connect_failed", "route": "demo", "server": "demo01", "reason": "refused", "retries_left": 2,
                "sni": "a.b", "alpn": "h2,http/1.1", "unique_id": "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"
            }),
        ),
        (
            placed,
            Step::Connect { timing, counts: counts() },
            "demo/demo01 CONNECT Tw=7 Tc=8 Tt=9000 B=0 ts=-- ac=5 fc=4 bc=3 sc=2 sq=0 bq=1 \
             id=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5 sni=\"a.b\"",
            json!({
                "event": "connect", "sni": "a.b", "alpn": "h2,http/1.1", "route": "demo", "server": "demo01", "queue_ms": 7, "connect_ms": 8, "total_ms": 9000,
                "process_connections": 5, "frontend_connections": 4, "route_connections": 3, "server_connections": 2,
                "queued_ahead": 1, "unique_id": "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"
            }),
        ),
        (
            whose(),
            Step::Close { timing: never, bytes_up: 11, bytes_down: 12, reason: dropped, counts: counts() },
            "https_ingress/<NOSRV> CLOSE drop=RATE_LIMITED Tw=-1 Tc=-1 Tt=3 B=12 ts=PR ac=5 fc=4 bc=3 sc=2 sq=0 bq=1 \
             sni=\"-\" reason=dropped",
            json!({
                "event": "close", "close_reason": "dropped", "drop_reason": "too_many_connections",
                "termination_state": "PR", "total_ms": 3, "bytes_up": 11, "bytes_down": 12, "process_connections": 5,
                "frontend_connections": 4, "route_connections": 3, "server_connections": 2, "queued_ahead": 1
            }),
        ),
    ] {
        let begin = "2001:db8::1:50000 [DATE] https_ingress ";
        assert_eq!(haproxy(&whose, &step, false), format!("{begin}{haproxy_wanted}"));
        assert_eq!(json(&whose, &step), with(json_wanted));
    }
}

/// Without this, a client can write log lines, or move the terminal's cursor.
#[test]
fn what_a_client_sent_is_escaped() {
    let sni = "a\" b\\c\n\x1b[2J\u{9b}\u{2028}".as_bytes();
    let escaped = r#"a\"\x20b\\c\x0a\x1b[2J\xc2\x9b\xe2\x80\xa8"#;
    let whose = Whose { sni: Some(sni), alpn: b"\x03a,b\x02\"\n\x09cut", ..whose() };
    let (timing, counts, reason) = (Timing::default(), Counts::default(), CloseReason::ClientBroke);
    for step in [
        Step::Refuse { why: &"why" },
        Step::Connect { timing, counts },
        Step::Close { timing, bytes_up: 0, bytes_down: 0, reason, counts },
    ] {
        let line = haproxy(&whose, &step, false);
        assert!(line.contains(&format!(" sni=\"{escaped}\"")), "{line}");
        assert_eq!(json(&whose, &step)["sni"], escaped);
        assert_eq!(json(&whose, &step)["alpn"], r#"a\x2cb,\"\x0a,cut"#);
    }
}

/// Without this, a terminal does not mark the lines that matter, or a file gets escape sequences.
#[test]
fn state_and_drop_are_coloured() {
    let close = |reason, in_colour| {
        let (timing, counts) = (Timing::default(), Counts::default());
        haproxy(&whose(), &Step::Close { timing, bytes_up: 0, bytes_down: 0, reason, counts }, in_colour)
    };
    for (reason, coloured) in [
        (CloseReason::Done, "ts=\x1b[32m--\x1b[0m "),
        (CloseReason::Answered, "ts=\x1b[32mLR\x1b[0m "),
        (CloseReason::ClientBroke, "ts=\x1b[33mCD\x1b[0m "),
        (CloseReason::Dropped(DropReason::NoSni), "drop=\x1b[33mSNI_REJECTED\x1b[0m "),
        (CloseReason::Dropped(DropReason::NoSni), "ts=\x1b[33mPR\x1b[0m "),
        (CloseReason::ServerSilent, "ts=\x1b[31msD\x1b[0m "),
        (CloseReason::ServersFull, "ts=\x1b[31mPC\x1b[0m "),
        (CloseReason::Killed, "ts=\x1b[31mKD\x1b[0m "),
    ] {
        assert!(close(reason, true).contains(coloured), "{:?}", close(reason, true));
        let plain: String = ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"]
            .iter()
            .fold(close(reason, true), |line, code| line.replace(code, ""));
        assert_eq!(close(reason, false), plain);
    }
}

/// Without this, a path with a quote in it breaks a reader of JSON lines.
#[test]
fn notices_are_objects_too() {
    let mut buffer = Vec::new();
    json::write_notice(&mut buffer, b"NOW", Severity::Warning, &format_args!("a \"b\\ {}\n\x1f", 'é'), None);
    let wanted = json!({ "time": "NOW", "level": "warning", "message": "a \"b\\ é\n\u{1f}" });
    assert_eq!(serde_json::from_slice::<Value>(&buffer).unwrap(), wanted);
    buffer.clear();
    haproxy::write_notice(&mut buffer, b"DATE", &"a \"b\\ é\n\x1f\x1b[2J\u{9b}", None);
    assert_eq!(String::from_utf8(buffer).unwrap(), "[DATE] a \"b\\ é\\x0a\\x1f\\x1b[2J\\x9b");
}

fn event(event: &Event<'_>) -> (String, Value) {
    let (mut haproxy, mut json) = (Vec::new(), Vec::new());
    let colour = haproxy::colour_of(event.severity(), Some(event));
    haproxy::write_notice(&mut haproxy, b"DATE", event, colour);
    json::write_notice(&mut json, b"NOW", event.severity(), event, Some(event));
    (String::from_utf8(haproxy).unwrap(), serde_json::from_slice(&json).unwrap())
}

/// Without this, an operator cannot tell from an event what is down, why, and for how long.
#[test]
fn events_are_sentences_and_fields() {
    let checked = Checked {
        result: CheckResult::L7Status,
        status: Some(500),
        info: "Oh \"no\"".into(),
        took: Duration::from_millis(9),
    };
    let transition = |is_up, millis| Transition { is_up, lasted: Duration::from_millis(millis) };
    let server = |transition, why, [active, backup]: [usize; 2]| {
        let in_service = InService { active, backup };
        Event::Server { route: "r", server: "s", is_backup: false, transition, why, in_service }
    };
    let file = std::path::Path::new("lb.json");
    for (happened, haproxy, json) in [
        (
            server(transition(false, 90_061_500), Why::Checked(&checked), [0, 1]),
            "\x1b[31mServer r/s is DOWN, reason: Layer7 wrong status, code: 500, info: \"Oh \"no\"\", check duration: 9ms. \
             0 active and 1 backup servers left. Running on backup. It was up for 1day 1h 1m 1s.\x1b[0m",
            json!({
                "level": "warning", "event": "server_down", "route": "r", "server": "s", "check_status": "L7STS",
                "reason": "Layer7 wrong status 500: Oh \"no\"", "check_ms": 9, "lasted_ms": 90_061_500,
                "active_servers": 0, "backup_servers": 1
            }),
        ),
        (
            server(transition(true, 250), Why::Said("its checks are off"), [1, 0]),
            "\x1b[32mServer r/s is UP, reason: its checks are off. 1 active and 0 backup servers online. \
             It was down for 250ms.\x1b[0m",
            json!({
                "level": "info", "event": "server_up", "route": "r", "server": "s", "reason": "its checks are off",
                "lasted_ms": 250, "active_servers": 1, "backup_servers": 0
            }),
        ),
        (
            Event::Route { route: "r", transition: transition(false, 5000) },
            "\x1b[31mbackend r has no server available! It had one for 5s.\x1b[0m",
            json!({ "level": "critical", "event": "route_down", "route": "r", "lasted_ms": 5000 }),
        ),
        (
            Event::Route { route: "r", transition: transition(true, 5000) },
            "\x1b[32mbackend r has a server available again. It had none for 5s.\x1b[0m",
            json!({ "level": "info", "event": "route_up", "route": "r", "lasted_ms": 5000 }),
        ),
        (
            Event::NotTls { route: "r", server: "s", first: b'H' },
            "\x1b[33mServer r/s answers a hello with bytes that are not TLS (the first is H): it expects another PROXY header, or speaks \
             plain text. `fiscalismia-lb try` with a name of the route says which.\x1b[0m",
            json!({ "level": "warning", "event": "server_not_tls", "route": "r", "server": "s", "first_byte": 72 }),
        ),
        (
            Event::Reloaded { file, routes: 2, servers: 3, changes: "~retries", orphans: 7 },
            "Reloaded lb.json: ~retries. 7 connections are open to servers that left the file, and may finish.",
            json!({
                "level": "info", "event": "reloaded", "file": "lb.json", "routes": 2, "servers": 3,
                "changes": "~retries", "connections_of_gone_servers": 7
            }),
        ),
    ] {
        let (line, mut object) = event(&happened);
        assert_eq!(line, format!("[DATE] {haproxy}"));
        let message = object.as_object_mut().unwrap().remove("message");
        assert_eq!(
            message.unwrap(),
            haproxy.replace("\x1b[31m", "").replace("\x1b[32m", "").replace("\x1b[33m", "").replace("\x1b[0m", "")
        );
        assert_eq!(object.as_object_mut().unwrap().remove("time").unwrap(), "NOW");
        assert_eq!(object, json);
    }
}

/// Without this, messages beyond a turn's bound are missing without a line that says so.
#[test]
fn messages_that_are_lost_are_counted_and_told() {
    let path = std::env::temp_dir().join(format!("lb-messages-{}", std::process::id()));
    let output = Output::to(std::fs::File::create(&path).unwrap().into()).unwrap();
    let messages = Messages::default();
    let config = Log { format: LogFormat::Haproxy, empty: true, connections: LogConnections::All };
    let mut log = AccessLog::new(output, config).with(messages.clone());
    let poll = mio::Poll::new().unwrap();
    for _ in 0..5_000 {
        let said = format_args!("words");
        log::Log::log(&messages, &log::Record::builder().target("fiscalismia_lb").args(said).build());
    }
    log.flush(Time::ZERO, poll.registry());
    assert_eq!(log.lost(), 904);
    log.tend(Time::ZERO, poll.registry());
    log.finish(Time::ZERO);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!((log.lost(), text.matches("904 log lines were lost").count()), (904, 1));
}

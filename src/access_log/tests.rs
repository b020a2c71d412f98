use serde_json::{Value, json};

use super::*;
use crate::vocabulary::DropReason;

fn whose() -> Whose<'static> {
    Whose {
        frontend: "https_ingress",
        source: "[2001:db8::1]:50000".parse().unwrap(),
        accepted: Time::ZERO,
        route: None,
        server: None,
        unique_id: None,
    }
}

fn counts() -> Counts {
    Counts { process: 5, frontend: 4, route: 3, server: 2, ahead: 1 }
}

fn haproxy(whose: &Whose<'_>, step: &Step<'_>, in_colour: bool) -> String {
    let mut buffer = Vec::new();
    haproxy::write(&mut buffer, "DATE", whose, step, in_colour);
    String::from_utf8(buffer).unwrap()
}

/// The object that a line is; it must be ASCII without a control character, on one line.
fn json(whose: &Whose<'_>, step: &Step<'_>) -> Value {
    let mut buffer = Vec::new();
    json::write(&mut buffer, "NOW", "THEN", whose, step);
    assert!(buffer.iter().all(|byte| (0x20..0x7F).contains(byte)), "{}", String::from_utf8_lossy(&buffer));
    serde_json::from_slice(&buffer).unwrap()
}

/// Without this, a field has another's value, or is missing where it should be there.
#[test]
fn every_step_in_both_forms() {
    let begin = json!({
        "time": "NOW", "frontend": "https_ingress", "client_address": "2001:db8::1", "client_port": 50000, "accepted": "THEN"
    });
    let with = |more: Value| {
        let mut whole = begin.clone();
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        whole
    };
    let placed = Whose { route: Some("demo"), server: Some("demo01"), unique_id: Some([0xA5; 16]), ..whose() };
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
            whose(),
            Step::Refuse { sni: Some(b"a.b"), why: &"why" },
            "TCP-REQ-CONT => sni=\"a.b\" reason=\"why\"",
            json!({ "event": "hello_refused", "sni": "a.b", "reason": "why" }),
        ),
        (
            whose(),
            Step::Refuse { sni: None, why: &"why" },
            "TCP-REQ-CONT => sni=\"-\" reason=\"why\"",
            json!({ "event": "hello_refused", "reason": "why" }),
        ),
        (
            placed,
            Step::ConnectFailed { why: &"refused", tries_left: 2 },
            "demo/demo01 ERROR connect=\"refused\" retries_left=2 id=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
            json!({
                "event": "connect_failed", "route": "demo", "server": "demo01", "reason": "refused", "retries_left": 2,
                "unique_id": "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"
            }),
        ),
        (
            placed,
            Step::Connect { timing, counts: counts() },
            "demo/demo01 CONNECT Tw=7 Tc=8 Tt=9000 B=0 ts=-- ac=5 fc=4 bc=3 sc=2 sq=0 bq=1 \
             id=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
            json!({
                "event": "connect", "route": "demo", "server": "demo01", "queue_ms": 7, "connect_ms": 8, "total_ms": 9000,
                "process_connections": 5, "frontend_connections": 4, "route_connections": 3, "server_connections": 2,
                "queued_ahead": 1, "unique_id": "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"
            }),
        ),
        (
            whose(),
            Step::Close { timing: never, bytes_up: 11, bytes_down: 12, reason: dropped, counts: counts() },
            "https_ingress/<NOSRV> CLOSE drop=RATE_LIMITED Tw=-1 Tc=-1 Tt=3 B=12 ts=PR ac=5 fc=4 bc=3 sc=2 sq=0 bq=1",
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
    let sni = "a\"b\\c\n\x1b[2J\u{9b}\u{2028}".as_bytes();
    let escaped = r#"a\"b\\c\x0a\x1b[2J\xc2\x9b\xe2\x80\xa8"#;
    let step = Step::Refuse { sni: Some(sni), why: &"why" };
    assert!(haproxy(&whose(), &step, false).contains(&format!(" sni=\"{escaped}\" ")));
    assert_eq!(json(&whose(), &step)["sni"], escaped);
}

/// Without this, a person has to look for the line that matters, or a file is full of escapes.
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

/// Without this, a path with a quote in it breaks whoever reads the objects.
#[test]
fn notices_are_objects_too() {
    let mut buffer = Vec::new();
    json::write_notice(&mut buffer, "NOW", log::Level::Warn, &format_args!("a \"b\\ {}\n\x1f", 'é'));
    let wanted = json!({ "time": "NOW", "level": "warning", "message": "a \"b\\ é\n\u{1f}" });
    assert_eq!(serde_json::from_slice::<Value>(&buffer).unwrap(), wanted);
    buffer.clear();
    haproxy::write_notice(&mut buffer, "DATE", format_args!("words"));
    assert_eq!(buffer, b"[DATE] words");
}

//! One object a line, with full names. What a connection does not have, such as a server before it is routed, is left out.
//!
//! What a client can choose is ASCII in here, with `\xNN` for other bytes: JSON's own escapes leave some control
//! characters alone (RFC 8259 section 7).
use std::fmt;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Counts, Escaped, Level, Step, Timing, Whose};
use crate::policy::reason::CloseReason;

/// Appends a connection's line, but for its end.
pub(super) fn write(buffer: &mut Vec<u8>, now: &str, accepted: &str, whose: &Whose<'_>, step: &Step<'_>) {
    // Memory takes every byte, so this cannot fail.
    let _ = serde_json::to_writer(buffer, &Line { now, accepted, whose, step });
}

/// Appends the proxy's own words, but for the line's end.
pub(super) fn write_notice(buffer: &mut Vec<u8>, now: &str, level: Level, words: fmt::Arguments<'_>) {
    let _ = serde_json::to_writer(buffer, &Notice { now, level, words });
}

struct Line<'a> {
    now: &'a str,
    accepted: &'a str,
    whose: &'a Whose<'a>,
    step: &'a Step<'a>,
}

struct Notice<'a> {
    now: &'a str,
    level: Level,
    words: fmt::Arguments<'a>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whose = self.whose;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", self.now)?;
        map.serialize_entry("event", name(self.step))?;
        map.serialize_entry("frontend", whose.frontend)?;
        map.serialize_entry("client_address", &whose.source.ip())?;
        map.serialize_entry("client_port", &whose.source.port())?;
        map.serialize_entry("accepted", self.accepted)?;
        optional(&mut map, "route", whose.route)?;
        optional(&mut map, "server", whose.server)?;
        optional(&mut map, "unique_id", whose.unique_id.map(UniqueId))?;
        write_step(&mut map, self.step)?;
        map.end()
    }
}

impl Serialize for Notice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", self.now)?;
        map.serialize_entry("level", self.level.name())?;
        map.serialize_entry("message", &self.words)?;
        map.end()
    }
}

fn name(step: &Step<'_>) -> &'static str {
    match step {
        Step::Accept(_) => "accept",
        Step::Refuse { .. } => "hello_refused",
        Step::ConnectFailed { .. } => "connect_failed",
        Step::Connect { .. } => "connect",
        Step::Close { .. } => "close",
    }
}

fn write_step<M: SerializeMap>(map: &mut M, step: &Step<'_>) -> Result<(), M::Error> {
    match step {
        Step::Accept(counts) => write_counts(map, *counts),
        Step::Refuse { sni, why } => {
            optional(map, "sni", sni.map(|sni| Shown(Escaped(sni))))?;
            map.serialize_entry("reason", &Shown(why))
        }
        Step::ConnectFailed { why, tries_left } => {
            map.serialize_entry("reason", &Shown(why))?;
            map.serialize_entry("retries_left", tries_left)
        }
        Step::Connect { timing, counts } => {
            write_timing(map, *timing)?;
            write_counts(map, *counts)
        }
        Step::Close { timing, bytes_up, bytes_down, reason, counts } => {
            map.serialize_entry("close_reason", reason.name())?;
            map.serialize_entry("termination_state", reason.letters())?;
            if let CloseReason::Dropped(reason) = reason {
                map.serialize_entry("drop_reason", reason.name())?;
            }
            write_timing(map, *timing)?;
            map.serialize_entry("bytes_up", bytes_up)?;
            map.serialize_entry("bytes_down", bytes_down)?;
            write_counts(map, *counts)
        }
    }
}

fn write_timing<M: SerializeMap>(map: &mut M, timing: Timing) -> Result<(), M::Error> {
    optional(map, "queue_ms", timing.queued.map(milliseconds))?;
    optional(map, "connect_ms", timing.connect.map(milliseconds))?;
    map.serialize_entry("total_ms", &milliseconds(timing.total))
}

fn write_counts<M: SerializeMap>(map: &mut M, counts: Counts) -> Result<(), M::Error> {
    map.serialize_entry("process_connections", &counts.process)?;
    map.serialize_entry("frontend_connections", &counts.frontend)?;
    map.serialize_entry("route_connections", &counts.route)?;
    map.serialize_entry("server_connections", &counts.server)?;
    map.serialize_entry("queued_ahead", &counts.ahead)
}

fn optional<M: SerializeMap>(map: &mut M, key: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, &value))
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// A string of whatever can be displayed.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// 32 hexadecimal digits.
struct UniqueId([u8; 16]);

impl Serialize for UniqueId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", u128::from_be_bytes(self.0)))
    }
}

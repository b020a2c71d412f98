//! Single values: each function turns a leaf of the tree into a checked value, or says what is wrong and what would be
//! right.
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::suggest::alike;
use super::tree::Value;

/// RFC 7301 section 3.1: a protocol's name has a length of one byte.
const MAX_PROTOCOL: usize = 255;
/// The kernel's IFNAMSIZ without the final NUL.
const MAX_INTERFACE: usize = 15;
pub(super) const MAX_NAME: usize = 255;
/// The kernel's `sun_path` without the final NUL.
const MAX_SOCKET: usize = 107;
const MAX_HTTP_PATH: usize = 1024;

/// Route and server names, for the schema.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9_.:-]+$";
pub(super) const INTERFACE_PATTERN: &str = "^[^\\s/:]{1,15}$";
pub(super) const PROTOCOL_PATTERN: &str = "^[!-~]{1,255}$";
pub(super) const SOCKET_PATTERN: &str = "^[^\\x00]{1,107}$";
pub(super) const PATH_PATTERN: &str = "^/[!-~]{0,1023}$";

/// Names that HAProxy's CSV has in place of a server's name.
const RESERVED: [&str; 2] = ["FRONTEND", "BACKEND"];

pub(super) fn text<'v>(value: &'v Value, wanted: &str) -> Result<&'v str, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(other.is_not(wanted)),
    }
}

pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => Err(other.is_not("true or false")),
    }
}

/// A whole number within `range`.
pub(super) fn integer<T>(range: &RangeInclusive<T>, value: &Value) -> Result<T, String>
where
    T: Copy + Display + PartialOrd + TryFrom<u64>,
{
    let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
    let Value::Number(number) = value else { return Err(value.is_not(wanted())) };
    let integer = number.as_u64().and_then(|number| T::try_from(number).ok());
    integer
        .filter(|integer| range.contains(integer))
        .ok_or_else(|| format!("{number} does not fit; write {}", wanted()))
}

/// Two whole numbers within `range`, the lower first.
pub(super) fn pair(range: &RangeInclusive<u16>, value: &Value) -> Result<[u16; 2], String> {
    const WANTED: &str = "the lowest and the highest status, like [200, 399]";
    let Value::List(items) = value else { return Err(value.is_not(WANTED)) };
    let [low, high] = items.as_slice() else {
        return Err(format!("this is a list of {}; write {WANTED}", items.len()));
    };
    let pair = [integer(range, low)?, integer(range, high)?];
    if pair[0] > pair[1] {
        return Err(format!("{pair:?} has the higher status first; write {WANTED}"));
    }
    Ok(pair)
}

/// One of a few words.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)], value: &Value) -> Result<T, String> {
    let Value::String(word) = value else { return Err(value.is_not(one_of(choices))) };
    if let Some((_, choice)) = choices.iter().find(|(name, _)| name == word) {
        return Ok(*choice);
    }
    let small = word.to_ascii_lowercase();
    let theirs = WORDS.iter().filter(|(theirs, _)| *theirs == small).map(|(_, ours)| *ours);
    let ours = || choices.iter().map(|(name, _)| *name);
    let meant = theirs.into_iter().find(|theirs| ours().any(|ours| ours == *theirs)).or_else(|| alike(&small, ours()));
    Err(match meant {
        Some(meant) => format!("{word:?} is unknown; did you mean {meant:?}?"),
        None => format!("{word:?} is unknown; write {}", one_of(choices)),
    })
}

/// What other programs and operators call the words of this file.
const WORDS: &[(&str, &str)] = &[
    ("https", "tls"),
    ("ssl", "tls"),
    ("none", "off"),
    ("false", "off"),
    ("silent", "drop"),
    ("silent-drop", "drop"),
    ("rr", "round_robin"),
    ("hash", "source"),
    ("ip_hash", "source"),
    ("kill", "close"),
];

/// `"a", "b" or "c"`
fn one_of<T>(choices: &[(&str, T)]) -> String {
    let quoted: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
    quoted.split_last().map(|(last, others)| format!("{} or {last}", others.join(", "))).unwrap_or_default()
}

/// A duration with its unit, within `range`.
pub(super) fn duration(range: &RangeInclusive<Duration>, value: &Value) -> Result<Duration, String> {
    const WANTED: &str = "a number with its unit, like \"500ms\", \"10s\" or \"5m\"";
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => return Err(format!("{number} has no unit; write \"{number}s\" for seconds")),
        other => return Err(other.is_not(WANTED)),
    };
    let written = |duration: Duration| humantime::format_duration(duration).to_string();
    let small = text.to_ascii_lowercase();
    // humantime reads "5M" as months; the operator likely meant minutes.
    if small != *text && humantime::parse_duration(&small).is_ok_and(|duration| range.contains(&duration)) {
        return Err(format!("{text:?} has its unit in capitals; write {small:?}"));
    }
    match humantime::parse_duration(text) {
        Ok(duration) if duration < *range.start() => {
            Err(format!("{text:?} is too short; write at least \"{}\"", written(*range.start())))
        }
        Ok(duration) if duration > *range.end() => {
            Err(format!("{text:?} is too long; write at most \"{}\"", written(*range.end())))
        }
        Ok(duration) => Ok(duration),
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("{text:?} has no unit; write \"{text}s\" for seconds"))
        }
        Err(_) => Err(format!("{text:?} is not a duration; write {WANTED}")),
    }
}

/// Any string; its text is not kept.
pub(super) fn any_text(value: &Value) -> Result<(), String> {
    text(value, "a string").map(drop)
}

/// A server's name.
pub(super) fn server_name(value: &Value) -> Result<Box<str>, String> {
    let text = text(value, "a name, like \"demo01\"")?;
    if RESERVED.contains(&text) {
        return Err(format!("{text:?} is reserved in /stats;csv; write another name"));
    }
    name(text).map(|()| text.into())
}

/// Route and server names go unquoted into log lines, CSV and metrics, so HAProxy's rule for names applies.
pub(super) fn name(text: &str) -> Result<(), String> {
    const WANTED: &str = "a name of letters, digits, \"-\", \"_\", \".\" and \":\"";
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    match text.chars().find(|&char| !u8::try_from(char).is_ok_and(good)) {
        Some(char) => Err(format!("{text:?} has a {char:?} in it, which log lines cannot carry; write {WANTED}")),
        None if text.is_empty() => Err(format!("{text:?} is empty; write {WANTED}")),
        None if text.len() > MAX_NAME => {
            Err(format!("{text:?} is {} characters long; write at most {MAX_NAME}", text.len()))
        }
        None => Ok(()),
    }
}

/// The parts of a list that is written as one string: `"h2", "http/1.1"`.
pub(super) fn apart(text: &str) -> String {
    let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
    parts.map(|part| format!("{part:?}")).collect::<Vec<_>>().join(", ")
}

/// A network device's name, by the rule of the kernel's `dev_valid_name`.
pub(super) fn interface(value: &Value) -> Result<Box<str>, String> {
    let wanted = format!("a device's name of 1 to {MAX_INTERFACE} bytes, like \"eth1\"");
    let text = text(value, &wanted)?;
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("{text:?} is an address; write it as \"source\""));
    }
    let odd = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b || byte == 0 || b"/:".contains(&byte);
    if text.is_empty() || text.len() > MAX_INTERFACE || text == "." || text == ".." || text.bytes().any(odd) {
        return Err(format!("{text:?} is not a device name; write {wanted}"));
    }
    Ok(text.into())
}

/// An ALPN protocol. Every registered one is of visible ASCII; others could not be told apart in a log line.
pub(super) fn protocol(value: &Value) -> Result<Box<str>, String> {
    let wanted = format!("a protocol of 1 to {MAX_PROTOCOL} bytes, like \"h2\" or \"http/1.1\"");
    let text = text(value, &wanted)?;
    if text.is_empty() || text.len() > MAX_PROTOCOL {
        return Err(format!("{text:?} is {} bytes long; write {wanted}", text.len()));
    }
    if text.contains(',') {
        return Err(format!("{text:?} is more than one protocol; write {}", apart(text)));
    }
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        Some(odd) => Err(format!("{text:?} has a {odd:?} in it, which no registered protocol has; write {wanted}")),
        None => Ok(text.into()),
    }
}

/// The target of a health check's GET.
pub(super) fn http_path(value: &Value) -> Result<Box<str>, String> {
    const WANTED: &str = "a path that begins with /, like \"/health\", in visible ASCII, with all else percent-encoded";
    let text = text(value, WANTED)?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !text.starts_with('/') || !plain || text.len() > MAX_HTTP_PATH {
        return Err(format!("{text:?} is not a path; write {WANTED}"));
    }
    Ok(text.into())
}

/// The path of a unix socket (`unix(7)`).
pub(super) fn socket(value: &Value) -> Result<std::path::PathBuf, String> {
    let path = file(value)?;
    match path.as_os_str().len() {
        ..=MAX_SOCKET => Ok(path),
        length => Err(format!("\"{}\" is {length} bytes long; write at most {MAX_SOCKET}", path.display())),
    }
}

pub(super) fn file(value: &Value) -> Result<std::path::PathBuf, String> {
    const WANTED: &str = "a file's path, like \"/run/credentials/stats-password\"";
    match text(value, WANTED)? {
        text if text.is_empty() || text.contains('\0') => Err(format!("{text:?} is not a path; write {WANTED}")),
        text => Ok(text.into()),
    }
}

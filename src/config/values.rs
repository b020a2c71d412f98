//! Single values: from a tree's leaf to a checked value, or to what is wrong and what would be right.
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::tree::Value;

/// RFC 7301 section 3.1: a protocol's name has a length of one byte.
const ALPN_MAX: usize = 255;
/// The kernel's IFNAMSIZ without the final NUL.
const INTERFACE_MAX: usize = 15;
pub(super) const NAME_MAX: usize = 255;
const HTTP_PATH_MAX: usize = 1024;

/// Route and server names, for the schema.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9_.:-]+$";
pub(super) const INTERFACE_PATTERN: &str = "^[^\\s/:]{1,15}$";
pub(super) const PROTOCOL_PATTERN: &str = "^.{1,255}$";
pub(super) const PATH_PATTERN: &str = "^/[!-~]{0,1023}$";

/// What HAProxy's CSV puts in the place of a server's name.
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
        return Err(format!("{pair:?} is upside down; write {WANTED}"));
    }
    Ok(pair)
}

/// One of a few words.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)], value: &Value) -> Result<T, String> {
    let Value::String(word) = value else { return Err(value.is_not(one_of(choices))) };
    let choice = choices.iter().find(|(name, _)| name == word);
    choice.map(|(_, choice)| *choice).ok_or_else(|| format!("{word:?} is unknown; write {}", one_of(choices)))
}

/// `"a", "b" or "c"`
fn one_of<T>(choices: &[(&str, T)]) -> String {
    let quoted: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

/// A duration with its unit, within `range`.
pub(super) fn duration(range: &RangeInclusive<Duration>, value: &Value) -> Result<Duration, String> {
    const WANTED: &str = "a number with its unit, like \"500ms\", \"10s\" or \"5m\"";
    let text = text(value, WANTED)?;
    let duration = humantime::parse_duration(text).map_err(|_| format!("{text:?} is no duration; write {WANTED}"))?;
    if duration < *range.start() {
        Err(format!("{text:?} is too short; write at least \"{}\"", humantime::format_duration(*range.start())))
    } else if duration > *range.end() {
        Err(format!("{text:?} is too long; write at most \"{}\"", humantime::format_duration(*range.end())))
    } else {
        Ok(duration)
    }
}

/// Any string, of which nothing is kept.
pub(super) fn any_text(value: &Value) -> Result<(), String> {
    text(value, "a string").map(drop)
}

/// A server's name.
pub(super) fn server_name(value: &Value) -> Result<Box<str>, String> {
    let text = text(value, "a name, like \"demo01\"")?;
    if RESERVED.contains(&text) {
        return Err(format!("{text:?} has a meaning of its own in /stats;csv; write another name"));
    }
    name(text).map(|()| text.into())
}

/// Route and server names go unquoted into log lines, CSV and metrics: HAProxy's rule for its own holds.
pub(super) fn name(text: &str) -> Result<(), String> {
    const WANTED: &str = "a name of letters, digits, \"-\", \"_\", \".\" and \":\"";
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    match text.chars().find(|&char| !u8::try_from(char).is_ok_and(good)) {
        Some(char) => Err(format!("{text:?} has a {char:?} in it, which log lines could not hold; write {WANTED}")),
        None if text.is_empty() => Err(format!("{text:?} is empty; write {WANTED}")),
        None if text.len() > NAME_MAX => {
            Err(format!("{text:?} is {} characters long; write at most {NAME_MAX}", text.len()))
        }
        None => Ok(()),
    }
}

/// A network device's name, by the rule of the kernel's `dev_valid_name`.
pub(super) fn interface(value: &Value) -> Result<Box<str>, String> {
    const WANTED: &str = "a device's name of 1 to 15 bytes, like \"eth1\"";
    let text = text(value, WANTED)?;
    let odd = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b || byte == 0 || b"/:".contains(&byte);
    if text.is_empty() || text.len() > INTERFACE_MAX || text == "." || text == ".." || text.bytes().any(odd) {
        return Err(format!("{text:?} is no device; write {WANTED}"));
    }
    Ok(text.into())
}

pub(super) fn protocol(value: &Value) -> Result<Box<str>, String> {
    const WANTED: &str = "a protocol of 1 to 255 bytes, like \"h2\" or \"http/1.1\"";
    let text = text(value, WANTED)?;
    if text.is_empty() || text.len() > ALPN_MAX {
        return Err(format!("{text:?} is {} bytes long; write {WANTED}", text.len()));
    }
    Ok(text.into())
}

/// The target of a health check's GET.
pub(super) fn http_path(value: &Value) -> Result<Box<str>, String> {
    const WANTED: &str = "a path from / on, like \"/health\", with all but visible ASCII percent-encoded";
    let text = text(value, WANTED)?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !text.starts_with('/') || !plain || text.len() > HTTP_PATH_MAX {
        return Err(format!("{text:?} is no path; write {WANTED}"));
    }
    Ok(text.into())
}

pub(super) fn file(value: &Value) -> Result<std::path::PathBuf, String> {
    const WANTED: &str = "a file's path, like \"/run/credentials/stats-password\"";
    match text(value, WANTED)? {
        "" => Err(format!("\"\" is no path; write {WANTED}")),
        text => Ok(text.into()),
    }
}

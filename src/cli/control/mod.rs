//! The commands that speak to the running process over its control socket, in HTTP/1.
use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use fiscalismia_lb::config::plain;
use serde_json::Value;

pub(super) mod connections;
pub(super) mod diff;
pub(super) mod drain;
pub(super) mod server;
pub(super) mod top;

/// Time for an answer, from one byte to the next.
const PATIENCE: Duration = Duration::from_secs(10);
/// The interval at which a command with `--wait` asks again.
const PACE: Duration = Duration::from_millis(200);

/// The option of every such command.
#[derive(Args)]
pub(super) struct Socket {
    /// The running program's control.socket
    #[arg(long, value_name = "PATH", default_value = "/run/fiscalismia-lb/control.sock")]
    socket: PathBuf,
}

impl Socket {
    /// The body of a successful answer.
    fn ask(&self, method: &str, target: &str) -> Result<String, Vec<String>> {
        let failed = |error: &io::Error| vec![format!("{}: {}", self.socket.display(), explain(error, &self.socket))];
        let answer = self.exchange(method, target).map_err(|error| failed(&error))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some("200") => unchunk(head, body).ok_or_else(|| vec!["the answer is cut short".to_owned()]),
            _ => Err(vec![body.trim_end().to_owned()]),
        }
    }

    fn json(&self, method: &str, target: &str) -> Result<Value, Vec<String>> {
        let body = self.ask(method, target)?;
        serde_json::from_str(&body).map_err(|error| vec![format!("the answer is no JSON: {error}")])
    }

    /// Whether no process listens there.
    fn is_gone(&self) -> bool {
        let gone = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
        UnixStream::connect(&self.socket).is_err_and(|error| gone.contains(&error.kind()))
    }

    fn exchange(&self, method: &str, target: &str) -> io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{method} {target} HTTP/1.1\r\nHost: control\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// What an operator can do about a socket that does not answer.
fn explain(error: &io::Error, socket: &Path) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!(
            "nothing is there: the program does not run, or its configuration has no \"control\": {{ \"socket\": \"{}\" }}; \
             for another socket, name --socket",
            socket.display()
        ),
        ErrorKind::ConnectionRefused => "the program that made it has ended; start it again".to_owned(),
        ErrorKind::PermissionDenied => {
            "only its owner and its group may ask; become root, or a member of that group".to_owned()
        }
        ErrorKind::WouldBlock => "no answer in time".to_owned(),
        _ => plain(error),
    }
}

/// The body of an answer, chunked (RFC 9112 section 7.1) or not; `None` if its end is missing.
fn unchunk(head: &str, body: &str) -> Option<String> {
    if !head.lines().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked")) {
        return Some(body.to_owned());
    }
    let (mut whole, mut rest) = (String::new(), body);
    loop {
        let (size, behind) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(behind.get(..size)?);
        rest = behind.get(size..)?.strip_prefix("\r\n")?;
    }
}

/// Asks `is_over` repeatedly for at most `wait`. Answers whether it became true.
fn wait_for(wait: Duration, mut is_over: impl FnMut() -> Result<bool, Vec<String>>) -> Result<bool, Vec<String>> {
    let end = Instant::now() + wait;
    loop {
        if is_over()? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(PACE.min(end.saturating_duration_since(Instant::now())));
    }
}

/// A duration of the command line, as in the configuration.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "a duration is written like 90s, 30m or 2h".to_owned())
}

/// A string of an answer.
fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_default()
}

/// A number of an answer.
fn number(entry: &Value, key: &str) -> u64 {
    entry[key].as_u64().unwrap_or_default()
}

/// A duration in words.
fn span(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// Bytes, in the largest unit that fits.
fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut left = count as f64;
    for unit in ["KiB", "MiB", "GiB"] {
        left /= 1024.0;
        if left < 1024.0 {
            return format!("{left:.1} {unit}");
        }
    }
    format!("{:.1} TiB", left / 1024.0)
}

/// Columns, each as wide as its widest cell. Those in `numbers` are aligned right.
fn table(rows: &[Vec<String>], numbers: Range<usize>) -> String {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let aligned = |(column, (cell, width)): (usize, (&String, &usize))| {
        if numbers.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:width$}") }
    };
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).enumerate().map(aligned).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a list that was cut off is shown as whole.
    #[test]
    fn an_answer_in_chunks_is_put_together_or_refused() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked";
        assert_eq!(unchunk(head, "3\r\nabc\r\n0002\r\nde\r\n0\r\n\r\n").as_deref(), Some("abcde"));
        for cut in ["", "3\r\nab", "3\r\nabc\r\n", "x\r\nabc\r\n0\r\n\r\n"] {
            assert_eq!(unchunk(head, cut), None);
        }
        assert_eq!(unchunk("HTTP/1.1 200 OK", "abc").as_deref(), Some("abc"));
    }

    /// Without this, cells do not stand under their column's title.
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bcd", "e"], ["wide", "7", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, 1..2), "a     bcd  e\nwide    7\n");
    }

    /// Without this, an operator has to count digits.
    #[test]
    fn bytes_have_a_unit() {
        let said = [0, 1023, 1024, 1536, (1 << 20) - 1, 5 << 30, u64::MAX].map(bytes);
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1024.0 KiB", "5.0 GiB", "16777216.0 TiB"]);
    }
}

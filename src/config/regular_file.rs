//! Reads files that an operator names, of bounded size and without ever blocking.
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::words::plain;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

/// Why a file cannot be read.
#[derive(Debug)]
pub enum Unreadable {
    /// The kernel's error.
    System(std::io::Error),
    /// It is this kind of file, and not a regular one.
    Is(&'static str),
    /// It has more than this many bytes.
    Longer(usize),
    /// It is not UTF-8, from this byte on.
    NotUtf8(usize),
}

/// The text of the regular file at `path`, of at most `most` bytes.
///
/// A read of a FIFO without a writer, a terminal or an endless device would never return. The file is opened with
/// `O_NONBLOCK` (open(2)), and refused if it is not regular.
///
/// # Errors
/// The file is missing, not regular, not readable, not UTF-8 or too long.
pub fn read_regular_file(path: &Path, most: usize) -> Result<String, Unreadable> {
    // For reading: `O_RDONLY` is 0.
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = open(path, flags, Mode::empty())?;
    if let Some(kind) = irregular(FileType::from_raw_mode(fstat(&fd)?.st_mode)) {
        return Err(Unreadable::Is(kind));
    }
    let mut bytes = Vec::new();
    // `st_size` cannot be trusted: files of /proc have size 0, and other files grow.
    File::from(fd).take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(Unreadable::Longer(most));
    }
    String::from_utf8(bytes).map_err(|error| Unreadable::NotUtf8(error.utf8_error().valid_up_to()))
}

/// The name of the file's kind, if it is not a regular file.
fn irregular(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a FIFO or pipe"),
        FileType::CharacterDevice => Some("a terminal or another device"),
        FileType::BlockDevice => Some("a block device"),
        _ => Some("something else"),
    }
}

impl From<std::io::Error> for Unreadable {
    fn from(error: std::io::Error) -> Unreadable {
        Unreadable::System(error)
    }
}

impl From<rustix::io::Errno> for Unreadable {
    fn from(error: rustix::io::Errno) -> Unreadable {
        Unreadable::System(error.into())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::System(error) => f.write_str(&plain(error)),
            Unreadable::Is(kind) => write!(f, "this is {kind}, not a regular file"),
            Unreadable::Longer(most) if *most >= 1 << 20 => write!(f, "this is longer than {} MiB", most >> 20),
            Unreadable::Longer(most) => write!(f, "this is longer than {most} bytes"),
            Unreadable::NotUtf8(offset) => write!(f, "this is not UTF-8, from byte {offset} on"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, mkfifoat};

    use super::*;

    /// Without this, a start or a reload waits for ever for a writer of a FIFO, or for the end of /dev/zero.
    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let fifo = std::env::temp_dir().join(format!("lb-fifo-{}", std::process::id()));
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        let error = |path: &Path| read_regular_file(path, 1000).unwrap_err().to_string();
        let said = error(&fifo);
        std::fs::remove_file(&fifo).unwrap();
        assert_eq!(said, "this is a FIFO or pipe, not a regular file");
        assert_eq!(error(Path::new("/dev/zero")), "this is a terminal or another device, not a regular file");
        assert_eq!(error(Path::new("/")), "this is a directory, not a regular file");
        assert_eq!(error(Path::new("/nowhere")), "No such file or directory");
        assert_eq!(irregular(FileType::BlockDevice), Some("a block device"));
    }

    /// Without this, a file of any size is read into memory.
    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let path = std::env::temp_dir().join(format!("lb-bound-{}", std::process::id()));
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_regular_file(&path, 5).map_err(|error| error.to_string())
        };
        assert_eq!(read(b"").as_deref(), Ok(""));
        assert_eq!(read(b"12345").as_deref(), Ok("12345"));
        assert_eq!(read(b"123456").unwrap_err(), "this is longer than 5 bytes");
        assert_eq!(read(b"12\xff").unwrap_err(), "this is not UTF-8, from byte 2 on");
        std::fs::remove_file(&path).unwrap();
        // A file of /proc says that it is empty.
        assert!(read_regular_file(Path::new("/proc/self/limits"), 1 << 16).unwrap().contains("Max open files"));
    }
}

//! The user name and password for /stats: HTTP's Basic authentication (RFC 7617).
use std::env;
use std::io::ErrorKind;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::config::{CredentialFiles, Unreadable, read_regular_file};

/// The longest user name and password, in bytes, each.
const MAX_LEN: usize = 512;

/// User name and password. They are shown nowhere: this type has no `Debug`.
pub struct Credentials {
    /// `NAME:PASSWORD`, as a request has it before base64.
    expected: Option<Secret>,
    missing: Vec<String>,
}

/// Whether a request may see /stats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It may.
    Granted,
    /// It has no credentials, or wrong ones.
    Denied,
    /// Its address has tried too many wrong ones.
    Limited,
    /// No client may: there are no credentials to compare with.
    Closed,
}

/// Bytes that can be compared in the same time wherever they differ, and however long they are.
struct Secret {
    bytes: [u8; 2 * MAX_LEN + 1],
    len: u16,
}

impl Credentials {
    /// Reads the files; without any, takes `STATS_USERNAME` and `STATS_PASSWORD` of the environment. A file that is not
    /// there, or is empty, closes /stats and nothing else: a secret that comes late is no reason to serve no client.
    ///
    /// # Errors
    /// Sentences for the operator: a file cannot be read or is too long, or a user name has a colon.
    pub fn load(files: Option<&CredentialFiles>) -> Result<Credentials, Vec<String>> {
        let mut missing = Vec::new();
        let pair = match files {
            Some(files) => {
                let key = |name: &str| format!("admin.stats_credentials.{name}");
                let read = |name, path| read(path).map_err(|what| format!("{}: {}: {what}", key(name), path.display()));
                match (read("username_file", &files.username_file), read("password_file", &files.password_file)) {
                    (Ok(name), Ok(password)) => {
                        let absent = [
                            ("username_file", &files.username_file, &name),
                            ("password_file", &files.password_file, &password),
                        ];
                        let absent = absent.into_iter().filter(|(.., line)| line.is_none());
                        missing.extend(absent.map(|(name, path, _)| {
                            format!("{}: {} is missing or empty, so that /stats answers 403", key(name), path.display())
                        }));
                        name.zip(password)
                    }
                    (name, password) => return Err([name.err(), password.err()].into_iter().flatten().collect()),
                }
            }
            None => env::var("STATS_USERNAME").ok().zip(env::var("STATS_PASSWORD").ok()),
        };
        let pair = pair.filter(|(name, password)| !name.is_empty() && !password.is_empty());
        let expected = pair.map(|(name, password)| Credentials::join(&name, &password)).transpose();
        expected.map(|expected| Credentials { expected, missing }).map_err(|error| vec![error])
    }

    /// What the operator should know of the files that were named.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.missing
    }

    fn join(name: &str, password: &str) -> Result<Secret, String> {
        if name.contains(':') {
            return Err("the user name for /stats, of a file or STATS_USERNAME, has a colon in it, which Basic \
                        authentication cannot send"
                .into());
        }
        Secret::new(format!("{name}:{password}").as_bytes())
            .ok_or_else(|| format!("user name and password for /stats are longer than {} bytes", 2 * MAX_LEN))
    }

    /// Looks at the value of `Authorization`.
    pub(super) fn judge(&self, authorization: Option<&[u8]>) -> Access {
        let Some(expected) = &self.expected else { return Access::Closed };
        match authorization.and_then(given) {
            Some(given) if given.equals(expected) => Access::Granted,
            _ => Access::Denied,
        }
    }
}

/// What follows `Basic`, decoded.
fn given(authorization: &[u8]) -> Option<Secret> {
    let (scheme, rest) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    Secret::new(&STANDARD.decode(rest.trim_ascii()).ok()?)
}

/// A file's only line, if it has one.
fn read(path: &Path) -> Result<Option<String>, String> {
    // The line's end comes on top, in either of its forms.
    let text = match read_regular_file(path, MAX_LEN + 2) {
        Err(Unreadable::System(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| error.to_string())?,
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.len() {
        0 => Ok(None),
        // RFC 7617 section 2.
        _ if line.chars().any(char::is_control) => Err("has more than one line, or a control character".into()),
        1..=MAX_LEN => Ok(Some(line.to_owned())),
        _ => Err(format!("is longer than {MAX_LEN} bytes")),
    }
}

impl Secret {
    fn new(text: &[u8]) -> Option<Secret> {
        let mut bytes = [0; 2 * MAX_LEN + 1];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Secret { bytes, len: text.len() as u16 })
    }

    fn equals(&self, other: &Secret) -> bool {
        (self.bytes.ct_eq(&other.bytes) & self.len.ct_eq(&other.len)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str, password: &str) -> Credentials {
        Credentials { expected: Some(Credentials::join(name, password).ok().unwrap()), missing: Vec::new() }
    }

    fn basic(text: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    /// Without this, /stats is open to clients without the password, or closed to clients with it.
    #[test]
    fn only_the_right_pair_is_let_in() {
        let credentials = credentials("admin", "pass:wörd");
        assert_eq!(credentials.judge(Some(&basic("admin:pass:wörd"))), Access::Granted);
        assert_eq!(credentials.judge(Some(b"bASIC   YWRtaW46cGFzczp3w7ZyZA== ")), Access::Granted);
        for wrong in
            ["admin:pass:wörd\0", "admin:pass:wör", "admin:", "admin", "", ":", "admin:pass:wördd", "Admin:pass:wörd"]
        {
            assert_eq!(credentials.judge(Some(&basic(wrong))), Access::Denied, "{wrong}");
        }
        assert_eq!(credentials.judge(Some(&basic(&"x".repeat(5000)))), Access::Denied);
        for malformed in [
            &b""[..],
            b"Basic",
            b"Basic ",
            b"Basic !!!",
            b"Bearer YWRtaW46cGFzczp3w7ZyZA==",
            b"\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(credentials.judge(Some(malformed)), Access::Denied, "{malformed:?}");
        }
        assert_eq!(credentials.judge(None), Access::Denied);
    }

    /// Without this, an installation without credentials shows its page to every client.
    #[test]
    fn without_credentials_nobody_is_let_in() {
        let none = Credentials { expected: None, missing: Vec::new() };
        assert_eq!(none.judge(Some(&basic(":"))), Access::Closed);
        assert_eq!(none.judge(None), Access::Closed);
    }

    /// Without this, a password file with a second line, or another line ending, has a password that no user can type.
    #[test]
    fn a_file_is_one_line() {
        let path = std::env::temp_dir().join(format!("lb-credentials-{}", std::process::id()));
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        for text in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            assert_eq!(of(text), Ok(Some("s3cret".into())));
        }
        for text in ["", "\n"] {
            assert_eq!(of(text), Ok(None), "{text:?}");
        }
        for (text, why) in [("a\nb\n", "one line"), ("a\n\n", "one line"), ("a\tb", "control")] {
            assert!(of(text).unwrap_err().contains(why), "{text:?}");
        }
        assert!(of(&"x".repeat(MAX_LEN + 1)).unwrap_err().contains("longer"));
        std::fs::remove_file(&path).unwrap();
    }

    /// Without this, a user name that no browser can send is accepted, and every login fails.
    #[test]
    fn a_user_name_has_no_colon() {
        assert!(Credentials::join("a:b", "c").is_err());
        assert!(Credentials::join("a", &"b".repeat(2000)).is_err());
    }
}

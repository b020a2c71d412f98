//! Lines of a haproxy.cfg: words, quoting, escapes and environment variables (sections 2.2 and 2.3 of its manual).
use std::collections::HashMap;

/// The words of one line, and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1 on.
    pub(super) number: usize,
    /// At least one.
    pub(super) words: Vec<String>,
}

impl Line {
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// The words from `index` on.
    pub(super) fn rest(&self, index: usize) -> &[String] {
        self.words.get(index..).unwrap_or_default()
    }
}

/// The environment, with the changes by `setenv`, `presetenv`, `unsetenv` and `resetenv` so far.
#[derive(Debug, Default)]
pub(super) struct Environment(HashMap<String, String>);

impl Environment {
    pub(super) fn of_this_process() -> Environment {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Environment(std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// Follows a line of `global` that changes the environment; false where it is no such line.
    pub(super) fn follow(&mut self, line: &Line) -> bool {
        let (name, value) = (line.word(1).to_owned(), line.word(2).to_owned());
        match line.word(0) {
            "setenv" => drop(self.0.insert(name, value)),
            "presetenv" => drop(self.0.entry(name).or_insert(value)),
            "unsetenv" => line.rest(1).iter().for_each(|name| drop(self.0.remove(name))),
            "resetenv" => self.0.retain(|name, _| line.rest(1).contains(name)),
            _ => return false,
        }
        true
    }

    /// An address, in which `${NAME}` counts outside of quotes too; the error is the variable that is not set.
    pub(super) fn in_address(&self, word: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut rest = word;
        while let Some((before, after)) = rest.split_once("${") {
            let (inner, after) = after.split_once('}').ok_or_else(|| rest.to_owned())?;
            text += before;
            text += self.0.get(inner).ok_or(inner)?;
            rest = after;
        }
        Ok(text + rest)
    }

    /// The value of `NAME`, or of `NAME-DEFAULT`.
    fn value<'a>(&'a self, inner: &'a str) -> Result<&'a str, String> {
        let (name, default) = inner.split_once('-').map_or((inner, None), |(name, default)| (name, Some(default)));
        let value = self.0.get(name).map(String::as_str).or(default);
        value.ok_or_else(|| name.to_owned())
    }
}

/// A line's words; empty for a line without any. `unset` gets the variables that have no value.
pub(super) fn words(text: &str, environment: &Environment, unset: &mut Vec<String>) -> Result<Vec<String>, String> {
    let mut lexer = Lexer { rest: text, environment, unset, words: Vec::new(), word: None };
    while lexer.step()? {}
    lexer.words.extend(lexer.word);
    Ok(lexer.words)
}

struct Lexer<'t, 'e> {
    rest: &'t str,
    environment: &'e Environment,
    unset: &'e mut Vec<String>,
    words: Vec<String>,
    /// The word that is being read: `""` is one too.
    word: Option<String>,
}

impl Lexer<'_, '_> {
    fn take(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn push(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    /// Reads on; false at the end of the line.
    fn step(&mut self) -> Result<bool, String> {
        match self.take() {
            None | Some('#') => return Ok(false),
            Some(' ' | '\t' | '\r') => self.words.extend(self.word.take()),
            Some('\'') => {
                let (inside, after) = self.rest.split_once('\'').ok_or("a ' is not closed")?;
                self.push(inside);
                self.rest = after;
            }
            Some('"') => self.weakly_quoted()?,
            Some('\\') => self.escape()?,
            Some(plain) => self.push(plain.encode_utf8(&mut [0; 4])),
        }
        Ok(true)
    }

    fn weakly_quoted(&mut self) -> Result<(), String> {
        self.push("");
        loop {
            match self.take().ok_or("a \" is not closed")? {
                '"' => return Ok(()),
                '\\' => self.escape()?,
                '$' => self.variable()?,
                plain => self.push(plain.encode_utf8(&mut [0; 4])),
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.take().ok_or("a \\ at the end")? {
            'n' => self.push("\n"),
            'r' => self.push("\r"),
            't' => self.push("\t"),
            'x' => {
                let hex = self.rest.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                let byte = hex.ok_or("a \\x without two digits")?;
                self.rest = self.rest.get(2..).unwrap_or_default();
                self.push(char::from(byte).encode_utf8(&mut [0; 4]));
            }
            itself => {
                // Only these are escapes; any other keeps its backslash, as a regex needs.
                if !" #\\'\"$\t".contains(itself) {
                    self.push("\\");
                }
                self.push(itself.encode_utf8(&mut [0; 4]));
            }
        }
        Ok(())
    }

    /// `$NAME`, `${NAME}`, `${NAME-DEFAULT}`, and `${NAME[*]}`, which becomes several words.
    fn variable(&mut self) -> Result<(), String> {
        let inner = if let Some(braced) = self.rest.strip_prefix('{') {
            let (inner, after) = braced.split_once('}').ok_or("a ${ that is not closed")?;
            self.rest = after;
            inner
        } else {
            let name = |char: char| char.is_ascii_alphanumeric() || char == '_';
            let (inner, after) = self.rest.split_at(self.rest.find(|char| !name(char)).unwrap_or(self.rest.len()));
            self.rest = after;
            inner
        };
        let (inner, list) = inner.strip_suffix("[*]").map_or((inner, false), |inner| (inner, true));
        let value = self.environment.value(inner).map(str::to_owned);
        let value = value.unwrap_or_else(|name| {
            self.unset.push(name);
            String::new()
        });
        if !list {
            self.push(&value);
            return Ok(());
        }
        for (index, part) in value.split_ascii_whitespace().enumerate() {
            if index > 0 {
                self.words.extend(self.word.take());
            }
            self.push(part);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a quote changes a name, or swallows the rest of a rule.
    #[test]
    fn words_as_haproxy_cuts_them() {
        let mut environment = Environment::default();
        let set =
            |name: &str, value: &str| Line { number: 1, words: ["setenv", name, value].map(str::to_owned).into() };
        assert!(environment.follow(&set("HOST", "10.0.0.1")));
        assert!(environment.follow(&set("NAMES", "a.test b.test")));
        for (text, expected) in [
            ("", &[][..]),
            ("  # all comment", &[]),
            ("\tbind  :443 # comment", &["bind", ":443"]),
            ("a\\ b \\# c", &["a b", "#", "c"]),
            (r#"x "a b # c" 'd "e"'"#, &["x", "a b # c", "d \"e\""]),
            (r#"x """#, &["x", ""]),
            (r"-m reg ^www\.a\.test$", &["-m", "reg", r"^www\.a\.test$"]),
            (r#"-m reg "^www\\.a\\.test\$""#, &["-m", "reg", r"^www\.a\.test$"]),
            (r"-m reg '^www\.a$'", &["-m", "reg", r"^www\.a$"]),
            (r"a\x41\tb", &["aA\tb"]),
            (r#""$HOST:443" $HOST "${HOST}x" "${NONE-y}""#, &["10.0.0.1:443", "$HOST", "10.0.0.1x", "y"]),
            (r#"-i "${NAMES[*]}" z"#, &["-i", "a.test", "b.test", "z"]),
        ] {
            let mut unset = Vec::new();
            assert_eq!(words(text, &environment, &mut unset).unwrap(), expected, "{text}");
            assert!(unset.is_empty(), "{text}");
        }
        let mut unset = Vec::new();
        assert_eq!(words(r#""${GONE}:1""#, &environment, &mut unset).unwrap(), [":1"]);
        assert_eq!(unset, ["GONE"]);
        assert_eq!(environment.in_address("${HOST}:443"), Ok("10.0.0.1:443".to_owned()));
        assert_eq!(environment.in_address("${GONE}:443"), Err("GONE".to_owned()));
        for broken in ["'a", "\"a", "a\\", "\\xg", "\"${a"] {
            assert!(words(broken, &environment, &mut Vec::new()).is_err(), "{broken}");
        }
    }
}

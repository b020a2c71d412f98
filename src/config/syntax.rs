//! Finds the first place where a text is not JSON (RFC 8259), and says what to write there.
//!
//! `serde_json` reads the file. This looks at a file that `serde_json` refused, as "expected value" helps no operator.

/// One place in a text that is not JSON.
#[derive(Debug)]
pub(super) struct Fault {
    /// Offset in bytes; `None` for the whole text.
    pub(super) at: Option<usize>,
    /// What is wrong and what would be right.
    pub(super) what: String,
}

/// The depth that `serde_json` allows.
const MAX_DEPTH: usize = 127;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'t> {
    Open(char),
    Close(char),
    Colon,
    Comma,
    Text,
    /// Any other text up to the next token: a number, `true`, or a string without its quotes.
    Word(&'t str),
}

/// What may come next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Value,
    FirstValue,
    Key,
    FirstKey,
    Colon,
    CommaOrClose,
    Nothing,
}

/// The first fault of a text.
pub(super) fn fault(text: &str) -> Option<Fault> {
    if let Some(what) = looks_like(text) {
        return Some(Fault { at: None, what: what.to_owned() });
    }
    let mut reader = Reader { text, at: 0, open: Vec::new(), next: Next::Value, comma: None, end: 0, misfit: None };
    reader.read().err()
}

/// Names another format that the file seems to be written in.
fn looks_like(text: &str) -> Option<&'static str> {
    if text.starts_with('\u{feff}') {
        return Some("begins with a byte order mark; save it as UTF-8 without one");
    }
    let trimmed = text.trim_start();
    if trimmed.is_empty() {
        return Some("is empty; write { \"listen\": [ ... ], \"routes\": { ... } }");
    }
    let is_table = trimmed.strip_prefix('[').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    if is_table && trimmed.contains(" = ") {
        return Some("looks like TOML; write it as JSON");
    }
    if trimmed.starts_with(['{', '[', '"']) {
        return None;
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let first = lines.clone().next()?;
    let is_section = |line: &str| {
        let mut words = line.split_whitespace();
        let section = words.next().is_some_and(|word| HAPROXY_SECTIONS.contains(&word));
        section && !words.next().is_some_and(|word| word.starts_with('='))
    };
    if lines.any(is_section) {
        return Some("looks like a haproxy.cfg; convert it with: fiscalismia-lb import FILE");
    }
    let key = first.split(':').next().filter(|key| key.len() < first.len());
    let is_yaml_key = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
    if first == "---" || key.is_some_and(is_yaml_key) {
        return Some("looks like YAML; write it as JSON");
    }
    if first.contains(" = ") {
        return Some("looks like TOML or Nix; write it as JSON");
    }
    let is_word =
        first.starts_with(|c: char| c.is_alphabetic() || c == '<') && serde_json::from_str::<bool>(first).is_err();
    if first.ends_with(['{', ';']) || is_word && first != "null" {
        return Some("is not JSON; begin the configuration with { and end it with }");
    }
    None
}

const HAPROXY_SECTIONS: [&str; 5] = ["global", "defaults", "frontend", "backend", "listen"];

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// The open brackets, each with its offset.
    open: Vec<(char, usize)>,
    next: Next,
    /// Offset of the last comma.
    comma: Option<usize>,
    /// Offset of the end of the last token.
    end: usize,
    /// The first bracket that is closed at another indentation than its line has: its own closing bracket is likely
    /// missing.
    misfit: Option<(char, usize)>,
}

impl<'t> Reader<'t> {
    fn read(&mut self) -> Result<(), Fault> {
        loop {
            let start = self.skip_space();
            let Some(token) = self.token()? else { return self.at_end() };
            self.take(token, start)?;
            self.end = self.at;
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) -> usize {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        self.at
    }

    fn token(&mut self) -> Result<Option<Token<'t>>, Fault> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(None) };
        if rest.starts_with("//") || rest.starts_with("/*") || first == '#' {
            return fault_at(self.at, "is a comment, which JSON does not allow; leave it out");
        }
        if first.is_whitespace() || first == '\u{feff}' || first == '\u{200b}' {
            return fault_at(self.at, format!("{first:?} is not a space in JSON; write a plain one"));
        }
        let token = match first {
            '{' | '[' => Token::Open(first),
            '}' | ']' => Token::Close(first),
            ':' => Token::Colon,
            ',' => Token::Comma,
            '"' => return self.string().map(Some),
            '\'' | '`' | '“' | '”' | '‘' | '’' | '„' | '«' | '»' => {
                return fault_at(
                    self.at,
                    format!("{first} is not a quote in JSON; write \" before and after a string"),
                );
            }
            _ => {
                let length = rest.find([' ', '\t', '\n', '\r', ',', ']', '}', '"', '{', '[']).unwrap_or(rest.len());
                // A word before a colon is a key without quotes; within an address the colon is part of the word.
                let word = rest.get(..length).unwrap_or_default();
                let word = word.strip_suffix(':').filter(|word| !word.is_empty()).unwrap_or(word);
                self.at += word.len();
                return Ok(Some(Token::Word(word)));
            }
        };
        self.at += first.len_utf8();
        Ok(Some(token))
    }

    /// A string, from its quote to its quote.
    fn string(&mut self) -> Result<Token<'t>, Fault> {
        let start = self.at;
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = chars.next() {
            let at = start + offset;
            match c {
                '"' => {
                    self.at = at + 1;
                    return Ok(Token::Text);
                }
                '\n' | '\r' => return fault_at(start, "this string is not closed; write \" after it"),
                '\\' => match chars.next() {
                    Some((_, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't')) => {}
                    Some((_, 'u')) => {
                        let digits = self.text.get(at + 2..at + 6).unwrap_or_default();
                        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                            return fault_at(at, "\\u needs four hexadecimal digits behind it, like \\u00e9");
                        }
                    }
                    _ => {
                        return fault_at(
                            at,
                            "this backslash begins no escape that JSON has; write \\\\ for one backslash",
                        );
                    }
                },
                '\t' => return fault_at(at, "a tab stands in this string; write \\t, or leave it out"),
                c if c < ' ' => return fault_at(at, format!("{c:?} stands in this string; leave it out")),
                _ => {}
            }
        }
        fault_at(start, "this string is not closed; write \" after it")
    }

    fn take(&mut self, token: Token<'t>, start: usize) -> Result<(), Fault> {
        match (self.next, token) {
            (Next::Value | Next::FirstValue, Token::Open(bracket)) => return self.open(bracket, start),
            (Next::CommaOrClose | Next::FirstValue | Next::FirstKey, Token::Close(bracket)) => {
                return self.close(bracket, start);
            }
            (Next::Value | Next::FirstValue, Token::Text) => self.next = self.after_value(),
            (Next::Value | Next::FirstValue, Token::Word(word)) => {
                check_word(word, start)?;
                self.next = self.after_value();
            }
            (Next::Key | Next::FirstKey, Token::Text) => self.next = Next::Colon,
            (Next::Colon, Token::Colon) => self.next = Next::Value,
            (Next::CommaOrClose, Token::Comma) => {
                self.comma = Some(start);
                self.next = if self.is_in_list() { Next::Value } else { Next::Key };
            }
            (next, token) => return fault_at(self.place_of(next, token, start), self.unexpected(next, token)),
        }
        Ok(())
    }

    fn open(&mut self, bracket: char, start: usize) -> Result<(), Fault> {
        self.open.push((bracket, start));
        if self.open.len() > MAX_DEPTH {
            return fault_at(start, "lists and objects are nested too deep here");
        }
        self.next = if bracket == '[' { Next::FirstValue } else { Next::FirstKey };
        Ok(())
    }

    fn close(&mut self, bracket: char, start: usize) -> Result<(), Fault> {
        match self.open.last() {
            Some((open, at)) if closing(*open) == bracket => {
                let (open, at) = (*open, *at);
                let ends_line = self.indent(start).is_some_and(|indent| Some(indent) != self.line_indent(at));
                if ends_line && self.misfit.is_none() {
                    self.misfit = Some((open, at));
                }
                self.open.pop();
                self.next = self.after_value();
                Ok(())
            }
            Some((open, at)) => {
                let line = line_of(self.text, *at);
                let what = format!("the {open:?} of line {line} is still open here; write {:?} first", closing(*open));
                fault_at(start, what)
            }
            None => fault_at(start, format!("{bracket:?} closes nothing; leave it out")),
        }
    }

    fn is_after_comma(&self) -> bool {
        self.comma.is_some_and(|comma| self.end == comma + 1)
    }

    fn is_in_list(&self) -> bool {
        self.open.last().is_some_and(|(bracket, _)| *bracket == '[')
    }

    fn after_value(&self) -> Next {
        if self.open.is_empty() { Next::Nothing } else { Next::CommaOrClose }
    }

    /// Where the caret points: at the token that is too much, or at the place where one is missing.
    fn place_of(&self, next: Next, token: Token<'_>, start: usize) -> usize {
        match (next, token) {
            (Next::Value | Next::Key, Token::Close(_)) if self.is_after_comma() => self.comma.unwrap_or(start),
            (Next::CommaOrClose, Token::Text | Token::Open(_)) => self.end.saturating_sub(1),
            _ => start,
        }
    }

    fn unexpected(&self, next: Next, token: Token<'_>) -> String {
        match (next, token) {
            (Next::Value | Next::Key, Token::Close(_)) if self.is_after_comma() => {
                "a comma may not follow the last item; leave it out".to_owned()
            }
            (Next::Value | Next::FirstValue, Token::Close(_) | Token::Comma) => "a value is missing here".to_owned(),
            (Next::Key | Next::FirstKey, Token::Word(word)) => {
                format!("{word} is a key without quotes; write {word:?}")
            }
            (Next::Key, Token::Comma) => "is a comma too many; leave it out".to_owned(),
            (Next::Key | Next::FirstKey, _) => "a key is missing here; write \"KEY\": before the value".to_owned(),
            (Next::Colon | Next::CommaOrClose, _) if self.misses_a_quote(token) => {
                "a \" is missing: the string that ends here began too early, or ends too early".to_owned()
            }
            (Next::Colon, Token::Word(word)) if word.starts_with('=') => "write : instead of =".to_owned(),
            (Next::Colon, _) => "a colon is missing before this; write \"KEY\": VALUE".to_owned(),
            (Next::CommaOrClose, Token::Text | Token::Open(_)) => "a comma is missing after this".to_owned(),
            (Next::CommaOrClose, Token::Colon) if self.is_in_list() => {
                "the items of a list have no keys; write { and } instead of [ and ]".to_owned()
            }
            (Next::Nothing, Token::Close(bracket)) => format!("{bracket:?} closes nothing; leave it out"),
            (Next::Nothing, _) => {
                "text follows the end of the file's object; put everything between one { and its }".to_owned()
            }
            (_, Token::Word(word)) => format!("{word} is not JSON; leave it out"),
            _ => "is a colon too many; leave it out".to_owned(),
        }
    }

    /// Whether quotes do not pair up as they were meant to: `token`, the one just read, stands right behind the quote that
    /// ends a string, and is text, or the string took what stands between strings.
    fn misses_a_quote(&self, token: Token<'_>) -> bool {
        let (length, is_text) = match token {
            Token::Word(word) => (word.len(), self.next != Next::Colon && word.contains(char::is_alphanumeric)),
            Token::Open(_) => (1, false),
            _ => return false,
        };
        let string = self.text.get(..self.end).and_then(|before| before.strip_suffix('"'));
        let took_more = |string: &str| string.trim_end().ends_with([',', ':', '[', '{']);
        self.at - length == self.end && string.is_some_and(|string| is_text || took_more(string))
    }

    /// The indentation in front of a byte, if only spaces precede it in its line.
    fn indent(&self, at: usize) -> Option<usize> {
        let before = self.text.get(..at)?.rsplit('\n').next()?;
        before.trim().is_empty().then_some(before.len())
    }

    /// The indentation of the line of a byte.
    fn line_indent(&self, at: usize) -> Option<usize> {
        let before = self.text.get(..at)?.rsplit('\n').next()?;
        Some(before.len() - before.trim_start().len())
    }

    fn at_end(&self) -> Result<(), Fault> {
        match self.misfit.as_ref().filter(|_| !self.open.is_empty()).or(self.open.last()) {
            Some((bracket, at)) => {
                fault_at(*at, format!("this {bracket:?} is not closed; write {:?}", closing(*bracket)))
            }
            None => Ok(()),
        }
    }
}

fn fault_at<T>(at: usize, what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { at: Some(at), what: what.into() })
}

/// Accepts numbers and JSON's three words; every other word needs quotes.
fn check_word(word: &str, at: usize) -> Result<(), Fault> {
    if matches!(word, "true" | "false" | "null") || serde_json::from_str::<serde_json::Number>(word).is_ok() {
        return Ok(());
    }
    let what = match &*word.to_ascii_lowercase() {
        lower @ ("true" | "false" | "null") => format!("{word} is not a JSON word; write {lower}"),
        "yes" | "on" => format!("{word} is not a JSON word; write true"),
        "no" | "off" => format!("{word} is not a JSON word; write false, or {word:?} where a word is asked for"),
        "none" | "nil" | "undefined" => format!("{word} is not a JSON word; write null, or leave the key out"),
        "nan" | "infinity" | "inf" | "-infinity" => {
            format!("{word} is not a JSON number; write a finite one, or leave the key out")
        }
        "(" => "( is not JSON; write [ and ] around a list".to_owned(),
        lower if let Some(number) = hexadecimal(lower) => {
            format!("{word} is hexadecimal, which JSON does not allow; write {number}")
        }
        _ if is_nearly_a_number(word) => {
            format!("{word} is not a JSON number; write it without a plus sign, leading zeros or a bare point")
        }
        _ => format!("{word} has no quotes; write {word:?}"),
    };
    fault_at(at, what)
}

/// The value of `0x1bb`.
fn hexadecimal(lower: &str) -> Option<u64> {
    u64::from_str_radix(lower.strip_prefix("0x")?, 16).ok()
}

/// Whether `word` is almost a number, like `+1`, `0443`, `.5`, `1.` and `1e999`, and not an address.
fn is_nearly_a_number(word: &str) -> bool {
    word.parse::<f64>().is_ok() || word.parse::<i128>().is_ok()
}

fn closing(bracket: char) -> char {
    if bracket == '[' { ']' } else { '}' }
}

/// The line, from 1, that a byte is in.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The line that a byte is in, as far as it fits into a terminal, and below it a caret at the byte.
pub(super) fn excerpt(text: &str, at: usize) -> String {
    const WIDTH: usize = 100;
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let before: Vec<char> = before.chars().rev().take_while(|c| *c != '\n').collect();
    let shown = before.len().min(WIDTH / 2);
    let left = before.iter().take(shown).rev().copied();
    let line = left.chain(after.chars().take_while(|c| *c != '\n').take(WIDTH - shown));
    let line: String = line.map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("    {}\n    {}^", line.trim_end(), " ".repeat(shown))
}

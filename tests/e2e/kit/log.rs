//! A strict reader of connection lines: every field, in its order, and nothing else.
use std::net::SocketAddr;

/// One connection line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) client: SocketAddr,
    /// `BACKEND/SERVER`; empty in lines before the route is known.
    pub(crate) place: String,
    pub(crate) step: String,
    fields: Vec<(String, String)>,
    /// What follows in lines that have no fields.
    pub(crate) text: String,
}

const CONNECT: [&str; 11] = ["Tw", "Tc", "Tt", "B", "ts", "ac", "fc", "bc", "sc", "sq", "bq"];

impl Entry {
    /// The line as an entry; `None` for lines that are about no connection.
    pub(crate) fn parse(line: &str) -> Option<Entry> {
        let (client, rest) = line.split_once(" [")?;
        let (at, rest) = rest.split_once("] https_ingress ")?;
        let client = client_of(client)?;
        assert!(is_date(at), "date in {line}");
        let mut words = rest.split(' ').peekable();
        let place = words.next_if(|w| w.contains('/')).unwrap_or_default().to_owned();
        let step = words.next()?.to_owned();
        let mut entry = Entry { client, place, step, fields: Vec::new(), text: String::new() };
        let expected: Vec<&str> = match (entry.step.as_str(), entry.place.as_str()) {
            ("ACCEPT", "") => vec!["ac", "fc"],
            ("TCP-REQ-CONT", "") | ("ERROR", _) => {
                entry.text = words.collect::<Vec<_>>().join(" ");
                return Some(entry);
            }
            ("CONNECT", place) if !place.is_empty() => CONNECT.to_vec(),
            ("CLOSE", place) if !place.is_empty() => [&["drop"], &CONNECT[..]].concat(),
            _ => panic!("no such line: {line}"),
        };
        entry.fields =
            words.map(|w| w.split_once('=').unwrap_or_else(|| panic!("a field in {line}"))).map(owned).collect();
        let mut names: Vec<&str> = entry.fields.iter().map(|(name, _)| name.as_str()).collect();
        if !entry.is("ACCEPT") {
            let is_orderly = entry.is("CONNECT") || matches!(entry.ts(), "--" | "LR");
            assert_eq!(names.pop_if(|name| *name == "reason").is_none(), is_orderly, "reason of {line}");
            assert_eq!(names.pop(), Some("sni"), "{line}");
            names.pop_if(|name| *name == "id");
        }
        assert_eq!(names, expected, "fields of {line}");
        Some(entry)
    }

    fn is(&self, step: &str) -> bool {
        self.step == step
    }

    /// A field's value.
    pub(crate) fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(n, _)| n == name);
        &found.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }

    /// A field's value, as a number.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.field(name).parse().unwrap_or_else(|_| panic!("{name} of {self:?}"))
    }

    pub(crate) fn backend(&self) -> &str {
        self.place.split_once('/').unwrap().0
    }

    pub(crate) fn server(&self) -> &str {
        self.place.split_once('/').unwrap().1
    }

    /// The state at the end, two letters.
    pub(crate) fn ts(&self) -> &str {
        self.field("ts")
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// `CLIENT:PORT`, where an IPv6 address has no brackets, as HAProxy writes it.
fn client_of(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}

/// `dd/Mon/yyyy:HH:MM:SS.mmm`
fn is_date(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    months.iter().any(|m| shape == format!("00/{m}/0000:00:00:00.000"))
}

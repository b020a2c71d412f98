//! The source tree keeps its shape: imports, sizes of files, functions and structs, and no unsafe code.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests throughout")]
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A part of the source tree, the parts that it may use, and the crates.
type Layer = (&'static str, &'static [&'static str], &'static [&'static str]);

/// What every part may use from elsewhere is in the last column; std is not mentioned.
const LAYERS: &[Layer] = &[
    ("vocabulary", &[], &["serde"]),
    ("wire", &[], &["tls_parser", "httparse", "crc32c"]),
    ("config", &["vocabulary"], &["serde", "serde_json", "humantime", "ipnet", "rustix", "strsim"]),
    ("policy", &["config", "vocabulary"], &["fnv", "ipnet", "serde"]),
    ("net", &[], &["mio", "nix", "rustix", "serde", "socket2", "slotmap"]),
    ("metrics", &["config", "policy", "vocabulary"], &["prometheus", "itoa", "serde"]),
    ("access_log", &["config", "net", "policy", "vocabulary"], &["log", "mio", "humantime"]),
    ("fleet", &["config", "policy", "metrics", "net", "vocabulary"], &["serde"]),
    ("context", &["config", "policy", "metrics", "net", "fleet", "access_log", "preface"], &["log", "mio", "rustix"]),
    ("handover", &[], &["rustix", "serde", "serde_json"]),
    ("systemd", SYSTEMD, &["sd_notify", "listenfd", "rustix", "socket2"]),
    ("preface", &["vocabulary", "wire", "net"], &["serde"]),
    ("session", CLIENTS, &["fnv", "mio", "rustix", "serde"]),
    ("probe", SHARED, &["log", "mio", "rustix"]),
    ("http", HTTP, &["rustix", "mio", "serde"]),
    ("admin", ADMIN, &["log", "maud", "base64", "subtle", "serde_json", "humantime"]),
    ("control", CONTROL, &["form_urlencoded", "serde", "serde_json"]),
    ("event_loop", EVENT_LOOP, EVENT_LOOP_CRATES),
    ("cli", &["access_log", "config", "policy", "event_loop", "wire"], CLI_CRATES),
    ("main", &["access_log"], &["log", "simple_logger"]),
];

/// What the commands use beside what the proxy does.
const CLI_CRATES: &[&str] = &[
    "clap",
    "form_urlencoded",
    "humantime",
    "ipnet",
    "ratatui",
    "regex_syntax",
    "rustix",
    "serde",
    "serde_json",
    "socket2",
];

/// What sessions, probes and the admin endpoints use; never each other.
const SHARED: &[&str] = &["wire", "config", "policy", "net", "metrics", "access_log", "fleet", "context", "vocabulary"];

/// What systemd is told of, and where its sockets go.
const SYSTEMD: &[&str] = &["config", "policy", "net", "context", "vocabulary"];

/// What those use whose clients may come through a balancer.
const CLIENTS: &[&str] =
    &["wire", "config", "policy", "net", "metrics", "access_log", "fleet", "context", "preface", "vocabulary"];

/// The same for clients that speak HTTP.
const HTTP: &[&str] = &["wire", "policy", "net", "metrics", "access_log", "fleet", "context", "preface", "vocabulary"];

/// The admin endpoints are a function from a request to an answer.
const ADMIN: &[&str] = &["wire", "config", "policy", "metrics", "fleet", "context", "http", "vocabulary"];

const EVENT_LOOP_CRATES: &[&str] =
    &["humantime", "mio", "nix", "rustix", "serde", "serde_json", "signal_hook", "signal_hook_mio", "log"];

/// The control socket is a function from a request to an answer too, and can show the statistics.
const CONTROL: &[&str] = &["config", "wire", "policy", "fleet", "http", "admin"];

/// Everything but wire.
const EVENT_LOOP: &[&str] = &[
    "config",
    "policy",
    "net",
    "metrics",
    "access_log",
    "fleet",
    "context",
    "handover",
    "systemd",
    "vocabulary",
    "session",
    "probe",
    "http",
    "admin",
    "control",
];

/// Without this, a part imports another one above it, and the layers are gone.
#[test]
fn parts_use_only_what_lies_below_them() {
    for file in sources() {
        let part = file.part();
        if part == "lib" {
            continue;
        }
        let (_, parts, crates) =
            LAYERS.iter().find(|(name, ..)| *name == part).unwrap_or_else(|| panic!("what is {part}?"));
        for used in file.used_parts() {
            assert!(used == part || parts.contains(&&*used), "{}: {part} may not use {used}", file.name());
        }
        for used in dependencies().into_iter().filter(|name| file.names(&format!("{name}::"))) {
            assert!(crates.contains(&&*used), "{}: {part} may not use the crate {used}", file.name());
        }
    }
}

/// Without this, a permission that no file uses lets the next import in unseen.
#[test]
fn every_permission_is_used() {
    let (sources, mut unused) = (sources(), Vec::new());
    for (part, parts, crates) in LAYERS {
        let files: Vec<&Source> = sources.iter().filter(|file| file.part() == *part).collect();
        let used: Vec<String> = files.iter().flat_map(|file| file.used_parts()).collect();
        let not_used = parts.iter().filter(|allowed| !used.iter().any(|used| used == *allowed));
        unused.extend(not_used.map(|allowed| format!("{part} uses no {allowed}")));
        let not_named = crates.iter().filter(|name| !files.iter().any(|file| file.names(&format!("{name}::"))));
        unused.extend(not_named.map(|name| format!("{part} uses no crate {name}")));
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

/// Without this, files grow until no reader knows one of them whole.
#[test]
fn files_are_short() {
    for file in sources() {
        let lines = file.code.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//")).count();
        assert!(lines <= 350, "{} has {lines} lines of code", file.name());
    }
}

/// Without this, functions grow longer than a screen.
#[test]
fn functions_are_short() {
    for file in sources() {
        for (head, lines) in file.blocks("fn ") {
            assert!(lines.len() <= 60, "{}: {head} has {} lines", file.name(), lines.len());
        }
    }
}

/// Without this, structs grow until no file owns their fields. A snapshot is exempt: it owns nothing.
#[test]
fn structs_have_few_fields() {
    for file in sources() {
        for (head, lines) in file.blocks("struct ") {
            let is_field = |line: &&&str| !line.starts_with([' ', '/', '#', ')', '}', '>']);
            let is_public = |line: &&&str| line.starts_with("pub");
            let fields: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("    ")).collect();
            let fields: Vec<&&str> = fields.iter().filter(is_field).collect();
            let public = fields.iter().filter(|line| is_public(line)).count();
            let is_bag = public > 12 && file.name() != "src/metrics/snapshot.rs";
            assert!(!is_bag, "{}: {head} has {public} public fields", file.name());
            let is_loop = head.contains("struct EventLoop");
            assert!(!is_loop || fields.len() <= 12, "{head} has {} fields", fields.len());
        }
    }
}

/// Without this, methods of one type spread over many files, and fields have several writers.
#[test]
fn types_are_in_few_files() {
    let mut files: HashMap<(String, String), HashSet<String>> = HashMap::new();
    for file in sources() {
        for (head, _) in file.blocks("impl") {
            let subject = head.split(" for ").last().unwrap().trim_start_matches("impl");
            let subject = subject.split(['<', ' ', '{']).find(|word| !word.is_empty() && !word.contains(['>', '\'']));
            files.entry((file.part(), subject.unwrap().to_owned())).or_default().insert(file.name());
        }
    }
    assert!(files.len() > 100);
    for ((part, subject), files) in files {
        assert!(files.len() <= 3, "{subject} of {part} has methods in {files:?}");
    }
}

/// Without this, unsafe code comes in.
#[test]
fn nothing_is_unsafe() {
    for root in ["src/lib.rs", "src/main.rs"] {
        let text = fs::read_to_string(root_of_project().join(root)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{root} does not forbid unsafe code");
    }
}

struct Source {
    /// Within src/.
    path: PathBuf,
    /// Its text up to its tests.
    code: String,
}

impl Source {
    /// The part of the tree that the file belongs to.
    fn part(&self) -> String {
        let first = self.path.components().next().unwrap();
        Path::new(&first).file_stem().unwrap().to_str().unwrap().to_owned()
    }

    fn name(&self) -> String {
        format!("src/{}", self.path.display())
    }

    /// Whether the code, comments apart, has `text` where a name may begin.
    fn names(&self, text: &str) -> bool {
        !self.after(text).is_empty()
    }

    /// The items that begin with `keyword`: the first line of each, and its lines with the braces. rustfmt has indented
    /// the closing brace like the first line.
    fn blocks(&self, keyword: &str) -> Vec<(&str, Vec<&str>)> {
        let lines: Vec<&str> = self.code.lines().collect();
        let mut blocks = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let item = line.trim_start();
            let indent = line.get(..line.len() - item.len()).unwrap();
            let words = ["pub(crate) ", "pub(super) ", "pub ", "const "];
            let bare = words.iter().fold(item, |item, word| item.strip_prefix(word).unwrap_or(item));
            if !bare.starts_with(keyword) || item.ends_with(['}', ';']) {
                continue;
            }
            let rest = lines.get(at..).unwrap();
            let ends = |line: &&&str| line.strip_prefix(indent).is_some_and(|line| line == "}" || line.ends_with(");"));
            let len = rest.iter().take_while(|line| !ends(line)).count() + 1;
            blocks.push((item, rest.get(..len.min(rest.len())).unwrap().to_vec()));
        }
        blocks
    }

    /// The parts of this crate that the file names.
    fn used_parts(&self) -> Vec<String> {
        let paths = [self.after("crate::"), self.after("fiscalismia_lb::")].concat();
        paths.into_iter().flat_map(first_names).collect()
    }

    /// What follows each `text` that is not the end of a longer name or path.
    fn after(&self, text: &str) -> Vec<&str> {
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let places = self.code.match_indices(text);
        places
            .filter(|(at, _)| !self.code.get(..*at).unwrap().ends_with(is_name))
            .filter(|(at, _)| !self.code.get(..*at).unwrap().lines().last().is_some_and(|line| line.contains("//")))
            .map(|(at, _)| self.code.get(at + text.len()..).unwrap())
            .collect()
    }
}

/// The first name of a path; of `{a::b, c}` both first names.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.push(name(group.get(start..at).unwrap()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

/// Every file of src/ that is not tests only.
fn sources() -> Vec<Source> {
    let (root, mut folders, mut sources) = (root_of_project().join("src"), Vec::new(), Vec::new());
    folders.push(root.clone());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "tests") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs")
                && path.file_name().is_some_and(|name| name != "tests.rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                sources.push(Source { path: path.strip_prefix(&root).unwrap().to_owned(), code });
            }
        }
    }
    assert!(sources.len() > 5);
    sources
}

/// The crates that Cargo.toml names, as code writes them.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(root_of_project().join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let table = rest.split("\n[").next().unwrap();
    table.lines().filter_map(|line| Some(line.split_once(" =")?.0.replace('-', "_"))).collect()
}

fn root_of_project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Without this, the other tests here miss imports within braces.
#[test]
fn groups_of_names_are_understood() {
    assert_eq!(first_names("policy::time::Time;"), ["policy"]);
    assert_eq!(first_names("{net::{a, b::{c, d}}, wire, policy::x,\n    admin};"), ["net", "wire", "policy", "admin"]);
}

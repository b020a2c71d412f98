//! Sections of a haproxy.cfg, and the `defaults` of each (section 4 of the manual).
use super::lex::{Environment, Line, words};
use super::report::{NO_EQUIVALENT, Report};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Global,
    Defaults,
    Frontend,
    Backend,
    Listen,
    Other,
}

/// A section with its own lines only.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    /// The section's own line.
    pub(super) head: Line,
    pub(super) lines: Vec<Line>,
    /// Index of the `defaults` of this section.
    pub(super) defaults: Option<usize>,
}

impl Section {
    pub(super) fn name(&self) -> &str {
        self.head.word(1)
    }
}

const OTHER: &[(&str, &str)] = &[
    ("resolvers", "host names are not resolved; write addresses under \"servers\""),
    ("peers", "no tables are shared: each process counts its own clients"),
    ("mailers", "no mail is sent; alert on the metrics"),
    ("userlist", "there is one user, for /stats: admin.stats_credentials"),
    ("cache", "HTTP is not read"),
    ("http-errors", "HTTP is not read"),
    ("fcgi-app", "HTTP is not read"),
    ("program", "other programs are not started; write a systemd unit for each"),
    ("ring", "the log goes to standard output"),
    ("log-forward", "log lines of other programs are not forwarded"),
    ("log-profile", "log.format is \"haproxy\" or \"json\""),
    ("crt-store", "TLS is not terminated: certificates stay on the servers"),
    ("traces", NO_EQUIVALENT),
    ("acme", "TLS is not terminated: each server obtains its own certificate"),
];

/// The file's sections in order, or why the file cannot be read.
pub(super) fn sections(
    text: &str,
    environment: &mut Environment,
    report: &mut Report,
) -> Result<Vec<Section>, (usize, String)> {
    let mut sections: Vec<Section> = Vec::new();
    let mut depth = 0;
    for (index, text) in text.lines().enumerate() {
        let number = index + 1;
        let mut unset = Vec::new();
        let words = words(text, environment, &mut unset).map_err(|what| (number, what))?;
        let line = Line { number, words };
        for name in unset {
            report.lost(
                number,
                &format!("${name}"),
                "the variable is not set, so nothing stands in its place; set it and import again",
            );
        }
        if line.words.is_empty() || is_conditional(&line, &mut depth, report) {
            continue;
        }
        if let Some(kind) = kind(line.word(0)) {
            let defaults = defaults_of(kind, &line, &sections)?;
            sections.push(Section { kind, head: line, lines: Vec::new(), defaults });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            return Err((number, format!("{:?} is outside any section; this is not a haproxy.cfg", line.word(0))));
        };
        if !(section.kind == Kind::Global && environment.follow(&line)) {
            section.lines.push(line);
        }
    }
    for section in sections.iter().filter(|section| section.kind == Kind::Other) {
        let why = OTHER.iter().find(|(name, _)| *name == section.head.word(0)).map_or("", |(_, why)| why);
        report.lost_line(&section.head, why);
    }
    Ok(sections)
}

/// Whether to leave the line out: all between `.if` and `.endif`, as only HAProxy itself can evaluate the condition.
fn is_conditional(line: &Line, depth: &mut usize, report: &mut Report) -> bool {
    match line.word(0) {
        ".if" => {
            *depth += 1;
            let why = "the lines up to its .endif are left out; remove .if and .endif around the lines that apply, and import again";
            report.lost_line(line, why);
        }
        ".endif" => *depth = depth.saturating_sub(1),
        word if word.starts_with('.') => {}
        _ => return *depth > 0,
    }
    true
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "global" => Kind::Global,
        "defaults" => Kind::Defaults,
        "frontend" => Kind::Frontend,
        "backend" => Kind::Backend,
        "listen" => Kind::Listen,
        word => OTHER.iter().find(|(name, _)| *name == word).map(|_| Kind::Other)?,
    })
}

/// `from NAME` names the `defaults`; otherwise it is the last one before the section. A `defaults` section inherits only
/// by `from`.
fn defaults_of(kind: Kind, head: &Line, sections: &[Section]) -> Result<Option<usize>, (usize, String)> {
    if kind == Kind::Global || kind == Kind::Other {
        return Ok(None);
    }
    if [Kind::Frontend, Kind::Backend, Kind::Listen].contains(&kind) && head.words.len() < 2 {
        return Err((head.number, format!("{:?} has no name", head.word(0))));
    }
    let from = head.words.iter().position(|word| word == "from").and_then(|at| head.words.get(at + 1));
    let is_it = |section: &Section| section.kind == Kind::Defaults && from.is_none_or(|from| section.name() == from);
    let found = sections.iter().rposition(is_it);
    match (from, kind) {
        (Some(name), _) if found.is_none() => {
            Err((head.number, format!("no \"defaults {name}\" comes before this line")))
        }
        (None, Kind::Defaults) => Ok(None),
        _ => Ok(found),
    }
}

/// The settings of the section at `index`, inherited ones first, its own last. Of two, the later wins; `true` marks its
/// own.
pub(super) fn settings(sections: &[Section], index: usize) -> Vec<(&Line, bool)> {
    let Some(section) = sections.get(index) else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(defaults) = section.defaults {
        lines = settings(sections, defaults);
        for (_, own) in &mut lines {
            *own = false;
        }
    }
    lines.extend(section.lines.iter().map(|line| (line, true)));
    lines
}

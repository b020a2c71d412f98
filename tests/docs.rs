//! README and docs/ against the program and the tree: what a reader pastes works, and every link leads to a file.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests throughout")]

#[path = "e2e/kit/program.rs"]
mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fiscalismia_lb::config::{parse, schema};
use serde_json::{Value, json};

use program::program;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

struct Page {
    /// Within the tree.
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: &str) -> Self {
        Self { path: path.into(), text: fs::read_to_string(Path::new(ROOT).join(path)).unwrap() }
    }

    /// Fenced blocks under their language; indented ones have none.
    fn blocks(&self) -> Vec<(&str, String)> {
        let (mut blocks, mut fence) = (Vec::<(&str, String)>::new(), None);
        let mut was_indented = false;
        for line in self.text.lines() {
            let is_indented = fence.is_none() && line.starts_with("    ");
            if let Some(language) = line.trim_start().strip_prefix("```") {
                fence = fence.is_none().then_some(language);
                blocks.extend(fence.map(|language| (language, String::new())));
            } else if fence.is_some() || is_indented {
                if is_indented && !was_indented {
                    blocks.push(("", String::new()));
                }
                let line = if is_indented { &line[4..] } else { line };
                let block = &mut blocks.last_mut().unwrap().1;
                block.push_str(line);
                block.push('\n');
            }
            // A blank line does not end an indented block.
            was_indented = is_indented || (was_indented && line.is_empty());
        }
        blocks
    }

    /// The text without its fenced and indented blocks.
    fn prose(&self) -> String {
        let mut is_fenced = false;
        let mut is_prose = |line: &&str| {
            let is_fence = line.trim_start().starts_with("```");
            is_fenced ^= is_fence;
            !is_fenced && !is_fence && !line.starts_with("    ")
        };
        self.text.lines().filter(|line| is_prose(line)).fold(String::new(), |prose, line| prose + line + "\n")
    }

    /// What stands between backticks in the prose.
    fn spans(&self) -> Vec<String> {
        self.prose().split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
    }

    fn name(&self) -> std::path::Display<'_> {
        self.path.display()
    }
}

/// README.md and docs/, but for pages that are generated.
fn pages() -> Vec<Page> {
    let mut names: Vec<_> =
        fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let names = names.iter().map(|name| format!("docs/{}", name.to_str().unwrap()));
    let is_written =
        |path: &String| path.strip_suffix(".md").is_some() && path != "docs/options.md" && path != "docs/compare.md";
    ["README.md".to_owned()].into_iter().chain(names.filter(is_written)).map(|path| Page::read(&path)).collect()
}

/// What is no whole file is a part of this one.
fn as_file(snippet: &Value) -> Value {
    let mut file = snippet.clone();
    let keys = file.as_object_mut().unwrap();
    keys.entry("listen").or_insert_with(|| json!(["0.0.0.0:443"]));
    keys.entry("routes").or_insert_with(|| json!({ "web": { "sni": ["*"], "servers": ["10.0.0.2:443"] } }));
    file
}

/// Without this, a file pasted from a page is refused by `check`.
#[test]
fn json_is_what_check_takes() {
    let mut checked = 0;
    for page in pages() {
        for (language, block) in page.blocks() {
            let here =
                block.split_once("<<'END'\n{").map(|(_, rest)| format!("{{{}", rest.split_once("\nEND").unwrap().0));
            let Some(snippet) = here.or_else(|| (language == "json").then_some(block)) else { continue };
            let value =
                serde_json::from_str(&snippet).unwrap_or_else(|error| panic!("{}: {error}: {snippet}", page.name()));
            let result = parse("snippet", &as_file(&value).to_string());
            assert!(result.is_ok(), "{}: {snippet}: {:?}", page.name(), result.err());
            checked += 1;
        }
    }
    assert!(checked > 15, "only {checked} snippets");
}

/// Without this, a sentence shows a `"key": value` that no object of the file takes.
#[test]
fn keys_in_sentences_are_what_check_takes() {
    let mut checked = 0;
    for page in pages() {
        for span in page.spans().iter().filter(|span| span.starts_with('"') && span.contains("\": ")) {
            let part: Value = serde_json::from_str(&format!("{{ {span} }}"))
                .unwrap_or_else(|error| panic!("{}: `{span}`: {error}", page.name()));
            let within = |name: &str| json!({ name: part });
            let mut route = json!({ "sni": ["*"], "servers": ["10.0.0.2:443"] });
            route.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
            let places = [
                part.clone(),
                json!({ "routes": { "web": route } }),
                within("log"),
                within("admin"),
                within("health_check"),
            ];
            let is_good = places.iter().any(|place| parse("sentence", &as_file(place).to_string()).is_ok());
            assert!(is_good, "{}: `{span}` is good in no place", page.name());
            checked += 1;
        }
    }
    assert!(checked > 3, "only {checked} keys");
}

/// The arguments of each call of the program in a line of a shell.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let line = line.split(" #").next().unwrap();
    let words: Vec<_> = line.replace(';', " ; ").split_whitespace().map(str::to_owned).collect();
    let is_program = |word: &str| word == "fiscalismia-lb" || word.ends_with("/fiscalismia-lb");
    let is_end = |word: &str| ["&&", "||", "|", ";", "&", "…"].contains(&word) || word.starts_with(['>', '<']);
    let arguments = |at: usize| -> Vec<String> {
        let rest = words[at + 1..].iter().take_while(|word| !is_end(word));
        rest.map(|word| word.trim_matches(['"', '\'']).to_owned()).collect()
    };
    // An image's entry point is the program.
    let runs_image = line.starts_with("podman run ") || line.starts_with("podman exec ");
    let last = words.iter().rposition(|word| is_program(word));
    let begins = |at: usize| at == 0 || ["&&", "||", "|", ";", "do", "then", "if", "!"].contains(&&*words[at - 1]);
    let places =
        (0..words.len()).filter(|&at| is_program(&words[at]) && (begins(at) || (runs_image && Some(at) == last)));
    places.map(arguments).filter(|arguments| !arguments.is_empty()).collect()
}

/// The lines of a block that a reader types, and of those that the page shows as refused, the words. Where some have a
/// prompt, the others are what is answered.
fn typed(block: &str) -> Vec<(String, Option<String>)> {
    let lines: Vec<_> = block.lines().collect();
    let has_prompts = lines.iter().any(|line| line.starts_with("$ "));
    let is_typed = |at: &usize| !has_prompts || lines[*at].starts_with("$ ");
    let refusal = |at: usize| lines.get(at + 1).filter(|line| line.starts_with("error: ")).map(|&line| line.to_owned());
    (0..lines.len()).filter(is_typed).map(|at| (lines[at].to_owned(), refusal(at))).collect()
}

/// Without this, a page shows a command, flag or value that the program does not have.
#[test]
fn commands_are_the_programs_own() {
    let mut tried = 0;
    for page in pages() {
        let blocks = page.blocks();
        let shell = blocks.iter().filter(|(language, _)| ["", "sh", "console"].contains(language));
        let lines = shell.flat_map(|(_, block)| typed(&block.replace("\\\n", " ")));
        let spans = page.spans().into_iter().map(|span| (span, None));
        let calls = lines
            .chain(spans)
            .flat_map(|(line, refusal)| calls(&line).into_iter().map(move |call| (call, refusal.clone())));
        for (arguments, refusal) in calls {
            // `--help` answers before anything is done, and after what stands before it has been taken.
            let output = Command::new(program()).args(&arguments).arg("--help").output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            let is_as_told = refusal.map_or(output.status.success(), |refusal| said.starts_with(&refusal));
            assert!(is_as_told, "{}: fiscalismia-lb {}: {said}", page.name(), arguments.join(" "));
            tried += 1;
        }
    }
    assert!(tried > 30, "only {tried} commands");
}

/// Without this, a new user sees other output than the README shows.
#[test]
fn quick_start_prints_what_the_readme_says() {
    let readme = Page::read("README.md");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("quick-start");
    fs::create_dir_all(&folder).unwrap();
    let (_, file) = readme.text.split_once("`lb.json`:\n\n```json\n").unwrap();
    fs::write(folder.join("lb.json"), file.split_once("```").unwrap().0).unwrap();
    let mut compared = 0;
    for (_, block) in readme.blocks() {
        for session in format!("\n{block}").split("\n$ ").skip(1) {
            let (line, expected) = session.split_once('\n').unwrap_or((session, ""));
            let Some(arguments) = line
                .strip_prefix("fiscalismia-lb ")
                .filter(|rest| rest.starts_with("check") || rest.starts_with("route"))
            else {
                continue;
            };
            let output =
                Command::new(program()).args(arguments.split_whitespace()).current_dir(&folder).output().unwrap();
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(said.trim_end(), expected.trim_end(), "$ {line}");
            compared += 1;
        }
    }
    assert!(compared >= 2, "only {compared} outputs");
}

/// What the schema has at a path as people write it, like `routes.web.balance`.
fn key(path: &str) -> Option<Value> {
    path.trim_end_matches("[]").split('.').try_fold(schema(), |object, name| {
        let object = if object["items"]["anyOf"].is_array() { object["items"]["anyOf"][1].clone() } else { object };
        let found =
            object["properties"].get(name).or_else(|| object.get("additionalProperties").filter(|any| any.is_object()));
        found.cloned()
    })
}

/// A default as prose has it: without quotes, seconds apart from their unit, thousands with a comma.
fn as_prose(default: &Value) -> String {
    let text = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
    match text.strip_suffix('s').and_then(|seconds| seconds.parse::<u32>().ok()) {
        Some(seconds) => format!("{seconds} s"),
        None if text.len() == 4 && text.parse::<u32>().is_ok() => format!("{},{}", &text[..1], &text[1..]),
        None => text,
    }
}

/// Without this, a sentence names a default that has changed. docs/configuration.md's tables have their own test.
#[test]
fn defaults_are_those_of_the_code() {
    let mut compared = 0;
    let default_of = |page: &Page, path: &str| {
        let key = key(path).unwrap_or_else(|| panic!("{}: no key is called {path}", page.name()));
        key["default"].clone()
    };
    for page in pages() {
        // `key` "value" (default), and `key` (30 s unless set)
        let prose = page.prose().replace('\n', " ");
        for (at, _) in prose.match_indices(" (default)") {
            let (before, said) = prose[..at].rsplit_once('`').unwrap();
            let path = before.rsplit_once('`').unwrap().1;
            if said.is_empty() {
                assert!(key(path).is_some(), "{}: no key is called {path}", page.name());
            } else {
                assert_eq!(said.trim(), default_of(&page, path).to_string(), "{}: {path}", page.name());
            }
            compared += 1;
        }
        for (at, _) in prose.match_indices(" unless set)") {
            let (before, said) = prose[..at].rsplit_once("` (").unwrap();
            let path = before.rsplit_once('`').unwrap().1;
            assert_eq!(said, as_prose(&default_of(&page, path)), "{}: {path}", page.name());
            compared += 1;
        }
    }
    // Where a sentence has to be read to know which key it means.
    for (page, before, path, after) in [
        ("README.md", "probes every ", "health_check.interval", ""),
        ("docs/how-cheap.md", "at the default of ", "limits.connections", " connections"),
    ] {
        let page = Page::read(page);
        let sentence = format!("{before}{}{after}", as_prose(&default_of(&page, path)));
        assert!(page.text.contains(&sentence), "{}: does not say: {sentence}", page.name());
        compared += 1;
    }
    assert!(compared > 12, "only {compared} defaults");
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Without this, a link in a page leads nowhere.
#[test]
fn links_lead_somewhere() {
    let tops = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(Page::read);
    let mut followed = 0;
    for page in pages().into_iter().chain(tops) {
        for link in page.prose().split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned()) {
            if link.contains(':') {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.path.clone(),
                path => page.path.parent().unwrap().join(path),
            };
            assert!(Path::new(ROOT).join(&target).exists(), "{}: {link} is not there", page.name());
            if !heading.is_empty() {
                let target = Page::read(target.to_str().unwrap());
                let prose = target.prose();
                let mut headings =
                    prose.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#'));
                assert!(headings.any(|line| anchor(line) == heading), "{}: {link} is no heading", page.name());
            }
            followed += 1;
        }
    }
    assert!(followed > 50, "only {followed} links");
}

/// Without this, a page names a file, such as `nixos/render`, that does not exist.
#[test]
fn named_files_are_there() {
    let mut found = 0;
    let folders =
        ["benches/", "docs/", "examples/", "fuzz/", "grafana/", "nixos/", "src/", "tests/", "vm-tests/", ".github/"];
    for page in pages() {
        for span in page.spans() {
            let path = span.split(' ').next().unwrap();
            if folders.iter().any(|folder| path.starts_with(folder)) && !path.contains(['*', '…', '<']) {
                assert!(Path::new(ROOT).join(path).exists(), "{}: {path} is not there", page.name());
                found += 1;
            }
        }
    }
    assert!(found > 20, "only {found} files");
}

/// Without this, a page names another version of the program or the compiler than the manifest.
#[test]
fn versions_are_those_of_the_manifest() {
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let version = env!("CARGO_PKG_VERSION");
    let changes = fs::read_to_string(Path::new(ROOT).join("CHANGELOG.md")).unwrap();
    assert!(changes.contains(&format!("\n## {version} - 20")), "CHANGELOG.md has no section for {version}");
    let mut named = 0;
    let samples = ["examples/fiscalismia-lb.container"].map(Page::read);
    for page in pages().into_iter().chain(samples) {
        for (name, expected) in [("fiscalismia-lb:", version), ("fiscalismia-lb-v", version), ("Rust ", rust)] {
            for rest in page.text.split(name).skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                let said: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
                assert_eq!(said.trim_end_matches('.'), expected, "{}: {name}", page.name());
                named += 1;
            }
        }
    }
    assert!(named > 3, "only {named} versions");
}

//! `/stats` as a browser shows it.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{PASSWORD, USER, get, json as stats, start};
use crate::kit::client::End;
use crate::kit::namespace::skip;
use crate::kit::origin::Origin;
use crate::kit::places::{Folder, free_address};
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;

/// What a phone, and a desktop, show across.
const WIDTHS: [u32; 3] = [390, 900, 1400];

/// Tells the page around it what the page shows: its words, and how it is laid out.
const WITNESS: &str = r"<script>
const text = (element) => element.innerText.replace(/\s+/g, ' ').trim();
const row = (tr) => ({
    route: tr.parentNode.dataset.route, server: tr.dataset.server || null, name: text(tr.querySelector('th')),
    colour: getComputedStyle(tr.querySelector('.state')).color,
    cells: Object.fromEntries([...tr.querySelectorAll('td')].map((td) => [td.dataset.of, text(td)])),
    hidden: [...tr.children].filter((cell) => cell.offsetParent === null).length,
});
const bars = (section) => Object.fromEntries([...document.querySelectorAll(section + ' .bars > div')]
    .map((bar) => [bar.title, { words: text(bar.querySelector('dt')), count: text(bar.querySelector('b')) }]));
parent.postMessage(JSON.stringify({
    title: document.title, mood: text(document.getElementById('mood')), words: text(document.body),
    tiles: Object.fromEntries([...document.querySelectorAll('.tile')].map((tile) => [text(tile.querySelector('h2')), text(tile.querySelector('.figure'))])),
    rows: [...document.querySelectorAll('tbody tr')].map(row), drops: bars('.drops'), ends: bars('.ends'),
    lines: [...document.querySelectorAll('path.line')].map((path) => path.getBoundingClientRect().width),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth, width: innerWidth,
    background: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
}), '*');
</script>";

/// Without this, the page shows other figures than `/stats.json`, on a phone or a desktop, in a light or dark scheme.
#[test]
fn chromium_shows_what_json_says() {
    let Some(chromium) = Chromium::find() else { return skip("the page in Chromium", "there is no chromium") };
    let (proxy, admin, _origins) = busy();
    let json = stats(admin);
    let page = get(admin, "/stats").body;
    for width in WIDTHS {
        let [light, dark] = ["light", "dark"].map(|scheme| chromium.look(&page, width, scheme));
        for shown in [&light, &dark] {
            assert_eq!(shown["width"], width);
            assert_eq!(shown["overflow"], 0, "at {width} the page is wider than its window");
            check_rows(shown, &json);
            check_figures(shown, &json);
        }
        assert!(brightness(&light["background"]) > 200 && brightness(&light["ink"]) < 80, "{}", light["background"]);
        assert!(brightness(&dark["background"]) < 60 && brightness(&dark["ink"]) > 180, "{}", dark["background"]);
    }
    // And once as a person would: by its address, with a password, from the proxy itself.
    let dom = chromium.dump(&format!("http://{USER}:{}@{admin}/stats", "Schl%C3%BCssel:42"), 1360, "light");
    for name in ["data-route=\"main\"", "data-server=\"second\"", "data-route=\"dead\"", "</footer>"] {
        assert!(dom.contains(name), "no {name} in {dom}");
    }
    assert!(!dom.contains(PASSWORD));
    drop(proxy);
}

/// Without this, the page loads something from another host, which then learns of each visit.
#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let (_proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let answer = get(admin, "/stats");
    assert!(answer.field("Content-Security-Policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    let refresh = answer.field("Refresh").map(str::to_owned);
    let page = answer.body;
    assert!(!page.contains("<script") && !page.contains("@import") && !page.contains(" src="), "{page}");
    let links: Vec<&str> = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let local = ["/stats.json", "/stats;csv", "/stats;norefresh", "/metrics"];
    let is_local = |link: &&str| local.contains(link) || link.starts_with("data:") || link.starts_with('#');
    assert!(links.iter().all(is_local), "{links:?}");
    assert_eq!(refresh.as_deref(), Some("10"));
}

/// Without this, the page of a large installation is half a megabyte every ten seconds, and failures are far down.
#[test]
fn many_healthy_routes_are_a_line_each() {
    let origin = Origin::echo("here");
    let servers = json!([{ "name": "one", "address": origin.address }, { "name": "two", "address": origin.address }]);
    let mut routes: serde_json::Map<String, Value> = (0..199)
        .map(|i| (format!("route-{i:03}"), json!({ "sni": [format!("name-{i:03}.example.com")], "servers": servers })))
        .collect();
    routes.insert(
        "dead".into(),
        json!({ "sni": ["dead.test"], "servers": [{ "name": "gone", "address": free_address() }] }),
    );
    let (_proxy, admin) = start(json!({ "health_check": { "interval": "1s", "fall": 1 }, "routes": routes }));
    wait_until("the dead one is down", || stats(admin)["changes"][0]["server"] == "gone");
    let page = get(admin, "/stats").body;
    assert!(page.len() < 60_000, "{} bytes", page.len());
    assert!(page.contains("199 routes with all servers up") && page.contains("<details>"));
    assert!(page.contains("href=\"#dead/gone\"") && page.contains("id=\"dead/gone\""));
    assert!(page.contains("name-198.example.com"), "a folded route has its names");
    // And where much is down, what is first is shown in full, and the rest in a line.
    let dead = free_address();
    for route in routes.values_mut().step_by(6) {
        route["servers"] = json!([{ "name": "one", "address": origin.address }, { "name": "gone", "address": dead }]);
    }
    let (_proxy, admin) = start(json!({ "health_check": { "interval": "1s", "fall": 1 }, "routes": routes }));
    let is_down = |route: &Value| route["servers"].as_array().unwrap().iter().any(|server| server["state"] == "DOWN");
    wait_until("34 are down", || {
        stats(admin)["routes"].as_array().unwrap().iter().filter(|route| is_down(route)).count() >= 34
    });
    let page = get(admin, "/stats").body;
    assert!(page.len() < 60_000, "{} bytes", page.len());
    assert!(page.contains("195 more routes, 29 of them without all servers up"), "{page}");
    assert!(page.contains("id=\"route-197/gone\""), "a route in a line says what is down");
    let few = json!({ "r": { "sni": ["*"], "servers": servers } });
    let (_proxy, admin) = start(json!({ "routes": few }));
    assert!(!get(admin, "/stats").body.contains("<details>"));
}

/// A proxy with something of everything to show.
fn busy() -> (Proxy, SocketAddr, [Origin; 2]) {
    let origins = [Origin::echo("here"), Origin::echo("there")];
    let [first, second] = &origins;
    let (proxy, admin) = start(json!({
        "reject": "close",
        "health_check": { "interval": "10s" },
        "redirect": { "listen": [free_address()] },
        "routes": {
            "main": { "sni": ["main.test"], "servers": [
                first.server_with(json!({ "name": "first", "weight": 3 })), second.server_with(json!({ "name": "second" })),
                { "name": "drained", "address": second.address, "weight": 0 },
                { "name": "spare", "address": second.address, "backup": true }] },
            "dead": { "sni": ["dead.test"], "servers": [free_address()] } } }));
    for _ in 0..12 {
        let mut client = proxy.connect();
        client.hello("main.test").send(&[7; 5000]);
        client.greeting();
        client.finish();
        assert_eq!(client.end(), End::Fin);
    }
    for name in ["unknown.test", "dead.test", "unknown.test"] {
        let mut client = proxy.connect();
        client.hello(name);
        assert_ne!(client.end(), End::Silence);
    }
    let is_probed = |server: &Value| !server["check"]["took"].is_null();
    wait_until("every server is probed, and nobody is connected", || {
        let now = stats(admin);
        let routes = now["routes"].as_array().unwrap();
        let mut servers = routes.iter().flat_map(|route| route["servers"].as_array().unwrap());
        servers.all(is_probed) && now["connections"] == 0
    });
    // Rates are those of the last second: all of them 0 then, until the next probe. The history has its steps by then.
    thread::sleep(Duration::from_millis(2100));
    wait_until("there is some history", || stats(admin)["history"]["steps"].as_array().unwrap().len() > 1);
    (proxy, admin, origins)
}

/// Routes and servers: names, states, figures.
fn check_rows(shown: &Value, json: &Value) {
    let mut rows = shown["rows"].as_array().unwrap().iter();
    for route in json["routes"].as_array().unwrap() {
        let servers = route["servers"].as_array().unwrap();
        let row = rows.next().unwrap();
        assert_eq!((&row["route"], &row["server"]), (&route["name"], &Value::Null));
        let is_single_on_a_phone = servers.len() == 1 && shown["width"] != WIDTHS[2];
        check_row(row, route, is_single_on_a_phone);
        for server in servers {
            let row = rows.next().unwrap();
            assert_eq!((&row["route"], &row["server"]), (&route["name"], &server["name"]));
            check_row(row, server, false);
            assert_eq!(digits(&row["cells"]["Weight"]), server["weight"].to_string());
            let check = &server["check"];
            let probe = row["cells"]["Last probe"].as_str().unwrap();
            assert!(probe.starts_with(check["description"].as_str().unwrap()), "{probe}");
            assert!(probe.contains(check["info"].as_str().unwrap_or_default()), "{probe}");
            assert_eq!(row["name"].as_str().unwrap().contains("backup"), server["backup"] == true);
        }
    }
    assert!(rows.next().is_none());
}

fn check_row(row: &Value, place: &Value, is_reduced: bool) {
    let state = row["cells"]["State"].as_str().unwrap();
    let word = place["state"].as_str().unwrap();
    assert!(state.contains(word), "{state} for {word}");
    let [red, green, _] = rgb(&row["colour"]);
    assert_eq!(red > green, word != "UP" || state.contains('/'), "{state} in {}", row["colour"]);
    if is_reduced {
        return;
    }
    assert_eq!(row["hidden"], 0, "{row}");
    for (column, value) in [
        ("Now", &place["sessions"]["now"]),
        ("Peak", &place["sessions"]["peak"]),
        ("Total", &place["sessions"]["total"]),
        ("A second", &place["rate"]),
    ] {
        assert_eq!(digits(&row["cells"][column]), value.to_string(), "{column} of {row}");
    }
    let bytes = row["cells"]["Bytes"].as_str().unwrap();
    let figures = bytes.split(['\u{2191}', '\u{2193}']).skip(1).map(str::trim);
    for (figure, side) in figures.zip(["up", "down"]) {
        let (shown, exact) = (size(figure), place["bytes"][side].as_f64().unwrap());
        assert!((shown - exact).abs() <= exact * 0.006, "{figure} for {exact} bytes");
    }
    let connect = row["cells"]["Connect"].as_str().unwrap();
    assert_eq!(connect == "\u{2013}", place["connect_time"]["average"].is_null(), "{connect}");
}

/// Tiles, bars and charts.
fn check_figures(shown: &Value, json: &Value) {
    assert_eq!(shown["mood"], "1 route without a server");
    assert!(shown["title"].as_str().unwrap().starts_with("1 route without a server"));
    assert_eq!((&shown["tiles"]["Connections"], &shown["tiles"]["Servers up"]), (&json!("0"), &json!("3 of 5")));
    let drops = json["drops"].as_object().unwrap();
    assert_eq!(drops["unknown_sni"], 2);
    for (section, counts) in [("drops", drops), ("ends", json["closes"].as_object().unwrap())] {
        let bars = shown[section].as_object().unwrap();
        for (reason, count) in counts.iter().filter(|(reason, _)| *reason != "answered") {
            assert_eq!(digits(&bars[reason]["count"]), count.to_string(), "{reason}");
            assert!(bars[reason]["words"].as_str().unwrap().len() > 4);
        }
    }
    assert_eq!(digits(&shown["tiles"]["Dropped"]), "2");
    let lines = shown["lines"].as_array().unwrap();
    assert!(lines.len() == 4 && lines.iter().all(|width| width.as_f64() > Some(0.0)), "{lines:?}");
    let words = shown["words"].as_str().unwrap();
    for expected in ["dead/", "is down for", "Connection refused", "https_ingress", "http_ingress", "1 h ago"] {
        assert!(words.contains(expected), "no {expected:?} in {words}");
    }
}

/// A figure without what makes it easy to read.
fn digits(figure: &Value) -> String {
    figure.as_str().unwrap().chars().filter(char::is_ascii_digit).collect()
}

/// `12.3 kB` in bytes.
fn size(figure: &str) -> f64 {
    let (number, unit) = figure.split_once(' ').unwrap_or_else(|| panic!("{figure:?}"));
    let factors = HashMap::from([("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)]);
    number.parse::<f64>().unwrap() * factors[unit]
}

fn rgb(colour: &Value) -> [u32; 3] {
    let numbers = colour.as_str().unwrap().trim_start_matches("rgb(").trim_end_matches(')').split(", ");
    numbers.map(|number| number.parse().unwrap()).collect::<Vec<u32>>().try_into().unwrap()
}

fn brightness(colour: &Value) -> u32 {
    rgb(colour).iter().sum::<u32>() / 3
}

/// A browser without a window.
struct Chromium {
    folder: Folder,
}

impl Chromium {
    fn find() -> Option<Chromium> {
        let version = Command::new("chromium").arg("--version").output().ok()?;
        version.status.success().then(|| Chromium { folder: Folder::new() })
    }

    /// What a page of so many pixels across shows, by [`WITNESS`]. The window cannot be as narrow as a phone; a frame can.
    fn look(&self, page: &str, width: u32, scheme: &str) -> Value {
        self.folder.write("page.html", &page.replace("</body>", &format!("{WITNESS}</body>")));
        let frame = format!(
            "<!doctype html><body><iframe src=\"page.html\" width={width} height=4000 style=\"border:0\"></iframe><pre id=said></pre>\
             <script>onmessage = (event) => {{ document.getElementById('said').textContent = event.data + '\u{4}' }}</script>"
        );
        let frame = self.folder.write("frame.html", &frame);
        let dom = self.dump(&format!("file://{}", frame.display()), 1500, scheme);
        let said = dom.split("<pre id=\"said\">").nth(1).and_then(|rest| rest.split('\u{4}').next());
        let said = said.unwrap_or_else(|| panic!("the page said nothing: {dom}"));
        serde_json::from_str(
            &said.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("&nbsp;", " "),
        )
        .unwrap()
    }

    /// The document that a URL becomes, once it has settled.
    fn dump(&self, url: &str, width: u32, scheme: &str) -> String {
        let profile = self.folder.path().join("profile");
        let output = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--disable-quic",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--window-size={width},2000"))
            .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(scheme == "light")))
            .args(["--virtual-time-budget=3000", "--dump-dom", url])
            .output()
            .unwrap();
        clear(&profile);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Each run begins with a profile of its own.
fn clear(profile: &Path) {
    drop(std::fs::remove_dir_all(profile));
}

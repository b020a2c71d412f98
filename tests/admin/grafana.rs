//! The project's dashboard and alerts, against a real Prometheus.
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{ask, get, start};
use crate::kit::client::End;
use crate::kit::namespace::skip;
use crate::kit::origin::Origin;
use crate::kit::places::{Folder, free_address};
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;
use crate::prometheus::Exposition;

/// A metric that was renamed leaves a panel blank, or an alert that never fires.
#[test]
fn every_name_in_dashboard_and_alerts_exists() {
    let (_proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let metrics = Exposition::parse(&get(admin, "/metrics").body);
    for file in ["dashboard.json", "alerts.yml", "alerts.test.yml"] {
        let names = names(&fs::read_to_string(grafana(file)).unwrap());
        assert!(names.len() > 10, "{file}: {names:?}");
        for name in names {
            let of_histogram = ["_bucket", "_sum"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
            let family = of_histogram.filter(|name| metrics.kinds.contains_key(*name)).unwrap_or(&name);
            assert!(metrics.kinds.contains_key(family), "{file}: there is no {name}");
        }
    }
}

/// Without this, a rule that cannot be read keeps Prometheus from starting, and one that is wrong never fires.
#[test]
fn promtool_accepts_the_alerts() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(grafana("")).output();
        let Ok(output) = output else { return skip("promtool on the alerts", "there is no promtool") };
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(output.status.success() && !said.contains("FAILED"), "{said}");
    }
}

/// Without this, a query of the dashboard brings no data, or a rule of the alerts is never evaluated.
#[test]
fn a_real_prometheus_answers_the_dashboards_queries() {
    let origin = Origin::echo("here");
    let unknown_to_prometheus = free_address();
    let (proxy, admin) = start(json!({
        "retries": 1,
        "health_check": { "interval": "500ms" },
        "limits": { "per_source": { "rate": 1_000_000 } },
        "redirect": { "listen": [free_address()] },
        "routes": { "good": { "sni": ["good.test"], "servers": [origin.server(), { "address": unknown_to_prometheus, "weight": 0 }] },
                    "bad": { "sni": ["bad.test"], "servers": [free_address()], "timeouts": { "connect": "50ms" } } } }));
    let Some(prometheus) = Prometheus::start(admin) else {
        return skip("a real Prometheus", "there is no prometheus");
    };
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(grafana("dashboard.json")).unwrap()).unwrap();
    let queries: Vec<String> = queries(&dashboard);
    assert!(queries.len() > 40, "{} queries", queries.len());
    let mut without: BTreeSet<&String> = queries.iter().collect();
    wait_until("every query of the dashboard brings data", || {
        traffic(&proxy);
        without.retain(|query| !prometheus.has_data(query));
        if without.len() < 5 {
            println!("still without data: {without:?}");
        }
        without.is_empty()
    });
    wait_until("every rule was evaluated", || {
        let rules = prometheus.ask("rules", &[]);
        let rules = rules["data"]["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        rules.len() > 10 && rules.iter().all(|rule| rule["health"] == "ok")
    });
    let targets = prometheus.ask("targets", &[]);
    assert_eq!(targets["data"]["activeTargets"][0]["health"], "up", "{targets}");
}

/// A connection that ends well, and one for each thing that a panel shows of those that do not.
fn traffic(proxy: &Proxy) {
    for _ in 0..5 {
        let mut client = proxy.connect();
        client.hello("good.test");
        assert_eq!(client.greeting(), "here");
        client.finish();
        assert_eq!(client.end(), End::Fin);
    }
    for name in ["bad.test", "unknown.test"] {
        let mut client = proxy.connect();
        client.hello(name);
        client.end_within(Duration::from_millis(20));
    }
    sleep(Duration::from_millis(200));
}

fn grafana(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana").join(file)
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_of_name(c));
    let ours = ["haproxy_process_", "haproxy_frontend_", "haproxy_backend_", "haproxy_server_", "fiscalismia_lb_"];
    words.filter(|word| ours.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned).collect()
}

/// The panels, those of folded rows too.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let shown = dashboard["panels"].as_array().unwrap().iter();
    shown.flat_map(|panel| std::iter::once(panel).chain(panel["panels"].as_array().into_iter().flatten())).collect()
}

/// Without this, panels overlap, or Grafana shows a folded row as open and empty.
#[test]
fn the_dashboards_panels_have_places() {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(grafana("dashboard.json")).unwrap()).unwrap();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let mut folded = 0;
    for row in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] == "row") {
        assert_eq!(row["collapsed"] == true, row["panels"] != json!([]), "{}", row["title"]);
        folded += usize::from(row["collapsed"] == true);
    }
    assert_eq!(folded, 2);
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have the id {}", panel["id"]);
    }
    for panel in dashboard["panels"].as_array().unwrap() {
        let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        let [left, top, width, height] = place;
        assert!(left + width <= 24, "{} is beyond the edge", panel["title"]);
        let mut cells = (left..left + width).flat_map(|x| (top..top + height).map(move |y| (x, y)));
        assert!(cells.all(|cell| taken.insert(cell)), "{} overlaps", panel["title"]);
    }
}

/// Without this, a server whose state the dashboard does not know shows as DOWN.
#[test]
fn the_dashboard_has_every_state_of_a_server() {
    let (_proxy, admin) = start(json!({ "routes": { "r": { "sni": ["*"], "servers": [free_address()] } } }));
    let metrics = get(admin, "/metrics").body;
    let states: BTreeSet<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("haproxy_server_status{"))
        .map(|line| line.split_once("state=\"").unwrap().1.split('"').next().unwrap())
        .collect();
    assert!(states.contains("MAINT"), "{states:?}");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(grafana("dashboard.json")).unwrap()).unwrap();
    let panel = panels(&dashboard).into_iter().find(|panel| panel["title"] == "State of servers").unwrap();
    let texts = panel["fieldConfig"]["defaults"]["mappings"][0]["options"].as_object().unwrap();
    let query = panel["targets"][0]["expr"].as_str().unwrap();
    for state in states {
        let shown = texts.iter().find(|(_, text)| text["text"] == state);
        // The query's value is the factor of the state that is 1, and 0 for the one that it does not ask for.
        let asked = format!("haproxy_server_status{{instance=~\"$instance\",proxy=~\"$route\",state=\"{state}\"}}");
        let factor = query.split_once(&asked).map(|(before, _)| before.strip_suffix(" * ").map_or("1", last_word));
        assert_eq!(shown.map(|(value, _)| value.as_str()), Some(factor.unwrap_or("0")), "{state}");
    }
}

fn last_word(text: &str) -> &str {
    text.rsplit([' ', '(']).next().unwrap_or_default()
}

/// The queries of all panels, of variables and annotations, as Grafana would send them.
fn queries(dashboard: &Value) -> Vec<String> {
    let targets = panels(dashboard).into_iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut queries: Vec<String> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    // An annotation is of what seldom happens: here, that it could.
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    queries.extend(annotations.map(|annotation| annotation["expr"].as_str().unwrap().replace(" > 0", " >= 0")));
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            let metric = query.strip_prefix("label_values(").unwrap().split(',').next().unwrap();
            queries.push(metric.to_owned());
        }
    }
    let fill = |query: String| {
        let query = query.replace("$__rate_interval", "30s").replace("$__range", "30s");
        query.replace("$instance", ".*").replace("$route", ".*")
    };
    let queries: Vec<String> = queries.into_iter().map(fill).collect();
    assert!(queries.iter().all(|query| !query.contains('$')), "a variable that nobody fills");
    queries
}

/// A Prometheus with an empty memory that scrapes a proxy every second.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: Folder,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Option<Prometheus> {
        let (folder, address) = (Folder::new(), free_address());
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: [ {} ]\n\
             scrape_configs: [ {{ job_name: haproxy-loadbalancer, static_configs: [ {{ targets: [ \"{target}\" ] }} ] }} ]\n",
            grafana("alerts.yml").display()
        );
        let file = folder.write("prometheus.yml", &config);
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let prometheus = Prometheus { process, address, _folder: folder };
        wait_until("Prometheus answers", || TcpStream::connect(prometheus.address).is_ok());
        wait_until("Prometheus has scraped", || prometheus.has_data("fiscalismia_lb_build_info"));
        Some(prometheus)
    }

    /// Whether a query brings a value that exists.
    fn has_data(&self, query: &str) -> bool {
        let answer = self.ask("query", &[("query", query)]);
        assert_ne!(answer["status"], "error", "{query}: {answer}");
        let results = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        results.iter().any(|result| result["value"][1] != "NaN")
    }

    /// Asks Prometheus' HTTP API.
    fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Value {
        let encode = |text: &str| text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
        let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let path = format!("/api/v1/{what}?{}", query.join("&"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: prometheus\r\nConnection: close\r\n\r\n");
        serde_json::from_str(&ask(self.address, &request).body).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

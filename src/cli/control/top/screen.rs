//! `top` on a terminal, with keys.
use std::cmp::Reverse;
use std::io;
use std::time::Instant;

use fiscalismia_lb::config::plain;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Paragraph, Row, Table, TableState};
use ratatui::{DefaultTerminal, Frame};
use serde_json::Value;

use super::{COLUMNS, Entry, PACE, Socket, group, head, routes, row};
use crate::cli::Outcome;

/// Lines that a page key scrolls by.
const PAGE: usize = 20;

/// Shows `stats` and later ones until the operator ends it. Restores the terminal.
pub(super) fn follow(socket: &Socket, stats: Value) -> Outcome {
    let failed = |error: io::Error| vec![format!("cannot use the terminal: {}", plain(&error))];
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let ended = Screen::new(stats).follow(&mut terminal, socket);
    ratatui::try_restore().and(ended).map_err(failed)
}

/// The order of routes, and of servers within each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    File,
    Open,
    Rate,
    Errors,
}

impl Order {
    fn next(self) -> Order {
        match self {
            Order::File => Order::Open,
            Order::Open => Order::Rate,
            Order::Rate => Order::Errors,
            Order::Errors => Order::File,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Order::File => "as in the file",
            Order::Open => "by open",
            Order::Rate => "by per second",
            Order::Errors => "by errors",
        }
    }

    /// The greatest first; what is equal stays as in the file.
    fn key(self, entry: &Entry) -> Reverse<u64> {
        Reverse(match self {
            Order::File => 0,
            Order::Open => entry.open,
            Order::Rate => entry.rate,
            Order::Errors => entry.errors,
        })
    }

    fn sort(self, groups: &mut [Vec<Entry>]) {
        for group in groups.iter_mut() {
            if let [_, servers @ ..] = &mut group[..] {
                servers.sort_by_key(|server| self.key(server));
            }
        }
        groups.sort_by_key(|group| group.first().map(|route| self.key(route)));
    }
}

struct Screen {
    stats: Value,
    /// Why there is no newer picture.
    trouble: Option<String>,
    order: Order,
    is_paused: bool,
    /// The first line of the table that is shown.
    first: usize,
}

impl Screen {
    fn new(stats: Value) -> Screen {
        Screen { stats, trouble: None, order: Order::default(), is_paused: false, first: 0 }
    }

    fn follow(&mut self, terminal: &mut DefaultTerminal, socket: &Socket) -> io::Result<()> {
        let mut next = Instant::now() + PACE;
        loop {
            terminal.draw(|frame| self.draw(frame))?;
            // A pause ends with a key.
            let left = if self.is_paused { PACE } else { next.saturating_duration_since(Instant::now()) };
            if event::poll(left)? {
                if let Event::Key(key) = event::read()?
                    && self.ends_with(key)
                {
                    return Ok(());
                }
            } else if !self.is_paused {
                self.ask(socket);
                next = Instant::now() + PACE;
            }
        }
    }

    /// A process that starts anew is waited for, and the last picture stays.
    fn ask(&mut self, socket: &Socket) {
        match socket.json("GET", "/stats.json") {
            Ok(stats) => (self.stats, self.trouble) = (stats, None),
            Err(why) => self.trouble = Some(why.join("; ")),
        }
    }

    /// Handles a key. Answers whether it ends the command.
    fn ends_with(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return false;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            // In raw mode it is no signal.
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Down | KeyCode::Char('j') => self.first += 1,
            KeyCode::Up | KeyCode::Char('k') => self.first = self.first.saturating_sub(1),
            KeyCode::PageDown => self.first += PAGE,
            KeyCode::PageUp => self.first = self.first.saturating_sub(PAGE),
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = usize::MAX,
            _ => {}
        }
        false
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let parts = Layout::vertical([Constraint::Length(4), Constraint::Fill(1), Constraint::Length(1)]);
        let [above, middle, below] = parts.areas(frame.area());
        frame.render_widget(Paragraph::new(head(&self.stats).map(Line::from).to_vec()), above);
        let mut groups: Vec<Vec<Entry>> = routes(&self.stats).map(group).collect();
        self.order.sort(&mut groups);
        let lines: Vec<Row<'_>> = groups.iter().flatten().map(line).collect();
        // The head of the table takes a line.
        let room = usize::from(middle.height.saturating_sub(1));
        self.first = self.first.min(lines.len().saturating_sub(room));
        let columns = [16, 6, 8, 10, 10, 11, 11, 8];
        let widths = columns.iter().enumerate().map(|(column, &width)| match column {
            0 => Constraint::Min(width),
            _ => Constraint::Length(width),
        });
        let titles = Row::new(COLUMNS.iter().enumerate().map(|(column, title)| cell(column, (*title).to_owned())));
        let table = Table::new(lines, widths).header(titles.bold()).column_spacing(1);
        let mut place = TableState::new().with_offset(self.first);
        frame.render_stateful_widget(table, middle, &mut place);
        frame.render_widget(self.foot(), below);
    }

    fn foot(&self) -> Line<'static> {
        if let Some(trouble) = &self.trouble {
            return Line::from(trouble.clone()).style(Style::new().fg(Color::Red));
        }
        let pause = if self.is_paused { "p goes on, paused" } else { "p pauses" };
        Line::from(format!("q ends · s sorts, {} · {pause} · arrow keys scroll", self.order.words())).dim()
    }
}

fn line(entry: &Entry) -> Row<'static> {
    let cells = row(entry).into_iter().enumerate().map(|(column, text)| cell(column, text));
    let line = Row::new(cells);
    match entry.state.as_str() {
        "UP" => line,
        "DOWN" => line.red(),
        _ => line.yellow(),
    }
}

/// Numbers are aligned.
fn cell(column: usize, text: String) -> Text<'static> {
    let alignment = if column < 2 { Alignment::Left } else { Alignment::Right };
    Text::from(text).alignment(alignment)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn stats() -> Value {
        let server = |name: &str, state: &str, open: u64| json!({ "name": name, "state": state, "sessions": { "now": open, "total": 9 }, "bytes": { "up": 2048, "down": 3 } });
        let routes = json!([
            { "name": "api", "state": "UP", "sessions": { "now": 1 }, "servers": [server("a1", "UP", 1)] },
            { "name": "web", "state": "UP", "sessions": { "now": 7 }, "servers": [server("w1", "DOWN", 2), server("w2", "UP", 5)] },
        ]);
        json!({ "version": "1", "connections": 8, "connections_limit": 100, "routes": routes })
    }

    fn shown(screen: &mut Screen, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(100, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(100);
        lines
            .map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
            .collect()
    }

    fn names(screen: &mut Screen, height: u16) -> Vec<String> {
        let lines = shown(screen, height).into_iter().skip(5);
        lines
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .take_while(|word| word != "q")
            .collect()
    }

    fn press(screen: &mut Screen, code: KeyCode) -> bool {
        screen.ends_with(KeyEvent::new(code, KeyModifiers::NONE))
    }

    /// Without this, the busiest of many routes stays below the end of the screen, or a key does something else than
    /// its label says.
    #[test]
    fn keys_sort_scroll_and_pause() {
        let mut screen = Screen::new(stats());
        assert_eq!(names(&mut screen, 20), ["api", "a1", "web", "w1", "w2"]);
        assert!(!press(&mut screen, KeyCode::Char('s')));
        assert_eq!(names(&mut screen, 20), ["web", "w2", "w1", "api", "a1"], "by open");
        // Above, titles and foot take six lines: two of the table are left.
        press(&mut screen, KeyCode::Down);
        assert_eq!(names(&mut screen, 8), ["w2", "w1"]);
        press(&mut screen, KeyCode::End);
        assert_eq!(names(&mut screen, 8), ["api", "a1"]);
        press(&mut screen, KeyCode::Home);
        assert_eq!(names(&mut screen, 8), ["web", "w2"]);
        press(&mut screen, KeyCode::Char('p'));
        assert!(screen.is_paused && shown(&mut screen, 8).last().unwrap().contains("paused"));
        assert!(press(&mut screen, KeyCode::Char('q')));
        assert!(screen.ends_with(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    }

    /// Without this, a terminal of a few lines makes the program panic.
    #[test]
    fn any_size_is_drawn() {
        for height in 0..9 {
            let mut terminal = Terminal::new(TestBackend::new(height * 7, height)).unwrap();
            terminal.draw(|frame| Screen::new(stats()).draw(frame)).unwrap();
        }
    }
}

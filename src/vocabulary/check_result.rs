//! The results that a probe can have.
use serde::{Deserialize, Serialize};

/// Results of probes, under HAProxy's codes (its management guide, section 9.1, `check_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "&'static str")]
pub enum CheckResult {
    /// No probe has ended yet.
    Initializing,
    /// The proxy could not make or set up a socket.
    SocketError,
    /// Connected, and the PROXY header sent whole.
    L4Ok,
    /// The connect did not end in time.
    L4Timeout,
    /// The connect was refused, had no route, or was reset.
    L4Connection,
    /// A `ServerHello` came.
    L6Ok,
    /// No `ServerHello` in time.
    L6Timeout,
    /// An alert, or not TLS.
    L6Response,
    /// An HTTP status in the expected range.
    L7Ok,
    /// No HTTP response in time.
    L7Timeout,
    /// Not HTTP.
    L7Response,
    /// An HTTP status outside of the expected range.
    L7Status,
}

impl CheckResult {
    /// Every result, in the order of HAProxy's manual.
    pub const ALL: [CheckResult; 12] = [
        CheckResult::Initializing,
        CheckResult::SocketError,
        CheckResult::L4Ok,
        CheckResult::L4Timeout,
        CheckResult::L4Connection,
        CheckResult::L6Ok,
        CheckResult::L6Timeout,
        CheckResult::L6Response,
        CheckResult::L7Ok,
        CheckResult::L7Timeout,
        CheckResult::L7Response,
        CheckResult::L7Status,
    ];

    /// Whether the probe passed.
    #[must_use]
    pub fn passed(self) -> bool {
        matches!(self, CheckResult::L4Ok | CheckResult::L6Ok | CheckResult::L7Ok)
    }

    /// HAProxy's code and words.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            CheckResult::Initializing => ("INI", "Initializing"),
            CheckResult::SocketError => ("SOCKERR", "Socket error"),
            CheckResult::L4Ok => ("L4OK", "Layer4 check passed"),
            CheckResult::L4Timeout => ("L4TOUT", "Layer4 timeout"),
            CheckResult::L4Connection => ("L4CON", "Layer4 connection problem"),
            CheckResult::L6Ok => ("L6OK", "Layer6 check passed"),
            CheckResult::L6Timeout => ("L6TOUT", "Layer6 timeout"),
            CheckResult::L6Response => ("L6RSP", "Layer6 invalid response"),
            CheckResult::L7Ok => ("L7OK", "Layer7 check passed"),
            CheckResult::L7Timeout => ("L7TOUT", "Layer7 timeout"),
            CheckResult::L7Response => ("L7RSP", "Layer7 invalid response"),
            CheckResult::L7Status => ("L7STS", "Layer7 wrong status"),
        }
    }

    /// HAProxy's code, as in `check_status` of its CSV and in the metric's label.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.words().0
    }

    /// HAProxy's words, as in `check_desc` of its CSV and in its log.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        self.words().1
    }
}

impl From<CheckResult> for &'static str {
    fn from(result: CheckResult) -> &'static str {
        result.code()
    }
}

/// A code that this program does not know, such as a newer program's, reads as [`CheckResult::Initializing`].
impl From<String> for CheckResult {
    fn from(code: String) -> CheckResult {
        CheckResult::ALL.into_iter().find(|result| result.code() == code).unwrap_or(CheckResult::Initializing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a dashboard cannot tell two results apart.
    #[test]
    fn codes_and_words_are_distinct() {
        for (i, one) in CheckResult::ALL.iter().enumerate() {
            for other in &CheckResult::ALL[..i] {
                assert_ne!(one.code(), other.code());
                assert_ne!(one.describe(), other.describe());
            }
        }
    }
}

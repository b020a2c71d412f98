//! TCP keepalive: the kernel asks a silent peer whether it is there, and ends the connection to one that has gone.
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// From one unanswered question to the next.
const INTERVAL: Duration = Duration::from_secs(15);
/// So many unanswered ones end the connection.
const QUESTIONS: u32 = 4;

/// Has the kernel ask after `silence`; never, where that is zero. What a listener is set to holds for each socket that it
/// accepts from then on, without a system call for any of them.
///
/// No part of it can fail on a TCP socket, and without it a connection is none the worse until its peer has gone.
pub(super) fn keep_alive(socket: impl AsFd, silence: Duration) {
    let wanted = !silence.is_zero();
    let _ = sockopt::set_socket_keepalive(&socket, wanted);
    if wanted {
        // Behind the first, so that the silence so far counts; in seconds, of which 0 is no value.
        let _ = sockopt::set_tcp_keepidle(&socket, silence.max(Duration::from_secs(1)));
        let _ = sockopt::set_tcp_keepintvl(&socket, INTERVAL);
        let _ = sockopt::set_tcp_keepcnt(&socket, QUESTIONS);
    }
}

//! TCP keepalive: the kernel probes a silent peer, and ends the connection if the peer is gone.
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// Time from one unanswered probe to the next.
const INTERVAL: Duration = Duration::from_secs(15);
/// Unanswered probes that end the connection.
const MAX_UNANSWERED: u32 = 4;

/// Has the kernel send keepalive probes after `silence`; never, if that is zero. A listener passes the setting on to
/// each socket that it accepts, without a system call.
///
/// No part of it can fail on a TCP socket. Without it a connection only lasts longer after its peer has gone.
pub(super) fn keep_alive(socket: impl AsFd, silence: Duration) {
    let wanted = !silence.is_zero();
    let _ = sockopt::set_socket_keepalive(&socket, wanted);
    if wanted {
        // After the first option, so that the silence so far counts. In seconds, of which 0 is invalid.
        let _ = sockopt::set_tcp_keepidle(&socket, silence.max(Duration::from_secs(1)));
        let _ = sockopt::set_tcp_keepintvl(&socket, INTERVAL);
        let _ = sockopt::set_tcp_keepcnt(&socket, MAX_UNANSWERED);
    }
}

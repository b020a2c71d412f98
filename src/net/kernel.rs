//! System calls that a connection depends on. A test can make each of them fail and changes nothing else: epoll,
//! sockets and the way of an error through the program are those of production. In a build without tests nothing of
//! this is left.
use rustix::io::Errno;

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `accept(2)`.
    Accept,
    /// `getsockname(2)`.
    Address,
    /// `bind(2)`.
    Bind,
    /// `connect(2)`.
    Connect,
    /// `write(2)` of log lines.
    Log,
    /// `setsockopt(2)`, for a bound on what the kernel keeps.
    Narrow,
    /// `pipe(2)`.
    Pipe,
    /// `epoll_wait(2)`.
    Poll,
    /// `recv(2)`.
    Read,
    /// `socket(2)`.
    Socket,
    /// `splice(2)`.
    Splice,
    /// `epoll_ctl(2)`.
    Watch,
    /// `send(2)`.
    Write,
}

/// Makes a call.
///
/// # Errors
/// The call's own; in a test, the errors of the test's script.
#[inline]
#[cfg_attr(not(test), expect(unused_variables, reason = "only tests have a call fail"))]
pub fn ask<T, E: From<Errno>>(call: Call, make: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    #[cfg(test)]
    if let Some(error) = faults::next(call) {
        return Err(error.into());
    }
    make()
}

/// Errors that a test injects.
#[cfg(test)]
pub mod faults {
    use std::cell::RefCell;

    use rustix::io::Errno;

    use super::Call;

    /// The result of a call; `None`: the kernel answers.
    pub type Script = Box<dyn FnMut(Call) -> Option<Errno>>;

    thread_local! {
        static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
    }

    /// Directs this thread's calls through a script, or to the kernel alone.
    pub fn follow(script: Option<Script>) {
        SCRIPT.set(script);
    }

    pub(super) fn next(call: Call) -> Option<Errno> {
        SCRIPT.with_borrow_mut(|script| script.as_mut()?(call))
    }
}

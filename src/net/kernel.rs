//! Calls into the kernel that a connection depends on. A test can have each of them fail, and nothing else is changed for it:
//! epoll, sockets and the errors' way through the program are those of production. Outside of tests nothing of this is left.
use rustix::io::Errno;

/// What the kernel is asked for.
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
/// Its own; in a test, those that the test's script has for it.
#[inline]
#[cfg_attr(not(test), expect(unused_variables, reason = "only tests have a call fail"))]
pub fn ask<T, E: From<Errno>>(call: Call, make: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    #[cfg(test)]
    if let Some(error) = faults::next(call) {
        return Err(error.into());
    }
    make()
}

/// Errors that a test has the kernel give.
#[cfg(test)]
pub mod faults {
    use std::cell::RefCell;

    use rustix::io::Errno;

    use super::Call;

    /// What becomes of a call; `None`: the kernel answers.
    pub type Script = Box<dyn FnMut(Call) -> Option<Errno>>;

    thread_local! {
        static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
    }

    /// Has this thread's calls go by a script from now on, or by the kernel alone.
    pub fn follow(script: Option<Script>) {
        SCRIPT.set(script);
    }

    pub(super) fn next(call: Call) -> Option<Errno> {
        SCRIPT.with_borrow_mut(|script| script.as_mut()?(call))
    }
}

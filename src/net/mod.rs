//! Mechanics over mio: what the kernel offers, with no opinion on what it is for.
mod dial;
mod direction;
mod host;
mod keepalive;
mod kernel;
mod listener;
mod local;
mod output;
mod pipes;
mod slots;
mod stream;
mod token;

pub use dial::{NO_PORT, dial, is_shortage, refuse_itself, words};
pub use direction::{Direction, ParkedDirection, Progress, Standing};
pub use host::{has_address, has_device};
#[cfg(test)]
pub use kernel::faults;
pub use kernel::{Call, ask};
pub use listener::{Accepted, BACKLOG, Listener, canonical};
pub use local::LocalListener;
pub use output::Output;
pub use pipes::Pipes;
pub use slots::{Key, Slots, slot_number};
pub use stream::{Received, Stream};
pub use token::Token;

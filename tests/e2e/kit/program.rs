//! The program under test.
use std::path::PathBuf;

/// The one that `LB_PROGRAM` names, such as the package that was built to be installed, or else the one that cargo has
/// just built together with the tests.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("LB_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_fiscalismia-lb").into(), PathBuf::from)
}

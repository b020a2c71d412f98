//! fiscalismia-lb: a load balancer that routes TLS by SNI and never opens it.
#![forbid(unsafe_code)]
pub mod access_log;
pub mod config;
pub mod context;
pub mod event_loop;
pub mod fleet;
pub mod metrics;
pub mod net;
pub mod policy;
pub mod probe;
pub mod service;
pub mod session;
pub mod wire;

//! Defaults of the file's keys, and the range of each value.
use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::Kind;
use super::{Balance, LogConnections, LogFormat, OnAllDown, OnDown, ProxyProtocol, Reject, ZeroCopy};

pub(super) const CLIENT_HELLO: Duration = Duration::from_secs(5);
pub(super) const CONNECT: Duration = Duration::from_secs(5);
pub(super) const TUNNEL: Duration = Duration::from_mins(5);
pub(super) const HALF_CLOSED: Duration = Duration::from_secs(30);
pub(super) const DRAIN: Duration = Duration::from_secs(30);
pub(super) const KEEPALIVE: Duration = Duration::from_mins(2);
/// tcp(7): the kernel takes at most 32,767 seconds.
pub(super) const KEEPALIVES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(9);
/// Range of a timeout. Below a millisecond everything times out; beyond a month the value is likely a typing error.
pub(super) const DURATIONS: RangeInclusive<Duration> = Duration::from_millis(1)..=MAX_DURATION;
/// As [`DURATIONS`], where 0 means at once.
pub(super) const DURATIONS_OR_ZERO: RangeInclusive<Duration> = Duration::ZERO..=MAX_DURATION;
const MAX_DURATION: Duration = Duration::from_hours(30 * 24);

pub(super) const RETRIES: u32 = 3;
pub(super) const RETRIES_RANGE: RangeInclusive<u32> = 0..=100;

pub(super) const CHECK_TYPE: Kind = Kind::Tcp;
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(10);
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const CHECK_FALL: u32 = 3;
pub(super) const CHECK_RISE: u32 = 2;
pub(super) const CHECK_COUNTS: RangeInclusive<u32> = 1..=1000;
pub(super) const CHECK_PATH: &str = "/";
pub(super) const CHECK_EXPECT: [u16; 2] = [200, 399];
pub(super) const STATUSES: RangeInclusive<u16> = 100..=599;
pub(super) const CHECK_PROXY_HEADER: bool = true;

pub(super) const CONNECTIONS: u32 = 4096;
pub(super) const COUNTS: RangeInclusive<u32> = 1..=1_000_000;
pub(super) const PERIOD: Duration = Duration::from_secs(5);
pub(super) const IPV6_PREFIX: u8 = 64;
pub(super) const IPV6_PREFIXES: RangeInclusive<u8> = 1..=128;

pub(super) const WEIGHT: u16 = 1;
/// Range of a server's weight.
pub const WEIGHTS: RangeInclusive<u16> = 0..=256;
pub(super) const BACKUP: bool = false;
pub(super) const HTTP_PORT: u16 = 80;
pub(super) const PORTS: RangeInclusive<u16> = 1..=65535;

pub(super) const BALANCE: Balance = Balance::RoundRobin;
pub(super) const PROXY_PROTOCOL: ProxyProtocol = ProxyProtocol::V2;
pub(super) const ON_DOWN: OnDown = OnDown::Keep;
pub(super) const ON_ALL_DOWN: OnAllDown = OnAllDown::Refuse;
pub(super) const REJECT: Reject = Reject::Drop;
pub(super) const LOG_FORMAT: LogFormat = LogFormat::Haproxy;
pub(super) const LOG_CONNECTIONS: LogConnections = LogConnections::All;
pub(super) const LOG_EMPTY: bool = true;
pub(super) const ZERO_COPY: ZeroCopy = ZeroCopy::Auto;

//! The hashes by which a client's address picks its server, the same in every process and on every machine.
use std::f64::consts::LN_2;
use std::net::IpAddr;

/// A constant seed, so that clients keep their server over a restart.
pub(super) fn hash_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| mix(hash ^ u64::from(byte)))
}

pub(super) fn hash_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => mix(u64::from(v4.to_bits())),
        IpAddr::V6(v6) => mix(mix((v6.to_bits() >> 64) as u64) ^ v6.to_bits() as u64),
    }
}

/// The natural logarithm of 2^64 / `draw`: exponentially distributed with rate 1 for uniform draws.
///
/// Computed here, so that several proxies agree on every client's server: logarithms of two libraries may differ in the
/// last digit. A library's also brings a third of a megabyte of other functions into memory.
pub(super) fn exponential(draw: u64) -> f64 {
    let draw = draw | 1;
    let zeros = draw.leading_zeros();
    let mantissa = ((draw << zeros) >> 11) as f64 / (1_u64 << 52) as f64;
    // ln m = 2 (t + t³/3 + t⁵/5 + …), where t is a third at most: nine terms are right to ten digits.
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let series = (0..9).rev().fold(0.0, |sum, term| sum * t * t + 1.0 / f64::from(2 * term + 1));
    f64::from(zeros + 1) * LN_2 - 2.0 * t * series
}

/// Spreads a change of any bit over all (the finalizer of `SplitMix64`).
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, an upgrade of one of two hosts moves all clients to other servers. The outputs of `SplitMix64`
    /// from the seed 0 are widely published.
    #[test]
    fn draws_are_the_same_everywhere() {
        assert_eq!([mix(0), mix(0x9e37_79b9_7f4a_7c15)], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
        let v6 = |text: &str| hash_address(text.parse().unwrap());
        assert_eq!(v6("::"), mix(0xe220_a839_7b1d_cdaf));
        assert_ne!(v6("2001:db8::1"), v6("2001:db9::1"));
    }

    /// Without this, servers get other shares of the clients than their weights.
    #[test]
    fn the_logarithm_is_right() {
        for draw in [1, 2, 3, u64::MAX, u64::MAX / 2, u64::MAX / 3].into_iter().chain((0..10_000).map(mix)) {
            let right = -(((draw | 1) as f64) / 2_f64.powi(64)).ln();
            assert!((exponential(draw) - right).abs() < 1e-9, "{draw}: {} is not {right}", exponential(draw));
        }
    }
}

//! Hellos of the sizes that tests need.
use fiscalismia_lb::wire::hello_builder::HelloBuilder;
use tls_parser::TlsExtensionType;

/// A hello for `sni`.
pub(crate) fn hello(sni: &str) -> Vec<u8> {
    HelloBuilder::new().sni(sni).build()
}

/// A hello of exactly `len` bytes in one record. The name comes last, so that no prefix of the hello tells it.
pub(crate) fn hello_of(sni: &str, len: usize) -> HelloBuilder {
    let missing = len - hello(sni).len() - EXTENSION_HEADER;
    HelloBuilder::new().extension(TlsExtensionType::Padding, &vec![0; missing]).sni(sni)
}

const EXTENSION_HEADER: usize = 4;

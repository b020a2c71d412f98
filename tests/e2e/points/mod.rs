//! The twelve points that an edge proxy must get right, one file for each. Every test here fails without its point.
mod p01_whole_hello;
mod p02_hello_deadline;
mod p03_raw_bytes;
mod p04_sni;
mod p05_address_families;
mod p06_edge_triggered;
mod p07_half_close;
mod p08_out_of_fds;
mod p09_probes;
mod p10_reload;
mod p11_log_never_blocks;
mod p12_never_ends;

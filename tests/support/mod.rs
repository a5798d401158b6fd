//! What several binaries of tests share. Each declares `mod support;` and uses a part of it.
#![allow(dead_code)]

#[cfg(feature = "cluster")]
pub mod cluster;
pub mod parted;
pub mod scene;
pub mod watching;
pub mod world;

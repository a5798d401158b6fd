//! Backups in `.asb` files, from outside: what is read, what is written, and what is said of bad ones.
//!
//! The tests with real backups look for them in `AEROLITH_DATA` or `../shared/data`, and say so if there are none.

mod damage;
mod read;
mod support;
mod write;

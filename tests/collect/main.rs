//! Forgetting and pruning: what stays restores exactly, what nobody needs goes, whoever works at the same time, wherever it dies.

mod crash;
mod hold;
mod meeting;
mod repair;
mod rules;
mod scene;
mod space;
#[allow(dead_code)]
#[path = "../faults/support.rs"]
mod support;

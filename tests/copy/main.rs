//! Copying snapshots into another repository: the copies hold what their originals hold and cost what those cost, whatever dies,
//! is damaged, or is at work at the same time.

mod alike;
mod cost;
mod crash;
mod damage;
mod meeting;
#[allow(dead_code)]
#[path = "../collect/scene.rs"]
mod scene;
#[allow(dead_code)]
#[path = "../faults/support.rs"]
mod support;
mod two;
mod whole;

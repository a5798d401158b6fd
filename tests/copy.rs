//! Copying snapshots into another repository: the copies hold what their originals hold and cost what those cost,
//! whatever dies, is damaged, or is at work at the same time.

mod copy {
    mod alike;
    mod cost;
    mod crash;
    mod damage;
    mod meeting;
    mod two;
    mod whole;
}
mod support;

//! Repositories in object stores, over HTTP: against an S3 server in this process.

mod cloud {
    mod faults;
    mod repository;
    mod store;
}
#[path = "support/s3.rs"]
mod s3;
mod support;

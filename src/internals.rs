//! What this project's own tests, benchmarks and fuzz targets reach into. No program should: anything here may change
//! in any version, and none of it counts as the library's API.

#[cfg(feature = "cluster")]
pub mod aerospike {
    pub use crate::aerospike::*;
}
#[cfg(feature = "asb")]
pub mod asb {
    pub use crate::asb::*;
}
pub mod chunk {
    pub use crate::chunk::*;
}
pub mod chunks {
    pub use crate::chunks::*;
}
pub mod collect {
    pub use crate::collect::*;
}
pub mod copy {
    pub use crate::copy::*;
}
pub mod crypto {
    pub use crate::crypto::*;
}
pub mod index {
    pub use crate::index::*;
}
#[cfg(feature = "jsonl")]
pub mod jsonl {
    pub use crate::jsonl::*;
}
pub mod objects {
    pub use crate::objects::*;
}
pub mod pack {
    pub use crate::pack::*;
}
pub mod repair {
    pub use crate::repair::*;
}
pub mod repository {
    pub use crate::repository::*;
}
pub mod restore {
    pub use crate::restore::*;
}
pub mod run {
    pub use crate::run::*;
}
pub mod session {
    pub use crate::session::*;
}
pub mod sources {
    pub use crate::sources::*;
}
pub mod spool {
    pub use crate::spool::*;
}
pub mod targets {
    pub use crate::targets::*;
}
pub mod verify {
    pub use crate::verify::*;
}

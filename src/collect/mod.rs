//! Forgetting snapshots, and reclaiming the space that none of the others needs.
//!
//! [`retention`] says which snapshots stay, [`forget`] drops one, `mark` finds what the others need, and [`prune`]
//! deletes the rest by the protocol that `format-spec/plans.md` fixes. No locks: a collection is a session like any
//! other.

mod choose;
mod clean;
mod fold;
pub mod forget;
mod frugal;
pub(crate) mod mark;
mod moves;
mod options;
pub mod prune;
mod repository;
pub mod retention;
mod settle;

#[cfg(feature = "internals")]
pub use fold::KEPT_MILLIS;
pub use options::PruneOptions;
pub use prune::{Collector, Held, PruneReport, SessionAtWork};
pub use retention::{Period, Reason, Retention, Verdict, Zone};

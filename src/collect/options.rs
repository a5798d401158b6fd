//! How space is reclaimed.

use crate::format::PackId;
use crate::setters::setters;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How space is reclaimed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PruneOptions {
    /// So much of what the packs hold may be unused, in percent; 0 leaves nothing.
    pub max_unused_percent: f64,
    /// Move at most so many stored bytes of chunks out of packs that are partly needed.
    pub max_rewrite_bytes: Option<u64>,
    /// Wait so long for sessions that are at work; then give up.
    pub wait: Duration,
    /// Fence sessions that are at work instead of waiting for them: they fail.
    pub fence: bool,
    /// Only say what would be done.
    pub(super) dry_run: bool,
    /// Condemn no other packs than these, if given: what a plan showed.
    pub(super) only: Option<Arc<HashSet<PackId>>>,
}

setters!(PruneOptions {
    max_unused_percent: f64,
    wait: Duration,
    fence: bool,
} into {
    max_rewrite_bytes: Option<u64>,
});

impl Default for PruneOptions {
    fn default() -> Self {
        PruneOptions {
            max_unused_percent: 5.0,
            max_rewrite_bytes: None,
            wait: Duration::ZERO,
            fence: false,
            dry_run: false,
            only: None,
        }
    }
}

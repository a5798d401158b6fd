//! What an operation would do, before it does it.

use crate::error::Result;

/// What an operation would do. It was looked up, and nothing was changed; [`Plan::execute`] does it.
///
/// Others may be at work on the repository between the look and the execution. So each operation looks again at what is
/// there by then, and says in its report what it did.
///
/// The lifetime is that of what the plan needs for its execution, such as the target of a restore.
///
/// ```
/// use aerolith::{CreateOptions, KdfCost, PruneOptions, Repository, store::MemoryStore};
/// # fn main() -> aerolith::Result<()> {
/// # let options = CreateOptions::default().cost(KdfCost::WEAK);
/// # let repository = Repository::create(std::sync::Arc::new(MemoryStore::new()), b"a long passphrase", &options)?;
/// let plan = repository.prune_plan(&PruneOptions::default())?;
/// println!("{} packs would be deleted", plan.report().packs_deleted);
/// let done = plan.execute()?;
/// # assert_eq!(done.packs_deleted, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is done until the plan is executed"]
pub struct Plan<'a, R> {
    report: R,
    execute: Box<dyn FnOnce() -> Result<R> + Send + 'a>,
}

impl<'a, R> Plan<'a, R> {
    pub(crate) fn new(report: R, execute: impl FnOnce() -> Result<R> + Send + 'a) -> Self {
        Plan { report, execute: Box::new(execute) }
    }

    /// What would be done: what [`Plan::execute`] would report if nothing changes until then.
    pub fn report(&self) -> &R {
        &self.report
    }

    /// The same, for those who only wanted to know.
    pub fn into_report(self) -> R {
        self.report
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// Those of the operation.
    pub fn execute(self) -> Result<R> {
        (self.execute)()
    }
}

impl<R: std::fmt::Debug> std::fmt::Debug for Plan<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("report", &self.report).finish_non_exhaustive()
    }
}

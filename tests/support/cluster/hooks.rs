//! What tests let happen in between, right before a server does something.

use super::Shared;

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before a query of records with their bins.
    Scan,
    /// Before a query without bins: a walk or a count.
    Walk,
    /// In a query, before a server comes to one more of its partitions.
    Partition,
    /// Before a batch.
    Batch,
    /// Before the answer to an info command of this name.
    Info(&'static str),
}

pub struct Hook {
    pub moment: Moment,
    /// How many such moments pass before.
    pub after: usize,
    pub then: Box<dyn FnOnce(&mut Shared) + Send>,
}

impl Shared {
    /// A server comes to a moment.
    pub(super) fn reach(&mut self, is_it: impl Fn(Moment) -> bool) {
        let mut due = Vec::new();
        for hook in std::mem::take(&mut self.hooks) {
            match (is_it(hook.moment), hook.after) {
                (true, 0) => due.push(hook),
                (true, after) => self.hooks.push(Hook { after: after - 1, ..hook }),
                _ => self.hooks.push(hook),
            }
        }
        due.into_iter().for_each(|hook| (hook.then)(self));
    }
}

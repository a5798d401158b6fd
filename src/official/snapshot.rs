//! Restores of a snapshot through a client.

use super::client::Client;
use super::target::ClientTarget;
use crate::error::Result;
use crate::record::{Digest, RecordBatch};
use crate::repository::Snapshot;
use crate::restore::{RestoreOptions, RestoreReport};
use crate::targets::{ConflictPolicy, RecordTarget};
use std::collections::HashMap;
use std::sync::Arc;

/// Records of an undelete that are written at once.
const AT_ONCE: usize = 500;

/// What became of a record that was to be written back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undeleted {
    /// It is there again, as it was in the snapshot.
    Written,
    /// The namespace has a record with its digest; that one stays.
    Exists,
    /// It would have expired meanwhile.
    Expired,
    /// The snapshot does not have it.
    NotInSnapshot,
    /// It could not be written, and why.
    Failed(String),
}

impl Snapshot {
    /// Restores the selected records of a namespace through a client of the program's own, with its default policies:
    /// a [`ClientTarget`]. The report counts every record, and names those that were refused.
    ///
    /// # Errors
    ///
    /// Those of [`Snapshot::restore`].
    pub fn restore_into(
        &self,
        namespace: &str,
        client: &Arc<Client>,
        options: &RestoreOptions,
    ) -> Result<RestoreReport> {
        let target = ClientTarget::new(client.clone());
        let report = self.restore(namespace, &target, options)?;
        target.finish()?;
        Ok(report)
    }

    /// Writes single records of a namespace back where they are gone, through the client of a running application. A
    /// record that is there is left alone. The digest of a key of the client is `Digest(key.digest())`.
    ///
    /// # Errors
    ///
    /// If the snapshot has no such namespace, something of it is damaged or missing, or the target can't go on: no
    /// room, no permission. What was written until then stays.
    pub fn undelete(
        &self,
        namespace: &str,
        digests: impl IntoIterator<Item = Digest>,
        target: &ClientTarget,
    ) -> Result<Vec<(Digest, Undeleted)>> {
        let view = self.namespace(namespace)?;
        let digests: Vec<Digest> = digests.into_iter().collect();
        let mut results = Vec::with_capacity(digests.len());
        for some in digests.chunks(AT_ONCE) {
            self.control.check()?;
            let (mut batch, mut became) = (RecordBatch::new(), HashMap::new());
            for digest in some {
                if became.contains_key(digest) {
                    continue;
                }
                match view.get(digest)? {
                    Some(record) => {
                        record.push_to(&mut batch)?;
                        became.insert(*digest, Undeleted::Written);
                    }
                    None => {
                        became.insert(*digest, Undeleted::NotInSnapshot);
                    }
                }
            }
            let settled = target.put(namespace, &batch, ConflictPolicy::Keep)?;
            became.extend(settled.expired.into_iter().map(|digest| (digest, Undeleted::Expired)));
            became.extend(settled.exists.into_iter().map(|digest| (digest, Undeleted::Exists)));
            became.extend(settled.failed.into_iter().map(|failed| (failed.digest, Undeleted::Failed(failed.reason))));
            results.extend(some.iter().filter_map(|digest| Some((*digest, became.get(digest)?.clone()))));
        }
        Ok(results)
    }
}

//! Reading records with the client, some at a time.

use super::client::{Bins, Client, Error as ClientError, PartitionFilter, QueryPolicy, Record, Statement};
use crate::control::Control;
use crate::error::Result;
use crate::runtime::{handle, wait};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Records that were read and not yet taken.
const AHEAD: usize = 64;
/// How often a stop is looked for while nothing comes.
const LOOK: Duration = Duration::from_millis(200);

/// What is read of a cluster.
pub(super) struct Scan<'a> {
    pub client: &'a Client,
    pub policy: &'a QueryPolicy,
    pub namespace: &'a str,
    /// Only this set; all if empty.
    pub set: &'a str,
    pub bins: Bins,
}

enum Told {
    Record(Box<Record>),
    Failed(ClientError),
    End(Result<(), ClientError>),
}

impl Scan<'_> {
    /// Hands over the records of some partitions. The inner error is what the client ended the query with: some
    /// records were handed over then, and some were not.
    pub fn read(
        &self,
        partitions: PartitionFilter,
        control: &Control,
        mut each: impl FnMut(Record) -> Result<()>,
    ) -> Result<Result<(), ClientError>> {
        let (send, told) = channel();
        let room = Arc::new(Semaphore::new(AHEAD));
        let statement = Statement::new(self.namespace, self.set, self.bins.clone());
        let (sender, waits) = (send.clone(), room.clone());
        let callback = move |result: Result<Record, ClientError>| {
            let (sender, waits) = (sender.clone(), waits.clone());
            async move {
                // Closed once nobody takes records any more.
                let Ok(permit) = waits.acquire().await else { return false };
                permit.forget();
                sender.send(result.map_or_else(Told::Failed, |record| Told::Record(Box::new(record)))).is_ok()
            }
        };
        let query = wait(self.client.query_foreach(self.policy, partitions, statement, callback))?;
        let mut query = match query {
            Ok(query) => query,
            Err(error) => return Ok(Err(error)),
        };
        handle()?.spawn(async move {
            let ended = query.wait().await;
            let _ = send.send(Told::End(ended));
        });
        let mut failed = None;
        let mut take = || loop {
            control.check()?;
            match told.recv_timeout(LOOK) {
                Ok(Told::Record(record)) => each(*record)?,
                Ok(Told::Failed(error)) => failed = failed.take().or(Some(error)),
                Ok(Told::End(ended)) => return Ok(ended),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Err(ClientError::client_error("the query ended without an answer")));
                }
            }
            room.add_permits(1);
        };
        let ended: Result<Result<(), ClientError>> = take();
        room.close();
        Ok(match failed {
            Some(error) => ended.map(|_| Err(error))?,
            None => ended?,
        })
    }
}

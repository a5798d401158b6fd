//! Counting what a scan of changes leaves out.
//!
//! A server counts the live records that the filter of a query excludes by their metadata, and tells the number once
//! the query has ended (`query-show`, field `recs-filtered-meta`; `basic_query_job_reduce_cb` in query/query.c of the
//! server 8.1.2: records that are not of the set, expired, or truncated are passed over before).

use super::fetch::{Collector, Fetcher};
use crate::aerospike::cluster::Node;
use crate::aerospike::error::Result;
use crate::aerospike::wire::info;
use crate::format::search::WalkReason;
use crate::record::VoidTime;
use crate::sources::{LeftOut, Rest};
use std::sync::Arc;
use std::time::Instant;

impl Fetcher {
    /// How many live records a query left out that has just ended.
    pub(super) fn left_out(
        &self,
        node: &Node,
        namespace: &str,
        id: u64,
        answer: &Collector,
        (began, until): (Instant, VoidTime),
    ) -> Rest {
        if !answer.refused.is_empty() {
            return Rest::Untold(WalkReason::Untold);
        }
        match self.counted(node, namespace, id) {
            Ok(Some(counted)) if counted.delivered != answer.records => Rest::Untold(WalkReason::Untold),
            Ok(Some(Counted { odd: 1.., .. })) => Rest::Untold(WalkReason::Untold),
            Ok(Some(counted)) => {
                self.horizon.set_clock(counted.clock);
                let clock = |seconds: u64| VoidTime(u32::try_from(seconds).unwrap_or(u32::MAX));
                let (from, until) = match until {
                    // Servers tell full seconds.
                    VoidTime::NEVER => {
                        let took = began.elapsed().as_secs() + 2;
                        (clock(counted.clock.saturating_sub(took)), clock(counted.clock))
                    }
                    until if counted.clock >= u64::from(until.0) => {
                        self.horizon.was_too_near();
                        return Rest::Untold(WalkReason::Untold);
                    }
                    until => (VoidTime(until.0.saturating_add(1)), until),
                };
                let partitions = answer.slots.iter().map(|(partition, _)| *partition).collect();
                Rest::Counted(Arc::new(LeftOut { partitions, records: counted.left_out, from, until }))
            }
            _ => Rest::Untold(WalkReason::Untold),
        }
    }

    /// What a server says of a query that has ended; `None` if it says nothing of it.
    fn counted(&self, node: &Node, namespace: &str, id: u64) -> Result<Option<Counted>> {
        let (query, namespace) = (format!("query-show:trid={id}"), format!("namespace/{namespace}"));
        let reply = self.cluster.info_of(node, &[&query, &namespace])?;
        let (Ok(query), Ok(namespace)) =
            (reply.find(&query, "a query's statistics"), reply.find(&namespace, "a namespace's statistics"))
        else {
            return Ok(None);
        };
        let number = |name| info::number::<u64>(query, b':', name);
        let counted = || {
            Some(Counted {
                left_out: number("recs-filtered-meta")?,
                delivered: number("recs-succeeded")?,
                odd: number("recs-failed")?.saturating_add(number("recs-filtered-bins")?),
                clock: info::number(namespace, b';', "current_time")?,
            })
        };
        Ok(counted())
    }
}

/// What a server says of a query.
struct Counted {
    /// Live records that the filter excluded by their metadata.
    left_out: u64,
    /// Records that it delivered.
    delivered: u64,
    /// Records that it could not read, or excluded by their bins.
    odd: u64,
    /// The server's clock afterwards, in seconds of its epoch.
    clock: u64,
}

//! Forgetting snapshots and reclaiming what none of the others needs.

use super::Reason;
use super::forget::{ForgetReport, describe, forget, held};
use super::frugal::Frugal;
use super::mark::States;
use super::mark::lost_names;
use super::retention::decide;
use super::{Collector, PruneOptions, PruneReport, Retention};
use crate::chunks::WriteOptions;
use crate::control::EnteredPart;
use crate::error::{Error, Result};
use crate::format::{SnapshotId, names};
use crate::objects;
use crate::plan::Plan;
use crate::repository::{Manifests, Repository, SnapshotFilter, host, named, program};
use std::sync::Arc;

impl Repository {
    /// Forgets the snapshots that no rule of `policy` keeps, of those that the filter admits. The space is reclaimed by
    /// [`Repository::prune`].
    ///
    /// # Errors
    ///
    /// If the policy says nothing, or would leave a group without any snapshot and doesn't say so; nothing is forgotten
    /// then.
    pub fn forget(&self, policy: &Retention, filter: &SnapshotFilter) -> Result<ForgetReport> {
        self.forget_plan(policy, filter)?.execute()
    }

    /// What [`Repository::forget`] would do now, and why. The plan, once executed, forgets the snapshots that it shows,
    /// but for one that was held meanwhile: that is an error.
    ///
    /// # Errors
    ///
    /// If the policy says nothing, or would leave a group without any snapshot and doesn't say so; nothing is forgotten
    /// then.
    pub fn forget_plan(&self, policy: &Retention, filter: &SnapshotFilter) -> Result<Plan<'static, ForgetReport>> {
        self.forget_plan_of(&mut self.manifests()?, policy, filter)
    }

    /// The same of a listing that is at hand; only those that the filter admits are left in it.
    pub(crate) fn forget_plan_of(
        &self,
        list: &mut Manifests,
        policy: &Retention,
        filter: &SnapshotFilter,
    ) -> Result<Plan<'static, ForgetReport>> {
        list.snapshots.retain(|manifest| filter.admits_manifest(manifest));
        let mut verdicts = decide(policy, &list.snapshots, &list.times)?;
        for (id, hold) in objects::list_holds(&*self.store, names::HOLDS)? {
            for verdict in verdicts.iter_mut().filter(|verdict| verdict.snapshot == id) {
                verdict.reasons.push(Reason::Held(describe(&*self.store, &self.keys, id, hold)));
            }
        }
        if !policy.tags.is_empty() {
            for verdict in verdicts.iter_mut() {
                if list.unread_labels.iter().any(|(id, _)| *id == verdict.snapshot) {
                    verdict.reasons.push(Reason::LabelsUnread);
                }
            }
        }
        let forgotten: Vec<SnapshotId> =
            verdicts.iter().filter(|verdict| !verdict.stays()).map(|verdict| verdict.snapshot).collect();
        let damaged = list.damaged.iter().map(|(_, error)| format!("{error}; it was left alone"));
        let problems = damaged.chain(list.unread_labels.iter().map(|(_, error)| error.to_string())).collect();
        Ok(self.plan_to_forget(ForgetReport { verdicts, forgotten, problems }))
    }

    /// Forgets the snapshots with these names, found among those that the filter admits. One that can't be read, or
    /// whose object is lost, goes too if its whole id is given.
    ///
    /// # Errors
    ///
    /// If a name is not found or its snapshot is held; nothing is forgotten then.
    pub fn forget_named(&self, names: &[String], filter: &SnapshotFilter) -> Result<ForgetReport> {
        self.forget_named_plan(names, filter)?.execute()
    }

    /// What [`Repository::forget_named`] would do now.
    ///
    /// # Errors
    ///
    /// If a name is not found or its snapshot is held.
    pub fn forget_named_plan(&self, names: &[String], filter: &SnapshotFilter) -> Result<Plan<'static, ForgetReport>> {
        self.forget_named_plan_of(&mut self.manifests()?, names, filter)
    }

    /// The same of a listing that is at hand.
    pub(crate) fn forget_named_plan_of(
        &self,
        list: &mut Manifests,
        names: &[String],
        filter: &SnapshotFilter,
    ) -> Result<Plan<'static, ForgetReport>> {
        let states = objects::list_states(&*self.store, &self.keys)?;
        let holds = objects::list_holds(&*self.store, names::HOLDS)?;
        let mut forgotten = Vec::new();
        // All are looked at before any goes.
        for name in names {
            let id = self.id_to_forget(name, filter, list, &states)?;
            if let Some((_, hold)) = holds.iter().find(|(snapshot, _)| *snapshot == id) {
                return Err(held(&*self.store, &self.keys, id, *hold));
            }
            if !forgotten.contains(&id) {
                forgotten.push(id);
            }
        }
        Ok(self.plan_to_forget(ForgetReport { forgotten, ..ForgetReport::default() }))
    }

    fn plan_to_forget(&self, report: ForgetReport) -> Plan<'static, ForgetReport> {
        let (repository, done) = (self.clone(), report.clone());
        Plan::new(report, move || {
            let store = Frugal::new(repository.store.clone());
            forget(&store, &repository.keys, &done.forgotten, &repository.control)?;
            Ok(done)
        })
    }

    fn id_to_forget(
        &self,
        name: &str,
        filter: &SnapshotFilter,
        list: &mut Manifests,
        states: &States,
    ) -> Result<SnapshotId> {
        if let Some(id) = SnapshotId::from_hex(name) {
            if list.damaged.iter().any(|(damaged, _)| *damaged == id) {
                return Ok(id);
            }
            let is_marker = states.was_committed(&id);
            if is_marker && list.snapshots.iter().all(|manifest| manifest.id != id) {
                // A marker that is none can be rewritten; a sound one says that there is nothing to do.
                return match objects::check_marker(&*self.store, &self.keys, id) {
                    Err(error) if error.is_of_one_object() => Ok(id),
                    Err(error) => Err(error),
                    Ok(()) => Err(Error::not_found(format!("snapshot {name}"), "It was forgotten before")),
                };
            }
            if !is_marker && lost_names(&*self.store, &self.keys, states, &list.snapshots)?.contains(&id) {
                return Ok(id);
            }
        }
        named(list, name, filter).map(|manifest| manifest.id)
    }

    /// Reclaims the space that no snapshot needs. Any number of writers and readers may be at work; see
    /// [`PruneOptions`] for those that it meets. Killed at any point and run again, it finishes.
    ///
    /// # Errors
    ///
    /// If what a snapshot needs can't be told, if another collection is at work, or a writer that it would have to wait
    /// for.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport> {
        let _part = self.begin_pruning();
        self.collector().run(options, &self.control)
    }

    /// What [`Repository::prune`] would do now. The plan, once executed, deletes no other packs than those that it
    /// shows, and of these none that a snapshot needs by then.
    ///
    /// # Errors
    ///
    /// If what a snapshot needs can't be told.
    pub fn prune_plan(&self, options: &PruneOptions) -> Result<Plan<'static, PruneReport>> {
        let _part = self.begin_pruning();
        let (report, condemned) = self.collector().look(options, &self.control)?;
        let options = PruneOptions { only: Some(Arc::new(condemned)), ..options.clone() };
        let repository = self.clone();
        Ok(Plan::new(report, move || repository.prune(&options)))
    }

    fn begin_pruning(&self) -> EnteredPart {
        self.control.part(format!("pruning {}", self.store.location())).entered()
    }

    fn collector(&self) -> Collector {
        Collector {
            store: self.store.clone(),
            keys: self.keys.clone(),
            write: WriteOptions {
                suite: self.parameters.suite,
                compression: self.parameters.compression,
                pack_bytes: self.parameters.pack_bytes as usize,
            },
            host: host(),
            program: program(),
        }
    }
}

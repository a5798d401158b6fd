//! Rules that are left out, the smallest scene in which something is lost by it, and what.

use super::model::{Scene, Violation};
use super::rules::Rule;
use super::scenes;

/// Rules that are left out together, where, and whether what is found is what was to be found.
pub type LeftOut = (&'static [Rule], Scene, fn(Violation) -> bool);

const fn loses(rules: &'static [Rule], scene: Scene) -> LeftOut {
    (rules, scene, |violation| matches!(violation, Violation::Missing(_)))
}

const fn taken_back(rules: &'static [Rule], scene: Scene) -> LeftOut {
    (rules, scene, |violation| matches!(violation, Violation::NameChanged(_)))
}

const fn fails(rules: &'static [Rule], scene: Scene) -> LeftOut {
    (rules, scene, |violation| matches!(violation, Violation::ReaderFailed(_)))
}

/// What the writers keep to.
pub const WRITERS: &[LeftOut] = &[
    loses(&[Rule::SessionFirst], scenes::WRITER),
    loses(&[Rule::PlansBeforeIndex], scenes::WRITER),
    loses(&[Rule::TrustCommittedAlone], scenes::RESUMING_PART),
    loses(&[Rule::WriteAnewUnderPlan], scenes::WRITERS_PART),
    loses(&[Rule::NameWhatWasFound], scenes::RESUMING_PART),
    loses(&[Rule::TakeOverChecksPlans], scenes::RESUMING_PART),
    (&[Rule::SyncBeforeCommit], scenes::WRITER, |violation| matches!(violation, Violation::MissingAfterPowerCut(_))),
];

/// What makes a fenced session a snapshot.
pub const NAMES: &[LeftOut] =
    &[taken_back(&[Rule::CreateIfAbsent], scenes::WRITER), taken_back(&[Rule::NamesStayTaken], scenes::WRITER)];

/// What the collectors keep to.
pub const COLLECTORS: &[LeftOut] = &[
    loses(&[Rule::PlanBeforeSessions], scenes::WRITER),
    loses(&[Rule::Settle], scenes::WRITER),
    loses(&[Rule::ListAgain], scenes::WRITER),
    loses(&[Rule::CollectorsAreSessions], scenes::COLLECTORS),
    loses(&[Rule::CondemnedForGood], scenes::COLLECTORS),
    loses(&[Rule::MoveWhatIsUnnamed], scenes::DAMAGE),
    loses(&[Rule::CommitBeforeDeleting], scenes::COLLECTORS),
    loses(&[Rule::IndexBeforeCommit], scenes::WRITER),
    loses(&[Rule::CleanAfterDeleting], scenes::WRITER),
    loses(&[Rule::CleanByAFreshList], scenes::WRITER_PART),
    loses(&[Rule::PlanStands], scenes::COLLECTORS),
    (&[Rule::SyncBeforePlanGoes], scenes::WRITER, |violation| matches!(violation, Violation::PlanWentEarly(_))),
    loses(&[Rule::JoinKeepsForeign], scenes::WRITER_COLLECTORS_JOINED),
    loses(&[Rule::CollectorsAreSessions, Rule::EveryPlan], scenes::COLLECTORS_COPIES),
];

/// What the readers keep to.
pub const READERS: &[LeftOut] = &[
    fails(&[Rule::ReaderLooksAgain], scenes::READER_TWICE),
    fails(&[Rule::ReaderLooksEachTime], scenes::READER_TWICE),
];

/// What the listings show.
pub const LISTINGS: &[LeftOut] = &[
    loses(&[Rule::FreshSessions], scenes::WRITER),
    loses(&[Rule::FreshPlans], scenes::WRITER),
    loses(&[Rule::FreshNames], scenes::WRITER),
];

/// What those keep to who fold, and join the segments of snapshots that stay.
pub const FOLDS: &[LeftOut] = &[
    (&[Rule::CommitReadsFolds], scenes::FOLDING, |violation| matches!(violation, Violation::Deceived(_))),
    loses(&[Rule::FoldsAfterNames], scenes::FOLDING_WRITERS),
    taken_back(&[Rule::FoldBeforeNamesGo], scenes::FOLDING),
    (&[Rule::SyncBeforeNamesGo], scenes::FOLDING, |violation| matches!(violation, Violation::NameFreedByPowerCut(_))),
    taken_back(&[Rule::MergeBeforeFoldsGo], scenes::FOLDING_COLLECTORS),
    taken_back(&[Rule::OnlyMergedFoldsGo], scenes::FOLDING_COLLECTORS),
    loses(&[Rule::NamedSessionsGo], scenes::FOLDING_SESSIONS),
    loses(&[Rule::JoinBeforeKeptGo], scenes::JOINING),
];

/// All of them.
pub fn all() -> impl Iterator<Item = LeftOut> {
    [WRITERS, NAMES, COLLECTORS, READERS, LISTINGS, FOLDS].into_iter().flatten().copied()
}

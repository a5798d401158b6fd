//! The rules of the protocol, each of which can be left out, to see what would be lost.

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A writer creates its session before it reads the plans.
    SessionFirst,
    /// A writer reads the plans before the index.
    PlansBeforeIndex,
    /// Segments count only once their session is committed.
    TrustCommittedAlone,
    /// The commit and the fence are created only if the name is free.
    CreateIfAbsent,
    /// A name once taken is never free again.
    NamesStayTaken,
    /// A backup begun under a plan writes again what its parent has in condemned packs alone.
    WriteAnewUnderPlan,
    /// A writer names in its own segment the packs that it found by their directories.
    NameWhatWasFound,
    /// Packs that a plan condemns are not taken over.
    TakeOverChecksPlans,
    /// Everything is durable before the commit, packs of others that are counted on too.
    SyncBeforeCommit,
    /// The plan is written before the sessions are listed.
    PlanBeforeSessions,
    /// The collector waits for the sessions that it listed, or fences them.
    Settle,
    /// It does so before it reads the plans too, so that one collector at a time comes to its commit.
    SettleFirst,
    /// Collectors are sessions like others: they wait for one another, or fence one another.
    CollectorsAreSessions,
    /// It lists the snapshots again once they are settled.
    ListAgain,
    /// A copy counts only outside every pending plan, not just its own.
    EveryPlan,
    /// A pack is never taken off a plan.
    CondemnedForGood,
    /// What no segment names is looked for in the packs before it is taken for lost.
    MoveWhatIsUnnamed,
    /// The collector commits before it deletes, and stops if it was fenced.
    CommitBeforeDeleting,
    /// What it moved is named in its segment before it commits.
    IndexBeforeCommit,
    /// The index is cleaned after the packs are gone, not before the commit.
    CleanAfterDeleting,
    /// Rows of packs are dropped only if the pack was gone after the index was read.
    CleanByAFreshList,
    /// Joined segments keep the rows of packs that only others condemn.
    JoinKeepsForeign,
    /// A plan stays pending until its packs are gone.
    PlanStands,
    /// The deletions are durable before the plan goes.
    SyncBeforePlanGoes,
    /// A reader that misses a pack looks for its chunks in the other packs.
    ReaderLooksAgain,
    /// It does so each time that another pack is gone, not once.
    ReaderLooksEachTime,
    /// Whoever creates its name reads the folds before it takes itself for committed.
    CommitReadsFolds,
    /// The folds are read after the names are listed.
    FoldsAfterNames,
    /// A fold is written before what it names is deleted.
    FoldBeforeNamesGo,
    /// It is durable before.
    SyncBeforeNamesGo,
    /// Folds that are merged are deleted after the one that they are merged into is written.
    MergeBeforeFoldsGo,
    /// No other fold is deleted than those that it has all names of.
    OnlyMergedFoldsGo,
    /// The object of a session goes only once the session has a name.
    NamedSessionsGo,
    /// Segments that were joined are deleted after the one that they were joined into counts.
    JoinBeforeKeptGo,
    /// Listings of sessions show all that were created before.
    FreshSessions,
    /// Listings of plans do.
    FreshPlans,
    /// Listings of names under `snapshots/` do.
    FreshNames,
}

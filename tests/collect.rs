//! Forgetting and pruning: what stays restores exactly, what nobody needs goes, whoever works at the same time,
//! wherever it dies.

mod collect {
    mod clocks;
    mod combined;
    mod compact;
    mod crash;
    mod dry;
    mod fold;
    mod full_disk;
    mod healed;
    mod hold;
    mod joined;
    mod labels;
    mod looking;
    mod meeting;
    mod needs;
    mod plan;
    mod repair;
    mod rules;
    mod salvage;
    mod space;
    mod stale;
}
mod support;

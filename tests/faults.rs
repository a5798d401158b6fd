//! Faults and damage: whatever happens to a repository, nothing wrong is restored, what is whole restores, and the
//! message names what is not.

mod faults {
    mod cancel;
    mod crash;
    mod full_disk;
    mod losses;
    mod matrix;
    mod objects;
    mod resume;
    mod targets;
}
mod support;

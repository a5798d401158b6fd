//! The command line as a user meets it: the program is run as a process of its own.

mod asb;
mod collecting;
mod errors;
mod help;
mod keys;
mod looking;
mod moving;
mod restoring;
mod stopping;
mod support;

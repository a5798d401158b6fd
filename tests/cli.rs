//! The command line as a user meets it: the program is run as a process of its own.

mod cli {
    mod asb;
    mod clusters;
    mod collecting;
    mod config;
    mod copying;
    mod errors;
    mod files;
    mod from_asbackup;
    mod from_command;
    mod help;
    mod hold;
    mod json;
    mod keys;
    mod looking;
    mod moving;
    mod odd;
    mod options;
    mod parts;
    mod refused;
    mod repair;
    mod restoring;
    mod rollback;
    mod selecting;
    mod sleeping;
    mod stopping;
    mod support;
    mod tag;
    mod values;
}
mod support;

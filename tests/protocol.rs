//! A model of the commit-and-collection protocol, and a search through all that can happen in it.
//!
//! `format-spec/protocol.md` says which step of the model is which call of the code, what is bounded, and what was
//! found. Every counterexample is printed: `cargo test --test protocol -- --nocapture without`.

mod protocol {
    mod code;
    mod collector;
    mod explore;
    mod left_out;
    mod model;
    mod order;
    mod reader;
    mod reduce;
    mod reduced;
    mod rules;
    mod scenes;
    mod searches;
    mod state;
    mod swarm;
    mod table;
    mod writer;
}
mod support;

//! Which options go with which sources and targets. What an option asks for and a source or target can't do is refused
//! by the option's name: nothing that is given is dropped without a word.

use crate::error::{Error, Result};
pub use crate::job::EndpointKind as Kind;
use crate::job::endpoint::no_endpoint;

/// An option, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct GivenOption {
    pub name: &'static str,
    /// Whether it was given.
    pub given: bool,
    pub goes_with: &'static [Kind],
    /// Whether all sources must take it, as where it says what is read; else one of them is enough, as where it opens
    /// something.
    pub all: bool,
    /// Why the others don't take it.
    pub why: &'static str,
}

/// Refuses what is no source or target, and options that were given for something that doesn't take them: the first,
/// and all that are refused for the same reason.
pub fn check(urls: &[&str], options: impl IntoIterator<Item = GivenOption>) -> Result<()> {
    let mut kinds: Vec<(&str, Kind)> = Vec::new();
    for url in urls {
        kinds.push((url, Kind::of(url).ok_or_else(|| no_endpoint(url))?));
    }
    let refused_by = |option: &GivenOption| {
        let takes = |(_, kind): &&(&str, Kind)| option.goes_with.contains(kind);
        let is_taken = !option.all && kinds.iter().any(|kind| takes(&kind));
        kinds.iter().find(|kind| !is_taken && !takes(kind)).map(|(url, _)| *url)
    };
    let given = options.into_iter().filter(|option| option.given);
    let refused: Vec<_> = given.filter_map(|option| Some((refused_by(&option)?, option))).collect();
    let Some((url, first)) = refused.first() else { return Ok(()) };
    let alike = refused.iter().filter(|(other, option)| (other, option.why) == (url, first.why));
    let names: Vec<&str> = alike.map(|(_, option)| option.name).collect();
    let with: Vec<&str> = first.goes_with.iter().map(|kind| kind.prefix()).collect();
    let (go, them) = if names.len() == 1 { ("goes", "it") } else { ("go", "them") };
    Err(Error::usage(format!(
        "{} {go} with {} alone, not with {url}: {}. Leave {them} out",
        names.join(" and "),
        with.join(" and "),
        first.why
    )))
}

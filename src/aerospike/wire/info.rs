//! Info requests: names as lines, answered by lines of a name, a tab and a value.

use super::WireError;
use super::frame::{self, FrameType};

/// The answer to an info request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InfoReply {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A request for the values of `names`, as a whole frame.
pub fn request(names: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::begin(&mut out, FrameType::Info);
    for name in names {
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    frame::finish(&mut out);
    out
}

impl InfoReply {
    /// Reads the body of an answer.
    pub fn parse(body: &[u8]) -> Self {
        let rows = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
            let mut parts = line.splitn(2, |&byte| byte == b'\t');
            let mut part = || parts.next().unwrap_or_default().to_vec();
            (part(), part())
        });
        Self { rows: rows.collect() }
    }

    /// The value of `name`; an error if the server gave none, or said that it can't.
    pub fn get(&self, name: &'static str) -> Result<&[u8], WireError> {
        self.find(name, name)
    }

    /// The value of a name that is made up when it is asked for; `what` names it in errors.
    pub fn find(&self, name: &str, what: &'static str) -> Result<&[u8], WireError> {
        let row = self.rows.iter().find(|(found, _)| found == name.as_bytes());
        match row {
            None => Err(WireError::new(what, format!("an answer to the info request {name:?}"), "none")),
            Some((_, value)) if is_error(value) => {
                Err(WireError::new(what, format!("an answer to the info request {name:?}"), text(value)))
            }
            Some((_, value)) => Ok(value),
        }
    }

    /// The value of `name` as text.
    pub fn text(&self, name: &'static str) -> Result<String, WireError> {
        Ok(text(self.get(name)?))
    }
}

/// Whether a value is an error.
pub fn is_error(value: &[u8]) -> bool {
    ["ERROR", "FAIL"].iter().any(|word| {
        value.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
            && value.get(word.len()).is_none_or(|&byte| byte == b':')
    })
}

/// A value as text; what is not UTF-8 is replaced.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// The parts of a value between separators; empty ones are left out.
pub fn list(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    value.split(move |&byte| byte == separator).filter(|part| !part.is_empty())
}

/// The part after `name=` in a list of `name=value`.
pub fn value<'a>(list_of_pairs: &'a [u8], separator: u8, name: &str) -> Option<&'a [u8]> {
    list(list_of_pairs, separator).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The number after `name=` in a list of `name=value`.
pub fn number<T: std::str::FromStr>(list_of_pairs: &[u8], separator: u8, name: &str) -> Option<T> {
    std::str::from_utf8(value(list_of_pairs, separator, name)?).ok()?.parse().ok()
}

/// Whether a server's build is older than a release. One that can't be read is not.
pub fn is_older(build: &str, than: (u32, u32)) -> bool {
    let mut numbers = build.split('.').map_while(|number| number.parse::<u32>().ok());
    numbers.next().is_some_and(|major| (major, numbers.next().unwrap_or(0)) < than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_names_from_values_and_errors_from_answers() {
        let reply = InfoReply::parse(
            b"build\t8.1.2.0\nnode\tA1\nempty\t\nracks\tERROR:25:enterprise only\nold\tFAIL\nset\terrors\n",
        );
        assert_eq!(reply.text("build").unwrap(), "8.1.2.0");
        assert_eq!(reply.get("empty").unwrap(), b"");
        assert_eq!(reply.text("set").unwrap(), "errors");
        for name in ["racks", "old", "nothing"] {
            assert!(reply.get(name).is_err(), "{name}");
        }
    }

    #[test]
    fn builds_are_compared_by_their_numbers() {
        for (build, older) in [("5.7.0.31", true), ("6.0.0.0", false), ("10.1", false), ("6", false), ("odd", false)] {
            assert_eq!(is_older(build, (6, 0)), older, "{build}");
        }
        assert!(is_older("8.0.0.9-rc1", (8, 1)) && !is_older("8.1.2.0", (8, 1)));
    }

    #[test]
    fn finds_values_in_lists_of_pairs() {
        let list = b"objects=105;current_time=533133502;stop=a=b";
        assert_eq!(number::<u64>(list, b';', "current_time"), Some(533_133_502));
        assert_eq!(value(list, b';', "stop"), Some(&b"a=b"[..]));
        assert_eq!(value(list, b';', "time"), None);
    }
}

//! Setters for structs of options, whose fields outside code may read and set but not list: more of them may come.

/// Gives an options struct a setter for each of its public fields: of just its type, or, after `into`, of whatever
/// makes it, such as a text for a `String`, or what is to be in an `Option`; or, after `each`, of any number of what
/// makes its elements.
macro_rules! setters {
    ($of:ty { $($field:ident: $type:ty),* $(,)? }
    $(into { $($into:ident: $made:ty),* $(,)? })?
    $(each { $($each:ident: $element:ty => $all:ty),* $(,)? })?) => {
        impl $of {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
            $($(
                #[doc = concat!("Sets [`", stringify!($into), "`](Self#structfield.", stringify!($into), ").")]
                #[must_use]
                pub fn $into(mut self, $into: impl Into<$made>) -> Self {
                    self.$into = $into.into();
                    self
                }
            )*)?
            $($(
                #[doc = concat!("Sets [`", stringify!($each), "`](Self#structfield.", stringify!($each), ") to these.")]
                #[must_use]
                pub fn $each(mut self, $each: impl IntoIterator<Item = impl Into<$element>>) -> Self {
                    self.$each = $each.into_iter().map(Into::into).collect::<$all>().into();
                    self
                }
            )*)?
        }
    };
}

pub(crate) use setters;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Options {
        few: u32,
        many: u32,
        name: String,
        limit: Option<u32>,
        all: Vec<String>,
    }

    setters!(Options {
        few: u32,
        many: u32,
    } into {
        name: String,
        limit: Option<u32>,
    } each {
        all: String => Vec<String>,
    });

    #[test]
    fn a_setter_sets_its_own_field_and_no_other() {
        let none = Options::default();
        assert_eq!(none.clone().few(1), Options { few: 1, ..none.clone() });
        assert_eq!(none.clone().many(1), Options { many: 1, ..none.clone() });
        assert_eq!(none.clone().name("a"), Options { name: "a".into(), ..none.clone() });
        assert_eq!(none.clone().limit(1), Options { limit: Some(1), ..none.clone() });
        assert_eq!(none.clone().limit(None), none);
        assert_eq!(none.clone().all(["a", "b"]), Options { all: vec!["a".into(), "b".into()], ..none.clone() });
    }

    /// The names before the colons of a text's fields.
    fn fields<'t>(text: &'t str, before: &str) -> BTreeSet<&'t str> {
        let parts = text.split([',', '{', '}', '\n']).filter_map(|part| part.trim().strip_prefix(before));
        let named = parts.filter_map(|part| part.split_once(": ")).map(|(name, _)| name);
        named.filter(|name| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())).collect()
    }

    #[test]
    fn every_public_field_of_options_has_a_setter() {
        let mut directories = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut looked_at = 0;
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let used = || text.match_indices("\nsetters!(").map(|(at, found)| &text[at + found.len()..]);
                let (_, new) = text.split_once("pub fn new(").unwrap_or_default();
                let given = fields(new.split_once(')').unwrap_or_default().0, "");
                for name in used().map(|rest| rest.split(' ').next().unwrap()) {
                    let of_it = used().filter(|rest| rest.split(' ').next() == Some(name));
                    let set: BTreeSet<&str> =
                        of_it.flat_map(|rest| fields(rest.split_once(");").unwrap().0, "")).collect();
                    let (_, members) = text.split_once(&format!("pub struct {name} {{")).unwrap();
                    for field in fields(members.split_once("\n}").unwrap().0, "pub ") {
                        assert!(set.contains(field) || given.contains(field), "{name}::{field} in {}", path.display());
                        looked_at += 1;
                    }
                }
            }
        }
        assert!(looked_at > 100, "{looked_at}");
    }
}

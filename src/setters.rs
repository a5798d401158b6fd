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

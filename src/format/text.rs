//! How long the texts of stored objects may be, so that whoever lists them is not flooded. In bytes of UTF-8.

use super::FormatError;

/// The name of a cluster, a host, a program, a label.
pub const NAME_BYTES: usize = 256;
/// Labels of a snapshot.
pub const TAGS: usize = 64;
/// Why a snapshot is held, or a session ended as it did.
pub const REASON_BYTES: usize = 4096;
/// Where records came from, and what a session does.
pub const SOURCE_BYTES: usize = 8192;

/// Makes sure that a text is no longer than that.
///
/// # Errors
///
/// If it is longer.
pub fn check(what: &'static str, text: &str, most: usize) -> Result<(), FormatError> {
    match text.len() > most {
        true => {
            Err(FormatError::field(what, format_args!("at most {most} bytes"), format_args!("{} bytes", text.len())))
        }
        false => Ok(()),
    }
}

/// Makes sure that labels are no more and no longer than they may be.
///
/// # Errors
///
/// If there are too many, or one is too long.
pub fn check_tags(tags: &[String]) -> Result<(), FormatError> {
    if tags.len() > TAGS {
        return Err(FormatError::field("the labels", format_args!("at most {TAGS}"), tags.len()));
    }
    tags.iter().try_for_each(|tag| check("a label", tag, NAME_BYTES))
}

/// A text that this program made, cut to that length.
pub fn cut(mut text: String, most: usize) -> String {
    const MORE: &str = "…";
    if text.len() > most {
        let end = text.floor_char_boundary(most.saturating_sub(MORE.len()));
        text.truncate(end);
        text.push_str(MORE);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_no_longer_than_it_may_be_and_says_so() {
        assert_eq!(cut("short".into(), 5), "short");
        assert_eq!(cut("üüüü".into(), 7), "üü…");
        assert!(check("it", &cut("x".repeat(9000), SOURCE_BYTES), SOURCE_BYTES).is_ok());
    }

    #[test]
    fn what_is_longer_or_more_is_refused() {
        assert!(check("it", "12345", 4).unwrap_err().to_string().contains("at most 4 bytes, found 5 bytes"));
        let tag = |bytes| "x".repeat(bytes);
        assert!(check_tags(&vec![tag(NAME_BYTES); TAGS]).is_ok());
        assert!(check_tags(&vec![tag(1); TAGS + 1]).is_err());
        assert!(check_tags(&[tag(NAME_BYTES + 1)]).is_err());
    }
}

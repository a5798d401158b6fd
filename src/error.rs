//! The one error type of the library.
//!
//! Every variant says what was being done, to which object, what was found, and (where the caller can do something)
//! what to do next; causes are kept as `source`. The command line maps [`Error::exit_code`] to its exit status.

mod options;
mod secret;
mod store;

pub use options::OptionsError;
pub use secret::{AbsentSecret, Secret};
pub use store::StoreErrorKind;

/// Any error: what code of a caller's own answers with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in terms a person can act on. Where a message names an option to change, that is the field of the
/// options struct, in backquotes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done, and to what, as the end of "cannot …".
        doing: String,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A store could not do what it was asked for.
    #[error("cannot {doing}: {source}{}", suffix(.advice))]
    Store {
        /// What it comes to for the caller.
        kind: StoreErrorKind,
        /// What was being done, to which object, and where, as the end of "cannot …".
        doing: String,
        /// What the system below answered.
        source: BoxError,
        /// What the user can do; may be empty.
        advice: String,
    },
    /// An object of the repository is missing from the store.
    #[error("{object} is missing from the repository{}", suffix(.advice))]
    Missing {
        /// The object's key in the store.
        object: String,
        /// What the user can do; may be empty.
        advice: String,
    },
    /// An object of the repository is not what it should be.
    #[error("{object} is damaged: {found}{}", suffix(.advice))]
    Damaged {
        /// The object's key in the store, or the name of a part of it.
        object: String,
        /// What was found, against what was expected.
        found: String,
        /// What the user can do; may be empty.
        advice: String,
    },
    /// The object is of a format version that this build doesn't know.
    #[error(
        "{object} has format version {found}; this build reads version {known}. Use {} aerolith",
        if found > known { "a newer" } else { "an older" }
    )]
    UnknownVersion {
        /// The object's key.
        object: String,
        /// The version that the object states.
        found: u32,
        /// The newest version that this build reads.
        known: u32,
    },
    /// What is needed to open or prove something is not at hand: the repository was opened with some of its secrets
    /// only.
    #[error("{}{secret} is not at hand. Open the repository with a key slot that has it", of_object(.object))]
    AbsentSecret {
        /// What is missing.
        secret: Secret,
        /// The object's key in the store; may be empty.
        object: String,
    },
    /// No key slot opens with the given passphrase.
    #[error(
        "wrong passphrase: {} of {repository}. If you are sure that it is right, `config` was changed: key \
         slots open only with the repository id in it. Restore it from a copy",
        opens_none(.slots)
    )]
    WrongPassphrase {
        /// Where the repository is.
        repository: String,
        /// How many slots were tried.
        slots: usize,
    },
    /// Others are at work, so that it can't be done now; nothing is wrong. The text says who, and what to do.
    #[error("{0}")]
    Busy(String),
    /// What the caller asked for doesn't exist.
    #[error("{what} not found{}", suffix(.advice))]
    NotFound {
        /// What was asked for.
        what: String,
        /// What the user can do; may be empty.
        advice: String,
    },
    /// The call's arguments don't fit together, or don't fit what they are applied to.
    #[error("{0}")]
    Invalid(String),
    /// What a person typed can't be parsed, whatever it is applied to.
    #[error("{0}")]
    Usage(String),
    /// Options don't fit together, or not what they are applied to.
    #[error("{0}")]
    Options(OptionsError),
    /// Input from a source isn't well formed.
    #[error("{source_name} at byte {offset}: expected {expected}, found {found}")]
    Malformed {
        /// The file (or other source) that was read.
        source_name: String,
        /// Byte offset in the decoded stream of that file.
        offset: u64,
        /// What was expected there.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A source could not be read.
    #[error("source {source_name}: {problem}")]
    Source {
        /// The source's name as the user gave it.
        source_name: String,
        /// What went wrong.
        problem: String,
    },
    /// What a caller's own code answered.
    #[error("{doing}: {source}")]
    Caller {
        /// What it was called for, and of which source, target or store.
        doing: String,
        /// Its answer.
        source: BoxError,
    },
    /// The official client's values can't hold all that a record has.
    #[error("record {record}: the official client can't hold {what}. Take the record verbatim")]
    ClientLoses {
        /// The record's digest.
        record: String,
        /// Which part of it, and what of that would be lost.
        what: String,
    },
    /// A target could not be written.
    #[error("target {target_name}: {problem}")]
    Target {
        /// The target's name as the user gave it.
        target_name: String,
        /// What went wrong.
        problem: String,
    },
    /// A restore into a live target ended before its end.
    #[error(
        "{}. What was written stays. Run it again; with `resume` it passes over what is there already",
        trimmed(.source)
    )]
    PartlyRestored {
        /// Why.
        source: Box<Error>,
    },
    /// A backup ended before its commit, and another may go on from what it noted.
    #[error(
        "{}. Nothing was committed. Run the backup again: it goes on from what this one noted of its progress, unless \
         the nodes that hold it were restarted meanwhile",
        trimmed(.source)
    )]
    Resumable {
        /// Why.
        source: Box<Error>,
    },
    /// An embedded store could not be read or written.
    #[error("embedded store {store}: {problem}")]
    Embedded {
        /// The store's file or directory.
        store: String,
        /// What was being done, what was found, what to do next.
        problem: String,
    },
    /// The session lost its name: somebody fenced it.
    #[error(
        "session {session} was fenced before it could commit: another program counted it as dead (asleep past its \
         lease), or was told to by a prune with `fence`. Nothing was committed; run the backup again"
    )]
    Fenced {
        /// The session's id.
        session: String,
    },
    /// The program is in a state that it rules out itself.
    #[error("internal error: {0}. Nothing more was written; please report it")]
    Internal(String),
    /// The caller asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

fn suffix(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(". {text}") }
}

/// An error as the beginning of a text.
fn trimmed(error: &Error) -> String {
    error.to_string().trim_end_matches('.').to_string()
}

/// That a passphrase opens none of the key slots that were tried.
fn opens_none(slots: &usize) -> String {
    match slots {
        1 => "it does not open the 1 key slot".to_string(),
        slots => format!("it opens none of the {slots} key slots"),
    }
}

fn of_object(object: &str) -> String {
    if object.is_empty() { String::new() } else { format!("{object} can't be read: ") }
}

impl From<OptionsError> for Error {
    fn from(error: OptionsError) -> Self {
        Error::Options(error)
    }
}

impl Error {
    /// An I/O error with what was being done.
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io { doing: doing.into(), source }
    }

    /// What a caller's own code answered when it was called for something. An [`Error`] in the box is given back as it
    /// is.
    pub fn caller(doing: impl Into<String>, error: impl Into<BoxError>) -> Self {
        match error.into().downcast::<Error>() {
            Ok(own) => *own,
            Err(source) => Error::Caller { doing: doing.into(), source },
        }
    }

    /// A damaged object without advice.
    pub fn damaged(object: impl Into<String>, found: impl Into<String>) -> Self {
        Error::Damaged { object: object.into(), found: found.into(), advice: String::new() }
    }

    /// A state that the program itself rules out: `what` was found in it.
    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Error::Internal(what.into())
    }

    /// Arguments that don't fit.
    pub fn invalid(problem: impl Into<String>) -> Self {
        Error::Invalid(problem.into())
    }

    /// A request that can't be parsed as it was typed.
    pub fn usage(problem: impl ToString) -> Self {
        Error::Usage(problem.to_string())
    }

    /// Something that was asked for and isn't there.
    pub fn not_found(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Error::NotFound { what: what.into(), advice: advice.into() }
    }

    /// Adds what to do next to an error that one object is damaged or missing.
    pub fn with_advice(mut self, text: &str) -> Self {
        if let Error::Damaged { advice, .. } | Error::Missing { advice, .. } = &mut self {
            *advice = text.to_string();
        }
        self
    }

    /// Whether this says that the repository itself is damaged, rather than the input, the target or the call.
    pub fn is_damage(&self) -> bool {
        matches!(self, Error::Damaged { .. } | Error::Missing { .. })
    }

    /// Whether the trouble is with one stored object alone, so that work on all the others can go on: it is damaged,
    /// missing, or of a format version that this build doesn't know.
    pub fn is_of_one_object(&self) -> bool {
        self.is_damage() || matches!(self, Error::UnknownVersion { .. })
    }

    /// The exit status the command line ends with: 10 for a damaged repository, 2 for what can't be parsed and for
    /// options that don't fit, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Options(_) => 2,
            Error::Resumable { source } => source.exit_code(),
            error if error.is_damage() => 10,
            _ => 1,
        }
    }
}

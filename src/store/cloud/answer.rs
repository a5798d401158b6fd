//! What an object store answered last, and what that comes to as an error of ours.

use crate::error::{Error, StoreErrorKind};
use object_store::client::{HttpError, HttpErrorKind, HttpResponse};
use std::cell::RefCell;
use std::time::Duration;

/// The longest wait that a store may ask for.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The longest text of a store that is repeated.
const MAX_TEXT: usize = 300;

/// The answer to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status; 0 if none came.
    pub status: u16,
    /// After which time the store wants to be asked again.
    pub wait: Option<Duration>,
}

tokio::task_local! {
    static LAST: RefCell<Answer>;
}

impl Answer {
    /// Runs the requests of one call; gives back what the last of them was answered.
    pub(super) async fn of<T>(call: impl Future<Output = T>) -> (T, Answer) {
        let both = async {
            let done = call.await;
            (done, LAST.with(|last| *last.borrow()))
        };
        LAST.scope(RefCell::default(), both).await
    }

    /// Notes an answer, for the call that this task is in.
    pub(super) fn note(response: &HttpResponse) {
        let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let wait = seconds.map(|seconds| Duration::from_secs(seconds).min(MAX_WAIT));
        // Whoever asks without a call, such as for credentials, reports for itself.
        let _ = LAST.try_with(|last| *last.borrow_mut() = Answer { status: response.status().as_u16(), wait });
    }

    /// The error of a call that failed so; `doing` says what was being done to which object, as the end of "cannot …".
    pub(super) fn error(self, doing: String, error: &object_store::Error) -> Error {
        let texts = texts(error);
        let code = texts.iter().find_map(|text| between(text, "<Code>", "</Code>")).unwrap_or_default();
        let message = texts.iter().find_map(|text| between(text, "<Message>", "</Message>")).unwrap_or_default();
        let transport = transport(error);
        let (kind, advice) = self.judge(code, transport, &texts);
        let found = match (self.status, transport) {
            (_, Some(_)) | (0, _) => shortened(texts.last().map_or("", String::as_str)).to_string(),
            (status, None) if code.is_empty() => format!("the store answered {status}"),
            (status, None) => format!("the store answered {status} {code}: {}", shortened(message)),
        };
        let mut error = Error::store_busy(kind, doing, found, self.wait);
        if let Error::Store { advice: place, .. } = &mut error {
            *place = advice.to_string();
        }
        error
    }

    /// What an answer comes to, and what to do about it.
    fn judge(self, code: &str, transport: Option<HttpErrorKind>, texts: &[String]) -> (StoreErrorKind, &'static str) {
        use StoreErrorKind::{Full, Missing, Other, Refused, Transient};
        let says = |word: &str| texts.iter().any(|text| text.contains(word));
        if transport.is_some() {
            return match says("invalid peer certificate") {
                true => {
                    (Refused, "The certificate of the store is not one that this machine trusts: see the setting ca")
                }
                false => (Transient, ""),
            };
        }
        match (self.status, code) {
            (_, "RequestTimeTooSkewed") => (Refused, "Set the clock of this machine"),
            (_, "NoSuchBucket" | "ContainerNotFound") => (Missing, "Make the bucket, or correct the URL"),
            (_, "ExpiredToken" | "ExpiredTokenException") => (Transient, "The credentials ran out: get new ones"),
            (_, "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage") | (507, _) => (Full, ""),
            (_, "AuthorizationHeaderMalformed" | "PermanentRedirect") | (301 | 302 | 307, _) => {
                (Refused, "The bucket is in another region: give it with --store-option region=REGION")
            }
            (401 | 403, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AuthenticationFailed") | (401, _) => {
                (Refused, "Check the credentials")
            }
            (403, _) => (Refused, "The key may not do this: docs/stores.md lists what each command needs"),
            (408 | 409 | 425 | 429 | 500 | 502 | 503 | 504, _) => (Transient, ""),
            (501, _) => (Other, "The store knows no conditional writes, perhaps: docs/stores.md lists those that do"),
            (0, _) if says("credential") || says("metadata endpoint") => {
                (Refused, "No credentials were found: docs/stores.md says where they may be")
            }
            _ => (Other, ""),
        }
    }
}

/// What went wrong on the way, if that is it.
fn transport(error: &object_store::Error) -> Option<HttpErrorKind> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}

/// An error and its causes, in words.
fn texts(error: &object_store::Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(inner, _)| inner)
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(MAX_TEXT).and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

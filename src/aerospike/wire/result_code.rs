//! What the servers' result codes mean.

use std::fmt;

/// The result code of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResultCode(pub u8);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl ResultCode {
            $(
                $(#[$doc])*
                #[allow(dead_code, reason = "the table is whole")]
                pub const $name: ResultCode = ResultCode($number);
            )*

            /// What it means, if it is a known one.
            pub fn meaning(self) -> Option<&'static str> {
                match self.0 { $($number => Some($text),)* _ => None }
            }
        }
    };
}

codes! {
    /// Done.
    OK = 0, "ok";
    /// The server doesn't say what went wrong.
    UNKNOWN = 1, "unspecified server error";
    /// There is no such record.
    NOT_FOUND = 2, "record not found";
    /// The record's generation is not as the write wants it.
    GENERATION = 3, "the record's generation is as high or higher";
    /// The request is not understood.
    PARAMETER = 4, "the server does not understand the request";
    /// There is such a record.
    RECORD_EXISTS = 5, "the record exists";
    /// The cluster is changing.
    CLUSTER_CHANGED = 7, "the cluster has changed meanwhile";
    /// No room left.
    OUT_OF_SPACE = 8, "the server has no space left";
    /// The request took too long.
    TIMEOUT = 9, "timeout at the server";
    /// The partition is not there just now.
    UNAVAILABLE = 11, "the partition is unavailable on this node";
    /// A value can't be in a bin of this kind.
    INCOMPATIBLE_TYPE = 12, "a value's type does not suit";
    /// The record is larger than a server takes.
    RECORD_TOO_BIG = 13, "the record is too big for this namespace";
    /// The record is being worked on.
    KEY_BUSY = 14, "the record is busy";
    /// Somebody stopped the query.
    QUERY_ABORTED = 15, "the query was aborted at the server";
    /// The server can't do this.
    UNSUPPORTED = 16, "the server does not support this";
    /// The storage can't keep up.
    DEVICE_OVERLOAD = 18, "the server's storage is overloaded";
    /// The stored key is another one.
    KEY_MISMATCH = 19, "the record with this digest has another user key";
    /// There is no such namespace.
    NAMESPACE = 20, "no such namespace on this node";
    /// A bin's name is too long or otherwise not one.
    BIN_NAME = 21, "a bin's name is longer than servers take";
    /// The server is too busy, or forbids it.
    FORBIDDEN = 22, "forbidden at this time or by configuration";
    /// Only the Enterprise Edition can do this.
    ENTERPRISE_ONLY = 25, "only the Enterprise Edition can do this";
    /// A filter did not let the record through.
    FILTERED_OUT = 27, "filtered out";
    /// A newer write by replication won.
    LOST_CONFLICT = 28, "another write of the record won";
    /// The server has no security.
    SECURITY_UNSUPPORTED = 51, "the server has no access control";
    /// The server's security is off.
    SECURITY_OFF = 52, "access control is off at the server";
    /// No such user.
    BAD_USER = 60, "no such user";
    /// The password has expired.
    EXPIRED_PASSWORD = 63, "the password has expired";
    /// The password is wrong.
    BAD_CREDENTIAL = 65, "wrong password";
    /// The session has ended.
    EXPIRED_SESSION = 66, "the session has expired";
    /// The role's name can't be one.
    INVALID_ROLE = 70, "no valid name of a role";
    /// There is such a role.
    ROLE_EXISTS = 71, "the role exists";
    /// The server doesn't know the privilege.
    INVALID_PRIVILEGE = 72, "the server does not know one of its privileges";
    /// The allow list is none.
    INVALID_ALLOW_LIST = 73, "the server does not understand its allow list";
    /// The server has no quotas.
    QUOTAS_OFF = 74, "quotas are switched off at the server";
    /// The quota is too high.
    INVALID_QUOTA = 75, "a quota is higher than the server takes";
    /// Not logged in.
    NOT_AUTHENTICATED = 80, "the server wants a login: give `user` and a password";
    /// The user's roles don't allow it.
    ROLE_VIOLATION = 81, "the user's roles do not allow this";
    /// The client's address is not allowed.
    NOT_ALLOWED = 82, "this machine's address is not on the user's allow list";
    /// The user's quota is used up.
    QUOTA_EXCEEDED = 83, "the user's quota is exceeded";
    /// The directory refused the user.
    LDAP_AUTHENTICATION = 93, "the directory refused user or password";
    /// Batches are switched off.
    BATCH_DISABLED = 150, "batches are switched off at this node";
    /// The batch has too many rows.
    BATCH_TOO_LONG = 151, "the batch has more rows than the server allows";
    /// The batch queues are full.
    BATCH_QUEUES_FULL = 152, "the server's batch queues are full";
    /// A value that should be GeoJSON is none.
    GEOJSON = 160, "a value is no valid GeoJSON";
}

impl ResultCode {
    /// Whether the same request may succeed later, or on another node.
    pub fn is_passing(self) -> bool {
        matches!(
            self,
            Self::UNKNOWN
                | Self::TIMEOUT
                | Self::UNAVAILABLE
                | Self::KEY_BUSY
                | Self::QUERY_ABORTED
                | Self::DEVICE_OVERLOAD
                | Self::NAMESPACE
                | Self::FORBIDDEN
                | Self::EXPIRED_SESSION
                | Self::NOT_AUTHENTICATED
                | Self::QUOTA_EXCEEDED
                | Self::BATCH_QUEUES_FULL
        )
    }

    /// Whether a write that got this result may succeed later, or on another node. What only a change of configuration
    /// can help is no such result.
    pub fn is_passing_for_a_write(self) -> bool {
        self.is_passing() && self != Self::FORBIDDEN || matches!(self, Self::CLUSTER_CHANGED | Self::LOST_CONFLICT)
    }

    /// Whether the server can't keep up, so that asking it less is what helps.
    pub fn is_overload(self) -> bool {
        matches!(self, Self::DEVICE_OVERLOAD | Self::TIMEOUT | Self::BATCH_QUEUES_FULL | Self::QUOTA_EXCEEDED)
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.meaning() {
            Some(meaning) => write!(f, "{meaning} (code {})", self.0),
            None => write!(f, "server error code {}", self.0),
        }
    }
}

//! Users and roles of a cluster with access control.
//!
//! Passwords can't be read, so that users can be named and told apart, but not made again.

use super::cluster::{Cluster, Node};
use super::error::{ClusterError, Result};
use super::options::AuthMode;
use super::wire::admin;
use super::wire::result_code::ResultCode;
use crate::record::{Role, User};

/// What a cluster lets us know of its users and roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It has no access control, or it is off.
    Off,
    /// All of them, by name.
    Known {
        /// The roles, those that every cluster has too.
        roles: Vec<Role>,
        /// The users.
        users: Vec<User>,
    },
    /// It doesn't, and why.
    Hidden(String),
}

/// Asks a node, which knows those of the whole cluster. Nobody has users who doesn't log in: then nothing is asked.
pub fn read(cluster: &Cluster, node: &Node) -> Result<Access> {
    let options = cluster.options();
    if options.user.is_none() && options.auth != AuthMode::Certificate {
        return Ok(Access::Off);
    }
    let asked = || -> Result<Access> {
        let (mut roles, mut users) = (Vec::new(), Vec::new());
        cluster.with(node, |connection| {
            connection.list(&admin::query_roles(), "list the roles", |body| admin::roles(body, &mut roles))?;
            connection.list(&admin::query_users(), "list the users", |body| admin::users(body, &mut users))
        })?;
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        users.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Access::Known { roles, users })
    };
    match asked() {
        Err(ClusterError::Refused { code: ResultCode::SECURITY_OFF | ResultCode::SECURITY_UNSUPPORTED, .. }) => {
            Ok(Access::Off)
        }
        Err(error @ ClusterError::Refused { .. }) if !error.is_passing() => {
            Ok(Access::Hidden(format!("{error}; the role user-admin lets a user see them")))
        }
        other => other,
    }
}

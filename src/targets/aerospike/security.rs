//! Makes roles, and says which users somebody has to make.
//!
//! A role that is there already and the same is left alone, one that differs stays too, and is reported: to change what
//! others may do is nothing that a restore should decide. Users can't be made without their passwords, which no server
//! gives away, and for which no default is safe; so those that lack, or have other roles, are named with the roles that
//! they had.
//!
//! Privileges keep the namespaces that they name, whatever a namespace is restored as: to grant the same on another one
//! is to grant something else.

use crate::aerospike::cluster::Cluster;
use crate::aerospike::error::{ClusterError, Result};
use crate::aerospike::security;
use crate::aerospike::security::Access;
use crate::aerospike::wire::admin;
use crate::aerospike::wire::info::text;
use crate::aerospike::wire::result_code::ResultCode;
use crate::record::{NamespaceMetadata, Role, User};
use crate::targets::without_users;
use std::time::{Duration, Instant};

/// How long a new role may take to show on every node.
const SHOWS_WITHIN: Duration = Duration::from_secs(20);

/// Makes the roles that `wanted` names. Gives back what is not as it was, each with its reason. With `only_look`
/// nothing is made.
pub fn create(cluster: &Cluster, wanted: &NamespaceMetadata, only_look: bool) -> Result<Vec<String>> {
    let (roles, users) = (&wanted.roles, &wanted.users);
    if roles.is_empty() && users.is_empty() {
        return Ok(Vec::new());
    }
    let all = |why: &str| without_users(wanted, why).into_iter().collect();
    let (there, others) = match access(cluster)? {
        Access::Off => return Ok(all("the cluster has no access control, or this client does not log in")),
        Access::Hidden(problem) => return Ok(all(&problem)),
        Access::Known { roles, users } => (roles, users),
    };
    let (mut omitted, mut new) = (Vec::new(), Vec::new());
    for role in roles {
        match there.iter().find(|other| other.name == role.name) {
            Some(same) if same == role => {}
            Some(_) => omitted.push(of_role(role, "the cluster has another one of this name, which stays")),
            None if only_look => {}
            None => match make(cluster, role)? {
                Ok(()) => new.push(role.clone()),
                Err(problem) => omitted.push(of_role(role, &problem)),
            },
        }
    }
    omitted.extend(unseen(cluster, new)?);
    for user in users {
        match others.iter().find(|other| other.name == user.name) {
            Some(same) if same.roles == user.roles => {}
            Some(other) => {
                omitted.push(of_user(user, &format!("has the roles {} there, which stay", named(&other.roles))))
            }
            None => omitted.push(of_user(user, "can't be made without a password; make it, and grant the roles")),
        }
    }
    Ok(omitted)
}

fn of_role(role: &Role, problem: &str) -> String {
    format!("role {:?}: {problem}", text(&role.name))
}

fn of_user(user: &User, problem: &str) -> String {
    format!("user {:?} with the roles {}: {problem}", text(&user.name), named(&user.roles))
}

fn named(roles: &[Vec<u8>]) -> String {
    let names: Vec<String> = roles.iter().map(|role| text(role)).collect();
    if names.is_empty() { "(none)".into() } else { names.join(", ") }
}

fn access(cluster: &Cluster) -> Result<Access> {
    cluster.patiently(|topology| match topology.nodes.values().next() {
        Some(node) => security::read(cluster, node),
        None => Err(ClusterError::Other("the cluster has no nodes".into())),
    })
}

/// Asks one node to make a role; it tells the others. The inner error is the refusal.
fn make(cluster: &Cluster, role: &Role) -> Result<Result<(), String>> {
    let request = match admin::create_role(role) {
        Ok(request) => request,
        Err(problem) => return Ok(Err(problem)),
    };
    let doing = format!("make the role {:?}", text(&role.name));
    let made = cluster.patiently(|topology| match topology.nodes.values().next() {
        Some(node) => cluster.with(node, |connection| connection.login(&request, &doing).map(|_| ())),
        None => Err(ClusterError::Other("the cluster has no nodes".into())),
    });
    match made {
        // An attempt whose answer was lost may have made it; whether it is ours is looked at.
        Ok(()) | Err(ClusterError::Refused { code: ResultCode::ROLE_EXISTS, .. }) => Ok(Ok(())),
        Err(error @ ClusterError::Refused { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Waits until every node shows the roles that were made; says which one doesn't.
fn unseen(cluster: &Cluster, mut new: Vec<Role>) -> Result<Vec<String>> {
    let begun = Instant::now();
    while !new.is_empty() {
        let all = cluster.patiently(|topology| {
            topology.nodes.values().map(|node| security::read(cluster, node)).collect::<Result<Vec<_>>>()
        })?;
        let shows =
            |access: &Access, role: &Role| matches!(access, Access::Known { roles, .. } if roles.contains(role));
        new.retain(|role| !all.iter().all(|access| shows(access, role)));
        if begun.elapsed() >= SHOWS_WITHIN {
            break;
        }
        if !new.is_empty() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let problem = "it was made, but not every node shows it as it should be";
    Ok(new.iter().map(|role| of_role(role, problem)).collect())
}

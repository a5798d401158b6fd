//! Users and roles: requests for them, their answers, and the making of a role.
//!
//! Requests are security messages, as [logins](super::login) are. Lists come in one or more frames, each with any
//! number of entries: a head as that of a login's answer, and the entry's fields. An entry with result 50 ends the
//! list, one with another result but 0 refuses it.
//!
//! ```text
//! roles of a user:  count (1 byte), for each: length (1 byte), name
//! privileges:       count (1 byte), for each: code (1 byte), and of codes from 10 on: length (1 byte) and name of a
//!                   namespace, length (1 byte) and name of a set; empty for all
//! allow list:       addresses, separated by commas
//! quotas:           operations per second, u32; 0 for no limit
//! ```

use super::login::{HEAD_BYTES, message};
use super::result_code::ResultCode;
use super::{WireError, take, take_array};
use crate::record::{Privilege, Role, User};
use zeroize::Zeroizing;

const COMMAND_QUERY_USERS: u8 = 9;
const COMMAND_CREATE_ROLE: u8 = 10;
const COMMAND_QUERY_ROLES: u8 = 16;

const FIELD_USER: u8 = 0;
const FIELD_ROLES: u8 = 10;
const FIELD_ROLE: u8 = 11;
const FIELD_PRIVILEGES: u8 = 12;
const FIELD_ALLOW_LIST: u8 = 13;
const FIELD_READ_QUOTA: u8 = 14;
const FIELD_WRITE_QUOTA: u8 = 15;

/// Privileges from this code on name a namespace and a set.
const FIRST_SCOPED: u8 = 10;
/// The most users or roles that are taken from a cluster.
const MAX_ENTRIES: usize = 1_000_000;

/// A request for all users, as a whole frame.
pub fn query_users() -> Zeroizing<Vec<u8>> {
    message(COMMAND_QUERY_USERS, &[])
}

/// A request for all roles, as a whole frame.
pub fn query_roles() -> Zeroizing<Vec<u8>> {
    message(COMMAND_QUERY_ROLES, &[])
}

/// A request to make a role, as a whole frame; else what the protocol can't bear of it.
pub fn create_role(role: &Role) -> Result<Zeroizing<Vec<u8>>, String> {
    let length = |what: &str, n: usize| u8::try_from(n).map_err(|_| format!("{what} is longer than 255"));
    let mut privileges = vec![length("the list of its privileges", role.privileges.len())?];
    for Privilege { code, namespace, set } in &role.privileges {
        privileges.push(*code);
        if *code < FIRST_SCOPED {
            if !namespace.is_empty() || !set.is_empty() {
                return Err(format!("its privilege {code} can't be for one namespace or set"));
            }
            continue;
        }
        for (what, name) in [("a namespace's name", namespace), ("a set's name", set)] {
            privileges.push(length(what, name.len())?);
            privileges.extend_from_slice(name);
        }
    }
    let (read, write) = (role.read_quota.to_be_bytes(), role.write_quota.to_be_bytes());
    let mut fields: Vec<(u8, &[u8])> = vec![(FIELD_ROLE, &role.name)];
    if !role.privileges.is_empty() {
        fields.push((FIELD_PRIVILEGES, &privileges));
    }
    if !role.allow_list.is_empty() {
        fields.push((FIELD_ALLOW_LIST, &role.allow_list));
    }
    for (kind, quota, bytes) in
        [(FIELD_READ_QUOTA, role.read_quota, &read), (FIELD_WRITE_QUOTA, role.write_quota, &write)]
    {
        if quota > 0 {
            fields.push((kind, bytes));
        }
    }
    Ok(message(COMMAND_CREATE_ROLE, &fields))
}

/// Adds the users of one frame to `found`. Gives back the result that ends the list, 0 for its end; `None` if more
/// frames follow.
pub fn users(body: &[u8], found: &mut Vec<User>) -> Result<Option<ResultCode>, WireError> {
    entries(body, |fields| {
        let mut user = User::default();
        for &(kind, mut data) in fields {
            match kind {
                FIELD_USER => user.name = data.to_vec(),
                FIELD_ROLES => {
                    for _ in 0..count(&mut data, "the roles of a user")? {
                        user.roles.push(name(&mut data, "a role of a user")?);
                    }
                }
                _ => {}
            }
        }
        // Entries without a name are of nobody.
        if !user.name.is_empty() {
            user.roles.sort();
            bounded(found, user, "the list of users")?;
        }
        Ok(())
    })
}

/// Adds the roles of one frame to `found`. Gives back the result that ends the list, 0 for its end; `None` if more
/// frames follow.
pub fn roles(body: &[u8], found: &mut Vec<Role>) -> Result<Option<ResultCode>, WireError> {
    entries(body, |fields| {
        let mut role = Role::default();
        for &(kind, mut data) in fields {
            match kind {
                FIELD_ROLE => role.name = data.to_vec(),
                FIELD_PRIVILEGES => {
                    for _ in 0..count(&mut data, "the privileges of a role")? {
                        let [code] = take_array(&mut data, "a privilege of a role")?;
                        let mut privilege = Privilege { code, ..Privilege::default() };
                        if code >= FIRST_SCOPED {
                            privilege.namespace = name(&mut data, "the namespace of a privilege")?;
                            privilege.set = name(&mut data, "the set of a privilege")?;
                        }
                        role.privileges.push(privilege);
                    }
                }
                FIELD_ALLOW_LIST => role.allow_list = data.to_vec(),
                FIELD_READ_QUOTA => role.read_quota = u32::from_be_bytes(take_array(&mut data, "a quota of a role")?),
                FIELD_WRITE_QUOTA => role.write_quota = u32::from_be_bytes(take_array(&mut data, "a quota of a role")?),
                _ => {}
            }
        }
        if !role.name.is_empty() {
            role.privileges.sort();
            bounded(found, role, "the list of roles")?;
        }
        Ok(())
    })
}

fn bounded<T>(found: &mut Vec<T>, one: T, what: &'static str) -> Result<(), WireError> {
    if found.len() >= MAX_ENTRIES {
        return Err(WireError::new(what, format!("at most {MAX_ENTRIES}"), "more"));
    }
    found.push(one);
    Ok(())
}

fn count(data: &mut &[u8], what: &'static str) -> Result<u8, WireError> {
    take_array(data, what).map(|[count]| count)
}

fn name(data: &mut &[u8], what: &'static str) -> Result<Vec<u8>, WireError> {
    let length = usize::from(count(data, what)?);
    take(data, length, what).map(<[u8]>::to_vec)
}

fn entries(
    mut body: &[u8],
    mut each: impl FnMut(&[(u8, &[u8])]) -> Result<(), WireError>,
) -> Result<Option<ResultCode>, WireError> {
    /// The result that ends a list.
    const END: u8 = 50;
    let mut fields: Vec<(u8, &[u8])> = Vec::new();
    while !body.is_empty() {
        let [_, result, _, count, ..] = take_array::<HEAD_BYTES>(&mut body, "the head of a user or role")?;
        match result {
            0 => {}
            END => return Ok(Some(ResultCode::OK)),
            refused => return Ok(Some(ResultCode(refused))),
        }
        fields.clear();
        for _ in 0..count {
            let size = u32::from_be_bytes(take_array(&mut body, "the size of a user's or role's field")?) as usize;
            if let Some((kind, data)) = take(&mut body, size, "a user's or role's field")?.split_first() {
                fields.push((*kind, data));
            }
        }
        each(&fields)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(result: u8, fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = vec![0, result, 0, fields.len() as u8];
        out.resize(16, 0);
        for (kind, data) in fields {
            out.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
            out.push(*kind);
            out.extend_from_slice(data);
        }
        out
    }

    fn role() -> Role {
        let privilege =
            |code, namespace: &[u8], set: &[u8]| Privilege { code, namespace: namespace.to_vec(), set: set.to_vec() };
        Role {
            name: b"shop".to_vec(),
            privileges: vec![privilege(4, b"", b""), privilege(10, b"bar", b"users"), privilege(13, b"", b"")],
            allow_list: b"10.0.0.0/8,::1".to_vec(),
            read_quota: 1000,
            write_quota: 5,
        }
    }

    #[test]
    fn a_role_is_read_as_it_was_made() {
        let request = create_role(&role()).unwrap();
        assert_eq!(request[8..12], [0, 0, 10, 5]);
        let mut fields = b"\0\0\0\x05\x0bshop\0\0\0\x11\x0c\x03\x04\x0a\x03bar\x05users\x0d\0\0".to_vec();
        fields.extend_from_slice(b"\0\0\0\x0f\x0d10.0.0.0/8,::1\0\0\0\x05\x0e\0\0\x03\xe8\0\0\0\x05\x0f\0\0\0\x05");
        assert_eq!(request[24..], fields);
        let mut body = request[8..].to_vec();
        body.extend(entry(50, &[]));
        let mut found = Vec::new();
        assert_eq!(roles(&body, &mut found).unwrap(), Some(ResultCode::OK));
        assert_eq!(found, [role()]);
        let plain = create_role(&Role { name: b"r".to_vec(), ..Role::default() }).unwrap();
        assert_eq!(plain[24..], *b"\0\0\0\x02\x0br");
    }

    #[test]
    fn what_a_message_cannot_bear_of_a_role_is_said() {
        let with = |privilege| Role { privileges: vec![privilege], ..role() };
        let long = Privilege { code: 10, namespace: vec![b'n'; 256], set: vec![] };
        assert!(create_role(&with(long)).unwrap_err().contains("namespace"));
        let scoped = Privilege { code: 0, namespace: b"bar".to_vec(), set: vec![] };
        assert!(create_role(&with(scoped)).unwrap_err().contains("privilege 0"));
        assert!(create_role(&Role { privileges: vec![Privilege::default(); 256], ..role() }).is_err());
    }

    #[test]
    fn users_come_in_several_frames_until_the_end() {
        let mut found = Vec::new();
        let mut first =
            entry(0, &[(0, b"ada"), (10, b"\x02\x04shop\x04read"), (16, b"\x01\0\0\0\x07"), (18, b"\0\0\0\x01")]);
        first.extend(entry(0, &[]));
        assert_eq!(users(&first, &mut found).unwrap(), None);
        let mut last = entry(0, &[(0, b"eve"), (10, b"\0")]);
        last.extend(entry(50, &[]));
        assert_eq!(users(&last, &mut found).unwrap(), Some(ResultCode::OK));
        let ada = User { name: b"ada".to_vec(), roles: vec![b"read".to_vec(), b"shop".to_vec()] };
        assert_eq!(found, [ada, User { name: b"eve".to_vec(), roles: vec![] }]);
        assert_eq!(users(&entry(81, &[]), &mut found).unwrap(), Some(ResultCode::ROLE_VIOLATION));
    }

    #[test]
    fn cut_and_lying_answers_are_refused() {
        let whole = entry(0, &[(11, b"r"), (12, b"\x01\x0a\x03bar\x02se")]);
        assert!(roles(&whole, &mut Vec::new()).is_ok());
        (1..whole.len()).for_each(|n| assert!(roles(&whole[..n], &mut Vec::new()).is_err(), "{n}"));
        for privileges in [&b"\x02\x0a\0\0"[..], b"\x01\x0a\x09bar\0", b""] {
            assert!(roles(&entry(0, &[(11, b"r"), (12, privileges)]), &mut Vec::new()).is_err());
        }
        assert!(roles(&entry(0, &[(11, b"r"), (14, b"\0")]), &mut Vec::new()).is_err());
        assert!(users(&entry(0, &[(0, b"u"), (10, b"\x01\x09r")]), &mut Vec::new()).is_err());
    }
}

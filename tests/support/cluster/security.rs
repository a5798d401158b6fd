//! Logging in, users and roles.

use super::Shared;
use super::protocol::{Input, put_fields};

const LOGIN: u8 = 20;
const AUTHENTICATE: u8 = 0;
const QUERY_USERS: u8 = 9;
const CREATE_ROLE: u8 = 10;
const QUERY_ROLES: u8 = 16;

const OFF: u8 = 52;
const NO_SUCH_USER: u8 = 60;
const WRONG_PASSWORD: u8 = 65;
const SESSION_ENDED: u8 = 66;
const ROLE_EXISTS: u8 = 71;
const BAD_PRIVILEGE: u8 = 72;
const QUOTAS_OFF: u8 = 74;
const NOT_AUTHENTICATED: u8 = 80;
const NOT_ALLOWED: u8 = 81;
const END: u8 = 50;

/// Who a connection belongs to.
#[derive(Default)]
pub struct Who {
    pub logged_in: bool,
    pub user: String,
}

/// A head and fields.
fn entry(result: u8, fields: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0, result, 0, fields.len() as u8];
    out.resize(16, 0);
    put_fields(&mut out, fields);
    out
}

fn names(names: &[String]) -> Vec<u8> {
    let each = names.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat());
    [names.len() as u8].into_iter().chain(each).collect()
}

/// The frames that answer a security message.
pub fn answer(shared: &mut Shared, node: usize, body: &[u8], who: &mut Who) -> Vec<Vec<u8>> {
    let mut input = Input(body);
    let head = input.bytes(16);
    let (command, count) = (head[2], u16::from(head[3]));
    let fields = input.fields(count);
    let field = |kind: u8| fields.iter().find(|field| field.0 == kind).map(|field| field.1.clone());
    let user = field(0).map(|user| String::from_utf8_lossy(&user).into_owned()).unwrap_or_default();
    let what = match command {
        LOGIN => format!("login {user}"),
        AUTHENTICATE => format!("authenticate {user}"),
        _ => format!("security command {command} of {} on {node}", who.user),
    };
    shared.log.push(what);
    let only = |result| vec![entry(result, &[])];
    if shared.users.is_empty() {
        return only(OFF);
    }
    let is_admin = |shared: &Shared| {
        shared.users.get(&who.user).is_some_and(|user| user.roles.iter().any(|role| role == "user-admin"))
    };
    match command {
        LOGIN => {
            let Some(known) = shared.users.get(&user) else { return only(NO_SUCH_USER) };
            if field(3).as_deref() != Some(&known.credential) || field(4) != known.clear_password {
                return only(WRONG_PASSWORD);
            }
            let token = format!("token-{}", shared.tokens.len()).into_bytes();
            shared.tokens.insert(token.clone(), true);
            *who = Who { logged_in: true, user };
            vec![entry(0, &[(5, token), (6, 3600u32.to_be_bytes().to_vec())])]
        }
        AUTHENTICATE => {
            let good = field(5).is_some_and(|token| shared.tokens.get(&token) == Some(&true));
            *who = Who { logged_in: good, user };
            only(if good { 0 } else { SESSION_ENDED })
        }
        QUERY_USERS | QUERY_ROLES | CREATE_ROLE if !who.logged_in => only(NOT_AUTHENTICATED),
        QUERY_USERS | QUERY_ROLES | CREATE_ROLE if !is_admin(shared) => only(NOT_ALLOWED),
        QUERY_USERS => {
            // Real servers tell of connections and operations too.
            let of = |(name, user): (&String, &super::User)| {
                let counts = [&[2][..], &[0; 8]].concat();
                entry(
                    0,
                    &[(0, name.clone().into_bytes()), (16, counts), (10, names(&user.roles)), (18, vec![0, 0, 0, 1])],
                )
            };
            // One frame for each.
            shared.users.iter().map(of).chain([entry(END, &[])]).collect()
        }
        QUERY_ROLES => {
            let of = |(name, fields): (&String, &Vec<(u8, Vec<u8>)>)| {
                let name = (11, name.clone().into_bytes());
                entry(0, &[&[name][..], &fields[..]].concat())
            };
            // All in one frame.
            vec![shared.roles.iter().map(of).chain([entry(END, &[])]).flatten().collect()]
        }
        CREATE_ROLE => {
            let name = String::from_utf8(field(11).expect("a role's name")).unwrap();
            if shared.roles.contains_key(&name) {
                return only(ROLE_EXISTS);
            }
            if field(12).is_some_and(|privileges| privileges.get(1).is_some_and(|code| *code > 17)) {
                return only(BAD_PRIVILEGE);
            }
            if shared.no_quotas && (field(14).is_some() || field(15).is_some()) {
                return only(QUOTAS_OFF);
            }
            shared.roles.insert(name, fields.into_iter().filter(|field| field.0 != 11).collect());
            only(0)
        }
        other => panic!("security command {other}"),
    }
}

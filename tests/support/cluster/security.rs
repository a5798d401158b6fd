//! Logging in.

use super::Shared;
use super::protocol::Input;

/// The answer to a security message.
pub fn answer(shared: &mut Shared, body: &[u8], logged_in: &mut bool) -> Vec<u8> {
    let mut input = Input(body);
    let head = input.bytes(16);
    let (command, count) = (head[2], u16::from(head[3]));
    let fields = input.fields(count);
    let field = |kind: u8| fields.iter().find(|field| field.0 == kind).map(|field| field.1.clone());
    let mut answer = vec![0; 16];
    let user = field(0).map(|user| String::from_utf8_lossy(&user).into_owned()).unwrap_or_default();
    shared.log.push(format!("{} {user}", if command == 20 { "login" } else { "authenticate" }));
    if shared.users.is_empty() {
        answer[1] = 52;
        return answer;
    }
    match command {
        20 => {
            let Some(known) = shared.users.get(&user) else {
                answer[1] = 60;
                return answer;
            };
            if field(3).as_deref() != Some(&known.credential) || field(4) != known.clear_password {
                answer[1] = 65;
                return answer;
            }
            let token = format!("token-{}", shared.tokens.len()).into_bytes();
            shared.tokens.insert(token.clone(), true);
            answer[3] = 2;
            answer.extend_from_slice(&(token.len() as u32 + 1).to_be_bytes());
            answer.push(5);
            answer.extend_from_slice(&token);
            answer.extend_from_slice(&[0, 0, 0, 5, 6, 0, 0, 0x0e, 0x10]);
            *logged_in = true;
        }
        0 => {
            let good = field(5).is_some_and(|token| shared.tokens.get(&token) == Some(&true));
            *logged_in = good;
            answer[1] = if good { 0 } else { 66 };
        }
        other => panic!("security command {other}"),
    }
    answer
}

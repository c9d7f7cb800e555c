//! `lacuna password`: what `[[server.user]]` keeps of a password or a token.

use std::io::{IsTerminal as _, Read as _};

use crate::cli::args::Password;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents};
use crate::domain::identifier::hex;
use crate::server::people::{hash_password, token_digest};

use super::Context;

/// The shortest password, in characters (NIST SP 800-63B-4, 3.1.1.2: 15 where it is the only factor).
const SHORTEST: usize = 15;

/// The longest, in bytes: whoever sends more wants to keep the hash busy.
const LONGEST: usize = 1024;

pub(super) fn run(context: &Context, arguments: &Password) -> Result<Answer, Failure> {
    if arguments.token {
        return token();
    }
    let password = read(context)?;
    let characters = password.chars().count();
    if characters < SHORTEST || password.len() > LONGEST {
        let message = format!("a password has at least {SHORTEST} characters and at most 1 KiB");
        return Err(Failure::new(Exit::Usage, message)
            .remedy("several words are easy to keep in mind and hard to guess"));
    }
    let hash = hash_password(&password).ok_or_else(no_random_bytes)?;
    let document = documents::Password {
        schema: documents::PASSWORD,
        token: None,
        setting: format!("password_hash = \"{hash}\""),
    };
    Answer::new(format!("{}\n", document.setting), &document)
}

fn token() -> Result<Answer, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| no_random_bytes())?;
    let token = hex(&bytes);
    let setting = format!("token_digest = \"{}\"", token_digest(&token));
    let text = format!("the token, which is shown this once: {token}\n{setting}\n");
    let document = documents::Password { schema: documents::PASSWORD, token: Some(token), setting };
    Answer::new(text, &document)
}

fn no_random_bytes() -> Failure {
    Failure::new(Exit::Failed, "the system gave no random bytes")
}

fn read(context: &Context) -> Result<String, Failure> {
    let mut text = String::new();
    if std::io::stdin().is_terminal() {
        let asked = context.terminal.ask_secret("The password, which is not shown:")?;
        text = asked.unwrap_or_default();
    } else {
        let limit = LONGEST as u64 + 2;
        std::io::stdin().lock().take(limit).read_to_string(&mut text)?;
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

//! Mails by SMTP.

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use crate::config::{MailSecurity, MailSettings, Secret};

use super::{Letter, NotSent, Postman};

/// Sends by a mail server.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Smtp {
    /// The server of the settings, with the password where there is a login; it is not asked yet.
    ///
    /// # Errors
    ///
    /// Where the sender is no address, or this machine has no certificates to check the server's.
    pub fn new(settings: &MailSettings, password: Option<&Secret>) -> Result<Self, NotSent> {
        let from = settings.from.parse();
        let from = from.map_err(|_| NotSent("`from` of [mail] is no mail address".to_owned()))?;
        let host = settings.server.host.as_str();
        let builder = match settings.server.security {
            MailSecurity::Tls => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
            MailSecurity::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
            MailSecurity::Local => {
                Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host))
            }
        };
        let mut builder = builder.map_err(|error| NotSent(told(&error)))?;
        if let Some(port) = settings.server.port {
            builder = builder.port(port);
        }
        if let Some((login, password)) = settings.login.as_ref().zip(password) {
            let credentials = Credentials::new(login.user.clone(), password.as_str().to_owned());
            builder = builder.credentials(credentials);
        }
        Ok(Self { transport: builder.build(), from })
    }
}

#[async_trait]
impl Postman for Smtp {
    async fn send(&self, letter: &Letter) -> Result<(), NotSent> {
        let to = letter.to.parse::<lettre::Address>();
        let to =
            to.map_err(|_| NotSent("the recipient's `email` is no mail address".to_owned()))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|_| NotSent("the mail could not be written".to_owned()))?;
        self.transport.send(message).await.map_err(|error| NotSent(told(&error)))?;
        Ok(())
    }
}

/// What the server or the connection answered, without what it quotes: that may be an address.
fn told(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server refused it with {code}"),
        None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
        None if error.is_tls() => "no secure connection to the mail server".to_owned(),
        None => "the mail server cannot be reached".to_owned(),
    }
}

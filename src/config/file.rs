//! `lacuna.toml` into a [`Config`]: the tables other than datasets, and what concerns several.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::domain::dataset::Location;
use crate::domain::request::ReservedValues;

use super::dataset;
use super::environment::{Environment, VARIABLES};
use super::error::{ConfigError, Place, Problem};
use super::key::KeySource;
use super::location;
use super::mail::{self, MailLogin, MailSettings};
use super::oidc::{self, OidcSettings};
use super::postgres;
use super::secret::SecretVariable;
use super::server;
use super::table::{Document, Table, Text};
use super::topic::{self, TopicSettings};
use super::webhook::{self, WebhookSettings};
use super::{Config, MetastoreSettings, PlanSettings, S3Settings, ServerSettings};

/// A configuration file that was read.
pub(super) struct Source<'a> {
    /// Where it is, as an absolute path.
    pub path: &'a Path,
    /// How messages name it.
    pub shown: &'a str,
    /// What it says.
    pub text: &'a str,
}

pub(super) fn parse(source: Source<'_>, environment: &Environment) -> Result<Config, ConfigError> {
    let root = DeTable::parse(source.text).map_err(|error| {
        let byte = error.span().map_or(0, |span| span.start);
        let place = Place::of(source.shown, source.text, byte);
        Problem::new(format!("not TOML: {}", error.message())).at(place)
    })?;
    let document = Document {
        file: source.shown,
        text: source.text,
        environment,
        problems: RefCell::new(environment.strangers()),
    };
    let base = source.path.parent().unwrap_or(Path::new("/"));
    let config = Reader { document: &document, base }.config(source.path, root.get_ref());
    let problems = document.problems.into_inner();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError::new(problems)),
    }
}

struct Reader<'a> {
    document: &'a Document<'a>,
    base: &'a Path,
}

impl<'a> Reader<'a> {
    fn config(&self, path: &Path, entries: &'a DeTable<'a>) -> Option<Config> {
        let mut root = Table::root(self.document, entries);
        let metastore = self.metastore(&mut root);
        let ledger = self.ledger(&mut root);
        let key = self.key(&mut root);
        let signing_key = self.signing_key(&mut root);
        let plan = self.plan(&mut root);
        let s3 = self.s3(&mut root);
        let server = self.server(&mut root);
        let mail = self.mail(&mut root);
        let webhook = self.webhook(&mut root);
        let topic = self.topic(&mut root);
        let oidc = self.oidc(&mut root);
        let datasets = dataset::read_all(&mut root, self.base);
        root.finish();
        let (metastore, ledger, key, plan, server) = (metastore?, ledger?, key?, plan?, server?);
        self.check_rooms(&metastore, &ledger, &datasets);
        let datasets = datasets.into_iter().map(|(dataset, _)| dataset).collect();
        let file = path.to_owned();
        Some(Config {
            file,
            metastore,
            ledger,
            key,
            signing_key,
            plan,
            s3,
            server,
            mail,
            oidc,
            webhook,
            topic,
            datasets,
        })
    }

    fn metastore(&self, root: &mut Table<'a>) -> Option<MetastoreSettings> {
        let mut written = None;
        if let Some(mut table) = root.table("metastore") {
            written = table.text("url");
            table.finish();
        }
        let url = self.setting("metastore.url", written).unwrap_or("file:.lacuna/index".into());
        let mut metastore = self.checked(&url, location::metastore(&url.value, self.base))?;
        if let MetastoreSettings::Postgres(settings) = &mut metastore {
            let password = postgres::find_password(&settings.url, self.document.environment);
            settings.password = self.checked(&url, password)?;
        }
        Some(metastore)
    }

    fn ledger(&self, root: &mut Table<'a>) -> Option<Location> {
        let mut written = None;
        if let Some(mut table) = root.table("ledger") {
            written = table.text("location");
            table.finish();
        }
        let place = self.setting("ledger.location", written).unwrap_or(".lacuna/ledger".into());
        self.checked(&place, location::parse(&place.value, self.base))
    }

    fn key(&self, root: &mut Table<'a>) -> Option<KeySource> {
        let (mut file, mut variable) = (None, None);
        if let Some(mut table) = root.table("identity") {
            file = table.text("key_file");
            variable = table.text("key_env");
            if let (Some(_), Some(second)) = (&file, &variable) {
                let problem = Problem::new("both `key_file` and `key_env` in [identity]");
                table.problem(second.byte, problem.remedy("keep one of them"));
            }
            table.finish();
        }
        // A variable outranks the file, whichever of the two settings either gives.
        let given_file = self.setting("identity.key_file", None);
        let given_variable = self.setting("identity.key_env", None);
        match (given_file, given_variable) {
            (Some(_), Some(_)) => {
                let names = "`LACUNA_IDENTITY_KEY_FILE` and `LACUNA_IDENTITY_KEY_ENV`";
                let problem = Problem::new(format!("both {names} are set"));
                self.document.problems.borrow_mut().push(problem.remedy("unset one of them"));
                None
            }
            (None, Some(name)) => Some(KeySource::Variable(name.value)),
            (Some(path), None) => Some(KeySource::File(location::absolute(&path.value, self.base))),
            (None, None) => Some(match (file, variable) {
                (_, Some(name)) => KeySource::Variable(name.value),
                (Some(path), None) => KeySource::File(location::absolute(&path.value, self.base)),
                (None, None) => {
                    KeySource::File(location::absolute(".lacuna/digest.key", self.base))
                }
            }),
        }
    }

    fn signing_key(&self, root: &mut Table<'a>) -> Option<PathBuf> {
        let mut written = None;
        if let Some(mut table) = root.table("evidence") {
            written = table.text("signing_key_file");
            table.finish();
        }
        let file = self.setting("evidence.signing_key_file", written)?;
        Some(location::absolute(&file.value, self.base))
    }

    fn plan(&self, root: &mut Table<'a>) -> Option<PlanSettings> {
        let mut settings = PlanSettings::default();
        let mut valid_for = None;
        if let Some(mut table) = root.table("plan") {
            valid_for = table.text("valid_for");
            settings.coverage_floor =
                table.percent("coverage_floor").unwrap_or(settings.coverage_floor);
            settings.blast_radius = table.percent("blast_radius").unwrap_or(settings.blast_radius);
            settings.two_people = table.flag("two_people").unwrap_or(settings.two_people);
            if table.present("reserved").is_some() {
                let values = table.texts("reserved");
                settings.reserved =
                    ReservedValues::new(values.iter().map(|text| text.value.as_str()));
            }
            table.finish();
        }
        if let Some(text) = self.setting("plan.valid_for", valid_for) {
            settings.valid_for_seconds = self.checked(&text, duration("valid_for", &text.value))?;
        }
        for (name, slot) in [
            ("plan.coverage_floor", &mut settings.coverage_floor),
            ("plan.blast_radius", &mut settings.blast_radius),
        ] {
            if let Some(text) = self.setting(name, None) {
                *slot = self.checked(&text, percent(name, &text.value))?;
            }
        }
        Some(settings)
    }

    fn s3(&self, root: &mut Table<'a>) -> S3Settings {
        let mut settings = S3Settings::default();
        if let Some(mut table) = root.table("s3") {
            let mut text = |key| table.text(key).map(|text| text.value);
            settings.region = text("region");
            settings.endpoint = text("endpoint");
            settings.profile = text("profile");
            settings.role_arn = text("role_arn");
            settings.bucket_owner = text("bucket_owner");
            settings.path_style = table.flag("path_style");
            table.finish();
        }
        for (name, slot) in [
            ("s3.region", &mut settings.region),
            ("s3.endpoint", &mut settings.endpoint),
            ("s3.profile", &mut settings.profile),
            ("s3.role_arn", &mut settings.role_arn),
            ("s3.bucket_owner", &mut settings.bucket_owner),
        ] {
            if let Some(text) = self.setting(name, None) {
                *slot = Some(text.value);
            }
        }
        if let Some(text) = self.setting("s3.path_style", None) {
            settings.path_style = self.checked(&text, truth(&text.value)).or(settings.path_style);
        }
        settings
    }

    fn server(&self, root: &mut Table<'a>) -> Option<ServerSettings> {
        let (mut settings, listen, url) = server::read(root);
        if let Some(text) = self.setting("server.listen", listen) {
            settings.listen = self.checked(&text, server::address(&text.value))?;
        }
        if let Some(text) = self.setting("server.url", url) {
            settings.url = Some(self.checked(&text, server::origin(&text.value))?);
        }
        Some(settings)
    }

    fn mail(&self, root: &mut Table<'a>) -> Option<MailSettings> {
        let written = mail::read(root)?;
        let server = self.checked(&written.server, mail::server(&written.server.value))?;
        let login = match (written.user, written.password_env) {
            (None, None) => None,
            (Some(user), Some(name)) => {
                let password = SecretVariable::new(name.value, "the password to the mail server");
                Some(MailLogin { user: user.value, password })
            }
            (Some(text), None) | (None, Some(text)) => {
                let problem = Problem::new("`user` and `password_env` of [mail] go together");
                return self.checked(&text, Err(problem));
            }
        };
        Some(MailSettings { server, from: written.from.value, login })
    }

    fn topic(&self, root: &mut Table<'a>) -> Option<TopicSettings> {
        let written = topic::read(root)?;
        let topic = self.checked(&written.topic_arn, topic::topic(&written.topic_arn.value))?;
        let endpoint = match written.endpoint {
            None => None,
            Some(text) => Some(self.checked(&text, topic::endpoint(&text.value))?),
        };
        Some(TopicSettings { endpoint, ..topic })
    }

    fn oidc(&self, root: &mut Table<'a>) -> Option<OidcSettings> {
        let written = oidc::read(root)?;
        let issuer = self.checked(&written.issuer, oidc::issuer(&written.issuer.value))?;
        let what = "the secret that the identity provider gave";
        let client_secret =
            written.client_secret_env.map(|name| SecretVariable::new(name.value, what));
        Some(OidcSettings { issuer, client_id: written.client_id.value, client_secret })
    }

    fn webhook(&self, root: &mut Table<'a>) -> Option<WebhookSettings> {
        let written = webhook::read(root)?;
        let url = self.checked(&written.url, webhook::url(&written.url.value))?;
        let what = "the secret that events are signed by";
        Some(WebhookSettings { url, secret: SecretVariable::new(written.secret_env.value, what) })
    }

    /// The variable that stands for a setting where it is set, else what the file says.
    fn setting(&self, setting: &str, written: Option<Text>) -> Option<Text> {
        let variable =
            VARIABLES.iter().find(|(_, known)| *known == setting).map(|(name, _)| *name)?;
        match self.document.environment.text(variable) {
            Ok(Some(value)) => Some(Text::given(variable, value)),
            Ok(None) => written,
            Err(problem) => {
                self.document.problems.borrow_mut().push(problem);
                None
            }
        }
    }

    /// The value, or a note of what is wrong with the text it came from.
    fn checked<T>(&self, text: &Text, value: Result<T, Problem>) -> Option<T> {
        value.map_err(|problem| text.blame(self.document, problem)).ok()
    }

    /// Lacuna's own files must not be records of a dataset.
    fn check_rooms(
        &self,
        metastore: &MetastoreSettings,
        ledger: &Location,
        datasets: &[(crate::domain::dataset::Dataset, usize)],
    ) {
        let mut rooms = vec![("ledger", ledger.clone())];
        if let MetastoreSettings::Embedded(index) = metastore {
            rooms.insert(0, ("metastore", Location::Directory(index.clone())));
        }
        for (dataset, byte) in datasets {
            for (room, place) in &rooms {
                if location::overlap(&dataset.location, place) {
                    let name = &dataset.name;
                    let message = format!("dataset `{name}` and the {room} lie in one place");
                    let problem = Problem::new(message)
                        .remedy("give each a place of its own, neither within the other");
                    self.document.problem(*byte, problem);
                }
            }
        }
    }
}

/// A time span such as `7d`, `36h` or `30m`, in seconds.
pub(super) fn duration(name: &str, text: &str) -> Result<u64, Problem> {
    let wrong = || {
        Problem::new(format!("`{name}` is not a time span"))
            .remedy("write a number and m, h, d or w, such as `7d`; at most 366 days")
    };
    let unit = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 60 * 60,
        Some('d') => 24 * 60 * 60,
        Some('w') => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].trim_end().parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(unit).ok_or_else(wrong)?;
    if seconds == 0 || seconds > 366 * 24 * 60 * 60 { Err(wrong()) } else { Ok(seconds) }
}

fn percent(name: &str, text: &str) -> Result<u8, Problem> {
    text.parse().ok().filter(|value| *value <= 100).ok_or_else(|| {
        Problem::new(format!("`{name}` is a whole number of percent, from 0 to 100"))
    })
}

fn truth(text: &str) -> Result<bool, Problem> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Problem::new("`s3.path_style` is true or false")),
    }
}

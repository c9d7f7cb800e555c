//! Tables of DynamoDB as a metastore: their URL. Credentials are found as the AWS tools find them, and
//! never stand in it.

use super::error::Problem;
use super::suggest::suggestion;

/// Where the tables are, and who calls; what is `None` is found as the AWS SDK finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamoDbSettings {
    /// What the names of the tables begin with.
    pub prefix: String,
    /// The region.
    pub region: Option<String>,
    /// The URL of a server that speaks DynamoDB, instead of AWS.
    pub endpoint: Option<String>,
    /// The profile of the AWS configuration files.
    pub profile: Option<String>,
    /// The role to assume.
    pub role_arn: Option<String>,
}

const REMEDY: &str = "write dynamodb://PREFIX?region=REGION, where PREFIX is what the names of the \
                      tables begin with";

const PARAMETERS: [&str; 4] = ["region", "endpoint", "profile", "role_arn"];

/// A table's name has at most 255 characters, and the longest begins with the prefix and 10 more.
const LONGEST_PREFIX: usize = 245;

/// The tables that a URL names.
pub(super) fn settings(url: &str) -> Result<DynamoDbSettings, Problem> {
    let wrong = |message: &str| Problem::new(message).remedy(REMEDY);
    let rest = url.strip_prefix("dynamodb://");
    let rest = rest.ok_or_else(|| wrong("the metastore's url names no tables"))?;
    let (prefix, query) = rest.split_once('?').unwrap_or((rest, ""));
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.contains('@') {
        return Err(Problem::new("credentials stand in the metastore's url").remedy(
            "take them out; they are found as the AWS tools find them, in the environment or a profile",
        ));
    }
    let is_tame = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if prefix.is_empty() || prefix.len() > LONGEST_PREFIX || !prefix.bytes().all(is_tame) {
        return Err(wrong("the prefix in the metastore's url cannot begin the name of a table"));
    }
    let mut settings = DynamoDbSettings { prefix: prefix.to_owned(), ..Default::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match name {
            "region" => &mut settings.region,
            "endpoint" => &mut settings.endpoint,
            "profile" => &mut settings.profile,
            "role_arn" => &mut settings.role_arn,
            _ => return Err(unknown(name)),
        };
        let value = decoded(value).filter(|value| !value.is_empty());
        let missing = || {
            Problem::new(format!("the parameter `{name}` of the metastore's url has no value"))
                .remedy(REMEDY)
        };
        if slot.replace(value.ok_or_else(missing)?).is_some() {
            let message = format!("the parameter `{name}` stands twice in the metastore's url");
            return Err(Problem::new(message).remedy("keep one of them"));
        }
    }
    Ok(settings)
}

fn unknown(name: &str) -> Problem {
    // A value is not shown: whatever it is, it may be a secret.
    let shown = name.escape_debug();
    let problem = Problem::new(format!("the metastore's url has an unknown parameter `{shown}`"));
    match suggestion(name, PARAMETERS) {
        Some(known) => problem.remedy(format!("did you mean `{known}`?")),
        None => problem.remedy(format!("known are {}", PARAMETERS.join(", "))),
    }
}

/// The text that stands percent-encoded here.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = tail;
            }
            (b'%', _) => return None,
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_tables_and_who_calls() {
        let plain = settings("dynamodb://lacuna").expect("a URL");
        assert_eq!(plain, DynamoDbSettings { prefix: "lacuna".into(), ..Default::default() });
        let url = "dynamodb://a.b-c_D/?region=eu-west-1&endpoint=http%3A%2F%2F[::1]:4566&profile=ops\
                   &role_arn=arn:aws:iam::1:role/x";
        let full = settings(url).expect("a URL");
        assert_eq!(full.prefix, "a.b-c_D");
        assert_eq!(full.region.as_deref(), Some("eu-west-1"));
        assert_eq!(full.endpoint.as_deref(), Some("http://[::1]:4566"));
        assert_eq!(full.profile.as_deref(), Some("ops"));
        assert_eq!(full.role_arn.as_deref(), Some("arn:aws:iam::1:role/x"));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_without_its_secrets() {
        for (url, told) in [
            ("dynamodb:lacuna", "names no tables"),
            ("dynamodb://", "cannot begin the name"),
            ("dynamodb://a/b", "cannot begin the name"),
            ("dynamodb://AKIA:canary@lacuna", "credentials stand"),
            ("dynamodb://a?secret_key=canary", "unknown parameter `secret_key`"),
            ("dynamodb://a?regoin=x", "did you mean `region`?"),
            ("dynamodb://a?region=", "`region` of the metastore's url has no value"),
            ("dynamodb://a?region", "`region` of the metastore's url has no value"),
            ("dynamodb://a?region=%zz", "has no value"),
            ("dynamodb://a?region=x&region=y", "stands twice"),
        ] {
            let problem = settings(url).expect_err(url).to_string();
            assert!(problem.contains(told), "{url}: {problem}");
            assert!(!problem.contains("canary"), "{problem}");
        }
        let long = "x".repeat(LONGEST_PREFIX + 1);
        assert!(settings(&format!("dynamodb://{long}")).is_err());
        assert!(settings(&format!("dynamodb://{}", &long[1..])).is_ok());
    }
}

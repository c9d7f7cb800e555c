//! The request register: what was asked when, and everything that became of it.
//!
//! A registered request is what its events add up to, first to last; an event is stored once and never
//! changed. No event holds an identifier of a subject: the request is known by its reference.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Timestamp;
use super::dataset::DatasetName;
use super::deadline::Jurisdiction;
use super::field::FieldPath;
use super::identifier::hex;

mod entry;
mod fold;

pub use entry::{DueDay, RequestEntry};
pub use fold::{
    Denial, Due, DueKind, Exemption, Extension, Hold, Receipt, Refusal, RegisteredRequest, Release,
    RequestState,
};

/// What the first field of a stored event says.
pub const REQUEST_EVENT_SCHEMA: &str = "lacuna.request-event.v1";

/// The longest [`RequestReference`] and [`Label`], in characters.
pub const LONGEST_LABEL: usize = 64;

/// The longest [`Remark`] and [`Actor`], in characters.
pub const LONGEST_REMARK: usize = 500;

/// Something that happened to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestEvent {
    /// [`REQUEST_EVENT_SCHEMA`].
    pub schema: String,
    /// The request.
    pub reference: RequestReference,
    /// Its place among the request's events, from 0.
    pub sequence: u32,
    /// Who entered it.
    pub by: Actor,
    /// When it was entered.
    pub at: Timestamp,
    /// What happened.
    pub happened: Happening,
}

/// What can happen to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Happening {
    /// It came in: always the first event, and only that.
    Received {
        /// Whose law sets the term.
        jurisdiction: Jurisdiction,
        /// The term in days, from 1 to [`LONGEST_DAYS`](super::deadline::LONGEST_DAYS): for
        /// [`Jurisdiction::Other`] alone.
        days: Option<u16>,
        /// The ground that the person relies on, such as `gdpr-17-1-b`.
        ground: Option<Label>,
        /// How it came in, such as `web form`.
        channel: Option<Label>,
        /// The day on which it reached the controller, by the calendar there.
        received_on: Date,
    },
    /// The person was told that it came in.
    Acknowledged {},
    /// The person was found to be who they say (GDPR Art. 12(6)).
    Verified {},
    /// The term was extended, and the person told so with reasons (GDPR Art. 12(3)).
    Extended {
        /// Why.
        reason: Remark,
        /// The day on which the person was told.
        noticed_on: Date,
    },
    /// Something must not be erased for now, such as for a lawsuit.
    Held {
        /// What.
        extent: Extent,
        /// Why, as a code of the house.
        basis: Label,
        /// The last day of the hold; `None`: until it is released.
        until: Option<Date>,
    },
    /// A hold was lifted, by somebody else than who set it.
    Released {
        /// The hold, by the sequence of the event that set it.
        hold: u32,
    },
    /// A part is kept because the law exempts it.
    Exempted {
        /// Which part; never the whole request, which is a denial.
        extent: Extent,
        /// The exemption.
        basis: Exempting,
        /// The last day on which it applies; `None`: until further notice.
        until: Option<Date>,
    },
    /// The request was refused, and the person told why (GDPR Art. 12(4)).
    Denied {
        /// The kind of reason.
        reason: DenialReason,
        /// The reason in words. No personal data.
        text: Remark,
    },
    /// The person no longer asks for it.
    Withdrawn {},
    /// It is done.
    Closed {},
    /// It is taken up again; its term runs from the first receipt.
    Reopened {},
}

/// What a hold or an exemption is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case", deny_unknown_fields)]
pub enum Extent {
    /// Everything of the request.
    Request {},
    /// The subject's rows in a dataset.
    Dataset {
        /// The dataset.
        dataset: DatasetName,
    },
    /// One column of the subject's rows.
    Column {
        /// The dataset.
        dataset: DatasetName,
        /// The column, or the path to the field.
        column: FieldPath,
    },
}

impl Extent {
    /// Whether something of the dataset is meant.
    pub fn is_on(&self, other: &DatasetName) -> bool {
        match self {
            Self::Request {} => true,
            Self::Dataset { dataset } | Self::Column { dataset, .. } => dataset == other,
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request {} => formatter.write_str("the whole request"),
            Self::Dataset { dataset } => write!(formatter, "{dataset}"),
            Self::Column { dataset, column } => write!(formatter, "{dataset}:{column}"),
        }
    }
}

/// The part of the law that exempts something from erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exempting {
    /// GDPR Art. 17(3)(a): freedom of expression and information.
    #[serde(rename = "gdpr-17-3-a")]
    Expression,
    /// GDPR Art. 17(3)(b): a legal obligation, or a task in the public interest.
    #[serde(rename = "gdpr-17-3-b")]
    Obligation,
    /// GDPR Art. 17(3)(c): public health.
    #[serde(rename = "gdpr-17-3-c")]
    Health,
    /// GDPR Art. 17(3)(d): archiving in the public interest, research, statistics.
    #[serde(rename = "gdpr-17-3-d")]
    Research,
    /// GDPR Art. 17(3)(e): legal claims.
    #[serde(rename = "gdpr-17-3-e")]
    Claims,
    /// Civil Code § 1798.105(d)(1): to complete what the person asked for.
    #[serde(rename = "ccpa-105-d-1")]
    CaliforniaTransaction,
    /// Civil Code § 1798.105(d)(2): security and integrity.
    #[serde(rename = "ccpa-105-d-2")]
    CaliforniaSecurity,
    /// Civil Code § 1798.105(d)(3): to repair errors of existing functions.
    #[serde(rename = "ccpa-105-d-3")]
    CaliforniaRepair,
    /// Civil Code § 1798.105(d)(4): free speech.
    #[serde(rename = "ccpa-105-d-4")]
    CaliforniaSpeech,
    /// Civil Code § 1798.105(d)(5): the Electronic Communications Privacy Act of the state.
    #[serde(rename = "ccpa-105-d-5")]
    CaliforniaCommunications,
    /// Civil Code § 1798.105(d)(6): research in the public interest.
    #[serde(rename = "ccpa-105-d-6")]
    CaliforniaResearch,
    /// Civil Code § 1798.105(d)(7): internal uses that the person expects.
    #[serde(rename = "ccpa-105-d-7")]
    CaliforniaExpected,
    /// Civil Code § 1798.105(d)(8): a legal obligation.
    #[serde(rename = "ccpa-105-d-8")]
    CaliforniaObligation,
}

impl Exempting {
    /// All of them, by code.
    pub const ALL: [Self; 13] = [
        Self::Expression,
        Self::Obligation,
        Self::Health,
        Self::Research,
        Self::Claims,
        Self::CaliforniaTransaction,
        Self::CaliforniaSecurity,
        Self::CaliforniaRepair,
        Self::CaliforniaSpeech,
        Self::CaliforniaCommunications,
        Self::CaliforniaResearch,
        Self::CaliforniaExpected,
        Self::CaliforniaObligation,
    ];

    /// The code, as documents and the command line spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expression => "gdpr-17-3-a",
            Self::Obligation => "gdpr-17-3-b",
            Self::Health => "gdpr-17-3-c",
            Self::Research => "gdpr-17-3-d",
            Self::Claims => "gdpr-17-3-e",
            Self::CaliforniaTransaction => "ccpa-105-d-1",
            Self::CaliforniaSecurity => "ccpa-105-d-2",
            Self::CaliforniaRepair => "ccpa-105-d-3",
            Self::CaliforniaSpeech => "ccpa-105-d-4",
            Self::CaliforniaCommunications => "ccpa-105-d-5",
            Self::CaliforniaResearch => "ccpa-105-d-6",
            Self::CaliforniaExpected => "ccpa-105-d-7",
            Self::CaliforniaObligation => "ccpa-105-d-8",
        }
    }

    /// Whether the law of this jurisdiction holds the exemption.
    pub fn is_of(self, jurisdiction: Jurisdiction) -> bool {
        match jurisdiction {
            Jurisdiction::Gdpr | Jurisdiction::UkGdpr => self.as_str().starts_with("gdpr-"),
            Jurisdiction::Ccpa => self.as_str().starts_with("ccpa-"),
            Jurisdiction::Lgpd | Jurisdiction::Pipeda | Jurisdiction::Other => false,
        }
    }
}

/// Why a request was refused, for counting; its text tells the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenialReason {
    /// An exemption covers all of it (GDPR Art. 17(3), § 1798.105(d)).
    Exempt,
    /// The person could not be identified (GDPR Art. 12(2) and (6), 11 CCR § 7022(a)).
    NotVerified,
    /// Manifestly unfounded (GDPR Art. 12(5)).
    Unfounded,
    /// Excessive, such as repeated (GDPR Art. 12(5)).
    Excessive,
    /// None of the grounds of GDPR Art. 17(1) applies.
    NoGround,
    /// No data of the person is held.
    NoData,
    /// Anything else.
    Other,
}

impl DenialReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Exempt,
        Self::NotVerified,
        Self::Unfounded,
        Self::Excessive,
        Self::NoGround,
        Self::NoData,
        Self::Other,
    ];

    /// As documents and the command line spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exempt => "exempt",
            Self::NotVerified => "not-verified",
            Self::Unfounded => "unfounded",
            Self::Excessive => "excessive",
            Self::NoGround => "no-ground",
            Self::NoData => "no-data",
            Self::Other => "other",
        }
    }
}

/// A text that the register does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAText {
    /// For references and labels.
    #[error(
        "takes 1 to {LONGEST_LABEL} letters and digits of ASCII, `.`, `-`, `_`, `/`, `:`, `#` and \
         single spaces between them; it begins with a letter, a digit or `#`"
    )]
    Label,
    /// For remarks and actors.
    #[error("takes 1 to {LONGEST_REMARK} characters in one line")]
    Remark,
}

/// Declares a text of the register that is checked wherever it comes from, a stored document included.
macro_rules! checked_text {
    ($(#[$about:meta])* $name:ident, $check:path) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAText;

            fn from_str(text: &str) -> Result<Self, NotAText> {
                let text = text.trim();
                $check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAText;

            fn try_from(text: String) -> Result<Self, NotAText> {
                $check(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

checked_text! {
    /// What people know a request by, such as `DSR-2026/17`: characters that mean nothing to paths,
    /// terminals, pages and spreadsheets. No personal data.
    RequestReference, check_label
}

checked_text! {
    /// A code or a few words of the same characters as a [`RequestReference`].
    Label, check_label
}

checked_text! {
    /// A line of free text. No personal data; foreign to terminals, pages and spreadsheets, which have
    /// to escape it.
    Remark, check_remark
}

checked_text! {
    /// Who did something, as they call themselves or their login does.
    Actor, check_remark
}

impl RequestReference {
    /// A name of 32 hexadecimal characters for folders and addresses, whatever the reference holds: the first
    /// half of its SHA-256.
    pub fn id(&self) -> String {
        hex(&Sha256::digest(self.as_str())[..16])
    }
}

impl Actor {
    /// Whether both are the same person, as far as a name tells: case does not matter.
    pub fn is_same_as(&self, other: &Actor) -> bool {
        self.0.to_lowercase() == other.0.to_lowercase()
    }
}

fn check_label(text: &str) -> Result<(), NotAText> {
    let is_inert = |it: u8| it.is_ascii_alphanumeric() || b".-_/:# ".contains(&it);
    let begins_well =
        text.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric() || it == b'#');
    let spaces_well = !text.ends_with(' ') && !text.contains("  ");
    let is_label = begins_well && spaces_well && text.bytes().all(is_inert);
    if is_label && text.len() <= LONGEST_LABEL { Ok(()) } else { Err(NotAText::Label) }
}

fn check_remark(text: &str) -> Result<(), NotAText> {
    // A separator of lines or paragraphs breaks a line as a control character does.
    let is_break = |it: char| it.is_control() || matches!(it, '\u{2028}' | '\u{2029}');
    let is_line = !text.is_empty() && text.trim() == text && !text.contains(is_break);
    if is_line && text.chars().count() <= LONGEST_REMARK { Ok(()) } else { Err(NotAText::Remark) }
}

#[cfg(test)]
mod tests;

//! Until when a request has to be answered. Pure: civil days in, civil days out.
//!
//! What is not known here: public holidays. Counted as working days they make a day come too early,
//! never too late.

use std::fmt;

use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday};
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// The longest term of [`Jurisdiction::Other`], in days.
pub const LONGEST_DAYS: u16 = 3660;

/// Whose law sets the term of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Jurisdiction {
    /// Regulation (EU) 2016/679, Art. 12(3).
    Gdpr,
    /// The same article as the United Kingdom keeps it.
    UkGdpr,
    /// California: Civil Code § 1798.130(a)(2) and 11 CCR § 7021.
    Ccpa,
    /// Brazil: Lei 13.709/2018, Art. 19(II).
    Lgpd,
    /// Canada: S.C. 2000, c. 5, § 8(3).
    Pipeda,
    /// Another law or a contract: the days are given with the request.
    Other,
}

impl Jurisdiction {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Gdpr, Self::UkGdpr, Self::Ccpa, Self::Lgpd, Self::Pipeda, Self::Other];

    /// As documents and the command line spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gdpr => "gdpr",
            Self::UkGdpr => "uk-gdpr",
            Self::Ccpa => "ccpa",
            Self::Lgpd => "lgpd",
            Self::Pipeda => "pipeda",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The term that a request is answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    jurisdiction: Jurisdiction,
    days: u16,
}

/// Days and jurisdiction do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATerm {
    /// [`Jurisdiction::Other`] without days.
    #[error("jurisdiction `other` has no term of its own; give its days, from 1 to {LONGEST_DAYS}")]
    DaysMissing,
    /// Days for a jurisdiction whose law sets the term.
    #[error("the law sets the term of jurisdiction `{0}`; days are for `other` alone")]
    DaysSurplus(Jurisdiction),
}

/// A day by which something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The last day as the term is counted: the one to work towards.
    pub due_on: Date,
    /// The last day that the law allows: `due_on`, or the Monday after it where that law moves an end
    /// on a Saturday or Sunday. Public holidays, which may move it further, are not known.
    pub ends_on: Date,
}

impl Term {
    /// The term of a jurisdiction; `days`, from 1 to [`LONGEST_DAYS`], for [`Jurisdiction::Other`] and
    /// for no other.
    ///
    /// # Errors
    ///
    /// Where days are missing, out of range, or given beside the law's own.
    pub fn new(jurisdiction: Jurisdiction, days: Option<u16>) -> Result<Self, NotATerm> {
        match (jurisdiction, days) {
            (Jurisdiction::Other, Some(days @ 1..=LONGEST_DAYS)) => Ok(Self { jurisdiction, days }),
            (Jurisdiction::Other, _) => Err(NotATerm::DaysMissing),
            (_, Some(_)) => Err(NotATerm::DaysSurplus(jurisdiction)),
            (_, None) => Ok(Self { jurisdiction, days: 0 }),
        }
    }

    /// Until when a request received on this day has to be acknowledged; `None` where the law asks for
    /// no acknowledgement. California: within 10 business days (11 CCR § 7021(a)).
    pub fn acknowledgement(&self, received_on: Date) -> Option<Deadline> {
        let day = after_business_days(received_on, 10);
        (self.jurisdiction == Jurisdiction::Ccpa).then_some(Deadline { due_on: day, ends_on: day })
    }

    /// Until when a request received on this day has to be answered. The day of receipt itself is
    /// never counted.
    ///
    /// - GDPR and UK GDPR: one month (Art. 12(3)). It ends with the same date of the next month, or
    ///   with its last day where there is no such date (Regulation 1182/71 Art. 3(1) and 3(2)(c)), and
    ///   moves past Saturday and Sunday (Art. 3(4)). Extended by two further months it is one period
    ///   of three months from receipt.
    /// - CCPA: 45 calendar days from receipt, 90 with the extension (11 CCR § 7021(b)).
    /// - LGPD: 15 days (Art. 19(II), which speaks of access; it is used for erasure as well).
    /// - PIPEDA: 30 days, and 30 more with the extension (§ 8(3) and 8(4)).
    pub fn answer(&self, received_on: Date, is_extended: bool) -> Deadline {
        let parts = if is_extended { self.extended() } else { self.plain() };
        let (months, days) = parts;
        let due_on = received_on.saturating_add(months.months()).saturating_add(days.days());
        let ends_on = match self.jurisdiction {
            Jurisdiction::Gdpr | Jurisdiction::UkGdpr => past_weekend(due_on),
            _ => due_on,
        };
        Deadline { due_on, ends_on }
    }

    /// Whether the law lets the term be extended.
    pub fn can_be_extended(&self) -> bool {
        self.plain() != self.extended()
    }

    /// Months and days of the plain term.
    fn plain(&self) -> (i32, i32) {
        match self.jurisdiction {
            Jurisdiction::Gdpr | Jurisdiction::UkGdpr => (1, 0),
            Jurisdiction::Ccpa => (0, 45),
            Jurisdiction::Lgpd => (0, 15),
            Jurisdiction::Pipeda => (0, 30),
            Jurisdiction::Other => (0, self.days.into()),
        }
    }

    /// Months and days from receipt with the extension; the plain term where there is none.
    fn extended(&self) -> (i32, i32) {
        match self.jurisdiction {
            Jurisdiction::Gdpr | Jurisdiction::UkGdpr => (3, 0),
            Jurisdiction::Ccpa => (0, 90),
            Jurisdiction::Pipeda => (0, 60),
            Jurisdiction::Lgpd | Jurisdiction::Other => self.plain(),
        }
    }
}

impl Deadline {
    /// Days from `today` to the due day; negative after it.
    pub fn days_left(&self, today: Date) -> i32 {
        (self.due_on - today).get_days()
    }

    /// Whether the last day that the law allows has passed.
    pub fn is_overdue(&self, today: Date) -> bool {
        today > self.ends_on
    }
}

/// The day of a moment, UTC.
pub fn day_of(at: Timestamp) -> Date {
    Offset::UTC.to_datetime(at).date()
}

/// The day itself, or the Monday after it where it is a Saturday or Sunday.
fn past_weekend(day: Date) -> Date {
    match day.weekday() {
        Weekday::Saturday => day.saturating_add(2.days()),
        Weekday::Sunday => day.saturating_add(1.day()),
        _ => day,
    }
}

/// The `count`th day from Monday to Friday after `day`.
fn after_business_days(day: Date, count: u32) -> Date {
    let mut day = day;
    for _ in 0..count {
        day = past_weekend(day.saturating_add(1.day()));
    }
    day
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn term(jurisdiction: Jurisdiction) -> Term {
        let days = (jurisdiction == Jurisdiction::Other).then_some(20);
        Term::new(jurisdiction, days).expect("a term")
    }

    fn day(text: &str) -> Date {
        text.parse().expect(text)
    }

    /// Received, due, legal end; extended: due, legal end.
    const GDPR: &[[&str; 5]] = &[
        // A plain month.
        ["2026-06-03", "2026-07-03", "2026-07-03", "2026-09-03", "2026-09-03"],
        // Month ends: no such date in the next month; three months later there may be one again.
        ["2026-01-31", "2026-02-28", "2026-03-02", "2026-04-30", "2026-04-30"],
        ["2026-08-31", "2026-09-30", "2026-09-30", "2026-11-30", "2026-11-30"],
        ["2026-10-30", "2026-11-30", "2026-11-30", "2027-01-30", "2027-02-01"],
        // February in a leap year, in one of the centuries that are none, and out of it.
        ["2028-01-30", "2028-02-29", "2028-02-29", "2028-04-30", "2028-05-01"],
        ["2028-02-29", "2028-03-29", "2028-03-29", "2028-05-29", "2028-05-29"],
        ["2100-01-29", "2100-02-28", "2100-03-01", "2100-04-29", "2100-04-29"],
        // The last day of a month is not the last day of the next by rule.
        ["2026-02-28", "2026-03-28", "2026-03-30", "2026-05-28", "2026-05-28"],
        // The end of a year.
        ["2026-12-31", "2027-01-31", "2027-02-01", "2027-03-31", "2027-03-31"],
        ["2026-12-01", "2027-01-01", "2027-01-01", "2027-03-01", "2027-03-01"],
    ];

    #[test]
    fn a_month_ends_on_the_same_date_or_the_last_day() {
        for row in GDPR {
            let [received, due, ends, extended_due, extended_ends] = row.map(day);
            for jurisdiction in [Jurisdiction::Gdpr, Jurisdiction::UkGdpr] {
                let plain = term(jurisdiction).answer(received, false);
                assert_eq!((plain.due_on, plain.ends_on), (due, ends), "{received}");
                let extended = term(jurisdiction).answer(received, true);
                let both = (extended.due_on, extended.ends_on);
                assert_eq!(both, (extended_due, extended_ends), "{received}, extended");
            }
        }
    }

    #[test]
    fn days_are_counted_from_the_day_after_receipt() {
        let table = [
            (Jurisdiction::Ccpa, "2026-11-20", "2027-01-04", "2027-02-18"),
            (Jurisdiction::Ccpa, "2028-01-31", "2028-03-16", "2028-04-30"),
            (Jurisdiction::Lgpd, "2026-12-20", "2027-01-04", "2027-01-04"),
            (Jurisdiction::Lgpd, "2028-02-20", "2028-03-06", "2028-03-06"),
            (Jurisdiction::Pipeda, "2026-01-31", "2026-03-02", "2026-04-01"),
            (Jurisdiction::Other, "2026-02-28", "2026-03-20", "2026-03-20"),
        ];
        for (jurisdiction, received, due, extended) in table {
            let term = term(jurisdiction);
            let (plain, late) =
                (term.answer(day(received), false), term.answer(day(received), true));
            assert_eq!((plain.due_on, plain.ends_on), (day(due), day(due)), "{jurisdiction}");
            assert_eq!(late.due_on, day(extended), "{jurisdiction}");
            assert_eq!(term.can_be_extended(), due != extended, "{jurisdiction}");
        }
    }

    #[test]
    fn only_california_asks_for_an_acknowledgement() {
        let table = [
            ("2026-06-01", "2026-06-15"), // a Monday
            ("2026-06-05", "2026-06-19"), // a Friday
            ("2026-06-06", "2026-06-19"), // a Saturday
            ("2026-06-07", "2026-06-19"), // a Sunday
            ("2026-12-24", "2027-01-07"), // holidays are counted: early, never late
        ];
        for (received, due) in table {
            let deadline = term(Jurisdiction::Ccpa).acknowledgement(day(received));
            assert_eq!(deadline.map(|it| it.due_on), Some(day(due)), "{received}");
        }
        for jurisdiction in Jurisdiction::ALL {
            let deadline = term(jurisdiction).acknowledgement(day("2026-06-01"));
            assert_eq!(deadline.is_some(), jurisdiction == Jurisdiction::Ccpa, "{jurisdiction}");
        }
    }

    #[test]
    fn days_are_for_other_alone() {
        for jurisdiction in Jurisdiction::ALL {
            let is_other = jurisdiction == Jurisdiction::Other;
            assert_eq!(Term::new(jurisdiction, Some(9)).is_ok(), is_other, "{jurisdiction}");
            assert_eq!(Term::new(jurisdiction, None).is_ok(), !is_other, "{jurisdiction}");
        }
        for days in [0, LONGEST_DAYS + 1] {
            assert_eq!(Term::new(Jurisdiction::Other, Some(days)), Err(NotATerm::DaysMissing));
        }
    }

    #[test]
    fn a_request_is_overdue_after_the_legal_end() {
        let deadline = term(Jurisdiction::Gdpr).answer(date(2026, 1, 31), false);
        assert_eq!(deadline.days_left(date(2026, 2, 27)), 1);
        assert_eq!(deadline.days_left(date(2026, 3, 2)), -2);
        assert!(!deadline.is_overdue(date(2026, 3, 2)));
        assert!(deadline.is_overdue(date(2026, 3, 3)));
    }

    proptest! {
        /// The promises that hold whatever the day: against a calendar that is counted day by day.
        #[test]
        fn a_deadline_keeps_its_promises(offset in 0..200_000_i32) {
            let received = date(1900, 1, 1).saturating_add(offset.days());
            for jurisdiction in Jurisdiction::ALL {
                let term = term(jurisdiction);
                let (plain, late) = (term.answer(received, false), term.answer(received, true));
                prop_assert!(received < plain.due_on && plain.due_on <= late.due_on);
                prop_assert!((0..=2).contains(&(plain.ends_on - plain.due_on).get_days()));
            }
            let gdpr = term(Jurisdiction::Gdpr).answer(received, false);
            prop_assert!(!matches!(gdpr.ends_on.weekday(), Weekday::Saturday | Weekday::Sunday));
            prop_assert_eq!(received.first_of_month().saturating_add(1.month()).month(), gdpr.due_on.month());
            let is_last = gdpr.due_on == gdpr.due_on.last_of_month();
            let same_date = gdpr.due_on.day() == received.day();
            prop_assert!(same_date || is_last && received.day() > gdpr.due_on.day());
            let mut day = received;
            let mut business = 0;
            while business < 10 {
                day = day.tomorrow().expect("a day");
                business += i32::from(!matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday));
            }
            let acknowledgement = term(Jurisdiction::Ccpa).acknowledgement(received);
            prop_assert_eq!(acknowledgement.map(|it| it.due_on), Some(day));
        }
    }
}

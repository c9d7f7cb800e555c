//! The certificate as people read it on a terminal or on paper.

use std::fmt::Write as _;

use crate::domain::journal::{Effort, Outcome};
use crate::erase::report::wording;

use super::{Certificate, CertifiedObject, Remaining};

impl Certificate {
    /// The certificate as text, 80 columns but for keys and versions.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text)
            .unwrap_or_else(|_| unreachable!("writing into a string does not fail"));
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        self.write_head(text)?;
        self.write_scope(text)?;
        self.write_counts(text)?;
        writeln!(text, "\nObjects")?;
        for object in &self.objects {
            write_object(text, object)?;
        }
        if !self.remaining.is_empty() {
            writeln!(text, "\nWhat remains")?;
            for remaining in &self.remaining {
                write_remaining(text, remaining)?;
            }
        }
        self.write_verification(text)?;
        writeln!(text, "\nMethod\n  {}\n  {}", self.method.technique, self.method.mapping)?;
        writeln!(text, "  {} {}", self.method.tool, self.method.tool_version)
    }

    fn write_head(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "Certificate of erasure: {}", self.grade.title())?;
        for matter in &self.open {
            writeln!(text, "  open: {matter}")?;
        }
        writeln!(text, "\n  request    {}", self.request.escape_debug())?;
        writeln!(text, "  plan       {}", self.plan)?;
        writeln!(text, "  approved   by {}", self.approval.by.escape_debug())?;
        writeln!(text, "             {}", self.approval.decided_at)?;
        if let Some(last) = self.carried_out.last_ended_at {
            writeln!(text, "  done       {last}")?;
        }
        writeln!(text, "  as of      {}", self.as_of)?;
        writeln!(text, "  issued     {}", self.issued_at)?;
        writeln!(text, "\nData subjects")?;
        for subject in &self.subjects {
            let mask = subject.mask.as_str();
            match subject.rows.0 {
                0 => writeln!(text, "  {:>4}  {mask}  not found", subject.ordinal)?,
                rows => writeln!(
                    text,
                    "  {:>4}  {mask}  {rows} rows in {} objects",
                    subject.ordinal, subject.objects
                )?,
            }
        }
        Ok(())
    }

    fn write_scope(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nScope")?;
        for scope in &self.scope {
            let location = scope.location.as_deref().unwrap_or("no longer configured");
            writeln!(text, "  {}  {}", scope.dataset, location.escape_debug())?;
            writeln!(
                text,
                "    {} object versions = {} indexed + {} unreadable + {} excluded + {} failed",
                scope.listed, scope.indexed, scope.unreadable, scope.excluded, scope.failed
            )?;
        }
        Ok(())
    }

    fn write_counts(&self, text: &mut String) -> std::fmt::Result {
        let counts = &self.counts;
        writeln!(text, "\nResult")?;
        let rows = wording::count(counts.rows.0, "row", "rows");
        let objects = wording::count(counts.erased, "object", "objects");
        writeln!(text, "  {rows} blanked in {objects}")?;
        if let Some(effort) = counts.effort() {
            writeln!(text, "  {effort}")?;
        }
        for line in self.others() {
            writeln!(text, "  {line}")?;
        }
        Ok(())
    }

    fn write_verification(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nVerification")?;
        let Some(verified) = &self.verification else {
            return writeln!(text, "  none");
        };
        writeln!(text, "  {}", verified.method)?;
        writeln!(
            text,
            "  {} rows of {} versions of {} objects, ended {}",
            verified.rows, verified.versions, verified.objects, verified.ended_at
        )?;
        writeln!(text, "  subjects met in {} versions", verified.met)?;
        if verified.unreadable > 0 {
            writeln!(text, "  {} versions could not be read in full", verified.unreadable)?;
        }
        if let Some(bound) = verified.sample_bound_percent {
            writeln!(
                text,
                "  {} versions of other objects read: with 95 % confidence at most {bound:.2} % of \
                 them hold a row",
                verified.sample_versions
            )?;
        }
        Ok(())
    }
}

fn write_object(text: &mut String, object: &CertifiedObject) -> std::fmt::Result {
    writeln!(text, "  {}  {}  {}", object.dataset, object.key, became(object))?;
    let Some(Outcome::Erased { effort, .. }) = &object.outcome else { return Ok(()) };
    effort.iter().try_for_each(|effort| write_effort(text, effort))
}

/// What became of an object, in words.
pub(super) fn became(object: &CertifiedObject) -> String {
    let (rewrite, rows, expunged, retained) = match &object.outcome {
        None => return "not dealt with".to_owned(),
        Some(Outcome::Drifted) => return "no longer as planned".to_owned(),
        Some(Outcome::Gone) => return "gone".to_owned(),
        Some(Outcome::Excepted) => return "left out by the approver".to_owned(),
        Some(Outcome::Failed { detail }) => return format!("failed: {detail}"),
        Some(Outcome::Erased { rewrite, rows, expunged, retained, .. }) => {
            (rewrite, rows, expunged, retained)
        }
    };
    let mut words = format!("{} blanked", wording::count(rows.0, "row", "rows"));
    if let Some(rewrite) = rewrite.as_ref().filter(|it| !it.new.version.is_null()) {
        let (new, old) = (&rewrite.new.version, &rewrite.old.version);
        let _ = write!(words, ", version {new} in place of {old}");
    }
    if !expunged.is_empty() {
        let _ = write!(words, ", {} versions deleted", expunged.len());
    }
    if !retained.is_empty() {
        let _ = write!(words, ", {} versions retained", retained.len());
    }
    words
}

fn write_effort(text: &mut String, effort: &Effort) -> std::fmt::Result {
    let Effort { way, written_bytes, copied_bytes, read_bytes, requests } = effort;
    let moved = wording::effort((*written_bytes, *copied_bytes, *read_bytes, *requests));
    writeln!(text, "      {}\n      {moved}", wording::way(way))
}

fn write_remaining(text: &mut String, remaining: &Remaining) -> std::fmt::Result {
    write!(text, "  {}  {}", remaining.dataset, remaining.key)?;
    if let Some(object) = remaining.object.as_ref().filter(|it| !it.version.is_null()) {
        write!(text, " version {}", object.version)?;
    }
    if remaining.rows.0 > 0 {
        write!(text, ", {} rows", remaining.rows)?;
    }
    writeln!(text, ": {}", wording::reason(&remaining.reason))
}

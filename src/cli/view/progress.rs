//! Progress of long work: a bar on a terminal, a line every half minute elsewhere.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

use crate::domain::observe::{Event, Observer};
use crate::wire::Clock;

use super::{Terminal, to_stderr};

/// How long nothing is said off a terminal, in seconds.
const SECONDS_BETWEEN_LINES: i64 = 30;

/// Shows what a workflow tells.
pub(in crate::cli) struct Progress {
    terminal: Terminal,
    clock: Clock,
    phase: Mutex<Phase>,
    objects: AtomicU64,
    size_bytes: AtomicU64,
    last_line_at: AtomicI64,
}

#[derive(Default)]
struct Phase {
    bar: Option<ProgressBar>,
    title: String,
    began_at: i64,
    /// How many there are in all, as it was told when the phase began.
    objects: Option<u64>,
    /// What was found since, where it was not told.
    found: u64,
    /// Whether their bytes were told then, too.
    is_sized: bool,
    size_bytes: u64,
}

impl Phase {
    fn total(&self) -> Option<u64> {
        self.objects.or((self.found > 0).then_some(self.found))
    }
}

impl Progress {
    /// Progress on this terminal.
    pub fn new(terminal: Terminal, clock: Clock) -> Self {
        Self {
            terminal,
            clock,
            phase: Mutex::default(),
            objects: AtomicU64::new(0),
            size_bytes: AtomicU64::new(0),
            last_line_at: AtomicI64::new(0),
        }
    }

    fn begin(&self, title: String, objects: Option<u64>, size_bytes: Option<u64>) {
        let now = self.clock.now().as_second();
        self.objects.store(0, Ordering::Relaxed);
        self.size_bytes.store(0, Ordering::Relaxed);
        self.last_line_at.store(now, Ordering::Relaxed);
        let bar = self.terminal.has_bars().then(|| bar(&title, objects));
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = phase.bar.take() {
            old.finish_and_clear();
        }
        let (is_sized, size_bytes) = (size_bytes.is_some(), size_bytes.unwrap_or(0));
        *phase = Phase { bar, title, began_at: now, objects, found: 0, is_sized, size_bytes };
    }

    fn found(&self, size_bytes: u64) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        phase.size_bytes = phase.size_bytes.saturating_add(size_bytes);
        phase.found += 1;
        if let (Some(bar), None) = (&phase.bar, phase.objects) {
            bar.set_length(phase.found);
        }
    }

    fn finished(&self, size_bytes: u64) {
        let objects = self.objects.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.size_bytes.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes;
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = &phase.bar {
            bar.set_position(objects);
            bar.set_message(human_bytes(bytes));
        } else if !self.terminal.is_quiet() {
            self.line(&phase, objects, bytes);
        }
    }

    /// One line, unless the last one is not half a minute old.
    fn line(&self, phase: &Phase, objects: u64, bytes: u64) {
        let now = self.clock.now().as_second();
        let last = self.last_line_at.load(Ordering::Relaxed);
        if now - last < SECONDS_BETWEEN_LINES {
            return;
        }
        self.last_line_at.store(now, Ordering::Relaxed);
        let seconds = u64::try_from(now - phase.began_at).unwrap_or(0).max(1);
        let total = phase.total().map(|all| format!(" of {all}")).unwrap_or_default();
        // What is found on the way is no total: then the number of objects tells the time, if it is one.
        let left = match phase.objects {
            Some(all) if !phase.is_sized => remaining(seconds, objects, all),
            _ => remaining(seconds, bytes, phase.size_bytes),
        };
        let left = left.map(|left| format!(", {left} s left")).unwrap_or_default();
        to_stderr(&format!(
            "{}: {objects}{total} objects, {}/s, {}, {}/s{left}",
            phase.title,
            objects / seconds,
            human_bytes(bytes),
            human_bytes(bytes / seconds),
        ));
    }

    fn notice(&self, message: &str) {
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        match &phase.bar {
            Some(bar) => bar.suspend(|| self.terminal.warn(message)),
            None => self.terminal.warn(message),
        }
    }

    fn end(&self) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = phase.bar.take() {
            bar.finish_and_clear();
        }
        let objects = self.objects.load(Ordering::Relaxed);
        if objects > 0 {
            let bytes = human_bytes(self.size_bytes.load(Ordering::Relaxed));
            self.terminal.detail(&format!("{}: {objects} objects, {bytes}", phase.title));
        }
    }
}

impl Observer for Progress {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Phase { name, dataset, objects, size_bytes } => {
                let title = match dataset {
                    Some(dataset) => format!("{name} {dataset}"),
                    None => name.to_owned(),
                };
                self.begin(title, objects, size_bytes);
            }
            Event::Found { size_bytes } => self.found(size_bytes),
            Event::Passed => self.finished(0),
            Event::Finished { size_bytes, .. } => self.finished(size_bytes),
            Event::Notice { key: Some(key), message } => self.notice(&format!("{key}: {message}")),
            Event::Notice { key: None, message } => self.notice(message),
            Event::PhaseEnded => self.end(),
        }
    }
}

fn bar(title: &str, objects: Option<u64>) -> ProgressBar {
    let bar = objects.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let shape = "{prefix} [{bar:30}] {human_pos}/{human_len} objects, {msg}, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(shape) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(title.to_owned());
    bar
}

/// Seconds until the end at the rate so far; `None` where that cannot be told.
fn remaining(seconds: u64, done: u64, all: u64) -> Option<u64> {
    let left = all.checked_sub(done).filter(|_| done > 0)?;
    u64::try_from(u128::from(left) * u128::from(seconds) / u128::from(done)).ok()
}

/// A number of bytes for people: `17 B`, `4.2 MiB`.
pub(in crate::cli) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10 / 1024;
    while tenths >= 10240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        let told = [0, 1023, 1024, 1536, 1 << 20, u64::MAX].map(human_bytes);
        assert_eq!(told, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "15.9 EiB"]);
    }

    #[test]
    fn the_time_left_follows_the_rate() {
        assert_eq!(remaining(10, 100, 400), Some(30));
        assert_eq!(remaining(10, 0, 400), None);
        assert_eq!(remaining(10, 500, 400), None);
    }
}

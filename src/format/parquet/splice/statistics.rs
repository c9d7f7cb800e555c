//! The statistics of a page or a chunk, made true after an edit. It knows no pages.
//!
//! Field numbers are those of `Statistics` in `parquet.thrift` in apache/parquet-format.

use super::super::thrift::{BINARY, FALSE, I64, Malformed, Struct, TRUE, binary};
use super::limits::{Limits, Loss, Order};

const OLD_MAX: i16 = 1;
const OLD_MIN: i16 = 2;
const NULLS: i16 = 3;
const DISTINCT: i16 = 4;
const MAX: i16 = 5;
const MIN: i16 = 6;
const IS_MAX_EXACT: i16 = 7;
const IS_MIN_EXACT: i16 = 8;

/// The statistics after an edit. There are `nulls` more nulls; `left` tells the limits of the values
/// that are left, if they are known. What cannot be told any more is left out.
///
/// # Errors
///
/// [`Malformed`] where a field is of another type than it should be.
pub(super) fn renewed(
    old: &Struct<'_>,
    order: Option<Order>,
    loss: Loss<'_>,
    (nulls, left): (i64, &dyn Fn() -> Option<Limits>),
) -> Result<Vec<u8>, Malformed> {
    let mut new = old.clone();
    new.remove(DISTINCT);
    new.keep_up_to(IS_MIN_EXACT);
    if let Some(before) = old.integer(NULLS)? {
        new.set_integer(NULLS, I64, before.saturating_add(nulls).max(0));
    }
    if !loss.is_none() {
        renew_limits(&mut new, (old, order), loss, left)?;
        renew_oldest(&mut new, (old, order), loss, left)?;
    }
    Ok(new.to_bytes())
}

/// The limits that the statistics of a chunk tell, if they tell both.
///
/// # Errors
///
/// As [`renewed`].
pub(super) fn limits(statistics: &Struct<'_>) -> Result<Option<Limits>, Malformed> {
    let ends = pair(statistics, [MIN, MAX])?;
    let are_exact = [statistics.truth(IS_MIN_EXACT)?, statistics.truth(IS_MAX_EXACT)?];
    Ok(ends.map(|ends| Limits { ends, are_exact }))
}

/// The limits of statistics of whatever age.
///
/// # Errors
///
/// As [`renewed`].
pub(super) fn limits_of_any_age(statistics: &Struct<'_>) -> Result<Option<Limits>, Malformed> {
    Ok(match limits(statistics)? {
        None => oldest(statistics)?,
        limits => limits,
    })
}

fn oldest(statistics: &Struct<'_>) -> Result<Option<Limits>, Malformed> {
    let ends = pair(statistics, [OLD_MIN, OLD_MAX])?;
    Ok(ends.map(|ends| Limits { ends, are_exact: [None; 2] }))
}

fn pair(statistics: &Struct<'_>, ids: [i16; 2]) -> Result<Option<[Vec<u8>; 2]>, Malformed> {
    let [low, high] = [statistics.bytes(ids[0])?, statistics.bytes(ids[1])?];
    Ok(low.zip(high).map(|(low, high)| [low.to_vec(), high.to_vec()]))
}

fn renew_limits(
    new: &mut Struct<'_>,
    (old, order): (&Struct<'_>, Option<Order>),
    loss: Loss<'_>,
    left: &dyn Fn() -> Option<Limits>,
) -> Result<(), Malformed> {
    const IDS: [(i16, i16); 2] = [(MIN, IS_MIN_EXACT), (MAX, IS_MAX_EXACT)];
    let before = limits(old)?;
    let after = order.zip(before).and_then(|(order, before)| before.after(order, loss, left));
    let Some(after) = after else {
        new.remove_all(&[MIN, MAX, IS_MIN_EXACT, IS_MAX_EXACT]);
        return Ok(());
    };
    for (at, (end, is_exact)) in IDS.into_iter().enumerate() {
        new.set(end, BINARY, binary(&after.ends[at]));
        match (old.has(is_exact), after.are_exact[at]) {
            // Who reads no such field takes it for an exact value, or asks nothing of it.
            (false, Some(true) | None) => {}
            (_, Some(true)) => new.set(is_exact, TRUE, Vec::new()),
            (_, Some(false) | None) => new.set(is_exact, FALSE, Vec::new()),
        }
    }
    Ok(())
}

/// The two oldest fields, in which everything is ordered as signed.
fn renew_oldest(
    new: &mut Struct<'_>,
    (old, order): (&Struct<'_>, Option<Order>),
    loss: Loss<'_>,
    left: &dyn Fn() -> Option<Limits>,
) -> Result<(), Malformed> {
    let same = pair(old, [OLD_MIN, OLD_MAX])? == pair(old, [MIN, MAX])?;
    let after = match (oldest(old)?, order) {
        (Some(_), Some(_)) if same => pair(new, [MIN, MAX])?,
        (Some(before), Some(order)) if order.is_oldest() => {
            before.after(order, loss, left).map(|after| after.ends)
        }
        // In which order they stand nobody knows, so that no other values can take their place.
        (Some(before), Some(order)) if loss.gained.is_none() => {
            let tells = |value: &Vec<u8>| before.tell_of(order, value) != [false; 2];
            (!loss.lost.iter().any(tells)).then_some(before.ends)
        }
        _ => None,
    };
    match after {
        Some([low, high]) => {
            for (id, end) in [(OLD_MIN, low), (OLD_MAX, high)] {
                new.set(id, BINARY, binary(&end));
            }
        }
        None => new.remove_all(&[OLD_MIN, OLD_MAX]),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::thrift::I32;
    use super::*;

    fn statistics(fields: &[(i16, &str)]) -> Struct<'static> {
        let mut statistics = Struct::default();
        for &(id, text) in fields {
            statistics.set(id, BINARY, binary(text.as_bytes()));
        }
        statistics.set_integer(NULLS, I64, 3);
        statistics.set_integer(DISTINCT, I64, 9);
        statistics.set_integer(9, I32, 7);
        statistics
    }

    fn after(old: &Struct<'_>, lost: &[&str], left: Option<[&str; 2]>) -> Vec<(i16, String)> {
        let lost: Vec<Vec<u8>> = lost.iter().map(|text| text.as_bytes().to_vec()).collect();
        let ends = left.map(|ends| ends.map(|text| text.as_bytes().to_vec()));
        let left = || Some(Limits { ends: ends.clone()?, are_exact: [Some(true), None] });
        let loss = Loss { lost: &lost, gained: None };
        let new = renewed(old, Some(Order::Bytes), loss, (2, &left)).expect("well formed");
        let new = Struct::parse(&new).expect("well formed");
        assert_eq!(new.integer(NULLS), Ok(Some(5)));
        assert!(!new.has(DISTINCT) && !new.has(9), "what cannot be told is left out");
        let text = |id| new.bytes(id).ok().flatten().map(|it| String::from_utf8_lossy(it).into());
        [OLD_MAX, OLD_MIN, MAX, MIN].into_iter().filter_map(|id| Some((id, text(id)?))).collect()
    }

    fn told(fields: &[(i16, &str)]) -> Vec<(i16, String)> {
        fields.iter().map(|&(id, text)| (id, text.to_owned())).collect()
    }

    /// G16: limits stay where they tell of nobody who went, and are found anew or left out where not.
    #[test]
    fn limits_are_true_or_not_there() {
        let pair = [(MAX, "zoe"), (MIN, "ann")];
        let old = statistics(&pair);
        assert_eq!(after(&old, &["bob"], None), told(&pair));
        assert_eq!(after(&old, &["ann"], None), told(&[]));
        let found = after(&old, &["bob", "zoe"], Some(["ann", "yve"]));
        assert_eq!(found, told(&[(MAX, "yve"), (MIN, "ann")]));
    }

    /// G16: of the oldest fields nobody knows how text is ordered in them, so that they go with a value
    /// that they may tell of, unless they say what the others do.
    #[test]
    fn the_oldest_limits_are_not_forgotten() {
        let oldest = [(OLD_MAX, "zoe"), (OLD_MIN, "ann")];
        assert_eq!(after(&statistics(&oldest), &["bob"], None), told(&oldest));
        assert_eq!(after(&statistics(&oldest), &["zoe"], Some(["ann", "yve"])), told(&[]));
        let both = [(OLD_MAX, "zoe"), (OLD_MIN, "ann"), (MAX, "zoe"), (MIN, "ann")];
        let found = after(&statistics(&both), &["zoe"], Some(["ann", "yve"]));
        assert_eq!(found, told(&[(OLD_MAX, "yve"), (OLD_MIN, "ann"), (MAX, "yve"), (MIN, "ann")]));
        let differing = [(OLD_MAX, "\u{e9}"), (OLD_MIN, "ann"), (MAX, "zoe"), (MIN, "ann")];
        let found = after(&statistics(&differing), &["\u{e9}"], None);
        assert_eq!(found, told(&differing[2..]));
    }
}

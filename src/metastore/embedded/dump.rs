//! Every posting of some versions, by one pass over all runs.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::merge::Merged;
use super::run::Run;
use super::{Result, Shared, catalogue};
use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectVersion;
use crate::domain::posting::RowPosting;
use crate::domain::row::RowNumber;
use crate::metastore::packing::subject::digest_of;
use crate::metastore::{MetastoreStream, ObjectPostings};

/// How many postings of a version are handed on at once, and how many are held of all.
const PIECE: usize = 8192;
const HELD: usize = 512 * 1024;

type Sender = mpsc::Sender<Result<ObjectPostings>>;

pub(super) fn postings(
    shared: &Arc<Shared>,
    dataset: &DatasetName,
    objects: &[ObjectVersion],
) -> MetastoreStream<ObjectPostings> {
    let (shared, dataset, objects) = (Arc::clone(shared), dataset.clone(), objects.to_vec());
    let begin = async move {
        let (sender, receiver) = mpsc::channel(2);
        let find = move |connection: &Connection, runs: &[Arc<Run>]| {
            Ok((places_of(connection, &dataset, &objects)?, runs.to_vec()))
        };
        match shared.read_runs(find).await {
            // The snapshot has ended: a slow consumer holds no log.
            Ok((places, runs)) => drop(tokio::task::spawn_blocking(move || {
                if let Err(error) = pour(&places, runs, &sender) {
                    let _ = sender.blocking_send(Err(error));
                }
            })),
            Err(error) => drop(sender.send(Err(error)).await),
        }
        stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)))
    };
    stream::once(begin).flatten().boxed()
}

/// Where each number stands among the versions that were asked for.
fn places_of(
    connection: &Connection,
    dataset: &DatasetName,
    objects: &[ObjectVersion],
) -> Result<HashMap<u64, Vec<usize>>> {
    let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
    let Some(dataset) = catalogue::known_dataset(connection, dataset)? else { return Ok(places) };
    for (place, object) in objects.iter().enumerate() {
        if let Some(number) = catalogue::find(connection, dataset, object)? {
            places.entry(number).or_default().push(place);
        }
    }
    Ok(places)
}

/// Hands on what is wanted, until nobody listens.
fn pour(places: &HashMap<u64, Vec<usize>>, runs: Vec<Arc<Run>>, sender: &Sender) -> Result<()> {
    if places.is_empty() {
        return Ok(());
    }
    let mut merged = Merged::new(runs)?;
    let mut held: HashMap<u64, Vec<RowPosting>> = HashMap::new();
    let mut count = 0;
    while let Some(posting) = merged.next()? {
        if !places.contains_key(&posting.object) {
            continue;
        }
        let of_object = held.entry(posting.object).or_default();
        let digest = digest_of(posting.subject);
        of_object.push(RowPosting { digest, row: RowNumber(posting.row) });
        count += 1;
        if of_object.len() == PIECE {
            let piece = std::mem::take(of_object);
            count -= piece.len();
            if !hand_on(&places[&posting.object], piece, sender) {
                return Ok(());
            }
        }
        if count >= HELD {
            count = 0;
            let mut pieces = held.drain();
            if !pieces.all(|(number, piece)| hand_on(&places[&number], piece, sender)) {
                return Ok(());
            }
        }
    }
    let _ = held.drain().all(|(number, piece)| hand_on(&places[&number], piece, sender));
    Ok(())
}

/// Answers whether anybody listens.
fn hand_on(places: &[usize], postings: Vec<RowPosting>, sender: &Sender) -> bool {
    postings.is_empty()
        || places.iter().all(|place| {
            let piece = ObjectPostings { place: *place, postings: postings.clone() };
            sender.blocking_send(Ok(piece)).is_ok()
        })
}

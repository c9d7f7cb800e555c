//! The whole story through the program itself: index, find, plan, approve, erase, verify, on random
//! lakes, held against a naive oracle, and killed at random moments.

mod standing;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::dynamodb::Tables;
use crate::support::place::{Bucket, Folder, FolderBeside, Place, files_below};
use crate::support::postgres::Database;
use crate::support::program::Program;
use crate::support::python;
use crate::support::random_lake::{self, Kind, MadeLake, Random, Subject};

/// A lake at a place, a program that knows it, and who is erased.
pub struct Story<'a> {
    pub place: &'a dyn Place,
    pub program: Program,
    pub lake: MadeLake,
    pub erased: Vec<usize>,
}

impl<'a> Story<'a> {
    /// Puts the lake in its place; `home` takes configuration, index and ledger.
    pub fn new(place: &'a dyn Place, home: &TempDir, lake: MadeLake, tail: &str) -> Self {
        Self::with_metastore("file:.lacuna/index", place, home, (lake, tail))
    }

    /// The same with another index than the one in the program's home.
    pub fn with_metastore(
        metastore: &str,
        place: &'a dyn Place,
        home: &TempDir,
        (lake, tail): (MadeLake, &str),
    ) -> Self {
        for object in &lake.objects {
            place.put(&object.key, &object.bytes);
        }
        let configuration = random_lake::configuration(metastore, &place.location(), tail);
        let program = Program::new(home.path(), &configuration, place.environment());
        Self { place, program, lake, erased: Vec::new() }
    }

    /// The arguments that name a subject both ways.
    fn subject_file(&self, subjects: &[usize]) -> PathBuf {
        let mut text = String::from("user,email\n");
        for subject in subjects {
            let Subject { user, email, .. } = &self.lake.subjects[*subject];
            text += &format!("{user},{email}\n");
        }
        // Outside of the program's home: requests hold raw identifiers, and are the caller's.
        let path = self.program.home().with_extension("subjects.csv");
        std::fs::write(&path, text).expect("a request");
        path
    }

    /// Plans, approves; answers with the plan's id.
    pub fn approved_plan(&self, subjects: &[usize]) -> String {
        let file = self.subject_file(subjects);
        let file = file.to_str().expect("UTF-8");
        let plan = self.program.run(&["plan", "--json", "--request", "R-1", "--subjects", file]);
        let plan = plan.success().json();
        let id = plan["plan_id"].as_str().expect("a plan id").to_owned();
        self.program.run(&["approve", &id, "--by", "officer", "--confirm", &id[..8]]).success();
        std::fs::remove_file(file).expect("the request is removed");
        id
    }

    /// Plans, approves, erases, verifies.
    pub fn erase(&mut self, subjects: &[usize]) {
        let plan = self.approved_plan(subjects);
        self.program.run(&["erase", &plan]).success();
        self.program.run(&["verify", &plan]).success();
        self.erased.extend_from_slice(subjects);
    }

    /// What `find` has to answer for a subject's identifier, as the oracle counts it.
    pub fn check_find(&self) {
        for (position, subject) in self.lake.subjects.iter().enumerate() {
            let erased = self.erased.contains(&position);
            let both = [format!("user={}", subject.user), format!("email={}", subject.email)];
            let mut found = BTreeSet::new();
            for argument in &both {
                let answer = self.program.run(&["find", "--json", argument]).success().json();
                found.extend(places(&answer));
            }
            let expected: BTreeSet<(String, u64)> = self
                .lake
                .objects
                .iter()
                .filter(|_| !erased)
                .flat_map(|object| {
                    object.rows_of(&[position]).into_iter().map(move |row| (object, row))
                })
                .map(|(object, row)| (object.key.clone(), row))
                .collect();
            assert_eq!(found, expected, "subject {position}");
        }
    }

    /// Every record is as the oracle says: blank where it was a subject's, as it was elsewhere.
    pub fn check_lake(&self) {
        self.check_text();
        self.check_parquet();
    }

    /// The same of the objects that are text.
    pub fn check_text(&self) {
        for object in self.lake.objects.iter().filter(|object| object.kind != Kind::Parquet) {
            let now = random_lake::unwrapped(object.wrap, &self.place.get(&object.key));
            let expected = object.expected_text(&self.erased);
            assert!(now == expected, "{} is not as the oracle says", object.key);
        }
    }

    fn check_parquet(&self) {
        let folder = TempDir::new().expect("a folder");
        let made: Vec<_> =
            self.lake.objects.iter().filter(|object| object.kind == Kind::Parquet).collect();
        let mut files = Vec::new();
        for (position, object) in made.iter().enumerate() {
            for (name, bytes) in [("old", &object.bytes), ("new", &self.place.get(&object.key))] {
                let path = folder.path().join(format!("{position}.{name}.parquet"));
                std::fs::write(&path, bytes).expect("a copy");
                files.push(path);
            }
        }
        for (object, both) in made.iter().zip(python::rows(&files).chunks(2)) {
            let (old, new) = (&both[0], &both[1]);
            assert_eq!(old.len(), new.len(), "{}", object.key);
            let blanked = object.rows_of(&self.erased);
            for (row, (old, new)) in (0..).zip(old.iter().zip(new)) {
                if blanked.contains(&row) {
                    let blank = serde_json::json!({"row": 0, "owner": null, "secret": null, "place": "bytes:"});
                    assert_eq!(*new, blank, "{} row {row}", object.key);
                } else {
                    assert_eq!(old, new, "{} row {row}", object.key);
                }
            }
        }
    }

    /// No canary of an erased subject is left in any object or version, index, ledger or output.
    pub fn check_canaries(&self) {
        let mut everything = Vec::new();
        for (key, bytes) in self.place.all() {
            let object = self.lake.objects.iter().find(|object| object.key == key);
            let object = object.unwrap_or_else(|| panic!("{key} was left in the lake"));
            everything.push((key, random_lake::everything_in(object, &bytes)));
        }
        assert_eq!(self.place.unfinished(), 0);
        everything.extend(files_below(self.program.home()));
        everything.push(("the program's output".into(), self.program.printed.borrow().clone()));
        for subject in self.erased.iter().map(|subject| &self.lake.subjects[*subject]) {
            for canary in subject.canaries() {
                for (place, bytes) in &everything {
                    assert!(!random_lake::holds(bytes, canary), "{canary} is left in {place}");
                }
            }
        }
    }

    /// All of it.
    pub fn check(&self) {
        self.check_lake();
        self.check_find();
        self.check_canaries();
    }
}

/// The objects and rows of a `find` document, each object by its key below the lake's root: in a
/// directory keys are told below the dataset's folder, on S3 whole.
fn places(answer: &Value) -> Vec<(String, u64)> {
    let mut places = Vec::new();
    for found in answer.as_array().expect("a list") {
        let text = |name: &str| found[name].as_str().expect("a text");
        let key = text("object");
        let folder = format!("{}/", text("dataset"));
        let key = if key.starts_with(&folder) { key.to_owned() } else { folder + key };
        let rows = found["rows"].as_array().expect("rows").iter();
        places.extend(rows.map(|row| (key.clone(), row.as_u64().expect("a row"))));
    }
    places
}

/// Random lakes in this place, subjects erased one after another and several at once.
fn oracle_agrees(place: &dyn Place, seed: u64) {
    let home = TempDir::new().expect("a folder");
    let made = random_lake::make(seed, 12, 60, 8);
    let mut story = Story::new(place, &home, made, "");
    story.program.run(&["index"]).success();
    story.check_find();
    story.erase(&[2]);
    story.check();
    story.erase(&[0, 5, 7]);
    story.check();
}

#[test]
fn the_oracle_agrees_on_a_folder() {
    for seed in 1..=4 {
        let lake = TempDir::new().expect("a folder");
        oracle_agrees(&Folder(lake.path().to_owned()), seed);
    }
}

#[test]
fn the_oracle_agrees_on_s3() {
    oracle_agrees(&Bucket::new(false), 5);
}

/// C1: every kept version that holds a subject's rows goes, and those that hold none stay.
#[test]
fn the_oracle_agrees_on_s3_with_versions() {
    let place = Bucket::new(true);
    // The same lake twice: each object has a superseded version that holds the same rows.
    for object in &random_lake::make(6, 12, 60, 8).objects {
        place.put(&object.key, &object.bytes);
    }
    oracle_agrees(&place, 6);
}

/// C4: a delete marker hides versions that hold a subject's rows; they go as well.
#[test]
fn versions_under_a_delete_marker_are_erased_on_s3() {
    let place = Bucket::new(true);
    let home = TempDir::new().expect("a folder");
    let made = random_lake::make(7, 6, 30, 1);
    let mut story = Story::new(&place, &home, made, "");
    for object in &story.lake.objects {
        place.delete(&object.key);
    }
    story.program.run(&["index"]).success();
    let plan = story.approved_plan(&[0]);
    story.program.run(&["erase", &plan]).success();
    story.program.run(&["verify", &plan]).success();
    story.erased.push(0);
    story.check_canaries();
    assert!(place.all().is_empty(), "every object held a row of the only subject");
}

/// D6, I9: one object cannot be rewritten; the others are, each is named with what became of it, and
/// the next plan covers the one that is left.
#[test]
fn a_failing_object_does_not_stop_the_others() {
    let (lake, home) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let place = Folder(lake.path().to_owned());
    let made = random_lake::make(11, 9, 30, 2);
    let mut story = Story::new(&place, &home, made, "");
    let failing = lake.path().join(&story.lake.objects[0].key);
    let link = lake.path().join("elsewhere");
    std::fs::hard_link(&failing, &link).expect("a second name of the same bytes");
    let plan = story.approved_plan(&[0]);
    let erased = story.program.run(&["erase", "--json", &plan]).exits(3).json();
    assert_eq!(erased["counts"]["failed"], 1);
    let certificate = story.program.run(&["certificate", "--json", &plan]).exits(13).json();
    assert_eq!(certificate["grade"], "partial");
    let objects = certificate["objects"].as_array().expect("a list");
    let holding =
        story.lake.objects.iter().filter(|object| !object.rows_of(&[0]).is_empty()).count();
    assert_eq!(objects.len(), holding, "a manifest of every object of the plan");
    std::fs::remove_file(link).expect("the second name goes");
    story.erase(&[0]);
    story.check();
}

/// E16: an index that was restored from a backup is only old. It names versions that are gone; the next
/// plan reads what it does not know, finds nothing of the erased, and misses nothing of the others.
#[test]
fn an_index_from_a_backup_claims_nothing() {
    let (lake, home) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let place = Folder(lake.path().to_owned());
    let mut story = Story::new(&place, &home, random_lake::make(5, 8, 30, 4), "");
    story.program.run(&["index"]).success();
    let (index, backup) = (home.path().join(".lacuna/index"), home.path().join("backup"));
    copy_folder(&index, &backup);
    story.erase(&[0]);
    std::fs::remove_dir_all(&index).expect("removed");
    copy_folder(&backup, &index);
    let file = story.subject_file(&[0]);
    let file = file.to_str().expect("UTF-8");
    let plan = story.program.run(&["plan", "--json", "--subjects", file]).success().json();
    assert_eq!((&plan["rows"], &plan["objects"]), (&0.into(), &0.into()), "{plan}");
    story.erase(&[1]);
    story.program.run(&["index"]).success();
    std::fs::remove_dir_all(&backup).expect("removed");
    story.check();
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("copied")),
        }
    }
}

/// D1: `index` and `erase` killed at random moments; the same command again ends in the same state.
#[test]
fn a_killed_run_goes_on_to_the_same_end() {
    let mut random = Random(42);
    let mut kills = 0;
    // How many kills a lake meets depends on the machine: the faster it is, the more lakes it takes.
    for seed in (100..).take(32) {
        if seed >= 104 && kills >= 200 {
            break;
        }
        let (lake, home) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let place = Folder(lake.path().to_owned());
        let made = random_lake::make(seed, 9, 40, 12);
        let mut story = Story::new(&place, &home, made, "");
        kills += killed_until_done(&story.program, &["index"], &mut random);
        story.check_find();
        for subject in 0..12 {
            let plan = story.approved_plan(&[subject]);
            kills += killed_until_done(&story.program, &["erase", &plan], &mut random);
            story.program.run(&["erase", &plan]).success();
            story.program.run(&["verify", &plan]).success();
            story.erased.push(subject);
        }
        story.check();
    }
    assert!(kills >= 200, "only {kills} kills");
}

/// The whole story with the index in PostgreSQL, `index` and `erase` killed at random moments (D1);
/// SQL answers what the program answers.
#[test]
fn the_story_ends_well_on_postgres() {
    let mut random = Random(43);
    let database = Database::empty();
    let (lake, home) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let place = Folder(lake.path().to_owned());
    let made = random_lake::make(11, 12, 60, 8);
    let mut story = Story::with_metastore(database.url(), &place, &home, (made, ""));
    killed_until_done(&story.program, &["index"], &mut random);
    story.check_find();
    check_sql(&story, &database);
    story.erase(&[2]);
    story.check();
    let plan = story.approved_plan(&[0, 5, 7]);
    killed_until_done(&story.program, &["erase", &plan], &mut random);
    story.program.run(&["erase", &plan]).success();
    story.program.run(&["verify", &plan]).success();
    story.erased.extend([0, 5, 7]);
    story.check();
    check_sql(&story, &database);
}

/// The whole story with the index in DynamoDB, `index` and `erase` killed at random moments (D1).
#[test]
fn the_story_ends_well_on_dynamodb() {
    let mut random = Random(44);
    let tables = Tables::new();
    let (lake, home) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let place = FolderBeside(Folder(lake.path().to_owned()), Tables::environment());
    let made = random_lake::make(12, 8, 30, 4);
    let mut story = Story::with_metastore(&tables.url(), &place, &home, (made, ""));
    killed_until_done(&story.program, &["index"], &mut random);
    story.check_find();
    story.erase(&[2]);
    story.check();
    let plan = story.approved_plan(&[0, 3]);
    killed_until_done(&story.program, &["erase", &plan], &mut random);
    story.program.run(&["erase", &plan]).success();
    story.program.run(&["verify", &plan]).success();
    story.erased.extend([0, 3]);
    story.check();
}

/// `user_objects` has a row for every record that the oracle knows.
fn check_sql(story: &Story<'_>, database: &Database) {
    for (position, subject) in story.lake.subjects.iter().enumerate() {
        let mut found = BTreeSet::new();
        for name in [format!("user={}", subject.user), format!("email={}", subject.email)] {
            let answer = story.program.run(&["digest", "--json", &name]).success().json();
            let digest = answer["digests"][0]["digest"].as_str().expect("a digest").to_owned();
            found.extend(database.user_objects(&digest));
        }
        let root = story.place.location();
        let objects = story.lake.objects.iter().filter(|_| !story.erased.contains(&position));
        let expected: BTreeSet<(String, i64)> = objects
            .flat_map(|object| {
                object.rows_of(&[position]).into_iter().map(move |row| (object, row))
            })
            .map(|(object, row)| (format!("{root}/{}", object.key), row.cast_signed()))
            .collect();
        assert_eq!(found, expected, "subject {position}");
    }
}

/// B4, J5: a vacuum that is killed in the middle of a write leaves no bytes after the next one.
#[test]
fn a_killed_vacuum_leaves_nothing_behind() {
    let (lake, home) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let place = Folder(lake.path().to_owned());
    let records: Vec<String> =
        (0..200_000).map(|row| format!("{{\"user_id\":\"u{row}\",\"n\":1}}\n{{}}\n")).collect();
    place.put("long.json", records.concat().as_bytes());
    let configuration = reviews_at(&place.location());
    let program = Program::new(home.path(), &configuration, Vec::new());
    let is_staged = || std::fs::read_dir(lake.path()).expect("a folder").count() > 1;
    // A process that is quicker to end than it is killed leaves nothing.
    for _ in 0..5 {
        if !is_staged() {
            place.put("long.json", records.concat().as_bytes());
            program.kill_when(&["vacuum"], is_staged);
        }
    }
    assert!(is_staged(), "the test never left anything behind");
    program.run(&["vacuum"]).success();
    let expected = records.concat().replace("{}\n", "").into_bytes();
    let left: Vec<_> = place.all().into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["long.json"]);
    assert!(place.get("long.json") == expected, "rows that stay are not as they were");
}

/// Starts the command and kills it, a little later each time, until it ends by itself.
fn killed_until_done(program: &Program, arguments: &[&str], random: &mut Random) -> usize {
    (0_u32..)
        .take_while(|attempt| {
            let patience = random.below(20 + u64::from(*attempt) * 10);
            !program.kill(arguments, Duration::from_millis(patience))
        })
        .count()
}

/// A dataset of records whose `user_id` names a subject.
fn reviews_at(location: &str) -> String {
    format!(
        "[metastore]\nurl = \"file:.lacuna/index\"\n[ledger]\nlocation = \".lacuna/ledger\"\n\
         [identity]\nkey_file = \".lacuna/digest.key\"\n[[dataset]]\nname = \"reviews\"\n\
         location = \"{location}\"\n[[dataset.identifier]]\nnamespace = \"user\"\n\
         field = \"user_id\"\ntype = \"string\"\n"
    )
}

/// The reference example: three records of three subjects are rows 0, 1 and 2 of the object.
#[test]
fn the_reference_example_is_indexed_as_rows_0_1_2() {
    let (lake, home) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let place = Folder(lake.path().to_owned());
    let users = ["V34qejxNsCbcgD8C0HVk-Q", "ofKDkJKXSKZXu5xJNGiiBQ", "UgMW8bLE0QMJDCkQ1Ax5Mg"];
    let key = "year=2018/month=2/day=26/input.json";
    let lines: String = users
        .iter()
        .map(|user| format!("{{\"review_id\":\"r\",\"user_id\":\"{user}\",\"stars\":5}}\n"))
        .collect();
    place.put(key, lines.as_bytes());
    let long: String = (0..3000)
        .map(|line| {
            format!(
                "{{\"user_id\":\"{}\"}}\n",
                if [529, 2102].contains(&line) { "twice" } else { "x" }
            )
        })
        .collect();
    place.put("long.json", long.as_bytes());
    let program = Program::new(home.path(), &reviews_at(&place.location()), Vec::new());
    program.run(&["index"]).success();
    for (row, user) in (0..).zip(users) {
        let answer = program.run(&["find", "--json", user]).success().json();
        assert_eq!(places(&answer), [(format!("reviews/{key}"), row)]);
    }
    let answer = program.run(&["find", "--json", "twice"]).success().json();
    assert_eq!(places(&answer), [529, 2102].map(|row| ("reviews/long.json".to_owned(), row)));
}

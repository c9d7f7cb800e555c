//! Where a test's lake lies, seen from outside the program: put, get, and every kept version.

use std::fs;
use std::path::{Path, PathBuf};

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use super::services::{self, S3Service};

/// A lake's storage, without any code of the program.
pub trait Place {
    /// What the configuration calls it, without a slash at its end.
    fn location(&self) -> String;

    /// What the program needs in its environment to reach it.
    fn environment(&self) -> Vec<(String, String)>;

    /// Stores an object.
    fn put(&self, key: &str, bytes: &[u8]);

    /// The current bytes of an object.
    fn get(&self, key: &str) -> Vec<u8>;

    /// Deletes the current version of an object; a store with versions leaves a delete marker.
    fn delete(&self, key: &str);

    /// The bytes of everything that is stored, by key: every kept version, leftovers of writes in a
    /// folder included.
    fn all(&self) -> Vec<(String, Vec<u8>)>;

    /// How many unfinished writes the store holds that `all` does not show.
    fn unfinished(&self) -> usize;
}

/// A folder.
pub struct Folder(pub PathBuf);

impl Place for Folder {
    fn location(&self) -> String {
        self.0.to_str().expect("a test's folder is UTF-8").to_owned()
    }

    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.0.join(key);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    fn get(&self, key: &str) -> Vec<u8> {
        fs::read(self.0.join(key)).expect("a file")
    }

    fn delete(&self, key: &str) {
        fs::remove_file(self.0.join(key)).expect("a file");
    }

    fn all(&self) -> Vec<(String, Vec<u8>)> {
        let root = format!("{}/", self.0.display());
        let files = files_below(&self.0).into_iter();
        files.map(|(path, bytes)| (path.trim_start_matches(&root).to_owned(), bytes)).collect()
    }

    fn unfinished(&self) -> usize {
        0
    }
}

/// A folder, for a program that needs something else in its environment.
pub struct FolderBeside(pub Folder, pub Vec<(String, String)>);

impl Place for FolderBeside {
    fn location(&self) -> String {
        self.0.location()
    }

    fn environment(&self) -> Vec<(String, String)> {
        self.1.clone()
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.0.put(key, bytes);
    }

    fn get(&self, key: &str) -> Vec<u8> {
        self.0.get(key)
    }

    fn delete(&self, key: &str) {
        self.0.delete(key);
    }

    fn all(&self) -> Vec<(String, Vec<u8>)> {
        self.0.all()
    }

    fn unfinished(&self) -> usize {
        self.0.unfinished()
    }
}

/// A bucket of the real S3 server.
pub struct Bucket {
    name: String,
    service: S3Service,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Bucket {
    /// A new bucket, which keeps versions or not.
    pub fn new(keeps_versions: bool) -> Self {
        Self::make(keeps_versions, false)
    }

    /// A new bucket, which keeps versions and may be told to let none go.
    pub fn with_locks() -> Self {
        Self::make(true, true)
    }

    /// Does something else with the bucket of this name.
    pub fn block_on(&self, work: impl AsyncFnOnce(&Client, &str)) {
        self.runtime.block_on(work(&self.client, &self.name));
    }

    fn make(keeps_versions: bool, has_locks: bool) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let service = services::s3();
        let name = services::unique("story");
        let client = runtime.block_on(async {
            let client = services::client(&service.configuration().await);
            let asked = client.create_bucket().bucket(&name);
            let asked = asked.object_lock_enabled_for_bucket(has_locks);
            asked.send().await.expect("a bucket");
            if keeps_versions {
                let enabled = VersioningConfiguration::builder()
                    .status(BucketVersioningStatus::Enabled)
                    .build();
                let asked = client.put_bucket_versioning().bucket(&name);
                asked.versioning_configuration(enabled).send().await.expect("versioning");
            }
            client
        });
        Self { name, service, client, runtime }
    }

    /// Where the server is.
    pub fn endpoint(&self) -> String {
        self.service.endpoint.clone()
    }

    async fn bytes(&self, key: &str, version: Option<&str>) -> Vec<u8> {
        let asked = self.client.get_object().bucket(&self.name).key(key);
        let got = asked.set_version_id(version.map(str::to_owned)).send().await.expect("an object");
        got.body.collect().await.expect("its bytes").to_vec()
    }
}

impl Place for Bucket {
    fn location(&self) -> String {
        format!("s3://{}", self.name)
    }

    fn environment(&self) -> Vec<(String, String)> {
        self.service.environment()
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let put = self.client.put_object().bucket(&self.name).key(key);
        let put = put.body(bytes.to_vec().into()).metadata("owner", "the story").send();
        self.runtime.block_on(put).expect("stored");
    }

    fn get(&self, key: &str) -> Vec<u8> {
        self.runtime.block_on(self.bytes(key, None))
    }

    fn delete(&self, key: &str) {
        let asked = self.client.delete_object().bucket(&self.name).key(key).send();
        self.runtime.block_on(asked).expect("deleted");
    }

    fn all(&self) -> Vec<(String, Vec<u8>)> {
        self.runtime.block_on(async {
            let mut all = Vec::new();
            let asked = self.client.list_object_versions().bucket(&self.name);
            let mut next = (None, None);
            loop {
                let page = asked.clone().set_key_marker(next.0).set_version_id_marker(next.1);
                let page = page.send().await.expect("a listing");
                for version in page.versions() {
                    let key = version.key().expect("a key").to_owned();
                    let bytes = self.bytes(&key, version.version_id()).await;
                    all.push((key, bytes));
                }
                if page.is_truncated() != Some(true) {
                    return all;
                }
                let marker = |marker: Option<&str>| marker.map(str::to_owned);
                next = (marker(page.next_key_marker()), marker(page.next_version_id_marker()));
            }
        })
    }

    fn unfinished(&self) -> usize {
        let asked = self.client.list_multipart_uploads().bucket(&self.name).send();
        self.runtime.block_on(asked).expect("a listing").uploads().len()
    }
}

/// Every file below a folder, by its path.
pub fn files_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.display().to_string(), fs::read(&path).expect("a file")));
            }
        }
    }
    files
}

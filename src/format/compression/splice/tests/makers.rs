//! Files by whatever makers are at hand, read again by whatever readers are: minutes of work, so that it is
//! run by name.
//!
//! `FILES` is how many files are made, `SEED` where they begin; with `PROGRAMS=0` a library makes and reads
//! them all, which is quick.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// Programs that compress what comes in.
const MAKERS: [&[&str]; 13] = [
    &["gzip", "-1"],
    &["gzip", "-6"],
    &["gzip", "-9"],
    &["pigz", "-c", "-p", "2", "-b", "128"],
    &["pigz", "-c", "-1", "-p", "2", "-b", "32", "-i"],
    &["pigz", "-c", "-11", "-I", "2"],
    &["igzip", "-c", "-0"],
    &["igzip", "-c", "-1"],
    &["igzip", "-c", "-2"],
    &["igzip", "-c", "-3"],
    &["node", "-e", NODE],
    &["python3", "-c", PYTHON],
    &["java", "JAVA"],
];

const NODE: &str = "process.stdin.pipe(require('zlib').createGzip()).pipe(process.stdout)";

/// Parameters at random, by what is to be compressed.
const PYTHON: &str = "
import random, sys, zlib
content = sys.stdin.buffer.read()
random.seed(zlib.crc32(content))
level, memory, bits = random.randint(0, 9), random.randint(1, 9), random.randint(9, 15)
strategy = random.choice([0, 0, 1, 2, 3, 4])
deflate = zlib.compressobj(level, zlib.DEFLATED, 16 + bits, memory, strategy)
flushes = [zlib.Z_NO_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_BLOCK]
out, at = b'', 0
while at < len(content):
    size = random.randint(1, 200000)
    out += deflate.compress(content[at:at + size])
    at += size
    if random.random() < .5:
        out += deflate.flush(random.choice(flushes))
sys.stdout.buffer.write(out + deflate.flush())
";

const JAVA: &str = "
import java.io.*;
import java.util.zip.*;
public class Make {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 0) {
            GZIPOutputStream out = new GZIPOutputStream(System.out);
            System.in.transferTo(out);
            out.close();
            return;
        }
        int wrong = 0;
        for (File file : new File(arguments[0]).listFiles()) {
            if (!file.getName().endsWith(\".gz\")) continue;
            byte[] text = new FileInputStream(file.getPath().replace(\".gz\", \".txt\")).readAllBytes();
            byte[] read = new GZIPInputStream(new FileInputStream(file)).readAllBytes();
            if (!java.util.Arrays.equals(text, read)) wrong++;
        }
        System.exit(wrong == 0 ? 0 : 1);
    }
}
";

/// Readers of all files in a folder.
const PYTHON_READER: &str = "
import glob, gzip, sys
for name in glob.glob(sys.argv[1] + '/*.gz'):
    assert gzip.open(name).read() == open(name[:-3] + '.txt', 'rb').read(), name
";

const NODE_READER: &str = "
const fs = require('fs'), zlib = require('zlib'), path = process.argv[1];
for (const name of fs.readdirSync(path).filter(name => name.endsWith('.gz'))) {
    const text = fs.readFileSync(path + '/' + name.replace('.gz', '.txt'));
    if (!zlib.gunzipSync(fs.readFileSync(path + '/' + name)).equals(text)) process.exit(1);
}
";

/// What a program makes of some bytes; `None` where there is no such program, or it fails.
fn run(command: &[&str], java: &Path, input: &[u8]) -> Option<Vec<u8>> {
    let arguments = command[1..].iter().map(|argument| match *argument {
        "JAVA" => java.as_os_str(),
        other => other.as_ref(),
    });
    let mut program = Command::new(command[0]);
    program.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = program.spawn().ok()?;
    let (mut stdin, mut stdout) = (child.stdin.take()?, child.stdout.take()?);
    let input = input.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&input));
    let mut output = Vec::new();
    stdout.read_to_end(&mut output).ok()?;
    let _ = feed.join();
    child.wait().ok()?.success().then_some(output)
}

/// A file, and who made it.
fn made(seed: u64, content: &[u8], java: &Path) -> Option<(String, Vec<u8>)> {
    let slot = (seed % 40) as usize;
    match MAKERS.get(slot).filter(|_| has_programs()) {
        // It takes a second to start.
        Some(["java", ..]) if seed % 200 > 40 => None,
        Some(maker) => {
            let name = maker.iter().filter(|it| it.len() < 8).copied();
            Some((name.collect::<Vec<_>>().join(" "), run(maker, java, content)?))
        }
        None => {
            let flushes = [
                FlushCompress::None,
                FlushCompress::Partial,
                FlushCompress::Sync,
                FlushCompress::Full,
            ];
            let chosen: Vec<_> =
                (0..seed % 9).map(|it| flushes[(seed / 40 + it * 7) as usize % 4]).collect();
            let level = (slot % 10) as u32;
            let stream = deflate(content, level, &chosen);
            Some((format!("library -{level}"), member(&stream, content, None)))
        }
    }
}

fn has_programs() -> bool {
    number("PROGRAMS", 1) == 1
}

#[expect(clippy::disallowed_methods, reason = "who runs this by name says how much of it")]
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// G26: files of every maker at hand, edited in one to forty rows, are read by every reader at hand.
#[test]
#[ignore = "runs other programs, for minutes"]
#[expect(clippy::print_stdout, reason = "who runs this by name wants to see what was tried")]
fn files_of_every_maker_are_read_by_every_reader() {
    let folder = std::env::temp_dir().join(format!("splice-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let java = folder.join("Make.java");
    std::fs::write(&java, JAVA).expect("a file");
    let (mut counts, mut refusals) = (BTreeMap::new(), BTreeMap::new());
    let (mut windows, mut kept) = (0, 0);
    let first = number("SEED", 0);
    for seed in first..first + number("FILES", 200) {
        let content = text(1 + (seed * 7919 % (500_000 << (2 * (seed % 2)))) as usize, seed);
        let Some((maker, stored)) = made(seed, &content, &java) else { continue };
        let chosen: Vec<(usize, u8)> = (0..1 + seed % 40 * (seed % 3) / 2)
            .map(|it| ((seed * 31 + it * 104_729) as usize, (seed + it) as u8))
            .collect();
        let changes = patches(&content, &chosen);
        *counts.entry(maker.clone()).or_insert(0) += 1;
        let spliced = match answer(&stored, &changes, &[]) {
            Answer::Spliced(spliced) => spliced,
            Answer::Refused(reason) => {
                *refusals.entry(reason).or_insert(0) += 1;
                continue;
            }
        };
        let (new, copied) = applied(&stored, &spliced);
        let expected = changed(&content, &changes);
        assert!(plain(&new) == expected, "{maker} {seed}");
        windows += spliced.touched.len();
        kept += copied.iter().filter(|range| range.start > 20).count();
        if !has_programs() {
            continue;
        }
        for reader in [&["gzip", "-dc"][..], &["pigz", "-dc"], &["igzip", "-dc"]] {
            if let Some(read) = run(&[reader[0], "--version"], &java, &[])
                .map(|_| run(reader, &java, &new).unwrap_or_default())
            {
                assert!(read == expected, "{maker} {seed} by {}", reader[0]);
            }
        }
        std::fs::write(folder.join(format!("{seed}.gz")), &new).expect("a file");
        std::fs::write(folder.join(format!("{seed}.txt")), &expected).expect("a file");
    }
    let all = folder.to_string_lossy().into_owned();
    for reader in [
        &["python3", "-c", PYTHON_READER, &all][..],
        &["node", "-e", NODE_READER, &all],
        &["java", "JAVA", &all],
    ] {
        if run(&[reader[0], "--version"], &java, &[]).is_some() {
            assert!(run(reader, &java, &[]).is_some(), "{} reads them all", reader[0]);
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    println!("{counts:#?}\nrefused {refusals:?}\n{windows} windows, {kept} kept parts");
}

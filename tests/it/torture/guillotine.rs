//! A proxy before the S3 server that counts a program's requests and kills it at a chosen one.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// On which side of the chosen request the program dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The server never hears of it.
    Before,
    /// The server has answered, and the answer never arrives.
    After,
}

/// The proxy.
pub(super) struct Guillotine {
    /// Its address.
    pub(super) endpoint: String,
    scaffold: Arc<Mutex<Scaffold>>,
}

#[derive(Default)]
struct Scaffold {
    requests: u64,
    at: Option<(u64, Side)>,
    program: Option<Child>,
    has_fallen: bool,
}

impl Scaffold {
    fn fall(&mut self) {
        self.has_fallen = true;
        if let Some(program) = &mut self.program {
            program.kill().expect("a child can be killed");
        }
    }
}

/// What became of a program.
#[derive(Debug)]
pub(super) struct Ended {
    /// Whether it was killed where it was to be.
    pub(super) was_killed: bool,
    /// How many requests it made.
    pub(super) requests: u64,
}

impl Guillotine {
    /// Stands before the server at `http://HOST:PORT`.
    pub(super) fn before(server: &str) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let scaffold = Arc::new(Mutex::new(Scaffold::default()));
        let shared = scaffold.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).expect("the server is there");
                connect(client, server, &shared);
            }
        });
        Self { endpoint, scaffold }
    }

    /// Runs the program and kills it at its request of this number, unless it ends before.
    pub(super) fn run(&self, mut command: Command, at: u64, side: Side) -> Ended {
        let mut scaffold = self.scaffold.lock().expect("not poisoned");
        *scaffold = Scaffold { at: Some((at, side)), ..Scaffold::default() };
        // Its first request waits for the lock.
        let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        scaffold.program = Some(started.expect("the program is started"));
        drop(scaffold);
        loop {
            let mut scaffold = self.scaffold.lock().expect("not poisoned");
            let program = scaffold.program.as_mut().expect("it was started");
            if program.try_wait().expect("a child").is_some() {
                let (was_killed, requests) = (scaffold.has_fallen, scaffold.requests);
                *scaffold = Scaffold::default();
                return Ended { was_killed, requests };
            }
            drop(scaffold);
            thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

fn connect(client: TcpStream, server: TcpStream, scaffold: &Arc<Mutex<Scaffold>>) {
    let (from, to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    let is_last = Arc::new(AtomicBool::new(false));
    let (shared, flag) = (scaffold.clone(), is_last.clone());
    thread::spawn(move || {
        relay(from, to, |bytes| {
            if !begins_request(bytes) {
                return true;
            }
            let mut scaffold = shared.lock().expect("not poisoned");
            scaffold.requests += 1;
            match scaffold.at {
                Some((at, Side::Before)) if at == scaffold.requests => scaffold.fall(),
                Some((at, Side::After)) if at == scaffold.requests => {
                    flag.store(true, Ordering::SeqCst);
                }
                _ => {}
            }
            // What comes after its death is not the program's any more.
            !scaffold.has_fallen
        });
    });
    let shared = scaffold.clone();
    thread::spawn(move || {
        relay(server, client, |_| {
            if is_last.load(Ordering::SeqCst) {
                shared.lock().expect("not poisoned").fall();
                return false;
            }
            true
        });
    });
}

/// A client says nothing before it was answered, so that a request begins what is read.
fn begins_request(bytes: &[u8]) -> bool {
    [&b"GET /"[..], b"PUT /", b"POST /", b"HEAD /", b"DELETE /"]
        .iter()
        .any(|method| bytes.starts_with(method))
}

fn relay(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 || !passes(&buffer[..length]) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

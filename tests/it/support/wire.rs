//! Ends of a wire that tests hold: a server that answers as told, and a proxy that loses answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request, as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `GET`.
    pub method: String,
    /// Path and query, not decoded.
    pub target: String,
    /// The lines of the header, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(other, _)| *other == name).map(|(_, value)| decoded(value))
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, rest) {
            (b'%', [high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                rest = tail;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).expect("text")
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// What `content-length` says where it is not the truth.
    pub promised_bytes: Option<usize>,
}

impl Answer {
    /// An answer with a body.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    /// S3's way to say what is wrong.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::new(status, format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
    }

    /// The same with a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// What `HEAD` tells of an object.
    pub(crate) fn object(size_bytes: usize, etag: &str) -> Self {
        let answer = Self { promised_bytes: Some(size_bytes), ..Self::new(200, "") };
        answer.with("etag", etag).with("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
    }
}

/// A server that answers as told and remembers what it was asked.
pub(crate) struct Stub {
    /// Its address.
    pub endpoint: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    /// Starts the server.
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (memory, answer) = (seen.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (memory, answer) = (memory.clone(), answer.clone());
                thread::spawn(move || serve(stream, &memory, &*answer));
            }
        });
        Self { endpoint, seen }
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no test panicked").clone()
    }
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
) {
    let Some(request) = receive(&mut stream) else { return };
    seen.lock().expect("no test panicked").push(request.clone());
    let answer = answer(&request);
    let length = answer.promised_bytes.unwrap_or(answer.body.len());
    let mut head = format!("HTTP/1.1 {} -\r\nconnection: close\r\n", answer.status);
    if answer.status != 204 {
        head.push_str(&format!("content-length: {length}\r\n"));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    drop(stream.write_all(head.as_bytes()));
    if request.method != "HEAD" {
        drop(stream.write_all(&answer.body));
    }
    drop(stream.shutdown(Shutdown::Write));
    // Until the other side has read it all: closing early would lose what is on its way.
    drop(stream.read(&mut [0; 16]));
}

fn receive(stream: &mut TcpStream) -> Option<Request> {
    let mut received = Vec::new();
    let mut buffer = [0; 64 << 10];
    let end = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            length => received.extend_from_slice(&buffer[..length]),
        }
    };
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<(String, String)> = lines.filter_map(pair).collect();
    let request = Request { method, target, headers };
    let length = request.header("content-length").and_then(|text| text.parse().ok());
    let mut missing = length.unwrap_or(0usize).saturating_sub(received.len() - end - 4);
    while missing > 0 {
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            length => missing = missing.saturating_sub(length),
        }
    }
    Some(request)
}

/// A proxy before a real server that can lose the answer to a request after the server acted on it.
pub(crate) struct Proxy {
    /// Its address.
    pub endpoint: String,
    losing: Arc<Mutex<Option<String>>>,
}

impl Proxy {
    /// Starts a proxy before the server at `http://HOST:PORT`.
    pub(crate) fn start(server: &str) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let losing = Arc::new(Mutex::new(None));
        let armed = losing.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).expect("the server is there");
                connect(client, server, armed.clone());
            }
        });
        Self { endpoint, losing }
    }

    /// Loses the answer to the next request that begins so: `PUT /bucket/key`.
    pub(crate) fn lose_answer_to(&self, beginning: &str) {
        *self.losing.lock().expect("no test panicked") = Some(beginning.to_owned());
    }

    /// Whether an answer that was to be lost was lost.
    pub(crate) fn has_lost(&self) -> bool {
        self.losing.lock().expect("no test panicked").is_none()
    }
}

fn connect(client: TcpStream, server: TcpStream, losing: Arc<Mutex<Option<String>>>) {
    let loses = Arc::new(AtomicBool::new(false));
    let (to_server, to_client) = (
        (client.try_clone().expect("a socket"), server.try_clone().expect("a socket")),
        (server, client),
    );
    let flag = loses.clone();
    thread::spawn(move || {
        relay(to_server, |bytes| {
            let mut losing = losing.lock().expect("no test panicked");
            if losing.as_ref().is_some_and(|beginning| bytes.starts_with(beginning.as_bytes())) {
                *losing = None;
                flag.store(true, Ordering::SeqCst);
            }
            true
        });
    });
    thread::spawn(move || relay(to_client, |_| !loses.load(Ordering::SeqCst)));
}

fn relay((mut from, mut to): (TcpStream, TcpStream), mut passes: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(length) if length > 0 && passes(&buffer[..length]) => {
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

//! A name server of a test: it answers what it is told, over UDP.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a name means.
#[derive(Clone, Copy)]
pub enum Record {
    A([u8; 4]),
    Aaaa([u8; 16]),
    Srv { priority: u16, weight: u16, port: u16, target: &'static str },
}

impl Record {
    fn kind(self) -> u16 {
        match self {
            Self::A(_) => 1,
            Self::Aaaa(_) => 28,
            Self::Srv { .. } => 33,
        }
    }

    fn data(self) -> Vec<u8> {
        match self {
            Self::A(address) => address.to_vec(),
            Self::Aaaa(address) => address.to_vec(),
            Self::Srv { priority, weight, port, target } => {
                let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
                [numbers, encoded(target)].concat()
            }
        }
    }
}

/// A name server that runs, on a thread of its own, until this is dropped.
pub struct Names {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    zone: Mutex<BTreeMap<&'static str, Vec<Record>>>,
    silent: AtomicBool,
    seconds: AtomicU32,
    asked: AtomicUsize,
}

/// Knows no name yet; its records live for no time.
pub fn names() -> Names {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let shared = Arc::new(Shared {
        address: socket.local_addr().unwrap(),
        zone: Mutex::default(),
        silent: AtomicBool::new(false),
        seconds: AtomicU32::new(0),
        asked: AtomicUsize::new(0),
    });
    let answering = Arc::clone(&shared);
    let thread = std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length @ 1.., from)) = socket.recv_from(&mut packet) {
            if !answering.silent.load(Ordering::SeqCst) {
                socket.send_to(&answering.answer(&packet[..length]), from).unwrap();
            }
        }
    });
    Names { shared, thread: Some(thread) }
}

impl Drop for Names {
    fn drop(&mut self) {
        // A packet without anything ends it.
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], self.shared.address));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Names {
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// What a name means from now on; nothing: it is no name.
    pub fn set(&self, name: &'static str, records: &[Record]) {
        self.shared.zone.lock().unwrap().insert(name, records.to_vec());
    }

    /// Whether it answers at all.
    pub fn silence(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }

    /// How many seconds its records live from now on.
    pub fn lives(&self, seconds: u32) {
        self.shared.seconds.store(seconds, Ordering::SeqCst);
    }

    /// How many questions it answered.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// RFC 1035, section 4: a header, the question as it came, and the records or that there are none.
    fn answer(&self, query: &[u8]) -> Vec<u8> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
        let (name, kind) = (decoded(&query[12..end]), u16::from_be_bytes([query[end], query[end + 1]]));
        let zone = self.zone.lock().unwrap();
        let known = zone.get(name.as_str()).filter(|records| !records.is_empty());
        let records: Vec<&Record> = known.into_iter().flatten().filter(|record| record.kind() == kind).collect();
        let code = if known.is_some() { 0x80 } else { 0x83 };
        let nothing = u8::from(records.is_empty());
        let header = [&query[..2], &[0x85, code, 0, 1, 0, records.len() as u8, 0, nothing, 0, 0]].concat();
        let mut answer = [&header, &query[12..end + 4]].concat();
        if nothing == 1 {
            // How long there is nothing (RFC 2308): a start of authority, all zeros but for its lengths.
            answer.extend([&[0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22][..], &[0; 22]].concat());
        }
        for record in records {
            let data = record.data();
            answer.extend([0xc0, 12]);
            answer.extend(record.kind().to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(self.seconds.load(Ordering::SeqCst).to_be_bytes());
            answer.extend((data.len() as u16).to_be_bytes());
            answer.extend(data);
        }
        answer
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[label.len() as u8], label.as_bytes()].concat();
    let mut bytes: Vec<u8> = name.split('.').flat_map(label).collect();
    bytes.push(0);
    bytes
}

fn decoded(mut bytes: &[u8]) -> String {
    let mut labels = vec![];
    while bytes[0] > 0 {
        let (label, rest) = bytes[1..].split_at(bytes[0] as usize);
        labels.push(String::from_utf8(label.to_ascii_lowercase()).unwrap());
        bytes = rest;
    }
    labels.join(".")
}

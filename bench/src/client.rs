//! Asks a server, on many connections at once, as fast as it answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;

const CONNECTIONS: usize = 64;

/// After which time a server that does not answer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// In which a server answers fewer requests than there are connections.
const NAP: Duration = Duration::from_micros(100);

/// Connections that stay open between the turns, each with one request under way at a time.
///
/// Answers are read in the order in which the requests went out. A server takes them up in about that
/// order, so that the client waits for none of them while others are there; what it does for a request
/// is one read and one write, less than a server has to do.
///
/// Where it has to wait it sleeps for a while that the other connections have enough requests for: so
/// that a server is never idle, and an answer wakes nobody, which would be the server's work, and more
/// of it the slower the server is.
pub(crate) struct Client {
    connections: Vec<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(port: u16, request: Vec<u8>) -> Result<Self> {
        let connect = |_| {
            let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            connection.set_nodelay(true)?;
            connection.set_nonblocking(true)?;
            Ok(connection)
        };
        let connections = (0..CONNECTIONS).map(connect).collect::<Result<_>>()?;
        Ok(Self { connections, request, answer: vec![0; 64 << 10] })
    }

    /// How many requests a second were answered in `length`, and the head of the last answer.
    pub(crate) fn requests_per_second(&mut self, length: Duration) -> Result<(f64, String)> {
        let Self { connections, request, answer } = self;
        let (mut requests, mut head) = (0_u32, 0);
        let started = Instant::now();
        for connection in connections.iter_mut() {
            connection.write_all(request)?;
        }
        while started.elapsed() < length {
            for connection in connections.iter_mut() {
                read(connection, answer)?;
                connection.write_all(request)?;
                requests += 1;
            }
        }
        for connection in connections.iter_mut() {
            head = read(connection, answer)?;
            requests += 1;
        }
        let rate = f64::from(requests) / started.elapsed().as_secs_f64();
        Ok((rate, String::from_utf8_lossy(&answer[..head]).into_owned()))
    }
}

/// Reads one answer to its end; the length of its head.
fn read(connection: &mut TcpStream, answer: &mut [u8]) -> Result<usize> {
    let mut length = 0;
    let (head, body) = loop {
        length += more(connection, &mut answer[length..])?;
        if let Some(head) = memmem::find(&answer[..length], b"\r\n\r\n") {
            break (head, body_length(&answer[..head])?);
        }
    };
    while length < head + 4 + body {
        length += more(connection, &mut answer[length..])?;
    }
    ensure!(length == head + 4 + body, "the server sent more than its answer");
    Ok(head)
}

fn more(connection: &mut TcpStream, buffer: &mut [u8]) -> Result<usize> {
    let mut since = None;
    loop {
        match connection.read(buffer) {
            Ok(0) => bail!("the server closed a connection, or its answer is too long"),
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let since = since.get_or_insert_with(Instant::now);
                ensure!(since.elapsed() < PATIENCE, "the server does not answer");
                thread::sleep(NAP);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn body_length(head: &[u8]) -> Result<usize> {
    const LENGTH: &[u8] = b"\r\ncontent-length: ";
    let answer = || format!("the server answered with:\n{}", String::from_utf8_lossy(head));
    ensure!(head.starts_with(b"HTTP/1.1 200 "), answer());
    let at = memmem::find(head, LENGTH).with_context(answer)?;
    let digits = head[at + LENGTH.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers every request on every connection with `answer`, in two parts.
    fn serve(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                thread::spawn(move || {
                    let mut request = [0; 3];
                    while connection.read_exact(&mut request).is_ok() {
                        let (one, other) = answer.split_at(answer.len() / 2);
                        connection.write_all(one).unwrap();
                        connection.write_all(other).unwrap();
                    }
                });
            }
        });
        port
    }

    #[test]
    fn answers_are_read_to_their_ends() {
        let port = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nage: 1\r\n\r\nhello");
        let mut client = Client::connect(port, b"ask".to_vec()).unwrap();
        for _ in 0..3 {
            let (rate, head) = client.requests_per_second(Duration::from_millis(5)).unwrap();
            assert!(rate > 0.0);
            assert!(head.ends_with("age: 1"), "{head}");
        }
    }

    #[test]
    fn what_is_no_success_is_an_error() {
        for answer in [
            &b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        ] {
            let mut client = Client::connect(serve(answer), b"ask".to_vec()).unwrap();
            assert!(client.requests_per_second(Duration::from_millis(1)).is_err());
        }
    }
}

//! One connection to one node: whole frames out, whole frames in.

pub(crate) mod secret_agent;
pub(crate) mod tls;

use crate::aerospike::error::{ClusterError, Result};
use crate::aerospike::options::Address;
use crate::aerospike::wire::WireError;
use crate::aerospike::wire::frame::{self, FRAME_BYTES, FrameType};
use crate::aerospike::wire::info::{self, InfoReply};
use crate::aerospike::wire::login;
use crate::aerospike::wire::result_code::ResultCode;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;
use tls::Tls;

/// A body is read in pieces of at most this many bytes, so that a wrong length takes no more memory than was sent.
const PIECE: usize = 4 << 20;

enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

/// A connection to a node.
pub struct Connection {
    stream: Stream,
    node: String,
}

fn set_timeout(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))
}

/// Connects to the first address of a host that answers. `timeout` is for each, and for every later read and write.
fn connect(address: &Address, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for place in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&place, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                set_timeout(&stream, timeout)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What a server did, rather than what the system calls it.
fn told_of(error: io::Error) -> io::Error {
    match error.kind() {
        // What an expired read timeout is called differs between systems.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "it sent nothing within the timeout")
        }
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it closed the connection"),
        _ => error,
    }
}

impl Connection {
    /// Connects to a server. `timeout` is for each step of it, and for every later read and write until another is set.
    pub fn open(address: &Address, tls: Option<(&Tls, Option<&str>)>, timeout: Duration) -> Result<Self> {
        let failed = |error| ClusterError::net(format!("connect to {address}"), error);
        let mut stream = connect(address, timeout).map_err(failed)?;
        let stream = match tls {
            None => Stream::Plain(stream),
            Some((tls, told)) => {
                let mut session = tls.session(&address.host, told)?;
                let shaken = session.complete_io(&mut stream);
                shaken.map_err(|error| ClusterError::net(format!("begin TLS with {address}"), told_of(error)))?;
                Stream::Tls(Box::new(rustls::StreamOwned::new(session, stream)))
            }
        };
        Ok(Self { stream, node: address.to_string() })
    }

    /// Limits every later read and write.
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<()> {
        let stream = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref(),
        };
        set_timeout(stream, timeout).map_err(|error| ClusterError::net(format!("connect to {}", self.node), error))
    }

    /// The node's name, for errors.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Sets the node's name, once it is known.
    pub fn set_node(&mut self, name: &str) {
        self.node = name.to_string();
    }

    /// Sends a whole frame.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
        sent.map_err(|error| ClusterError::net(format!("send a request to node {}", self.node), error))
    }

    /// Reads a whole frame of the given type; `body` is overwritten.
    pub fn receive(&mut self, kind: FrameType, body: &mut Vec<u8>) -> Result<()> {
        let failed =
            |node: &str, error: io::Error| ClusterError::net(format!("read a reply of node {node}"), told_of(error));
        let mut head = [0; FRAME_BYTES];
        let read: &mut dyn Read = match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.as_mut(),
        };
        read.read_exact(&mut head).map_err(|error| failed(&self.node, error))?;
        let length = frame::decode(head, kind).map_err(|error| ClusterError::wire(&self.node, error))?;
        // What an earlier frame left is overwritten rather than cleared and zeroed again.
        let mut filled = 0;
        while filled < length {
            let end = length.min(filled.saturating_add(PIECE));
            if body.len() < end {
                body.resize(end, 0);
            }
            if let Some(piece) = body.get_mut(filled..end) {
                read.read_exact(piece).map_err(|error| failed(&self.node, error))?;
            }
            filled = end;
        }
        body.truncate(length);
        Ok(())
    }

    /// Asks for values by name.
    pub fn info(&mut self, names: &[&str]) -> Result<InfoReply> {
        self.send(&info::request(names))?;
        let mut body = Vec::new();
        self.receive(FrameType::Info, &mut body)?;
        Ok(InfoReply::parse(&body))
    }

    /// Sends a security message that asks for a list, and hands each frame of the answer to `take` until it gives the
    /// list's result.
    pub fn list(
        &mut self,
        message: &[u8],
        doing: &str,
        mut take: impl FnMut(&[u8]) -> Result<Option<ResultCode>, WireError>,
    ) -> Result<()> {
        self.send(message)?;
        let mut body = Vec::new();
        loop {
            self.receive(FrameType::Security, &mut body)?;
            match take(&body).map_err(|error| ClusterError::wire(&self.node, error))? {
                None => {}
                Some(ResultCode::OK) => return Ok(()),
                Some(code) => return Err(ClusterError::refused(&self.node, doing, code)),
            }
        }
    }

    /// Sends a security message whose answer is one result, as that of a login; `doing` is for errors. `None` where the
    /// server has no access control or gives no session.
    pub fn login(&mut self, message: &[u8], doing: &str) -> Result<Option<login::SessionToken>> {
        self.send(message)?;
        let mut body = Vec::new();
        self.receive(FrameType::Security, &mut body)?;
        match login::reply(&body).map_err(|error| ClusterError::wire(&self.node, error))? {
            (0, session) => Ok(session),
            (code, _) if [ResultCode::SECURITY_OFF, ResultCode::SECURITY_UNSUPPORTED].contains(&ResultCode(code)) => {
                Ok(None)
            }
            (code, _) => Err(ClusterError::refused(&self.node, doing, ResultCode(code))),
        }
    }
}

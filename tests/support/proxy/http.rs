//! Framing of HTTP/1.1: where a message begins and ends, without changing a byte of it.

use std::io::{self, BufRead, Read};

/// The longest head of a message.
const LONGEST: usize = 256 * 1024;

/// A request line and its headers, or a status line and its headers.
pub struct Head {
    /// As it came, with the blank line.
    pub bytes: Vec<u8>,
    text: String,
}

/// How long the body of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Known(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the connection ends.
    Open,
}

impl Head {
    /// The next one; `None` at the end of the stream.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Head>> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let read = from.by_ref().take(LONGEST as u64).read_until(b'\n', &mut bytes)?;
            if read == 0 && bytes.is_empty() {
                return Ok(None);
            }
            if read == 0 || bytes.len() > LONGEST {
                return Err(io::Error::other("the head of a message is cut or too long"));
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Some(Head { bytes, text }))
    }

    fn word(&self, index: usize) -> &str {
        self.text.split([' ', '\r']).nth(index).unwrap_or_default()
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// The path and query of a request.
    pub fn target(&self) -> &str {
        self.word(1)
    }

    /// The status code of a response.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The length of the body of a request.
    pub fn request_length(&self) -> Length {
        self.length().unwrap_or(Length::Known(0))
    }

    /// The length of the body of a response.
    pub fn response_length(&self) -> Length {
        match self.status() {
            100..=199 | 204 | 304 => Length::Known(0),
            _ => self.length().unwrap_or(Length::Open),
        }
    }

    fn length(&self) -> Option<Length> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Some(Length::Chunked);
        }
        Some(Length::Known(self.header("content-length")?.parse().ok()?))
    }
}

/// A piece of a body: its bytes as they came, and those that are content.
pub struct Piece {
    pub bytes: Vec<u8>,
    /// Where in `bytes` the content is.
    pub content: std::ops::Range<usize>,
}

/// Reads a body to its end, piece by piece, as soon as each is there.
pub fn body(
    from: &mut impl BufRead,
    length: Length,
    mut take: impl FnMut(Piece) -> io::Result<()>,
) -> io::Result<()> {
    let mut left = match length {
        Length::Known(count) => count,
        Length::Open => u64::MAX,
        Length::Chunked => {
            while let Some(piece) = chunk(from)? {
                let last = piece.content.is_empty();
                take(piece)?;
                if last {
                    return Ok(());
                }
            }
            return Err(io::Error::other("a body is cut"));
        }
    };
    while left > 0 {
        let there = from.fill_buf()?;
        let count = there.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            let is_cut = length != Length::Open;
            return if is_cut { Err(io::Error::other("a body is cut")) } else { Ok(()) };
        }
        take(Piece { bytes: there[..count].to_vec(), content: 0..count })?;
        from.consume(count);
        left -= count as u64;
    }
    Ok(())
}

/// A chunk with its size line and line break; the last one is empty and has the trailers.
fn chunk(from: &mut impl BufRead) -> io::Result<Option<Piece>> {
    let mut bytes = Vec::new();
    if from.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&bytes).into_owned();
    let size = line.split([';', '\r', '\n']).next().unwrap_or_default().trim();
    let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
    let start = bytes.len();
    from.by_ref().take(size).read_to_end(&mut bytes)?;
    let content = start..bytes.len();
    if content.len() as u64 != size {
        return Err(io::Error::other("a chunk is cut"));
    }
    loop {
        let before = bytes.len();
        from.read_until(b'\n', &mut bytes)?;
        if size > 0 || bytes.len() - before <= 2 {
            return Ok(Some(Piece { bytes, content }));
        }
    }
}

/// Content as one chunk.
pub fn chunked(content: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat()
}

/// A whole response with a JSON body.
pub fn json(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> (u16, Vec<u8>, String) {
        let mut from = io::Cursor::new(text.as_bytes());
        let head = Head::read(&mut from).unwrap().unwrap();
        let (mut bytes, mut content) = (head.bytes.clone(), Vec::new());
        body(&mut from, head.response_length(), |piece| {
            content.extend_from_slice(&piece.bytes[piece.content.clone()]);
            bytes.extend(piece.bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!(bytes, &text.as_bytes()[..bytes.len()], "byte for byte");
        let rest = &text[bytes.len()..];
        (head.status(), content, rest.to_owned())
    }

    #[test]
    fn messages_are_told_apart_on_one_connection() {
        let next = "HTTP/1.1 204 No Content\r\n\r\n";
        let chunks =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n4;x=y\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n";
        for trailers in ["\r\n", "X-Sum: 1\r\n\r\n"] {
            let (status, content, rest) = whole(&format!("{chunks}{trailers}{next}"));
            assert_eq!((status, content.as_slice(), rest.as_str()), (200, &b"{\"a\":1}"[..], next));
        }
        let (_, content, rest) = whole(&format!("HTTP/1.1 200 OK\r\nContent-length: 2\r\n\r\n{{}}{next}"));
        assert_eq!((content.as_slice(), rest.as_str()), (&b"{}"[..], next));
        let (_, content, rest) = whole("HTTP/1.1 200 OK\r\n\r\nto the end");
        assert_eq!((content.as_slice(), rest.as_str()), (&b"to the end"[..], ""));
        assert_eq!(whole(&format!("{next}{next}")).2, next);
    }

    #[test]
    fn a_cut_message_is_an_error() {
        let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for cut in ["4\r\n{", "4\r\n{}{}\r\n", "zz\r\n"] {
            let text = format!("{start}{cut}");
            let mut from = io::Cursor::new(text.as_bytes());
            let head = Head::read(&mut from).unwrap().unwrap();
            assert!(body(&mut from, head.response_length(), |_| Ok(())).is_err(), "{cut:?}");
        }
        assert!(Head::read(&mut io::Cursor::new(b"GET / HT")).is_err());
        assert!(Head::read(&mut io::Cursor::new(b"")).unwrap().is_none());
    }

    #[test]
    fn a_chunk_of_our_own_can_be_read() {
        let mut from = io::Cursor::new(chunked(b"{}\n"));
        let piece = chunk(&mut from).unwrap().unwrap();
        assert_eq!(&piece.bytes[piece.content], b"{}\n");
    }
}

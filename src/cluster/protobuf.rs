//! Lists in protobuf, decoded object by object while they arrive.
//!
//! The form is that of `runtime/serializer/protobuf`: the magic bytes, and a runtime.Unknown whose raw part is the list. A
//! list has its ListMeta in field 1 and its objects in field 2, of whichever kind.

use std::io::{self, BufRead, Read};

use super::items::{Asked, Gauge, ListMeta, Listed, Page};
use crate::kinds::wire::{Field, Malformed};

/// What a body in this form begins with.
const MAGIC: &[u8; 4] = b"k8s\0";
/// The name of the form.
pub(super) const FORM: &str = "application/vnd.kubernetes.protobuf";
/// More than any kind, version or ListMeta has.
const LONGEST_HEAD: u64 = 1 << 20;

/// Why a list cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// It broke off, or is longer than any real one.
    Read(io::Error),
    /// What is wrong with it, without values.
    Nonsense(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Read(error)
    }
}

impl From<Malformed> for Fault {
    fn from(Malformed: Malformed) -> Fault {
        nonsense("it is no protobuf of this kind")
    }
}

fn nonsense(why: &str) -> Fault {
    Fault::Nonsense(why.to_owned())
}

/// Reads the whole of an answer.
///
/// # Errors
/// When it breaks off, is not in this form, or has an object that was not asked for.
pub(super) fn page<T: Listed>(
    reader: impl BufRead,
    asked: Asked<'_>,
    gauge: &Gauge,
) -> Result<Page<T>, Fault> {
    let mut body = Body { reader, left: u64::MAX, scratch: Vec::new() };
    let mut magic = [0; MAGIC.len()];
    body.reader.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(nonsense("it does not begin as protobuf of Kubernetes does"));
    }
    let mut page = Page { kind: None, api_version: None, metadata: ListMeta::default(), items: None };
    while let Some((number, part)) = body.part()? {
        match (number, part) {
            (1, Part::Of(length)) => {
                for field in Field::Bytes(body.take(length, LONGEST_HEAD)?).fields()? {
                    match field? {
                        (1, value) => page.api_version = Some(value.text()?),
                        (2, value) => page.kind = Some(value.text()?),
                        _ => {}
                    }
                }
            }
            (2, Part::Of(length)) => {
                if page.items.is_some() {
                    return Err(nonsense("it has two lists"));
                }
                let items = items(&mut body, length, &mut page.metadata, asked, gauge)?;
                page.items = Some(items);
            }
            // The encoding of the raw part, which is empty for a list.
            (3, Part::Of(length)) if length > 0 => return Err(nonsense("it is encoded once more")),
            (_, part) => body.skip(part)?,
        }
    }
    Ok(page)
}

fn items<T: Listed>(
    body: &mut Body<impl BufRead>,
    length: u64,
    metadata: &mut ListMeta,
    asked: Asked<'_>,
    gauge: &Gauge,
) -> Result<Vec<T>, Fault> {
    let mut items: Vec<T> = Vec::new();
    let around = std::mem::replace(&mut body.left, length);
    loop {
        gauge.set(0);
        let Some((number, part)) = body.part()? else { break };
        match (number, part) {
            (1, Part::Of(length)) => {
                for field in Field::Bytes(body.take(length, LONGEST_HEAD)?).fields()? {
                    match field? {
                        (2, value) => metadata.resource_version = value.text()?,
                        (3, value) => metadata.r#continue = value.text()?,
                        _ => {}
                    }
                }
            }
            (2, Part::Of(length)) => {
                // The gauge ends what is too long.
                let item = T::of_protobuf(body.take(length, u64::MAX)?)?;
                asked.admit(item, &mut items).map_err(Fault::Nonsense)?;
            }
            (_, part) => body.skip(part)?,
        }
    }
    body.left = around.saturating_sub(length);
    Ok(items)
}

/// What follows the number of a field.
#[derive(Clone, Copy)]
enum Part {
    /// So many bytes.
    Of(u64),
    /// Nothing that is still to be read.
    Read,
}

/// The bytes that are still to come.
struct Body<R> {
    reader: R,
    /// How many belong to the message that is read.
    left: u64,
    scratch: Vec<u8>,
}

impl<R: BufRead> Body<R> {
    /// The next field of the message; `None` at its end.
    fn part(&mut self) -> Result<Option<(u64, Part)>, Fault> {
        // Only the outermost message ends with the body.
        if self.left == 0 || (self.left > u64::MAX / 2 && self.reader.fill_buf()?.is_empty()) {
            return Ok(None);
        }
        let key = self.varint()?;
        let part = match key & 7 {
            0 => {
                self.varint()?;
                Part::Read
            }
            1 => Part::Of(8),
            2 => Part::Of(self.varint()?),
            5 => Part::Of(4),
            _ => return Err(Malformed.into()),
        };
        if matches!(part, Part::Of(length) if length > self.left) {
            return Err(Malformed.into());
        }
        // What has a fixed width is no message, whatever its number.
        let number = if key & 7 == 2 { key >> 3 } else { 0 };
        Ok(Some((number, part)))
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            self.left = self.left.checked_sub(1).ok_or(Malformed)?;
            let [byte] = byte;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed.into())
    }

    /// So many bytes, which are read as they come: the length is only said.
    fn take(&mut self, length: u64, most: u64) -> Result<&[u8], Fault> {
        if length > most {
            return Err(Malformed.into());
        }
        self.scratch.clear();
        let read = self.reader.by_ref().take(length).read_to_end(&mut self.scratch)?;
        self.pass(length, u64::try_from(read).unwrap_or_default())?;
        Ok(&self.scratch)
    }

    fn skip(&mut self, part: Part) -> Result<(), Fault> {
        let Part::Of(length) = part else { return Ok(()) };
        let read = io::copy(&mut self.reader.by_ref().take(length), &mut io::sink())?;
        self.pass(length, read)
    }

    fn pass(&mut self, length: u64, read: u64) -> Result<(), Fault> {
        if read < length {
            return Err(Fault::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        // Not more than there is, see `part`.
        self.left = self.left.saturating_sub(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Pod;

    const ASKED: Asked<'_> = Asked { kind: "Pod", api_version: "v1", namespace: Some("shop") };

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut all = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            all.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        all.push(u8::try_from(length).unwrap_or_default());
        all.extend_from_slice(bytes);
        all
    }

    fn pod(name: &str, namespace: &str) -> Vec<u8> {
        let meta = [field(1, name.as_bytes()), field(3, namespace.as_bytes()), field(5, b"uid-1")].concat();
        field(1, &meta)
    }

    fn answer(pods: &[Vec<u8>]) -> Vec<u8> {
        let head = [field(1, b"v1"), field(2, b"PodList")].concat();
        let list: Vec<u8> = pods.iter().flat_map(|pod| field(2, pod)).collect();
        let list = [field(1, &[field(2, b"41"), field(3, b"next")].concat()), list].concat();
        [MAGIC.to_vec(), field(1, &head), field(2, &list), field(3, b""), field(4, b"")].concat()
    }

    fn read(body: &[u8]) -> Result<Page<Pod>, String> {
        page(body, ASKED, &Gauge::default()).map_err(|fault| match fault {
            Fault::Read(error) => error.kind().to_string(),
            Fault::Nonsense(why) => why,
        })
    }

    #[test]
    fn a_list_is_read_with_its_head() {
        let page =
            read(&answer(&[pod("web-0", "shop"), pod(&"a".repeat(200), "shop")])).unwrap_or_else(|why| {
                panic!("{why}");
            });
        assert_eq!(page.kind.as_deref(), Some("PodList"));
        assert_eq!(page.api_version.as_deref(), Some("v1"));
        assert_eq!(page.metadata.resource_version, "41");
        assert_eq!(page.metadata.r#continue, "next");
        let names: Vec<usize> = page.items.iter().flatten().map(|pod| pod.metadata.name.len()).collect();
        assert_eq!(names, [5, 200]);
    }

    #[test]
    fn what_is_cut_off_anywhere_is_no_list() {
        let body = answer(&[pod("web-0", "shop")]);
        let whole = body.len();
        for end in 0..whole {
            let page = read(&body[..end]);
            // Between the parts it ends as a body may; without its list, or its kind, it is none.
            let is_whole = page.is_ok_and(|page| page.items.is_some() && page.kind.is_some());
            assert!(!is_whole || end >= whole - 4, "{end} of {whole}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        assert_eq!(
            read(&answer(&[pod("web-0", "other")])).err().unwrap_or_default(),
            "an object is in another namespace"
        );
        assert_eq!(
            read(&answer(&[pod("..", "shop")])).err().unwrap_or_default(),
            "an object has no valid name"
        );
        let twice = [answer(&[]), field(2, b"")].concat();
        assert_eq!(read(&twice).err().unwrap_or_default(), "it has two lists");
        let json = br#"{"kind":"PodList"}"#;
        assert_eq!(read(json).err().unwrap_or_default(), "it does not begin as protobuf of Kubernetes does");
    }

    #[test]
    fn a_length_that_is_only_said_costs_no_memory() {
        // A list of 2^62 bytes, with an object of 2^61: it ends where the bytes do.
        let mut body = MAGIC.to_vec();
        body.extend(b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x40\x12\x80\x80\x80\x80\x80\x80\x80\x80\x20abc");
        assert_eq!(read(&body).err().unwrap_or_default(), "unexpected end of file");
        // An object that is longer than the list it is in.
        let longer = [MAGIC.to_vec(), field(2, b"\x12\x7fabc")].concat();
        assert_eq!(read(&longer).err().unwrap_or_default(), "it is no protobuf of this kind");
    }
}

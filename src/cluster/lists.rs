//! Lists, decoded while they arrive: the text of ten thousand pods is never held as a whole.

use std::io::{self, BufReader, Read};
use std::ops::Deref;
use std::panic::resume_unwind;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::spawn_blocking;

use super::connect::{Connection, ReadError};

/// Pieces that may wait for the decoder; then the server waits.
const PENDING: usize = 16;
/// What the decoder takes at a time, in bytes.
const WINDOW: usize = 64 * 1024;

/// What the API server says to a list request.
#[derive(Deserialize)]
pub(super) struct List<T> {
    #[serde(default)]
    pub metadata: ListMeta,
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// What it says of itself, and a watch's bookmark too.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListMeta {
    /// From where a watch goes on.
    pub resource_version: String,
}

/// Reads the list at `path_and_query`.
///
/// # Errors
/// Any [`ReadError`]; [`ReadError::Transport`] also when the answer is no such list.
pub(super) async fn list<T: DeserializeOwned + Send + 'static>(
    connection: &Connection,
    path_and_query: &str,
) -> Result<List<T>, ReadError> {
    let mut reply = connection.get(path_and_query, "application/json").await?;
    let (pieces, arriving) = mpsc::channel(PENDING);
    let decoding = spawn_blocking(move || {
        let arriving = Arriving { pieces: arriving, piece: None, at: 0 };
        serde_json::from_reader(BufReader::with_capacity(WINDOW, arriving))
    });
    while let Some(piece) = reply.chunk().await? {
        if pieces.send(piece).await.is_err() {
            // The decoder has given up, and says why.
            break;
        }
    }
    drop(pieces);
    let decoded = decoding.await.unwrap_or_else(|panic| resume_unwind(panic.into_panic()));
    decoded.map_err(|error| ReadError::Transport(kube::Error::SerdeError(error)))
}

/// The pieces of a body as one text, for a thread that can wait for them.
struct Arriving<P> {
    pieces: Receiver<P>,
    piece: Option<P>,
    at: usize,
}

impl<P: Deref<Target = [u8]>> Read for Arriving<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.piece.as_deref().and_then(|piece| piece.get(self.at..)).unwrap_or_default();
            if !rest.is_empty() {
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                self.at += count;
                return Ok(count);
            }
            let Some(next) = self.pieces.blocking_recv() else { return Ok(0) };
            (self.piece, self.at) = (Some(next), 0);
        }
    }
}

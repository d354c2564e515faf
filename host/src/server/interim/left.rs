//! How much may be said before one answer.

/// Interim responses to one request: a service may say more, and nobody hears it.
pub(super) const MOST: usize = 16;
/// Their bytes, in all: hints for a page are fewer.
pub(super) const MOST_BYTES: usize = 16 * 1024;

/// What more may be said before an answer; nothing, unless it is opened.
#[derive(Default)]
pub(super) struct Left {
    count: usize,
    bytes: usize,
}

impl Left {
    pub(super) fn all() -> Self {
        Self { count: MOST, bytes: MOST_BYTES }
    }

    /// Whether anything may.
    pub(super) fn is_some(&self) -> bool {
        self.count > 0
    }

    /// Takes room for one of so many bytes. False: there is none.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let Some((count, bytes)) = self.count.checked_sub(1).zip(self.bytes.checked_sub(bytes)) else { return false };
        *self = Self { count, bytes };
        true
    }
}

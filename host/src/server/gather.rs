//! Writes a message's few bytes at once, wherever they lie.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use arrayvec::ArrayVec;
use tokio::io::AsyncWrite;

/// Bytes that are copied sooner than written from where they are.
const FEW: usize = 4096;

/// As [`AsyncWrite::poll_write_vectored`]. `send` of one piece costs the system less than `writev` of one or two: a head and a
/// small body, which most messages are, are made one.
pub(crate) fn poll_write_parts<S: AsyncWrite>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [part] = parts {
        return stream.poll_write(cx, part);
    }
    let mut whole = ArrayVec::<u8, FEW>::new();
    match parts.iter().try_for_each(|part| whole.try_extend_from_slice(part)) {
        Ok(()) => stream.poll_write(cx, &whole),
        Err(_) => stream.poll_write_vectored(cx, parts),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_bytes_are_those_of_the_parts(parts in vec(vec(any::<u8>(), 0..3000), 0..5)) {
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let mut written = Vec::new();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let Poll::Ready(count) = poll_write_parts(Pin::new(&mut written), &mut cx, &slices) else { unreachable!() };
            prop_assert_eq!(count.unwrap(), written.len());
            prop_assert_eq!(written, parts.concat());
        }
    }
}

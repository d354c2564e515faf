//! Where things are made.

/// What is made right in its box. `Box::new` makes it elsewhere and copies all of it, also what is only room for later, as most of
/// a future is.
#[inline]
pub(crate) fn boxed<T>(make: impl FnOnce() -> T) -> Box<T> {
    Box::write(Box::new_uninit(), make())
}

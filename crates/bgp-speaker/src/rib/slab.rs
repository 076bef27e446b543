//! Rows behind 32-bit handles, in chunks: growing never copies what is there and never doubles the memory.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// Rows of one chunk.
const CHUNK: usize = 4096;

/// A typed row number. It is never zero inside, so that `Option<handle>` takes four octets as well.
pub(crate) trait Handle: Copy + Default {
    /// The handle of a row.
    fn from_index(index: u32) -> Self;
    /// The row of a handle.
    fn index(self) -> u32;
}

/// Declares a handle type.
macro_rules! handle {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(std::num::NonZeroU32);

        impl Default for $name {
            fn default() -> Self {
                Self(std::num::NonZeroU32::MIN)
            }
        }

        impl $crate::rib::slab::Handle for $name {
            fn from_index(index: u32) -> Self {
                Self(std::num::NonZeroU32::MIN.saturating_add(index))
            }

            fn index(self) -> u32 {
                self.0.get() - 1
            }
        }
    };
}
pub(crate) use handle;

/// A table of rows. A vacant row holds `T::default()`; whoever walks the rows tells them apart.
#[derive(Debug)]
pub(crate) struct Slab<H, T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
    rows: u32,
    handle: PhantomData<fn(H)>,
}

impl<H, T> Default for Slab<H, T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), rows: 0, handle: PhantomData }
    }
}

impl<H: Handle, T: Default> Slab<H, T> {
    /// Puts a row in and returns its handle.
    pub(crate) fn insert(&mut self, row: T) -> H {
        if let Some(index) = self.free.pop() {
            let handle = H::from_index(index);
            self[handle] = row;
            return handle;
        }
        let index = self.rows;
        self.rows += 1;
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(row),
            Some(_) => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(row);
                self.chunks.push(chunk);
            }
            // The first chunk grows by doubling: a small table stays small.
            None => self.chunks.push(vec![row]),
        }
        H::from_index(index)
    }

    /// Takes a row out; its handle may be given to another row from now on.
    pub(crate) fn remove(&mut self, handle: H) -> T {
        self.free.push(handle.index());
        std::mem::take(&mut self[handle])
    }

    /// Number of rows that were ever in use at a time, vacant ones included.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// Number of rows in use.
    pub(crate) fn len(&self) -> usize {
        self.rows as usize - self.free.len()
    }
}

impl<H: Handle, T> Index<H> for Slab<H, T> {
    type Output = T;

    fn index(&self, handle: H) -> &T {
        let index = handle.index() as usize;
        &self.chunks[index / CHUNK][index % CHUNK]
    }
}

impl<H: Handle, T> IndexMut<H> for Slab<H, T> {
    fn index_mut(&mut self, handle: H) -> &mut T {
        let index = handle.index() as usize;
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }
}

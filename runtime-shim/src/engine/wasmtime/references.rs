//! References between engine and snapshot: functions by index, host references by the embedder.

use std::collections::HashMap;

use wasmtime::{AsContextMut, ExternRef, Func, Ref, Rooted, StoreContextMut, Table};

use crate::error::{CaptureError, Place, ResumeError};

/// How host references become bytes and come back.
///
/// Without a codec a capture fails when a table or global holds a host reference that is not null;
/// the guest can go on.
pub trait ExternRefCodec<T: 'static>: Send + Sync {
    /// The bytes that stand for a host reference in a snapshot.
    ///
    /// # Errors
    /// Why this one cannot be saved, as text for the user.
    fn encode(
        &self,
        store: StoreContextMut<'_, T>,
        reference: Rooted<ExternRef>,
    ) -> Result<Vec<u8>, String>;

    /// The host reference that the bytes stand for.
    ///
    /// # Errors
    /// Why there is none, as text for the user.
    fn decode(
        &self,
        store: StoreContextMut<'_, T>,
        bytes: &[u8],
    ) -> Result<Rooted<ExternRef>, String>;
}

/// The functions that a module's references can name.
#[derive(Debug, Default)]
pub(super) struct FunctionTable {
    by_index: HashMap<u32, Func>,
    by_address: HashMap<usize, u32>,
}

impl FunctionTable {
    /// Reads the module's table of all functions that can be referenced; slot `i` holds `indices[i]`.
    pub(super) fn read(mut store: impl AsContextMut, table: &Table, indices: &[u32]) -> Self {
        let mut functions = Self::default();
        for (slot, &index) in (0..).zip(indices) {
            if let Some(Ref::Func(Some(func))) = table.get(&mut store, slot) {
                functions
                    .by_address
                    .entry(func.to_raw(&mut store).addr())
                    .or_insert(index);
                functions.by_index.insert(index, func);
            }
        }
        functions
    }

    pub(super) fn index_of(
        &self,
        store: impl AsContextMut,
        reference: &Ref,
        place: Place,
    ) -> Result<Option<u32>, CaptureError> {
        match reference {
            Ref::Func(None) => Ok(None),
            Ref::Func(Some(func)) => {
                let index = self.by_address.get(&func.to_raw(store).addr()).copied();
                index.map(Some).ok_or(CaptureError::ForeignFunction(place))
            }
            _ => Err(CaptureError::ForeignFunction(place)),
        }
    }

    pub(super) fn function(&self, index: Option<u32>) -> Result<Ref, ResumeError> {
        let Some(index) = index else {
            return Ok(Ref::Func(None));
        };
        let func = self.by_index.get(&index).copied();
        func.map(|func| Ref::Func(Some(func))).ok_or_else(|| {
            ResumeError::Mismatch(format!(
                "it refers to function {index}, which the module cannot"
            ))
        })
    }
}

pub(super) fn encode_external<T: 'static>(
    codec: Option<&dyn ExternRefCodec<T>>,
    store: StoreContextMut<'_, T>,
    reference: &Ref,
    place: Place,
) -> Result<Option<Vec<u8>>, CaptureError> {
    let unsaved = |reason: String| CaptureError::HostReference { place, reason };
    match reference {
        Ref::Extern(None) => Ok(None),
        Ref::Extern(Some(reference)) => {
            let codec =
                codec.ok_or_else(|| unsaved("this host has no codec for them".to_owned()))?;
            codec.encode(store, *reference).map(Some).map_err(unsaved)
        }
        _ => Err(unsaved("it is not an externref".to_owned())),
    }
}

pub(super) fn decode_external<T: 'static>(
    codec: Option<&dyn ExternRefCodec<T>>,
    store: StoreContextMut<'_, T>,
    bytes: Option<&[u8]>,
    place: Place,
) -> Result<Ref, ResumeError> {
    let Some(bytes) = bytes else {
        return Ok(Ref::Extern(None));
    };
    let lost = |reason: String| ResumeError::HostReference { place, reason };
    let codec = codec.ok_or_else(|| lost("this host has no codec for them".to_owned()))?;
    codec
        .decode(store, bytes)
        .map(|reference| Ref::Extern(Some(reference)))
        .map_err(lost)
}
